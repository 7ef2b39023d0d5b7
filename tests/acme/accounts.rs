//! Accounts, and what a CA refuses.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use certwright::acme::{
    Account, AccountStatus, Client, Config, Error, ExternalAccountBinding, MacAlgorithm, Registration, TransportKind,
};

use certwright::pki::{Curve, KeyAlgorithm, PrivateKey};

use crate::{
    issuance::{order_for, p256, registered},
    pebble::{Options, Pebble},
};

fn agreed(contacts: &[&str]) -> Registration {
    Registration {
        contacts: contacts.iter().map(ToString::to_string).collect(),
        terms_of_service_agreed: true,
        ..Registration::default()
    }
}

#[tokio::test]
async fn an_account_is_made_once_and_found_again() {
    let Some(pebble) = Pebble::start(Options::default()).await else { return };
    let (client, key) = (pebble.client(), p256());
    assert_eq!(client.find_account(&key).await.unwrap(), None);
    let made = client.register(&key, &agreed(&["mailto:a@example.org"])).await.unwrap();
    assert!(made.created);
    assert_eq!(made.body.status, AccountStatus::Valid);
    assert_eq!(made.body.contacts, ["mailto:a@example.org"]);

    let found = client.register(&key, &agreed(&["mailto:b@example.org"])).await.unwrap();
    assert_eq!((found.created, &found.url), (false, &made.url));
    assert_eq!(client.find_account(&key).await.unwrap().unwrap().url, made.url);

    let contacts = ["mailto:b@example.org".to_owned()];
    let updated = client.update_contacts(&key, &made.url, &contacts).await.unwrap();
    assert_eq!(updated.body.contacts, contacts);
    assert_eq!(client.account(key, made.url).account().await.unwrap().body.contacts, contacts);
}

#[tokio::test]
async fn terms_must_be_agreed_to() {
    let Some(pebble) = Pebble::start(Options::default()).await else { return };
    let error = pebble.client().register(&p256(), &Registration::default()).await.unwrap_err();
    assert!(!error.is_transient());
    assert!(error.to_string().contains("agree to the terms"), "{error}");
}

#[tokio::test]
async fn accounts_are_bound_to_external_ones() {
    // As long as the longest hash, or Pebble refuses it (RFC 7518 3.2).
    let mac_key = vec![7; 64];
    let external_account = Some(("kid-1", BASE64URL.encode(&mac_key)));
    let Some(pebble) = Pebble::start(Options { external_account, ..Options::default() }).await else { return };
    let client = pebble.client();
    assert!(client.directory().await.unwrap().meta.external_account_required);
    let error = client.register(&p256(), &agreed(&[])).await.unwrap_err();
    assert!(error.problem().unwrap().is("externalAccountRequired"), "{error}");

    for algorithm in [MacAlgorithm::Hs256, MacAlgorithm::Hs384, MacAlgorithm::Hs512] {
        let mac_key = mac_key.clone();
        let binding = ExternalAccountBinding { key_id: "kid-1".to_owned(), mac_key, algorithm };
        assert!(!format!("{binding:?}").contains("mac_key"));
        let registration = Registration { external_account_binding: Some(binding), ..agreed(&[]) };
        assert!(client.register(&p256(), &registration).await.unwrap().created);
        let mut wrong = registration;
        wrong.external_account_binding.as_mut().unwrap().mac_key[0] ^= 1;
        let error = client.register(&p256(), &wrong).await.unwrap_err();
        assert!(!error.is_transient() && error.problem().is_some(), "{error}");
    }
}

#[tokio::test]
async fn refusals_are_passed_on_word_for_word() {
    let Some(pebble) = Pebble::start(Options::default()).await else { return };
    let account = registered(&pebble.client(), p256()).await;
    let error = account.new_order(&order_for(&["www.blocked-domain.example"])).await.unwrap_err();
    let problem = error.problem().unwrap();
    assert!(problem.is("rejectedIdentifier"));
    assert_eq!(problem.subproblems.len(), 1);
    let identifier = problem.subproblems[0].identifier.as_ref().unwrap();
    assert_eq!((identifier.kind.as_str(), identifier.value.as_str()), ("dns", "www.blocked-domain.example"));
    assert_eq!(problem.subproblems[0].detail.as_deref(), Some("www.blocked-domain.example is a forbidden domain"));
    assert!(error.to_string().contains("www.blocked-domain.example is a forbidden domain"), "{error}");
    assert!(!error.is_transient());

    // Another key than the account's.
    let stranger = pebble.client().account(p256(), account.url());
    let error = stranger.new_order(&order_for(&["example.com"])).await.unwrap_err();
    assert!(!error.is_transient() && error.problem().is_some(), "{error}");
    let error = account.order(&pebble.directory_url.replace("/dir", "/my-order/none")).await.unwrap_err();
    assert_eq!(error.status(), Some(404), "{error}");
}

#[tokio::test]
async fn an_account_gets_another_key() {
    let Some(pebble) = Pebble::start(Options::default()).await else { return };
    let client = pebble.client();
    let kinds = [KeyAlgorithm::Rsa(2048), KeyAlgorithm::Rsa(2048), KeyAlgorithm::Ecdsa(Curve::P384)];
    let [first, second, third] = kinds.map(|kind| PrivateKey::generate(kind).unwrap());
    let stranger = p256();
    client.register(&stranger, &agreed(&[])).await.unwrap();
    let Account { url, .. } = client.register(&first, &agreed(&[])).await.unwrap();
    for (old, new) in [(&first, &second), (&second, &third)] {
        let handle = client.account(old.clone(), url.clone());
        handle.change_key(new).await.unwrap();
        assert_eq!(client.find_account(new).await.unwrap().unwrap().url, url);
        assert_eq!(client.find_account(old).await.unwrap(), None);
        // What is signed with the former key is refused for good, so it is never to be asked at that time.
        assert!(!handle.new_order(&order_for(&["example.com"])).await.unwrap_err().is_transient());
        client.account(new.clone(), url.clone()).new_order(&order_for(&["example.com"])).await.unwrap();
    }
    // A key has one account. Pebble calls it done all the same, so what counts is whom it finds by which key.
    let _ = client.account(third.clone(), url.clone()).change_key(&stranger).await;
    assert_eq!(client.find_account(&third).await.unwrap().unwrap().url, url);
    assert_ne!(client.find_account(&stranger).await.unwrap().unwrap().url, url);
}

#[tokio::test]
async fn accounts_that_are_gone_are_told_apart() {
    let Some(pebble) = Pebble::start(Options::default()).await else { return };
    let (client, key) = (pebble.client(), p256());
    let account = registered(&client, key.clone()).await;
    let (order, _) = account.new_order(&order_for(&["example.com"])).await.unwrap();
    assert_eq!(account.deactivate().await.unwrap().body.status, AccountStatus::Deactivated);
    for error in [
        account.new_order(&order_for(&["example.com"])).await.unwrap_err(),
        account.order(&order).await.unwrap_err(),
        client.register(&key, &agreed(&[])).await.unwrap_err(),
    ] {
        assert!(error.problem().unwrap().account_is_refused(), "{error}");
        assert!(!error.problem().unwrap().account_does_not_exist(), "{error}");
    }
    // One that the CA has lost, or never had.
    let lost = client.account(p256(), account.url().replace("/my-account/", "/my-account/0"));
    let error = lost.new_order(&order_for(&["example.com"])).await.unwrap_err();
    assert!(error.problem().unwrap().account_does_not_exist(), "{error}");
    // A request that is refused for another reason says nothing about the account.
    let other = registered(&client, p256()).await;
    let error = other.order(&order).await.unwrap_err();
    assert!(!error.problem().unwrap().account_is_refused(), "{error}");
    assert!(!error.problem().unwrap().account_does_not_exist(), "{error}");
}

#[tokio::test]
async fn only_the_given_ca_is_trusted() {
    let Some(pebble) = Pebble::start(Options::default()).await else { return };
    let wrong = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem();
    for ca_bundle in [Some(wrong.into_bytes()), None] {
        // A machine without any CA certificates cannot even set up the second client.
        let client = match Client::new(&Config { ca_bundle, ..pebble.config() }) {
            Err(Error::Setup(_)) => continue,
            client => client.unwrap(),
        };
        let error = client.directory().await.unwrap_err();
        assert!(matches!(error, Error::Transport { kind: TransportKind::Tls, .. }), "{error:?}");
        assert!(error.to_string().contains(&pebble.directory_url) && error.to_string().contains("caBundle"), "{error}");
    }
    let careless = Client::new(&Config { ca_bundle: None, skip_tls_verify: true, ..pebble.config() });
    if let Ok(careless) = careless {
        careless.directory().await.unwrap();
    }
}

#[tokio::test]
async fn a_name_that_the_certificate_lacks_is_refused() {
    let Some(pebble) = Pebble::start(Options::default()).await else { return };
    let directory_url = pebble.directory_url.replace("localhost", "127.0.0.1");
    let client = Client::new(&Config { directory_url, ..pebble.config() }).unwrap();
    let error = client.directory().await.unwrap_err();
    assert!(error.to_string().contains("for another name"), "{error}");
}
