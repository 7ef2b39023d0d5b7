//! What every provider promises the engine: several changes at once, any of them twice, and nobody else's values touched.

use certwright::dns::provider::endpoints::Endpoints;
use certwright::dns::provider::{Action, Change, Provider, TxtRecord};
use certwright_e2e::stand_in::{StandIn, Zone};

use crate::stage::FOREIGN;

/// Addresses with this stand-in for `service`.
pub fn endpoints(service: &str, stand_in: &StandIn, path: &str) -> Endpoints {
    [format!("{service}={}{path}", stand_in.url()).parse().unwrap()].into_iter().collect()
}

/// Puts a provider to the test, with a zone of its that has nothing in it yet.
pub async fn is_kept(provider: &dyn Provider, zone: &Zone) {
    let (one, two) = (format!("_acme-challenge.one.{}", zone.apex()), format!("_acme-challenge.two.{}", zone.apex()));
    zone.add(&one, FOREIGN, 300).unwrap();
    let change = |action, name: &str, value: &str| {
        let (name, zone) = (format!("{name}."), format!("{}.", zone.apex()));
        Change { action, record: TxtRecord { zone, name, domain: String::new(), value: value.to_owned(), ttl: 60 } }
    };
    let add = |name: &str, value: &str| change(Action::Add, name, value);
    let remove = |name: &str, value: &str| change(Action::Remove, name, value);

    assert_eq!(provider.find_zone(&format!("{one}.")).await.unwrap().unwrap(), format!("{}.", zone.apex()));
    provider.apply(&[add(&one, "a"), add(&one, "b"), add(&two, "c")]).await.unwrap();
    assert_eq!((zone.values(&one), zone.values(&two)), (values(&["a", "b", FOREIGN]), values(&["c"])));
    // Two are there already, and one of them is asked for twice.
    provider.apply(&[add(&one, "b"), add(&two, "d"), add(&one, "b"), add(&two, "c")]).await.unwrap();
    assert_eq!((zone.values(&one), zone.values(&two)), (values(&["a", "b", FOREIGN]), values(&["c", "d"])));
    // One is not there.
    provider.apply(&[remove(&one, "a"), remove(&one, "z"), add(&two, "e"), remove(&two, "c")]).await.unwrap();
    assert_eq!((zone.values(&one), zone.values(&two)), (values(&["b", FOREIGN]), values(&["d", "e"])));
    let all = [remove(&one, "b"), remove(&two, "d"), remove(&two, "e")];
    for _ in 0..2 {
        provider.apply(&all).await.unwrap();
        assert_eq!((zone.values(&one), zone.values(&two)), (values(&[FOREIGN]), values(&[])));
    }
}

fn values(values: &[&str]) -> Vec<String> {
    values.iter().map(|&value| value.to_owned()).collect()
}
