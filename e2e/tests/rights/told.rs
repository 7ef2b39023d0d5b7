//! A right that is missing is told where people look, once, and what was held up goes on by itself when it is granted.

use certwright::api::{Certificate, CertificateRequest, Challenge, Issuer, Order};
use certwright_e2e::audit::Write;
use certwright_e2e::helm::{Helm, chart};
use certwright_e2e::kubernetes::CERTWRIGHT_USER;
use certwright_e2e::scene::{PATIENCE, certificate_spec, is_ready, unreadiness};
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed, audit};
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{ONE_AT_A_TIME, install, issuer, loses, testbed, with_again, without};

const CERTIFICATES: &str = "certwright-controller-certificates";
const ORDERS: &str = "certwright-controller-orders";
const CHALLENGES: &str = "certwright-controller-challenges";
const INGRESSES: &str = "certwright-controller-ingress-shim";

/// What the probe says.
async fn readiness() -> String {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get("http://127.0.0.1:9403/readyz").send().await.unwrap();
    assert_eq!(answer.status(), 200, "the others go on");
    answer.text().await.unwrap()
}

async fn has_event(scene: &Scene, object: &str, words: &str) {
    let look = async || {
        let events = scene.events(object).await?;
        let is_meant = |(_, note): &(String, String)| note.contains("certwright has no right") && note.contains(words);
        Ok::<_, anyhow::Error>(events.iter().any(is_meant).then_some(()))
    };
    until(&format!("an event of {object} to say {words:?}"), PATIENCE, look).await.unwrap();
}

fn lines_with(controller: &Controller, words: &str) -> usize {
    std::fs::read_to_string(controller.log()).unwrap().lines().filter(|line| line.contains(words)).count()
}

/// A stage on which one resource is not to be created.
struct Stage {
    testbed: Testbed,
    controller: Controller,
    scene: Scene,
}

impl Stage {
    async fn new(role: &str, resource: &str) -> Self {
        let testbed = testbed();
        install(&testbed).await.unwrap();
        let controller = Controller::start(&testbed, &[]).await.unwrap();
        let scene = Scene::new(&testbed, controller.log(), "told").await.unwrap();
        scene.issuer("pebble").await.unwrap();
        without(&testbed, role, resource).await;
        Self { testbed, controller, scene }
    }

    async fn begin(&self, name: &str) {
        let mut spec = certificate_spec(name, "Issuer", "pebble", &[&self.scene.dns_name(name)]);
        spec["privateKey"] = json!({ "algorithm": "ECDSA" });
        self.scene.create::<Certificate>(name, spec).await.unwrap();
    }

    /// Waits until the Certificate's Ready condition says this.
    async fn says(&self, name: &str, words: &str) {
        let says =
            |certificate: &Certificate| unreadiness(certificate).is_some_and(|(_, message)| message.contains(words));
        self.scene.wait_for::<Certificate>(name, words, PATIENCE, says).await.unwrap();
    }

    /// Nothing more is written than what was told, however often it is tried. The last of that may come a moment later than
    /// what was waited for.
    async fn is_quiet(&self) {
        let begin = self.testbed.mark().unwrap();
        let mut own = self.writes_of_a_while().await;
        for _ in 0..4 {
            if own.is_empty() {
                break;
            }
            own = self.writes_of_a_while().await;
        }
        assert!(own.is_empty(), "{own:#?}");
        let log = self.testbed.state.kubernetes().unwrap().audit_log.clone();
        let is_tried = async || {
            let tried = audit::requests_since(&log, begin)?;
            Ok::<_, anyhow::Error>(tried.iter().any(|request| request.code == 403).then_some(()))
        };
        until("it to be tried again", 2 * PATIENCE, is_tried).await.unwrap();
    }

    /// Waits until the Certificate is issued. The next try may come a minute after the right was granted.
    async fn goes_on(&self, name: &str) {
        self.scene.wait_for::<Certificate>(name, "going on", 3 * PATIENCE, is_ready).await.unwrap();
        self.scene.issued(name).await.unwrap();
    }

    /// What the controller writes within eight seconds in the scene's namespace, without what is refused.
    async fn writes_of_a_while(&self) -> Vec<Write> {
        let mark = self.testbed.mark().unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(8)).await;
        let mut writes = self.testbed.writes_since(mark).await.unwrap();
        let here = |write: &Write| write.user == CERTWRIGHT_USER && write.namespace == self.scene.namespace;
        writes.retain(|write| here(write) && write.code < 300);
        writes
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_certificate_says_what_may_not_be_created() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let stage = Stage::new(CERTIFICATES, "certificaterequests").await;
    let requests: Api<CertificateRequest> = Api::all(stage.testbed.certwright().await.unwrap());
    loses(async || requests.list(&ListParams::default()).await.is_err()).await;
    stage.begin("web").await;
    let right = format!("create certificaterequests.cert-manager.io in namespace \"{}\"", stage.scene.namespace);
    stage.says("web", &format!("certwright has no right to {right}; grant it to \"certwright\"")).await;
    stage.says("web", "kubectl auth can-i create certificaterequests.cert-manager.io -n").await;
    has_event(&stage.scene, "web", &right).await;
    assert!(readiness().await.contains(&format!("no right to {right}")));
    stage.is_quiet().await;
    assert_eq!(lines_with(&stage.controller, &format!("certwright has no right to {right}")), 1);

    with_again(&stage.testbed, CERTIFICATES, "certificaterequests").await;
    stage.goes_on("web").await;
    let look = async || Ok::<_, anyhow::Error>((!readiness().await.contains("certificaterequests")).then_some(()));
    until("the probe to be content", PATIENCE, look).await.unwrap();
    // The log is written after the probe was told.
    let granted = format!("the right to {right} is there now");
    let look = async || Ok::<_, anyhow::Error>((lines_with(&stage.controller, &granted) == 1).then_some(()));
    until("one line about the right", PATIENCE, look).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_goes_up_to_the_certificate() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let stage = Stage::new(ORDERS, "orders").await;
    let client = stage.testbed.certwright().await.unwrap();
    let orders: Api<Order> = Api::all(client.clone());
    loses(async || orders.list(&ListParams::default()).await.is_err()).await;
    stage.begin("order").await;
    stage.says("order", "certwright has no right to create orders.acme.cert-manager.io").await;
    let request = stage.scene.list::<CertificateRequest>().await.unwrap().remove(0).metadata.name.unwrap();
    has_event(&stage.scene, &request, "create orders.acme.cert-manager.io").await;
    stage.is_quiet().await;
    with_again(&stage.testbed, ORDERS, "orders").await;
    stage.goes_on("order").await;

    without(&stage.testbed, CHALLENGES, "challenges").await;
    let challenges: Api<Challenge> = Api::all(client);
    loses(async || challenges.list(&ListParams::default()).await.is_err()).await;
    stage.begin("challenge").await;
    stage.says("challenge", "certwright has no right to create challenges.acme.cert-manager.io").await;
    with_again(&stage.testbed, CHALLENGES, "challenges").await;
    stage.goes_on("challenge").await;
}

/// Nothing can be decided about who is not known, and what was ready stays so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn secrets_that_may_not_be_read() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let stage = Stage::new(CERTIFICATES, "secrets").await;
    let secrets: Api<Secret> = Api::all(stage.testbed.certwright().await.unwrap());
    loses(async || secrets.list(&ListParams::default()).await.is_err()).await;
    stage.begin("web").await;
    stage.says("web", "certwright has no right to get secrets in namespace").await;
    has_event(&stage.scene, "web", "get secrets").await;
    let spec = json!({ "ca": { "secretName": "missing" } });
    stage.scene.create::<Issuer>("ca", spec).await.unwrap();
    let says = |issuer: &Issuer| {
        unreadiness(issuer).is_some_and(|(_, message)| message.contains("certwright has no right to get secrets"))
    };
    stage.scene.wait_for::<Issuer>("ca", "saying what is missing", PATIENCE, says).await.unwrap();
    stage.scene.wait_ready::<Issuer>("pebble").await.unwrap();
    stage.is_quiet().await;
    with_again(&stage.testbed, CERTIFICATES, "secrets").await;
    stage.goes_on("web").await;
}

/// The solver's own objects, and that nobody sees what becomes of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_challenge_says_what_may_not_be_created() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let stage = Stage::new(CHALLENGES, "ingresses").await;
    let ingresses: Api<k8s_openapi::api::networking::v1::Ingress> = Api::all(stage.testbed.certwright().await.unwrap());
    loses(async || ingresses.list(&ListParams::default()).await.is_err()).await;
    issuer(&stage.scene, "pods", json!({ "http01": { "ingress": {} } })).await;
    let name = stage.scene.dns_name("http");
    stage.scene.certificate("http", "pods", &[&name]).await.unwrap();
    stage.says("http", "certwright has no right to create ingresses.networking.k8s.io").await;
    let own = stage.scene.list::<Challenge>().await.unwrap().remove(0);
    has_event(&stage.scene, &own.metadata.name.clone().unwrap(), "create ingresses.networking.k8s.io").await;
    with_again(&stage.testbed, CHALLENGES, "ingresses").await;
    let presented = |challenge: &Challenge| challenge.status.as_ref().is_some_and(|status| status.presented);
    let name = own.metadata.name.unwrap();
    stage.scene.wait_for::<Challenge>(&name, "being presented", 3 * PATIENCE, presented).await.unwrap();
}

/// Gives the controller the rights to challenges and Ingresses that the chart has for these values.
async fn grant_as_charted(testbed: &Testbed, values: &str) {
    let chart = chart().display().to_string();
    let options = ["template", "certwright", &chart, "--show-only=templates/rbac.yaml", "--set", values];
    let rendered = Helm::of(&testbed.state).unwrap().run(&options).unwrap();
    let objects = serde_yaml::Deserializer::from_str(&rendered).map(|object| Value::deserialize(object).unwrap());
    let roles: Api<ClusterRole> = Api::all(testbed.admin().await.unwrap());
    let mut granted = 0;
    for role in objects.filter(|object| object["kind"] == "ClusterRole") {
        let name = role["metadata"]["name"].as_str().unwrap();
        if [CHALLENGES, INGRESSES].contains(&name) {
            let patch = Patch::Merge(json!({ "rules": role["rules"] }));
            roles.patch(name, &PatchParams::default(), &patch).await.unwrap();
            granted += 1;
        }
    }
    assert_eq!(granted, 2);
}

/// What the chart leaves out with `global.rbac.disableHTTPChallengesRole`: all else goes on, from the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn without_the_rights_of_solvers() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let testbed = testbed();
    install(&testbed).await.unwrap();
    grant_as_charted(&testbed, "global.rbac.disableHTTPChallengesRole=true").await;
    let pods: Api<Pod> = Api::all(testbed.certwright().await.unwrap());
    loses(async || pods.list(&ListParams::default()).await.is_err()).await;
    let controller = Controller::start(&testbed, &[]).await.unwrap();
    let scene = Scene::new(&testbed, controller.log(), "lean").await.unwrap();
    scene.issuer("pebble").await.unwrap();
    scene.certificate("dns", "pebble", &[&scene.dns_name("dns")]).await.unwrap();
    scene.issued("dns").await.unwrap();

    issuer(&scene, "pods", json!({ "http01": { "ingress": {} } })).await;
    scene.certificate("http", "pods", &[&scene.dns_name("http")]).await.unwrap();
    let says = |challenge: &Challenge| {
        let reason = challenge.status.as_ref().and_then(|status| status.reason.as_deref()).unwrap_or_default();
        reason.contains("certwright has no right to create") && reason.contains("grant it to \"certwright\"")
    };
    let look = async || Ok::<_, anyhow::Error>(scene.list::<Challenge>().await?.iter().any(says).then_some(()));
    until("the Challenge to say what is missing", PATIENCE, look).await.unwrap();
    // What was never presented keeps nobody from deleting it.
    scene.give_up().await.unwrap();
    grant_as_charted(&testbed, "global.rbac.disableHTTPChallengesRole=false").await;
    // Another test begins with all rights.
    let look = async || pods.list(&ListParams::default()).await.map(|_| Some(()));
    until("the rights to be there again", PATIENCE, look).await.unwrap();
}
