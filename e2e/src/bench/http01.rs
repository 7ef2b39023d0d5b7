//! Bars of tier `cluster`: HTTP-01 with a solver pod, certwright in a pod.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use certwright::api::{Challenge, Issuer};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams};
use serde_json::json;
use tokio::task::JoinHandle;

use super::bar::{HTTP01_SECONDS, HTTP01_WAITING, HTTP01_WRITES, Measured, summarize};
use super::dns01::small;
use super::issuance::{print_writes, repeated};
use super::say_conditions;
use super::steps::{self, LOG_FILTER, Step};
use crate::controller::binary;
use crate::install;
use crate::kubectl::Kubectl;
use crate::scene::Scene;
use crate::testbed::Testbed;
use crate::wait::until;

pub(super) const USER: &str = "system:serviceaccount:certwright:certwright";
const NAMESPACE: &str = "certwright";
/// Between two looks at the solver from outside.
const PROBE_STEP: Duration = Duration::from_millis(10);
const PROBED: Duration = Duration::from_mins(1);

/// Measures all of them: they come from the same issuances.
pub async fn measure(testbed: &Testbed) -> Result<Vec<Measured>> {
    deploy(testbed).await?;
    let log = testbed.state.logs().join("certwright.log");
    let scene = Scene::new(testbed, &log, "bench").await?;
    issuer(&scene).await?;
    say_conditions(&testbed.state, "HTTP-01 with a solver pod, one name, certwright in a pod");
    let mut probes = Vec::new();
    let found = repeated(&scene, "quick", USER, |name| {
        probes.push((name.to_owned(), start_probe(&scene, name)));
        Ok(())
    })
    .await?;
    let median = summarize("HTTP-01", &found.seconds)?;
    print_writes(&found);
    let text = own_log(&scene).await?;
    std::fs::write(&log, &text)?;
    let waiting = own_waiting(&steps::read(&text)?, probes).await?;
    Ok(vec![
        Measured::new(HTTP01_SECONDS, median),
        Measured::new(HTTP01_WAITING, waiting),
        Measured::new(HTTP01_WRITES, small(found.most_writes)),
    ])
}

pub(super) async fn deploy(testbed: &Testbed) -> Result<()> {
    let kubectl = Kubectl::of(&testbed.state)?;
    install::definitions(&kubectl)?;
    install::deploy(&testbed.state, &kubectl, &binary()?)?;
    let namespace = format!("--namespace={NAMESPACE}");
    kubectl.run(&["set", "env", &namespace, "deployment/certwright", &format!("RUST_LOG={LOG_FILTER}")])?;
    kubectl.run(&["rollout", "status", &namespace, "--timeout=90s", "deployment/certwright"])?;
    // The former pod works, without such a log, until the kubelet has told it to end.
    let pods: Api<Pod> = Api::namespaced(testbed.admin().await?, NAMESPACE);
    let look = async || pods.list(&own_pods()).await.map(|found| (found.items.len() == 1).then_some(()));
    until("the former pod of certwright to be gone", PROBED, look).await
}

fn own_pods() -> ListParams {
    ListParams::default().labels("app.kubernetes.io/name=certwright")
}

async fn issuer(scene: &Scene) -> Result<()> {
    let mut spec = scene.issuer_spec("quick-account")?;
    let class = &scene.testbed.state.cluster()?.ingress_class;
    spec["acme"]["solvers"] = json!([{ "http01": { "ingress": { "ingressClassName": class } } }]);
    scene.create::<Issuer>("quick", spec).await?;
    scene.wait_ready::<Issuer>("quick").await.map(drop)
}

/// Asks for the answer as the CA does, by the public way, and tells when it was first there.
fn start_probe(scene: &Scene, certificate: &str) -> JoinHandle<Result<Timestamp>> {
    let (scene, prefix) = (scene.clone(), format!("{certificate}-"));
    tokio::spawn(async move {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
        let end = Instant::now() + PROBED;
        let challenge = loop {
            let all: Vec<Challenge> = scene.list().await?;
            if let Some(found) = all.into_iter().find(|challenge| challenge.name_any().starts_with(&prefix)) {
                break found.spec;
            }
            if Instant::now() > end {
                bail!("there was no Challenge to look at");
            }
            tokio::time::sleep(PROBE_STEP).await;
        };
        let url = format!("http://{}/.well-known/acme-challenge/{}", challenge.dns_name, challenge.token);
        while Instant::now() < end {
            if let Ok(answer) = client.get(&url).send().await
                && answer.text().await.is_ok_and(|body| body.trim() == challenge.key.expose())
            {
                return Ok(Timestamp::now());
            }
            tokio::time::sleep(PROBE_STEP).await;
        }
        bail!("{url} was never answered")
    })
}

/// What certwright's pod has logged.
async fn own_log(scene: &Scene) -> Result<String> {
    let pods: Api<Pod> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let pod = pods.list(&own_pods()).await?.items.pop().context("certwright has no pod")?;
    Ok(pods.logs(&pod.name_any(), &LogParams::default()).await?)
}

/// The median of the time in which certwright waited and did not have to. What cannot be told apart from the CA's own
/// work counts as certwright's.
async fn own_waiting(all: &[Step], probes: Vec<(String, JoinHandle<Result<Timestamp>>)>) -> Result<f64> {
    let [mut to_accept, mut to_authorized, mut to_issued, mut sums] = [const { Vec::new() }; 4];
    for (certificate, probe) in probes {
        let answered = probe.await?.with_context(|| format!("looking at the solver of {certificate}"))?;
        let mark = format!("/{certificate}-");
        let steps: Vec<&Step> = all.iter().filter(|step| step.key.contains(&mark)).collect();
        // Its own check may see the answer before this program's probe does.
        to_accept.push(steps::seconds(answered, steps::find(&steps, "challenge", "Accept")?).max(0.0));
        to_authorized.push(steps::between(&steps, "challenge", "Accept", "Read")?);
        to_issued.push(steps::between(&steps, "order", "Finalize", "ReadOrder")?);
        sums.push(
            to_accept.last().unwrap_or(&0.0) + to_authorized.last().unwrap_or(&0.0) + to_issued.last().unwrap_or(&0.0),
        );
    }
    println!(
        "\n==> certwright's own waiting, per issuance the sum of three: from the first right answer by the public way (asked \
         for every {} ms) to the start of telling the CA; from there to the last look at the authorization; from the \
         start of finalizing to the last look at the order. The latter two hold the CA's work too, so the sum is too \
         high rather than too low. Steps by certwright's log.",
        PROBE_STEP.as_millis()
    );
    summarize("  answer in place to accepting", &to_accept)?;
    summarize("  accepting to seeing it valid", &to_authorized)?;
    summarize("  finalizing to seeing it issued", &to_issued)?;
    summarize("  own waiting", &sums)
}
