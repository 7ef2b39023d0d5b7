//! Issuers that need nobody else: a CA's key pair, and self-signed certificates.

use certwright::{
    api::{Certificate, CertificateRequest, Issuer},
    pki::ParsedCertificate,
};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;

use crate::{
    DAY, HOUR, counted,
    issuers::{CA_SECRET, ca_secret, certificate_of, issued_by, replace_ca, spoil_ca, world_of_issuers},
    world::{World, after},
};

const LOCAL: [&str; 2] = ["ca", "self"];

/// The writes of a first issuance. Only a self-signed certificate needs its key in a Secret of its own.
fn first(issuer: &str) -> Vec<(&'static str, u32)> {
    let mut writes = vec![
        ("apply Secret", 1),
        ("create CertificateRequest", 1),
        ("status Certificate", 1),
        ("status CertificateRequest", 1),
    ];
    if issuer == "self" {
        writes.extend([("create Secret", 1), ("delete Secret", 1)]);
    }
    writes
}

pub fn leaf(world: &World, secret: &str) -> ParsedCertificate {
    let data = world.get::<Secret>(secret).data.unwrap();
    ParsedCertificate::from_pem_chain(&data["tls.crt"].0).unwrap().remove(0)
}

pub fn revision(world: &World, certificate: &str) -> i64 {
    world.get::<Certificate>(certificate).status.and_then(|status| status.revision).unwrap_or_default()
}

/// Runs until shortly before the renewal.
pub async fn run_until_renewal(world: &mut World, certificate: &str) {
    let renewal = world.get::<Certificate>(certificate).status.unwrap().renewal_time.unwrap().0;
    let wait = renewal.duration_since(world.now()).as_secs() - 60;
    world.run(wait).await;
}

fn issuer_says(world: &World, name: &str) -> String {
    let ready = world.get::<Issuer>(name).status.unwrap().conditions.remove(0);
    format!("{} {}: {}", ready.status, ready.reason.unwrap_or_default(), ready.message.unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn an_issuance_takes_four_writes_and_a_renewal_five_and_two_more_if_the_signer_needs_the_key() {
    for issuer in LOCAL {
        let mut world = issued_by(issuer).await;
        assert_eq!(world.take_writes(), counted(&first(issuer)), "{issuer}");
        println!("{issuer}: events of the first issuance: {:#?}", world.events);
        // A self-signed certificate without a subject is warned of besides.
        world.events.retain(|event| !event.contains("BadConfig"));
        assert!(world.events.len() <= 4);
        assert_eq!((world.condition("web", "Issuing"), world.storms), (None, 0));
        assert_eq!(world.litter(), [""; 0]);

        run_until_renewal(&mut world, "web").await;
        assert_eq!(world.take_writes(), counted(&[]), "{issuer}: quiet until the renewal");
        world.events.clear();
        world.run(120).await;
        let mut renewal = first(issuer);
        renewal.push(("delete CertificateRequest", 1));
        assert_eq!(world.take_writes(), counted(&renewal), "{issuer}");
        println!("{issuer}: events of the renewal: {:#?}", world.events);
        world.events.retain(|event| !event.contains("BadConfig"));
        assert!(world.events.len() <= 4);
        assert_eq!((revision(&world, "web"), world.count::<CertificateRequest>()), (2, 1));
        assert_eq!(world.litter(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn effects_that_take_their_time_change_nothing() {
    for issuer in LOCAL {
        for latency in [1, 40, 300, 700, 1500] {
            let mut world = world_of_issuers().await;
            world.latency = SignedDuration::from_millis(latency);
            world.create(&certificate_of("web", issuer));
            world.run(60).await;
            assert!(world.is_ready("web"));
            assert_eq!(world.take_writes(), counted(&first(issuer)), "{issuer}, {latency} ms");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_in_an_hour_and_in_a_day_of_peace() {
    for issuer in LOCAL {
        let mut world = issued_by(issuer).await;
        world.take_writes();
        world.events.clear();
        for seconds in [HOUR, DAY] {
            world.run(seconds).await;
            assert_eq!(world.take_writes(), counted(&[]), "{issuer}");
        }
        world.kill();
        world.run(HOUR).await;
        assert_eq!(world.take_writes(), counted(&[]), "{issuer}: nor by a new process");
        assert_eq!(world.events, [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_ca_that_is_spoilt_says_so_and_its_certificates_live_on() {
    let mut world = issued_by("ca").await;
    let before = leaf(&world, "web-tls").serial_hex();
    world.take_writes();
    spoil_ca(&mut world);
    world.run(60).await;
    let told = issuer_says(&world, "ca");
    assert!(told.starts_with("False ErrInvalidKeyPair: The Secret \"ca-pair\" holds no usable CA"), "{told}");
    assert!(world.is_ready("web"));
    assert_eq!(world.take_writes(), counted(&[("status Issuer", 1)]));

    // What is new waits, and says what for.
    world.create(&certificate_of("late", "ca"));
    world.run(HOUR).await;
    let told = world.condition("late", "Issuing").unwrap();
    assert!(told.starts_with("True DoesNotExist: ") && told.contains("holds no usable CA"), "{told}");
    world.take_writes();
    world.run(DAY).await;
    assert_eq!(world.take_writes(), counted(&[]), "and waits in silence");

    replace_ca(&mut world, after(300 * DAY));
    world.run(60).await;
    assert!(issuer_says(&world, "ca").starts_with("True KeyPairVerified: "));
    assert!(world.is_ready("late") && world.is_ready("web"));
    assert_eq!(leaf(&world, "web-tls").serial_hex(), before, "another CA is no reason for another certificate");
    assert_eq!((world.litter(), world.storms), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn a_ca_whose_secret_is_deleted_and_comes_back() {
    let mut world = issued_by("ca").await;
    let secret: Secret = world.get(CA_SECRET);
    world.delete::<Secret>(CA_SECRET);
    world.run(60).await;
    assert!(issuer_says(&world, "ca").starts_with("False ErrGetKeyPair: "));
    world.create(&ca_secret(after(300 * DAY)));
    world.run(60).await;
    assert!(issuer_says(&world, "ca").starts_with("True KeyPairVerified: "));
    assert!(world.is_ready("web"));
    assert_eq!((revision(&world, "web"), secret.type_.as_deref()), (1, Some("kubernetes.io/tls")));
}

#[tokio::test(start_paused = true)]
async fn a_certificate_does_not_outlive_its_ca() {
    let mut world = world_of_issuers().await;
    replace_ca(&mut world, after(5 * DAY));
    world.run(60).await;
    world.create(&certificate_of("web", "ca"));
    world.run(60).await;
    assert_eq!(leaf(&world, "web-tls").not_after, after(5 * DAY));
    // Each renewal has less time left, but they do not come without end.
    world.take_writes();
    world.run(5 * DAY + HOUR).await;
    let writes = world.take_writes();
    println!("renewals under a CA with five days left: {writes:?}, revision {}", revision(&world, "web"));
    assert!(revision(&world, "web") <= 40, "{}", revision(&world, "web"));
    assert!(issuer_says(&world, "ca").starts_with("False ErrInvalidKeyPair: "));
    assert!(world.condition("web", "Ready").unwrap().starts_with("False Expired: "));

    replace_ca(&mut world, after(300 * DAY));
    world.run(2 * HOUR).await;
    assert!(world.is_ready("web"), "{:?}", world.get::<Certificate>("web").status);
    assert_eq!((world.litter(), world.storms), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn two_certificates_for_one_secret_have_one_owner_and_an_heir() {
    for issuer in LOCAL {
        let mut world = issued_by(issuer).await;
        let mut rival = certificate_of("rival", issuer);
        rival.spec.secret_name = "web-tls".into();
        world.create(&rival);
        world.run(DAY).await;
        assert!(world.is_ready("web") && !world.is_ready("rival"));
        assert_eq!((revision(&world, "web"), revision(&world, "rival")), (1, 0));
        world.take_writes();
        world.run(DAY).await;
        assert_eq!(world.take_writes(), counted(&[]), "no quarrel");

        world.delete::<Certificate>("web");
        world.run(60).await;
        assert!(world.is_ready("rival"), "{:?}", world.get::<Certificate>("rival").status);
        assert_eq!(leaf(&world, "web-tls").names.dns_names, ["rival.example.com"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_recreated_takes_its_secret_over() {
    for issuer in ["ca", "self", "le"] {
        for collection_lag in [0, 30] {
            let mut world = issued_by(issuer).await;
            world.server.collection_lag = collection_lag;
            let before = leaf(&world, "web-tls").serial_hex();
            world.delete::<Certificate>("web");
            world.run(3).await;
            world.create(&certificate_of("web", issuer));
            world.take_writes();
            world.run(300).await;
            assert!(world.is_ready("web"), "{:?}", world.get::<Certificate>("web").status);
            assert_eq!(leaf(&world, "web-tls").serial_hex(), before, "it is as good as before");
            assert_eq!(world.take_writes(), counted(&[("status Certificate", 1)]), "{issuer}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_recreated_midway_gets_its_certificate() {
    for issuer in ["ca", "self", "le"] {
        for collection_lag in [0, 90] {
            let mut world = world_of_issuers().await;
            world.server.collection_lag = collection_lag;
            world.latency = SignedDuration::from_millis(300);
            world.propagation = SignedDuration::from_secs(20);
            world.create(&certificate_of("web", issuer));
            world.run(1).await;
            world.delete::<Certificate>("web");
            let mut again = certificate_of("web", issuer);
            again.spec.dns_names = vec!["again.example.com".into()];
            world.create(&again);
            world.run(400).await;
            assert!(world.is_ready("web"), "{issuer}: {:?}", world.get::<Certificate>("web").status);
            assert_eq!(leaf(&world, "web-tls").names.dns_names, ["again.example.com"]);
            assert_eq!((world.litter(), world.storms), (vec![], 0), "{issuer}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_never_rotated_stays() {
    for issuer in LOCAL {
        let mut world = world_of_issuers().await;
        let mut certificate = certificate_of("web", issuer);
        certificate.spec.private_key.as_mut().unwrap().rotation_policy = Some("Never".into());
        world.create(&certificate);
        world.run(60).await;
        let key = |world: &World| world.get::<Secret>("web-tls").data.unwrap()["tls.key"].clone();
        let before = key(&world);
        run_until_renewal(&mut world, "web").await;
        world.run(120).await;
        assert_eq!((revision(&world, "web"), key(&world)), (2, before.clone()));

        // Another kind of key is not forced upon it.
        world.edit::<Certificate>("web", |held| held.spec.private_key.as_mut().unwrap().size = Some(384));
        world.run(DAY).await;
        let told = world.condition("web", "Issuing").unwrap();
        assert!(told.contains("spec.privateKey.rotationPolicy is Never"), "{told}");
        assert_eq!((revision(&world, "web"), key(&world)), (2, before.clone()));
        world.edit::<Certificate>("web", |held| held.spec.private_key.as_mut().unwrap().rotation_policy = None);
        world.run(60).await;
        assert!(world.is_ready("web") && key(&world) != before);
        assert_eq!(world.litter(), [""; 0]);
    }
}
