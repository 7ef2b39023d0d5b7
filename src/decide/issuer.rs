//! What to do about an Issuer or ClusterIssuer.

pub mod doubt;
mod notice;
mod roll_over;
mod server;
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

pub use roll_over::{Outcome, RollOver, next_key_algorithm, next_key_entry};

/// How the messages of failed steps begin. Which reason the condition has follows from it.
pub mod doing {
    pub const REGISTER: &str = "Failed to register ACME account";
    pub const UPDATE: &str = "Failed to update ACME account";
    pub const VERIFY: &str = "Failed to verify ACME account";
}

/// Everything that the decision rests on.
pub struct SeenIssuer<'a> {
    pub generation: Option<i64>,
    pub deleting: bool,
    pub spec: &'a IssuerSpec,
    /// The issuer's annotation that tells which of its solvers answer by TLS-ALPN-01.
    pub tls_alpn_01: Option<&'a str>,
    /// The issuer's annotation that tells how TXT records are verified.
    pub dns01_verification: Option<&'a str>,
    /// The issuer's annotation that tells what is done about CAA records.
    pub caa: Option<&'a str>,
    /// The issuer's annotation that limits the orders of its account.
    pub new_orders: Option<&'a str>,
    /// What is wrong with the annotation that tells who answers HTTP-01 challenges.
    pub answerer_problem: Option<&'a str>,
    pub status: Option<&'a IssuerStatus>,
    /// What the Secret named by `spec.acme.privateKeySecretRef` holds.
    pub account_key: &'a AccountKey,
    /// What the Secret named by `spec.ca.secretName` holds.
    pub authority: Option<&'a SeenAuthority>,
    /// What the CA answered to this process for exactly this spec and key.
    pub registration: Option<&'a Registration>,
    /// Whether something happened because of which the account is to be looked at again, although the status calls it
    /// ready: the CA refused a request in its name, or what it is bound with has changed.
    pub is_doubtful: bool,
    /// How far a change of the account key is; none if nobody wishes for one and none was begun.
    pub roll_over: Option<&'a RollOver>,
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
    /// The terms of service that were agreed to when the account was made just now; none if it was there already, or
    /// the CA has none.
    pub agreed_terms: Option<String>,
}

/// Every effect that can follow.
#[derive(Clone, Debug, PartialEq)]
pub enum IssuerStep {
    /// Generates an RSA-2048 account key and stores it in the Secret.
    CreateAccountKey,
    /// Creates the account, or finds it by its key, and brings its contact up to date.
    Register,
    /// Generates a key and stores it in the Secret, beside the present one.
    CreateNextKey,
    /// Has the CA know the account by the next key, if it does not do so already.
    ChangeKey,
    /// Puts the next key into the place of the present one, in the Secret.
    AdoptNextKey,
    /// Takes the next key out of the Secret, and notes that the wish is not to be tried again.
    DropNextKey,
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
    if let Some((reason, text)) = server::problem(&acme.server) {
        return not_ready(seen, reason, &text, Decision::rest(), now);
    }
    let hash = match seen.account_key {
        AccountKey::Usable { hash } => hash,
        AccountKey::Unusable(why) => {
            return not_ready(seen, reason::ERR_VERIFY_ACME_ACCOUNT, why, Decision::rest(), now);
        }
        AccountKey::Missing => return without_key(seen, acme, now),
    };
    if let Some(decision) = roll_over::finish(seen, now) {
        return decision;
    }
    let news = seen.registration.and_then(|registration| registered(seen, acme, registration, hash, now));
    if let Some(decision) = news {
        return decision;
    }
    if seen.registration.is_some() || is_current(seen, acme, hash) {
        return roll_over::begin(seen, now).unwrap_or_else(|| notice::keep_told(seen, acme, now));
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
    !seen.is_doubtful
        && ready.is_some_and(|ready| ready.is_true() && ready.observed_generation == seen.generation)
        && account.uri.as_deref().is_some_and(|uri| !uri.is_empty())
        && account.last_private_key_hash.as_deref() == Some(hash)
        && account.last_registered_email.as_deref().unwrap_or_default().eq_ignore_ascii_case(&contact_email(acme))
}

/// What is to be written of what the CA answered, unless the status tells of it already.
fn registered(
    seen: &SeenIssuer<'_>,
    acme: &AcmeIssuer,
    registration: &Registration,
    hash: &str,
    now: Timestamp,
) -> Option<Decision<IssuerStep>> {
    let mut status = seen.status.cloned().unwrap_or_default();
    let is_known = status.acme.as_ref().is_some_and(|former| former.uri.as_deref() == Some(&registration.uri));
    status.acme = Some(AcmeIssuerStatus {
        uri: Some(registration.uri.clone()),
        last_registered_email: Some(registration.email.clone()).filter(|email| !email.is_empty()),
        last_private_key_hash: Some(hash.to_owned()),
    });
    let text = notice::with_notice("The ACME account was registered with the ACME server", seen, acme);
    set_ready(&mut status, seen, "True", reason::ACME_ACCOUNT_REGISTERED, &text, now);
    if seen.status == Some(&status) {
        return None;
    }
    let mut steps = vec![IssuerStep::WriteStatus(Box::new(status))];
    if let Some(terms) = registration.agreed_terms.as_ref().filter(|_| !is_known) {
        let text = format!("The account was made, and with it the CA's terms of service were agreed to: {terms}");
        steps.push(IssuerStep::Publish(Note::normal(event::AGREED_TO_TERMS, text)));
    }
    Some(Decision::act(steps))
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
    Some(not_ready(seen, reason_of(&trouble.message), &text, Decision::rest_until(next_try), now))
}

fn reason_of(message: &str) -> &'static str {
    match message {
        text if text.starts_with(doing::VERIFY) => reason::ERR_VERIFY_ACME_ACCOUNT,
        text if text.starts_with(doing::UPDATE) => reason::ERR_UPDATE_ACME_ACCOUNT,
        _ => reason::ERR_REGISTER_ACME_ACCOUNT,
    }
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
