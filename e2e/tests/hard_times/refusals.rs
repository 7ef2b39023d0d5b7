//! Rights that are missing, a database that is full, an API server that hangs.

use std::time::Duration;

use certwright::api::{Certificate, CertificateRequest, Issuer};
use certwright_e2e::fault_proxy::journal::orders_made;
use certwright_e2e::fault_proxy::{FaultProxy, ServerIdentity};
use certwright_e2e::kubernetes::ETCD;
use certwright_e2e::scene::{PATIENCE, certificate_spec};
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{Api, ListParams, Patch, PatchParams};
use rustix::process::Signal;
use serde_json::json;

use super::{ONE_AT_A_TIME, all_end_well, says, testbed};

/// Longer than any call to the API server is waited for.
const HANGING: Duration = Duration::from_secs(20);
const COUNT: usize = 8;

/// Issuances of which the CA's orders are counted.
struct Stage {
    controller: Controller,
    scene: Scene,
    proxy: FaultProxy,
    names: Vec<String>,
}

impl Stage {
    async fn new(testbed: &Testbed, prefix: &str) -> Self {
        let controller = Controller::start(testbed, &[]).await.unwrap();
        let scene = Scene::new(testbed, controller.log(), prefix).await.unwrap();
        let identity = ServerIdentity::create(&testbed.state).unwrap();
        let proxy = FaultProxy::start(&identity, testbed.state.acme().unwrap()).await.unwrap();
        let mut spec = scene.issuer_spec("account").unwrap();
        proxy.stand_before(&mut spec);
        scene.create::<Issuer>("pebble", spec).await.unwrap();
        scene.wait_ready::<Issuer>("pebble").await.unwrap();
        let names = (0..COUNT).map(|number| format!("n{number}")).collect();
        Self { controller, scene, proxy, names }
    }

    /// Creates the Certificates one after the other, so that each is at another step.
    async fn begin(&self) {
        for name in &self.names {
            let mut spec = certificate_spec(name, "Issuer", "pebble", &[&self.scene.dns_name(name)]);
            spec["privateKey"] = json!({ "algorithm": "ECDSA", "size": 256 });
            self.scene.create::<Certificate>(name, spec).await.unwrap();
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }

    /// All are issued, and the CA was asked for no order more than once.
    async fn ends_well(&self) {
        all_end_well(&self.scene, &self.names).await;
        assert_eq!(orders_made(&self.proxy.journal()), COUNT);
        let log = std::fs::read_to_string(self.controller.log()).unwrap();
        assert!(!log.contains("panicked"), "see {}", self.controller.log().display());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn rights_that_are_missing() {
    const ROLE: &str = "certwright-controller-certificates";
    let _alone = ONE_AT_A_TIME.lock().await;
    let testbed = testbed();
    let stage = Stage::new(&testbed, "rights").await;
    let roles: Api<ClusterRole> = Api::all(stage.scene.client.clone());
    let role = roles.get(ROLE).await.unwrap();
    let mut poorer = role.rules.clone().unwrap();
    let all = poorer.len();
    poorer.retain(|rule| !rule.resources.iter().flatten().any(|resource| resource == "certificaterequests"));
    assert!(poorer.len() < all, "{poorer:#?}");
    let give = async |rules| {
        let patch = Patch::Merge(json!({ "rules": rules }));
        roles.patch(ROLE, &PatchParams::default(), &patch).await.unwrap();
    };
    give(poorer).await;
    // The API server learns of it in a moment.
    let requests: Api<CertificateRequest> = Api::all(testbed.certwright().await.unwrap());
    let look = async || anyhow::Ok(requests.list(&ListParams::default()).await.is_err().then_some(()));
    until("the right to be gone", PATIENCE, look).await.unwrap();
    stage.begin().await;
    says(stage.controller.log(), "no right to create certificaterequests.cert-manager.io").await;
    give(role.rules.unwrap()).await;
    stage.ends_well().await;
}

/// etcd that refuses every write, as it does when its space is used up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_database_that_is_full() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let testbed = testbed();
    let stage = Stage::new(&testbed, "full").await;
    // Made before, for it takes time in which all may have been issued.
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let alarm = async |action: &str| {
        let request = client.post(format!("{ETCD}/v3/maintenance/alarm"));
        let answer = request.json(&json!({ "action": action, "alarm": "NOSPACE" })).send().await.unwrap();
        answer.error_for_status().unwrap();
    };
    stage.begin().await;
    alarm("ACTIVATE").await;
    says(stage.controller.log(), "database space exceeded").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    alarm("DEACTIVATE").await;
    stage.ends_well().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn an_api_server_that_hangs() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let testbed = testbed();
    let stage = Stage::new(&testbed, "hangs").await;
    stage.begin().await;
    let server = testbed.state.processes.iter().find(|process| process.name == "kube-apiserver").unwrap().identity;
    assert!(server.signal(Signal::STOP));
    tokio::time::sleep(HANGING).await;
    assert!(server.signal(Signal::CONT));
    stage.ends_well().await;
}
