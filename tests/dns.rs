//! Look-ups, zones, verification and RFC 2136 against real BIND servers on loopback addresses.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::future::Future;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use certwright::dns::challenge_name::{aliases_of, zone_of};
use certwright::dns::cname::follow_cnames;
use certwright::dns::provider::rfc2136::{Protocol, Rfc2136};
use certwright::dns::provider::tsig::TsigKey;
use certwright::dns::provider::{Action, Change, DEFAULT_TTL, Provider, ProviderError, TxtRecord};
use certwright::dns::resolver::{Limits, Resolver};
use certwright::dns::silence::Silence;
use certwright::dns::verify::{Outcome, Sought, Verification, VerifyConfig, verify_txt, verify_txt_recursively};
use certwright::dns::zone::{Zone, find_zone};
use certwright::dns::zone_cache::ZoneCache;

use bind::{Bind, NOBODY, PRIMARY, SECOND};

#[path = "dns/bind.rs"]
mod bind;
#[path = "dns/secure.rs"]
mod secure;
#[path = "dns/servers.rs"]
mod servers;
#[path = "dns/updates.rs"]
mod updates;

const QUICK: Duration = Duration::from_secs(1);

/// The servers of one test.
struct World {
    named: PathBuf,
    running: Vec<Bind>,
    /// Both servers of example.test listen here, at different addresses.
    port: u16,
    subzone_port: u16,
    resolver_port: u16,
}

impl World {
    /// example.test at its primary, and a resolver; none if BIND is not installed.
    fn start() -> Option<Self> {
        let named = bind::named_or_skip()?;
        let [port, subzone_port, resolver_port] = std::array::from_fn(|_| bind::free_port());
        let mut world = Self { named, running: Vec::new(), port, subzone_port, resolver_port };
        let statement = bind::primary_statement("example.test", "example", port);
        world.add(world.primary(), &statement, &[("example", bind::example_zone())]);
        world.add_resolver();
        Some(world)
    }

    fn add(&mut self, listen: SocketAddr, statements: &str, zones: &[(&str, String)]) {
        self.running.push(bind::start(&self.named, listen, statements, zones));
    }

    fn add_resolver(&mut self) {
        let forwards = bind::forward_statement("example.test", self.port)
            + &bind::forward_statement("sub.example.test", self.subzone_port);
        self.add((PRIMARY, self.resolver_port).into(), &forwards, &[]);
    }

    fn add_subzone(&mut self) {
        let statement = bind::primary_statement("sub.example.test", "sub", self.subzone_port);
        self.add((PRIMARY, self.subzone_port).into(), &statement, &[("sub", bind::sub_zone())]);
    }

    fn primary(&self) -> SocketAddr {
        (PRIMARY, self.port).into()
    }

    fn second(&self) -> SocketAddr {
        (SECOND, self.port).into()
    }

    fn recursive(&self) -> SocketAddr {
        (PRIMARY, self.resolver_port).into()
    }

    fn resolver(&self) -> Resolver {
        resolver_at(&[self.recursive()])
    }

    fn provider(&self, protocol: Protocol, key_name: &str, algorithm: &str, secret: &str) -> Rfc2136 {
        let key = TsigKey::new(key_name, algorithm.parse().unwrap(), secret).unwrap();
        Rfc2136::new(&self.primary().to_string(), protocol, Some(key)).unwrap()
    }

    /// A provider that works.
    fn good_provider(&self) -> Rfc2136 {
        self.provider(Protocol::Udp, "hmac-sha256", "HMACSHA256", bind::SECRET)
    }

    fn config(&self) -> VerifyConfig {
        VerifyConfig { port: self.port, query_limit: QUICK }
    }

    async fn verify(&self, zone: &Zone, name: &str, value: &str) -> Verification {
        let (values, none) = ([value.to_owned()], BTreeSet::new());
        verify_txt(zone, sought(name, &values, &none), self.config(), &Silence::default()).await.unwrap()
    }

    fn txt_values(&self, name: &str) -> BTreeSet<String> {
        bind::txt_values(self.primary(), name)
    }
}

/// Nothing that was seen is enough.
fn sought<'a>(name: &'a str, values: &'a [String], found_at: &'a BTreeSet<String>) -> Sought<'a> {
    Sought { name, values, found_at, is_enough: &|_| false }
}

async fn verify_recursively(resolver: &Resolver, name: &str, value: &str) -> Verification {
    let config = VerifyConfig { query_limit: QUICK, ..VerifyConfig::default() };
    let (values, none) = ([value.to_owned()], BTreeSet::new());
    verify_txt_recursively(resolver, sought(name, &values, &none), config, &Silence::default()).await.unwrap()
}

fn record(name: &str, value: &str) -> TxtRecord {
    TxtRecord {
        zone: "example.test.".to_owned(),
        name: name.to_owned(),
        domain: "example.test".to_owned(),
        value: value.to_owned(),
        ttl: DEFAULT_TTL,
    }
}

fn set(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(ToString::to_string).collect()
}

fn resolver_at(servers: &[SocketAddr]) -> Resolver {
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    Resolver::from_nameservers(&servers).unwrap().with_limits(Limits { attempt: QUICK, ..Limits::default() })
}

/// A server that takes everything and says nothing.
fn silent(address: SocketAddr) -> (UdpSocket, TcpListener) {
    (UdpSocket::bind(address).unwrap(), TcpListener::bind(address).unwrap())
}

/// Ends a test that hangs; the servers end with it.
async fn bounded<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), test).await.expect("the test took more than a minute")
}

#[tokio::test]
async fn the_zone_is_found_from_any_depth_with_its_servers() {
    let Some(world) = World::start() else { return };
    bounded(async {
        let resolver = world.resolver();
        for name in ["example.test", "_acme-challenge.example.test.", "_acme-challenge.a.b.c.d.example.test"] {
            let zone = find_zone(&resolver, name).await.unwrap();
            assert_eq!(zone.apex, "example.test.", "{name}");
            let hosts: Vec<_> = zone.nameservers.iter().map(|host| (host.host.as_str(), &host.addresses)).collect();
            assert_eq!(hosts, [("ns1.example.test.", &vec![PRIMARY, NOBODY]), ("ns2.example.test.", &vec![SECOND])]);
            assert!(zone.ttl > Duration::ZERO && zone.ttl <= Duration::from_mins(1), "{:?}", zone.ttl);
        }
    })
    .await;
}

#[tokio::test]
async fn an_empty_name_between_does_not_end_the_search() {
    let Some(world) = World::start() else { return };
    bounded(async {
        let resolver = world.resolver();
        for name in ["empty.example.test", "_acme-challenge.empty.example.test", "leaf.empty.example.test"] {
            assert_eq!(find_zone(&resolver, name).await.unwrap().apex, "example.test.", "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_delegated_subzone_is_its_own_zone() {
    let Some(mut world) = World::start() else { return };
    world.add_subzone();
    bounded(async {
        let zone = find_zone(&world.resolver(), "_acme-challenge.www.sub.example.test").await.unwrap();
        assert_eq!(zone.apex, "sub.example.test.");
        assert_eq!(zone.nameservers[0].addresses, [NOBODY]);

        // A server that does not recurse is good enough for its own zone ...
        let own = find_zone(&resolver_at(&[world.primary()]), "_acme-challenge.www.example.test").await.unwrap();
        assert_eq!(own.apex, "example.test.");
        // ... but its referral must not be taken for an answer: the zone above is the wrong one.
        let error = find_zone(&resolver_at(&[world.primary()]), "www.sub.example.test").await.unwrap_err().to_string();
        assert!(error.contains("only refers to the nameservers of sub.example.test"), "{error}");
        let next = resolver_at(&[world.primary(), world.recursive()]);
        assert_eq!(find_zone(&next, "www.sub.example.test").await.unwrap().apex, "sub.example.test.");
    })
    .await;
}

#[tokio::test]
async fn a_zone_that_nobody_knows_is_told_with_who_said_what() {
    let Some(world) = World::start() else { return };
    bounded(async {
        let error = find_zone(&resolver_at(&[world.primary()]), "a.example.org").await.unwrap_err().to_string();
        assert!(error.starts_with("cannot find the DNS zone of a.example.org: "), "{error}");
        assert!(error.contains("SOA") && error.contains(&world.primary().to_string()), "{error}");
        assert!(error.contains("REFUSED"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn an_alias_is_followed_on_request_and_never_changes_the_zone() {
    let Some(mut world) = World::start() else { return };
    world.add_subzone();
    bounded(async {
        let resolver = world.resolver();
        let name = "_acme-challenge.alias.example.test.";
        assert_eq!(find_zone(&resolver, name).await.unwrap().apex, "example.test.");
        let chain = follow_cnames(&resolver, name).await.unwrap();
        assert_eq!(chain, [name, "first.example.test.", "target.sub.example.test."]);
        assert_eq!(find_zone(&resolver, chain.last().unwrap()).await.unwrap().apex, "sub.example.test.");
        let plain = follow_cnames(&resolver, "_acme-challenge.example.test").await.unwrap();
        assert_eq!(plain, ["_acme-challenge.example.test."]);

        let zone = find_zone(&resolver, name).await.unwrap();
        let summary = world.verify(&zone, name, "value").await.missing_summary();
        assert!(summary.contains("has a CNAME record to first.example.test"), "{summary}");
    })
    .await;
}

/// A CA that asks the same resolver would be told what that has learned.
#[tokio::test]
async fn no_cache_learns_that_a_challenges_name_is_not_there_yet() {
    let Some(mut world) = World::start() else { return };
    world.add_subzone();
    bounded(async {
        let (resolver, zones) = (resolver_at(&[world.recursive()]), ZoneCache::new(8));
        let has_value = async |name: &str| {
            add(&world.good_provider(), &record(name, "value")).await.unwrap();
            verify_recursively(&resolver, name, "value").await.missing_summary().is_empty()
        };
        let fresh = "_acme-challenge.fresh.example.test.";
        assert_eq!(zone_of(&zones, &resolver, fresh, world.port).await.unwrap().apex, "example.test.");
        assert_eq!(aliases_of(&zones, &resolver, fresh, world.port).await.unwrap(), [fresh]);
        assert!(has_value(fresh).await);
        // This is how it goes otherwise.
        let known = "_acme-challenge.known.example.test.";
        assert_eq!(find_zone(&resolver, known).await.unwrap().apex, "example.test.");
        assert!(!has_value(known).await);

        let alias = "_acme-challenge.alias.example.test.";
        let chain = aliases_of(&zones, &resolver, alias, world.port).await.unwrap();
        assert_eq!(chain, [alias, "first.example.test.", "target.sub.example.test."]);
        // Where the servers do not tell, the resolver does.
        let elsewhere = "_acme-challenge.other.example.test.";
        let mute = ZoneCache::new(8);
        assert_eq!(zone_of(&mute, &resolver, elsewhere, bind::free_port()).await.unwrap().apex, "example.test.");
        assert_eq!(aliases_of(&mute, &resolver, elsewhere, bind::free_port()).await.unwrap(), [elsewhere]);
    })
    .await;
}

#[tokio::test]
async fn an_endless_chain_of_aliases_ends_with_the_chain_shown() {
    let Some(world) = World::start() else { return };
    bounded(async {
        let error = follow_cnames(&world.resolver(), "loop1.example.test").await.unwrap_err().to_string();
        let chain = "loop1.example.test -> loop2.example.test -> loop3.example.test -> loop1.example.test";
        assert!(error.contains(chain), "{error}");
        let error = follow_cnames(&world.resolver(), "chain0.example.test").await.unwrap_err().to_string();
        assert!(error.starts_with("more than 16 CNAME records in a row: chain0.example.test -> chain1"), "{error}");
        assert_eq!(follow_cnames(&world.resolver(), "chain4.example.test").await.unwrap().len(), 17);
    })
    .await;
}

#[tokio::test]
async fn an_answer_too_long_for_udp_comes_whole() {
    let Some(world) = World::start() else { return };
    bounded(async {
        let zone = find_zone(&world.resolver(), "many.example.test").await.unwrap();
        for number in [0, 31, 59] {
            let value = format!("value-{number}-{}", "x".repeat(40));
            let verification = world.verify(&zone, "many.example.test", &value).await;
            let primary = verification.servers.iter().find(|server| server.address == Some(PRIMARY)).unwrap();
            assert_eq!(primary.outcome, Outcome::Found, "{value}");
        }
        let verification = world.verify(&zone, "many.example.test", "absent").await;
        assert!(verification.servers.iter().any(|server| server.outcome == Outcome::Missing { values_seen: 60 }));
    })
    .await;
}

#[tokio::test]
async fn a_dead_second_server_is_named_and_costs_bounded_time() {
    let Some(world) = World::start() else { return };
    let second = silent(world.second());
    bounded(async {
        let name = "_acme-challenge.dead.example.test.";
        add(&world.good_provider(), &record(name, "value")).await.unwrap();
        let zone = find_zone(&world.resolver(), name).await.unwrap();
        let started = Instant::now();
        let unanswered = world.verify(&zone, name, "value").await;
        assert!(started.elapsed() < QUICK * 10, "{:?}", started.elapsed());
        assert_eq!(
            unanswered.missing_summary(),
            format!(
                "ns2.example.test ({SECOND}) gave no answer over UDP within 1 s, and gave no answer over TCP within 1 s"
            )
        );
        drop(second);
        let refused = world.verify(&zone, name, "value").await;
        assert!(!refused.all_found());
        assert!(refused.missing_summary().contains("could not be reached over TCP"), "{}", refused.missing_summary());
        // ns1 has another address at which nothing listens: one good address is enough.
        assert_eq!((refused.found(), refused.unheard()), (set(&["ns1.example.test."]), set(&["ns2.example.test."])));

        let found_at = set(&["ns2.example.test."]);
        let values = ["value".to_owned()];
        let others =
            verify_txt(&zone, sought(name, &values, &found_at), world.config(), &Silence::default()).await.unwrap();
        assert!(others.all_found());
        assert_eq!(others.found(), set(&["ns1.example.test."]), "what is known is not asked");
    })
    .await;
}

#[tokio::test]
async fn a_silent_nameserver_is_passed_over() {
    let Some(world) = World::start() else { return };
    let (second, _listener) = silent(world.second());
    second.set_nonblocking(true).unwrap();
    let asked = || std::iter::from_fn(|| second.recv(&mut [0; 512]).ok()).count();
    bounded(async {
        let resolver = resolver_at(&[world.second(), world.recursive()]);
        assert_eq!(find_zone(&resolver, "_acme-challenge.example.test").await.unwrap().apex, "example.test.");
        assert_ne!(asked(), 0, "the silent one is asked first");
        find_zone(&resolver, "_acme-challenge.www.example.test").await.unwrap();
        assert_eq!(asked(), 0, "it costs its time-out only once");

        let error = find_zone(&resolver_at(&[world.second()]), "example.test").await.unwrap_err().to_string();
        assert!(error.contains("gave no answer over UDP") && error.contains("gave no answer over TCP"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_nameserver_may_be_given_by_host_name() {
    let Some(world) = World::start() else { return };
    bounded(async {
        let resolver = Resolver::from_nameservers(&[format!("localhost:{}", world.resolver_port)]).unwrap();
        assert_eq!(find_zone(&resolver, "www.example.test").await.unwrap().apex, "example.test.");
    })
    .await;
}

#[tokio::test]
async fn a_stale_server_is_told_from_one_that_has_the_record() {
    let Some(mut world) = World::start() else { return };
    let statement = bind::primary_statement("example.test", "example", world.port);
    world.add(world.second(), &statement, &[("example", bind::example_zone())]);
    bounded(async {
        let name = "_acme-challenge.stale.example.test.";
        let zone = find_zone(&world.resolver(), name).await.unwrap();
        let before = world.verify(&zone, name, "value").await;
        assert_eq!(before.lacking(), set(&["ns1.example.test.", "ns2.example.test."]));
        add(&world.good_provider(), &record(name, "value")).await.unwrap();
        let after = world.verify(&zone, name, "value").await;
        assert!(!after.all_found());
        assert_eq!(after.missing_summary(), format!("ns2.example.test ({SECOND}) does not have the TXT record yet"));
        assert_eq!(world.verify(&zone, name, "value").await, after);
    })
    .await;
}

#[tokio::test]
async fn a_secondary_that_catches_up_is_found_in_the_end() {
    let Some(mut world) = World::start() else { return };
    let statement = format!(
        "zone \"example.test\" {{ type secondary; file \"copy\"; primaries {{ {PRIMARY} port {}; }}; allow-notify {{ any; }}; }};",
        world.port
    );
    world.add(world.second(), &statement, &[]);
    bounded(async {
        let name = "_acme-challenge.lagging.example.test.";
        let zone = find_zone(&world.resolver(), name).await.unwrap();
        add(&world.good_provider(), &record(name, "value")).await.unwrap();
        while !world.verify(&zone, name, "value").await.all_found() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(bind::txt_values(world.second(), name), set(&["value"]));
    })
    .await;
}

#[tokio::test]
async fn a_recursive_nameserver_is_asked_where_no_authoritative_one_can_be() {
    let Some(world) = World::start() else { return };
    bounded(async {
        // Not asked for before: the resolver would remember that there was nothing.
        let name = "_acme-challenge.recursive.example.test.";
        add(&world.good_provider(), &record(name, "value")).await.unwrap();
        let found = verify_recursively(&world.resolver(), name, "value").await;
        assert!(found.all_found(), "{}", found.missing_summary());
        let other = verify_recursively(&world.resolver(), name, "other").await;
        assert_eq!(
            other.missing_summary(),
            format!("{} does not have the TXT record yet, only others at this name", world.recursive())
        );
    })
    .await;
}

#[tokio::test]
async fn a_zone_is_kept_for_its_resolver_and_failures_are_not() {
    let Some(mut world) = World::start() else { return };
    bounded(async {
        let cache = ZoneCache::new(16);
        let resolver = world.resolver();
        let first = cache.find_zone(&resolver, "_acme-challenge.example.test").await.unwrap();
        world.running.pop();
        assert_eq!(cache.find_zone(&resolver, "_acme-challenge.example.test.").await.unwrap(), first);
        cache.find_zone(&resolver, "_acme-challenge.www.example.test").await.unwrap_err();
        cache.find_zone(&resolver_at(&[world.second()]), "_acme-challenge.example.test").await.unwrap_err();

        world.add_resolver();
        assert_eq!(cache.find_zone(&resolver, "_acme-challenge.www.example.test").await.unwrap(), first);
    })
    .await;
}

async fn add(provider: &Rfc2136, record: &TxtRecord) -> Result<(), ProviderError> {
    provider.apply(&[Change { action: Action::Add, record: record.clone() }]).await
}

async fn remove(provider: &Rfc2136, record: &TxtRecord) -> Result<(), ProviderError> {
    provider.apply(&[Change { action: Action::Remove, record: record.clone() }]).await
}

#[tokio::test]
async fn every_algorithm_works_over_both_protocols() {
    let Some(world) = World::start() else { return };
    bounded(async {
        for algorithm in bind::ALGORITHMS {
            for protocol in [Protocol::Udp, Protocol::Tcp] {
                let provider = world.provider(protocol, algorithm, algorithm, bind::SECRET);
                let record = record(&format!("_acme-challenge.{algorithm}.example.test."), "value");
                add(&provider, &record).await.unwrap();
                assert_eq!(world.txt_values(&record.name), set(&["value"]), "{algorithm} {protocol:?}");
                remove(&provider, &record).await.unwrap();
                assert_eq!(world.txt_values(&record.name), set(&[]), "{algorithm} {protocol:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn values_stand_side_by_side_and_others_are_left_alone() {
    let Some(world) = World::start() else { return };
    bounded(async {
        let provider = world.good_provider();
        let name = "_acme-challenge.shared.example.test.";
        let (apex, wildcard) = (record(name, "of the apex"), record(name, "of the wildcard"));
        let both = futures::join!(add(&provider, &apex), add(&provider, &wildcard));
        both.0.unwrap();
        both.1.unwrap();
        add(&provider, &apex).await.unwrap();
        assert_eq!(world.txt_values(name), set(&["of somebody else", "of the apex", "of the wildcard"]));
        remove(&provider, &apex).await.unwrap();
        remove(&provider, &apex).await.unwrap();
        assert_eq!(world.txt_values(name), set(&["of somebody else", "of the wildcard"]));
        remove(&provider, &wildcard).await.unwrap();
        assert_eq!(world.txt_values(name), set(&["of somebody else"]));
    })
    .await;
}

#[tokio::test]
async fn what_the_server_refuses_is_explained() {
    let Some(world) = World::start() else { return };
    bounded(async {
        let name = "_acme-challenge.refused.example.test.";
        let unsigned = Rfc2136::new(&world.primary().to_string(), Protocol::Udp, None).unwrap();
        for (provider, code, hint) in [
            (world.provider(Protocol::Udp, "hmac-sha256", "hmac-sha256", "b3RoZXI="), "BADSIG", "TSIG secret"),
            (world.provider(Protocol::Tcp, "hmac-md5", "hmac-md5", "b3RoZXI="), "BADSIG", "TSIG secret"),
            (world.provider(Protocol::Udp, "unknown", "hmac-sha256", bind::SECRET), "BADKEY", "tsigKeyName"),
            (world.provider(Protocol::Udp, "hmac-sha256", "hmac-sha512", bind::SECRET), "BADKEY", "tsigAlgorithm"),
            (
                world.provider(Protocol::Udp, bind::POWERLESS_KEY, "hmac-sha256", bind::SECRET),
                "REFUSED",
                "update-policy",
            ),
            (unsigned, "REFUSED", "not signed"),
        ] {
            let error = add(&provider, &record(name, "value")).await.unwrap_err();
            let message = error.to_string();
            assert!(matches!(error, ProviderError::Refused { .. }), "{message}");
            assert!(message.contains(code) && message.contains(hint), "{message}");
            assert!(!message.contains(bind::SECRET) && !message.contains("b3RoZXI"), "{message}");
        }
        assert_eq!(world.txt_values(name), set(&[]));
    })
    .await;
}

#[tokio::test]
async fn a_wrong_zone_is_explained() {
    let Some(world) = World::start() else { return };
    bounded(async {
        let provider = world.good_provider();
        let elsewhere = TxtRecord { zone: "example.org.".to_owned(), ..record("a.example.org.", "value") };
        let message = add(&provider, &elsewhere).await.unwrap_err().to_string();
        assert!(message.contains("NOTAUTH") && message.contains("not authoritative"), "{message}");
        let outside = TxtRecord { zone: "example.org.".to_owned(), ..record("a.example.test.", "value") };
        let message = add(&provider, &outside).await.unwrap_err().to_string();
        assert!(message.contains("does not lie in the zone example.org"), "{message}");
    })
    .await;
}

#[tokio::test]
async fn an_unreachable_server_is_a_transient_failure() {
    let port = bind::free_port();
    bounded(async {
        let provider = Rfc2136::new(&format!("{PRIMARY}:{port}"), Protocol::Udp, None).unwrap();
        let error = add(&provider, &record("a.example.test.", "value")).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert!(error.to_string().contains(&format!("{PRIMARY}:{port} could not be reached over UDP")), "{error}");
    })
    .await;
}
