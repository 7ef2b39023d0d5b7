//! What to do about an Issuer or ClusterIssuer.

mod notice;
#[cfg(test)]
mod tests;

use jiff::Timestamp;

use super::{Decision, Note, Trouble, TroubleClass, authority::SeenAuthority, backoff, later};
use crate::api::{
    Condition, IssuerSpec, IssuerStatus, find_condition,
    issuer::{AcmeIssuer, AcmeIssuerStatus, CaIssuer},
    names::{condition, event, reason},
    set_condition,
};

/// Everything that the decision rests on.
pub struct SeenIssuer<'a> {
    pub generation: Option<i64>,
    pub deleting: bool,
    pub spec: &'a IssuerSpec,
    /// The issuer's annotation that tells which of its solvers answer by TLS-ALPN-01.
    pub tls_alpn_01: Option<&'a str>,
    pub status: Option<&'a IssuerStatus>,
    /// What the Secret named by `spec.acme.privateKeySecretRef` holds.
    pub account_key: &'a AccountKey,
    /// What the Secret named by `spec.ca.secretName` holds.
    pub authority: Option<&'a SeenAuthority>,
    /// What the CA answered to this process for exactly this spec and key.
    pub registration: Option<&'a Registration>,
    pub trouble: Option<&'a Trouble>,
}

/// The account key as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountKey {
    /// There is no Secret, or no such entry in it.
    Missing,
    /// There is an entry that is no usable key; says why.
    Unusable(String),
    /// base64 of the SHA-256 of the key's PKCS#1 form, as cert-manager writes it to the status.
    Usable { hash: String },
}

/// An account as the CA confirmed it (RFC 8555 section 7.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    pub uri: String,
    /// The e-mail address that the account was registered with; empty if none.
    pub email: String,
}

/// Every effect that can follow.
#[derive(Clone, Debug, PartialEq)]
pub enum IssuerStep {
    /// Generates an RSA-2048 account key and stores it in the Secret.
    CreateAccountKey,
    /// Creates the account, or finds it by its key, and brings its contact up to date.
    Register,
    WriteStatus(Box<IssuerStatus>),
    Publish(Note),
}

/// See the module's description.
pub fn decide(seen: &SeenIssuer<'_>, now: Timestamp) -> Decision<IssuerStep> {
    if seen.deleting {
        return Decision::rest();
    }
    match seen.spec {
        IssuerSpec { acme: Some(acme), .. } => decide_acme(seen, acme, now),
        IssuerSpec { ca: Some(ca), .. } => decide_ca(seen, ca, now),
        IssuerSpec { self_signed: Some(_), .. } => ready(seen, reason::IS_READY, "", now),
        _ => not_ready(seen, reason::UNSUPPORTED, unserved(seen.spec), Decision::rest(), now),
    }
}

fn decide_acme(seen: &SeenIssuer<'_>, acme: &AcmeIssuer, now: Timestamp) -> Decision<IssuerStep> {
    if let Some(url) = retired_server(&acme.server) {
        let text = format!("{url} spoke a protocol older than RFC 8555 and is gone; use {CURRENT_SERVER}");
        return not_ready(seen, reason::INVALID_CONFIG, &text, Decision::rest(), now);
    }
    let hash = match seen.account_key {
        AccountKey::Usable { hash } => hash,
        AccountKey::Unusable(why) => {
            return not_ready(seen, reason::ERR_VERIFY_ACME_ACCOUNT, why, Decision::rest(), now);
        }
        AccountKey::Missing => return without_key(seen, acme, now),
    };
    if is_current(seen, acme, hash) {
        return notice::keep_told(seen, acme, now);
    }
    if let Some(registration) = seen.registration {
        return registered(seen, acme, registration, hash, now);
    }
    match after_trouble(seen, now) {
        Some(decision) => decision,
        None => Decision::act(vec![IssuerStep::Register]),
    }
}

/// The e-mail address as it goes to the CA.
pub fn contact_email(acme: &AcmeIssuer) -> String {
    acme.email.as_deref().unwrap_or_default().trim().to_lowercase()
}

/// The entry of the account key's Secret that holds the key.
pub fn account_key_entry(acme: &AcmeIssuer) -> &str {
    acme.private_key_secret_ref.key.as_deref().filter(|key| !key.is_empty()).unwrap_or("tls.key")
}

const CURRENT_SERVER: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Let's Encrypt's first API, which many old manifests still name.
fn retired_server(server: &str) -> Option<&str> {
    ["https://acme-v01.api.letsencrypt.org", "https://acme-staging.api.letsencrypt.org"]
        .into_iter()
        .find(|retired| server.starts_with(retired))
}

fn unserved(spec: &IssuerSpec) -> &'static str {
    if spec.vault.is_some() || spec.venafi.is_some() {
        "certwright does not serve Vault and Venafi issuers"
    } else {
        "spec names no issuer type; set spec.acme, spec.ca or spec.selfSigned"
    }
}

/// A CA issuer is ready while its Secret holds a pair that certificates can be signed with.
fn decide_ca(seen: &SeenIssuer<'_>, ca: &CaIssuer, now: Timestamp) -> Decision<IssuerStep> {
    if ca.secret_name.is_empty() {
        let text = "spec.ca.secretName is empty; name the Secret with the CA's tls.crt and tls.key";
        return not_ready(seen, reason::ERR_GET_KEY_PAIR, text, Decision::rest(), now);
    }
    match seen.authority {
        None | Some(SeenAuthority::Missing(_)) => {
            let text = format!(
                "The Secret {:?} with the CA's key pair does not exist; create it with tls.crt and tls.key",
                ca.secret_name
            );
            not_ready(seen, reason::ERR_GET_KEY_PAIR, &text, Decision::rest(), now)
        }
        Some(SeenAuthority::Unusable(why)) => {
            let text = format!("The Secret {:?} holds no usable CA: {why}", ca.secret_name);
            not_ready(seen, reason::ERR_INVALID_KEY_PAIR, &text, Decision::rest(), now)
        }
        Some(SeenAuthority::Usable(authority)) => match authority.problem(now) {
            Some(why) => {
                let text = format!("The Secret {:?} holds no usable CA: {why}", ca.secret_name);
                let begins = authority.certificate().map(|own| own.not_before).filter(|at| *at > now);
                let rest = begins.map_or_else(Decision::rest, Decision::rest_until);
                not_ready(seen, reason::ERR_INVALID_KEY_PAIR, &text, rest, now)
            }
            None => ready(seen, reason::KEY_PAIR_VERIFIED, "Signing CA verified", now).or_at(authority.not_after()),
        },
    }
}

/// An issuer that needs nobody else.
fn ready(seen: &SeenIssuer<'_>, reason: &str, text: &str, now: Timestamp) -> Decision<IssuerStep> {
    let former = seen.status.cloned().unwrap_or_default();
    let mut status = IssuerStatus { acme: None, ..former.clone() };
    set_ready(&mut status, seen, "True", reason, text, now);
    if status == former {
        return Decision::rest();
    }
    let was_ready = find_condition(&former.conditions, condition::READY).is_some_and(Condition::is_true);
    let mut steps = vec![IssuerStep::WriteStatus(Box::new(status))];
    if !was_ready && !text.is_empty() {
        steps.push(IssuerStep::Publish(Note::normal(reason, text)));
    }
    Decision::act(steps)
}

fn without_key(seen: &SeenIssuer<'_>, acme: &AcmeIssuer, now: Timestamp) -> Decision<IssuerStep> {
    if acme.disable_account_key_generation {
        let secret = &acme.private_key_secret_ref.name;
        let text = format!(
            "The Secret {secret:?} has no account key under {:?}, and spec.acme.disableAccountKeyGeneration forbids \
             making one; put the key there, and it is tried again",
            account_key_entry(acme)
        );
        return not_ready(seen, reason::ERR_VERIFY_ACME_ACCOUNT, &text, Decision::rest(), now);
    }
    after_trouble(seen, now).unwrap_or_else(|| Decision::act(vec![IssuerStep::CreateAccountKey]))
}

/// Whether the status already tells of an account for exactly this spec and key.
fn is_current(seen: &SeenIssuer<'_>, acme: &AcmeIssuer, hash: &str) -> bool {
    let Some(status) = seen.status else { return false };
    let Some(account) = &status.acme else { return false };
    let ready = find_condition(&status.conditions, condition::READY);
    ready.is_some_and(|ready| ready.is_true() && ready.observed_generation == seen.generation)
        && account.uri.as_deref().is_some_and(|uri| !uri.is_empty())
        && account.last_private_key_hash.as_deref() == Some(hash)
        && account.last_registered_email.as_deref().unwrap_or_default().eq_ignore_ascii_case(&contact_email(acme))
}

fn registered(
    seen: &SeenIssuer<'_>,
    acme: &AcmeIssuer,
    registration: &Registration,
    hash: &str,
    now: Timestamp,
) -> Decision<IssuerStep> {
    let mut status = seen.status.cloned().unwrap_or_default();
    status.acme = Some(AcmeIssuerStatus {
        uri: Some(registration.uri.clone()),
        last_registered_email: Some(registration.email.clone()).filter(|email| !email.is_empty()),
        last_private_key_hash: Some(hash.to_owned()),
    });
    let text = notice::with_notice("The ACME account was registered with the ACME server", seen, acme);
    set_ready(&mut status, seen, "True", reason::ACME_ACCOUNT_REGISTERED, &text, now);
    if seen.status == Some(&status) {
        return Decision::rest();
    }
    Decision::act(vec![IssuerStep::WriteStatus(Box::new(status))])
}

/// What the last failure means for now; none if it is time for the next try.
fn after_trouble(seen: &SeenIssuer<'_>, now: Timestamp) -> Option<Decision<IssuerStep>> {
    let trouble = seen.trouble?;
    let (next_try, text) = match trouble.class {
        TroubleClass::Transient => (trouble.next_try(), trouble.sentence()),
        // What the CA refuses for good may still be put right on its side, or on the way to it.
        TroubleClass::Final => {
            let wait = backoff::after_refusals(trouble.failures);
            let wait = trouble.retry_after.map_or(wait, |wish| wish.max(wait));
            let wait_text = backoff::in_words(wait);
            let text = "tried again when the issuer or its Secrets change, and at the latest after";
            (later(trouble.at, wait), format!("{}; {text} {wait_text}", trouble.message))
        }
    };
    if now >= next_try {
        return None;
    }
    Some(not_ready(seen, reason::ERR_REGISTER_ACME_ACCOUNT, &text, Decision::rest_until(next_try), now))
}

fn not_ready(
    seen: &SeenIssuer<'_>,
    reason: &str,
    text: &str,
    mut decision: Decision<IssuerStep>,
    now: Timestamp,
) -> Decision<IssuerStep> {
    let former = seen.status.cloned().unwrap_or_default();
    let mut status = former.clone();
    set_ready(&mut status, seen, "False", reason, text, now);
    if status != former {
        let is_news = find_condition(&former.conditions, condition::READY).is_none_or(Condition::is_true);
        decision.steps.push(IssuerStep::WriteStatus(Box::new(status)));
        if is_news {
            decision.steps.push(IssuerStep::Publish(Note::warning(event::ERR_INIT_ISSUER, text)));
        }
    }
    decision
}

fn set_ready(status: &mut IssuerStatus, seen: &SeenIssuer<'_>, value: &str, reason: &str, text: &str, now: Timestamp) {
    let new = Condition {
        type_: condition::READY.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(text.to_owned()).filter(|text| !text.is_empty()),
        observed_generation: seen.generation,
        ..Condition::default()
    };
    set_condition(&mut status.conditions, new, now);
}
