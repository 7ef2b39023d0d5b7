//! Why a step did not succeed, in terms of what to do next.

use std::time::Duration;

use jiff::SignedDuration;

use super::limits::hold_of;
use crate::{
    acme,
    cluster::ApiError,
    decide::{
        TroubleClass,
        hold::Hold,
        refusal::{self, Cure, UNTIL_SPEC_CHANGES},
    },
};

/// What its owner has to put right about an account is looked at again after this, or when the issuer changes.
const ACCOUNT_WAIT: SignedDuration = SignedDuration::from_hours(1);

/// See the module's description.
#[derive(Debug)]
pub enum StepError {
    /// The CA does not know the account any more, or does not let it be used; says what was tried.
    Account(String),
    /// Something is under way in this process that wakes the object when it is done.
    Awaiting,
    /// A write to the API server; see [`ApiError`].
    Write(ApiError),
    /// Anything outside of the cluster.
    Trouble { class: TroubleClass, message: String, retry_after: Option<SignedDuration>, hold: Option<Hold> },
}

impl StepError {
    pub fn is_final(message: impl Into<String>) -> Self {
        Self::of_class(TroubleClass::Final, message)
    }

    pub fn transient(message: impl Into<String>) -> Self {
        Self::of_class(TroubleClass::Transient, message)
    }

    pub fn of_class(class: TroubleClass, message: impl Into<String>) -> Self {
        Self::Trouble { class, message: message.into(), retry_after: None, hold: None }
    }

    /// The same, but final if `class` is: it has been waited for long enough.
    pub fn at_most(self, class: TroubleClass) -> Self {
        match (self, class) {
            (Self::Trouble { message, .. }, TroubleClass::Final) => Self::is_final(message),
            (other, _) => other,
        }
    }

    /// `doing` says what was tried, such as "Failed to create Order".
    pub fn from_acme(doing: &str, error: &acme::Error) -> Self {
        let is_about_account =
            |problem: &acme::Problem| problem.account_does_not_exist() || problem.account_is_refused();
        if error.problem().is_some_and(is_about_account) {
            return Self::Account(format!("{doing}: {error}"));
        }
        let class = if error.is_transient() { TroubleClass::Transient } else { TroubleClass::Final };
        let message = format!("{doing}: {error}");
        match error {
            acme::Error::Limited(closed) => {
                Self::Trouble { class, message, retry_after: None, hold: Some(hold_of(closed)) }
            }
            _ => Self::Trouble { class, message, retry_after: error.retry_after().map(signed), hold: None },
        }
    }

    /// One word for metrics: what helps. None for what is no failure.
    pub fn class(&self) -> Option<&'static str> {
        match self {
            Self::Awaiting | Self::Write(ApiError::Conflict { .. } | ApiError::Gone { .. }) => None,
            Self::Account(_) => Some("account"),
            Self::Write(error) if error.missing_right().is_some() => Some("right"),
            Self::Write(_) => Some("write"),
            Self::Trouble { hold: Some(_), .. } => Some("limited"),
            Self::Trouble { class: TroubleClass::Final, .. } => Some("final"),
            Self::Trouble { class: TroubleClass::Transient, .. } => Some("transient"),
        }
    }

    /// What was tried and what came back.
    pub fn message(&self) -> String {
        match self {
            Self::Account(message) | Self::Trouble { message, .. } => message.clone(),
            Self::Awaiting => "awaiting an outcome".to_owned(),
            Self::Write(error) => error.to_string(),
        }
    }

    /// For whoever looks after the account: what is wrong with it is no news, but the trouble itself.
    pub fn for_issuer(self) -> Self {
        match self {
            Self::Account(message) => Self::is_final(message),
            other => other,
        }
    }

    /// The same for a step of an Order: what only another spec can cure says so, and what the owner of the account can
    /// cure is waited for.
    pub fn from_acme_for_order(doing: &str, error: &acme::Error) -> Self {
        match (Self::from_acme(doing, error), error.problem().map(cure_of)) {
            (Self::Trouble { class: TroubleClass::Final, message, .. }, Some(Cure::Spec)) => {
                Self::is_final(format!("{message}{UNTIL_SPEC_CHANGES}"))
            }
            (Self::Trouble { class: TroubleClass::Final, message, .. }, Some(Cure::Account)) => {
                Self::Trouble { class: TroubleClass::Transient, message, retry_after: Some(ACCOUNT_WAIT), hold: None }
            }
            (other, _) => other,
        }
    }
}

fn cure_of(problem: &acme::Problem) -> Cure {
    let parts = problem.subproblems.iter().filter_map(acme::Subproblem::name);
    refusal::cure_of_all(problem.name().unwrap_or_default(), parts)
}

impl From<ApiError> for StepError {
    fn from(error: ApiError) -> Self {
        Self::Write(error)
    }
}

/// A duration as `jiff` has it; one beyond its range is as good as its longest.
pub fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What an Order makes of a refusal of this ACME error type: its class, its wait, and its message.
    fn told(kind: &str) -> (TroubleClass, Option<SignedDuration>, String) {
        let body = json!({"type": format!("urn:ietf:params:acme:error:{kind}"), "detail": "no"});
        let problem = Box::new(serde_json::from_value(body).unwrap());
        let error = acme::Error::Problem { problem, status: 403, retry_after: None };
        match StepError::from_acme_for_order("Failed to create Order", &error) {
            StepError::Trouble { class, message, retry_after, hold: None } => (class, retry_after, message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_refusal_says_what_it_takes() {
        let (class, _, message) = told("rejectedIdentifier");
        assert!(class == TroubleClass::Final && message.ends_with(UNTIL_SPEC_CHANGES), "{message}");
        let (class, _, message) = told("caa");
        assert!(class == TroubleClass::Final && message.ends_with("caa: no"), "{message}");
        let (class, wait, message) = told("userActionRequired");
        assert_eq!((class, wait), (TroubleClass::Transient, Some(ACCOUNT_WAIT)));
        assert!(message.ends_with("userActionRequired: no"), "{message}");
    }
}
