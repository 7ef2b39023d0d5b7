//! Names with IPv6 addresses: CAs ask there first, and so does the controller.

use certwright_e2e::network::{NODE, NODE_IPV6};
use certwright_e2e::{Scene, dns};

use super::front::{Behaviour, Front};
use super::{give_up, nothing_is_left, says};

/// What the controller meets over IPv6.
pub fn for_the_controller(host: &str) -> Behaviour {
    if host.starts_with("both.") { Behaviour::Close } else { Behaviour::Pass }
}

pub async fn names_with_ipv6_addresses(scene: &Scene, ipv6: &Front) {
    let (only, both) = (scene.dns_name("only"), scene.dns_name("both"));
    let lines = [
        format!("add {only} 60 AAAA {NODE_IPV6}"),
        format!("add {both} 60 AAAA {NODE_IPV6}"),
        format!("add {both} 60 A {NODE}"),
    ];
    dns::update(scene.testbed.state.dns().unwrap(), &lines).unwrap();
    scene.certificate("web", "pebble", &[&only]).await.unwrap();
    scene.issued("web").await.unwrap();
    assert!(ipv6.has_met_controller(&only) && ipv6.has_passed(&only));
    nothing_is_left(scene).await;

    scene.certificate("other", "pebble", &[&both]).await.unwrap();
    let told = "closed the connection before it had answered over IPv6; over IPv4 the key comes back";
    says(scene, &format!("{told} (the name leads to {NODE} and {NODE_IPV6})")).await;
    give_up(scene).await;
}
