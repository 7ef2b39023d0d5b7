//! DNS-01 where names are not seen alike from everywhere, and where servers are late or dead. These run inside a testbed, with
//! a controller of their own: `testbed run -- cargo test -p certwright-e2e --test dns01_lookups -- --include-ignored`.
#![allow(clippy::unwrap_used)]

#[path = "dns01_lookups/answerer.rs"]
mod answerer;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use certwright::api::names::annotation;
use certwright::api::{Issuer, find_condition};
use certwright_e2e::audit::{Mark, Write};
use certwright_e2e::network::{NODE, SPARE};
use certwright_e2e::scene::PATIENCE;
use certwright_e2e::{Controller, Scene, Testbed, dns};
use hickory_proto::rr::RecordType;
use kube::ResourceExt;
use kube::api::PostParams;
use serde_json::json;

use answerer::{Answerer, Reply, silent};

/// The controller asks this one: it knows no name at all.
const LIAR: Ipv4Addr = SPARE[0];
/// A resolver that knows of a third server of the zone, and that server, which has news late.
const LATE: [Ipv4Addr; 2] = [SPARE[1], SPARE[2]];
/// The same with a third server that says nothing.
const DEAD: [Ipv4Addr; 2] = [SPARE[3], SPARE[4]];
/// Nothing listens here.
const NOBODY: Ipv4Addr = SPARE[5];

/// More status writes than this are a storm: a Challenge says what is wrong, and when it is tried again.
const HANDFUL: usize = 5;

/// One after another they would take minutes, most of it waiting. A controller is started once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn look_ups_where_names_are_not_seen_alike() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let _liar = Answerer::start(LIAR, |_, _| Reply::NoSuchName).await;
    let flags = ["--dns01-recursive-nameservers", &format!("{LIAR}:53"), "--dns01-check-retry-period", "5s"];
    let controller = Controller::start(&testbed, &flags).await.unwrap();
    let scene = async |prefix| Case { scene: Scene::new(&testbed, controller.log(), prefix).await.unwrap() };
    tokio::join!(
        async { a_solver_with_nameservers_of_its_own(&scene("split").await).await },
        async { a_resolver_that_refuses(&scene("refuse").await).await },
        async { a_secondary_that_is_late(&scene("late").await).await },
        async { a_secondary_that_is_dead(&scene("dead").await).await },
        async { aliases_in_a_circle(&scene("circle").await).await },
        async { a_wish_that_cannot_be_read(&scene("wish").await).await },
    );
}

struct Case {
    scene: Scene,
}

impl Case {
    /// An issuer whose solver asks these nameservers, verifying so if it is said.
    async fn issuer(&self, name: &str, nameservers: &[String], verification: Option<&str>) {
        let mut spec = self.scene.issuer_spec(&format!("{name}-account")).unwrap();
        spec["acme"]["solvers"][0]["dns01"]["nameservers"] = json!(nameservers);
        spec["acme"]["solvers"][0]["dns01"]["cnameStrategy"] = "Follow".into();
        let mut metadata = json!({ "name": name });
        if let Some(mode) = verification {
            metadata["annotations"] = json!({ annotation::DNS01_VERIFICATION: mode });
        }
        let issuer: Issuer = serde_json::from_value(json!({
            "apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": metadata, "spec": spec,
        }))
        .unwrap();
        self.scene.api::<Issuer>().create(&PostParams::default(), &issuer).await.unwrap();
        self.scene.wait_ready::<Issuer>(name).await.unwrap();
    }

    async fn certificate(&self, name: &str, issuer: &str) {
        self.scene.certificate(name, issuer, &[&self.scene.dns_name(name)]).await.unwrap();
    }

    /// The name of the TXT record.
    fn record(&self, name: &str) -> String {
        format!("_acme-challenge.{}.", self.scene.dns_name(name))
    }

    /// Waits until the Challenge of that Certificate says all of this.
    async fn says(&self, name: &str, words: &[&str]) {
        let dns_name = self.scene.dns_name(name);
        let what = format!("the Challenge of {name} to say {words:?}");
        let seen = self.scene.see_challenge(&what, PATIENCE, |challenge, reason| {
            challenge.spec.dns_name == dns_name && words.iter().all(|words| reason.contains(words))
        });
        seen.await.unwrap();
    }

    /// How often the status of a Challenge of this scene was written.
    async fn status_writes(&self, mark: Mark) -> usize {
        let writes = self.scene.testbed.writes_since(mark).await.unwrap();
        let is_one = |write: &&Write| {
            write.namespace == self.scene.namespace && write.resource == "challenges" && write.subresource == "status"
        };
        writes.iter().filter(is_one).count()
    }
}

/// The testbed's own resolver, which knows all names.
fn knowing() -> Vec<String> {
    vec![format!("{NODE}:53")]
}

/// A resolver that hands on but for one more server of the testbed's zone.
async fn resolver_with_third_server([resolver, third]: [Ipv4Addr; 2]) -> Answerer {
    let zone = "certwright.test.";
    Answerer::start(resolver, move |name, record_type| match (name, record_type) {
        (name, RecordType::NS) if name == zone => Reply::AndNameserver("third.certwright.test."),
        ("third.certwright.test.", RecordType::A) => Reply::Address(third),
        ("third.certwright.test.", RecordType::AAAA) => Reply::Nothing,
        _ => Reply::HandOn,
    })
    .await
}

async fn a_solver_with_nameservers_of_its_own(case: &Case) {
    case.issuer("inside", &knowing(), None).await;
    case.issuer("direct", &knowing(), Some("authoritative")).await;
    case.issuer("lied-to", &[], None).await;
    let mark = case.scene.testbed.mark().unwrap();
    case.certificate("blind", "lied-to").await;
    case.says("blind", &["cannot find the DNS zone", &format!("{LIAR}:53 said for"), "next try after 5 s"]).await;
    assert!(case.status_writes(mark).await <= HANDFUL);
    case.certificate("recursive", "inside").await;
    case.certificate("authoritative", "direct").await;
    case.scene.issued("recursive").await.unwrap();
    case.scene.issued("authoritative").await.unwrap();
}

async fn a_resolver_that_refuses(case: &Case) {
    case.issuer("refused", &[format!("{NOBODY}:53")], None).await;
    let mark = case.scene.testbed.mark().unwrap();
    case.certificate("www", "refused").await;
    case.says("www", &[&format!("{NOBODY}:53 could not be reached over UDP"), "next try after 15 s"]).await;
    let writes = case.status_writes(mark).await;
    assert!(writes <= HANDFUL, "{writes} writes of the Challenge's status");
}

/// Recursive nameservers are asked only when all others have the record: they would remember that they have not.
async fn a_secondary_that_is_late(case: &Case) {
    let resolver = resolver_with_third_server(LATE).await;
    let has_caught_up = Arc::new(AtomicBool::new(false));
    let caught_up = has_caught_up.clone();
    let late =
        Answerer::start(
            LATE[1],
            move |_, _| {
                if caught_up.load(Ordering::Relaxed) { Reply::HandOn } else { Reply::NoSuchName }
            },
        )
        .await;
    case.issuer("both", &[format!("{}:53", LATE[0])], Some("both")).await;
    case.issuer("other", &knowing(), None).await;
    case.certificate("www", "both").await;
    case.says("www", &[&format!("third.certwright.test ({}) does not have the TXT record yet", LATE[1])]).await;
    let record = case.record("www");
    assert!(late.was_asked(&record, RecordType::TXT));
    assert!(resolver.was_asked("certwright.test.", RecordType::NS));
    for record_type in [RecordType::CNAME, RecordType::SOA, RecordType::TXT] {
        assert!(!resolver.was_asked(&record, record_type), "{record_type}");
    }
    case.certificate("meanwhile", "other").await;
    case.scene.issued("meanwhile").await.unwrap();
    has_caught_up.store(true, Ordering::Relaxed);
    case.scene.issued("www").await.unwrap();
    assert!(resolver.was_asked(&record, RecordType::TXT));
}

async fn a_secondary_that_is_dead(case: &Case) {
    let resolver = resolver_with_third_server(DEAD).await;
    let _dead = silent(DEAD[1]).await;
    let nameservers = [format!("{}:53", DEAD[0])];
    case.issuer("strict", &nameservers, Some("authoritative")).await;
    case.issuer("careless", &nameservers, Some("none")).await;
    case.certificate("www", "strict").await;
    let told = format!("third.certwright.test ({}) gave no answer over UDP within 2.5 s", DEAD[1]);
    case.says("www", &[&told, "waited for until 30 s after presenting"]).await;
    case.certificate("unverified", "careless").await;
    case.scene.issued("unverified").await.unwrap();
    assert!(!resolver.was_asked(&case.record("unverified"), RecordType::NS));
    case.scene.issued("www").await.unwrap();
}

async fn aliases_in_a_circle(case: &Case) {
    let (first, second) = (case.record("www"), format!("away.{}.", case.scene.dns_name("www")));
    let lines = [format!("add {first} 60 CNAME {second}"), format!("add {second} 60 CNAME {first}")];
    dns::update(case.scene.testbed.state.dns().unwrap(), &lines).unwrap();
    case.issuer("following", &knowing(), None).await;
    case.certificate("www", "following").await;
    let [first, second] = [&first, &second].map(|name| name.trim_end_matches('.'));
    case.says("www", &["lead back to where they came from", &format!("{first} -> {second} -> {first}")]).await;
}

async fn a_wish_that_cannot_be_read(case: &Case) {
    case.issuer("odd", &knowing(), Some("quorum")).await;
    let told = |issuer: &Issuer| {
        let ready = issuer.status.as_ref().and_then(|status| find_condition(&status.conditions, "Ready"));
        let message = ready.and_then(|ready| ready.message.as_deref()).unwrap_or_default();
        message.contains("the annotation certwright.dev/dns01-verification is ignored, because \"quorum\" is not")
    };
    case.scene.wait_for::<Issuer>("odd", "saying so", PATIENCE, told).await.unwrap();
    case.certificate("www", "odd").await;
    let issued = case.scene.issued("www").await.unwrap();
    assert_eq!(issued.certificate.name_any(), "www");
}
