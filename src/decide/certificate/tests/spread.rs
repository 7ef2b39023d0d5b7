//! Renewals are spread, but not those whose time cert-manager has worked out.

use super::*;
use crate::decide::{later, policy};

fn jittered() -> Settings {
    Settings { renewal_jitter: true, ..Settings::default() }
}

fn renewal_time(scene: &Scene) -> Timestamp {
    scene.certificate.status.as_ref().unwrap().renewal_time.as_ref().unwrap().0
}

/// As after a take-over: the status tells of exactly two thirds of the lifetime.
#[test]
fn a_plain_renewal_time_stays_until_the_next_certificate() {
    let mut scene = Scene::issued();
    let plain = renewal_time(&scene);
    scene.settings = jittered();
    assert_eq!(kinds(&scene.decide()), Vec::<String>::new());
    scene.now = plain;
    scene.run();
    scene.answer();
    scene.run();
    assert_eq!(scene.conditions(), [READY]);
    let leaf = policy::leaf_of(scene.secret.as_ref().unwrap()).unwrap();
    let third = leaf.not_after.duration_since(leaf.not_before) / 3;
    assert!(renewal_time(&scene) < later(leaf.not_after, -third), "the next one is spread");
}

/// A time that tells of another certificate, or follows from another spec, counts for nothing.
#[test]
fn a_time_of_something_else_is_worked_out_anew() {
    let changes: [fn(&mut Scene); 3] = [
        |scene: &mut Scene| scene.certificate.status.as_mut().unwrap().renewal_time = None,
        |scene: &mut Scene| scene.certificate.status.as_mut().unwrap().not_after = None,
        |scene: &mut Scene| scene.certificate.spec.renew_before = Some("480h".into()),
    ];
    for change in changes {
        let mut scene = Scene::issued();
        scene.settings = jittered();
        change(&mut scene);
        let left = if scene.certificate.spec.renew_before.is_some() { 20 * DAY } else { 30 * DAY };
        scene.run();
        assert!(renewal_time(&scene) < at(90 * DAY - left), "{}", renewal_time(&scene));
    }
}
