//! The demo in a testbed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::examples::{NameServer, Values};
use super::place::{NAMESPACE, Place};
use super::{issue, step};
use crate::kubectl::Kubectl;
use crate::launcher::Launcher;
use crate::lifecycle::{self, Options};
use crate::packages::copy_program;
use crate::pebble::PebbleOptions;
use crate::state::{State, Tier};
use crate::wait::until_ready;
use crate::{install, relay};

const READY: Duration = Duration::from_mins(1);

/// Starts a testbed in `folder`, certwright in it, and issues the examples' certificates. The testbed stays.
pub async fn run(folder: &Path, tier: Tier, binary: &Path) -> Result<()> {
    if State::file_in(folder).exists() {
        step("Ending the former demo");
    }
    lifecycle::remove(folder)?;
    step(&match tier {
        Tier::Cluster => "Starting a Kubernetes with a node, Pebble (an ACME CA) and BIND; about 20 s".to_owned(),
        Tier::Api => "Starting a Kubernetes API without a node, Pebble (an ACME CA) and BIND; about 5 s".to_owned(),
    });
    // Pebble 2.10 breaks off on names with fewer labels than a blocked one has, and the wildcard example has the zone's.
    let pebble = PebbleOptions {
        blocked_names: Vec::new(),
        // With several profiles it takes any.
        profiles: [("default".to_owned(), 90 * 24 * 3600)].into(),
        ..PebbleOptions::default()
    };
    let options = Options { tier, name: "demo".into(), pebble };
    let own = folder.to_owned();
    // It waits in the way of threads, not of tasks.
    let state = tokio::task::spawn_blocking(move || lifecycle::up(&own, &options)).await??;
    let (state, kubeconfig) = relay::start(state).await?;
    let place = place(&state, kubeconfig)?;
    write_wrappers(&state, &place)?;

    step("Installing the CustomResourceDefinitions (crds/)");
    install::definitions(&place.kubectl)?;
    match tier {
        Tier::Cluster => {
            step("Packing the image and starting certwright in a pod (deploy/)");
            install::deploy(&state, &place.kubectl, binary)?;
        }
        Tier::Api => start_process(state.clone(), &place, binary).await?,
    }
    let issued = issue(&place).await;
    if issued.is_err() && tier == Tier::Cluster {
        step("The controller's log");
        place.kubectl.run(&["logs", "--namespace=certwright", "deployment/certwright", "--tail=40"])?;
    }
    issued?;
    say_how_to_go_on(&state, &place);
    Ok(())
}

fn place(state: &State, kubeconfig: PathBuf) -> Result<Place> {
    let (acme, dns) = (state.acme()?, state.dns()?);
    let server = NameServer {
        address: dns.primary.to_string(),
        key_name: dns.tsig.name.clone(),
        algorithm: dns.tsig.algorithm.replace('-', "").to_uppercase(),
        secret: dns.tsig.secret.clone(),
    };
    let values = Values {
        namespace: NAMESPACE.into(),
        server: acme.directory_url.clone(),
        ca_bundle: Some(fs::read(&acme.ca_file)?),
        domain: dns.zones.first().context("the testbed has no DNS zone")?.clone(),
        ingress_class: state.cluster.as_ref().map(|cluster| cluster.ingress_class.clone()),
        name_server: Some(server),
    };
    let kubectl = Kubectl { program: state.program("kubectl"), kubeconfig, is_local: true };
    Ok(Place { kubectl, values })
}

/// certwright as a process inside the testbed.
async fn start_process(state: State, place: &Place, binary: &Path) -> Result<()> {
    step("Starting certwright as a process with the rights of deploy/rbac.yaml: there is no node for a pod");
    let namespace = install::repository().join("deploy/namespace.yaml").display().to_string();
    place.kubectl.run(&["apply", "-f", &namespace])?;
    install::rights(place.kubectl.client().await?).await?;
    let kubeconfig = &state.kubernetes()?.certwright_kubeconfig;
    let binary = binary.canonicalize().with_context(|| format!("there is no {}", binary.display()))?;
    let words = ["setsid", &binary.display().to_string(), "controller", "--kubeconfig"].map(str::to_owned);
    let mut command = lifecycle::command(&state, &words)?;
    command.arg(kubeconfig).arg("--cluster-resource-namespace=certwright");
    let mut launcher = Launcher::new(state);
    let process = launcher.start("certwright", command)?;
    let log = process.log().to_owned();
    let look = async || {
        let text = fs::read_to_string(&log)?;
        text.contains("watching Certificates").then_some(()).context("its watches are not filled")
    };
    until_ready(process, "certwright", READY, look).await?;
    launcher.finish()?;
    println!("certwright runs; its log: {}", log.display());
    Ok(())
}

/// Two small scripts in the testbed's folder: kubectl, and a shell inside.
fn write_wrappers(state: &State, place: &Place) -> Result<()> {
    let folder = state.folder.display();
    let me = state.folder.join("testbed");
    copy_program(&std::env::current_exe()?, &me)?;
    let kubectl = format!(
        "#!/bin/sh\nunset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY\nKUBECONFIG='{}' exec '{}' \"$@\"\n",
        place.kubectl.kubeconfig.display(),
        place.kubectl.program.display()
    );
    let enter =
        format!("#!/bin/sh\n[ $# -gt 0 ] || set -- bash\nexec '{folder}/testbed' exec --dir '{folder}' -- \"$@\"\n");
    for (name, text) in [("kubectl", kubectl), ("enter", enter)] {
        let file = state.folder.join(name);
        fs::write(&file, text)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn say_how_to_go_on(state: &State, place: &Place) {
    let folder = state.folder.display();
    step("The cluster stays up. To look around:");
    println!("    export KUBECONFIG={}", place.kubectl.kubeconfig.display());
    println!("    kubectl get certificates -A");
    println!("or with the kubectl that was built, {folder}/kubectl. Further:");
    println!("    {folder}/enter    a shell in the testbed's network, where its names resolve and its ingress answers");
    println!("    {folder}/logs/    the logs of every component");
    println!("To take all of it away: make clean");
}
