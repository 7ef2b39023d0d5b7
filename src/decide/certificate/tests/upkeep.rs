//! The Secret is kept in order without a new certificate, and left alone when it is somebody else's.

use super::*;
use crate::api::names::annotation;

fn labels(scene: &Scene) -> Vec<(&str, &str)> {
    let labels = scene.secret.as_ref().unwrap().labels();
    labels.iter().filter(|(key, _)| !key.contains("fao")).map(|(key, value)| (&**key, &**value)).collect()
}

fn entries(scene: &Scene) -> Vec<&str> {
    scene.secret.as_ref().unwrap().data.iter().flatten().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn what_the_template_says_is_put_there_and_taken_away_again() {
    let mut scene = Scene::issued();
    scene.secret.as_mut().unwrap().labels_mut().insert("theirs".into(), "1".into());
    assert_eq!(scene.run().0, [""; 0], "what others add is theirs");
    scene.spec(|spec| spec.secret_template = Some(object(json!({"labels": {"team": "a", "x": "y"}}))));
    assert_eq!(scene.run().0, ["WriteStatus", "PutSecretRight"]);
    assert_eq!(labels(&scene), [("team", "a"), ("theirs", "1"), ("x", "y")]);
    scene.spec(|spec| spec.secret_template = Some(object(json!({"labels": {"team": "b"}}))));
    assert_eq!(scene.run().0, ["WriteStatus", "PutSecretRight"]);
    assert_eq!(labels(&scene), [("team", "b"), ("theirs", "1")]);
    assert_eq!(scene.status().revision, Some(1));
}

#[test]
fn further_formats_come_and_go() {
    let mut scene = Scene::issued();
    scene.spec(|spec| {
        spec.additional_output_formats = object(json!([{"type": "DER"}, {"type": "CombinedPEM"}, {"type": "Newer"}]));
    });
    assert_eq!(scene.run().0, ["WriteStatus", "PutSecretRight"]);
    assert_eq!(entries(&scene), ["key.der", "tls-combined.pem", "tls.crt", "tls.key"]);
    let data = scene.secret.as_ref().unwrap().data.clone().unwrap();
    assert_eq!(data["tls-combined.pem"].0, [&data["tls.key"].0[..], b"\n", &data["tls.crt"].0].concat());
    assert_eq!(data["key.der"].0, key(0).to_der(crate::pki::Encoding::Pkcs1).unwrap().1);
    scene.spec(|spec| spec.additional_output_formats.clear());
    scene.run();
    assert_eq!(entries(&scene), ["tls.crt", "tls.key"]);
}

#[test]
fn what_keeps_it_from_being_put_right_is_told_and_taken_back() {
    let mut scene = Scene::issued();
    scene.spec(|spec| spec.secret_template = Some(object(json!({"labels": {"team": "a"}}))));
    scene.trouble = Some(trouble(TroubleClass::Transient, 2));
    assert_eq!(scene.run().0, ["WriteStatus", "Publish"]);
    assert_eq!(scene.conditions(), [format!("{READY}; Failed to try: the other side was out")]);
    scene.now = at(5);
    assert_eq!(kinds(&scene.decide()), ["PutSecretRight"], "what is told stays until it is over");
    assert_eq!(scene.run().0, ["PutSecretRight", "WriteStatus"]);
    assert_eq!(scene.conditions(), [READY]);
}

#[test]
fn the_wish_for_an_owner_is_followed() {
    let mut scene = Scene::issued();
    let owners = |scene: &Scene| scene.secret.as_ref().unwrap().owner_references().len();
    assert_eq!(owners(&scene), 0);
    scene.wish(annotation::SECRET_POLICY, "Delete");
    assert_eq!(scene.run().0, ["PutSecretRight"]);
    assert_eq!(owners(&scene), 1);
    scene.settings.owner_reference = true;
    scene.wish(annotation::SECRET_POLICY, "Orphan");
    assert_eq!(scene.run().0, ["PutSecretRight"]);
    assert_eq!(owners(&scene), 0);
}

#[test]
fn keystores_are_written_anew_only_when_they_must_be() {
    let mut scene = Scene::issued();
    scene.spec(|spec| {
        spec.keystores = Some(object(json!({
            "jks": {"create": true, "passwordSecretRef": {"name": "pw", "key": "p"}},
            "pkcs12": {"create": false, "password": "x"},
        })));
    });
    scene.run();
    let missing = "JKS keystore password Secret \"pw\" not found; create it";
    assert_eq!(scene.conditions(), [format!("{READY}; {missing}")]);
    assert_eq!(entries(&scene), ["tls.crt", "tls.key"]);
    let password = |text: &str| object::<Secret>(json!({"stringData": {}, "data": {"p": base64(text)}}));
    scene.passwords.insert("pw".into(), Arc::new(password("first")));
    assert_eq!(scene.run().0, ["WriteStatus", "PutSecretRight"]);
    assert_eq!(entries(&scene), ["keystore.jks", "tls.crt", "tls.key"]);
    assert_eq!(scene.run().0, [""; 0]);
    scene.passwords.insert("pw".into(), Arc::new(password("second")));
    assert_eq!(scene.run().0, ["PutSecretRight"], "another password");
    scene.spec(|spec| spec.secret_template = Some(object(json!({"labels": {"a": "b"}}))));
    let CertificateStep::PutSecretRight(wanted) = scene.decide().steps.pop().unwrap() else { panic!() };
    assert_eq!(wanted.keystores, [], "the files that are there will do");
    assert!(wanted.secret.data.unwrap().contains_key("keystore.jks"));
}

#[test]
fn keystores_of_cert_manager_are_kept() {
    let mut scene = Scene::issued();
    scene.spec(|spec| spec.keystores = Some(object(json!({"jks": {"create": true, "password": "x"}}))));
    scene.run();
    let secret = scene.secret.as_mut().unwrap();
    secret.annotations_mut().remove(annotation::KEYSTORES);
    let without = secret.clone();
    scene.secret = Some(applied(None, without));
    assert_eq!(scene.run().0, [""; 0]);
}

#[test]
fn a_renewal_waits_for_the_password_of_its_keystore() {
    let mut scene = Scene::new();
    scene.spec(|spec| {
        spec.keystores =
            Some(object(json!({"jks": {"create": true, "passwordSecretRef": {"name": "pw", "key": "p"}}})));
    });
    scene.run();
    scene.answer();
    assert_eq!(scene.run().0, ["WriteStatus", "Publish"]);
    assert!(scene.conditions()[0].contains("held up: JKS keystore password Secret \"pw\" not found"));
    scene.passwords.insert("pw".into(), Arc::new(object(json!({"data": {"p": base64("x")}}))));
    scene.run();
    assert_eq!(scene.conditions(), [READY]);
    assert_eq!(entries(&scene), ["keystore.jks", "tls.crt", "tls.key"]);
}

#[test]
fn a_quarrel_about_the_secret_is_not_fought_without_end() {
    let mut scene = Scene::issued();
    for round in 0..5 {
        scene.now = at(round);
        scene.secret.as_mut().unwrap().labels_mut().clear();
        let done = scene.run().0;
        assert_eq!(done[0], "PutSecretRight");
        assert_eq!(done.len() > 1, round == 4, "told of the fifth time");
    }
    let quarrel =
        "something else changes the Secret \"web-tls\" again and again; it is put right every few minutes only";
    assert_eq!(scene.conditions(), [format!("{READY}; {quarrel}")]);
    scene.secret.as_mut().unwrap().labels_mut().clear();
    assert_eq!(scene.run(), (vec![], Some(600)), "ten minutes after the first time");
    scene.now = at(600);
    assert_eq!(scene.run().0, ["PutSecretRight"]);
    scene.now = at(1200);
    assert_eq!((scene.run().0, scene.conditions()), (strings(&["WriteStatus"]), strings(&[READY])), "it is over");
}

#[test]
fn a_secret_of_somebody_else_is_left_alone() {
    let secret = |value| Some(object::<Secret>(value));
    for (held, account, text) in [
        (secret(json!({"type": "kubernetes.io/basic-auth"})), None, "is of the type kubernetes.io/basic-auth"),
        (secret(json!({})), Some("the Issuer \"le\""), "holds the ACME account key of the Issuer \"le\""),
        (
            secret(json!({"metadata": {"ownerReferences": [
                {"kind": "SealedSecret", "name": "s", "controller": true, "apiVersion": "v1", "uid": "1"},
            ]}})),
            None,
            "belongs to SealedSecret \"s\"",
        ),
    ] {
        let mut scene = Scene { secret: held, account_key_of: account.map(str::to_owned), ..Scene::new() };
        assert_eq!(scene.run(), (strings(&["WriteStatus", "Publish"]), None));
        let told = &scene.conditions()[0];
        assert!(
            told.starts_with("Ready=False SecretOfAnother: The Secret \"web-tls\" ") && told.contains(text),
            "{told}"
        );
    }
}

#[test]
fn a_temporary_certificate_is_there_until_the_real_one_is() {
    let mut scene = Scene::new();
    scene.wish(annotation::ISSUE_TEMPORARY_CERTIFICATE, "true");
    let done = scene.run().0;
    assert_eq!(done.iter().filter(|step| *step == "ApplyTemporary").count(), 1, "{done:?}");
    assert!(!scene.secret.as_ref().unwrap().annotations().contains_key(annotation::ISSUER_NAME));
    scene.answer();
    scene.run();
    assert_eq!(scene.conditions(), [READY]);
    assert!(scene.secret.as_ref().unwrap().annotations().contains_key(annotation::ISSUER_NAME));
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(text)
}
