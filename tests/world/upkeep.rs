//! What is beside the certificate in the target Secret follows the spec without a new certificate.

use std::collections::BTreeMap;

use certwright::{
    api::{
        Certificate,
        certificate::{CertificateAdditionalOutputFormat, CertificateKeystores, JksKeystore, SecretTemplate},
        names::annotation,
    },
    cluster::ObjectName,
    decide::policy,
};
use jiff::SignedDuration;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt;
use serde_json::json;

use crate::{
    DAY, HOUR, counted,
    issuers::{certificate_of, issued_by, world_of_issuers},
    local::{leaf, revision},
    world::{NAMESPACE, World, object_of},
};

const ONE_APPLY: [(&str, u32); 1] = [("apply Secret", 1)];

/// The status tells which generation of the spec it speaks of.
const AFTER_EDIT: [(&str, u32); 2] = [("apply Secret", 1), ("status Certificate", 1)];

fn labels(world: &World) -> BTreeMap<String, String> {
    let mut labels = world.get::<Secret>("web-tls").labels().clone();
    labels.remove("controller.cert-manager.io/fao");
    labels
}

fn map(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn entries(world: &World) -> Vec<String> {
    world.get::<Secret>("web-tls").data.unwrap().into_keys().collect()
}

async fn set_template(world: &mut World, list: &[(&str, &str)]) {
    let labels = map(list);
    world.take_writes();
    world.edit::<Certificate>("web", |held| {
        held.spec.secret_template = Some(SecretTemplate { labels, ..SecretTemplate::default() });
    });
    world.run(60).await;
    assert_eq!(world.take_writes(), counted(&AFTER_EDIT), "{list:?}");
    assert_eq!((revision(world, "web"), world.is_ready("web")), (1, true));
}

#[tokio::test(start_paused = true)]
async fn labels_of_the_template_come_change_and_go() {
    for issuer in ["ca", "self", "le"] {
        let mut world = issued_by(issuer).await;
        world.edit::<Secret>("web-tls", |held| {
            held.labels_mut().insert("theirs".into(), "1".into());
            held.data.get_or_insert_default().insert("theirs".into(), ByteString(b"2".to_vec()));
        });
        let before = leaf(&world, "web-tls").serial_hex();
        set_template(&mut world, &[("ours", "a"), ("other", "b")]).await;
        assert_eq!(labels(&world), map(&[("ours", "a"), ("other", "b"), ("theirs", "1")]));
        set_template(&mut world, &[("ours", "c"), ("other", "b")]).await;
        assert_eq!(labels(&world), map(&[("ours", "c"), ("other", "b"), ("theirs", "1")]));
        set_template(&mut world, &[("other", "b")]).await;
        assert_eq!(labels(&world), map(&[("other", "b"), ("theirs", "1")]));
        set_template(&mut world, &[]).await;
        assert_eq!(labels(&world), map(&[("theirs", "1")]));
        assert!(entries(&world).contains(&"theirs".to_owned()));
        assert_eq!(leaf(&world, "web-tls").serial_hex(), before);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_edits_the_template_often_is_followed_each_time() {
    let mut world = issued_by("ca").await;
    for edit in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        set_template(&mut world, &[("edit", edit)]).await;
        assert_eq!(labels(&world), map(&[("edit", edit)]));
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_takes_out_of_the_secret_comes_back() {
    let mut world = issued_by("ca").await;
    world.take_writes();
    world.edit::<Secret>("web-tls", |held| {
        held.labels_mut().clear();
        held.annotations_mut().clear();
    });
    world.run(60).await;
    assert_eq!(world.take_writes(), counted(&ONE_APPLY));
    let secret: Secret = world.get("web-tls");
    assert_eq!(secret.labels()["controller.cert-manager.io/fao"], "true");
    assert_eq!(secret.annotations()[annotation::CERTIFICATE_NAME], "web");
    world.edit::<Secret>("web-tls", |held| {
        held.data.as_mut().unwrap().remove("ca.crt");
    });
    world.run(60).await;
    println!("after ca.crt was taken out: {:?}, {:?}", world.take_writes(), entries(&world));
    assert_eq!(revision(&world, "web"), 1, "no reason for a new certificate");
}

#[tokio::test(start_paused = true)]
async fn output_formats_come_and_go() {
    for issuer in ["ca", "self", "le"] {
        let mut world = issued_by(issuer).await;
        let without = entries(&world);
        for formats in [&["DER"][..], &["DER", "CombinedPEM"], &["CombinedPEM"], &[]] {
            world.take_writes();
            world.edit::<Certificate>("web", |held| {
                let format = |type_: &&str| CertificateAdditionalOutputFormat { type_: (*type_).to_owned() };
                held.spec.additional_output_formats = formats.iter().map(format).collect();
            });
            world.run(60).await;
            assert_eq!(world.take_writes(), counted(&AFTER_EDIT), "{formats:?}");
            let mut expected = without.clone();
            expected.extend(formats.contains(&"DER").then(|| "key.der".to_owned()));
            expected.extend(formats.contains(&"CombinedPEM").then(|| "tls-combined.pem".to_owned()));
            expected.sort();
            assert_eq!(entries(&world), expected);
        }
        assert_eq!(revision(&world, "web"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_quarrel_about_a_label_takes_few_writes_and_no_issuance() {
    let mut world = issued_by("ca").await;
    set_template(&mut world, &[("ours", "a")]).await;
    world.events.clear();
    for second in 0..HOUR {
        world.edit::<Secret>("web-tls", |held| {
            held.labels_mut().insert("ours".into(), format!("theirs-{second}"));
        });
        world.run(1).await;
    }
    let writes = world.take_writes();
    println!("an hour's quarrel: {writes:?}, {} events", world.events.len());
    assert!(writes["apply Secret"] <= 35, "five in ten minutes at most: {writes:?}");
    assert_eq!((writes.len(), writes["status Certificate"]), (2, 1), "told once: {writes:?}");
    assert_eq!((revision(&world, "web"), world.storms, world.events.len()), (1, 0, 1));
    assert!(world.condition("web", "Ready").unwrap().contains("something else changes the Secret \"web-tls\""));
    world.run(HOUR).await;
    assert_eq!(labels(&world), map(&[("ours", "a")]), "who stays longer is right");
    assert!(!world.condition("web", "Ready").unwrap().contains("something else"));
}

#[tokio::test(start_paused = true)]
async fn a_keystore_waits_for_its_password_and_follows_it() {
    for issuer in ["ca", "le"] {
        let mut world = world_of_issuers().await;
        world.latency = SignedDuration::from_millis(400);
        let mut certificate = certificate_of("web", issuer);
        certificate.spec.keystores = Some(CertificateKeystores {
            jks: Some(JksKeystore {
                create: true,
                password_secret_ref: Some(object_of(json!({"name": "password", "key": "word"}))),
                ..JksKeystore::default()
            }),
            ..CertificateKeystores::default()
        });
        world.create(&certificate);
        world.run(HOUR).await;
        let told = world.condition("web", "Issuing").unwrap();
        assert!(told.ends_with("JKS keystore password Secret \"password\" not found; create it"), "{told}");
        assert!(world.find::<Secret>("web-tls").is_none());
        println!("{issuer}: while the password is missing: {:?}", world.take_writes());

        world.create::<Secret>(&object_of(json!({
            "metadata": {"name": "password", "namespace": NAMESPACE}, "type": "Opaque", "data": {"word": "c2VjcmV0MQ=="},
        })));
        world.run(60).await;
        assert!(world.is_ready("web"), "{:?}", world.get::<Certificate>("web").status);
        assert!(entries(&world).contains(&"keystore.jks".to_owned()));
        assert_eq!((revision(&world, "web"), world.litter()), (1, vec![]));
        let writes = world.take_writes();
        println!("{issuer}: when it is there: {writes:?}");
        assert_eq!(writes.get("create CertificateRequest"), None, "{issuer}: it was not asked for once more");

        let store = |world: &World| world.get::<Secret>("web-tls").data.unwrap()["keystore.jks"].clone();
        let before = store(&world);
        world.run(HOUR).await;
        assert_eq!(world.take_writes(), counted(&[]), "a keystore is written once");
        world.edit::<Secret>("password", |held| {
            held.data.get_or_insert_default().insert("word".into(), ByteString(b"another".to_vec()));
        });
        world.run(60).await;
        assert_eq!(world.take_writes(), counted(&ONE_APPLY));
        assert!(store(&world) != before && revision(&world, "web") == 1);

        // Without its password the certificate stays what it is, and says so.
        world.delete::<Secret>("password");
        world.run(DAY).await;
        let told = world.condition("web", "Ready").unwrap();
        assert!(told.starts_with("True Ready: ") && told.contains("\"password\" not found"), "{told}");
        assert_eq!(world.take_writes(), counted(&[("status Certificate", 1)]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_temporary_certificate_fills_the_time() {
    let mut world = world_of_issuers().await;
    world.propagation = SignedDuration::from_secs(300);
    let mut certificate = certificate_of("web", "le");
    certificate.annotations_mut().insert(annotation::ISSUE_TEMPORARY_CERTIFICATE.into(), "true".into());
    world.create(&certificate);
    world.run(30).await;
    assert!(policy::is_temporary(&leaf(&world, "web-tls")));
    assert_eq!(leaf(&world, "web-tls").names.dns_names, ["web.example.com"]);
    assert!(world.condition("web", "Ready").unwrap().starts_with("False "));
    world.kill();
    world.run(600).await;
    assert!(world.is_ready("web") && !policy::is_temporary(&leaf(&world, "web-tls")));
    assert_eq!((world.ca.orders.len(), world.litter()), (1, vec![]));
    assert_eq!(world.take_writes()["apply Secret"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_secret_of_somebody_else_is_left_alone() {
    let mut world = world_of_issuers().await;
    let mut certificate = certificate_of("web", "ca");
    certificate.spec.secret_name = "account".into();
    world.create(&certificate);
    let before: Secret = world.get("account");
    world.run(DAY).await;
    assert_eq!(world.server.get::<Secret>(&ObjectName::new(NAMESPACE, "account")), Some(before));
    assert!(world.condition("web", "Ready").unwrap().starts_with("False SecretOfAnother: "));
    assert_eq!(world.take_writes(), counted(&[("status Certificate", 1)]));
}

/// Nobody can write into an immutable Secret. It is tried ever less often, which is told without a word more for each try, and
/// at once when the Secret is gone or the spec is put back.
#[tokio::test(start_paused = true)]
async fn an_immutable_secret() {
    for issuer in ["ca", "self", "le"] {
        let mut world = issued_by(issuer).await;
        world.edit::<Secret>("web-tls", |held| held.immutable = Some(true));
        world.run(60).await;
        let former = world.get::<Certificate>("web").spec.dns_names;
        world.edit::<Certificate>("web", |held| held.spec.dns_names = vec!["new.example.com".into()]);
        world.run(120).await;
        world.take_writes();
        world.run(3600).await;
        assert_eq!(world.take_writes(), counted(&[("refused", 12)]), "{issuer}: every five minutes");

        world.edit::<Certificate>("web", |held| held.spec.dns_names = former);
        world.run(2).await;
        assert!(world.is_ready("web"), "{issuer}: {:?}", world.condition("web", "Ready"));
        assert_eq!(world.condition("web", "Issuing"), None);

        world.edit::<Certificate>("web", |held| held.spec.dns_names = vec!["new.example.com".into()]);
        world.run(3600).await;
        world.delete::<Secret>("web-tls");
        world.run(2).await;
        assert!(world.is_ready("web"), "{issuer}: {:?}", world.condition("web", "Ready"));
    }
}
