//! The zone a name lies in, the zone's authoritative servers and their addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use futures::future::join_all;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::time::timeout;

use super::name::{self, NameError};
use super::resolver::{LookupError, Reply, Resolver, code_text};

/// What is learned about a zone is never kept for longer than this, whatever the records say: zones move, and a wrong
/// one costs a certificate.
const MAX_TTL: Duration = Duration::from_mins(5);

/// The same where one family or one host has no address: an answer, but one that may soon be another.
const INCOMPLETE_TTL: Duration = Duration::from_mins(1);

/// For one whole search, at all labels.
const SEARCH_LIMIT: Duration = Duration::from_secs(30);

/// More NS hosts, or addresses per host, than any real zone has.
const MAX_HOSTS: usize = 16;
const MAX_ADDRESSES: usize = 8;

/// A zone and who serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The name at the top of the zone, with the closing dot.
    pub apex: String,
    /// The hosts of the zone's NS records, sorted by name.
    pub nameservers: Vec<NsHost>,
    /// For how long this may be kept; zero if the look-up of a host failed.
    pub ttl: Duration,
}

/// One authoritative server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NsHost {
    /// With the closing dot.
    pub host: String,
    /// IPv4 and IPv6, sorted. Empty if none was found.
    pub addresses: Vec<IpAddr>,
    /// Why no address was found.
    pub problem: Option<String>,
}

impl NsHost {
    fn problem_text(&self) -> String {
        format!("{}: {}", name::shown(&self.host), self.problem.as_deref().unwrap_or_default())
    }
}

/// The top of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apex {
    /// With the closing dot.
    pub name: String,
    /// For how long this may be kept.
    pub ttl: Duration,
}

/// Why a zone, or who serves it, could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum ZoneError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("cannot find the DNS zone of {name}: {source}")]
    Lookup { name: String, source: LookupError },
    #[error(
        "cannot find the DNS zone of {name}: no SOA record at it or above ({steps}); check that the domain exists and \
         that these nameservers know it"
    )]
    NotFound { name: String, steps: String },
    #[error("{server} knows the zone {apex} but no NS records of it; check the zone's NS records")]
    NoNameservers { apex: String, server: String },
    #[error("no nameserver of the zone {apex} has an address: {details}")]
    NoAddresses { apex: String, details: String },
    #[error("cannot find the DNS zone of {name}: the nameservers took more than {} s in all", SEARCH_LIMIT.as_secs())]
    TooSlow { name: String },
}

/// Finds the apex by asking for the SOA of the name and of each name above it.
///
/// # Errors
///
/// A look-up that no nameserver answers ends the search: a zone found further up could be the wrong one.
pub async fn find_apex(resolver: &Resolver, fqdn: &str) -> Result<Apex, ZoneError> {
    let name = name::parse(fqdn)?;
    let search = timeout(SEARCH_LIMIT, walk_up(resolver, &name)).await;
    search.unwrap_or_else(|_| Err(ZoneError::TooSlow { name: readable(&name) }))
}

/// Finds the zone of a name, its NS hosts and their addresses, all through the same resolver.
///
/// # Errors
///
/// No zone found, or no authoritative server of it. A host without an address among others is not an error: see
/// [`NsHost::problem`].
pub async fn find_zone(resolver: &Resolver, fqdn: &str) -> Result<Zone, ZoneError> {
    zone_at(resolver, find_apex(resolver, fqdn).await?).await
}

/// Finds the NS hosts of a zone and their addresses.
pub(crate) async fn zone_at(resolver: &Resolver, apex: Apex) -> Result<Zone, ZoneError> {
    let name = name::shown(&apex.name).to_owned();
    timeout(SEARCH_LIMIT, find_nameservers(resolver, apex)).await.unwrap_or(Err(ZoneError::TooSlow { name }))
}

async fn walk_up(resolver: &Resolver, name: &Name) -> Result<Apex, ZoneError> {
    let mut steps = Vec::new();
    let mut candidate = name.clone();
    while !candidate.is_root() {
        let reply = look_up(resolver, name, &candidate, RecordType::SOA).await?;
        match judge(&candidate, &reply) {
            Verdict::Apex(apex) => return Ok(apex),
            Verdict::Above(why) => steps.push(format!("{} said for {}: {why}", reply.server, readable(&candidate))),
        }
        candidate = candidate.base_name();
    }
    Err(ZoneError::NotFound { name: readable(name), steps: steps.join("; ") })
}

async fn look_up(
    resolver: &Resolver,
    searched: &Name,
    name: &Name,
    record_type: RecordType,
) -> Result<Reply, ZoneError> {
    let lookup = resolver.query(&name.to_ascii(), record_type).await;
    lookup.map_err(|source| ZoneError::Lookup { name: readable(searched), source })
}

/// What the answer to one SOA question tells.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Apex(Apex),
    /// The zone lies further up, because of this.
    Above(String),
}

fn judge(asked: &Name, reply: &Reply) -> Verdict {
    let message = &reply.message;
    // An alias cannot stand at an apex, and what follows in the answer belongs to the zone of its target.
    if message.answers.iter().any(|record| matches!(record.data, RData::CNAME(_))) {
        return Verdict::Above("an alias (CNAME)".to_owned());
    }
    if let Some(soa) = message.answers.iter().find(|record| is_soa(record) && record.name == *asked) {
        return Verdict::Apex(Apex { name: name::to_fqdn(&soa.name), ttl: bounded_ttl(soa.ttl) });
    }
    if message.metadata.response_code != ResponseCode::NXDomain {
        return Verdict::Above("no SOA record".to_owned());
    }
    match message.authorities.iter().find_map(|record| enclosing_apex(asked, record)) {
        Some(apex) => Verdict::Apex(apex),
        None => Verdict::Above(code_text(ResponseCode::NXDomain)),
    }
}

fn is_soa(record: &Record) -> bool {
    matches!(record.data, RData::SOA(_))
}

/// RFC 2308 section 2.1: NXDOMAIN carries the SOA of the zone in which the name does not exist. Filters sign their
/// made-up answers with other zones or with the root.
fn enclosing_apex(asked: &Name, record: &Record) -> Option<Apex> {
    let RData::SOA(soa) = &record.data else { return None };
    if record.name.is_root() || !record.name.zone_of(asked) {
        return None;
    }
    // The time to live of this record itself is zero from BIND, which wants no negative answers about SOA kept. MINIMUM
    // says for how long a name may be held absent (section 4), and so for how long no zone can begin at it.
    Some(Apex { name: name::to_fqdn(&record.name), ttl: bounded_ttl(soa.minimum) })
}

fn bounded_ttl(seconds: u32) -> Duration {
    MAX_TTL.min(Duration::from_secs(seconds.into()))
}

async fn find_nameservers(resolver: &Resolver, apex: Apex) -> Result<Zone, ZoneError> {
    let name = name::parse(&apex.name)?;
    let reply = look_up(resolver, &name, &name, RecordType::NS).await?;
    let mut hosts = BTreeSet::new();
    let mut ttl = apex.ttl;
    for record in reply.message.answers.iter().filter(|record| record.name == name) {
        if let RData::NS(host) = &record.data {
            hosts.insert(name::to_fqdn(host));
            ttl = ttl.min(bounded_ttl(record.ttl));
        }
    }
    let apex_shown = name::shown(&apex.name).to_owned();
    if hosts.is_empty() {
        return Err(ZoneError::NoNameservers { apex: apex_shown, server: reply.server });
    }
    let found = join_all(hosts.into_iter().take(MAX_HOSTS).map(|host| find_addresses(resolver, host))).await;
    let ttl = found.iter().map(|(_, address_ttl)| *address_ttl).fold(ttl, Duration::min);
    let nameservers: Vec<NsHost> = found.into_iter().map(|(host, _)| host).collect();
    if nameservers.iter().all(|host| host.addresses.is_empty()) {
        let details = nameservers.iter().map(NsHost::problem_text).collect::<Vec<_>>().join("; ");
        return Err(ZoneError::NoAddresses { apex: apex_shown, details });
    }
    Ok(Zone { apex: apex.name, nameservers, ttl })
}

/// The addresses of one NS host, and for how long they may be kept.
async fn find_addresses(resolver: &Resolver, host: String) -> (NsHost, Duration) {
    let (v4, v6) = futures::join!(resolver.query(&host, RecordType::A), resolver.query(&host, RecordType::AAAA));
    let mut addresses = BTreeSet::new();
    let mut failure = None;
    let mut ttl = MAX_TTL;
    for reply in [v4, v6] {
        match reply {
            Ok(reply) => collect_addresses(&reply, &mut addresses, &mut ttl),
            Err(error) => failure = failure.or(Some(error.to_string())),
        }
    }
    let ttl = match (addresses.is_empty(), &failure) {
        (true, Some(_)) => Duration::ZERO,
        (false, None) => ttl,
        _ => ttl.min(INCOMPLETE_TTL),
    };
    let problem =
        addresses.is_empty().then(|| failure.unwrap_or_else(|| "it has neither A nor AAAA records".to_owned()));
    (NsHost { host, addresses: addresses.into_iter().take(MAX_ADDRESSES).collect(), problem }, ttl)
}

fn collect_addresses(reply: &Reply, addresses: &mut BTreeSet<IpAddr>, ttl: &mut Duration) {
    for record in &reply.message.answers {
        let address = match &record.data {
            RData::A(address) => IpAddr::V4(address.0),
            RData::AAAA(address) => IpAddr::V6(address.0),
            _ => continue,
        };
        addresses.insert(address);
        *ttl = (*ttl).min(bounded_ttl(record.ttl));
    }
}

fn readable(name: &Name) -> String {
    name::shown(&name::to_fqdn(name)).to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hickory_proto::op::{Message, OpCode};
    use hickory_proto::rr::rdata::{CNAME, SOA};

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn soa(owner: &str, ttl: u32) -> Record {
        let soa = SOA::new(name("ns1.example.com."), name("root.example.com."), 1, 86400, 60, 60, 90);
        Record::from_rdata(name(owner), ttl, RData::SOA(soa))
    }

    fn reply(code: ResponseCode, answers: Vec<Record>, authorities: Vec<Record>) -> Reply {
        let mut message = Message::response(1, OpCode::Query);
        message.metadata.response_code = code;
        message.add_answers(answers);
        message.add_authorities(authorities);
        Reply { server: "192.0.2.53:53".to_owned(), message }
    }

    fn found(apex: &str, ttl: u64) -> Verdict {
        Verdict::Apex(Apex { name: apex.to_owned(), ttl: Duration::from_secs(ttl) })
    }

    #[test]
    fn the_soa_of_the_name_itself_is_its_zone_and_is_kept_at_most_five_minutes() {
        let asked = name("example.com.");
        let answer = |ttl| reply(ResponseCode::NoError, vec![soa("Example.com.", ttl)], vec![]);
        assert_eq!(judge(&asked, &answer(60)), found("example.com.", 60));
        assert_eq!(judge(&asked, &answer(86400)), found("example.com.", 300));
    }

    #[test]
    fn an_alias_never_lends_the_zone_of_its_target() {
        let asked = name("_acme-challenge.example.com.");
        let alias = Record::from_rdata(asked.clone(), 60, RData::CNAME(CNAME(name("other.test."))));
        let to_apex = reply(ResponseCode::NoError, vec![alias.clone(), soa("other.test.", 60)], vec![]);
        assert!(matches!(judge(&asked, &to_apex), Verdict::Above(_)));
        // Dangling, into the parent of the zone: its SOA encloses the name and is still the wrong one.
        let dangling = reply(ResponseCode::NXDomain, vec![alias], vec![soa("com.", 60)]);
        assert!(matches!(judge(&asked, &dangling), Verdict::Above(_)));
    }

    #[test]
    fn nxdomain_names_the_zone_only_if_it_encloses_the_name() {
        let asked = name("_acme-challenge.a.example.com.");
        let verdict = |owner| judge(&asked, &reply(ResponseCode::NXDomain, vec![], vec![soa(owner, 0)]));
        assert_eq!(verdict("example.com."), found("example.com.", 90));
        assert_eq!(verdict("_acme-challenge.a.example.com."), found("_acme-challenge.a.example.com.", 90));
        for owner in ["example.net.", "b.example.com.", "x._acme-challenge.a.example.com.", "."] {
            assert!(matches!(verdict(owner), Verdict::Above(_)), "{owner}");
        }
    }

    #[test]
    fn an_empty_answer_leads_one_label_up() {
        let asked = name("a.example.com.");
        let empty = reply(ResponseCode::NoError, vec![], vec![soa("example.com.", 60)]);
        assert_eq!(judge(&asked, &empty), Verdict::Above("no SOA record".to_owned()));
    }
}
