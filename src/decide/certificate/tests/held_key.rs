//! The key of an issuance by an issuer that signs at once and looks for no key.

use super::*;
use crate::pki::Encoding;

fn scene() -> Scene {
    Scene { issuer_is_prompt: true, issuer_needs_no_key: true, ..Scene::new() }
}

/// The key is held and the request made.
fn requested() -> Scene {
    let mut scene = scene();
    assert_eq!(scene.run(), (strings(&["HoldKey", "Publish", "CreateRequest", "Publish"]), Some(30)));
    scene
}

/// The process ends, and what it held is lost.
fn crash(scene: &mut Scene) {
    scene.held_key = None;
}

#[test]
fn it_lies_in_no_secret() {
    let mut scene = requested();
    let name = &scene.requests[0].annotations()[annotation::PRIVATE_KEY_SECRET_NAME];
    assert!(name.starts_with("web-"), "the name that the Secret would have: {name}");
    assert_eq!((scene.conditions(), scene.status().next_private_key_secret_name), (vec![], None));
    scene.answer();
    assert_eq!(scene.run().0, ["ApplySecret", "WriteStatus", "DropHeldKey", "Publish"]);
    assert_eq!((scene.conditions(), scene.held_key.is_none()), (strings(&[READY]), true));
    assert_eq!(*scene.data("tls.key"), key(0).to_pem(Encoding::Pkcs1).unwrap().into_bytes());
}

#[test]
fn it_moves_into_a_secret_when_the_issuance_should_have_been_over() {
    let mut scene = requested();
    scene.now = at(30);
    assert_eq!(scene.run().0, ["WriteStatus", "StoreHeldKey", "Publish", "DropHeldKey"]);
    assert_eq!(scene.conditions()[0], format!("Issuing=True DoesNotExist: {ISSUING}"));
    assert_eq!(Some(scene.next_keys[0].name_any()), scene.status().next_private_key_secret_name);
    scene.answer();
    assert_eq!(scene.run().0, ["ApplySecret", "WriteStatus", "DeleteNextKey", "Publish"]);
    assert_eq!(scene.requests.len(), 1, "the request stays");
}

#[test]
fn an_answer_that_came_before_it_moved_is_not_thrown_away() {
    let mut scene = requested();
    scene.now = at(3);
    scene.answer();
    scene.now = at(30);
    scene.step();
    assert_eq!((scene.next_keys.len(), scene.held_key.is_some()), (1, true));
    crash(&mut scene);
    scene.now = at(40);
    assert_eq!(scene.run().0, ["ApplySecret", "WriteStatus", "DeleteNextKey", "Publish"]);
    assert_eq!(scene.conditions(), [READY]);
}

#[test]
fn it_moves_into_a_secret_when_the_issuance_is_held_up() {
    let mut scene = requested();
    scene.tell(told("Ready", "False", "Pending", "the CA has no key"));
    assert_eq!(scene.run().0, ["WriteStatus", "StoreHeldKey", "DropHeldKey"]);
    assert!(scene.conditions()[0].ends_with("; held up: the CA has no key"), "{:?}", scene.conditions());
    assert_eq!(scene.requests.len(), 1);

    let mut scene = requested();
    scene.issuer_is_prompt = false;
    assert_eq!(scene.run().0, ["WriteStatus", "StoreHeldKey", "Publish", "DropHeldKey"]);
    assert_eq!(scene.requests.len(), 1, "the same request, though the issuer is not ready any more");
}

#[test]
fn a_temporary_certificate_is_made_once_it_has_moved() {
    let mut scene = scene();
    scene.wish(annotation::ISSUE_TEMPORARY_CERTIFICATE, "true");
    scene.run();
    scene.now = at(30);
    let done = scene.run().0;
    let expected =
        ["WriteStatus", "StoreHeldKey", "Publish", "DropHeldKey", "ApplyTemporary", "Publish", "WriteStatus"];
    assert_eq!(done, expected);
    assert_eq!(*scene.data("tls.key"), pem(key(0)).into_bytes());
}

#[test]
fn a_crash_costs_a_request() {
    let mut scene = Scene { held_key: Some(HeldKey::new(key(1).clone(), now())), ..scene() };
    scene.run();
    let former = scene.requests[0].clone();
    crash(&mut scene);
    let done = scene.run().0;
    assert_eq!(done, ["HoldKey", "Publish", "DeleteRequest", "CreateRequest", "Publish"]);
    assert!(scene.requests.len() == 1 && scene.requests[0] != former);
    scene.answer();
    scene.run();
    assert_eq!((scene.conditions(), scene.status().revision), (strings(&[READY]), Some(1)));
}

#[test]
fn what_was_stored_before_a_crash_is_noted_afterwards() {
    for changed in [false, true] {
        let mut scene = Scene { issuer_is_prompt: true, issuer_needs_no_key: true, ..Scene::issued() };
        if changed {
            scene.spec(|spec| spec.dns_names = vec!["new.example.com".into()]);
        } else {
            scene.now = at(60 * DAY);
        }
        scene.held_key = Some(HeldKey::new(key(1).clone(), scene.now));
        scene.run();
        scene.answer();
        let stored = scene.decide().steps.remove(0);
        scene.act(stored);
        crash(&mut scene);
        assert_eq!(scene.run().0, ["WriteStatus", "DeleteRequest"]);
        assert_eq!((scene.status().revision, scene.conditions()), (Some(2), strings(&[READY])));
    }
}

#[test]
fn what_was_stored_before_a_crash_is_noted_before_another_revision_begins() {
    let mut scene = requested();
    scene.answer();
    let stored = scene.decide().steps.remove(0);
    scene.act(stored);
    crash(&mut scene);
    scene.spec(|spec| spec.dns_names = vec!["new.example.com".into()]);
    scene.step();
    assert_eq!(scene.status().revision, Some(1));
    scene.run();
    assert_eq!(scene.requests.last().unwrap().name_any(), "web-2");
}

#[test]
fn another_kind_of_key_replaces_it() {
    let mut scene = requested();
    scene.spec(|spec| spec.private_key.as_mut().unwrap().size = Some(384));
    let done = scene.run().0;
    assert_eq!(done, ["DropHeldKey", "HoldKey", "Publish", "DeleteRequest", "CreateRequest", "Publish"]);
    assert_ne!(scene.held_key.unwrap().key.algorithm(), key(0).algorithm());
}

#[test]
fn it_goes_with_the_issuance() {
    let mut scene = requested();
    scene.fail("it cannot be signed");
    assert_eq!(scene.run().0, ["WriteStatus", "DropHeldKey", "Publish"]);

    let mut scene = requested();
    scene.certificate = dying(&scene.certificate);
    assert_eq!(scene.run().0, ["DropHeldKey"]);

    let mut scene = requested();
    scene.spec(|spec| spec.dns_names.clear());
    assert!(scene.run().0.contains(&"DropHeldKey".to_owned()));
}

#[test]
fn a_kept_key_needs_no_secret_either() {
    let mut scene = Scene { issuer_is_prompt: true, issuer_needs_no_key: true, ..Scene::issued() };
    scene.spec(|spec| spec.private_key.as_mut().unwrap().rotation_policy = Some("Never".into()));
    scene.now = at(60 * DAY);
    let notes = scene.notes();
    assert_eq!(notes[1], "Normal Reused: Reusing private key stored in existing Secret resource \"web-tls\"");
    scene.run();
    scene.answer();
    assert_eq!(scene.run().0, ["ApplySecret", "WriteStatus", "DropHeldKey", "Publish", "DeleteRequest"]);
    assert_eq!(scene.status().revision, Some(2));
}

#[test]
fn what_was_signed_for_a_kept_key_before_a_crash_is_stored() {
    let mut scene = requested();
    scene.answer();
    scene.run();
    scene.spec(|spec| {
        spec.private_key.as_mut().unwrap().rotation_policy = Some("Never".into());
        spec.dns_names.push("more.example.com".into());
    });
    scene.now = at(60);
    scene.run();
    scene.answer();
    crash(&mut scene);
    scene.now = at(70);
    let done = scene.run().0;
    assert!(done.contains(&"ApplySecret".to_owned()) && !done.contains(&"CreateRequest".to_owned()), "{done:?}");
    assert_eq!((scene.status().revision, scene.conditions()), (Some(2), strings(&[READY])));
}
