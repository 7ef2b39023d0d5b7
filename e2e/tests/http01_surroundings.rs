//! HTTP-01 where the public name looks different from within: packets that do not come back in, a load balancer that insists on
//! the PROXY protocol, a name that leads nowhere or in a circle, an answer without an end. These run inside a testbed, with a
//! controller of their own that answers itself:
//! `testbed run -- cargo test -p certwright-e2e --test http01_surroundings -- --include-ignored`.
#![allow(clippy::unwrap_used)]

#[path = "http01_surroundings/family.rs"]
mod family;
#[path = "http01_surroundings/front.rs"]
mod front;
#[path = "http01_surroundings/listener_set.rs"]
mod listener_set;

use std::net::Ipv4Addr;
use std::time::Duration;

use certwright::api::names::KIND_ISSUER;
use certwright::api::{Certificate, Challenge, Issuer};
use certwright_e2e::network::{NODE, NODE_IPV6, SPARE, add_ipv6};
use certwright_e2e::scene::{PATIENCE, certificate_spec, is_ready};
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use front::{Behaviour, Front};

/// Where the controller answers challenges.
const CONTROLLER: Ipv4Addr = SPARE[0];
/// Where the ingress controller can be reached from within.
const WITHIN: Ipv4Addr = SPARE[1];
/// Long enough for the deadline after which the CA is asked although only the solver was seen to answer.
const DEADLINE: Duration = Duration::from_mins(3);

/// One after another they would take minutes, most of it waiting. A controller is started once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn public_ways_that_look_different_from_within() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let public = Front::start((NODE, 80), CONTROLLER, for_the_controller).await;
    let within = Front::start((WITHIN, 80), CONTROLLER, |_| Behaviour::Pass).await;
    let listener = Front::start((WITHIN, listener_set::PORT), CONTROLLER, |_| Behaviour::Pass).await;
    add_ipv6().unwrap();
    let ipv6 = Front::start((NODE_IPV6, 80), CONTROLLER, family::for_the_controller).await;
    let own = CONTROLLER.to_string();
    let flags = ["--acme-http01-solver=controller", "--pod-ip", &own, "--acme-http01-host-header=x-forwarded-host"];
    let controller = Controller::start(&testbed, &flags).await.unwrap();
    let scene = async |prefix| Scene::new(&testbed, controller.log(), prefix).await.unwrap();
    let case = async |prefix| {
        let scene = scene(prefix).await;
        issuer(&scene, json!({ "ingress": { "ingressClassName": "edge" } })).await;
        scene
    };
    tokio::join!(
        async { an_ip_address(&case("address").await).await },
        async { packets_that_do_not_come_back(&case("hairpin").await, &within).await },
        async { listener_set::a_gateway_that_has_to_admit_it(&scene("hairpin").await, &listener).await },
        async { a_load_balancer_that_insists_on_more(&case("proxied").await, &public).await },
        async { told_and_given_up(&case("circle").await, "redirects in a circle").await },
        async { told_and_given_up(&case("endless").await, "something other than the key").await },
        async { family::names_with_ipv6_addresses(&case("family").await, &ipv6).await },
        async { a_wait_in_place_of_the_check(&case("waits").await, &public).await },
        async { a_name_that_does_not_exist(&case("nowhere").await).await },
    );
}

/// What the public name does if the controller asks; the CA gets through.
fn for_the_controller(host: &str) -> Behaviour {
    let is_of = |prefix: &str| host.split('.').any(|label| label.starts_with(prefix));
    match host {
        "10.77.0.1" => Behaviour::Silence,
        _ if is_of("hairpin") => Behaviour::Silence,
        _ if is_of("proxied") => Behaviour::Close,
        _ if is_of("circle") => Behaviour::Circle,
        _ if is_of("endless") => Behaviour::Endless,
        _ => Behaviour::Pass,
    }
}

async fn issuer(scene: &Scene, http01: Value) {
    let mut spec = scene.issuer_spec("pebble-account").unwrap();
    spec["acme"]["solvers"] = json!([{ "http01": http01 }]);
    scene.create::<Issuer>("pebble", spec).await.unwrap();
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
}

/// RFC 8738: the CA asks at the address, and an Ingress for it has no host.
async fn an_ip_address(scene: &Scene) {
    let mut spec = certificate_spec("web", KIND_ISSUER, "pebble", &[]);
    spec.as_object_mut().unwrap().remove("dnsNames");
    spec["ipAddresses"] = json!([NODE.to_string()]);
    scene.create::<Certificate>("web", spec).await.unwrap();
    let ingress = tell_address(scene).await;
    assert_eq!(ingress.spec.unwrap().rules.unwrap()[0].host, None);
    let issued = scene.issued("web").await.unwrap();
    assert_eq!(issued.leaf().names.ip_addresses, [NODE]);
    nothing_is_left(scene).await;
}

async fn packets_that_do_not_come_back(scene: &Scene, within: &Front) {
    let name = scene.dns_name("www");
    scene.certificate("web", "pebble", &[&name]).await.unwrap();
    tell_address(scene).await;
    scene.issued("web").await.unwrap();
    assert!(within.has_passed(&name), "the way within the cluster was not asked");
    nothing_is_left(scene).await;
}

/// Nothing but the solver answers the controller, and nobody tells of a way within the cluster.
async fn a_load_balancer_that_insists_on_more(scene: &Scene, public: &Front) {
    let name = scene.dns_name("www");
    scene.certificate("web", "pebble", &[&name]).await.unwrap();
    says(scene, &format!("(the name leads to {NODE}); the solver itself answers with the key")).await;
    says(scene, "asked again within 10 s, and 1 min after the solver first answered the CA is asked all the same")
        .await;
    says(scene, "closed the connection before it had answered").await;
    scene.wait_for::<Certificate>("web", "being ready in the end", DEADLINE, is_ready).await.unwrap();
    assert!(public.has_passed(&name), "the CA was not led through the public name");
    nothing_is_left(scene).await;
}

async fn a_wait_in_place_of_the_check(scene: &Scene, public: &Front) {
    let solver = json!({ "waitInsteadOfSelfCheck": "1s", "http01": { "ingress": { "ingressClassName": "edge" } } });
    scene.patch::<Issuer>("pebble", json!({ "spec": { "acme": { "solvers": [solver] } } })).await.unwrap();
    scene.wait_ready::<Issuer>("pebble").await.unwrap();
    let name = scene.dns_name("www");
    scene.certificate("web", "pebble", &[&name]).await.unwrap();
    scene.issued("web").await.unwrap();
    assert!(public.has_passed(&name) && !public.has_met_controller(&name), "there was a self-check");
    nothing_is_left(scene).await;
}

async fn told_and_given_up(scene: &Scene, told: &str) {
    scene.certificate("web", "pebble", &[&scene.dns_name("www")]).await.unwrap();
    says(scene, told).await;
    give_up(scene).await;
}

async fn a_name_that_does_not_exist(scene: &Scene) {
    scene.certificate("web", "pebble", &[&format!("www.{}.test", scene.namespace)]).await.unwrap();
    says(scene, "cannot be asked: the name does not resolve; the solver itself answers with the key").await;
    says(scene, "and 5 min after the solver first answered the CA is asked all the same").await;
    give_up(scene).await;
}

async fn give_up(scene: &Scene) {
    scene.give_up().await.unwrap();
    nothing_is_left(scene).await;
}

/// Says at the Ingress where it can be reached, as an ingress controller does.
async fn tell_address(scene: &Scene) -> Ingress {
    let ingresses = scene.api::<Ingress>();
    let look = async || anyhow::Ok(scene.list::<Ingress>().await?.pop());
    let ingress = until("an Ingress", PATIENCE, look).await.unwrap();
    let status = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": WITHIN.to_string() }] } } });
    ingresses.patch_status(&ingress.name_any(), &PatchParams::default(), &Patch::Merge(status)).await.unwrap()
}

/// Waits until the Challenge says this.
async fn says(scene: &Scene, part: &str) {
    let look = async || {
        let challenges: Vec<Challenge> = scene.list().await?;
        let reason = challenges.first().and_then(|held| held.status.clone()?.reason).unwrap_or_default();
        anyhow::ensure!(reason.contains(part), "the Challenge says {reason:?}");
        Ok(Some(()))
    };
    until(&format!("the Challenge to say {part:?}"), PATIENCE, look).await.unwrap();
}

async fn nothing_is_left(scene: &Scene) {
    let look = async || {
        let left = [
            scene.list::<Challenge>().await?.len(),
            scene.list::<Service>().await?.len(),
            scene.list::<Ingress>().await?.len(),
            scene.list::<EndpointSlice>().await?.len(),
        ];
        anyhow::ensure!(left == [0; 4], "challenges, services, ingresses, slices: {left:?}");
        Ok(Some(()))
    };
    until("everything of the solver to be gone", PATIENCE, look).await.unwrap();
}
