//! What follows when an issuance fails or is held up.

use super::*;
use crate::decide::challenge::interruption::INTERRUPTED;

#[test]
fn a_failure_waits_an_hour_then_two_and_a_new_spec_does_not_wait() {
    let mut scene = Scene::new();
    scene.run();
    scene.fail("the CA said no");
    let failed = "The certificate request has failed to complete and will be retried: the CA said no";
    assert_eq!(scene.notes(), [format!("Warning Failed: {failed}")]);
    assert_eq!(scene.run(), (strings(&["WriteStatus", "DeleteNextKey", "Publish"]), Some(HOUR)));
    let told = format!("{failed} (next attempt at 2026-03-01T13:00:00Z, or when the spec changes)");
    assert_eq!(
        scene.conditions(),
        [format!("Issuing=False Failed: {told}"), format!("Ready=False DoesNotExist: {ISSUING}: {told}")]
    );
    let status = scene.status();
    assert_eq!((status.failed_issuance_attempts, status.last_failure_time), (Some(1), Some(Time(now()))));
    assert_eq!(status.next_private_key_secret_name, None);

    scene.now = at(HOUR - 1);
    assert_eq!(scene.run(), (vec![], Some(HOUR)));
    scene.now = at(HOUR);
    let again = ["WriteStatus", "Publish", "CreateNextKey", "Publish", "DeleteRequest", "CreateRequest", "Publish"];
    assert_eq!(scene.run(), (strings(&again), None));
    assert_eq!(scene.conditions()[1], format!("Ready=False DoesNotExist: {ISSUING}"));

    scene.fail("and again");
    assert_eq!(scene.run().1, Some(3 * HOUR));
    scene.now = at(HOUR + 60);
    scene.spec(|spec| spec.dns_names.push("shop.example.com".into()));
    scene.step();
    assert!(scene.conditions()[0].starts_with("Issuing=True"), "{:?}", scene.conditions());
    scene.run();
    scene.answer();
    scene.run();
    let status = scene.status();
    assert_eq!((status.failed_issuance_attempts, status.last_failure_time), (None, None));
    assert_eq!(scene.conditions(), [READY]);
}

/// The first real failure waits as if nothing had been before it; what is interrupted again does not come soon again.
#[test]
fn an_interrupted_attempt_counts_only_until_another_has_ended() {
    const AGAIN: i64 = 60;
    for (second, waits, attempts) in [("the CA said no", HOUR, 1), (INTERRUPTED, 2 * HOUR, 2)] {
        let mut scene = Scene::new();
        scene.run();
        scene.fail(INTERRUPTED);
        assert_eq!(scene.run().1, Some(AGAIN));
        scene.now = at(AGAIN);
        scene.run();
        let issuing = &scene.conditions()[0];
        assert_eq!(
            issuing,
            &format!("Issuing=True DoesNotExist: {ISSUING}; once more, because the former attempt was interrupted")
        );
        scene.fail(second);
        assert_eq!(scene.run().1, Some(AGAIN + waits), "{second}");
        assert_eq!(scene.status().failed_issuance_attempts, Some(attempts), "{second}");
        scene.now = at(AGAIN + waits);
        scene.run();
        let issuing = &scene.conditions()[0];
        assert_eq!(issuing.contains("once more"), second == INTERRUPTED, "{issuing}");
        scene.fail("no again");
        scene.run();
        assert_eq!(scene.status().failed_issuance_attempts, Some(2), "{second}");
    }
}

#[test]
fn another_kind_of_key_does_not_wait_either() {
    let mut scene = Scene::new();
    scene.run();
    scene.fail("the CA dislikes the curve");
    scene.run();
    scene.spec(|spec| spec.private_key.as_mut().unwrap().size = Some(384));
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    assert!(scene.conditions()[0].starts_with("Issuing=True"));
}

#[test]
fn what_holds_it_up_is_told_once_and_taken_back() {
    let mut scene = Scene::issued();
    scene.now = at(60 * DAY);
    scene.run();
    scene.tell(told("Ready", "False", "Pending", "Waiting for Issuer \"le\": it sleeps"));
    assert_eq!(scene.run().0, ["WriteStatus"]);
    let issuing = &scene.conditions()[1];
    assert!(issuing.ends_with("; held up: Waiting for Issuer \"le\": it sleeps"), "{issuing}");
    assert_eq!(scene.conditions()[0], READY, "the certificate in use is still good");
    scene.tell(told("Ready", "False", "Pending", "Created Order resource shop/web-2-1"));
    assert_eq!(scene.run().0, ["WriteStatus"]);
    assert!(!scene.conditions()[1].contains("held up"));
}

#[test]
fn trouble_is_visible_and_waited_for() {
    for class in [TroubleClass::Transient, TroubleClass::Final] {
        let mut scene = Scene::new();
        scene.step();
        scene.trouble = Some(trouble(class, 2));
        let text = "Failed to try: the other side was out; next try after 5 s";
        assert_eq!(scene.notes(), [format!("Warning RequestFailed: {text}")]);
        assert_eq!(scene.run(), (strings(&["WriteStatus", "Publish"]), Some(5)));
        assert_eq!(scene.conditions()[0], format!("Issuing=True DoesNotExist: {ISSUING}; held up: {text}"));
        assert_eq!(scene.conditions()[1], format!("Ready=False DoesNotExist: {ISSUING}: {text}"));
        scene.now = at(5);
        assert_eq!(scene.step(), ["CreateNextKey", "Publish"], "trying again is no news");
        scene.trouble = None;
        assert_eq!(scene.run().0, ["WriteStatus", "CreateRequest", "Publish"]);
        assert_eq!(scene.conditions()[0], format!("Issuing=True DoesNotExist: {ISSUING}"));
    }
}

#[test]
fn a_missing_right_is_told_in_the_same_words_however_often_it_is_missed() {
    let mut scene = Scene::new();
    scene.step();
    let message = format!("Failed to create Secret shop/web: no right{}", crate::api::missing_right::GOES_ON);
    scene.trouble = Some(Trouble { message: message.clone(), ..trouble(TroubleClass::Transient, 1) });
    assert_eq!(scene.run(), (strings(&["WriteStatus", "Publish"]), Some(1)));
    assert_eq!(scene.conditions()[1], format!("Ready=False DoesNotExist: {ISSUING}: {message}"));
    scene.trouble = Some(Trouble { message, ..trouble(TroubleClass::Transient, 6) });
    assert_eq!(scene.run(), (strings(&[]), Some(300)));
    scene.now = at(300);
    assert_eq!(scene.step(), ["CreateNextKey", "Publish"], "nor is trying again");
    scene.trouble = None;
    assert_eq!(scene.run().0, ["WriteStatus", "CreateRequest", "Publish"]);
}
