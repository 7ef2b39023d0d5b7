#![allow(clippy::unwrap_used)]

use async_trait::async_trait;

use super::*;
use crate::{cluster::Kind, dns::provider::Provider};

/// What a provider is asked for in one call, as `+VALUE` and `-VALUE`, and what it answers, after how long.
type Answer = fn(&[String]) -> (Duration, Result<(), ProviderError>);

/// A provider that notes its calls.
struct Noting {
    calls: Mutex<Vec<Vec<String>>>,
    most: usize,
    answer: Answer,
}

#[async_trait]
impl Provider for Noting {
    async fn apply(&self, changes: &[Change]) -> Result<(), ProviderError> {
        let values: Vec<String> = changes
            .iter()
            .map(|change| format!("{}{}", if change.action == Action::Add { '+' } else { '-' }, change.record.value))
            .collect();
        self.calls.lock().unwrap().push(values.clone());
        let (takes, answer) = (self.answer)(&values);
        tokio::time::sleep(takes).await;
        answer
    }

    fn most_at_once(&self) -> usize {
        self.most
    }
}

struct Scene {
    hub: Arc<Hub>,
    changes: Changes,
    provider: Arc<Noting>,
    made: Made,
}

const CALL: Duration = Duration::from_millis(10);

fn scene(most: usize, answer: Answer) -> Scene {
    let hub = Arc::new(Hub::new());
    let provider = Arc::new(Noting { calls: Mutex::default(), most, answer });
    let made = Made { identity: Identity::of("one"), provider: provider.clone() };
    Scene { changes: Changes::new(hub.clone()), hub, provider, made }
}

fn key(name: &str) -> Key {
    Key::new(Kind::Challenge, "shop", name)
}

fn change(action: Action, zone: &str, value: &str) -> Change {
    let (name, domain) = (format!("_acme-challenge.{zone}"), zone.trim_end_matches('.').to_owned());
    Change { action, record: TxtRecord { zone: zone.into(), name, domain, value: value.into(), ttl: 60 } }
}

impl Scene {
    fn submit(&self, name: &str, action: Action) {
        self.submit_in("example.com.", name, action);
    }

    fn submit_in(&self, zone: &str, name: &str, action: Action) {
        self.changes.submit((&key(name), "u"), &self.made, vec![change(action, zone, name)], false).unwrap();
    }

    fn progress(&self, name: &str) -> Progress {
        self.changes.progress((&key(name), "u"), Action::Add)
    }

    fn message(&self, name: &str) -> String {
        match self.progress(name) {
            Progress::None => "none".into(),
            Progress::UnderWay => "under way".into(),
            Progress::Made => "made".into(),
            Progress::Failed { error, .. } => error.to_string(),
        }
    }

    fn calls(&self) -> Vec<String> {
        self.provider.calls.lock().unwrap().iter().map(|values| values.join(" ")).collect()
    }

    async fn is_idle(&self) -> bool {
        tokio::time::sleep(Duration::from_mins(10)).await;
        self.changes.0.lock().lanes.is_empty()
    }
}

fn fine(_: &[String]) -> (Duration, Result<(), ProviderError>) {
    (CALL, Ok(()))
}

fn refused() -> Result<(), ProviderError> {
    Err(ProviderError::Refused { message: "no".into(), source: None })
}

fn down() -> Result<(), ProviderError> {
    Err(ProviderError::Transient { message: "down".into(), source: None })
}

#[tokio::test(start_paused = true)]
async fn the_first_goes_at_once_and_wakes_its_owner() {
    let scene = scene(10, fine);
    let began = Instant::now();
    scene.submit("a", Action::Add);
    assert!(matches!(scene.progress("a"), Progress::UnderWay));
    assert_eq!(scene.hub.queue.next().await, key("a"));
    assert_eq!(began.elapsed(), CALL);
    assert!(matches!(scene.progress("a"), Progress::Made));
    assert!(matches!(scene.progress("a"), Progress::Made), "however often it is asked");
    let other = scene.changes.progress((&key("a"), "another"), Action::Add);
    assert!(matches!(other, Progress::None), "another incarnation has nothing to do with it");
    assert!(matches!(scene.changes.progress((&key("a"), "u"), Action::Remove), Progress::None));
    assert_eq!(scene.changes.records((&key("a"), "u"))[0].value, "a");
    assert!(scene.is_idle().await);
}

#[tokio::test(start_paused = true)]
async fn what_comes_during_a_call_goes_together_and_zones_go_apart() {
    let scene = scene(3, fine);
    scene.submit("first", Action::Add);
    tokio::time::sleep(CALL / 2).await;
    for name in ["a", "b", "c", "d"] {
        scene.submit(name, Action::Add);
    }
    scene.submit_in("example.net.", "other", Action::Add);
    assert!(scene.is_idle().await);
    assert_eq!(scene.calls(), ["+first", "+other", "+a +b +c", "+d"]);
    assert!(["first", "a", "b", "c", "d", "other"].into_iter().all(|name| scene.message(name) == "made"));
}

#[tokio::test(start_paused = true)]
async fn a_removal_waits_a_little_for_company() {
    let scene = scene(10, fine);
    let began = Instant::now();
    scene.submit("old", Action::Remove);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(scene.calls(), [""; 0]);
    scene.submit("new", Action::Add);
    scene.hub.queue.next().await;
    assert_eq!((scene.calls(), began.elapsed()), (vec!["-old +new".to_owned()], Duration::from_millis(50) + CALL));
    scene.submit("late", Action::Remove);
    assert!(scene.is_idle().await);
    assert_eq!(scene.calls()[1], "-late");
}

#[tokio::test(start_paused = true)]
async fn siblings_that_are_about_to_come_are_waited_for() {
    let scene = scene(10, fine);
    let apex = change(Action::Add, "example.com.", "apex");
    scene.changes.submit((&key("apex"), "u"), &scene.made, vec![apex], true).unwrap();
    tokio::time::sleep(ADDITION_LINGERS / 2).await;
    scene.submit("wildcard", Action::Add);
    assert!(scene.is_idle().await);
    assert_eq!(scene.calls(), ["+apex +wildcard"]);
}

#[tokio::test(start_paused = true)]
async fn one_bad_value_does_not_fail_others() {
    let scene = scene(10, |values| (CALL, if values.contains(&"+bad".to_owned()) { refused() } else { Ok(()) }));
    scene.submit("first", Action::Add);
    tokio::time::sleep(CALL / 2).await;
    for name in ["a", "bad", "b"] {
        scene.submit(name, Action::Add);
    }
    assert!(scene.is_idle().await);
    assert_eq!(scene.calls(), ["+first", "+a +bad +b", "+a", "+bad", "+b"]);
    assert_eq!(["a", "bad", "b"].map(|name| scene.message(name)), ["made", "no", "made"]);
    scene.changes.note_told(&key("bad"));
    assert!(matches!(scene.progress("bad"), Progress::None), "told once");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_comes_and_goes_takes_two_calls() {
    let scene = scene(10, fine);
    scene.submit("first", Action::Add);
    tokio::time::sleep(CALL / 2).await;
    scene.submit("a", Action::Add);
    let removal = change(Action::Remove, "example.com.", "a");
    scene.changes.submit((&key("twin"), "u"), &scene.made, vec![removal], false).unwrap();
    assert!(scene.is_idle().await);
    assert_eq!(scene.calls(), ["+first", "+a", "-a"]);
}

#[tokio::test(start_paused = true)]
async fn a_challenge_may_have_several_changes() {
    let scene = scene(10, |values| (CALL, if values.contains(&"-bad".to_owned()) { refused() } else { Ok(()) }));
    let changes = ["example.com.", "example.net."].map(|zone| change(Action::Remove, zone, "a"));
    scene.changes.submit((&key("a"), "u"), &scene.made, changes.to_vec(), false).unwrap();
    assert!(scene.is_idle().await);
    assert_eq!(scene.calls(), ["-a", "-a"]);
    assert!(matches!(scene.changes.progress((&key("a"), "u"), Action::Remove), Progress::Made));

    let changes = [change(Action::Remove, "example.com.", "a"), change(Action::Remove, "example.net.", "bad")];
    scene.changes.submit((&key("a"), "u"), &scene.made, changes.to_vec(), false).unwrap();
    assert!(scene.is_idle().await);
    let Progress::Failed { record, .. } = scene.changes.progress((&key("a"), "u"), Action::Remove) else {
        panic!("one of them fails")
    };
    assert_eq!(record.value, "bad");
}

#[tokio::test(start_paused = true)]
async fn too_much_is_no_failure_and_is_shown() {
    let scene = scene(10, |_| {
        let message = "Example answered 429".to_owned();
        (CALL, Err(ProviderError::Throttled { message, retry_after: Some(Duration::from_mins(7)), source: None }))
    });
    scene.submit("a", Action::Add);
    scene.submit_in("example.net.", "other", Action::Add);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(scene.calls().len(), 2, "one for each zone, which were under way together");
    scene.submit_in("example.org.", "third", Action::Add);
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(scene.calls().len(), 2, "the credentials rest");
    assert_eq!(scene.message("a"), "under way");
    let pending = scene.changes.pending((&key("a"), "u")).unwrap();
    let reason = "Waiting for the DNS provider, which wants to be asked less often: Example answered 429";
    assert_eq!((pending.removes, pending.reason.as_str()), (false, reason));
    assert_eq!(scene.changes.waits_with(&key("a")), Some(scene.made.identity));
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert!(scene.calls().len() > 2);
}

/// As with acme-dns, which keeps two values.
#[tokio::test(start_paused = true)]
async fn what_finds_no_room_lets_a_removal_go_first() {
    let no_room = |values: &[String]| {
        let answer = if values[0] == "+full" {
            Err(ProviderError::Throttled { message: "no room".into(), retry_after: None, source: None })
        } else {
            Ok(())
        };
        (CALL, answer)
    };
    let scene = scene(1, no_room);
    scene.submit("full", Action::Add);
    tokio::time::sleep(CALL / 2).await;
    scene.submit("old", Action::Remove);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(scene.calls()[..2], ["+full", "-old"]);
    assert!(scene.calls()[2..].iter().all(|call| call == "+full") && scene.calls().len() > 2);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_out_of_order_is_not_tried_by_each_that_waits() {
    let scene = scene(1, |_| (Duration::from_mins(5), Ok(())));
    let began = Instant::now();
    for name in ["a", "b", "c"] {
        scene.submit(name, Action::Add);
    }
    scene.submit_in("example.net.", "other", Action::Add);
    tokio::time::sleep(Duration::from_secs(61)).await;
    let message = "the DNS provider did not answer within 60 s";
    assert_eq!(["a", "b", "c", "other"].map(|name| scene.message(name)), [message; 4]);
    assert_eq!((scene.calls().len(), began.elapsed().as_secs()), (2, 61), "one call for each zone");
    assert!(scene.is_idle().await);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_comes_at_once_is_only_of_those_who_asked() {
    let scene = scene(1, |values| (CALL, if values == ["+a"] { down() } else { Ok(()) }));
    scene.submit("a", Action::Add);
    scene.submit("b", Action::Add);
    assert!(scene.is_idle().await);
    assert_eq!(["a", "b"].map(|name| scene.message(name)), ["down", "made"]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failure() {
    let scene = scene(1, |values| if values == ["+a"] { panic!("a defect, on purpose") } else { (CALL, Ok(())) });
    scene.submit("a", Action::Add);
    scene.submit("b", Action::Add);
    assert!(scene.is_idle().await);
    assert!(scene.message("a").contains("defect") && scene.message("b") == "made");
}

#[tokio::test(start_paused = true)]
async fn whose_challenge_is_gone_is_not_asked_for() {
    let scene = scene(1, fine);
    for name in ["first", "gone", "b"] {
        scene.submit(name, Action::Add);
    }
    tokio::time::sleep(CALL / 2).await;
    assert!(scene.changes.is_in_call(&key("first")) && !scene.changes.is_in_call(&key("gone")));
    scene.changes.forget(&key("gone"));
    scene.changes.forget(&key("first"));
    assert!(scene.is_idle().await);
    assert_eq!(scene.calls(), ["+first", "+b"]);
    assert_eq!(scene.message("gone"), "none");
}

#[tokio::test(start_paused = true)]
async fn a_later_submission_takes_the_place_of_a_former_one() {
    let scene = scene(1, fine);
    scene.submit("first", Action::Add);
    scene.submit("a", Action::Add);
    scene.submit("a", Action::Remove);
    assert!(scene.is_idle().await);
    assert_eq!(scene.calls(), ["+first", "-a"]);
}

#[tokio::test(start_paused = true)]
async fn after_the_end_no_call_goes_on_and_none_begins() {
    let scene = scene(1, fine);
    scene.submit("a", Action::Add);
    scene.submit("b", Action::Add);
    tokio::time::sleep(CALL / 2).await;
    scene.changes.end();
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(scene.calls(), ["+a"]);
    assert_eq!([scene.message("a"), scene.message("b")], ["under way", "under way"]);
}
