//! Revoking certificates (RFC 8555 section 7.6).

use certwright::{acme::Error, pki::RevocationReason};

use crate::{
    issuance::{issue, order_for, p256, registered},
    pebble::{Options, Pebble},
};

fn refusal(answer: Result<(), Error>) -> String {
    let error = answer.unwrap_err();
    assert!(!error.is_transient(), "{error}");
    assert!(error.problem().unwrap().is("unauthorized"), "{error}");
    error.to_string()
}

#[tokio::test]
async fn by_the_account_that_it_was_issued_to() {
    let Some(pebble) = Pebble::start(Options::default()).await else { return };
    let account = registered(&pebble.client(), p256()).await;
    let (_, chain, _) = issue(&account, &order_for(&["example.com"])).await;
    assert_eq!(pebble.status_of(&chain[0]).await["Status"], "Valid");
    for reason in [RevocationReason::Superseded, RevocationReason::KeyCompromise] {
        // The second time is well too, and changes nothing.
        account.revoke(&chain[0].der, reason).await.unwrap();
        let status = pebble.status_of(&chain[0]).await;
        assert_eq!((&status["Status"], &status["Reason"]), (&"Revoked".into(), &4.into()), "{status}");
    }
}

#[tokio::test]
async fn by_its_key_when_the_account_is_another() {
    let Some(pebble) = Pebble::start(Options::default()).await else { return };
    let client = pebble.client();
    let (_, chain, key) = issue(&registered(&client, p256()).await, &order_for(&["example.org"])).await;
    let (leaf, reason) = (&chain[0], RevocationReason::KeyCompromise);

    let stranger = registered(&client, p256()).await;
    let told = refusal(stranger.revoke(&leaf.der, reason).await);
    assert!(told.contains("is not associated with account"), "{told}");
    let told = refusal(client.revoke_by_key(&p256(), &leaf.der, reason).await);
    assert!(told.contains("must be the same public key as the cert"), "{told}");
    assert_eq!(pebble.status_of(leaf).await["Status"], "Valid");

    client.revoke_by_key(&key, &leaf.der, reason).await.unwrap();
    client.revoke_by_key(&key, &leaf.der, reason).await.unwrap();
    let status = pebble.status_of(leaf).await;
    assert_eq!((&status["Status"], &status["Reason"]), (&"Revoked".into(), &1.into()), "{status}");
}
