//! From `helm install` to the first certificate, and how much is installed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use certwright::api::{Certificate, Issuer};
use kube::api::{Api, DeleteParams};
use serde_json::json;

use super::bar::{self, Measured, summarize};
use crate::controller::binary;
use crate::helm::{Helm, chart};
use crate::install::definition_files;
use crate::scene::certificate_spec;
use crate::testbed::Testbed;
use crate::wait::until;
use crate::{Scene, image};

const RELEASE: &str = "cert-manager";
const ROUNDS: usize = 5;
const PATIENCE: Duration = Duration::from_mins(2);

/// Bytes of the chart rendered with its defaults, without the definitions, of those, and of the image as it is stored.
pub(super) fn sizes(testbed: &Testbed) -> Result<Vec<Measured>> {
    let folder = chart().display().to_string();
    let rendered = Helm::of(&testbed.state)?.run(&["template", "certwright", &folder, "--kube-version=1.36"])?;
    let (mut all, mut largest) = (0, 0);
    for file in definition_files()? {
        let length = std::fs::metadata(&file).with_context(|| format!("reading {}", file.display()))?.len();
        (all, largest) = (all + length, length.max(largest));
    }
    let image = image::save_certwright(&testbed.state.folder.join("image"), &[binary()?])?;
    let image = std::fs::metadata(image)?.len();
    let measured =
        |name: &str, bytes: u64| Ok::<_, anyhow::Error>(Measured::new(name, f64::from(u32::try_from(bytes)?)));
    Ok(vec![
        measured(bar::INSTALL_CHART_BYTES, rendered.len() as u64)?,
        measured(bar::INSTALL_CRDS_BYTES, all)?,
        measured(bar::INSTALL_LARGEST_CRD_BYTES, largest)?,
        measured(bar::INSTALL_IMAGE_BYTES, image)?,
    ])
}

/// The median time until a Certificate is ready that was applied in the same second as the chart, definitions and all.
pub(super) async fn measure(testbed: &Testbed) -> Result<Measured> {
    println!("\n==> helm install to the first certificate of a SelfSigned issuer: {ROUNDS} rounds, image present");
    image::import_certwright(&testbed.state, &binary()?)?;
    let scene = Scene::new(testbed, &testbed.state.logs().join("kubelet.log"), "install").await?;
    // That of another group.
    let deployments: Api<k8s_openapi::api::apps::v1::Deployment> = Api::namespaced(scene.client.clone(), "certwright");
    let _ = deployments.delete("certwright", &DeleteParams::default()).await;
    helm(testbed, &scene, &["upgrade", "--install", "--take-ownership"], &["--wait"]).await?;
    let mut seconds = Vec::new();
    for _ in 0..ROUNDS {
        helm(testbed, &scene, &["uninstall"], &["--wait"]).await?;
        seconds.push(round(testbed, &scene).await?.as_secs_f64());
    }
    let median = summarize("helm install to Ready", &seconds)?;
    Ok(Measured::new(bar::INSTALL_FIRST_CERTIFICATE, median))
}

/// Both at once: the release, and what is in it for people.
async fn round(testbed: &Testbed, scene: &Scene) -> Result<Duration> {
    let began = Instant::now();
    let installed = helm(testbed, scene, &["install"], &[]);
    let ready = async {
        let apply = async || {
            scene.create::<Issuer>("own", json!({ "selfSigned": {} })).await?;
            Ok::<_, anyhow::Error>(Some(()))
        };
        until("the issuer to be accepted", PATIENCE, apply).await?;
        let spec = certificate_spec("web", "Issuer", "own", &["web.example.com"]);
        let apply = async || Ok::<_, anyhow::Error>(Some(scene.create::<Certificate>("web", spec.clone()).await?));
        until("the Certificate to be accepted", PATIENCE, apply).await?;
        scene.issued("web").await?;
        Ok(began.elapsed())
    };
    let (installed, ready) = tokio::join!(installed, ready);
    installed?;
    ready
}

/// Runs Helm beside the others.
async fn helm(testbed: &Testbed, scene: &Scene, verb: &[&str], more: &[&str]) -> Result<()> {
    let helm = Helm::of(&testbed.state)?;
    let mut words: Vec<String> = verb.iter().map(|&word| word.to_owned()).collect();
    words.extend([RELEASE.to_owned(), format!("--namespace={}", scene.namespace), "--timeout=90s".to_owned()]);
    if verb != ["uninstall"] {
        let values = "--set=crds.enabled=true,crds.keep=false,image.tag=dev";
        words.extend([chart().display().to_string(), values.to_owned()]);
    }
    words.extend(more.iter().map(|&word| word.to_owned()));
    let run = move || helm.run(&words.iter().map(String::as_str).collect::<Vec<_>>()).map(drop);
    tokio::task::spawn_blocking(run).await?
}
