//! The Secret with an account key: making, reading and replacing the key.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{ResourceExt, api::ObjectMeta};

use super::{Context, account::read_account_key, held_issuer::HeldIssuer, step_error::StepError};
use crate::{
    acme::{self, Client},
    api::{
        Challenge,
        issuer::AcmeIssuer,
        names::{annotation, field_manager, label},
    },
    cluster::{Key, ObjectName},
    decide::{
        issuer::{AccountKey, Outcome, RollOver, account_key_entry, next_key_algorithm, next_key_entry},
        progress::Progress,
        secret,
    },
    pki::{Encoding, KeyAlgorithm, PrivateKey},
};

/// The Secret of one issuer's account key, and who is at it.
pub(super) struct AccountSecret<'a> {
    pub context: &'a Context,
    /// The issuer.
    pub key: &'a Key,
    pub acme: &'a AcmeIssuer,
    /// Where the Secret lies.
    pub namespace: &'a str,
    /// The value of the issuer's annotation that asks for another key.
    pub wish: Option<&'a str>,
    /// The account, as far as the issuer's status tells of one.
    pub account_url: Option<&'a str>,
}

/// Whether this Secret holds a next key for this account. Several CAs may know the same key, and each is to be told of
/// another one by itself.
pub(super) fn holds_next_key(held: &Secret, acme: &AcmeIssuer, account_url: Option<&str>) -> bool {
    let url = held.annotations().get(annotation::ACCOUNT_KEY_ROLLING).map(String::as_str);
    let is_there = secret::entry(held, &next_key_entry(account_key_entry(acme))).is_some();
    is_there && url.is_some() && (account_url.is_none() || url == account_url)
}

impl AccountSecret<'_> {
    pub(super) fn name(&self) -> ObjectName {
        ObjectName::new(self.namespace, &self.acme.private_key_secret_ref.name)
    }

    /// The key as found, and how far a change of it is.
    pub(super) async fn look(&self) -> Result<(AccountKey, Option<RollOver>), StepError> {
        if self.acme.private_key_secret_ref.is_unset() {
            let text = "spec.acme.privateKeySecretRef.name is empty; name the Secret that shall hold the account key";
            return Ok((AccountKey::Unusable(text.to_owned()), None));
        }
        let entry = account_key_entry(self.acme);
        let held = self.context.cluster.secrets.get(&self.name()).await?;
        let Some(held) = held.filter(|held| secret::entry(held, entry).is_some()) else {
            return Ok((AccountKey::Missing, None));
        };
        let roll_over = RollOver {
            wish: self.wish.map(str::to_owned),
            last: held.annotations().get(annotation::ACCOUNT_KEY_ROLLED).cloned(),
            has_next: holds_next_key(&held, self.acme, self.account_url),
            outcome: None,
        };
        let account_key = match read_account_key(self.context, self.acme, self.namespace).await? {
            Ok(key) => AccountKey::Usable { hash: key_hash(&key) },
            Err(why) => AccountKey::Unusable(why),
        };
        Ok((account_key, Some(roll_over).filter(|roll_over| roll_over.has_next || roll_over.wish.is_some())))
    }

    /// A Secret that is there already keeps everything else that it holds.
    pub(super) async fn create(&self) -> Result<(), StepError> {
        let key = self.context.keys.generate(self.key, KeyAlgorithm::Rsa(2048))?;
        let labels = [
            (label::MANAGED_BY, label::MANAGED_BY_CERT_MANAGER),
            // So that it is read from the store and not from the API server each time.
            (label::FAO, label::TRUE),
        ];
        let wish = self.wish.map(|wish| (annotation::ACCOUNT_KEY_ROLLED.to_owned(), wish.to_owned()));
        let secret = Secret {
            metadata: ObjectMeta {
                namespace: Some(self.namespace.to_owned()),
                name: Some(self.acme.private_key_secret_ref.name.clone()),
                labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
                // A new key grants the wish for another one.
                annotations: wish.map(|wish| [wish].into()),
                ..ObjectMeta::default()
            },
            data: Some([(account_key_entry(self.acme).to_owned(), pem(&key)?)].into()),
            ..Secret::default()
        };
        if self.context.cluster.secrets.get(&self.name()).await?.is_some() {
            self.context.cluster.apply(&secret, field_manager::CERTWRIGHT).await?;
        } else {
            self.context.cluster.create(&Secret { type_: Some("Opaque".to_owned()), ..secret }).await?;
        }
        Ok(())
    }

    /// Puts a new key beside the present one.
    pub(super) async fn create_next(&self) -> Result<(), StepError> {
        let Some(account_url) = self.account_url else { return Ok(()) };
        let (held, present) = self.read().await?;
        let entry = next_key_entry(account_key_entry(self.acme));
        if secret::entry(&held, &entry).is_some() {
            return Err(StepError::transient(format!(
                "The Secret {} holds a next key under {entry:?} already, for another account; when that is not needed \
                 any more, take the entry out",
                self.name()
            )));
        }
        let next = self.context.keys.generate(self.key, next_key_algorithm(present.algorithm()))?;
        let last = held.annotations().get(annotation::ACCOUNT_KEY_ROLLED).map(String::as_str);
        self.write(&held, &present, Some((&next, account_url)), last).await
    }

    /// Has the CA know the account by the next key. What counts is which account the CA finds by it, before and after:
    /// an answer may have been lost, and there are CAs that call a change done which they did not make.
    pub(super) async fn change(&self, client: &Client) -> Result<Outcome, StepError> {
        self.reserve()?;
        let (held, present) = self.read().await?;
        let refused = |why: &str| Ok(Outcome::Refused(why.to_owned()));
        let Some(next) = self.next_key(&held) else { return refused("the next key in its Secret cannot be read") };
        let known = account_by(client, &next).await?;
        let url = match (self.account_url, &known) {
            (Some(url), _) => url.to_owned(),
            (None, Some(known)) => known.clone(),
            (None, None) => match account_by(client, &present).await? {
                Some(url) => url,
                None => return refused("the CA does not know the account"),
            },
        };
        match known {
            Some(known) if known == url => return Ok(Outcome::Changed),
            Some(_) => return refused("the CA knows another account by the next key"),
            None => self.wait_for_challenges(&url)?,
        }
        let answer = client.account(present, url.clone()).change_key(&next).await;
        if let Some(error) = answer.as_ref().err().filter(|error| error.is_transient()) {
            return Err(failed(error));
        }
        if account_by(client, &next).await? == Some(url) {
            return Ok(Outcome::Changed);
        }
        let why = answer.err().map(|error| error.to_string());
        refused(
            &why.unwrap_or_else(|| "the CA says that it was changed, but does not know the account by it".to_owned()),
        )
    }

    /// Puts the next key into the place of the present one. The former one is of no use to anybody and is not kept.
    pub(super) async fn adopt_next(&self) -> Result<(), StepError> {
        let (held, _) = self.read().await?;
        let Some(next) = self.next_key(&held) else { return Ok(()) };
        self.write(&held, &next, None, self.wish).await?;
        self.end();
        Ok(())
    }

    /// Takes the next key away, which the CA does not know.
    pub(super) async fn drop_next(&self) -> Result<(), StepError> {
        let (held, present) = self.read().await?;
        self.write(&held, &present, None, self.wish).await?;
        self.end();
        Ok(())
    }

    /// Challenges are answered with the thumbprint of the key; the CA would hold the answers against the next one.
    fn wait_for_challenges(&self, account_url: &str) -> Result<(), StepError> {
        let hub = &self.context.cluster.hub;
        let is_under_way = |challenge: &Challenge| {
            let state = challenge.status.as_ref().and_then(|status| status.state.as_deref());
            let namespace = challenge.namespace().unwrap_or_default();
            let issuer = HeldIssuer::look_up(hub, &challenge.spec.issuer_ref, &namespace);
            let account = issuer.parts().and_then(|(_, status)| status?.acme.as_ref());
            Progress::of_word(state) == Progress::Open
                && account.and_then(|account| account.uri.as_deref()) == Some(account_url)
        };
        if hub.challenges.all().iter().any(|challenge| is_under_way(challenge)) {
            self.context.accounts.notes.postpone_change(&self.name());
            return Err(StepError::transient("Waiting for the end of the challenges that are under way"));
        }
        Ok(())
    }

    fn reserve(&self) -> Result<(), StepError> {
        if self.context.accounts.notes.begin_change(&self.name(), self.key, Timestamp::now()) {
            // Should the change last longer than it is noted, nobody goes on with the former key unasked.
            self.context.accounts.forget_handles();
            return Ok(());
        }
        let name = self.name();
        Err(StepError::transient(format!("Another issuer is changing the account key in the Secret {name}")))
    }

    fn end(&self) {
        self.context.accounts.forget_handles();
        self.context.accounts.notes.end_change(&self.name(), Timestamp::now());
    }

    async fn read(&self) -> Result<(Secret, PrivateKey), StepError> {
        let present = read_account_key(self.context, self.acme, self.namespace).await?.map_err(StepError::transient)?;
        let held = self.context.cluster.secrets.get(&self.name()).await?;
        let held = held.ok_or_else(|| StepError::transient(format!("The Secret {} is gone", self.name())))?;
        Ok(((*held).clone(), present))
    }

    fn next_key(&self, held: &Secret) -> Option<PrivateKey> {
        PrivateKey::from_pem(secret::entry(held, &next_key_entry(account_key_entry(self.acme)))?).ok()
    }

    /// Applies all that is ours in the Secret. It must be as it was read, or keys would be lost.
    async fn write(
        &self,
        held: &Secret,
        key: &PrivateKey,
        next: Option<(&PrivateKey, &str)>,
        last_wish: Option<&str>,
    ) -> Result<(), StepError> {
        let entry = account_key_entry(self.acme);
        let mut data = vec![(entry.to_owned(), pem(key)?)];
        let mut annotations = vec![];
        if let Some((next, account_url)) = next {
            data.push((next_key_entry(entry), pem(next)?));
            annotations.push((annotation::ACCOUNT_KEY_ROLLING.to_owned(), account_url.to_owned()));
        }
        annotations.extend(last_wish.map(|wish| (annotation::ACCOUNT_KEY_ROLLED.to_owned(), wish.to_owned())));
        let labels = held.labels().iter().filter(|(key, _)| [label::MANAGED_BY, label::FAO].contains(&key.as_str()));
        let secret = Secret {
            metadata: ObjectMeta {
                namespace: held.namespace(),
                name: Some(held.name_any()),
                resource_version: held.resource_version(),
                labels: Some(labels.map(|(key, value)| (key.clone(), value.clone())).collect()),
                annotations: Some(annotations.into_iter().collect()),
                ..ObjectMeta::default()
            },
            data: Some(data.into_iter().collect()),
            ..Secret::default()
        };
        self.context.cluster.apply(&secret, field_manager::CERTWRIGHT).await?;
        Ok(())
    }
}

/// The URL of the account that the CA knows by this key.
async fn account_by(client: &Client, key: &PrivateKey) -> Result<Option<String>, StepError> {
    let found = client.find_account(key).await.map_err(|error| failed(&error))?;
    Ok(found.map(|account| account.url))
}

fn failed(error: &acme::Error) -> StepError {
    StepError::from_acme("Failed to change the key of the ACME account", error)
}

/// base64 of the SHA-256 of the key: of its PKCS#1 form, as cert-manager has it; of its public key if it is not RSA.
fn key_hash(key: &PrivateKey) -> String {
    let der = key.pkcs1_der().or_else(|| key.public_key_der().ok()).unwrap_or_default();
    BASE64_STANDARD.encode(digest(&SHA256, &der))
}

fn pem(key: &PrivateKey) -> Result<ByteString, StepError> {
    key.to_pem(Encoding::Pkcs1)
        .map(|pem| ByteString(pem.into_bytes()))
        .map_err(|error| StepError::transient(format!("Failed to encode the ACME account key: {error}")))
}
