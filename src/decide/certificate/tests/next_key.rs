//! The key of the issuance under way.

use super::*;

#[test]
fn rotation_policy_never_keeps_the_key() {
    let mut scene = Scene::issued();
    *scene.data("tls.key") = pem(key(1)).into_bytes();
    *scene.data("tls.crt") = chain(key(1), &["www.example.com"], 0, 90 * DAY).into_bytes();
    scene.requests.clear();
    scene.spec(|spec| {
        let private_key = spec.private_key.as_mut().unwrap();
        private_key.rotation_policy = Some("Never".into());
        spec.dns_names = vec!["new.example.com".into()];
    });
    scene.step();
    let note = "Normal Reused: Reusing private key stored in existing Secret resource \"web-tls\"";
    assert_eq!(scene.notes(), [note]);
    scene.run();
    assert_eq!(scene.next_keys[0].data.as_ref().unwrap()["tls.key"].0, pem(key(1)).into_bytes());
}

#[test]
fn rotation_policy_never_does_not_replace_a_key_of_another_kind() {
    let mut scene = Scene::issued();
    scene.spec(|spec| {
        let private_key = spec.private_key.as_mut().unwrap();
        (private_key.rotation_policy, private_key.size) = (Some("Never".into()), Some(384));
    });
    assert_eq!(scene.run(), (strings(&["WriteStatus", "Publish", "WriteStatus", "Publish"]), Some(60 * DAY)));
    let issuing = &scene.conditions()[1];
    assert!(issuing.contains("; held up: spec.privateKey.rotationPolicy is Never, but"), "{issuing}");
    scene.spec(|spec| spec.private_key.as_mut().unwrap().rotation_policy = None);
    let (done, _) = scene.run();
    assert_eq!(done, ["WriteStatus", "CreateNextKey", "Publish", "CreateRequest", "Publish"]);
    assert!(!scene.conditions()[1].contains("held up"), "{:?}", scene.conditions());
}

#[test]
fn rotation_policy_never_replaces_what_is_no_key() {
    let mut scene = Scene::issued();
    *scene.data("tls.key") = b"garbage".into();
    scene.spec(|spec| spec.private_key.as_mut().unwrap().rotation_policy = Some("Never".into()));
    scene.step();
    let notes = scene.notes();
    assert!(notes[0].starts_with("Warning DecodeFailed: ") && notes[1].starts_with("Normal Generated: "), "{notes:?}");
}

#[test]
fn a_next_key_that_does_not_suit_is_replaced() {
    let mut scene = Scene::new();
    scene.run();
    scene.spec(|spec| spec.private_key.as_mut().unwrap().size = Some(384));
    assert_eq!(scene.step(), ["WriteStatus", "DeleteNextKey", "Publish"], "the status tells of the new generation");
    assert_eq!(kinds(&scene.decide()), ["CreateNextKey", "Publish"]);

    let mut scene = Scene::new();
    scene.run();
    Arc::make_mut(&mut scene.next_keys[0]).data = None;
    assert_eq!(scene.step(), ["DeleteNextKey", "Publish"]);
    scene.run();
    assert_eq!(scene.requests.len(), 1);
}

#[test]
fn left_over_keys_go() {
    let left_over = || Arc::new(children::next_key_secret(&certificate("web"), "web-old", pem(key(1))));
    let mut idle = Scene::issued();
    idle.next_keys = vec![left_over()];
    assert_eq!(idle.run().0, ["DeleteNextKey"]);

    let mut busy = Scene::new();
    busy.run();
    busy.next_keys.push(left_over());
    assert_eq!(busy.run().0, ["DeleteNextKey"]);
    assert_ne!(busy.next_keys[0].name_any(), "web-old");

    let mut adopted = Scene::new();
    adopted.certificate.status = Some(object(json!({
        "nextPrivateKeySecretName": "web-old",
        "conditions": [{"type": "Issuing", "status": "True", "reason": "DoesNotExist", "message": ISSUING}],
    })));
    adopted.next_keys = vec![left_over()];
    assert!(!adopted.run().0.contains(&"CreateNextKey".to_owned()), "cert-manager's key is as good");
    assert_eq!(adopted.requests[0].annotations()[annotation::PRIVATE_KEY_SECRET_NAME], "web-old");
}
