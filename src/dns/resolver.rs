//! Look-ups at a list of recursive nameservers, the whole answer message kept.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use tokio::time::{Instant, timeout};

use super::exchange::{self, Endpoint, Question, Route};
use super::name::{self, NameError};
use super::nameserver::{DNS_PORT, Nameserver, NameserverError, Way};
use super::secure::Secure;

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Asked when the machine names no nameserver.
const PUBLIC_FALLBACK: [Ipv4Addr; 2] = [Ipv4Addr::new(8, 8, 8, 8), Ipv4Addr::new(8, 8, 4, 4)];

/// More nameservers than this are not asked: one look-up must stay bounded.
const MAX_NAMESERVERS: usize = 8;

/// How long one look-up may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For one try at one address over one transport.
    pub attempt: Duration,
    /// For all tries of one look-up together.
    pub total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { attempt: Duration::from_secs(2), total: Duration::from_secs(10) }
    }
}

/// A list of recursive nameservers. Cheap to clone; clones share what was learned about which server answers.
#[derive(Clone, Debug)]
pub struct Resolver {
    servers: Arc<[Nameserver]>,
    limits: Limits,
    /// Only if one of them is asked over TLS or HTTPS.
    secure: Option<Secure>,
    /// The server that answered last is asked first, so that a dead one costs its time-out only once.
    preferred: Arc<AtomicUsize>,
}

/// An answer: NOERROR or NXDOMAIN, with or without records.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Who answered, as configured.
    pub server: String,
    /// All sections: NXDOMAIN still carries the SOA of the zone among the authorities.
    pub message: Message,
}

impl Reply {
    pub fn is_nxdomain(&self) -> bool {
        self.message.metadata.response_code == ResponseCode::NXDomain
    }
}

/// Why a look-up brought no answer: who was asked, and what came back from each.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("cannot look up {record_type} of {name}: {}", join(failures))]
    NoAnswer { name: String, record_type: RecordType, failures: Vec<ServerFailure> },
}

/// What one nameserver did instead of answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFailure {
    pub server: String,
    pub reason: String,
}

impl fmt::Display for ServerFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.server, self.reason)
    }
}

fn join(failures: &[ServerFailure]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Resolver {
    /// The nameservers of `/etc/resolv.conf`; the public 8.8.8.8 and 8.8.4.4 if it names none.
    pub fn system() -> Self {
        let text = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        let mut addresses = parse_resolv_conf(&text);
        if addresses.is_empty() {
            tracing::warn!("{RESOLV_CONF} names no nameserver; asking 8.8.8.8 and 8.8.4.4");
            addresses = PUBLIC_FALLBACK.map(IpAddr::V4).to_vec();
        }
        Self::new(addresses.into_iter().map(|address| Nameserver::new(address, DNS_PORT)).collect())
    }

    /// Nameservers as users write them, see [`nameserver`](super::nameserver).
    ///
    /// # Errors
    ///
    /// The first entry that cannot be read, or an empty list; roots of trust that cannot be read, if one is to be asked over TLS.
    pub fn from_nameservers(texts: &[String]) -> Result<Self, NameserverError> {
        let servers = texts.iter().map(|text| text.parse()).collect::<Result<Vec<Nameserver>, _>>()?;
        if servers.is_empty() {
            return Err(NameserverError::Empty);
        }
        let is_secure = servers.iter().any(Nameserver::is_secure);
        let secure = if is_secure { Some(Secure::of_machine()?) } else { None };
        Ok(Self { secure, ..Self::new(servers) })
    }

    fn new(mut servers: Vec<Nameserver>) -> Self {
        servers.truncate(MAX_NAMESERVERS);
        Self { servers: servers.into(), limits: Limits::default(), secure: None, preferred: Arc::default() }
    }

    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The same with other roots of trust.
    #[must_use]
    pub fn with_secure(self, secure: Secure) -> Self {
        Self { secure: Some(secure), ..self }
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    pub fn nameservers(&self) -> &[Nameserver] {
        &self.servers
    }

    /// The nameservers as text: equal for resolvers that ask the same servers in the same order.
    pub fn identity(&self) -> String {
        self.servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    /// Asks one server after another, recursion desired, until one answers NOERROR or NXDOMAIN.
    ///
    /// Each is asked in its way, plain ones by UDP (TCP after truncation); when none has answered, the silent ones of these are
    /// asked by TCP.
    ///
    /// # Errors
    ///
    /// What each server did instead of answering, when none answered within [`Limits::total`].
    pub async fn query(&self, fqdn: &str, record_type: RecordType) -> Result<Reply, LookupError> {
        let question = Question { name: name::parse(fqdn)?, record_type, recursive: true };
        let mut round = Round { resolver: self, question, started: Instant::now(), failures: Vec::new() };
        let first = self.preferred.load(Ordering::Relaxed);
        let mut silent = Vec::new();
        for offset in 0..self.servers.len() {
            let index = (first + offset) % self.servers.len();
            match round.ask(index, Route::Udp).await {
                Outcome::Answer(message) => return Ok(self.reply(index, message)),
                Outcome::Silence => silent.push(index),
                Outcome::Failure => {}
            }
        }
        for index in silent {
            if let Outcome::Answer(message) = round.ask(index, Route::Tcp).await {
                return Ok(self.reply(index, message));
            }
        }
        Err(round.into_error())
    }

    /// Where a nameserver is asked; `route` is for plain ones.
    pub(crate) async fn endpoints<'a>(&'a self, server: &'a Nameserver, route: Route) -> io::Result<Vec<Endpoint<'a>>> {
        let addresses = server.addresses().await?.into_iter();
        let secure = || self.secure.as_ref().ok_or_else(|| io::Error::other("TLS is not set up"));
        Ok(match server.way() {
            Way::Plain => addresses.map(|address| Endpoint::Plain(route, address)).collect(),
            Way::Tcp => addresses.map(|address| Endpoint::Plain(Route::Tcp, address)).collect(),
            Way::Tls(name) => {
                let secure = secure()?;
                addresses.map(|address| Endpoint::Tls(secure, address, name)).collect()
            }
            Way::Https(url) => vec![Endpoint::Https(secure()?, url)],
        })
    }

    fn reply(&self, index: usize, message: Message) -> Reply {
        self.preferred.store(index, Ordering::Relaxed);
        Reply { server: self.servers[index].to_string(), message }
    }
}

/// What a server said to one question.
enum Outcome {
    Answer(Message),
    Silence,
    Failure,
}

/// One look-up under way.
struct Round<'a> {
    resolver: &'a Resolver,
    question: Question,
    started: Instant,
    /// With the place of the server in the list.
    failures: Vec<(usize, ServerFailure)>,
}

impl Round<'_> {
    async fn ask(&mut self, index: usize, route: Route) -> Outcome {
        let (resolver, server) = (self.resolver, &self.resolver.servers[index]);
        let endpoints = match timeout(self.time_left(), resolver.endpoints(server, route)).await {
            Ok(Ok(endpoints)) => endpoints,
            Ok(Err(error)) => {
                return self.failure(index, server, format!("has no address that could be found: {error}"));
            }
            Err(_) => return self.failure(index, server, "was not asked, for the time was up".to_owned()),
        };
        let mut outcome = Outcome::Failure;
        for endpoint in endpoints {
            let question = exchange::ask(endpoint, &self.question, resolver.limits.attempt);
            outcome = match timeout(self.time_left(), question).await {
                Ok(Ok(message)) => match refusal(&message) {
                    None => return Outcome::Answer(message),
                    Some(reason) => self.failure(index, server, reason),
                },
                Ok(Err(error)) if error.is_udp_silence() => {
                    self.failure(index, server, error.to_string());
                    Outcome::Silence
                }
                Ok(Err(error)) => self.failure(index, server, error.to_string()),
                Err(_) => return self.failure(index, server, "gave no answer before the time was up".to_owned()),
            };
        }
        outcome
    }

    fn time_left(&self) -> Duration {
        self.resolver.limits.total.saturating_sub(self.started.elapsed())
    }

    fn failure(&mut self, index: usize, server: &Nameserver, reason: String) -> Outcome {
        self.failures.push((index, ServerFailure { server: server.to_string(), reason }));
        Outcome::Failure
    }

    /// In the order of the list, wherever the round began: equal failures give equal text.
    fn into_error(mut self) -> LookupError {
        self.failures.sort_by_key(|(index, _)| *index);
        let name = name::shown(&name::to_fqdn(&self.question.name)).to_owned();
        let failures = self.failures.into_iter().map(|(_, failure)| failure).collect();
        LookupError::NoAnswer { name, record_type: self.question.record_type, failures }
    }
}

/// Why an answer is of no use, and the next server should be asked.
fn refusal(message: &Message) -> Option<String> {
    let code = message.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Some(format!("answered {}", code_text(code)));
    }
    let referred = referral(message)?;
    let zone = name::to_fqdn(referred);
    Some(format!("does not resolve for us: it only refers to the nameservers of {}", name::shown(&zone)))
}

/// The zone an answer refers to in place of answering, as servers do that are not willing to recurse.
pub(crate) fn referral(message: &Message) -> Option<&hickory_proto::rr::Name> {
    let answers = message.metadata.response_code != ResponseCode::NoError || !message.answers.is_empty();
    if answers || message.metadata.authoritative {
        return None;
    }
    if message.authorities.iter().any(|record| matches!(record.data, RData::SOA(_))) {
        return None;
    }
    message.authorities.iter().find(|record| matches!(record.data, RData::NS(_))).map(|record| &record.name)
}

/// The mnemonic of a response code (RFC 6895 section 2.3).
pub(crate) fn code_text(code: ResponseCode) -> String {
    let text = match code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR (it could not read the question)",
        ResponseCode::ServFail => "SERVFAIL (it failed to find the answer)",
        ResponseCode::NXDomain => "NXDOMAIN (no such name)",
        ResponseCode::NotImp => "NOTIMP (it does not support this kind of question)",
        ResponseCode::Refused => "REFUSED (it does not answer us)",
        ResponseCode::NotAuth => "NOTAUTH",
        other => return format!("response code {}", u16::from(other)),
    };
    text.to_owned()
}

/// The addresses on the `nameserver` lines (resolv.conf(5)). Lines that cannot be read are passed over, as the C
/// library does.
fn parse_resolv_conf(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next()).flatten()?.parse().ok()
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hickory_proto::op::OpCode;
    use hickory_proto::rr::rdata::{NS, SOA};
    use hickory_proto::rr::{Name, Record};

    use super::*;

    #[test]
    fn resolv_conf_is_read_as_the_c_library_does() {
        let text = "# nameserver 192.0.2.9\nsearch a.example\nnameserver 10.96.0.10\n  nameserver\t2001:db8::1 # x\n\
                    nameserver\nnameserver fe80::1%eth0\noptions ndots:5\n";
        let expected: Vec<IpAddr> = vec!["10.96.0.10".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!(parse_resolv_conf(text), expected);
        assert!(parse_resolv_conf("").is_empty());
    }

    #[test]
    fn an_empty_list_is_an_error() {
        assert_eq!(Resolver::from_nameservers(&[]).unwrap_err(), NameserverError::Empty);
    }

    #[test]
    fn resolvers_with_the_same_servers_have_the_same_identity() {
        let resolver = |texts: &[&str]| {
            Resolver::from_nameservers(&texts.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap().identity()
        };
        assert_eq!(resolver(&["192.0.2.1", "192.0.2.2:5353"]), "192.0.2.1:53,192.0.2.2:5353");
        assert_eq!(resolver(&["192.0.2.1:53"]), resolver(&["192.0.2.1"]));
    }

    #[test]
    fn a_referral_is_not_an_answer() {
        let name = Name::from_ascii("sub.example.com.").unwrap();
        let mut message = Message::response(1, OpCode::Query);
        assert_eq!(refusal(&message), None, "an empty answer is an answer");
        message.add_authority(Record::from_rdata(name.clone(), 60, RData::NS(NS(name.clone()))));
        assert!(refusal(&message).unwrap().ends_with("refers to the nameservers of sub.example.com"));
        let soa = SOA::new(name.clone(), name.clone(), 1, 1, 1, 1, 1);
        message.add_authority(Record::from_rdata(name, 60, RData::SOA(soa)));
        assert_eq!(refusal(&message), None);
        message.metadata.response_code = ResponseCode::ServFail;
        assert!(refusal(&message).unwrap().starts_with("answered SERVFAIL"));
    }

    /// Answers everything with this code, as long as the test runs.
    async fn server(code: ResponseCode) -> String {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                let mut answer = Message::from_vec(&buffer[..length]).unwrap().into_response();
                answer.metadata.response_code = code;
                socket.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn a_server_that_fails_or_refuses_leads_to_the_next() {
        let (failing, refusing) = (server(ResponseCode::ServFail).await, server(ResponseCode::Refused).await);
        let good = server(ResponseCode::NXDomain).await;
        let servers = [failing.clone(), refusing.clone(), good.clone()];
        let resolver = Resolver::from_nameservers(&servers).unwrap();
        let reply = resolver.query("example.com", RecordType::SOA).await.unwrap();
        assert!(reply.is_nxdomain() && reply.server == good);
        let error = Resolver::from_nameservers(&servers[..2]).unwrap().query("example.com", RecordType::SOA).await;
        assert_eq!(
            error.unwrap_err().to_string(),
            format!(
                "cannot look up SOA of example.com: {failing} answered SERVFAIL (it failed to find the answer); {refusing} \
                 answered REFUSED (it does not answer us)"
            )
        );
    }

    #[tokio::test]
    async fn the_error_names_every_server_and_what_it_did() {
        // Nothing listens on a port that was free a moment ago.
        let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = format!("127.0.0.1:{port}");
        let resolver = Resolver::from_nameservers(std::slice::from_ref(&server)).unwrap();
        let message = resolver.query("example.com", RecordType::SOA).await.unwrap_err().to_string();
        assert!(message.starts_with("cannot look up SOA of example.com: "), "{message}");
        assert!(message.contains(&format!("{server} could not be reached over UDP")), "{message}");
        assert!(message.contains(&format!("{server} could not be reached over TCP")), "{message}");
    }
}
