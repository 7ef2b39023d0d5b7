use super::{
    model::{Clocks, World},
    *,
};

const RIGHT: Clocks = Clocks { steady: 0, drift: 0, wall: 0 };

fn running(replicas: usize, shares: u32) -> World {
    let mut world = World::new(&vec![RIGHT; replicas], None);
    for number in 0..replicas {
        world.start(number, shares);
    }
    world.calm(20_000, |world| world.is_complete(shares) && world.is_balanced()).unwrap();
    world
}

#[test]
fn a_lease_that_another_program_took_tells_of_no_division() {
    let mut world = running(2, 2);
    assert_eq!(world.workers().len(), 2);
    // As cert-manager does it, which leaves annotations alone.
    let lease = world.server.leases.get_mut(LEASE).unwrap();
    lease.metadata.resource_version = Some("taken".to_owned());
    lease.spec.as_mut().unwrap().holder_identity = Some("cert-manager-external-cert-manager-controller".to_owned());
    world.calm(5_000, |world| world.workers().is_empty()).unwrap();
    // It is gone: first nothing is done for as long as a Lease lasts, then all.
    world.calm(60_000, |world| world.is_complete(2)).unwrap();
}

/// The holder renews every three seconds, the other one looks every two.
#[test]
fn who_stands_by_asks_seldom() {
    let mut world = running(2, 1);
    let before = world.server.calls;
    world.pass(60_000).unwrap();
    let calls = world.server.calls - before;
    assert!((40..=50).contains(&calls), "{calls} calls in a minute");
}

/// The work on it ends because the share is to be given away, not because nobody renewed its Lease any more.
#[test]
fn who_is_asked_for_a_share_gives_it_away_at_once() {
    let mut world = World::new(&[RIGHT; 2], None);
    world.start(0, 2);
    world.calm(20_000, |world| world.is_complete(2)).unwrap();
    world.start(1, 2);
    let took = world.calm(30_000, |world| world.is_complete(2) && world.is_balanced()).unwrap();
    assert!(took < 6_000, "{took} ms");
}
