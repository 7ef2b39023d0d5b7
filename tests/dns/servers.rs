//! Servers that are silent, that refuse, that know nothing of the zone, and that show each side another one.

use std::collections::BTreeSet;

use certwright::dns::resolver::Resolver;
use certwright::dns::silence::Silence;
use certwright::dns::verify::{Sought, verify_txt};
use certwright::dns::zone::find_zone;
use certwright::dns::zone_cache::ZoneCache;

use super::bind::{self, NOBODY, PRIMARY, SECOND};
use super::{World, add, bounded, record, resolver_at, set, silent, sought, verify_recursively};

#[tokio::test]
async fn a_server_that_was_silent_is_asked_last_and_not_in_vain() {
    let Some(world) = World::start() else { return };
    let (udp, _tcp) = silent(world.second());
    udp.set_nonblocking(true).unwrap();
    // The primary tells it of changes, too.
    let mut datagrams = std::iter::repeat_with(|| {
        let mut buffer = [0; 512];
        udp.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec())
    });
    let mut is_asked = || {
        datagrams
            .by_ref()
            .map_while(|datagram| datagram)
            .filter(|datagram| datagram.windows(6).any(|part| part == b"silent"))
            .count()
            > 0
    };
    bounded(async {
        let name = "_acme-challenge.silent.example.test.";
        let zone = find_zone(&world.resolver(), name).await.unwrap();
        let (silence, none) = (Silence::default(), BTreeSet::new());
        let verify = async |value: &'static str, is_enough: bool| {
            let values = [value.to_owned()];
            let sought = Sought { is_enough: &|_| is_enough, ..sought(name, &values, &none) };
            verify_txt(&zone, sought, world.config(), &silence).await.unwrap()
        };
        let first = verify("value", false).await;
        assert!(is_asked() && first.lacking() == set(&["ns1.example.test."]));
        // As long as another is waited for, what is known of the silent one is told.
        assert_eq!(verify("value", false).await, first);
        assert!(!is_asked(), "it was asked although another is waited for");
        add(&world.good_provider(), &record(name, "value")).await.unwrap();
        let enough = verify("value", true).await;
        assert!(!is_asked(), "it was asked although it is not needed");
        assert_eq!((enough.found(), enough.unheard()), (set(&["ns1.example.test."]), set(&["ns2.example.test."])));
        assert_eq!(verify("value", false).await, enough);
        assert!(!is_asked(), "it was asked again at once");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_does_not_serve_the_zone_is_not_heard() {
    let Some(mut world) = World::start() else { return };
    world.add(world.second(), "", &[]);
    bounded(async {
        let name = "_acme-challenge.refused.example.test.";
        let zone = find_zone(&world.resolver(), name).await.unwrap();
        let refusing = world.verify(&zone, name, "value").await;
        assert_eq!(
            (refusing.lacking(), refusing.unheard()),
            (set(&["ns1.example.test."]), set(&["ns2.example.test."]))
        );
        let told = format!("ns2.example.test ({SECOND}) answered REFUSED (it does not answer us)");
        assert!(refusing.missing_summary().ends_with(&told), "{}", refusing.missing_summary());

        let next = resolver_at(&[world.second(), world.recursive()]);
        assert_eq!(find_zone(&next, name).await.unwrap(), zone, "a resolver that refuses leads to the next one");

        world.running.pop();
        let parent =
            format!("$TTL 60\n@ SOA ns root 1 86400 60 86400 60\n@ NS ns\nns A {NOBODY}\nexample NS ns.example\n");
        let statement = bind::primary_statement("test", "parent", world.port);
        world.add(world.second(), &statement, &[("parent", parent)]);
        let lame = world.verify(&zone, name, "value").await;
        assert_eq!(lame.unheard(), set(&["ns2.example.test."]));
        assert!(lame.missing_summary().contains("does not serve this zone"), "{}", lame.missing_summary());
    })
    .await;
}

#[tokio::test]
async fn each_view_of_a_zone_is_kept_for_itself() {
    let Some(mut world) = World::start() else { return };
    let port = bind::free_port();
    let views = format!(
        "view inside {{ match-destinations {{ {SECOND}; }}; zone \"example.test\" {{ type primary; file \"inside\"; }}; }};\n\
         view outside {{ zone \"example.test\" {{ type primary; file \"outside\"; }}; }};\n"
    );
    let listeners =
        bind::listen_statement((PRIMARY, port).into(), "") + &bind::listen_statement((SECOND, port).into(), "");
    let zones = [("inside", bind::inside()), ("outside", bind::example_zone())];
    world.running.push(bind::start_at(&world.named, &listeners, &views, &zones));
    bounded(async {
        let (inside, outside) = (resolver_at(&[(SECOND, port).into()]), resolver_at(&[(PRIMARY, port).into()]));
        let (cache, name) = (ZoneCache::new(16), "_acme-challenge.example.test.");
        let hosts = async |resolver: &Resolver| {
            let zone = cache.find_zone(resolver, name).await.unwrap();
            zone.nameservers.iter().map(|host| host.host.clone()).collect::<Vec<_>>()
        };
        for _ in 0..2 {
            assert_eq!(hosts(&inside).await, ["inner.example.test."]);
            assert_eq!(hosts(&outside).await, ["ns1.example.test.", "ns2.example.test."]);
        }
        assert!(verify_recursively(&inside, name, "inside").await.all_found());
        assert!(!verify_recursively(&outside, name, "inside").await.all_found());
    })
    .await;
}
