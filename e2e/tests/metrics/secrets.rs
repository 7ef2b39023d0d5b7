//! No key, token or password of a whole run stands in the log, an event, a status or a metric, whatever is logged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use certwright::api::{Certificate, CertificateRequest, Challenge, Issuer, Order};
use certwright_e2e::Scene;
use certwright_e2e::scene::Kind;
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};

use crate::stage::{PASSWORD, Stage};
use crate::vendor::TOKEN;

/// What is looked for, and what it is.
type Needles = BTreeMap<String, String>;

/// Entries of Secrets that are for everybody to see, or hold what stands in others too.
const PUBLIC: [&str; 6] = ["tls.crt", "ca.crt", "keystore.p12", "keystore.jks", "truststore.p12", "truststore.jks"];

/// What is shorter stands somewhere by chance.
const SHORTEST: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn no_secret_is_told() {
    let stage = Stage::new("discreet", &["--log-level=trace", "--logging-format=json"]).await;
    let needles = Arc::new(Mutex::new(Needles::new()));
    let gathering = tokio::spawn(gather_for_ever(stage.scene.clone(), needles.clone()));
    stage.run().await;
    let mut last = Needles::new();
    gather(&stage.scene, &mut last).await;
    gathering.abort();
    needles.lock().unwrap().extend(last);
    let needles = needles.lock().unwrap().clone();
    for kind in ["tls.key", "hmac", "token", "password", "secret"] {
        assert!(needles.values().any(|what| what.contains(kind)), "no {kind} was looked for: {:?}", needles.values());
    }
    assert!(needles.contains_key(PASSWORD) && needles.contains_key(TOKEN) && needles.len() > 100, "{}", needles.len());

    let haystacks = haystacks(&stage).await;
    for (place, text) in &haystacks {
        for (needle, what) in &needles {
            let found = text.find(needle.as_str());
            assert!(found.is_none(), "{place} shows {what}: …{}…", around(text, found.unwrap_or_default()));
        }
    }
    // The search finds what is there.
    let log = &haystacks["the log"];
    assert!(log.len() > 100_000 && log.contains(&stage.scene.namespace), "{}", log.len());
}

async fn gather_for_ever(scene: Scene, needles: Arc<Mutex<Needles>>) {
    loop {
        let mut found = Needles::new();
        gather(&scene, &mut found).await;
        needles.lock().unwrap().extend(found);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn gather(scene: &Scene, needles: &mut Needles) {
    for secret in scene.list::<Secret>().await.unwrap() {
        for (entry, value) in secret.data.iter().flatten().filter(|(entry, _)| !PUBLIC.contains(&entry.as_str())) {
            let what = format!("{}/{entry}", secret.name_any());
            for needle in spellings(&value.0).into_iter().filter(|needle| needle.len() >= SHORTEST) {
                needles.insert(needle, what.clone());
            }
        }
    }
    for challenge in scene.list::<Challenge>().await.unwrap() {
        if challenge.spec.type_ == "HTTP-01" {
            let what = format!("the key authorization of {}", challenge.name_any());
            needles.insert(challenge.spec.key.expose().to_owned(), what);
        }
    }
}

/// As it is, in base64, and each line of what has many.
fn spellings(value: &[u8]) -> Vec<String> {
    let mut all = vec![STANDARD.encode(value), URL_SAFE_NO_PAD.encode(value)];
    if let Ok(text) = std::str::from_utf8(value) {
        all.extend(text.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned));
    }
    all
}

/// Everything that somebody may read who may not read Secrets. The specs of Challenges hold the key authorization, which
/// the CA reads in public; all else is looked through whole.
async fn haystacks(stage: &Stage) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let log = std::fs::read_to_string(stage.controller.log()).unwrap();
    all.insert("the log".to_owned(), log);
    all.insert("the page of metrics".to_owned(), stage.page().await);
    add::<Event>(&stage.scene, &mut all).await;
    add::<Certificate>(&stage.scene, &mut all).await;
    add::<CertificateRequest>(&stage.scene, &mut all).await;
    add::<Order>(&stage.scene, &mut all).await;
    add::<Issuer>(&stage.scene, &mut all).await;
    for challenge in stage.scene.list::<Challenge>().await.unwrap() {
        let status = serde_json::to_string(&challenge.status).unwrap();
        all.insert(format!("the status of Challenge {}", challenge.name_any()), status);
    }
    assert!(all.len() > 20, "{:?}", all.keys());
    all
}

async fn add<K: Kind + Resource<Scope = NamespaceResourceScope>>(scene: &Scene, all: &mut BTreeMap<String, String>) {
    for object in scene.list::<K>().await.unwrap() {
        let text = serde_json::to_string(&object).unwrap();
        all.insert(format!("{} {}", K::kind(&()), object.name_any()), text);
    }
}

/// A bit of the text before a place, without what stands there.
fn around(text: &str, place: usize) -> String {
    let start = text[..place].char_indices().rev().nth(200).map_or(0, |(index, _)| index);
    text[start..place].to_owned()
}
