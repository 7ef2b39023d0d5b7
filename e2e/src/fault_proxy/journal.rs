//! What went through a proxy, and what can be told from it.

use std::fmt;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::kind::Kind;

/// What arrives so soon after an answer may have been sent before the answer was read: on a machine with eight times the work that it
/// has cores for, such a request was seen 170 ms later. Whoever does not heed a wish asks at any time within it.
const UNDER_WAY: Duration = Duration::from_millis(600);
/// What comes so much too early into a span may have left in time before it.
const BORDER: Duration = Duration::from_millis(100);
/// Timers are no better than this: a request that comes so much too early is not too early.
const TOLERANCE: Duration = Duration::from_millis(20);

/// A request and what came of it.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// When the request was there completely.
    pub received: Instant,
    /// When the answer began, or the connection was cut.
    pub answered: Instant,
    pub method: String,
    pub path: String,
    pub kind: Kind,
    /// The account that signed it (RFC 8555 section 6.2, `kid`).
    pub account: Option<String>,
    /// The nonce that it used up (RFC 8555 section 6.5).
    pub nonce: Option<String>,
    /// The status that the client got; none if the connection was cut.
    pub status: Option<u16>,
    /// What the CA answered, each time that the request reached it.
    pub ca: Vec<u16>,
    /// How long the answer asks to wait.
    pub retry_after: Option<Duration>,
    /// What was done to it.
    pub fault: Option<String>,
}

impl fmt::Display for Exchange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status.map_or("cut".to_owned(), |status| status.to_string());
        write!(formatter, "{} {} -> {status}", self.method, self.kind)?;
        if let Some(wait) = self.retry_after {
            write!(formatter, ", Retry-After {} s", wait.as_secs())?;
        }
        if let Some(fault) = &self.fault {
            write!(formatter, " ({fault}; the CA answered {:?})", self.ca)?;
        }
        Ok(())
    }
}

/// What a JWS says of itself: the account and the nonce.
pub(super) fn account_and_nonce(body: &[u8]) -> (Option<String>, Option<String>) {
    let header = || {
        let jws: Value = serde_json::from_slice(body).ok()?;
        let header = URL_SAFE_NO_PAD.decode(jws["protected"].as_str()?).ok()?;
        serde_json::from_slice::<Value>(&header).ok()
    };
    let header = header().unwrap_or_default();
    let word = |name: &str| header[name].as_str().map(str::to_owned);
    (word("kid"), word("nonce"))
}

/// How many orders the CA made.
pub fn orders_made(journal: &[Exchange]) -> usize {
    let of = |exchange: &Exchange| exchange.ca.iter().filter(|&&status| status == 201).count();
    journal.iter().filter(|exchange| exchange.kind == Kind::NewOrder).map(of).sum()
}

/// The most orders that the CA made within any span of this length.
pub fn most_orders_within(journal: &[Exchange], window: Duration) -> usize {
    let is_made = |exchange: &&Exchange| exchange.kind == Kind::NewOrder && exchange.ca.contains(&201);
    let mut times: Vec<Instant> = journal.iter().filter(is_made).map(|exchange| exchange.received).collect();
    times.sort();
    let within = |first: &Instant| {
        let end = *first + window.saturating_sub(BORDER);
        times.iter().filter(|time| (first..&end).contains(time)).count()
    };
    times.iter().map(within).max().unwrap_or_default()
}

/// Requests that came before a Retry-After allowed them, each with the answer that forbade it. A 503 speaks for the whole
/// CA, a 429 for the account; what was under way already when it was said is no offence.
pub fn too_early(journal: &[Exchange]) -> Vec<(&Exchange, &Exchange)> {
    let forbids = |earlier: &Exchange, later: &Exchange| {
        let Some(wait) = earlier.retry_after else { return false };
        let is_meant = match earlier.status {
            Some(503) => true,
            Some(429) => earlier.account.is_some() && earlier.account == later.account,
            _ => false,
        };
        is_meant
            && later.received > earlier.answered + UNDER_WAY
            && later.received + TOLERANCE < earlier.answered + wait
    };
    let earlier =
        |later| journal.iter().filter(move |earlier| forbids(earlier, later)).map(move |found| (found, later));
    journal.iter().flat_map(earlier).collect()
}

/// From the first request to the last answer.
pub fn span(journal: &[Exchange]) -> Option<Duration> {
    let first = journal.iter().map(|exchange| exchange.received).min()?;
    let last = journal.iter().map(|exchange| exchange.answered).max()?;
    Some(last.duration_since(first))
}

/// The time within which at least one request was with the CA.
pub fn time_at_the_ca(journal: &[Exchange]) -> Duration {
    let mut spans: Vec<(Instant, Instant)> =
        journal.iter().map(|exchange| (exchange.received, exchange.answered)).collect();
    spans.sort();
    let (mut total, mut end) = (Duration::ZERO, None::<Instant>);
    for (from, to) in spans {
        let from = end.map_or(from, |end| end.max(from));
        total += to.saturating_duration_since(from);
        end = Some(end.map_or(to, |end| end.max(to)));
    }
    total
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn exchange(start: Instant, received: u64, answered: u64, status: u16, account: &str) -> Exchange {
        Exchange {
            received: start + Duration::from_millis(received),
            answered: start + Duration::from_millis(answered),
            method: "POST".into(),
            path: "/order-plz".into(),
            kind: Kind::NewOrder,
            account: Some(account.into()),
            nonce: None,
            status: Some(status),
            ca: vec![status],
            retry_after: (status == 429 || status == 503).then_some(Duration::from_secs(1)),
            fault: None,
        }
    }

    #[test]
    fn a_wish_binds_whom_it_is_said_to() {
        let start = Instant::now();
        let early = |status, other| {
            let journal = [exchange(start, 0, 10, status, "a"), exchange(start, 700, 710, 201, other)];
            too_early(&journal).len()
        };
        assert_eq!((early(503, "a"), early(503, "b")), (1, 1));
        assert_eq!((early(429, "a"), early(429, "b")), (1, 0));
        assert_eq!(early(500, "a"), 0);
    }

    #[test]
    fn what_waited_or_was_under_way_is_in_order() {
        let start = Instant::now();
        let journal = [
            exchange(start, 0, 100, 503, "a"),
            exchange(start, 50, 200, 201, "a"),
            exchange(start, 1100, 1200, 201, "a"),
        ];
        assert!(too_early(&journal).is_empty());
        assert_eq!(orders_made(&journal), 2);
    }

    #[test]
    fn orders_are_counted_in_the_fullest_window() {
        let start = Instant::now();
        let journal = [0, 1000, 1500, 1800, 4000].map(|at| exchange(start, at, at + 10, 201, "a"));
        assert_eq!(most_orders_within(&journal, Duration::from_secs(1)), 3);
        assert_eq!(most_orders_within(&journal, Duration::from_secs(10)), 5);
        assert_eq!(most_orders_within(&[], Duration::from_secs(10)), 0);
    }

    #[test]
    fn time_at_the_ca_is_counted_once() {
        let start = Instant::now();
        let journal = [(0, 100), (50, 80), (90, 150), (300, 310)].map(|(from, to)| exchange(start, from, to, 200, "a"));
        assert_eq!(time_at_the_ca(&journal), Duration::from_millis(160));
        assert_eq!(span(&journal), Some(Duration::from_millis(310)));
    }

    #[test]
    fn a_request_tells_who_signed_it() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"https://ca/1","nonce":"n1"}"#);
        let body = format!(r#"{{"protected":"{header}","payload":"","signature":""}}"#);
        assert_eq!(account_and_nonce(body.as_bytes()), (Some("https://ca/1".into()), Some("n1".into())));
        assert_eq!(account_and_nonce(b""), (None, None));
    }
}
