//! What the self-check found, in words that stay the same from round to round.

use std::time::Duration;

use thiserror::Error;

/// What a round found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// The solver Pod itself, asked by its address.
    pub pod: LayerResult,
    /// The name, asked as the CA does it.
    pub public: LayerResult,
}

impl CheckReport {
    /// Whether the CA will find the key, as far as can be told from here.
    pub fn passed(&self) -> bool {
        self.public == LayerResult::Passed
    }

    /// What is wrong, in one sentence that also says how far the way is clear. `None` if it passed.
    pub fn failure(&self) -> Option<String> {
        let LayerResult::Failed(public) = &self.public else { return None };
        Some(match &self.pod {
            LayerResult::NotAsked => public.to_string(),
            LayerResult::Passed => format!("{public}; the solver itself answers with the key"),
            LayerResult::Failed(pod) => format!("{public}; {pod}"),
        })
    }
}

/// What a layer found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerResult {
    /// There is nothing to ask yet.
    NotAsked,
    /// The key came back.
    Passed,
    /// Something else happened.
    Failed(CheckError),
}

/// Who was asked, and what happened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place} {problem}")]
pub struct CheckError {
    /// The URL that was asked first and the origin of the last redirect, or the solver pod.
    pub place: String,
    pub problem: Problem,
}

/// What came back instead of the key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    #[error("cannot be asked: the name or the token has characters that do not belong there")]
    Malformed,
    #[error("cannot be asked: the name does not resolve")]
    NameNotFound,
    #[error("cannot be asked: the name servers gave no answer for the name")]
    LookupFailed,
    #[error("refused the connection")]
    Refused,
    #[error("cannot be reached: there is no route to its address")]
    NoRoute,
    #[error("did not answer within {0:?}")]
    TimedOut(Duration),
    #[error("closed the connection before it had answered")]
    Closed,
    #[error("did not complete the TLS handshake")]
    Tls,
    #[error("did not answer in HTTP")]
    NotHttp,
    #[error("could not be asked")]
    Other,
    #[error("answered {0} where the key was expected")]
    Status(u16),
    #[error("answered 200, but with something other than the key")]
    OtherBody,
    #[error("redirects without saying where to")]
    RedirectNowhere,
    #[error("redirects to where CAs do not follow: only http on port 80 and https on port 443 are allowed")]
    RedirectElsewhere,
    #[error("redirects in a circle")]
    RedirectLoop,
    #[error("redirects more than {0} times")]
    TooManyRedirects(usize),
}
