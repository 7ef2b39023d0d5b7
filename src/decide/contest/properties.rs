//! Whatever is lost, late or dies, and whatever the clocks say: nothing is worked on by two, and when it is calm again
//! everything is worked on soon and by all alike.

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};

use super::model::{Clocks, Fate, Mistake, TIMING, World};

const REPLICAS: usize = 4;
/// The most shares that somebody divides the work into.
const MOST_SHARES: u32 = 4;

/// For a look that finds a Lease free or asked for, the calls that follow, and the pause after one that failed.
const SLACK: i64 = 4_000;
/// For so long a share may be kept for one who asked for it and is gone.
const COURTESY: i64 = 4_000;

/// A history, up to the calm after it.
#[derive(Clone, Debug)]
struct History {
    clocks: Vec<Clocks>,
    deeds: Vec<Deed>,
}

/// What happens next, and how many milliseconds go by before.
#[derive(Clone, Copy, Debug)]
struct Deed {
    millis: i64,
    replica: usize,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// All its contests make the call that is due, and what works on the shares looks at what may be worked on.
    Run,
    /// So does every replica, which takes work from one to another in a moment.
    RunAll,
    /// All its contests go on.
    Progress,
    /// One of them does, or not.
    Call(usize, Fate),
    /// What works on the shares looks at what may be worked on; if it does not, the work ends a little after its time.
    Follow,
    /// It begins, with so many shares, if it does not run.
    Start(u32),
    Kill,
    Stop,
    /// Its calls do not get through any more, or do again.
    Cut(bool),
    /// What works on its shares takes until their time is over to end, or ends at once again.
    Slow(bool),
    /// A call that nobody waits for reaches the server.
    Deliver(usize),
}

fn history() -> impl Strategy<Value = History> {
    let clocks = (0_i64..7_200_000, -25_i64..=25, -7_200_000_i64..7_200_000);
    let clocks = clocks.prop_map(|(steady, drift, wall)| Clocks { steady, drift, wall });
    let fate = prop_oneof![3 => Just(Fate::Goes), 2 => Just(Fate::Lost), 2 => Just(Fate::Late)];
    // Most divide alike, as they should.
    let shares = prop_oneof![8 => Just(3_u32), 1 => Just(1_u32), 1 => Just(MOST_SHARES)];
    let what = prop_oneof![
        16 => Just(What::Run),
        16 => Just(What::RunAll),
        10 => Just(What::Progress),
        8 => (0..8_usize, fate).prop_map(|(contest, fate)| What::Call(contest, fate)),
        5 => Just(What::Follow),
        3 => shares.prop_map(What::Start),
        1 => Just(What::Kill),
        1 => Just(What::Stop),
        2 => prop::bool::ANY.prop_map(What::Cut),
        3 => prop::bool::weighted(0.3).prop_map(What::Slow),
        3 => (0..8_usize).prop_map(What::Deliver),
    ];
    let millis = prop_oneof![8 => 0_i64..300, 2 => 0_i64..3000, 1 => 0_i64..15_000];
    let deed = (millis, 0..REPLICAS, what).prop_map(|(millis, replica, what)| Deed { millis, replica, what });
    (prop::collection::vec(clocks, REPLICAS), prop::collection::vec(deed, 1..400))
        .prop_map(|(clocks, deeds)| History { clocks, deeds })
}

/// The world after a history, or what went wrong in it.
fn live(history: &History, mistake: Option<Mistake>) -> Result<World, String> {
    let mut world = World::new(&history.clocks, mistake);
    for number in 0..REPLICAS {
        world.start(number, 3);
    }
    for deed in &history.deeds {
        world.now += deed.millis;
        match deed.what {
            What::Run => run(&mut world, deed.replica),
            What::RunAll => (0..REPLICAS).for_each(|replica| run(&mut world, replica)),
            What::Progress => world.progress(deed.replica),
            What::Call(contest, fate) => world.turn(deed.replica, contest, fate),
            What::Follow => world.follow(deed.replica),
            What::Start(shares) => world.start(deed.replica, shares),
            What::Kill => world.kill(deed.replica),
            What::Stop => world.stop(deed.replica),
            What::Cut(is_cut_off) => world.replicas[deed.replica].is_cut_off = is_cut_off,
            What::Slow(is_slow) => world.replicas[deed.replica].is_slow = is_slow,
            What::Deliver(which) => world.deliver(which),
        }
        world.check()?;
    }
    Ok(world)
}

fn run(world: &mut World, replica: usize) {
    (0..3).for_each(|_| world.progress(replica));
    world.follow(replica);
}

/// Those that go on divide the work into so many shares from now on.
fn agree(world: &mut World, shares: u32, running: usize) {
    for number in 0..REPLICAS {
        world.kill(number);
        world.replicas[number].is_cut_off = false;
        world.replicas[number].is_slow = false;
        if number < running {
            world.start(number, shares);
        }
    }
    world.deliver_all();
}

/// What has to hold after a history, when nothing goes wrong any more.
fn recover(world: &mut World, shares: u32, running: usize) -> Result<(), String> {
    agree(world, shares, running);
    let lease = TIMING.lease_duration.as_secs() * 1000;
    let is_in_force = world.in_force().is_none_or(|in_force| in_force == shares);
    let longest = if is_in_force { lease + COURTESY } else { 2 * lease + COURTESY } + SLACK;
    let told = |what: &str, error: String| format!("{what}, {shares} shares, {running} running: {error}");
    let is_complete = |world: &World| world.is_complete(shares);
    world.calm(longest, is_complete).map_err(|error| told("everything is worked on", error))?;
    let is_fair = |world: &World| world.is_complete(shares) && world.is_balanced();
    world.calm(60_000, is_fair).map_err(|error| told("evenly", error))?;
    // Whoever asked by what it had seen before may still get something.
    world.pass(10_000)?;
    for _ in 0..20 {
        world.pass(1_000)?;
        if !is_fair(world) {
            return Err(told("it stays so", format!("{:?}", world.workers())));
        }
    }
    if running > 1 {
        world.stop(0);
        let took = world.calm(SLACK, is_complete_without(shares, "r0")).map_err(|error| told("given back", error))?;
        if took >= lease {
            return Err(told("given back", format!("after {took} ms")));
        }
    }
    Ok(())
}

fn is_complete_without(shares: u32, name: &str) -> impl Fn(&World) -> bool {
    move |world| world.is_complete(shares) && world.workers().iter().all(|(worker, ..)| *worker != name)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_is_worked_on_by_two(history in history()) {
        prop_assert_eq!(live(&history, None).err(), None);
    }

    #[test]
    fn everything_is_worked_on_soon_and_evenly(
        history in history(), shares in 1..=MOST_SHARES, running in 1..=REPLICAS,
    ) {
        let mut world = live(&history, None).map_err(TestCaseError::fail)?;
        prop_assert_eq!(recover(&mut world, shares, running).err(), None);
    }
}

/// After how many histories a mistake is found; none if it is not.
fn found(mistake: Mistake) -> Option<u32> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng);
    (1..=2000).find(|_| {
        let history = history().new_tree(&mut runner).unwrap().current();
        live(&history, Some(mistake)).is_err()
    })
}

/// The model would see it if it was not so.
#[test]
fn mistakes_are_found() {
    use Mistake::{ClockOfTheHolder, CountsFromAnswer, GivesTooEarly, LongDeadline, NoVersions};
    for mistake in [LongDeadline, NoVersions, ClockOfTheHolder, CountsFromAnswer, GivesTooEarly] {
        let after = found(mistake);
        println!("{mistake:?}: found after {after:?} histories");
        assert!(after.is_some(), "{mistake:?}");
    }
}
