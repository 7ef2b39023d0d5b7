//! Does every authoritative server have the TXT record yet? Asked directly, so that no cache can answer.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::future::join_all;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

use super::exchange::{self, Question, Route};
use super::name::{self, NameError};
use super::nameserver::DNS_PORT;
use super::resolver::{Resolver, code_text, referral};
use super::zone::{NsHost, Zone};

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
    Found,
    /// It answered, without the value.
    Missing {
        /// How many other TXT values it has at this name.
        values_seen: usize,
    },
    /// It did not answer the question; the text goes on after the server's name.
    Failed(String),
}

/// Asks every authoritative server of the zone for one TXT value at a name, all at once.
///
/// `only` limits the round to these hosts (with the closing dot), for example to those that failed last time. The name
/// must lie in the zone itself: aliases are followed beforehand.
///
/// # Errors
///
/// A name that DNS cannot carry. What servers do is never an error, but an [`Outcome`].
pub async fn verify_txt(
    zone: &Zone,
    fqdn: &str,
    value: &str,
    only: Option<&[String]>,
    config: VerifyConfig,
) -> Result<Verification, NameError> {
    let question = Question { name: name::parse(fqdn)?, record_type: RecordType::TXT, recursive: false };
    let asked = zone.nameservers.iter().filter(|host| only.is_none_or(|only| only.contains(&host.host)));
    let results = join_all(asked.map(|host| ask_host(host, &question, value, config))).await;
    Ok(Verification::new(results.into_iter().flatten()))
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
    fqdn: &str,
    value: &str,
    query_limit: Duration,
) -> Result<Verification, NameError> {
    let question = Question { name: name::parse(fqdn)?, record_type: RecordType::TXT, recursive: true };
    let results = resolver.nameservers().iter().map(async |server| {
        let host = server.to_string();
        match server.addresses().await {
            Ok(addresses) => ask_addresses(&host, addresses, &question, value, query_limit).await,
            Err(error) => vec![ServerResult { host, address: None, outcome: unknown_address(&error.to_string()) }],
        }
    });
    Ok(Verification::new(join_all(results).await.into_iter().flatten()))
}

async fn ask_host(host: &NsHost, question: &Question, value: &str, config: VerifyConfig) -> Vec<ServerResult> {
    if host.addresses.is_empty() {
        let outcome = unknown_address(host.problem.as_deref().unwrap_or("it has none"));
        return vec![ServerResult { host: host.host.clone(), address: None, outcome }];
    }
    let addresses = host.addresses.iter().map(|address| SocketAddr::new(*address, config.port)).collect();
    ask_addresses(&host.host, addresses, question, value, config.query_limit).await
}

fn unknown_address(why: &str) -> Outcome {
    Outcome::Failed(format!("could not be asked, for no address of it was found: {why}"))
}

async fn ask_addresses(
    host: &str,
    addresses: Vec<SocketAddr>,
    question: &Question,
    value: &str,
    limit: Duration,
) -> Vec<ServerResult> {
    let asked = addresses.into_iter().map(async |address| {
        let outcome = match exchange::ask(Route::UdpThenTcp, address, question, limit).await {
            Ok(message) => judge(&message, &question.name, value),
            Err(error) => Outcome::Failed(error.to_string()),
        };
        ServerResult { host: host.to_owned(), address: Some(address.ip()), outcome }
    });
    join_all(asked).await
}

/// What an answer to a TXT question tells about the value.
fn judge(message: &Message, asked: &Name, value: &str) -> Outcome {
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
    if values.iter().any(|seen| seen == value.as_bytes()) {
        return Outcome::Found;
    }
    if let Some(target) = alias(message, asked) {
        return Outcome::Failed(format!(
            "has a CNAME record to {} at this name, beside which no TXT record can stand; remove it or follow it \
             (cnameStrategy: Follow)",
            name::shown(&target)
        ));
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

impl Verification {
    fn new(results: impl Iterator<Item = ServerResult>) -> Self {
        let mut servers: Vec<ServerResult> = results.collect();
        servers.sort();
        Self { servers }
    }

    /// At least one server was asked, and each has the value at one of its addresses or more.
    pub fn all_found(&self) -> bool {
        !self.servers.is_empty() && self.missing_hosts().is_empty()
    }

    /// The hosts that do not have the value at any of their addresses, sorted: whom to ask next time.
    pub fn missing_hosts(&self) -> Vec<String> {
        let mut hosts: Vec<String> =
            self.servers.iter().map(|server| &server.host).filter(|host| !self.has_found(host)).cloned().collect();
        hosts.dedup();
        hosts
    }

    /// One sentence about the servers that do not have the value; empty if all have it. Equal states give equal text.
    pub fn missing_summary(&self) -> String {
        let lacking: Vec<String> =
            self.servers.iter().filter(|server| !self.has_found(&server.host)).map(ServerResult::sentence).collect();
        if lacking.len() <= MAX_SHOWN {
            return lacking.join("; ");
        }
        format!("{}; and {} more", lacking[..MAX_SHOWN].join("; "), lacking.len() - MAX_SHOWN)
    }

    /// An address that cannot be reached, such as IPv6 from a cluster without it, does not count against a host that
    /// answers at another.
    fn has_found(&self, host: &str) -> bool {
        self.servers.iter().any(|server| server.host == host && server.outcome == Outcome::Found)
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
            Outcome::Missing { values_seen } => {
                format!("{server} does not have the TXT record yet, only {values_seen} with other values")
            }
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
        let judge = |message: &Message| judge(message, &asked(), "abcdef");
        assert_eq!(judge(&answer(vec![txt(&["x"]), txt(&["abc", "def"])])), Outcome::Found);
        assert_eq!(judge(&answer(vec![txt(&["abc"]), txt(&["def"])])), Outcome::Missing { values_seen: 2 });
        assert_eq!(judge(&answer(vec![txt(&["ABCDEF"])])), Outcome::Missing { values_seen: 1 });
        let mut nxdomain = answer(vec![]);
        nxdomain.metadata.response_code = ResponseCode::NXDomain;
        assert_eq!(judge(&nxdomain), missing());
    }

    #[test]
    fn what_is_not_an_answer_says_so() {
        let reason = |message: &Message| match judge(message, &asked(), "abc") {
            Outcome::Failed(reason) => reason,
            other => panic!("{other:?}"),
        };
        let mut refused = answer(vec![]);
        refused.metadata.response_code = ResponseCode::Refused;
        assert!(reason(&refused).starts_with("answered REFUSED"));
        let alias = answer(vec![RData::CNAME(CNAME(Name::from_ascii("a.example.net.").unwrap()))]);
        assert!(reason(&alias).starts_with("has a CNAME record to a.example.net at this name"));
        let mut referral = answer(vec![]);
        referral.metadata.authoritative = false;
        referral.add_authority(Record::from_rdata(asked(), 60, RData::NS(NS(asked()))));
        assert!(reason(&referral).starts_with("does not serve this zone"));
    }

    #[test]
    fn a_host_passes_at_any_of_its_addresses() {
        let verification = Verification::new(
            [
                result("ns1.example.com.", "192.0.2.1", Outcome::Found),
                result("ns1.example.com.", "2001:db8::1", Outcome::Failed("could not be reached".to_owned())),
            ]
            .into_iter(),
        );
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
        let forward = Verification::new(results.clone().into_iter());
        let backward = Verification::new(results.into_iter().rev());
        assert_eq!(forward, backward);
        assert_eq!(
            forward.missing_summary(),
            "ns2.example.com (192.0.2.2) does not have the TXT record yet; ns3.example.com (192.0.2.3) answered REFUSED"
        );
        assert_eq!(forward.missing_hosts(), ["ns2.example.com.", "ns3.example.com."]);
    }

    #[test]
    fn a_long_list_is_cut() {
        let results = (0..9).map(|n| result(&format!("ns{n}.example.com."), &format!("192.0.2.{n}"), missing()));
        let summary = Verification::new(results).missing_summary();
        assert!(summary.ends_with("ns5.example.com (192.0.2.5) does not have the TXT record yet; and 3 more"));
    }
}
