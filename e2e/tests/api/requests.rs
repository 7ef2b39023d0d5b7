//! Certificates that cannot be ordered say why, and nothing is ordered.

use std::time::Duration;

use certwright::api::names::condition;
use certwright::api::{Certificate, CertificateRequest, Issuer};
use kube::api::DeleteParams;
use serde_json::json;

use crate::support::{
    condition_of, event, issuer_with, mend_issuer, nothing_is_ordered, only_request, scene, settles, unready,
    writes_during,
};

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn an_issuer_that_comes_later() {
    let scene = scene("late").await;
    let name = scene.dns_name("www");
    scene.certificate("www", "pebble", &[&name]).await.unwrap();
    let words = ["Issuer \"pebble\" not found", &scene.namespace];
    unready::<CertificateRequest>(&scene, "www-1", &words).await;
    unready::<Certificate>(&scene, "www", &words).await;
    settles(&scene).await;
    nothing_is_ordered(&scene).await;
    scene.issuer("pebble").await.unwrap();
    scene.issued("www").await.unwrap();
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn an_issuer_that_is_not_ready() {
    let scene = scene("notready").await;
    issuer_with(&scene, |acme| acme["server"] = json!("https://10.77.0.1:1/dir")).await;
    let name = scene.dns_name("www");
    scene.certificate("www", "pebble", &[&name]).await.unwrap();
    unready::<Certificate>(&scene, "www", &["Issuer \"pebble\"", "https://10.77.0.1:1/dir"]).await;
    nothing_is_ordered(&scene).await;
    mend_issuer(&scene).await;
    scene.issued("www").await.unwrap();
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_name_that_no_solver_covers() {
    let scene = scene("uncovered").await;
    issuer_with(&scene, |acme| acme["solvers"][0]["selector"] = json!({ "dnsZones": ["other.test"] })).await;
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
    let name = scene.dns_name("www");
    scene.certificate("www", "pebble", &[&name]).await.unwrap();
    let words = ["no solver for", name.as_str()];
    unready::<Certificate>(&scene, "www", &words).await;
    unready::<CertificateRequest>(&scene, "www-1", &words).await;
    settles(&scene).await;
    nothing_is_ordered(&scene).await;
    // Nothing was ordered, so nothing has to be waited for once a solver covers the name.
    scene.patch::<Issuer>("pebble", json!({ "spec": scene.issuer_spec("pebble-account").unwrap() })).await.unwrap();
    scene.issued("www").await.unwrap();
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn invalid_names() {
    let scene = scene("names").await;
    scene.issuer("pebble").await.unwrap();
    let long = format!("{}.certwright.test", "a".repeat(64));
    let wrong = ["exa_mple..test", "-a.certwright.test", "a.*.certwright.test", "10.77.0.1", long.as_str(), ""];
    for (index, name) in wrong.into_iter().enumerate() {
        let certificate = format!("wrong{index}");
        scene.certificate(&certificate, "pebble", &[&scene.dns_name("good"), name]).await.unwrap();
        unready::<Certificate>(&scene, &certificate, &["spec.dnsNames[1]", name]).await;
    }
    settles(&scene).await;
    nothing_is_ordered(&scene).await;
    assert!(scene.list::<CertificateRequest>().await.unwrap().is_empty());
    event(&scene, "wrong0", "InvalidSpec", "exa_mple..test").await;

    let good = scene.dns_name("good");
    scene.patch::<Certificate>("wrong0", json!({ "spec": { "dnsNames": [good] } })).await.unwrap();
    assert_eq!(scene.issued("wrong0").await.unwrap().leaf().names.dns_names, [good]);
}

/// Names in another spelling than the one in certificates are ordered in that one, and once.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn upper_case_and_international_names() {
    let scene = scene("idn").await;
    scene.issuer("pebble").await.unwrap();
    let names = [scene.dns_name("WWW").to_uppercase(), scene.dns_name("bücher")];
    scene.certificate("www", "pebble", &[&names[0], &names[1], &scene.dns_name("www")]).await.unwrap();
    let issued = scene.issued("www").await.unwrap();
    let mut found = issued.leaf().names.dns_names.clone();
    found.sort_unstable();
    assert_eq!(found, [scene.dns_name("www"), scene.dns_name("xn--bcher-kva")]);
    settles(&scene).await;
    assert_eq!(scene.issued("www").await.unwrap().certificate.status.unwrap().revision, Some(1));
}

/// A CertificateRequest that somebody else made stands where ours would: it is told, and nothing spins.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_request_of_somebody_else_in_the_way() {
    let scene = scene("inway").await;
    scene.issuer("pebble").await.unwrap();
    let foreign = json!({
        "issuerRef": { "group": "example.com", "kind": "Other", "name": "x" },
        "request": "bm90IGEgcmVxdWVzdA==",
    });
    scene.create::<CertificateRequest>("www-1", foreign).await.unwrap();
    let name = scene.dns_name("www");
    scene.certificate("www", "pebble", &[&name]).await.unwrap();
    unready::<Certificate>(&scene, "www", &["CertificateRequest \"www-1\"", "does not belong to this Certificate"])
        .await;
    let writes = writes_during(&scene, Duration::from_secs(4)).await;
    assert!(writes.len() <= 8, "{} writes in 4 s: {writes:#?}", writes.len());
    nothing_is_ordered(&scene).await;
    scene.api::<CertificateRequest>().delete("www-1", &DeleteParams::default()).await.unwrap();
    scene.issued("www").await.unwrap();
}

/// A request that nobody's Certificate made is signed too: the API is there for everybody.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn a_malformed_csr() {
    let scene = scene("csr").await;
    scene.issuer("pebble").await.unwrap();
    let spec = json!({ "issuerRef": { "name": "pebble" }, "request": "bm90IGEgcmVxdWVzdA==" });
    scene.create::<CertificateRequest>("csr", spec).await.unwrap();
    unready::<CertificateRequest>(&scene, "csr", &["CSR"]).await;
    let request = only_request(&scene).await;
    assert_eq!(condition_of(&request, condition::READY).reason.as_deref(), Some("Failed"));
    settles(&scene).await;
    nothing_is_ordered(&scene).await;
}
