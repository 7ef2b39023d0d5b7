//! Requests that nobody approves or answers.

use super::*;

const MINUTES: i64 = 60;

/// A Certificate whose request has just been made, for an issuer of this group.
fn requested(group: &str) -> Scene {
    let mut scene = Scene::new();
    scene.spec(|spec| {
        let (kind, group) = (Some("Authority".to_owned()), Some(group.to_owned()));
        spec.issuer_ref = IssuerReference { name: "one".to_owned(), kind, group };
    });
    scene.run();
    scene
}

fn approve(scene: &mut Scene) {
    scene.tell(told("Approved", "True", "cert-manager.io", ""));
}

#[test]
fn a_controller_that_never_answers_is_named_once() {
    let mut scene = requested("ca.example.com");
    scene.now = at(MINUTES);
    approve(&mut scene);
    assert_eq!(scene.run().1, Some(6 * MINUTES), "it is looked at again when it will be told");
    assert_eq!(scene.conditions()[0], format!("Issuing=True DoesNotExist: {ISSUING}"));
    scene.now = at(6 * MINUTES);
    let text = format!(
        "nobody has answered the CertificateRequest \"web-1\" since {}; see whether the controller for Authority of the group \
         ca.example.com is installed and runs, and what its log says",
        at(MINUTES)
    );
    assert_eq!(scene.notes(), [format!("Warning RequestUnanswered: {text}")]);
    assert_eq!(scene.run(), (strings(&["WriteStatus", "Publish"]), None));
    let [issuing, ready] = scene.conditions().try_into().unwrap();
    assert_eq!(issuing, format!("Issuing=True DoesNotExist: {ISSUING}; held up: {text}"));
    assert_eq!(ready, format!("Ready=False DoesNotExist: {ISSUING}: {text}"));
    scene.now = at(DAY);
    assert_eq!(scene.run().0, [""; 0], "it is said already");

    // It has come, and has a word of its own.
    scene.tell(told("Ready", "False", "Pending", "somebody looks at it"));
    scene.run();
    assert_eq!(scene.conditions()[0], format!("Issuing=True DoesNotExist: {ISSUING}; held up: somebody looks at it"));
    scene.answer();
    scene.run();
    assert_eq!(scene.conditions(), [READY]);
}

#[test]
fn that_nobody_approves_is_told_of_any_issuer() {
    for group in ["ca.example.com", "cert-manager.io"] {
        let mut scene = requested(group);
        scene.tell(told("Ready", "False", "Pending", "Not signing CertificateRequest until it is Approved"));
        scene.run();
        let early = format!("{ISSUING}; held up: Not signing CertificateRequest until it is Approved");
        assert_eq!(scene.conditions()[0], format!("Issuing=True DoesNotExist: {early}"), "{group}");
        scene.now = at(5 * MINUTES);
        assert_eq!(scene.run().0, ["WriteStatus", "Publish"], "{group}");
        let text = format!(
            "nobody has approved the CertificateRequest \"web-1\" since {}; see its events, and whether the controller that is to \
             approve it runs, or approve it: cmctl approve web-1 -n shop",
            now()
        );
        assert_eq!(scene.conditions()[0], format!("Issuing=True DoesNotExist: {ISSUING}; held up: {text}"), "{group}");
    }
    let mut untold = requested("ca.example.com");
    assert_eq!(untold.run().1, Some(5 * MINUTES), "before anybody has said anything");
    untold.now = at(5 * MINUTES);
    untold.run();
    assert!(untold.conditions()[0].contains("nobody has approved"), "{:?}", untold.conditions());
}

#[test]
fn own_issuers_and_any_word_are_an_answer() {
    let mut own = requested("cert-manager.io");
    assert_eq!(own.decide(), Decision::rest(), "the usual way costs no further look");
    approve(&mut own);
    own.now = at(DAY);
    assert_eq!(own.decide(), Decision::rest());

    let mut other = requested("ca.example.com");
    approve(&mut other);
    other.tell(told("Queued", "True", "Busy", "there are many"));
    other.now = at(DAY);
    assert_eq!(other.run().0, [""; 0]);
}
