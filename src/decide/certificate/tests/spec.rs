//! What a change of the spec means.

use super::*;
use crate::pki::{CertificateRequestTemplate, SubjectAltNames};

#[test]
fn changes_that_need_no_new_certificate() {
    let mut scene = Scene::issued();
    scene.spec(|spec| {
        spec.renew_before = Some("240h".into());
        spec.private_key.as_mut().unwrap().rotation_policy = Some("Never".into());
        spec.dns_names = vec!["WWW.example.com".into()];
        spec.issuer_ref.kind = Some("Issuer".into());
        spec.issuer_ref.group = Some("cert-manager.io".into());
    });
    let (done, wake) = scene.run();
    assert_eq!((done, wake), (strings(&["WriteStatus"]), Some(80 * DAY)), "dates and generation only");
}

#[test]
fn an_invalid_spec_is_told_of_and_nothing_is_requested() {
    type Change = fn(&mut crate::api::CertificateSpec);
    let cases: [(Change, &str); 10] = [
        (|spec| spec.secret_name.clear(), "spec.secretName: is empty"),
        (|spec| spec.issuer_ref.name.clear(), "spec.issuerRef.name: is empty"),
        (|spec| spec.dns_names = vec!["a b".into()], "spec.dnsNames[0]: the DNS name \"a b\""),
        (|spec| spec.dns_names.clear(), "spec: names nothing to certify"),
        (|spec| spec.ip_addresses = vec!["1.2.3".into()], "spec.ipAddresses[0]"),
        (|spec| spec.private_key.as_mut().unwrap().size = Some(i64::MAX), "spec.privateKey.size"),
        (|spec| spec.private_key.as_mut().unwrap().algorithm = Some("DSA".into()), "spec.privateKey: \"DSA\""),
        (|spec| spec.usages = vec!["juggling".into()], "juggling"),
        (|spec| spec.literal_subject = Some("no equals sign".into()), "spec: "),
        (
            |spec| spec.dns_names = (0..3000).map(|number| format!("{number}.example.com")).collect(),
            "at most 36500 bytes are read; name less in one Certificate",
        ),
    ];
    for (change, text) in cases {
        let mut scene = Scene::new();
        scene.spec(change);
        assert_eq!(scene.run(), (strings(&["WriteStatus", "Publish"]), None));
        let [ready] = &scene.conditions()[..] else { panic!("{:?}", scene.conditions()) };
        assert!(ready.starts_with("Ready=False InvalidSpec: ") && ready.contains(text), "{ready}");
    }
}

#[test]
fn names_that_are_none_for_a_public_ca_are_for_a_private_one() {
    for name in ["my_service", "*", "www.example.com.", "192.0.2.1", "-"] {
        let mut scene = Scene::new();
        scene.spec(|spec| spec.dns_names = vec![name.into()]);
        scene.issuer_is_acme = true;
        assert_eq!(scene.run().0, ["WriteStatus", "Publish"], "{name}");
        assert!(scene.conditions()[0].contains("InvalidSpec: ") && scene.conditions()[0].contains("spec.dnsNames[0]"));

        scene.issuer_is_acme = false;
        scene.run();
        scene.answer();
        scene.run();
        assert_eq!(scene.conditions(), [READY], "{name}");
    }
}

/// cert-manager writes names into the request as they are in the spec.
#[test]
fn a_request_with_another_spelling_of_the_same_names_is_current() {
    let mut scene = Scene::new();
    scene.spec(|spec| spec.dns_names = vec!["WWW.example.com".into()]);
    scene.run();
    let template = CertificateRequestTemplate {
        names: SubjectAltNames { dns_names: vec!["WWW.example.com".into()], ..SubjectAltNames::default() },
        ..CertificateRequestTemplate::default()
    };
    let request = Arc::make_mut(&mut scene.requests[0]);
    request.spec.request.0 = template.build_pem(key(0)).unwrap().into_bytes();
    scene.answer();
    scene.run();
    assert_eq!((scene.conditions(), scene.status().revision), (strings(&[READY]), Some(1)));
    assert_eq!(scene.run().0, [""; 0]);
}

#[test]
fn a_spec_that_becomes_invalid_while_issuing_and_back() {
    let mut scene = Scene::new();
    scene.run();
    scene.spec(|spec| spec.dns_names = vec!["a b".into()]);
    assert_eq!(scene.run().0, ["WriteStatus", "DeleteNextKey", "Publish"]);
    assert_eq!(scene.conditions().len(), 1);
    assert_eq!((scene.status().next_private_key_secret_name, scene.next_keys.len()), (None, 0));

    scene.spec(|spec| spec.dns_names = vec!["new.example.com".into()]);
    scene.run();
    assert_eq!(scene.requests.len(), 1, "the former request made room");
    scene.answer();
    scene.run();
    assert_eq!(scene.conditions(), [READY]);
}

#[test]
fn the_values_of_an_attribute_are_a_set() {
    let mut scene = Scene::new();
    let subject =
        json!({"organizations": ["Second", "Example, Inc.", "Second"], "organizationalUnits": ["Web", "Mail"]});
    scene.spec(|spec| spec.subject = Some(object(subject)));
    scene.run();
    scene.answer();
    scene.run();
    assert_eq!((scene.conditions(), scene.run().0), (strings(&[READY]), vec![]));
    scene.spec(|spec| spec.subject.as_mut().unwrap().organizations.clear());
    assert!(scene.run().0.contains(&"CreateRequest".to_owned()));
}

#[test]
fn a_literal_subject_is_compared() {
    let mut scene = Scene::new();
    scene.spec(|spec| spec.literal_subject = Some("CN=www.example.com,OU=b+OU=a,O=Example".into()));
    scene.run();
    scene.answer();
    scene.run();
    assert_eq!((scene.conditions(), scene.run().0), (strings(&[READY]), vec![]));
    scene.spec(|spec| spec.literal_subject = Some("CN=www.example.com,O=Other".into()));
    assert!(scene.run().0.contains(&"CreateRequest".to_owned()));
    assert!(scene.conditions().concat().contains("not up to date: [spec.literalSubject]"));
}
