//! Certificates that are revoked, now or at the end.

use super::*;
use crate::{api::names::annotation, decide::revocation::MOST_TRIES};

/// A Certificate with a wish for its end that is being deleted.
fn leaving() -> Scene {
    let mut scene = Scene::issued();
    scene.wish(annotation::REVOKE_ON_DELETE, "superseded");
    assert_eq!(scene.run().0, ["AddFinalizer"]);
    scene.certificate.metadata.deletion_timestamp = Some(Time(scene.now));
    scene
}

#[test]
fn it_is_revoked_once_and_replaced_with_a_new_key() {
    let mut scene = Scene::issued();
    scene.spec(|spec| spec.private_key.get_or_insert_default().rotation_policy = Some("Never".into()));
    scene.run();
    scene.wish(annotation::REVOKE, "keyCompromise");
    assert_eq!(scene.step(), ["Revoke", "Publish"]);
    assert_eq!(scene.step()[0], "PutSecretRight", "it is noted before anything else");
    let is_new_key =
        |step: &CertificateStep| matches!(step, CertificateStep::CreateNextKey { key: NextKey::Generate(_), .. });
    let has_new_key = (0..3).any(|_| {
        let steps = scene.decide().steps;
        scene.step();
        steps.iter().any(is_new_key)
    });
    assert!(has_new_key);
    scene.run();
    scene.answer();
    scene.run();
    assert!(scene.secret.as_ref().unwrap().annotations()[annotation::REVOKED].starts_with("keyCompromise "));
    assert_eq!(scene.run().0, [""; 0], "the wish is fulfilled");
}

#[test]
fn what_leaves_is_revoked_first() {
    let mut scene = leaving();
    assert_eq!(scene.run().0, ["Revoke", "RemoveFinalizer"]);
    let mut other = leaving();
    other.issuer_revokes = false;
    assert_eq!(other.run().0, ["RemoveFinalizer"], "nobody can be asked");
}

#[test]
fn what_cannot_be_revoked_tells_why_it_stays_and_goes_in_the_end() {
    let mut scene = leaving();
    scene.trouble = Some(trouble(TroubleClass::Transient, 2));
    assert_eq!(scene.run(), (strings(&["WriteStatus", "Publish"]), Some(5)));
    let told = "Not deleted before the certificate is revoked or 8 tries fail: Failed to try: the other side was out; next \
                try after 5 s";
    assert!(scene.conditions()[0].ends_with(told), "{:?}", scene.conditions());
    assert_eq!(scene.run().0, [""; 0], "told once");
    scene.now = at(5);
    assert_eq!(scene.clone().step(), ["Revoke"]);
    scene.trouble = Some(Trouble { at: at(5), ..trouble(TroubleClass::Transient, 3) });
    assert_eq!(scene.step(), ["WriteStatus"], "the same is no event");
    for end in [trouble(TroubleClass::Final, 1), trouble(TroubleClass::Transient, MOST_TRIES)] {
        let mut scene = leaving();
        scene.trouble = Some(end);
        assert_eq!(
            scene.notes(),
            ["Warning RevocationFailed: The certificate was not revoked: Failed to try: the other \
                                    side was out"]
        );
        assert_eq!(scene.step(), ["Publish", "RemoveFinalizer"]);
    }
}

#[test]
fn a_wish_is_never_about_a_certificate_that_came_after_it() {
    let mut scene = Scene::new();
    scene.wish(annotation::REVOKE, "superseded");
    scene.run();
    scene.answer();
    assert!(!scene.run().0.contains(&"Revoke".to_owned()));
    assert_eq!(scene.secret.as_ref().unwrap().annotations()[annotation::REVOKED], "superseded none");
    assert_eq!(scene.conditions(), [READY]);

    // While another issuance is under way, the certificate in the Secret is revoked all the same.
    let mut scene = Scene::issued();
    scene.spec(|spec| spec.dns_names.push("more.example.com".into()));
    scene.run();
    scene.wish(annotation::REVOKE, "superseded");
    assert!(scene.run().0.contains(&"Revoke".to_owned()));
    scene.answer();
    assert!(!scene.run().0.contains(&"Revoke".to_owned()));

    // If it cannot be, it is told of when the new one takes its place.
    let mut scene = Scene::issued();
    scene.spec(|spec| spec.dns_names.push("more.example.com".into()));
    scene.run();
    scene.issuer_revokes = false;
    scene.wish(annotation::REVOKE, "superseded");
    scene.answer();
    assert!(
        scene.notes().iter().any(|note| note.contains("was replaced before it was revoked")),
        "{:?}",
        scene.notes()
    );
    scene.run();
    assert_eq!(scene.conditions(), [READY]);
}

#[test]
fn a_ca_that_cannot_revoke_holds_up_nothing_else() {
    let mut scene = Scene::issued();
    scene.spec(|spec| spec.dns_names.push("more.example.com".into()));
    scene.step();
    scene.wish(annotation::REVOKE, "superseded");
    scene.trouble = Some(trouble(TroubleClass::Transient, 3));
    scene.now = scene.trouble.as_ref().unwrap().next_try();
    assert_eq!(kinds(&scene.decide())[0], "CreateNextKey", "the next certificate comes first");

    // While the Secret is put right, too, and while an issuance has to wait.
    let mut scene = Scene::issued();
    scene.wish(annotation::REVOKE, "superseded");
    scene.spec(|spec| spec.secret_template = Some(object(json!({"labels": {"team": "a"}}))));
    let kinds_of = |scene: &Scene| kinds(&scene.decide());
    let order: Vec<_> =
        kinds_of(&scene).into_iter().filter(|kind| kind != "WriteStatus" && kind != "Publish").collect();
    assert_eq!(order, ["PutSecretRight", "Revoke"]);

    let mut scene = Scene::issued();
    scene.now = at(60 * DAY);
    scene.run();
    scene.fail("no");
    scene.run();
    scene.wish(annotation::REVOKE, "keyCompromise");
    assert!(kinds_of(&scene).contains(&"Revoke".to_owned()), "{:?}", kinds_of(&scene));
}
