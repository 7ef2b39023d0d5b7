//! A controller that answers HTTP-01 challenges itself ends at the moment when the CA asks it.

use certwright::{api::Certificate, decide::podless::Answerer};
use jiff::SignedDuration;

use super::{HOUR, assert_issued, counted, total, world};
use crate::faults::Fate;
use crate::world::{World, certificate};

/// A world whose controller answers, and whose CA says so when nobody does.
async fn podless() -> World {
    let mut world = world().await;
    world.answerer = Answerer::Controller;
    world.ca.complaint = "urn:ietf:params:acme:error:connection: 192.0.2.1: EOF";
    world.create(&certificate("web", &["www.http.example.com"]));
    world
}

/// The number of the effect by which the CA is told to look.
async fn effect_of_acceptance() -> usize {
    let mut world = podless().await;
    let before = world.faults.effects;
    run_until_acceptance(&mut world).await;
    let number = world.faults.effects - before;
    world.run(60).await;
    assert_issued(&world);
    assert!(total(&world.take_writes()) <= 16);
    number
}

async fn run_until_acceptance(world: &mut World) {
    while !world.ca.calls.contains_key("accept") {
        world.run_for(SignedDuration::from_millis(1)).await;
    }
}

fn failures(world: &World) -> Option<i64> {
    world.get::<Certificate>("web").status.unwrap().failed_issuance_attempts
}

/// The CA looks two seconds after it was told, and a new process is there after three.
async fn interrupted() -> World {
    let number = effect_of_acceptance().await;
    let mut world = podless().await;
    world.faults.planned = Some((world.faults.effects + number, Fate::CrashAfter));
    run_until_acceptance(&mut world).await;
    world.run(20).await;
    assert_eq!(world.crashes, 1);
    world
}

#[tokio::test(start_paused = true)]
async fn the_next_attempt_comes_soon() {
    let mut world = interrupted().await;
    let told = world.condition("web", "Issuing").unwrap();
    assert!(told.contains("error:connection") && told.contains("was replaced meanwhile"), "{told}");
    assert!(told.starts_with("False Failed") && failures(&world) == Some(1), "as cert-manager has it: {told}");
    world.run(70).await;
    assert!(world.is_ready("web"), "{:?}", world.condition("web", "Issuing"));
    assert_eq!((world.ca.orders.len(), failures(&world), world.litter().len()), (2, None, 0));
    world.take_writes();
    world.run(10 * HOUR).await;
    assert_eq!(world.take_writes(), counted(&[]));
}

/// A CA counts failed validations, so what fails once more waits as long as ever, and no longer for the interruption.
#[tokio::test(start_paused = true)]
async fn only_one_attempt_comes_soon() {
    let mut world = interrupted().await;
    world.unanswered.push((world.now(), world.now() + SignedDuration::from_hours(9)));
    world.run(50 * 60).await;
    assert_eq!((world.ca.orders.len(), failures(&world)), (2, Some(1)));
    world.run(60 * 60).await;
    assert_eq!((world.ca.orders.len(), failures(&world)), (3, Some(2)), "the first one to count waited an hour");
    let told = world.condition("web", "Issuing").unwrap();
    assert!(!told.contains("replaced"), "who had the CA look is still there: {told}");
}

/// A process that lives on is not to blame.
#[tokio::test(start_paused = true)]
async fn a_name_that_leads_elsewhere_waits_an_hour() {
    let mut world = podless().await;
    world.unanswered.push((world.now(), world.now() + SignedDuration::from_hours(9)));
    world.run(50 * 60).await;
    let told = world.condition("web", "Issuing").unwrap();
    assert!(told.contains("error:connection") && !told.contains("replaced"), "{told}");
    assert_eq!((world.ca.orders.len(), failures(&world)), (1, Some(1)));
}
