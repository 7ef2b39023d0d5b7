//! How soon one issuance may follow another, and issuances that are over at once.

use super::*;
use crate::{
    api::names::annotation,
    decide::{order, refusal},
};

/// Has the certificate issued once more, because somebody has deleted the Secret.
fn lose_and_issue(scene: &mut Scene) {
    scene.secret = None;
    scene.run();
    scene.answer();
    scene.run();
}

#[test]
fn a_loop_of_issuances_is_broken() {
    let mut scene = Scene::issued();
    for minute in 1..5 {
        scene.now = at(60 * minute);
        lose_and_issue(&mut scene);
        assert_eq!(scene.conditions(), [READY]);
    }
    scene.now = at(300);
    scene.secret = None;
    assert_eq!(scene.run(), (strings(&["WriteStatus"]), Some(HOUR)));
    let told = "5 certificates were issued within an hour although the spec did not change; look for something else that \
                changes the Secret \"web-tls\"";
    assert!(
        scene.conditions().iter().any(|line| line.contains("Issuing=False TooManyIssuances") && line.contains(told))
    );
    assert!(scene.conditions().iter().any(|line| line.starts_with("Ready=False DoesNotExist") && line.contains(told)));
    assert_eq!(scene.run().0, [""; 0], "told once");
    let mut edited = scene.clone();
    edited.spec(|spec| spec.dns_names.push("more.example.com".into()));
    assert!(edited.run().0.contains(&"CreateRequest".to_owned()), "a new spec is no loop");
    scene.now = at(HOUR);
    assert!(scene.run().0.contains(&"CreateRequest".to_owned()));
}

#[test]
fn a_restraint_that_is_not_needed_any_more_is_taken_back() {
    let mut scene = Scene::issued();
    let good = scene.secret.clone();
    for minute in 1..5 {
        scene.now = at(60 * minute);
        lose_and_issue(&mut scene);
    }
    let newest = scene.secret.take();
    scene.run();
    assert_eq!(scene.conditions().len(), 2);
    scene.secret = newest.or(good);
    scene.run();
    assert_eq!(scene.conditions(), [READY]);
}

#[test]
fn the_number_of_issuances_within_a_day_can_be_limited() {
    let mut scene = Scene::issued();
    scene.wish(annotation::MAX_ISSUANCES_PER_DAY, "2");
    scene.now = at(HOUR);
    lose_and_issue(&mut scene);
    scene.now = at(2 * HOUR);
    scene.secret = None;
    assert_eq!(scene.run().1, Some(DAY));
    assert!(scene.conditions()[1].contains("allows 2 within 24 hours"), "{:?}", scene.conditions());
    scene.now = at(DAY);
    assert!(scene.run().0.contains(&"CreateRequest".to_owned()));

    let mut scene = Scene::issued();
    scene.wish(annotation::MAX_ISSUANCES_PER_DAY, "0");
    scene.secret = None;
    scene.run();
    assert!(scene.conditions()[1].ends_with("allows 0 within 24 hours"), "without a time: {:?}", scene.conditions());
}

#[test]
fn a_renewal_can_be_asked_for() {
    let mut scene = Scene::issued();
    scene.wish(annotation::RENEW_AT, &at(DAY).to_string());
    assert_eq!(scene.run(), (strings(&["WriteStatus"]), Some(DAY)), "the renewal time shows it");
    scene.now = at(DAY);
    assert!(scene.run().0.contains(&"CreateRequest".to_owned()));
    scene.answer();
    scene.run();
    assert_eq!((scene.status().revision, scene.conditions()), (Some(2), strings(&[READY])));
    assert_eq!(scene.run().0, [""; 0], "once");
}

#[test]
fn annotations_that_say_nothing_sensible_are_told_of() {
    let mut scene = Scene::issued();
    scene.wish(annotation::RENEW_AT, "tomorrow");
    scene.wish(annotation::SECRET_POLICY, "delete");
    assert_eq!(scene.run().0, ["WriteStatus"]);
    assert_eq!(
        scene.conditions(),
        [format!(
            "{READY}; the annotation certwright.dev/secret-policy is ignored, because \"delete\" is not Delete or Orphan; \
             the annotation certwright.dev/renew-at is ignored, because \"tomorrow\" is not a time such as \
             2027-01-31T12:00:00Z"
        )]
    );
}

#[test]
fn an_issuance_that_is_over_at_once_is_told_of_when_it_is_over() {
    let mut scene = Scene { issuer_is_prompt: true, ..Scene::new() };
    assert_eq!(scene.run().0, ["CreateNextKey", "Publish", "CreateRequest", "Publish"]);
    assert_eq!(scene.conditions(), [""; 0]);
    scene.answer();
    assert_eq!(scene.run().0, ["ApplySecret", "WriteStatus", "DeleteNextKey", "Publish"]);
    assert_eq!(scene.conditions(), [READY]);
    scene.now = at(60 * DAY);
    assert_eq!(scene.run().0, ["CreateNextKey", "Publish", "CreateRequest", "Publish"]);
    scene.answer();
    let done = scene.run().0;
    assert_eq!(done, ["ApplySecret", "WriteStatus", "DeleteNextKey", "Publish", "DeleteRequest"]);
}

#[test]
fn an_issuance_that_should_have_been_over_is_told_of() {
    let mut scene = Scene { issuer_is_prompt: true, ..Scene::new() };
    assert_eq!(scene.run().1, Some(30));
    scene.now = at(30);
    scene.run();
    assert_eq!(scene.conditions()[0], format!("Issuing=True DoesNotExist: {ISSUING}"));
    scene.answer();
    scene.run();
    assert_eq!(scene.conditions(), [READY]);
}

#[test]
fn a_prompt_issuer_that_refuses_is_waited_for() {
    let mut scene = Scene { issuer_is_prompt: true, ..Scene::new() };
    scene.run();
    scene.fail("it cannot be signed");
    let (done, wake) = scene.run();
    assert_eq!((done, wake), (strings(&["WriteStatus", "DeleteNextKey", "Publish"]), Some(60)));
    assert!(scene.conditions()[0].starts_with("Issuing=False Failed: "), "{:?}", scene.conditions());
    scene.now = at(60);
    let done = scene.run().0;
    assert!(done.contains(&"DeleteRequest".to_owned()) && done.contains(&"CreateRequest".to_owned()), "{done:?}");
}

#[test]
fn a_refusal_counts_whatever_the_clock_of_the_api_server_says() {
    for seconds in [-20, 0, 60] {
        let mut scene = Scene { issuer_is_prompt: true, ..Scene::new() };
        scene.run();
        let dated = Some(Time(at(seconds)));
        Arc::make_mut(&mut scene.next_keys[0]).metadata.creation_timestamp.clone_from(&dated);
        Arc::make_mut(&mut scene.requests[0]).metadata.creation_timestamp = dated;
        scene.fail("it cannot be signed");
        let (done, wake) = scene.run();
        assert_eq!((done, wake), (strings(&["WriteStatus", "DeleteNextKey", "Publish"]), Some(60)), "{seconds} s");
    }
}

#[test]
fn a_secret_that_was_stored_before_a_crash_is_noted_afterwards() {
    let mut scene = Scene { issuer_is_prompt: true, ..Scene::new() };
    scene.run();
    scene.answer();
    let stored = scene.decide().steps.remove(0);
    scene.act(stored);
    scene.run();
    assert_eq!((scene.status().revision, scene.conditions()), (Some(1), strings(&[READY])));
    assert_eq!((scene.requests.len(), scene.next_keys.len()), (1, 0));
}

#[test]
fn attempts_come_closer_before_the_certificate_runs_out() {
    let mut scene = Scene::issued();
    scene.now = at(60 * DAY);
    let mut waits = Vec::new();
    while scene.now < at(89 * DAY) {
        assert!(waits.len() < 100, "{waits:?}");
        scene.run();
        scene.fail("no");
        let until = scene.run().1.unwrap();
        waits.push((until - scene.now.duration_since(now()).as_secs()) / HOUR);
        scene.now = at(until);
    }
    assert_eq!(waits[..6], [1, 2, 4, 8, 16, 32]);
    assert_eq!(waits.iter().max(), Some(&32));
    assert!(waits.last() < Some(&8), "{waits:?}");
}

#[test]
fn an_issuance_that_is_announced_late_keeps_its_answer() {
    let mut scene = Scene { issuer_is_prompt: true, ..Scene::new() };
    scene.run();
    scene.answer();
    scene.now = at(30);
    let done = scene.run().0;
    assert!(done.contains(&"ApplySecret".to_owned()) && !done.contains(&"DeleteRequest".to_owned()), "{done:?}");
}

#[test]
fn what_only_a_new_spec_can_cure_is_not_tried_hour_by_hour() {
    let mut scene = Scene::new();
    scene.run();
    scene.fail(&format!("order is in \"errored\" state: no{}", refusal::UNTIL_SPEC_CHANGES));
    assert_eq!(scene.run().1, Some(32 * HOUR));
    scene.now = at(31 * HOUR);
    assert_eq!(scene.run(), (vec![], Some(32 * HOUR)), "a new process reads it in the status");
    scene.spec(|spec| spec.dns_names = vec!["good.example.com".into()]);
    assert!(scene.run().0.contains(&"CreateRequest".to_owned()));
}

#[test]
fn what_took_too_long_is_tried_again_soon() {
    let mut scene = Scene::new();
    scene.run();
    scene.fail(&format!("order is in \"expired\" state{}", order::EXPIRED_BEFORE_FINISHED));
    assert_eq!(scene.run().1, Some(60));
    scene.now = at(60);
    scene.run();
    scene.fail(&format!("order is in \"expired\" state{}", order::EXPIRED_BEFORE_FINISHED));
    assert_eq!(scene.run().1, Some(60 + 240));
}

#[test]
fn attempts_after_failures_are_spread() {
    let mut scene = Scene::new();
    scene.settings.renewal_jitter = true;
    scene.run();
    scene.fail("no");
    let next = scene.run().1.unwrap();
    assert!((HOUR..=HOUR + 360).contains(&next), "{next}");
    assert!(scene.conditions()[0].contains(&format!("(next attempt at {}, or", at(next))), "{:?}", scene.conditions());
    scene.now = at(next);
    assert!(scene.run().0.contains(&"CreateRequest".to_owned()));
}

#[test]
fn an_issuance_that_nobody_needs_any_more_is_called_off() {
    let mut scene = Scene::issued();
    scene.spec(|spec| spec.dns_names.push("more.example.com".into()));
    scene.run();
    assert_eq!((scene.requests.len(), scene.conditions().len()), (2, 2));
    scene.spec(|spec| drop(spec.dns_names.pop()));
    scene.run();
    assert_eq!((scene.requests.len(), scene.next_keys.len()), (1, 0));
    assert_eq!((scene.conditions(), scene.status().revision), (strings(&[READY]), Some(1)));
}

#[test]
fn what_somebody_has_asked_for_by_hand_is_not_called_off() {
    let mut scene = Scene::issued();
    let asked = told("Issuing", "True", "ManuallyTriggered", "Certificate re-issuance manually triggered");
    set_condition(&mut scene.certificate.status.as_mut().unwrap().conditions, asked, scene.now);
    assert!(scene.run().0.contains(&"CreateRequest".to_owned()));
    scene.fail("no");
    scene.run();
    let failed = "Issuing=False Failed: The certificate request has failed to complete and will be retried: no";
    assert_eq!(scene.conditions(), [READY, failed], "nothing is due that would be tried again");
    scene.now = at(HOUR);
    scene.run();
    assert_eq!((scene.conditions(), scene.status().failed_issuance_attempts), (strings(&[READY]), None));
}

#[test]
fn a_renewal_that_was_asked_for_is_made_once_whatever_becomes_of_its_request() {
    let mut scene = Scene::issued();
    scene.wish(annotation::RENEW_AT, &at(DAY).to_string());
    scene.now = at(DAY);
    scene.run();
    let backdated = answer(scene.requests.last().unwrap(), DAY - HOUR, 91 * DAY);
    scene.answer_with(&backdated.0);
    scene.run();
    scene.requests.clear();
    assert_eq!(scene.run().0, [""; 0]);
    assert_eq!(scene.secret.as_ref().unwrap().annotations()[annotation::RENEWED_AT], at(DAY).to_string());
    scene.wish(annotation::RENEW_AT, &at(2 * DAY).to_string());
    scene.now = at(2 * DAY);
    assert!(scene.run().0.contains(&"CreateRequest".to_owned()), "another wish");
}
