//! When a certificate is renewed, and who asks for it.

use super::*;

#[test]
fn renewal_at_its_time_and_expiry_if_it_fails() {
    let mut scene = Scene::issued();
    scene.now = at(60 * DAY - 1);
    assert_eq!(scene.run(), (vec![], Some(60 * DAY)));
    scene.now = at(60 * DAY);
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    let why = "Renewing certificate as renewal was scheduled at 2026-04-30T12:00:00Z";
    assert_eq!(scene.conditions(), [READY.to_owned(), format!("Issuing=True Renewing: {why}")]);
    scene.run();
    assert_eq!(scene.requests.last().unwrap().name_any(), "web-2");
    assert_eq!(seconds_until(scene.decide().wake), Some(90 * DAY), "to tell of the expiry");

    scene.now = at(90 * DAY);
    scene.run();
    assert_eq!(scene.conditions()[0], "Ready=False Expired: Certificate expired on Sat, 30 May 2026 12:00:00 +0000");

    scene.answer();
    scene.run();
    assert_eq!((scene.conditions(), scene.status().revision), (vec![READY.to_owned()], Some(2)));
    assert_eq!(scene.requests.len(), 1, "one is kept as history");
}

#[test]
fn a_renewal_asked_for_by_somebody_else() {
    let mut scene = Scene::issued();
    let manual = told("Issuing", "True", reason::MANUALLY_TRIGGERED, "Certificate re-issuance manually triggered");
    scene.certificate.status.as_mut().unwrap().conditions.push(manual.clone());
    let (done, _) = scene.run();
    assert_eq!(done, ["WriteStatus", "CreateNextKey", "Publish", "CreateRequest", "Publish"]);
    assert_eq!(scene.status().conditions[1], manual);
    scene.answer();
    scene.run();
    assert_eq!((scene.conditions(), scene.status().revision), (vec![READY.to_owned()], Some(2)));
}

#[test]
fn a_renewal_asked_for_does_not_wait_for_the_end_of_a_back_off() {
    let mut scene = Scene::new();
    scene.run();
    scene.fail("no");
    scene.run();
    scene.now = at(60);
    let manual = Condition { last_transition_time: Some(Time(at(60))), ..told("Issuing", "True", "Manual", "now") };
    set_condition(&mut scene.certificate.status.as_mut().unwrap().conditions, manual, at(60));
    assert!(scene.run().0.contains(&"CreateRequest".to_owned()));
    assert_eq!(scene.requests[0].status, None, "with a new request");
}

#[test]
fn the_wake_of_a_rest_is_the_renewal() {
    assert_eq!(Scene::issued().decide(), Decision { steps: vec![], wake: Wake::At(at(60 * DAY)) });
}
