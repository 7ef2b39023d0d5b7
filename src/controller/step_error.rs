//! Why a step did not succeed, in terms of what to do next.

use std::time::Duration;

use jiff::SignedDuration;

use crate::{acme, cluster::ApiError, decide::TroubleClass};

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
    Trouble { class: TroubleClass, message: String, retry_after: Option<SignedDuration> },
}

impl StepError {
    pub fn is_final(message: impl Into<String>) -> Self {
        Self::Trouble { class: TroubleClass::Final, message: message.into(), retry_after: None }
    }

    pub fn transient(message: impl Into<String>) -> Self {
        Self::Trouble { class: TroubleClass::Transient, message: message.into(), retry_after: None }
    }

    /// `doing` says what was tried, such as "Failed to create Order".
    pub fn from_acme(doing: &str, error: &acme::Error) -> Self {
        let is_about_account =
            |problem: &acme::Problem| problem.account_does_not_exist() || problem.account_is_refused();
        if error.problem().is_some_and(is_about_account) {
            return Self::Account(format!("{doing}: {error}"));
        }
        let class = if error.is_transient() { TroubleClass::Transient } else { TroubleClass::Final };
        let retry_after = error.retry_after().map(signed);
        Self::Trouble { class, message: format!("{doing}: {error}"), retry_after }
    }

    /// For whoever looks after the account: what is wrong with it is no news, but the trouble itself.
    pub fn for_issuer(self) -> Self {
        match self {
            Self::Account(message) => Self::is_final(message),
            other => other,
        }
    }
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
