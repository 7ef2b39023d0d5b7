//! An account that the CA refused, told by the issuer's status: where the work is divided, whoever was refused need not be the one
//! who works on the issuer.

use jiff::Timestamp;

use crate::api::{
    Condition, IssuerStatus, find_condition,
    names::{condition, reason},
    set_condition,
};

const TEXT: &str = "The ACME server refused a request in the name of the ACME account; the account is looked at again";

/// The status with the doubt.
pub fn told(status: &IssuerStatus, now: Timestamp) -> IssuerStatus {
    let mut told = status.clone();
    let generation = find_condition(&status.conditions, condition::READY).and_then(|ready| ready.observed_generation);
    let ready = Condition {
        type_: condition::READY.to_owned(),
        status: "False".to_owned(),
        reason: Some(reason::ERR_VERIFY_ACME_ACCOUNT.to_owned()),
        message: Some(TEXT.to_owned()),
        observed_generation: generation,
        ..Condition::default()
    };
    set_condition(&mut told.conditions, ready, now);
    told
}

/// Since when the status tells of a doubt, if it does.
pub fn told_since(status: Option<&IssuerStatus>) -> Option<Timestamp> {
    let ready = find_condition(&status?.conditions, condition::READY)?;
    let is_doubt = !ready.is_true() && ready.message.as_deref() == Some(TEXT);
    ready.last_transition_time.as_ref().filter(|_| is_doubt).map(|time| time.0)
}
