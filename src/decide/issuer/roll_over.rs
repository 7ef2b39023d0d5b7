//! Giving an account another key (RFC 8555 section 7.3.5).
//!
//! The new key lies in the Secret, beside the present one, before the CA is asked. So whoever comes after a crash can ask
//! the CA which of the two it knows, and goes on from there.

use jiff::Timestamp;

use super::{IssuerStep, SeenIssuer};
use crate::{
    api::names::event,
    decide::{Decision, Note, Trouble},
    pki::KeyAlgorithm,
};

/// How far a change of the account key is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RollOver {
    /// The value of the annotation on the issuer that asks for it.
    pub wish: Option<String>,
    /// The wish that was last granted or refused, as the Secret has it.
    pub last: Option<String>,
    /// Whether the Secret holds a next key.
    pub has_next: bool,
    /// What came of asking the CA, as far as this process has asked.
    pub outcome: Option<Outcome>,
}

/// What came of asking the CA to know the account by the next key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It does, and by no other.
    Changed,
    /// It does not, and will not; says why.
    Refused(String),
}

impl RollOver {
    fn is_wished(&self) -> bool {
        self.wish.is_some() && self.wish != self.last
    }
}

/// The entry of the account key's Secret that holds the next key.
pub fn next_key_entry(entry: &str) -> String {
    format!("next-{entry}")
}

/// The next key is of the same kind as the present one. Odd sizes can be read but not made.
pub fn next_key_algorithm(present: KeyAlgorithm) -> KeyAlgorithm {
    match present {
        KeyAlgorithm::Rsa(bits @ (2048 | 3072 | 4096)) => KeyAlgorithm::Rsa(bits),
        KeyAlgorithm::Rsa(..=2048) => KeyAlgorithm::Rsa(2048),
        KeyAlgorithm::Rsa(..=3072) => KeyAlgorithm::Rsa(3072),
        KeyAlgorithm::Rsa(_) => KeyAlgorithm::Rsa(4096),
        other => other,
    }
}

/// A change that was begun is brought to its end before anything else is asked: until then it is not known by which key
/// the CA knows the account.
pub(super) fn finish(seen: &SeenIssuer<'_>, now: Timestamp) -> Option<Decision<IssuerStep>> {
    let roll_over = seen.roll_over.filter(|roll_over| roll_over.has_next)?;
    match &roll_over.outcome {
        Some(Outcome::Changed) => Some(Decision::act(vec![IssuerStep::AdoptNextKey])),
        Some(Outcome::Refused(why)) => {
            let text = format!("The account keeps its key: {why}");
            let note = Note::warning(event::ACCOUNT_KEY_NOT_CHANGED, text);
            Some(Decision::act(vec![IssuerStep::DropNextKey, IssuerStep::Publish(note)]))
        }
        None => Some(unless_troubled(seen, IssuerStep::ChangeKey, now)),
    }
}

/// The first step of a change that is wished for.
pub(super) fn begin(seen: &SeenIssuer<'_>, now: Timestamp) -> Option<Decision<IssuerStep>> {
    seen.roll_over.filter(|roll_over| roll_over.is_wished() && !roll_over.has_next)?;
    Some(unless_troubled(seen, IssuerStep::CreateNextKey, now))
}

/// The account can be used meanwhile, so the condition does not tell of it.
fn unless_troubled(seen: &SeenIssuer<'_>, step: IssuerStep, now: Timestamp) -> Decision<IssuerStep> {
    let next_try = seen.trouble.map(Trouble::next_try).filter(|next_try| now < *next_try);
    next_try.map_or_else(|| Decision::act(vec![step]), Decision::rest_until)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Curve;

    #[test]
    fn the_next_key_is_of_the_same_kind() {
        let p384 = KeyAlgorithm::Ecdsa(Curve::P384);
        assert_eq!(next_key_algorithm(p384), p384);
        let bits = [1024, 2048, 2432, 3072, 4096, 8192].map(|bits| next_key_algorithm(KeyAlgorithm::Rsa(bits)));
        assert_eq!(bits, [2048, 2048, 3072, 3072, 4096, 4096].map(KeyAlgorithm::Rsa));
    }
}
