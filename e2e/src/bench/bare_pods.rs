//! What the machine itself can do: pods, Services and Ingresses like those of HTTP-01 that come and go, without any
//! Certificate, Challenge or CA.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use certwright::api::Challenge;
use certwright::http01::ingress::ingress_for;
use certwright::http01::objects::{SolverOptions, pod, service};
use certwright::http01::question::Lead;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, PostParams};
use kube::runtime::watcher::{self, Event};
use serde_json::json;
use tokio::task::JoinSet;

use super::dns01::small;
use super::resources::ProcessorTime;
use crate::image::CERTWRIGHT;
use crate::scene::Scene;

/// As many at once as the controller presents.
const AT_ONCE: usize = 60;

/// Creates `count` of them, takes each away when its pod runs, and gives how many there were per second up to when the last
/// was taken away. What takes the time is printed.
pub async fn per_second(scene: &Scene, count: usize) -> Result<f64> {
    let mut watch = watcher::watcher(scene.api::<Pod>(), watcher::Config::default()).boxed();
    while !matches!(watch.next().await.context("the watch ended")??, Event::InitDone) {}
    let time = ProcessorTime::begin_on_node(&scene.testbed)?;
    let began = Instant::now();
    let (mut created, mut ran, mut gone) = (0, BTreeSet::new(), 0);
    let (mut creations, mut removals) = (JoinSet::new(), JoinSet::new());
    while gone < count {
        while created < count && created - gone < AT_ONCE {
            creations.spawn(create(scene.clone(), created));
            created += 1;
        }
        tokio::select! {
            Some(done) = creations.join_next() => done??,
            Some(done) = removals.join_next() => {
                done??;
                gone += 1;
            }
            event = watch.next() => {
                if let Event::Apply(pod) | Event::InitApply(pod) = event.context("the watch ended")??
                    && runs(&pod)
                    && ran.insert(pod.name_any())
                {
                    removals.spawn(remove(scene.clone(), pod.name_any()));
                }
            }
        }
    }
    let per_second = small(count) / began.elapsed().as_secs_f64();
    println!("{count} bare pods with a Service and an Ingress each, {AT_ONCE} at once: {per_second:.2} per second");
    time.print()?;
    Ok(per_second)
}

fn runs(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
}

async fn create(scene: Scene, number: usize) -> Result<()> {
    let (name, dns_name) = (format!("bare-{number}"), scene.dns_name(&format!("bare-{number}")));
    let class = &scene.testbed.state.cluster()?.ingress_class;
    let challenge: Challenge = serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": scene.namespace },
        "spec": {
            "type": "HTTP-01", "url": "", "authorizationURL": "", "issuerRef": { "name": "nobody" },
            "dnsName": dns_name, "token": name, "key": format!("{name}.key"),
            "solver": { "http01": { "ingress": { "ingressClassName": class } } },
        },
    }))?;
    let options = SolverOptions { image: CERTWRIGHT.to_owned(), ..SolverOptions::default() };
    let (mut pod, mut service) = (pod(&challenge, &name, &options)?, service(&challenge, &name, &options));
    let mut ingress = ingress_for(&Lead::alone(&challenge, &name, &options), &options);
    // There is no Challenge that they could belong to.
    for metadata in [&mut pod.metadata, &mut service.metadata, &mut ingress.metadata] {
        metadata.owner_references = None;
    }
    let params = PostParams::default();
    let created = tokio::try_join!(
        async { scene.api::<Pod>().create(&params, &pod).await.map(drop) },
        async { scene.api::<Service>().create(&params, &service).await.map(drop) },
        async { scene.api::<Ingress>().create(&params, &ingress).await.map(drop) },
    );
    match created {
        Ok(_) => Ok(()),
        Err(error) => bail!("creating {name}: {error}"),
    }
}

async fn remove(scene: Scene, name: String) -> Result<()> {
    scene.api::<Ingress>().delete(&name, &DeleteParams::default()).await?;
    scene.api::<Service>().delete(&name, &DeleteParams::default()).await?;
    scene.api::<Pod>().delete(&name, &DeleteParams::default().grace_period(0)).await?;
    Ok(())
}
