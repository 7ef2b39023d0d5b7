//! The self-check: asks what the CA will ask, before the CA does.
//!
//! One call is one bounded round: it does not repeat. What it reports has no changing parts, so that an equal outcome gives an
//! equal status, and it never repeats what a server said: with a name that leads to an inner service the report would otherwise
//! read that service out to whoever may create Challenges.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::future::{Either, join_all, select};
use reqwest::{Client, Url};
use tokio::time::timeout;

use super::ask::{ask_directly, follow, place};
pub use super::client::{ClientError, Clients};
use super::proxied::{ask_behind_line, may_want_line};
pub use super::report::{CheckError, CheckReport, LayerResult, Problem};
pub use super::target::{CheckTarget, TIMEOUT};
use crate::measure::{self, span::Span};

/// So many places within the cluster are asked.
const MAX_WAYS: usize = 4;
/// A name with more addresses is not told with them: they may change from look to look.
const MAX_TOLD: usize = 2;

/// A place within the cluster that leads to the solver as the public name does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    pub address: IpAddr,
    pub port: u16,
    /// What messages call it.
    pub name: String,
}

/// Why nothing leads to the solver within the cluster, as the objects on the way tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoWay {
    /// Which object, as messages call it.
    pub place: String,
    /// What is wrong with it, as the rest of the sentence.
    pub why: String,
}

/// The places within the cluster, the best first; none if none is known.
pub type Ways = Result<Vec<Way>, NoWay>;

/// Asks the solver and the public name, both at once. If the solver answers, and the name does not or takes its time, `ways`
/// is waited for, and what it gives is asked too. Nothing else matters once the name passes.
pub async fn check(clients: &Clients, target: &CheckTarget, ways: impl Future<Output = Ways>) -> CheckReport {
    let head_start = target.timeout / 5;
    let mut public = pin!(measured("public", check_public(clients, target)));
    let solver = pin!(measured("solver", check_solver(&clients.any, target)));
    let (solver, early) = match select(public.as_mut(), solver).await {
        Either::Left((LayerResult::Passed, _)) => (LayerResult::NotAsked, Some(LayerResult::Passed)),
        Either::Left((public, solver)) => (solver.await, Some(public)),
        Either::Right((solver, public)) => (solver, timeout(head_start, public).await.ok()),
    };
    if early == Some(LayerResult::Passed) {
        return CheckReport { solver, inside: LayerResult::NotAsked, public: LayerResult::Passed };
    }
    let answers = solver == LayerResult::Passed;
    let inside = pin!(async move {
        if answers {
            // What takes its time to be found is not asked.
            let ways = timeout(target.timeout, ways).await.unwrap_or(Ok(Vec::new()));
            measured("inside", check_inside(clients, target, ways)).await
        } else {
            LayerResult::NotAsked
        }
    });
    let (inside, public) = match early {
        Some(public) => (inside.await, public),
        None => match select(inside, public).await {
            // That is enough to know: whoever could not be reached from here so far is not waited for.
            Either::Left((LayerResult::Passed, _)) => (LayerResult::Passed, unanswered(target, head_start)),
            Either::Left((inside, public)) => (inside, public.await),
            Either::Right((LayerResult::Passed, _)) => (LayerResult::NotAsked, LayerResult::Passed),
            Either::Right((public, inside)) => (inside.await, public),
        },
    };
    CheckReport { solver, inside, public }
}

async fn measured(layer: &'static str, checking: impl Future<Output = LayerResult>) -> LayerResult {
    let began = Instant::now();
    let span = Span::part("self-check HTTP-01").with("certwright.layer", || layer.to_owned());
    let result = span.around(checking).await;
    if let LayerResult::Failed(failure) = &result {
        // Where that was is in the object's status; the URL holds the token.
        span.failed(|| failure.problem.to_string());
    }
    if result != LayerResult::NotAsked {
        measure::self_check("HTTP-01", layer, result == LayerResult::Passed, began.elapsed());
    }
    result
}

async fn check_solver(client: &Client, target: &CheckTarget) -> LayerResult {
    let Some(address) = target.solver_address else { return LayerResult::NotAsked };
    let outcome = match (target.url_at(&address.to_string()), target.host()) {
        (Some(url), Some(host)) => {
            let headers = target.host_header.headers_for(&host);
            bounded(target, ask_directly(client, target, &url, headers)).await
        }
        _ => Err(Problem::Malformed),
    };
    // The address changes with every Pod, so it is not said.
    layer(outcome, || target.solver.to_owned())
}

/// One way that leads there is enough: what another shows is told if none does.
async fn check_inside(clients: &Clients, target: &CheckTarget, ways: Ways) -> LayerResult {
    let ways = match ways {
        Ok(ways) => ways,
        Err(NoWay { place, why }) => return layer(Err(Problem::NoWay(why)), || format!("within the cluster {place}")),
    };
    let asked = ways.into_iter().take(MAX_WAYS).map(async |way| {
        let outcome = bounded(target, ask_way(clients, target, &way)).await;
        layer(outcome, || format!("within the cluster {}", way.name))
    });
    let mut results = join_all(asked).await;
    match results.iter().position(|result| *result == LayerResult::Passed) {
        Some(passed) => results.swap_remove(passed),
        None => results.into_iter().next().unwrap_or(LayerResult::NotAsked),
    }
}

async fn ask_way(clients: &Clients, target: &CheckTarget, way: &Way) -> Result<(), Problem> {
    match ask_way_plainly(clients, target, way).await {
        Err(problem) if may_want_line(&problem) => {
            ask_behind_line(target, SocketAddr::new(way.address, way.port)).await.map_err(|_| problem)
        }
        outcome => outcome,
    }
}

async fn ask_way_plainly(clients: &Clients, target: &CheckTarget, way: &Way) -> Result<(), Problem> {
    let (url, host) = target.public_url().zip(target.host()).ok_or(Problem::Malformed)?;
    let first = clients.pinned(&host, SocketAddr::new(way.address, way.port)).map_err(|_| Problem::Other)?;
    if target.address().is_none() {
        // Whoever redirects means the ports of the world.
        let others = clients.pinned(&host, SocketAddr::new(way.address, 0)).map_err(|_| Problem::Other)?;
        return follow(&first, &others, target, &mut vec![url]).await;
    }
    // A client cannot be told to look for an address elsewhere.
    let place = SocketAddr::new(way.address, way.port).to_string();
    let url = target.url_at(&place).ok_or(Problem::Malformed)?;
    ask_directly(&first, target, &url, super::host::HostHeader::Host.headers_for(&host)).await
}

async fn check_public(clients: &Clients, target: &CheckTarget) -> LayerResult {
    let Some(url) = target.public_url() else {
        return layer(Err(Problem::Malformed), || "the challenge's URL".to_owned());
    };
    if target.address().is_some() {
        return asked(clients, &clients.any, target, &url)
            .await
            .map_or_else(LayerResult::Failed, |()| LayerResult::Passed);
    }
    let (ipv6, ipv4) = by_family(clients, target, &url).await;
    match both(ipv6, ipv4) {
        Ok(()) => LayerResult::Passed,
        Err(error) => {
            let addresses = addresses_told(clients, target).await;
            LayerResult::Failed(CheckError { addresses, ..error })
        }
    }
}

/// Both families at once; as soon as one passes, the other gets only a moment more.
async fn by_family(clients: &Clients, target: &CheckTarget, url: &Url) -> (Outcome, Outcome) {
    let ipv6 = pin!(asked(clients, &clients.ipv6, target, url));
    let ipv4 = pin!(asked(clients, &clients.ipv4, target, url));
    let moment = target.timeout / 5;
    let late = || Err(error(url.to_string(), Problem::NoConnection(moment)));
    match select(ipv6, ipv4).await {
        // CAs prefer it, so the other one does not matter any more.
        Either::Left((Ok(()), _)) => (Ok(()), late()),
        Either::Left((ipv6, ipv4)) => (ipv6, ipv4.await),
        Either::Right((Ok(()), ipv6)) => (timeout(moment, ipv6).await.unwrap_or_else(|_| late()), Ok(())),
        Either::Right((ipv4, ipv6)) => (ipv6.await, ipv4),
    }
}

type Outcome = Result<(), CheckError>;

/// As Let's Encrypt does it: IPv6 if the name has it, and IPv4 if there is no connection over IPv6 at all.
fn both(ipv6: Outcome, ipv4: Outcome) -> Outcome {
    let Err(ipv6) = ipv6 else { return Ok(()) };
    if matches!(ipv6.problem, Problem::NameNotFound | Problem::LookupFailed) {
        return match ipv4 {
            Err(ipv4) if ipv4.problem == Problem::NameNotFound => Err(ipv6),
            ipv4 => ipv4,
        };
    }
    let elsewhere = match ipv4 {
        Ok(()) if ipv6.problem.is_without_connection() => {
            tracing::debug!(problem = %ipv6.problem, "going on without the IPv6 address of the name");
            return Ok(());
        }
        Ok(()) => " over IPv6; over IPv4 the key comes back".to_owned(),
        Err(ipv4) if ipv4.problem == Problem::NameNotFound => String::new(),
        Err(ipv4) if ipv4.problem == ipv6.problem => " over IPv6 and IPv4".to_owned(),
        Err(ipv4) => format!(" over IPv6; over IPv4 it {}", ipv4.problem),
    };
    Err(CheckError { elsewhere, ..ipv6 })
}

async fn asked(clients: &Clients, client: &Client, target: &CheckTarget, url: &Url) -> Outcome {
    let mut trail = vec![url.clone()];
    let outcome = bounded(target, follow(client, &clients.any, target, &mut trail)).await;
    outcome.map_err(|problem| match problem {
        // That a name has no addresses of a family is no fault of it; that of a redirect is.
        Problem::NameNotFound if trail.len() > 1 => error(place(&trail), Problem::RedirectNotFound),
        problem => error(place(&trail), problem),
    })
}

async fn addresses_told(clients: &Clients, target: &CheckTarget) -> Vec<IpAddr> {
    let mut found = timeout(target.timeout, clients.addresses(&target.domain)).await.unwrap_or_default();
    found.sort_by_key(ToString::to_string);
    if found.len() > MAX_TOLD { Vec::new() } else { found }
}

fn unanswered(target: &CheckTarget, within: Duration) -> LayerResult {
    let url = target.public_url().map(|url| url.to_string()).unwrap_or_default();
    LayerResult::Failed(error(url, Problem::TimedOut(within)))
}

async fn bounded(target: &CheckTarget, asking: impl Future<Output = Result<(), Problem>>) -> Result<(), Problem> {
    timeout(target.timeout, asking).await.unwrap_or(Err(Problem::TimedOut(target.timeout)))
}

fn layer(outcome: Result<(), Problem>, place: impl FnOnce() -> String) -> LayerResult {
    match outcome {
        Ok(()) => LayerResult::Passed,
        Err(problem) => LayerResult::Failed(error(place(), problem)),
    }
}

fn error(place: String, problem: Problem) -> CheckError {
    CheckError { place, problem, elsewhere: String::new(), addresses: Vec::new() }
}

#[cfg(test)]
mod tests;
