//! CAA records are looked up before an order is made, if the issuer's annotation asks for it.

use certwright::api::names::annotation;
use certwright::api::{Certificate, CertificateRequest, Issuer, Order};
use certwright_e2e::fault_proxy::journal::orders_made;
use certwright_e2e::fault_proxy::{FaultProxy, ServerIdentity};
use certwright_e2e::{Scene, dns};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;

use crate::support::{event, scene, settles, unready};

/// The name by which the testbed's CA recognises itself: `caaIdentities` in its directory.
const OURS: &str = "pebble.letsencrypt.org";

struct Case {
    scene: Scene,
    proxy: FaultProxy,
    account: String,
}

impl Case {
    /// An issuer with this annotation behind a proxy.
    async fn new(prefix: &str, policy: &str) -> Self {
        let scene = scene(prefix).await;
        let identity = ServerIdentity::create(&scene.testbed.state).unwrap();
        let proxy = FaultProxy::start(&identity, scene.testbed.state.acme().unwrap()).await.unwrap();
        let mut spec = scene.issuer_spec("pebble-account").unwrap();
        proxy.stand_before(&mut spec);
        scene.create::<Issuer>("pebble", spec).await.unwrap();
        scene.wait_ready::<Issuer>("pebble").await.unwrap();
        let patch = json!({ "metadata": { "annotations": { annotation::CAA: policy } } });
        let issuer = scene.patch::<Issuer>("pebble", patch).await.unwrap();
        let account = issuer.status.unwrap().acme.unwrap().uri.unwrap();
        Self { scene, proxy, account }
    }

    /// Gives the name `LABEL` of the scene this CAA record, instead of others.
    fn put(&self, label: &str, record: &str) {
        let name = self.scene.dns_name(label);
        let lines = [format!("delete {name} CAA"), format!("add {name} 60 CAA {record}")];
        dns::update(self.scene.testbed.state.dns().unwrap(), &lines).unwrap();
    }

    async fn certificate(&self, name: &str, label: &str) {
        self.scene.certificate(name, "pebble", &[&self.scene.dns_name(label)]).await.unwrap();
    }

    /// Has a new Order made, for which the records are looked up at once.
    async fn try_again(&self, request: &str) {
        self.scene.api::<CertificateRequest>().delete(request, &DeleteParams::default()).await.unwrap();
    }

    fn orders(&self) -> usize {
        orders_made(&self.proxy.journal())
    }

    /// Waits until the Certificate tells that nothing was ordered, for a reason with these words.
    async fn is_refused(&self, name: &str, words: &[&str]) {
        let all = [&["Nothing was ordered: ", "; looked up again after 5 min"], words].concat();
        unready::<CertificateRequest>(&self.scene, &format!("{name}-1"), &all).await;
        unready::<Certificate>(&self.scene, name, &all).await;
    }
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn what_they_forbid_is_not_ordered() {
    let case = Case::new("caa-refuse", "refuse").await;
    let below = case.scene.dns_name("below");
    case.put("below", "0 issue \"other.example\"");
    case.put("bound", &format!("0 issue \"{OURS}; accounturi={}0\"", case.account));
    case.put("wild", "0 issuewild \";\"");
    case.certificate("www", "www.below").await;
    case.certificate("bound", "bound").await;
    case.certificate("star", "*.wild").await;
    let told = [&*format!("www.{below}: the CAA records of {below} allow other.example, and the CA is {OURS}")];
    case.is_refused("www", &told).await;
    let told = [&*format!(
        "allow {OURS}; accounturi={}0, and the CA is {OURS} with the account {}",
        case.account, case.account
    )];
    case.is_refused("bound", &told).await;
    case.is_refused("star", &["allow nobody"]).await;
    settles(&case.scene).await;
    assert_eq!(case.orders(), 0);

    // The records of one issuer's own account, and those of a wildcard concern nobody else.
    case.certificate("wild", "wild").await;
    case.scene.issued("wild").await.unwrap();
    assert_eq!(case.orders(), 1);

    case.put("below", &format!("0 issue \"{OURS}; accounturi={}\"", case.account));
    case.try_again("www-1").await;
    case.scene.issued("www").await.unwrap();
    assert_eq!(case.orders(), 2);
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn what_they_forbid_is_warned_of() {
    let case = Case::new("caa-warn", "warn").await;
    case.put("www", "0 issue \"other.example\"");
    case.certificate("www", "www").await;
    case.certificate("none", "none").await;
    case.scene.issued("www").await.unwrap();
    case.scene.issued("none").await.unwrap();
    let orders: Vec<Order> = case.scene.list().await.unwrap();
    let order_of = |name: &str| {
        let is_its = |order: &&Order| order.spec.dns_names == [case.scene.dns_name(name)];
        orders.iter().find(is_its).unwrap().name_any()
    };
    event(&case.scene, &order_of("www"), "CAA", "allow other.example, and the CA is").await;
    let events = case.scene.events(&order_of("none")).await.unwrap();
    assert!(!events.iter().any(|(reason, _)| reason == "CAA"), "{events:?}");

    // A mind is changed while an Order waits.
    let refuse = |policy: &str| json!({ "metadata": { "annotations": { annotation::CAA: policy } } });
    case.scene.patch::<Issuer>("pebble", refuse("refuse")).await.unwrap();
    case.put("late", "0 issue \";\"");
    case.certificate("late", "late").await;
    case.is_refused("late", &["allow nobody"]).await;
    case.scene.patch::<Issuer>("pebble", refuse("off")).await.unwrap();
    case.scene.wait_ready::<Certificate>("late").await.unwrap();
}
