//! The controller is killed at every step of an issuance over HTTP-01: no pod, Service or Ingress is left behind. These
//! run inside a testbed of tier `cluster`, with a controller of their own:
//! `testbed run --tier cluster -- cargo test -p certwright-e2e --test kill_http01 -- --include-ignored`.
#![allow(clippy::unwrap_used)]

#[path = "kill/issuance.rs"]
mod issuance;

use certwright_e2e::controller::binary;
use certwright_e2e::image::{CERTWRIGHT, import_certwright};
use certwright_e2e::kubectl::Kubectl;
use certwright_e2e::{Controller, Testbed, install};
use serde_json::json;

use crate::issuance::{Issuance, all_end_well, scenes};

/// Before these nothing is different from DNS-01, and after these the issuance is over.
const WRITES: std::ops::RangeInclusive<usize> = 7..=28;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn killed_after_each_write() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run --tier cluster`");
    let class = testbed.state.cluster().unwrap().ingress_class.clone();
    import_certwright(&testbed.state, &binary().unwrap()).unwrap();
    // A test program before may have deployed certwright in this testbed; there must be one controller only.
    install::end_deployed(&Kubectl::of(&testbed.state).unwrap()).unwrap();
    let image = ["--acme-http01-solver-image", CERTWRIGHT, "--acme-http01-solver-image-pull-policy", "Never"];
    let mut controller = Controller::start(&testbed, &image).await.unwrap();

    let solver = json!({ "http01": { "ingress": { "ingressClassName": class } } });
    let scenes = scenes(&testbed, &controller, "http", WRITES.count(), Some(&solver)).await;
    let mut begun = Vec::new();
    for (number, scene) in WRITES.zip(scenes) {
        let mut issuance = Issuance::begin(scene).await;
        let was_killed = issuance.kill_after_write(&mut controller, number).await;
        begun.push(issuance);
        if !was_killed {
            break;
        }
    }
    println!("killed during {} issuances", begun.len());
    assert!(begun.len() > 15, "{}", begun.len());
    all_end_well(&begun, &controller).await;
}
