//! Bars of the group `http01`, tier `cluster`: HTTP-01 that the controller answers itself, and many at once with pods.

use anyhow::{Result, ensure};
use certwright::api::Issuer;
use certwright::api::names::{KIND_ISSUER, annotation, http01_solver};
use certwright::pki::{Curve, KeyAlgorithm};
use serde_json::json;

use super::bar::{
    Bar, HTTP01_FIFTY_NAMES, HTTP01_FIFTY_NAMES_OBJECTS, HTTP01_PODLESS_PER_SECOND, HTTP01_PODLESS_SECONDS,
    HTTP01_PODS_PER_SECOND, Measured, summarize,
};
use super::bare_pods;
use super::burst::{Progress, burst};
use super::certificate::ISSUER;
use super::http01::{USER, deploy};
use super::issuance::{print_writes, repeated, settle, timed_with};
use super::resources::ProcessorTime;
use super::say_conditions;
use crate::scene::{Scene, certificate_spec};
use crate::testbed::Testbed;

/// Certificates created at once.
const BURST: usize = 100;
/// Names of the large certificate.
const NAMES: usize = 50;
/// Fewer cannot lead to the controller: a Service, an EndpointSlice and an Ingress.
const LEAST_OBJECTS: usize = 3;
/// What answers a challenge and leads to it.
const SOLVER: [&str; 4] = ["pods", "services", "endpointslices", "ingresses"];
const ECDSA: KeyAlgorithm = KeyAlgorithm::Ecdsa(Curve::P256);

/// Measures what is wanted.
pub async fn measure(testbed: &Testbed, bars: &[&Bar]) -> Result<Vec<Measured>> {
    let wanted = |name: &str| bars.iter().any(|bar| bar.name == name);
    deploy(testbed).await?;
    let mut measured = Vec::new();
    if wanted(HTTP01_PODLESS_SECONDS) {
        say_conditions(&testbed.state, "HTTP-01 without pods, one name, certwright in a pod");
        let scene = scene(testbed, http01_solver::CONTROLLER).await?;
        let found = repeated(&scene, ISSUER, USER, |_| Ok(())).await?;
        print_writes(&found);
        measured.push(Measured::new(HTTP01_PODLESS_SECONDS, summarize("HTTP-01 without pods", &found.seconds)?));
    }
    if wanted(HTTP01_FIFTY_NAMES) || wanted(HTTP01_FIFTY_NAMES_OBJECTS) {
        measured.extend(fifty_names(testbed).await?);
    }
    for (name, answerer) in
        [(HTTP01_PODLESS_PER_SECOND, http01_solver::CONTROLLER), (HTTP01_PODS_PER_SECOND, http01_solver::POD)]
    {
        if wanted(name) {
            let scene = scene(testbed, answerer).await?;
            println!("\n==> {BURST} Certificates with one name each created at once, HTTP-01, answered by: {answerer}");
            let time = ProcessorTime::begin_on_node(testbed)?;
            let burst = burst(&scene, ECDSA, BURST, &Progress::default()).await?;
            burst.print("HTTP-01")?;
            time.print()?;
            measured.push(Measured::new(name, burst.per_second()?));
            settle(&scene).await?;
            if answerer == http01_solver::POD {
                println!("\n==> for information: the same number of pods without Certificates");
                bare_pods::per_second(&scene, BURST).await?;
            }
        }
    }
    Ok(measured)
}

async fn fifty_names(testbed: &Testbed) -> Result<[Measured; 2]> {
    let scene = scene(testbed, http01_solver::CONTROLLER).await?;
    println!("\n==> one Certificate with {NAMES} names, HTTP-01 without pods");
    let names: Vec<String> = (0..NAMES).map(|number| scene.dns_name(&format!("n{number}"))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mark = testbed.mark()?;
    let ready = timed_with(&scene, "fifty", certificate_spec("fifty", KIND_ISSUER, ISSUER, &names)).await?;
    println!("ready after {:.3} s", ready.as_secs_f64());
    settle(&scene).await?;
    let writes = testbed.count_writes(mark, USER).await?.into_iter();
    let of_solver = writes.filter(|((resource, _), _)| SOLVER.contains(&resource.as_str())).collect::<Vec<_>>();
    for ((resource, verb), count) in &of_solver {
        println!("{verb} {resource}: {count}");
    }
    let created = of_solver.iter().filter(|((_, verb), _)| verb == "create").map(|(_, count)| count).sum::<usize>();
    ensure!(created >= LEAST_OBJECTS, "only {created} solver objects were seen, so they were not counted right");
    #[allow(clippy::cast_precision_loss)]
    let objects = Measured::new(HTTP01_FIFTY_NAMES_OBJECTS, created as f64);
    Ok([Measured::new(HTTP01_FIFTY_NAMES, ready.as_secs_f64()), objects])
}

/// A namespace with an issuer by HTTP-01 through the testbed's ingress controller.
async fn scene(testbed: &Testbed, answerer: &str) -> Result<Scene> {
    let scene = Scene::new(testbed, &testbed.state.logs().join("certwright.log"), "bench").await?;
    let mut spec = scene.issuer_spec("account")?;
    let class = &testbed.state.cluster()?.ingress_class;
    spec["acme"]["solvers"] = json!([{ "http01": { "ingress": { "ingressClassName": class } } }]);
    scene.create::<Issuer>(ISSUER, spec).await?;
    scene
        .patch::<Issuer>(ISSUER, json!({ "metadata": { "annotations": { (annotation::HTTP01_SOLVER): answerer } } }))
        .await?;
    scene.wait_ready::<Issuer>(ISSUER).await?;
    settle(&scene).await?;
    Ok(scene)
}
