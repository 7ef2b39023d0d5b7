//! Several values in one update, and the zone as the server has it.

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};

use super::*;

fn changes(action: Action, names: impl IntoIterator<Item = String>) -> Vec<Change> {
    names.into_iter().map(|name| Change { action, record: record(&name, "value") }).collect()
}

/// The serial number of the zone, which every update that changes something raises.
fn serial(world: &World) -> u32 {
    let socket = UdpSocket::bind((PRIMARY, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let mut question = Message::query();
    question.add_query(Query::query(Name::from_ascii("example.test.").unwrap(), RecordType::SOA));
    socket.send_to(&question.to_vec().unwrap(), world.primary()).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    match &Message::from_vec(&buffer[..length]).unwrap().answers[0].data {
        RData::SOA(soa) => soa.serial,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn many_values_take_few_messages() {
    let Some(world) = World::start() else { return };
    bounded(async {
        for (protocol, most) in [(Protocol::Tcp, 1), (Protocol::Udp, 20)] {
            let provider = world.provider(protocol, "hmac-sha256", "hmac-sha256", bind::SECRET);
            assert_eq!(provider.most_at_once(), 50);
            let names: Vec<_> = (0..50).map(|number| format!("_acme-challenge.n{number}.example.test.")).collect();
            let before = serial(&world);
            provider.apply(&changes(Action::Add, names.clone())).await.unwrap();
            let messages = serial(&world) - before;
            assert!((1..=most).contains(&messages), "{protocol:?}: {messages}");
            assert!(names.iter().all(|name| world.txt_values(name) == set(&["value"])), "{protocol:?}");
            provider.apply(&changes(Action::Remove, names.clone())).await.unwrap();
            assert!(names.iter().all(|name| world.txt_values(name).is_empty()), "{protocol:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_is_made_whole_or_not_at_all() {
    let Some(world) = World::start() else { return };
    bounded(async {
        let name = "_acme-challenge.together.example.test.";
        let both = changes(Action::Add, [name.to_owned(), "_acme-challenge.other.example.test.".to_owned()]);
        let powerless = world.provider(Protocol::Udp, bind::POWERLESS_KEY, "hmac-sha256", bind::SECRET);
        let error = powerless.apply(&both).await.unwrap_err();
        assert!(error.to_string().contains("the update of several names in the zone example.test"), "{error}");
        assert_eq!(world.txt_values(name), set(&[]));
        let change = Change { action: Action::Remove, record: record(name, "value") };
        let provider = world.good_provider();
        provider.apply(&[both[0].clone(), change]).await.unwrap();
        assert_eq!(world.txt_values(name), set(&[]), "in this order");
    })
    .await;
}

#[tokio::test]
async fn the_server_tells_its_zone_itself() {
    let Some(mut world) = World::start() else { return };
    bounded(async {
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            let provider = world.provider(protocol, "hmac-md5", "hmac-md5", bind::SECRET);
            let mut found = Vec::new();
            for name in [
                "example.test.",
                "_acme-challenge.example.test.",
                "_acme-challenge.a.b.c.example.test.",
                "_acme-challenge.alias.example.test.",
                "leaf.empty.example.test.",
                "_acme-challenge.www.sub.example.test.",
                "_acme-challenge.example.org.",
            ] {
                found.push(provider.find_zone(name).await.unwrap());
            }
            let own = Some("example.test.".to_owned());
            // The last two are another server's: the resolvers know more.
            assert_eq!(found, [own.clone(), own.clone(), own.clone(), own.clone(), own, None, None], "{protocol:?}");
        }
        let provider = world.good_provider();
        world.running.clear();
        assert_eq!(provider.find_zone("_acme-challenge.example.test.").await.unwrap(), None, "it says nothing");
    })
    .await;
}
