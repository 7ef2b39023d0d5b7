//! What the issuer makes of a request.

use super::*;

#[test]
fn every_way_in_which_a_request_can_end_without_a_certificate() {
    let refusals = [
        (told("Denied", "True", "Policy", "not in my house"), "Policy", "not in my house"),
        (told("InvalidRequest", "True", "Bad", "too short"), "Bad", "too short"),
        (told("Ready", "False", "Failed", "no"), "Failed", "no"),
        (told("Ready", "False", "Denied", "denied"), "Denied", "denied"),
    ];
    for (condition, reason, why) in refusals {
        let mut scene = Scene::new();
        scene.run();
        scene.tell(condition);
        scene.run();
        let issuing = &scene.status().conditions[0];
        assert_eq!((issuing.status.as_str(), issuing.reason.as_deref()), ("False", Some(reason)));
        assert!(issuing.message.as_ref().unwrap().contains(why));
        // Without a failure time too, the next attempt is made with a new request.
        scene.now = at(HOUR);
        assert!(scene.run().0.contains(&"DeleteRequest".to_owned()));
        assert_eq!(scene.requests[0].status, None);
    }
}

#[test]
fn denied_beats_issued() {
    let mut scene = Scene::new();
    scene.run();
    scene.answer();
    scene.tell(told("Denied", "True", "Policy", "on second thoughts"));
    assert!(!scene.run().0.contains(&"ApplySecret".to_owned()));
    assert_eq!(scene.secret, None);
}

#[test]
fn what_comes_back_is_verified() {
    let other_key = chain(key(1), &["www.example.com"], 0, 90 * DAY);
    let expired = chain(key(0), &["www.example.com"], -90 * DAY, 0);
    let broken = format!("{}{}", chain(key(0), &["www.example.com"], 0, DAY), expired);
    let cases = [
        (other_key.as_bytes(), "a certificate for another key"),
        (expired.as_bytes(), "a certificate that expired at 2026-03-01T12:00:00Z"),
        (broken.as_bytes(), "a broken chain"),
        (b"garbage", "no certificate chain"),
        (b"", "no certificate chain"),
    ];
    for (chain, what) in cases {
        let mut scene = Scene::new();
        scene.run();
        scene.answer_with(chain);
        scene.run();
        let issuing = &scene.conditions()[0];
        assert!(issuing.starts_with("Issuing=False InvalidCertificate: ") && issuing.contains(what), "{issuing}");
        assert_eq!(scene.secret, None);
        assert_eq!(scene.next_keys, []);
    }
}

#[test]
fn an_answer_without_a_requested_name_is_refused() {
    let mut scene = Scene::new();
    scene.run();
    scene.answer_with(chain(key(0), &["other.example.com"], 0, 90 * DAY).as_bytes());
    scene.run();
    let told = scene.conditions().concat();
    assert!(
        told.contains("Issuing=False InvalidCertificate") && told.contains("without the name www.example.com"),
        "{told}"
    );
    assert_eq!(scene.secret, None);
}
