//! So many Challenges are presented at once, and no more.

use certwright::{
    api::Challenge,
    decide::schedule::{Claim, is_wait},
};
use jiff::SignedDuration;

use super::{assert_issued, total, world};
use crate::world::{World, certificate};

const STEP: SignedDuration = SignedDuration::from_millis(50);

/// Names of Certificates with one name each, in turn over DNS and over HTTP.
fn crowd(world: &mut World, prefix: &str, size: usize) -> Vec<String> {
    let names: Vec<_> = (0..size).map(|number| format!("{prefix}{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        let domain = if number % 2 == 0 { format!("{name}.example.com") } else { format!("{name}.http.example.com") };
        world.create(&certificate(name, &[&domain]));
    }
    names
}

fn presented(world: &World) -> usize {
    let challenges = world.server.list::<Challenge>().into_iter();
    challenges.filter(|challenge| matches!(Claim::of(challenge, false), Claim::Holds(_))).count()
}

fn reasons(world: &World) -> Vec<String> {
    world.server.list::<Challenge>().into_iter().filter_map(|challenge| challenge.status?.reason).collect()
}

#[tokio::test(start_paused = true)]
async fn a_crowd_goes_a_few_at_a_time_and_costs_no_write_more() {
    for restless in [false, true] {
        let mut world = world().await;
        world.most_challenges = 5;
        let names = crowd(&mut world, "web", 20);
        let mut most = 0;
        for step in 0..3000 {
            world.run_for(STEP).await;
            most = most.max(presented(&world));
            if world.count::<Challenge>() == 0 && names.iter().all(|name| world.is_ready(name)) {
                break;
            }
            if restless && step % 97 == 96 {
                world.kill();
            }
        }
        assert!(names.iter().all(|name| world.is_ready(name)), "{:?}", reasons(&world));
        assert_eq!((most, world.litter(), world.storms), (5, vec![], 0));
        let writes = world.take_writes();
        // Ten of them with three objects of a solver, created and deleted.
        let usual = 20 * 16 + 10 * 6;
        assert!(restless || total(&writes) <= usual, "{writes:?}");
    }
}

/// Their records vanish as soon as they are there.
async fn run_with_lost_records(world: &mut World, seconds: i64) {
    for _ in 0..seconds {
        world.run(1).await;
        world.records.retain(|(name, _), _| !name.contains("lost"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_hopeless_hold_up_nobody_for_longer_than_a_minute() {
    let mut world = world().await;
    world.most_challenges = 2;
    world.propagation = SignedDuration::from_secs(2);
    for number in 0..4 {
        let name = format!("lost{number}");
        world.create(&certificate(&name, &[&format!("{name}.example.com")]));
    }
    run_with_lost_records(&mut world, 20).await;
    let names = crowd(&mut world, "web", 4);
    run_with_lost_records(&mut world, 35).await;
    let waiting = reasons(&world).iter().filter(|reason| is_wait(reason)).count();
    assert_eq!((presented(&world), waiting), (2, 6), "{:?}", reasons(&world));
    assert!(!world.condition("web0", "Issuing").unwrap().contains("place"), "it is told where it happens");
    run_with_lost_records(&mut world, 90).await;
    assert!(names.iter().all(|name| world.is_ready(name)), "{:?}", reasons(&world));
    assert_eq!(presented(&world), 4, "the hopeless are still there");
    world.kill();
    world.create(&certificate("late", &["late.example.com"]));
    run_with_lost_records(&mut world, 20).await;
    assert!(world.is_ready("late"), "they do not count after a restart either");
}

#[tokio::test(start_paused = true)]
async fn many_names_of_one_certificate_go_one_by_one() {
    let mut world = world().await;
    world.most_challenges = 1;
    let names: Vec<_> = (0..10).map(|number| format!("n{number}.http.example.com")).collect();
    world.create(&certificate("web", &names.iter().map(String::as_str).collect::<Vec<_>>()));
    world.run(60).await;
    assert_issued(&world);
}
