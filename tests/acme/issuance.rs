//! Whole issuances.

use std::{sync::atomic::Ordering, time::Duration};

use certwright::{
    acme::{
        AccountHandle, AuthorizationStatus, ChallengeStatus, Client, Identifier, NewOrder, OrderBody, OrderStatus,
        Registration, renewal,
    },
    decide::{
        chain::{OfferedChain, choose},
        profile,
    },
    pki::{
        CertificateRequestTemplate, Curve, KeyAlgorithm, ParsedCertificate, ParsedRequest, PrivateKey, SubjectAltNames,
        verify_chain_links,
    },
};

use jiff::Timestamp;

use crate::pebble::{Options, Pebble};

pub fn p256() -> PrivateKey {
    PrivateKey::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap()
}

pub async fn registered(client: &Client, key: PrivateKey) -> AccountHandle {
    let registration = Registration { terms_of_service_agreed: true, ..Registration::default() };
    let account = client.register(&key, &registration).await.unwrap();
    client.account(key, account.url)
}

pub fn order_for(names: &[&str]) -> NewOrder {
    NewOrder { identifiers: names.iter().copied().map(Identifier::dns).collect(), ..NewOrder::default() }
}

/// Reads the order until it has left `status`.
async fn order_after(account: &AccountHandle, url: &str, status: &OrderStatus) -> OrderBody {
    for _ in 0..200 {
        let order = account.order(url).await.unwrap().body;
        if order.status != *status {
            return order;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the order stays {status}");
}

async fn accept_all(account: &AccountHandle, order: &OrderBody) {
    for url in &order.authorizations {
        let authorization = account.authorization(url).await.unwrap().body;
        assert_eq!(authorization.status, AuthorizationStatus::Pending);
        let challenge = authorization.challenge("dns-01").unwrap();
        assert_eq!(challenge.status, ChallengeStatus::Pending);
        let token = challenge.token.as_deref().unwrap();
        assert_eq!(account.dns01_value(token).unwrap().len(), 43);
        account.accept(&challenge.url).await.unwrap();
        assert_eq!(account.challenge(&challenge.url).await.unwrap().body.kind, "dns-01");
    }
}

/// From a new order to the chain. Returns the order's last state and the certificate's key too.
pub async fn issue(account: &AccountHandle, order: &NewOrder) -> (OrderBody, Vec<ParsedCertificate>, PrivateKey) {
    let (url, answer) = account.new_order(order).await.unwrap();
    assert_eq!(answer.body.status, OrderStatus::Pending);
    accept_all(account, &answer.body).await;
    let ready = order_after(account, &url, &OrderStatus::Pending).await;
    assert_eq!(ready.status, OrderStatus::Ready, "{ready:?}");
    let key = p256();
    let template = CertificateRequestTemplate { names: names_of(&ready), ..CertificateRequestTemplate::default() };
    account.finalize(&ready.finalize, &template.build(&key).unwrap()).await.unwrap();
    let valid = order_after(account, &url, &OrderStatus::Processing).await;
    assert_eq!(valid.status, OrderStatus::Valid, "{valid:?}");
    let chain = account.certificate(valid.certificate.as_deref().unwrap()).await.unwrap().body;
    (valid, ParsedCertificate::from_pem_chain(chain.pem.as_bytes()).unwrap(), key)
}

fn names_of(order: &OrderBody) -> SubjectAltNames {
    let mut names = SubjectAltNames::default();
    for identifier in &order.identifiers {
        match identifier.kind.as_str() {
            "ip" => names.ip_addresses.push(identifier.value.parse().unwrap()),
            _ => names.dns_names.push(identifier.value.clone()),
        }
    }
    names
}

#[tokio::test]
async fn accounts_with_every_kind_of_key_get_certificates() {
    let Some(pebble) = Pebble::start(Options::default()).await else { return };
    let (client, refused) = pebble.counting_client();
    for kind in [
        KeyAlgorithm::Rsa(2048),
        KeyAlgorithm::Ecdsa(Curve::P256),
        KeyAlgorithm::Ecdsa(Curve::P384),
        KeyAlgorithm::Ecdsa(Curve::P521),
    ] {
        let account = registered(&client, PrivateKey::generate(kind).unwrap()).await;
        let (_, chain, key) = issue(&account, &order_for(&["example.com", "*.example.com"])).await;
        verify_chain_links(&chain).unwrap();
        assert!(chain.len() >= 2);
        assert!(chain[0].matches_key(&key));
        assert_eq!(chain[0].names.clone().normalized().dns_names, ["*.example.com", "example.com"]);
    }
    assert!(refused.load(Ordering::SeqCst) > 0, "no nonce was refused, so nothing was shown about nonces");
}

#[tokio::test]
async fn wildcards_addresses_profiles_and_renewals() {
    let Some(pebble) = Pebble::start(Options::default()).await else { return };
    let client = pebble.client();
    assert!(client.directory().await.unwrap().meta.profiles.contains_key("shortlived"));
    let account = registered(&client, p256()).await;
    let order = NewOrder {
        identifiers: vec![Identifier::dns("*.example.org"), Identifier::ip("127.0.0.1".parse().unwrap())],
        profile: Some("shortlived".to_owned()),
        ..NewOrder::default()
    };
    let (url, answer) = account.new_order(&order).await.unwrap();
    let mut wildcards = Vec::new();
    for authorization in &answer.body.authorizations {
        let body = account.authorization(authorization).await.unwrap().body;
        wildcards.push((body.identifier.value, body.wildcard));
    }
    wildcards.sort();
    assert_eq!(wildcards, [("127.0.0.1".to_owned(), false), ("example.org".to_owned(), true)]);
    assert_eq!(account.order(&url).await.unwrap().body.profile.as_deref(), Some("shortlived"));

    let order = NewOrder { profile: Some("shortlived".to_owned()), ..order_for(&["example.org"]) };
    let (_, chain, _) = issue(&account, &order).await;
    let lifetime = chain[0].not_after.duration_since(chain[0].not_before).as_hours();
    assert!((143..=145).contains(&lifetime), "{lifetime} hours");

    let id = renewal::certificate_id(&chain[0]).unwrap();
    let info = client.renewal_info(&id).await.unwrap().unwrap();
    assert_eq!(info.retry_after, Some(Duration::from_hours(6)));
    let window = info.body.suggested_window;
    assert!(chain[0].not_before < window.start && window.start < window.end && window.end < chain[0].not_after);
    let (order, _, _) = issue(&account, &NewOrder { replaces: Some(id.clone()), ..order_for(&["example.org"]) }).await;
    assert_eq!(order.replaces, Some(id.clone()));
    let again = account.new_order(&NewOrder { replaces: Some(id), ..order_for(&["example.org"]) }).await;
    let error = again.unwrap_err();
    assert!(error.problem().unwrap().is_already_replaced(), "{error}");
    assert_eq!(error.status(), Some(409));
}

#[tokio::test]
async fn alternate_chains_end_at_other_roots() {
    let Some(pebble) = Pebble::start(Options { alternate_roots: 2, ..Options::default() }).await else { return };
    let account = registered(&pebble.client(), p256()).await;
    let (order, first, key) = issue(&account, &order_for(&["example.com"])).await;
    let url = order.certificate.unwrap();
    let alternates = account.certificate(&url).await.unwrap().body.alternates;
    assert_eq!(alternates.len(), 2, "{alternates:?}");
    for alternate in &alternates {
        let chain = account.certificate(alternate).await.unwrap().body;
        let chain = ParsedCertificate::from_pem_chain(chain.pem.as_bytes()).unwrap();
        verify_chain_links(&chain).unwrap();
        assert!(chain[0].matches_key(&key));
        assert_ne!(chain.last().unwrap().issuer_text, first.last().unwrap().issuer_text);
    }

    // Each of them can be preferred.
    let template = CertificateRequestTemplate {
        names: SubjectAltNames { dns_names: vec!["example.com".to_owned()], ..SubjectAltNames::default() },
        ..CertificateRequestTemplate::default()
    };
    let request = ParsedRequest::from_der(&template.build(&key).unwrap()).unwrap();
    let mut offered = Vec::new();
    for url in std::iter::once(&url).chain(&alternates) {
        let pem = account.certificate(url).await.unwrap().body.pem;
        offered.push(OfferedChain::verify(pem.as_bytes(), &request, Timestamp::now()).unwrap());
    }
    let default = offered.remove(0);
    for wanted in &offered {
        let chain = ParsedCertificate::from_pem_chain(&wanted.pem).unwrap();
        let root = chain.last().unwrap().issuer_common_name.clone().unwrap();
        let chosen = choose(default.clone(), &offered, Some(&root), None);
        assert_eq!((chosen.pem, chosen.warning), (wanted.pem.clone(), None));
    }
    let chosen = choose(default.clone(), &offered, Some("No Root"), None);
    assert!(chosen.pem == default.pem && chosen.warning.unwrap().contains("Pebble Root CA"));
}

#[tokio::test]
async fn an_unknown_profile_is_refused_and_the_directory_tells_which_there_are() {
    let Some(pebble) = Pebble::start(Options::default()).await else { return };
    let client = pebble.client();
    let account = registered(&client, p256()).await;
    let order = NewOrder { profile: Some("nonsense".to_owned()), ..order_for(&["example.com"]) };
    let error = account.new_order(&order).await.unwrap_err();
    assert!(error.problem().unwrap().is("invalidProfile"), "{error}");
    let directory = client.current_directory().await.unwrap();
    let told = profile::check("nonsense", directory.meta.profiles.keys()).unwrap_err();
    assert_eq!(told, "the CA has no profile \"nonsense\"; it offers \"default\", \"shortlived\"");
    profile::check("shortlived", directory.meta.profiles.keys()).unwrap();
}

#[tokio::test]
async fn an_order_is_found_again_after_a_crash() {
    let Some(pebble) = Pebble::start(Options::default()).await else { return };
    let key = p256();
    let account = registered(&pebble.client(), key.clone()).await;
    // Pebble shows three orders a page.
    let mut made = Vec::new();
    for number in 0..7 {
        made.push(account.new_order(&order_for(&[&format!("{number}.example.com")])).await.unwrap().0);
    }
    drop(account);

    let client = pebble.client();
    let url = client.find_account(&key).await.unwrap().unwrap().url;
    let account = client.account(key, url);
    let mut found = account.orders().await.unwrap().unwrap();
    found.sort();
    made.sort();
    assert_eq!(found, made);
}

#[tokio::test]
async fn failed_challenges_tell_why() {
    let Some(pebble) = Pebble::start(Options { validate: true, ..Options::default() }).await else { return };
    let account = registered(&pebble.client(), p256()).await;
    let (url, answer) = account.new_order(&order_for(&["example.com"])).await.unwrap();
    accept_all(&account, &answer.body).await;
    let order = order_after(&account, &url, &OrderStatus::Pending).await;
    assert_eq!(order.status, OrderStatus::Invalid);
    let authorization = account.authorization(&order.authorizations[0]).await.unwrap().body;
    assert_eq!(authorization.status, AuthorizationStatus::Invalid);
    let problem = authorization.error().unwrap();
    assert_eq!(problem.to_string(), "urn:ietf:params:acme:error:unauthorized: No TXT records found for DNS challenge");
    // An order that is not ready cannot be finalized.
    let error = account.finalize(&order.finalize, b"nonsense").await.unwrap_err();
    assert!(error.problem().is_some() && !error.is_transient(), "{error}");
}

#[tokio::test]
async fn authorizations_are_given_back() {
    let Some(pebble) = Pebble::start(Options { validate: true, ..Options::default() }).await else { return };
    let account = registered(&pebble.client(), p256()).await;
    let (_, answer) = account.new_order(&order_for(&["example.com"])).await.unwrap();
    let url = &answer.body.authorizations[0];
    let pending = account.authorization(url).await.unwrap();
    assert_eq!(pending.body.status, AuthorizationStatus::Pending);
    assert_eq!(account.deactivate_authorization(url).await.unwrap().body.status, AuthorizationStatus::Deactivated);
    assert_eq!(account.authorization(url).await.unwrap().body.status, AuthorizationStatus::Deactivated);
}
