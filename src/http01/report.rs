//! What the self-check found, in words that stay the same from round to round.

use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

/// What a round found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// The solver itself, asked by its address.
    pub solver: LayerResult,
    /// The Ingress or Gateway that leads to it, asked within the cluster for the name.
    pub inside: LayerResult,
    /// The name, asked as the CA does it.
    pub public: LayerResult,
}

impl CheckReport {
    /// Whether the CA finds the key, as far as the public way tells.
    pub fn passed(&self) -> bool {
        self.public == LayerResult::Passed
    }

    /// What was asked and what came back, in one sentence that also says how far the way is clear. `None` if it passed.
    pub fn failure(&self) -> Option<String> {
        let LayerResult::Failed(public) = &self.public else { return None };
        let mut parts = vec![public.to_string()];
        match &self.inside {
            LayerResult::NotAsked => {}
            LayerResult::Passed => parts.push("within the cluster the key comes back for this name".to_owned()),
            LayerResult::Failed(inside) => parts.push(inside.to_string()),
        }
        match &self.solver {
            LayerResult::NotAsked => {}
            LayerResult::Passed => parts.push("the solver itself answers with the key".to_owned()),
            LayerResult::Failed(solver) => parts.push(solver.to_string()),
        }
        Some(parts.join("; "))
    }
}

/// What a layer found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerResult {
    /// There is nothing to ask, or no need to.
    NotAsked,
    /// The key came back.
    Passed,
    /// Something else happened.
    Failed(CheckError),
}

impl LayerResult {
    /// What came back instead of the key.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Failed(error) => Some(&error.problem),
            _ => None,
        }
    }
}

/// Who was asked, and what happened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place} {problem}{elsewhere}{}", led(addresses))]
pub struct CheckError {
    /// The URL that was asked first and the origin of the last redirect, the place within the cluster, or the solver.
    pub place: String,
    pub problem: Problem,
    /// What came of the addresses of the other family, as the end of the sentence; empty if there are none.
    pub elsewhere: String,
    /// Where the name leads, as seen from here, in order; none if that is not to be told.
    pub addresses: Vec<IpAddr>,
}

/// With two views of the DNS that is not where the CA goes.
fn led(addresses: &[IpAddr]) -> String {
    let told: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    if told.is_empty() { String::new() } else { format!(" (the name leads to {})", told.join(" and ")) }
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
    #[error("did not take the connection within {0:?}")]
    NoConnection(Duration),
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
    #[error("redirects to a bare IP address, where CAs do not follow")]
    RedirectToAddress,
    #[error("cannot be asked: that name does not resolve")]
    RedirectNotFound,
    #[error("redirects in a circle")]
    RedirectLoop,
    #[error("redirects more than {0} times")]
    TooManyRedirects(usize),
    /// The objects on the way tell that it leads nowhere.
    #[error("{0}")]
    NoWay(String),
}

impl Problem {
    /// Whether there was no connection at all; then CAs try the name's IPv4 address after its IPv6 address.
    pub fn is_without_connection(&self) -> bool {
        matches!(self, Self::Refused | Self::NoRoute | Self::NoConnection(_))
    }

    /// Whether nothing was heard that speaks against the name: the way there is shut from here, and may be open for others.
    pub fn is_out_of_reach(&self) -> bool {
        let is_cut_off = matches!(self, Self::LookupFailed | Self::TimedOut(_) | Self::Closed | Self::Other);
        self.is_without_connection() || is_cut_off
    }
}
