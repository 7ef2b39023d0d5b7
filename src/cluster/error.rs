//! What can go wrong in a call to the API server.

use std::{borrow::Cow, error::Error, future::Future, time::Duration};

use crate::{
    api::MissingRight,
    measure::{
        self,
        span::{self, Span},
    },
};

/// No single call takes longer; the object is looked at again then.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Why nothing can be made.
const NOWHERE: &str = "its namespace does not exist, or the cluster does not know its kind";

/// Why a call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Somebody else wrote in between, or an object of this name is there already. The store holds what is there now.
    #[error("{what}: changed by somebody else in between")]
    Conflict { what: String },
    /// The object is gone.
    #[error("{what}: it does not exist any more")]
    Gone { what: String },
    /// The API server refuses: trying the same again gives the same.
    #[error("{what}: refused by the API server: {message}")]
    Refused {
        what: String,
        message: String,
        /// The HTTP status.
        code: u16,
    },
    /// The API server refuses what was to be told in an object's status, so that nothing can be told there.
    #[error("{what}: refused by the API server: {message}")]
    StatusRefused { what: String, message: String },
    /// The API server cannot be reached or is overloaded.
    #[error("{what}: {message}")]
    Unavailable { what: String, message: String },
}

impl ApiError {
    fn from_kube(what: String, error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else {
            return Self::Unavailable { what, message: error.to_string() };
        };
        match status.code {
            404 => Self::Gone { what },
            409 => Self::Conflict { what },
            408 | 429 | 500.. => Self::Unavailable { what, message: status.message },
            code => Self::Refused { what, message: status.message, code },
        }
    }

    /// The same for a write of an object's status.
    pub(super) fn of_status(self) -> Self {
        match self {
            Self::Refused { what, message, .. } => Self::StatusRefused { what, message },
            other => other,
        }
    }

    /// The same for a write that makes an object, which cannot be gone: something that it needs is not there.
    pub(super) fn of_creation(self) -> Self {
        match self {
            Self::Gone { what } => Self::Refused { what, message: NOWHERE.to_owned(), code: 404 },
            other => other,
        }
    }

    /// The right that was missing, if that is why.
    pub fn missing_right(&self) -> Option<MissingRight> {
        match self {
            Self::Refused { message, .. } | Self::StatusRefused { message, .. } => MissingRight::of(message),
            _ => None,
        }
    }

    fn timeout(what: String, limit: Duration) -> Self {
        Self::Unavailable { what, message: format!("no answer from the API server within {} s", limit.as_secs_f32()) }
    }
}

/// Makes a call, for a limited time. `what` says what it does, for messages.
pub(super) fn limited<T>(
    what: String,
    call: impl Future<Output = kube::Result<T>>,
) -> impl Future<Output = Result<T, ApiError>> {
    limited_to(TIMEOUT, what, call)
}

/// [`limited`] to another time.
pub(super) async fn limited_to<T>(
    limit: Duration,
    what: String,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, ApiError> {
    let span = Span::call(|| without_name(&what)).with("certwright.call", || what.clone());
    let outcome = match span.around(tokio::time::timeout(limit, call)).await {
        Ok(answer) => answer.map_err(|error| ApiError::from_kube(what, error)),
        Err(_) => Err(ApiError::timeout(what, limit)),
    };
    if outcome.is_err() {
        span.failed(|| word(&outcome).to_owned());
    }
    outcome
}

/// As [`limited`], for a write: it is counted.
pub(super) fn written<T>(
    (kind, verb): (Cow<'_, str>, &'static str),
    what: String,
    call: impl Future<Output = kube::Result<T>>,
) -> impl Future<Output = Result<T, ApiError>> {
    // It would stand several times in the future of whoever writes.
    let call = Box::pin(call);
    async move {
        let outcome = limited(what, call).await;
        measure::api_write(kind.into_owned(), verb, word(&outcome));
        span::wrote();
        outcome
    }
}

/// As `create Order` of `create Order shop/web-1`: what many calls have in common.
fn without_name(what: &str) -> String {
    what.rsplit_once(' ').map_or(what, |(common, _)| common).to_owned()
}

/// What became of a call, for metrics.
fn word<T>(outcome: &Result<T, ApiError>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(ApiError::Conflict { .. }) => "conflict",
        Err(ApiError::Gone { .. }) => "gone",
        Err(ApiError::Refused { .. } | ApiError::StatusRefused { .. }) => "refused",
        Err(ApiError::Unavailable { .. }) => "unavailable",
    }
}

/// The message with what caused it, as far as the message does not say it already.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_many_objects_share_a_name() {
        assert_eq!(without_name("write the status of Order shop/web-1"), "write the status of Order");
        assert_eq!(without_name("look"), "look");
    }

    #[test]
    fn answers_of_the_api_server_by_what_to_do_next() {
        let error = |code: u16| {
            let status = kube::core::Status { code, message: "m".into(), ..kube::core::Status::default() };
            ApiError::from_kube("w".into(), kube::Error::Api(Box::new(status)))
        };
        assert!(matches!(error(404), ApiError::Gone { .. }));
        assert!(matches!(error(404).of_creation(), ApiError::Refused { code: 404, .. }), "not made again at once");
        assert!(matches!(error(409).of_creation(), ApiError::Conflict { .. }));
        assert!(matches!(error(409), ApiError::Conflict { .. }));
        assert!(matches!(error(422), ApiError::Refused { code: 422, .. }));
        assert!(matches!(error(403), ApiError::Refused { code: 403, .. }));
        assert!(matches!(error(429), ApiError::Unavailable { .. }));
        assert!(matches!(error(503), ApiError::Unavailable { .. }));
    }
}
