//! Does every authoritative server have the TXT record yet? Asked directly, so that no cache can answer.

mod round;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::future::join_all;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

use self::round::{Host, Round};
use super::exchange::{Endpoint, Question, Route};
use super::name::{self, NameError};
use super::nameserver::DNS_PORT;
use super::resolver::{Resolver, code_text, referral};
use super::silence::Silence;
use super::zone::Zone;

/// More servers than this are not named in one sentence.
const MAX_SHOWN: usize = 6;

/// How servers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyConfig {
    /// The port of the authoritative servers.
    pub port: u16,
    /// For one query over one transport; a server that is silent over UDP is asked once more over TCP.
    pub query_limit: Duration,
}

impl Default for VerifyConfig {
    fn default() -> Self {
        Self { port: DNS_PORT, query_limit: Duration::from_millis(2500) }
    }
}

/// What every server said, sorted by host and address: equal states compare equal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    pub servers: Vec<ServerResult>,
}

/// What one address of one server said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerResult {
    /// The host name of the server, with the closing dot; for a recursive nameserver, as configured.
    pub host: String,
    /// The address that was asked; none if none is known.
    pub address: Option<IpAddr>,
    pub outcome: Outcome,
}

/// Whether a server has the value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It has all values that are looked for.
    Found,
    /// It answered, without all of them.
    Missing {
        /// How many TXT values it has at this name.
        values_seen: usize,
    },
    /// It answered with a CNAME record at the name, to this one.
    Alias(String),
    /// It did not answer the question; the text goes on after the server's name.
    Failed(String),
}

/// What is looked for.
#[derive(Clone, Copy)]
pub struct Sought<'a> {
    /// The name at which it stands, or rather the end of its CNAME chain.
    pub name: &'a str,
    /// The values that have to be there, all of them.
    pub values: &'a [String],
    /// Servers that are not asked, because they have it: hosts with the closing dot, or nameservers as configured.
    pub found_at: &'a BTreeSet<String>,
    /// Servers that gave no answer lately are asked last, and only if no other is waited for and what was seen so far is not
    /// enough. Else it is told what they did then.
    pub is_enough: &'a IsEnough<'a>,
}

/// See [`Sought::is_enough`].
pub type IsEnough<'a> = dyn Fn(&Verification) -> bool + Send + Sync + 'a;

/// Asks every authoritative server of the zone for TXT values at a name, all at once.
///
/// The name must lie in the zone itself: aliases are followed beforehand.
///
/// # Errors
///
/// A name that DNS cannot carry. What servers do is never an error, but an [`Outcome`].
pub async fn verify_txt(
    zone: &Zone,
    sought: Sought<'_>,
    config: VerifyConfig,
    silence: &Silence,
) -> Result<Verification, NameError> {
    let round = sought.round(false, config, silence)?;
    let (mut hosts, mut results) = (Vec::new(), Vec::new());
    for host in zone.nameservers.iter().filter(|host| !sought.found_at.contains(&host.host)) {
        if host.addresses.is_empty() {
            let outcome = unknown_address(host.problem.as_deref().unwrap_or("it has none"));
            results.push(ServerResult { host: host.host.clone(), address: None, outcome });
        } else {
            let places = host.addresses.iter().map(|address| SocketAddr::new(*address, config.port));
            let endpoints = places.map(|place| Endpoint::Plain(Route::UdpThenTcp, place)).collect();
            hosts.push(Host { name: host.host.clone(), endpoints });
        }
    }
    results.extend(round.ask(hosts).await);
    Ok(Verification::new(results))
}

/// Asks every nameserver of a resolver, for clusters that cannot reach the authoritative servers.
///
/// These remember for a while that a name did not exist, also from the search for its zone, and so may be late.
///
/// # Errors
///
/// A name that DNS cannot carry.
pub async fn verify_txt_recursively(
    resolver: &Resolver,
    sought: Sought<'_>,
    config: VerifyConfig,
    silence: &Silence,
) -> Result<Verification, NameError> {
    let round = sought.round(true, config, silence)?;
    let servers = resolver.nameservers().iter().map(|server| (server.to_string(), server));
    let asked: Vec<_> = servers.filter(|(name, _)| !sought.found_at.contains(name)).collect();
    let places = join_all(asked.iter().map(|(_, server)| resolver.endpoints(server, Route::UdpThenTcp))).await;
    let (mut hosts, mut results) = (Vec::new(), Vec::new());
    for ((name, _), endpoints) in asked.into_iter().zip(places) {
        match endpoints {
            Ok(endpoints) => hosts.push(Host { name, endpoints }),
            Err(error) => {
                let outcome = unknown_address(&error.to_string());
                results.push(ServerResult { host: name, address: None, outcome });
            }
        }
    }
    results.extend(round.ask(hosts).await);
    Ok(Verification::new(results))
}

impl<'a> Sought<'a> {
    fn round(self, recursive: bool, config: VerifyConfig, silence: &'a Silence) -> Result<Round<'a>, NameError> {
        let question = Question { name: name::parse(self.name)?, record_type: RecordType::TXT, recursive };
        Ok(Round { question, values: self.values, limit: config.query_limit, silence, is_enough: self.is_enough })
    }
}

fn unknown_address(why: &str) -> Outcome {
    Outcome::Failed(format!("could not be asked, for no address of it was found: {why}"))
}

/// What an answer to a TXT question tells about the values.
fn judge(message: &Message, asked: &Name, wanted: &[String]) -> Outcome {
    let code = message.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Outcome::Failed(format!("answered {}", code_text(code)));
    }
    let values: Vec<Vec<u8>> = message
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            // One value may come as several strings (RFC 7208 section 3.3 has the same rule).
            RData::TXT(txt) => Some(txt.txt_data.concat()),
            _ => None,
        })
        .collect();
    if wanted.iter().all(|value| values.iter().any(|seen| seen == value.as_bytes())) {
        return Outcome::Found;
    }
    if let Some(target) = alias(message, asked) {
        return Outcome::Alias(target);
    }
    match referral(message) {
        Some(_) => Outcome::Failed("does not serve this zone; check the zone's NS records".to_owned()),
        None => Outcome::Missing { values_seen: values.len() },
    }
}

fn alias(message: &Message, asked: &Name) -> Option<String> {
    message.answers.iter().find_map(|record| match &record.data {
        RData::CNAME(target) if record.name == *asked => Some(name::to_fqdn(target)),
        _ => None,
    })
}

impl Outcome {
    /// Whether it is known from this if the server has the value.
    fn is_answer(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }
}

impl Verification {
    fn new(mut servers: Vec<ServerResult>) -> Self {
        servers.sort();
        Self { servers }
    }

    /// At least one server was asked, and each has the value.
    pub fn all_found(&self) -> bool {
        !self.servers.is_empty() && self.lacking().is_empty() && self.unheard().is_empty()
    }

    /// The hosts that have the value.
    pub fn found(&self) -> BTreeSet<String> {
        self.hosts(|host| self.has_found(host))
    }

    /// The hosts that answered, at one address at least, and do not have the value there.
    pub fn lacking(&self) -> BTreeSet<String> {
        self.hosts(|host| self.lacks(host))
    }

    /// The hosts of which nothing is known: they are silent, out of reach, or do not answer this question.
    pub fn unheard(&self) -> BTreeSet<String> {
        self.hosts(|host| !self.has_found(host) && !self.lacks(host))
    }

    fn hosts(&self, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
        self.servers.iter().map(|server| &server.host).filter(|host| wanted(host)).cloned().collect()
    }

    /// One sentence about the servers that do not have the value; empty if all have it. Equal states give equal text.
    pub fn missing_summary(&self) -> String {
        // Once a server has spoken, its silence at another address is no news, and it is not asked there again.
        let is_told = |server: &&ServerResult| {
            if self.lacks(&server.host) {
                server.outcome.is_answer() && server.outcome != Outcome::Found
            } else {
                !self.has_found(&server.host)
            }
        };
        let lacking: Vec<String> = self.servers.iter().filter(is_told).map(ServerResult::sentence).collect();
        if lacking.len() <= MAX_SHOWN {
            return lacking.join("; ");
        }
        format!("{}; and {} more", lacking[..MAX_SHOWN].join("; "), lacking.len() - MAX_SHOWN)
    }

    /// An address that cannot be reached, such as IPv6 from a cluster without it, does not count against a host that
    /// answers at another.
    fn has_found(&self, host: &str) -> bool {
        self.servers.iter().any(|server| server.host == host && server.outcome == Outcome::Found) && !self.lacks(host)
    }

    /// The CA may ask at any address, so one that answers without the value is enough.
    fn lacks(&self, host: &str) -> bool {
        let without = |outcome: &Outcome| matches!(outcome, Outcome::Missing { .. } | Outcome::Alias(_));
        self.servers.iter().any(|server| server.host == host && without(&server.outcome))
    }
}

impl ServerResult {
    fn sentence(&self) -> String {
        let host = name::shown(&self.host);
        let server = match self.address {
            Some(address) if !host.contains(&address.to_string()) => format!("{host} ({address})"),
            _ => host.to_owned(),
        };
        match &self.outcome {
            Outcome::Found => format!("{server} has the TXT record"),
            Outcome::Missing { values_seen: 0 } => format!("{server} does not have the TXT record yet"),
            // How many would change as others come and go.
            Outcome::Missing { .. } => format!("{server} does not have the TXT record yet, only others at this name"),
            Outcome::Alias(target) => format!(
                "{server} has a CNAME record to {} at this name, beside which no TXT record can stand; remove it or follow \
                 it (cnameStrategy: Follow)",
                name::shown(target)
            ),
            Outcome::Failed(reason) => format!("{server} {reason}"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hickory_proto::op::OpCode;
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::{CNAME, NS, TXT};

    use super::*;

    fn result(host: &str, address: &str, outcome: Outcome) -> ServerResult {
        ServerResult { host: host.to_owned(), address: Some(address.parse().unwrap()), outcome }
    }

    fn missing() -> Outcome {
        Outcome::Missing { values_seen: 0 }
    }

    fn answer(records: Vec<RData>) -> Message {
        let mut message = Message::response(1, OpCode::Query);
        message.metadata.authoritative = true;
        message.add_answers(records.into_iter().map(|data| Record::from_rdata(asked(), 60, data)));
        message
    }

    fn asked() -> Name {
        Name::from_ascii("_acme-challenge.example.com.").unwrap()
    }

    fn txt(strings: &[&str]) -> RData {
        RData::TXT(TXT::new(strings.iter().map(ToString::to_string).collect()))
    }

    #[test]
    fn the_value_is_looked_for_whole() {
        let wanted = ["abcdef".to_owned()];
        let judge = |message: &Message| judge(message, &asked(), &wanted);
        assert_eq!(judge(&answer(vec![txt(&["x"]), txt(&["abc", "def"])])), Outcome::Found);
        assert_eq!(judge(&answer(vec![txt(&["abc"]), txt(&["def"])])), Outcome::Missing { values_seen: 2 });
        assert_eq!(judge(&answer(vec![txt(&["ABCDEF"])])), Outcome::Missing { values_seen: 1 });
        let mut nxdomain = answer(vec![]);
        nxdomain.metadata.response_code = ResponseCode::NXDomain;
        assert_eq!(judge(&nxdomain), missing());
    }

    #[test]
    fn what_is_not_an_answer_says_so() {
        let reason = |message: &Message| match judge(message, &asked(), &["abc".to_owned()]) {
            Outcome::Failed(reason) => reason,
            other => panic!("{other:?}"),
        };
        let mut refused = answer(vec![]);
        refused.metadata.response_code = ResponseCode::Refused;
        assert!(reason(&refused).starts_with("answered REFUSED"));
        let alias = answer(vec![RData::CNAME(CNAME(Name::from_ascii("a.example.net.").unwrap()))]);
        assert_eq!(judge(&alias, &asked(), &["abc".to_owned()]), Outcome::Alias("a.example.net.".to_owned()));
        let mut referral = answer(vec![]);
        referral.metadata.authoritative = false;
        referral.add_authority(Record::from_rdata(asked(), 60, RData::NS(NS(asked()))));
        assert!(reason(&referral).starts_with("does not serve this zone"));
    }

    #[test]
    fn an_address_out_of_reach_does_not_count_and_one_without_the_value_does() {
        let found = result("ns1.example.com.", "192.0.2.1", Outcome::Found);
        let stale = Verification::new(vec![found.clone(), result("ns1.example.com.", "2001:db8::1", missing())]);
        assert!(!stale.all_found() && stale.lacking().len() == 1 && stale.unheard().is_empty());
        assert_eq!(stale.missing_summary(), "ns1.example.com (2001:db8::1) does not have the TXT record yet");
        let dead = result("ns1.example.com.", "2001:db8::1", Outcome::Failed("could not be reached".to_owned()));
        let half = Verification::new(vec![result("ns1.example.com.", "192.0.2.1", missing()), dead.clone()]);
        assert!(half.lacking().len() == 1 && half.unheard().is_empty());
        assert_eq!(half.missing_summary(), "ns1.example.com (192.0.2.1) does not have the TXT record yet");
        let verification = Verification::new(vec![found, dead]);
        assert!(verification.all_found());
        assert_eq!(verification.missing_summary(), "");
        assert!(!Verification::default().all_found(), "nobody asked is nobody found");
    }

    #[test]
    fn equal_states_give_equal_sentences() {
        let results = [
            result("ns2.example.com.", "192.0.2.2", missing()),
            result("ns1.example.com.", "192.0.2.1", Outcome::Found),
            result("ns3.example.com.", "192.0.2.3", Outcome::Failed("answered REFUSED".to_owned())),
        ];
        let forward = Verification::new(results.to_vec());
        let backward = Verification::new(results.into_iter().rev().collect());
        assert_eq!(forward, backward);
        assert_eq!(
            forward.missing_summary(),
            "ns2.example.com (192.0.2.2) does not have the TXT record yet; ns3.example.com (192.0.2.3) answered REFUSED"
        );
        let hosts = |hosts: BTreeSet<String>| hosts.into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(hosts(forward.found()), "ns1.example.com.");
        assert_eq!(hosts(forward.lacking()), "ns2.example.com.");
        assert_eq!(hosts(forward.unheard()), "ns3.example.com.");
    }

    #[test]
    fn a_long_list_is_cut() {
        let results = (0..9).map(|n| result(&format!("ns{n}.example.com."), &format!("192.0.2.{n}"), missing()));
        let summary = Verification::new(results.collect()).missing_summary();
        assert!(summary.ends_with("ns5.example.com (192.0.2.5) does not have the TXT record yet; and 3 more"));
    }
}
