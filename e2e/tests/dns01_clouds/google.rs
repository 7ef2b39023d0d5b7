//! Google Cloud DNS.

#[path = "google/vendor.rs"]
mod vendor;

use std::sync::Arc;

use certwright_e2e::stand_in::{Answer, Failure, Zone};
use serde_json::{Value, json};

use self::vendor::{Google, PROJECT, TOKEN, failure};
use crate::stage::{FOREIGN, Stage, testbed};

const APEX: &str = "google.certwright.test";

async fn stage() -> (Stage, Arc<Zone>, Arc<Google>) {
    let testbed = testbed();
    let dns = testbed.state.dns().unwrap();
    let zone = Arc::new(Zone::new(dns, APEX));
    let parent = Arc::new(Zone::new(dns, "certwright.test"));
    let vendor = Arc::new(Google::new(&[("parent", parent), ("the-zone", zone.clone())]));
    let environment = |host: &str| vec![("GCE_METADATA_HOST", host.to_owned())];
    let stage =
        Stage::new(&testbed, &[("google-dns", ""), ("google-token", "/token")], vendor.clone(), environment).await;
    (stage, zone, vendor)
}

fn key_solver(secret: &str) -> Value {
    json!({ "cloudDNS": { "project": PROJECT, "serviceAccountSecretRef": { "name": secret, "key": "key.json" } } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn apex_and_wildcard_with_each_login() {
    let (stage, zone, vendor) = stage().await;
    let wildcard = format!("*.{APEX}");
    let names = [APEX, &wildcard];
    zone.add(&format!("_acme-challenge.{APEX}"), FOREIGN, 300).unwrap();

    stage.scene.put_secret("key", "key.json", &vendor.key_file()).await.unwrap();
    stage.issuer("key", key_solver("key")).await;
    stage.issue("key", "key", &names).await;
    stage.cleaned_up(&zone, APEX, &[FOREIGN]).await;
    stage.counts([("POST /token", 1), ("/managedZones?", 1)]);

    let ambient = json!({ "cloudDNS": { "project": PROJECT, "hostedZoneName": "the-zone" } });
    stage.issuer("ambient", ambient).await;
    stage.issue("ambient", "ambient", &names).await;
    stage.cleaned_up(&zone, APEX, &[FOREIGN]).await;
    stage.counts([("POST /token", 1), ("GET /computeMetadata/", 1)]);
    stage.is_clean(&[TOKEN, "PRIVATE KEY"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_fails_is_said_and_overcome() {
    let (stage, zone, vendor) = stage().await;
    let name = format!("www.{APEX}");
    let other = Google::new(&[]);
    stage.scene.put_secret("key", "key.json", &other.key_file()).await.unwrap();
    stage.issuer("key", key_solver("key")).await;
    stage.scene.certificate("wrong", "key", &[&name]).await.unwrap();
    let refused = "Google's token service answered 400 Bad Request when asked to give an access token: invalid_grant, \
                   Invalid JWT Signature.";
    stage.challenge_says(refused).await;
    stage.scene.put_secret("key", "key.json", &vendor.key_file()).await.unwrap();
    stage.issued("wrong", &[&name]).await;
    stage.cleaned_up(&zone, &name, &[]).await;

    let doing = format!("when asked to read the TXT records of _acme-challenge.a.{APEX}");
    let denied = failure(403, "forbidden", "Permission 'dns.resourceRecordSets.list' denied");
    stage.stand_in.fail_next(1, &Failure::Answer(denied));
    stage.scene.certificate("denied", "key", &[&format!("a.{APEX}")]).await.unwrap();
    stage.challenge_says(&format!("Google Cloud DNS answered 403 Forbidden {doing}: Permission 'dns.")).await;
    // A changed Secret is tried at once; what was put right elsewhere only after ten minutes.
    stage.scene.put_secret("key", "touched", "yes").await.unwrap();
    stage.issued("denied", &[&format!("a.{APEX}")]).await;

    let too_many = failure(429, "rateLimitExceeded", "Quota exceeded").with("retry-after", "8");
    stage.stand_in.fail_next(1, &Failure::Answer(too_many));
    stage.stand_in.fail_next(1, &Failure::Answer(Answer::page(502)));
    stage.issue("limited", "key", &[&format!("b.{APEX}")]).await;
    stage.is_clean(&[TOKEN, "PRIVATE KEY"]);
}
