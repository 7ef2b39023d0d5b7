//! Traces, as a collector gets them. These run inside a testbed, with controllers of their own, of a program that was built with
//! the feature "otlp": `CERTWRIGHT_BIN=… testbed run --name otlp -- cargo test -p certwright-e2e --test otlp -- --include-ignored`.
#![allow(clippy::unwrap_used)]

#[path = "otlp/collector.rs"]
mod collector;

use std::collections::BTreeSet;
use std::sync::Arc;

use certwright_e2e::process::Identity;
use certwright_e2e::scene::PATIENCE;
use certwright_e2e::stand_in::{Failure, StandIn};
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use regex::Regex;
use rustix::process::Signal;

use collector::{Collector, Taken};

/// A controller whose traces go to a collector.
struct Stage {
    collector: Collector,
    stand_in: StandIn,
    controller: Controller,
    scene: Scene,
}

impl Stage {
    /// Spans are sent after `delay`, in milliseconds.
    async fn new(prefix: &str, delay: &str) -> Self {
        let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
        let collector = Collector::default();
        let stand_in = StandIn::start(&testbed.state, Arc::new(collector.clone())).await.unwrap();
        let environment = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", stand_in.url()),
            // As the environment has it, percent-encoded.
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20Y29sbGVjdG9yOnNlc2FtZQ=="),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=testbed"),
            ("OTEL_BSP_SCHEDULE_DELAY", delay),
        ];
        let controller = Controller::start_in(&testbed, &[], &environment).await.unwrap();
        let scene = Scene::new(&testbed, controller.log(), prefix).await.unwrap();
        scene.issuer("pebble").await.unwrap();
        Self { collector, stand_in, controller, scene }
    }

    /// Has a certificate issued.
    async fn issue(&self, name: &str) {
        self.scene.certificate(name, "pebble", &[&self.scene.dns_name(name)]).await.unwrap();
        self.scene.issued(name).await.unwrap();
    }

    /// All spans of the trace of a whole issuance. Parts may come before what they are parts of, and what cleans up comes
    /// after the certificate.
    async fn trace(&self, whole: &Taken) -> Vec<Taken> {
        let look = async || {
            let mut taken = self.collector.taken();
            taken.retain(|taken| taken.span.trace_id == whole.span.trace_id);
            let ids: BTreeSet<_> = taken.iter().map(|taken| &taken.span.span_id).collect();
            let strays: Vec<_> = taken.iter().filter(|taken| !ids.contains(&taken.span.parent_span_id)).collect();
            anyhow::ensure!(strays.len() == 1, "all but the whole are parts of something: {strays:#?}");
            // Order: finalized and valid at least. Challenge: presented and valid at least, and its finalizer.
            let (order, challenge) = (writes(&taken, "Order"), writes(&taken, "Challenge"));
            anyhow::ensure!(order >= 2 && challenge >= 3, "writes of Orders: {order}, of Challenges: {challenge}");
            Ok(Some(taken))
        };
        until("the whole trace", PATIENCE, look).await.unwrap()
    }

    /// The span of a whole issuance, once it is there.
    async fn issuance(&self, name: &str) -> Taken {
        let look = async || Ok::<_, String>(self.collector.named("issuance", name).pop());
        until("the span of the issuance", PATIENCE, look).await.unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.controller.log()).unwrap()
    }

    async fn stop(&self) {
        let process = Identity::of(self.controller.id()).unwrap();
        assert!(process.signal(Signal::TERM));
        let id = self.controller.id();
        // It stays as a zombie until its parent asks for it.
        let look = async || {
            let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            Ok::<_, String>((state.is_empty() || state.contains(") Z ")).then_some(()))
        };
        until("the end of the controller", PATIENCE, look).await.unwrap();
    }
}

/// How much the passes over objects of this kind have written.
fn writes(taken: &[Taken], kind: &str) -> i64 {
    let passes = taken.iter().filter(|taken| taken.span.name == kind);
    passes.filter_map(|taken| taken.number("certwright.writes")).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn an_issuance_is_one_trace() {
    let stage = Stage::new("traced", "100").await;
    stage.issue("www").await;
    let whole = stage.issuance("www").await;
    assert_eq!(stage.stand_in.complaints(), Vec::<String>::new());
    assert_eq!(whole.text("certwright.outcome"), "issued");
    assert_eq!(whole.text("k8s.namespace.name"), stage.scene.namespace);
    assert_eq!(whole.of_sender("service.name"), "certwright");
    assert_eq!(whole.of_sender("deployment.environment.name"), "testbed");
    assert!(whole.span.parent_span_id.is_empty());

    let taken = stage.trace(&whole).await;
    let names: BTreeSet<_> = taken.iter().map(|taken| &*taken.span.name).collect();
    for name in [
        "Certificate",
        "CertificateRequest",
        "Order",
        "Challenge",
        "acme authorize_order",
        "rfc2136 find_zone",
        "DNS change",
        "rfc2136 apply",
        "self-check DNS-01",
        "DNS TXT",
        "create Order",
        "write the status of Order",
        "apply Secret",
    ] {
        assert!(names.contains(name), "no {name:?} among {names:?}");
    }
    for pass in taken.iter().filter(|taken| ["Order", "Challenge"].contains(&&*taken.span.name)) {
        assert_eq!(pass.span.parent_span_id, whole.span.span_id);
        assert!(!pass.text("certwright.wake").is_empty() && !pass.text("certwright.outcome").is_empty());
    }
    // The pass that began it came before there was a request; it points to the trace.
    let began = stage.collector.named("Certificate", "www");
    let links = began.iter().flat_map(|taken| &taken.span.links);
    assert!(links.into_iter().any(|link| link.trace_id == whole.span.trace_id), "{began:#?}");
    no_secret_is_told(&stage).await;
}

/// Neither what Secrets hold nor what looks like a token, a key authorization or its hash.
async fn no_secret_is_told(stage: &Stage) {
    let haystack = format!("{:?}", stage.collector.taken());
    assert!(haystack.len() > 10_000 && haystack.contains(&stage.scene.namespace));
    let mut needles = 0;
    for secret in stage.scene.list::<Secret>().await.unwrap() {
        for (entry, value) in
            secret.data.iter().flatten().filter(|(entry, _)| !["tls.crt", "ca.crt"].contains(&entry.as_str()))
        {
            let text = String::from_utf8_lossy(&value.0).into_owned();
            for line in text.lines().filter(|line| line.len() > 12 && !line.starts_with("-----")) {
                assert!(!haystack.contains(line), "spans show {}/{entry}", secret.name_any());
                needles += 1;
            }
        }
    }
    assert!(needles > 5, "{needles}");
    let token = Regex::new("[A-Za-z0-9_-]{43}").unwrap();
    assert_eq!(token.find(&haystack).map(|found| found.as_str()), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_collector_that_is_away_is_told_of_once_and_holds_up_nothing() {
    let stage = Stage::new("untraced", "100").await;
    stage.stand_in.fail_next(100_000, &Failure::Cut);
    stage.issue("alone").await;
    let lost = |log: &str| log.matches("traces are not taken and are lost").count();
    let look = async || Ok::<_, String>((lost(&stage.log()) > 0).then_some(()));
    until("the log telling of it", PATIENCE, look).await.unwrap();
    stage.issue("lonely").await;
    assert_eq!(lost(&stage.log()), 1, "{}", stage.log());
    stage.stand_in.recover();
    stage.issue("www").await;
    stage.issuance("www").await;
    let over = async || Ok::<_, String>(stage.log().contains("traces are taken again").then_some(()));
    until("the log telling that it is over", PATIENCE, over).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_is_left_is_sent_at_the_end() {
    let stage = Stage::new("parting", "3600000").await;
    stage.issue("www").await;
    assert_eq!(stage.collector.taken().len(), 0, "they wait");
    stage.stop().await;
    assert_eq!(stage.collector.named("issuance", "www").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_silent_collector_does_not_keep_the_process_alive() {
    let stage = Stage::new("silent", "3600000").await;
    stage.issue("www").await;
    stage.stand_in.fail_next(100_000, &Failure::Silence);
    stage.stop().await;
}
