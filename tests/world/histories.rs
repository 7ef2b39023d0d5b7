//! Random histories: users, faults and outages over days, for issuers of every kind.
//!
//! A seed that fails is tried alone with `HISTORY=seed`, and with `TRACE=1` to see what is written; `HISTORIES=count`
//! tells more or fewer. Objects that one change wakes are worked on in no fixed order, so that a seed gives nearly the
//! same history each time, not always the same.

use std::{
    collections::BTreeMap,
    num::NonZero,
    ops::Range,
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use certwright::{
    api::{
        Certificate, CertificateRequest, Challenge, Issuer, Order,
        certificate::{CertificateAdditionalOutputFormat, SecretTemplate},
        names::{annotation, condition, label, reason},
    },
    decide::children,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt;
use serde_json::json;

use crate::{
    DAY, HOUR,
    authority::refusal,
    chronicle::sorted,
    counted,
    faults::Faults,
    issuers::{certificate_of, replace_ca, spoil_ca, world_of_issuers},
    local::leaf,
    suggestions::usual,
    total,
    world::{World, after, object_of},
};

/// As many as two cores live through in about a minute.
const HISTORIES: u64 = 1000;

const NAMES: [&str; 3] = ["web", "api", "mail"];
const ISSUERS: [&str; 3] = ["ca", "le", "self"];

/// One in so many goes on until after the next renewals.
const PEACEFUL: u64 = 5;

/// How long users and faults have their way.
const UNREST: i64 = DAY;

/// The longest wait after failed issuances, and the day of the annotation, lie within.
const RECOVERY: i64 = 4 * DAY;

/// What all histories came to.
#[derive(Default)]
struct Sum {
    reasons: BTreeMap<&'static str, u32>,
    wasted: Vec<String>,
    /// What still is told of an issuance that nobody needs any more.
    stale: Vec<String>,
    writes: u32,
    requests: u32,
    most_writes: u32,
    crashes: u32,
    /// Writes and requests while nothing went wrong.
    calm: (u32, u32),
    most_calm: f64,
}

fn seeds(default: u64) -> Range<u64> {
    let read = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match read("HISTORY") {
        Some(seed) => seed..seed + 1,
        None => 0..read("HISTORIES").unwrap_or(default),
    }
}

/// Both tests look at the same histories.
static LIVED: LazyLock<Sum> = LazyLock::new(|| live_through(&seeds(HISTORIES)));

#[test]
fn random_histories_end_well() {
    LazyLock::force(&LIVED);
}

#[test]
fn nothing_that_was_signed_is_thrown_away() {
    assert_eq!(LIVED.wasted, [""; 0]);
}

fn live_through(seeds: &Range<u64>) -> Sum {
    let (next, sum) = (AtomicU64::new(seeds.start), Mutex::new(Sum::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| seeds.contains(seed)) {
                    println!("history {seed}");
                    let mut own = Sum::default();
                    runtime.block_on(live(seed, &mut own));
                    sum.lock().unwrap().add(own);
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap();
    sum.tell(seeds.clone().count());
    sum
}

impl Sum {
    fn tell(&self, histories: usize) {
        let Self { reasons, wasted, stale, writes, requests, most_writes, crashes, calm, most_calm } = self;
        let mean = |(writes, requests): (u32, u32)| f64::from(writes) / f64::from(requests.max(1));
        println!("{histories} histories, {crashes} crashes, {requests} requests, by reason: {reasons:?}");
        println!(
            "writes per request amid unrest: {:.1}, in one history {most_writes} at most",
            mean((*writes, *requests))
        );
        println!("writes per renewal in peace: {:.2} ({} renewals), most {most_calm:.1}", mean(*calm), calm.1);
        println!("signed and thrown away: {}: {wasted:#?}", wasted.len());
        println!("failures still told of without need: {}, such as {:?}", stale.len(), stale.first());
    }

    fn add(&mut self, other: Self) {
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        self.wasted.extend(other.wasted);
        self.stale.extend(other.stale);
        self.writes += other.writes;
        self.requests += other.requests;
        self.most_writes = self.most_writes.max(other.most_writes);
        self.crashes += other.crashes;
        self.calm = (self.calm.0 + other.calm.0, self.calm.1 + other.calm.1);
        self.most_calm = self.most_calm.max(other.most_calm);
    }
}

async fn live(seed: u64, sum: &mut Sum) {
    let mut world = world_of_issuers().await;
    world.faults = Faults::random(seed, 0);
    let budget = u32::try_from(world.faults.roll(25)).unwrap();
    world.faults = Faults::random(seed, budget);
    world.settings.renewal_jitter = true;
    let is_short_lived = settings(&mut world);
    if seed % 2 == 1 && !seed.is_multiple_of(PEACEFUL) {
        world.ca.renewals = Some(usual);
    }
    for name in NAMES {
        let certificate = random_certificate(&mut world, name, is_short_lived);
        world.create(&certificate);
    }
    let deeds = 4 + world.faults.roll(16);
    for _ in 0..deeds {
        let at = 60 + random_time(&mut world);
        world.at(at, move |world| deed(world, is_short_lived));
    }
    world.run(UNREST).await;
    heal(&mut world);
    recover(&mut world).await;
    check(&world, seed);

    let writes = total(&world.take_writes());
    sum.writes += writes;
    sum.most_writes = sum.most_writes.max(writes);
    sum.requests += world.chronicle.reasons.values().sum::<u32>();
    sum.crashes += world.crashes;
    if seed.is_multiple_of(PEACEFUL) {
        live_in_peace(&mut world, seed, is_short_lived, sum).await;
        check(&world, seed);
    }
    for (reason, count) in &world.chronicle.reasons {
        *sum.reasons.entry(reason).or_default() += count;
    }
    for certificate in world.server.list::<Certificate>() {
        let told = world.condition(&certificate.name_any(), condition::ISSUING);
        sum.stale.extend(told.map(|told| format!("history {seed}: {told}")));
    }
    sum.wasted.extend(world.chronicle.wasted.iter().map(|text| format!("history {seed}: {text}")));
}

/// Lets the controller work until everything is in order, at most for [`RECOVERY`].
async fn recover(world: &mut World) {
    for _ in 0..RECOVERY / (2 * HOUR) {
        world.run(2 * HOUR).await;
        let certificates = world.server.list::<Certificate>();
        let is_settled = |held: &Certificate| world.is_ready(&held.name_any()) && !is_issuing(world, &held.name_any());
        if world.litter().is_empty() && certificates.iter().all(is_settled) {
            return;
        }
    }
}

fn is_issuing(world: &World, name: &str) -> bool {
    world.condition(name, condition::ISSUING).is_some_and(|issuing| issuing.starts_with("True"))
}

/// True if certificates live for hours only.
fn settings(world: &mut World) -> bool {
    let small = |world: &mut World, limit| i64::try_from(world.faults.roll(limit)).unwrap();
    world.server.lag = small(world, 6);
    world.server.collection_lag = small(world, 3) * 20;
    world.latency = SignedDuration::from_millis(5 + small(world, 4) * 130);
    world.propagation = SignedDuration::from_secs(small(world, 30));
    world.ca.work = SignedDuration::from_secs(small(world, 9));
    let is_short_lived = world.faults.roll(8) == 0;
    if is_short_lived {
        world.ca.lifetime = SignedDuration::from_hours(10);
    }
    is_short_lived
}

fn random_certificate(world: &mut World, name: &str, is_short_lived: bool) -> Certificate {
    let issuer = ISSUERS[usize::try_from(world.faults.roll(3)).unwrap()];
    let mut certificate = certificate_of(name, issuer);
    if is_short_lived {
        certificate.spec.duration = Some("10h".into());
    }
    if world.faults.roll(4) == 0 {
        certificate.spec.private_key.as_mut().unwrap().rotation_policy = Some("Never".into());
    }
    if world.faults.roll(5) == 0 {
        certificate.annotations_mut().insert(annotation::ISSUE_TEMPORARY_CERTIFICATE.into(), "true".into());
    }
    certificate
}

/// Some things happen in quick succession.
fn random_time(world: &mut World) -> i64 {
    let limit = if world.faults.roll(3) == 0 { 60 } else { u64::try_from(UNREST - HOUR).unwrap() };
    i64::try_from(world.faults.roll(limit)).unwrap()
}

/// Something that somebody does.
fn deed(world: &mut World, is_short_lived: bool) {
    let name = NAMES[usize::try_from(world.faults.roll(3)).unwrap()];
    let (deed, choice) = (world.faults.roll(22), world.faults.roll(3));
    let secret = format!("{name}-tls");
    if std::env::var_os("TRACE").is_some() {
        println!("{} deed {deed} {choice} on {name}", world.now());
    }
    if world.find::<Certificate>(name).is_none() {
        return;
    }
    match deed {
        0 | 1 => world.edit::<Certificate>(name, |held| {
            held.spec.dns_names = vec![format!("{name}.example.com"), format!("{choice}.example.com")];
        }),
        2 => world.edit::<Certificate>(name, |held| {
            let labels = [(format!("label-{choice}"), "1".to_owned())].into();
            held.spec.secret_template = Some(SecretTemplate { labels, ..SecretTemplate::default() });
        }),
        3 => world.edit::<Certificate>(name, |held| {
            let formats = [&[][..], &["DER"], &["DER", "CombinedPEM"]][usize::try_from(choice).unwrap()];
            let format = |type_: &&str| CertificateAdditionalOutputFormat { type_: (*type_).to_owned() };
            held.spec.additional_output_formats = formats.iter().map(format).collect();
        }),
        4 => {
            if world.find::<Secret>(&secret).is_some() {
                world.delete::<Secret>(&secret);
            }
        }
        5 | 6 => edit_secret(world, &secret, |held| {
            let entry = if choice == 0 { "tls.key" } else { "tls.crt" };
            held.data.get_or_insert_default().insert(entry.to_owned(), ByteString(b"damaged".to_vec()));
        }),
        7 => edit_secret(world, &secret, |held| {
            held.labels_mut().clear();
            if choice == 0 {
                held.annotations_mut().clear();
            }
        }),
        8 => edit_secret(world, &secret, |held| {
            held.labels_mut().insert("theirs".into(), choice.to_string());
        }),
        9 | 10 => world.edit::<Certificate>(name, |held| {
            held.spec.issuer_ref.name = ISSUERS[usize::try_from(choice).unwrap()].into();
        }),
        11 => trigger(world, name),
        12 => {
            let at = Timestamp::from_second(world.now().as_second() + i64::try_from(choice).unwrap() * 1800).unwrap();
            world.edit::<Certificate>(name, |held| {
                held.annotations_mut().insert(annotation::RENEW_AT.into(), at.to_string());
            });
        }
        13 => {
            let again = random_certificate(world, name, is_short_lived);
            world.delete::<Certificate>(name);
            world.create(&again);
        }
        14 => delete_all::<CertificateRequest>(world, |_| true),
        15 => match choice {
            0 => delete_all::<Secret>(world, children::is_next_key_secret),
            1 => delete_all::<Order>(world, |_| true),
            _ => delete_all::<Challenge>(world, |_| true),
        },
        16 => {
            spoil_ca(world);
            later(world, |world| replace_ca(world, after(3650 * DAY)));
        }
        17 => {
            world.ca.is_down = true;
            later(world, |world| world.ca.is_down = false);
        }
        18 => {
            let what = ["new-order", "finalize", "order"][usize::try_from(choice).unwrap()];
            world.ca.failures.insert(what, (1, refusal("malformed: no")));
        }
        19 => world.edit::<Issuer>("ca", |held| {
            let urls = &mut held.spec.ca.as_mut().unwrap().crl_distribution_points;
            *urls = vec![format!("http://crl.example.com/{choice}")];
        }),
        20 => world.edit::<Certificate>(name, |held| {
            held.annotations_mut().insert(annotation::MAX_ISSUANCES_PER_DAY.into(), (choice + 2).to_string());
        }),
        _ => world.server.touch_everything(),
    }
}

/// Some hours later.
fn later(world: &mut World, what: impl FnOnce(&mut World) + 'static) {
    let hours = i64::try_from(1 + world.faults.roll(8)).unwrap();
    let seconds = world.now().duration_since(after(0)).as_secs() + hours * HOUR;
    world.at(seconds, what);
}

fn edit_secret(world: &mut World, name: &str, change: impl FnOnce(&mut Secret)) {
    if world.find::<Secret>(name).is_some() {
        world.edit::<Secret>(name, change);
    }
}

fn delete_all<K: certwright::cluster::Watched>(world: &mut World, which: impl Fn(&K) -> bool) {
    for object in world.server.list::<K>().into_iter().filter(which) {
        // Another may have taken it along.
        let _ = world.server.delete(&object);
    }
}

fn trigger(world: &mut World, name: &str) {
    let now = Timestamp::from_second(world.now().as_second()).unwrap();
    world.chronicle.wish(&world.get::<Certificate>(name), now);
    world.edit::<Certificate>(name, |held| {
        let status = held.status.get_or_insert_default();
        status.conditions.retain(|other| other.type_ != condition::ISSUING);
        status.conditions.push(object_of(json!({
            "type": condition::ISSUING, "status": "True", "reason": reason::MANUALLY_TRIGGERED,
            "message": "Certificate re-issuance manually triggered", "lastTransitionTime": now.to_string(),
        })));
    });
}

/// Nothing goes wrong any more.
fn heal(world: &mut World) {
    world.faults.end();
    world.ca.is_down = false;
    world.ca.failures.clear();
    for certificate in world.server.list::<Certificate>() {
        world.edit::<Certificate>(&certificate.name_any(), |held| {
            held.annotations_mut().remove(annotation::MAX_ISSUANCES_PER_DAY);
        });
    }
    if world.get::<Secret>(crate::issuers::CA_SECRET).data.unwrap().len() < 2 {
        replace_ca(world, after(3650 * DAY));
    }
}

fn check(world: &World, seed: u64) {
    assert_eq!(world.chronicle.offences, [""; 0], "history {seed}");
    assert_eq!(world.storms, 0, "history {seed}");
    assert_eq!(world.litter(), [""; 0], "history {seed}, {}: {}", world.now(), told(world));
    for certificate in world.server.list::<Certificate>() {
        let name = certificate.name_any();
        assert!(world.is_ready(&name), "history {seed}: {name}: {:?}", certificate.status);
        assert!(!is_issuing(world, &name), "history {seed}: {name}: {:?}", certificate.status);
        let leaf = leaf(world, &certificate.spec.secret_name);
        assert_eq!(sorted(&leaf.names.dns_names), sorted(&certificate.spec.dns_names), "history {seed}: {name}");
        assert!(leaf.not_after > world.now(), "history {seed}: {name}");
        check_secret(world, &certificate, seed);
    }
}

/// What the statuses say, for whoever looks into a failure.
fn told(world: &World) -> String {
    let (certificates, requests) = (world.server.list::<Certificate>(), world.server.list::<CertificateRequest>());
    let (orders, challenges) = (world.server.list::<Order>(), world.server.list::<Challenge>());
    let line = |name: String, status: &dyn std::fmt::Debug| format!("{name}: {status:?}\n");
    let mut told: Vec<String> = certificates.iter().map(|held| line(held.name_any(), &held.status)).collect();
    told.extend(
        requests.iter().map(|held| line(held.name_any(), &held.status.as_ref().map(|status| &status.conditions))),
    );
    told.extend(orders.iter().map(|held| {
        let status = held.status.as_ref().map(|status| (&status.state, &status.reason));
        line(held.name_any(), &(status, &held.metadata.creation_timestamp))
    }));
    told.extend(challenges.iter().map(|held| line(held.name_any(), &(&held.metadata, &held.status))));
    told.concat()
}

/// What is beside the certificate is as the spec wants it.
fn check_secret(world: &World, certificate: &Certificate, seed: u64) {
    let secret: Secret = world.get(&certificate.spec.secret_name);
    let mut labels = secret.labels().clone();
    assert_eq!(labels.remove(label::FAO).as_deref(), Some("true"), "history {seed}");
    labels.retain(|name, _| name.starts_with("label-"));
    let wanted = certificate.spec.secret_template.clone().unwrap_or_default().labels;
    assert_eq!(labels, wanted, "history {seed}: {}", certificate.name_any());
    // Where somebody has taken out the note and the request, nobody knows who issued the certificate.
    if let Some(noted) = secret.annotations().get(annotation::ISSUER_NAME) {
        assert_eq!(*noted, certificate.spec.issuer_ref.name, "history {seed}");
    }
    let formats: Vec<_> = certificate.spec.additional_output_formats.iter().map(|format| &format.type_[..]).collect();
    let data = secret.data.unwrap();
    let is_wanted = [("key.der", "DER"), ("tls-combined.pem", "CombinedPEM")];
    for (entry, format) in is_wanted {
        assert_eq!(data.contains_key(entry), formats.contains(&format), "history {seed}: {entry}");
    }
}

/// Renewals, and nothing else.
async fn live_in_peace(world: &mut World, seed: u64, is_short_lived: bool, sum: &mut Sum) {
    world.kill();
    let before = world.chronicle.reasons.clone();
    world.run(if is_short_lived { 12 * HOUR } else { 65 * DAY }).await;
    let writes = world.take_writes();
    let requests = writes.get("create CertificateRequest").copied().unwrap_or_default();
    let mut others = world.chronicle.reasons.clone();
    others.retain(|reason, count| *count != before.get(reason).copied().unwrap_or_default());
    assert!(others.keys().all(|reason| *reason == "renewal"), "history {seed}: {before:?}, then {others:?}");
    if requests == 0 {
        assert_eq!(writes, counted(&[]), "history {seed}");
        return;
    }
    let each = f64::from(total(&writes)) / f64::from(requests);
    let of_challenges: u32 =
        writes.iter().filter(|(what, _)| what.ends_with("Challenge")).map(|(_, count)| count).sum();
    let challenges = writes.get("delete Challenge").copied().unwrap_or_default();
    // Over slow DNS each object tells in between what is waited for.
    let slow = if world.propagation <= SignedDuration::from_secs(3) { 0 } else { 8 };
    assert!(of_challenges <= challenges * (6 + slow), "history {seed}: {requests} renewals took {writes:?}");
    let others = total(&writes) - of_challenges;
    let (lag, wait) = (world.server.lag, world.propagation);
    assert!(others <= requests * (13 + slow), "history {seed}: {lag} {wait} {requests} renewals took {writes:?}");
    sum.calm = (sum.calm.0 + total(&writes), sum.calm.1 + requests);
    sum.most_calm = sum.most_calm.max(each);
}
