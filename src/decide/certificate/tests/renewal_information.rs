//! What the CA suggests about the time of the renewal.

use super::*;
use crate::{
    api::certificate::{RenewalSpec, RenewalWindow},
    decide::renewal_information::Marks,
    pki::certificate_id,
};

const MONTH: i64 = 30 * DAY;

fn suggested(from: i64, until: i64) -> Found {
    Found::Suggestion { start: at(from), end: at(until), explanation_url: None, retry_after: None }
}

fn failed(message: &str) -> Found {
    Found::Failed { message: message.to_owned(), is_transient: true, retry_after: None }
}

/// Issued for 90 days, with a CA that would say this.
fn scene(suggestion: Found) -> Scene {
    let mut scene = Scene { source: Source::Ca, suggestion, ..Scene::new() };
    scene.run();
    scene.answer();
    scene.run();
    assert_eq!((scene.conditions(), scene.status().acme), (strings(&[READY]), None));
    scene
}

/// As [`scene`], and asked for the first time.
fn asked(suggestion: Found) -> Scene {
    let mut scene = scene(suggestion);
    let first = scene.run().1.unwrap();
    scene.now = at(first);
    assert_eq!(scene.run().0[..2], strings(&["CheckRenewalInformation", "WriteStatus"]));
    scene
}

fn ari(scene: &Scene) -> crate::api::certificate::AcmeRenewalInfo {
    scene.status().acme.unwrap().ari.unwrap()
}

fn renewal(scene: &Scene) -> i64 {
    scene.status().renewal_time.unwrap().0.duration_since(now()).as_secs()
}

/// Seconds from the last question to the next.
fn wait(scene: &Scene) -> i64 {
    let ari = ari(scene);
    ari.next_check.unwrap().0.duration_since(ari.last_checked.unwrap().0).as_secs()
}

fn marks(scene: &Scene) -> Option<Marks> {
    scene.decide().steps.into_iter().find_map(|step| match step {
        CertificateStep::CreateRequest { marks, .. } => Some(marks),
        _ => None,
    })
}

#[test]
fn the_first_question_comes_an_hour_or_two_after_the_issuance_and_then_at_the_cas_pace() {
    let mut scene = scene(suggested(59 * DAY, 61 * DAY));
    assert_eq!(renewal(&scene), 2 * MONTH);
    let first = seconds_until(scene.decide().wake).unwrap();
    assert!((HOUR..2 * HOUR).contains(&first), "{first}");
    scene.now = at(first - 1);
    assert_eq!(scene.run().0, [""; 0]);
    scene.now = at(first);
    let (done, wake) = scene.run();
    assert_eq!(done, ["CheckRenewalInformation", "WriteStatus"]);
    let next = wake.unwrap() - first;
    assert!((5 * HOUR..7 * HOUR).contains(&next), "{next}");
    assert_eq!(wait(&scene), next);
    assert_eq!(ari(&scene).suggested_window.unwrap().start.0, at(59 * DAY));
    let instant = renewal(&scene);
    assert!((59 * DAY..=61 * DAY).contains(&instant) && instant != 2 * MONTH, "{instant}");

    for number in 1..=12 {
        scene.now = at(seconds_until(scene.decide().wake).unwrap());
        assert_eq!(scene.run().0, ["CheckRenewalInformation", "WriteStatus"], "question {number}");
        assert_eq!(renewal(&scene), instant, "an unchanged window never moves it");
    }
    scene.answer = None;
    assert_eq!(scene.run().0, [""; 0], "a new process has nothing to do");

    scene.suggestion = suggested(59 * DAY, 62 * DAY);
    scene.now = at(seconds_until(scene.decide().wake).unwrap());
    scene.run();
    assert_ne!(renewal(&scene), instant, "another window gives another instant");
}

#[test]
fn a_renewal_at_the_instant_is_a_usual_one() {
    let mut scene = asked(suggested(59 * DAY, 61 * DAY));
    let instant = renewal(&scene);
    scene.now = at(instant - 1);
    scene.run();
    assert_eq!(scene.conditions(), [READY]);
    scene.now = at(instant);
    scene.step();
    let text = format!("Issuing=True Renewing: Renewing certificate as renewal was scheduled at {}", at(instant));
    assert_eq!(scene.conditions()[1], text);
    while marks(&scene).is_none() {
        scene.step();
    }
    let id = scene.secret.as_ref().and_then(crate::decide::policy::leaf_of).as_ref().and_then(certificate_id);
    assert!(id.is_some());
    assert_eq!(marks(&scene).unwrap(), Marks { replaces: id.clone(), urgent: false });
    scene.run();
    assert_eq!(scene.requests.last().unwrap().annotations()[annotation::REPLACES], id.unwrap());
    scene.answer();
    scene.run();
    assert_eq!((scene.conditions(), scene.status().acme), (strings(&[READY]), None), "that was about the former one");
}

#[test]
fn a_window_in_the_past_means_now() {
    let page = Some("https://ca.example/incident".to_owned());
    let Found::Suggestion { start, end, .. } = suggested(-2 * HOUR, -HOUR) else { panic!() };
    let mut scene = scene(Found::Suggestion { start, end, explanation_url: page, retry_after: None });
    // Nights on the first of January only.
    let window = RenewalWindow { cron: "0 2 1 1 *".into(), timezone: None, window_duration: "1h".into() };
    scene.spec(|spec| spec.renewal = Some(RenewalSpec { policy: None, windows: vec![window] }));
    scene.run();
    scene.now = at(3 * HOUR);
    let steps = [scene.step(), scene.step()];
    assert_eq!(steps[0].last().unwrap(), "CheckRenewalInformation");
    assert_eq!(steps[1], ["WriteStatus", "Publish"], "the suggestion and the issuance in one write");
    let text = format!(
        "Renewing certificate as the CA suggests a renewal between {} and {} (https://ca.example/incident)",
        at(-2 * HOUR),
        at(-HOUR)
    );
    assert_eq!(scene.conditions()[1], format!("Issuing=True Renewing: {text}"));
    scene.run();
    let request = scene.requests.last().unwrap();
    assert_eq!(request.annotations()[annotation::URGENT], "true");
    assert!(request.annotations().contains_key(annotation::REPLACES));
}

#[test]
fn a_ca_that_always_wants_it_now_is_obeyed_three_times_a_day() {
    let mut scene = asked(suggested(-2 * HOUR, -HOUR));
    let mut renewals = Vec::new();
    while scene.now < at(3 * DAY) {
        let (_, wake) = scene.run();
        if scene.requests.last().unwrap().status.is_none() {
            renewals.push(scene.now.duration_since(now()).as_secs());
            scene.answer();
        } else {
            scene.now = at(wake.unwrap());
        }
    }
    assert!((7..=10).contains(&renewals.len()), "{renewals:?}");
    assert!(renewals.windows(3).all(|three| three[2] - three[0] > 2 * HOUR));
    assert!(renewals.windows(4).all(|four| four[3] - four[0] >= DAY), "{renewals:?}");
}

#[test]
fn failures_are_told_of_once_and_change_nothing() {
    let mut scene = asked(failed("no answer"));
    assert_eq!((renewal(&scene), scene.conditions()), (2 * MONTH, strings(&[READY])));
    assert_eq!(ari(&scene).last_error.unwrap(), "no answer");
    let mut waits = vec![wait(&scene) / 60];
    for _ in 0..6 {
        scene.now = at(seconds_until(scene.decide().wake).unwrap());
        assert_eq!(scene.step(), ["CheckRenewalInformation"]);
        assert_eq!(scene.notes(), [""; 0], "the same is no news");
        assert_eq!(scene.step(), ["WriteStatus"]);
        scene.answer = None;
        waits.push(wait(&scene) / 60);
    }
    assert!(waits[0] <= 5 && waits.windows(2).all(|pair| pair[0] < pair[1] || pair[1] > 300), "{waits:?}");
    assert!(waits.iter().all(|minutes| *minutes <= 7 * 60) && waits[6] > 5 * 60, "{waits:?}");

    scene.suggestion = failed("another trouble");
    scene.now = at(seconds_until(scene.decide().wake).unwrap());
    scene.step();
    assert_eq!(scene.notes(), ["Warning ARIError: another trouble"]);
    scene.run();
    scene.suggestion = suggested(59 * DAY, 61 * DAY);
    scene.now = at(seconds_until(scene.decide().wake).unwrap());
    scene.run();
    let instant = renewal(&scene);
    assert_ne!((ari(&scene).last_error, instant), (None, 2 * MONTH));
    scene.suggestion = failed("no answer");
    scene.now = at(seconds_until(scene.decide().wake).unwrap());
    scene.run();
    assert_eq!(renewal(&scene), instant, "what the CA said goes on to hold");
}

#[test]
fn a_ca_without_renewal_information_is_left_alone_for_a_day() {
    let mut scene = scene(Found::Unsupported);
    let first = scene.run().1.unwrap();
    scene.now = at(first);
    assert_eq!(scene.run(), (strings(&["CheckRenewalInformation"]), Some(first + DAY)), "nothing is written");
    scene.now = at(first + DAY);
    assert_eq!(scene.run().0, ["CheckRenewalInformation"]);
}

#[test]
fn what_the_ca_said_is_forgotten_when_it_counts_no_more() {
    let asked = asked(suggested(20 * DAY, 21 * DAY));
    assert!(renewal(&asked) < 22 * DAY);
    for source in [Source::Off, Source::Nobody] {
        let mut scene = Scene { source, ..asked.clone() };
        assert_eq!(scene.run().0, ["WriteStatus"], "{source:?}");
        assert_eq!((scene.status().acme, scene.status().renewal_time.unwrap().0), (None, at(2 * MONTH)), "{source:?}");
    }
    let mut scene = Scene { source: Source::Unknown, ..asked.clone() };
    assert_eq!(scene.run().0, [""; 0], "an issuer that is away for a while changes nothing");
    let mut scene = asked.clone();
    scene.spec(|spec| spec.renewal = Some(RenewalSpec { policy: Some("Disabled".into()), windows: Vec::new() }));
    scene.run();
    assert_eq!((scene.status().acme, scene.status().renewal_time), (None, None));
    let mut scene = asked;
    scene.spec(|spec| spec.issuer_ref.name = "other".into());
    scene.step();
    assert_eq!(scene.status().acme, None);
    scene.run();
    assert!(!scene.requests.last().unwrap().annotations().contains_key(annotation::REPLACES), "of another issuer");
}

#[test]
fn a_secret_that_does_not_say_where_it_came_from_is_not_asked_about() {
    let mut scene = scene(suggested(20 * DAY, 21 * DAY));
    scene.secret.as_mut().unwrap().annotations_mut().clear();
    scene.certificate.spec.renew_before = Some("1h".into());
    scene.now = at(3 * HOUR);
    assert!(!scene.step().contains(&"CheckRenewalInformation".to_owned()));
}

#[test]
fn other_names_replace_nothing_that_the_ca_knows() {
    for (names, replaces) in
        [(["more.example.com", "www.example.com"], true), (["a.example.com", "b.example.com"], false)]
    {
        let mut scene = asked(suggested(59 * DAY, 61 * DAY));
        scene.spec(|spec| spec.dns_names = names.map(str::to_owned).into());
        scene.run();
        let annotations = scene.requests.last().unwrap().annotations();
        assert_eq!(annotations.contains_key(annotation::REPLACES), replaces, "{names:?}");
        assert!(!annotations.contains_key(annotation::URGENT), "{names:?}");
    }
    // The CA was asked and does not know it.
    let mut scene = asked(failed("404: no such certificate"));
    scene.spec(|spec| spec.dns_names.push("more.example.com".into()));
    scene.run();
    assert!(!scene.requests.last().unwrap().annotations().contains_key(annotation::REPLACES));
}

#[test]
fn what_a_user_writes_into_the_annotations_does_not_count() {
    let mut scene = Scene::new();
    scene.wish(annotation::URGENT, "true");
    scene.wish(annotation::REPLACES, "a.b");
    scene.run();
    let annotations = scene.requests.last().unwrap().annotations();
    assert!(!annotations.contains_key(annotation::URGENT) && !annotations.contains_key(annotation::REPLACES));
}

#[test]
fn questions_that_came_due_before_the_process_began_are_spread() {
    let mut firsts = Vec::new();
    for number in 0..5 {
        let mut scene = asked(suggested(59 * DAY, 61 * DAY));
        scene.certificate.metadata.uid = Some(format!("uid-{number}"));
        scene.run();
        scene.answer = None;
        // The process of these tests began a day before now.
        let status = scene.certificate.status.as_mut().unwrap();
        status.acme.as_mut().unwrap().ari.as_mut().unwrap().next_check = Some(Time(at(-2 * DAY)));
        scene.now = at(-DAY);
        firsts.push(seconds_until(scene.decide().wake).unwrap() + DAY);
    }
    firsts.sort_unstable();
    firsts.dedup();
    assert_eq!(firsts.len(), 5);
    assert!(firsts.iter().all(|first| (0..HOUR).contains(first)), "{firsts:?}");
}
