//! What lies at a challenge's name, without any cache learning that there is nothing yet.
//!
//! A resolver that is asked about a name too early remembers for a while that it does not exist, for records of all types (RFC
//! 2308 section 5, RFC 8020). If the CA uses the same resolver, it is then told so. So the name itself is asked for
//! at the servers of the zone above; only what those cannot tell, a resolver is asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

use super::cname::{CnameError, follow_cnames, follow_on};
use super::exchange::{self, Endpoint, Question, Route};
use super::name::{self, CHALLENGE_LABEL};
use super::resolver::{Resolver, referral};
use super::zone::{Zone, ZoneError};
use super::zone_cache::ZoneCache;

/// For one question to one server: whoever is slower than this is not worth waiting for, as there is another way.
const LIMIT: Duration = Duration::from_millis(800);

/// No more servers than this are asked.
const MOST_ASKED: usize = 3;

/// The zone of a challenge's name; for other names as [`ZoneCache::find_zone`]. `port` is that of the authoritative servers.
///
/// # Errors
///
/// As [`ZoneCache::find_zone`].
pub async fn zone_of(zones: &ZoneCache, resolver: &Resolver, fqdn: &str, port: u16) -> Result<Arc<Zone>, ZoneError> {
    if let Some(known) = zones.known(resolver, fqdn) {
        return Ok(known);
    }
    match look(zones, resolver, fqdn, port).await {
        // An alias lies in the zone above, wherever it leads to.
        Some((zone, Leaf::Nothing | Leaf::Alias(_))) => {
            zones.note(resolver, fqdn, &zone);
            Ok(zone)
        }
        _ => zones.find_zone(resolver, fqdn).await,
    }
}

/// The CNAME chain of a challenge's name, as [`follow_cnames`] gives it.
///
/// # Errors
///
/// As [`follow_cnames`].
pub async fn aliases_of(
    zones: &ZoneCache,
    resolver: &Resolver,
    fqdn: &str,
    port: u16,
) -> Result<Vec<String>, CnameError> {
    let asked = name::to_fqdn(&name::parse(fqdn)?);
    match look(zones, resolver, &asked, port).await {
        Some((_, Leaf::Nothing)) => Ok(vec![asked]),
        Some((_, Leaf::Alias(target))) => {
            if target == asked {
                return Err(CnameError::Loop { chain: vec![asked, target] });
            }
            follow_on(resolver, target, vec![asked]).await
        }
        _ => follow_cnames(resolver, &asked).await,
    }
}

/// What the servers of the zone above have at a name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Leaf {
    /// Neither an alias nor a zone of its own. There may be records of other types.
    Nothing,
    Alias(String),
    /// A zone begins at the name.
    Zone,
}

/// With the zone above; none if its servers do not tell.
async fn look(zones: &ZoneCache, resolver: &Resolver, fqdn: &str, port: u16) -> Option<(Arc<Zone>, Leaf)> {
    let asked = name::parse(fqdn).ok()?;
    let above = name::to_fqdn(&asked);
    let above = above.strip_prefix(CHALLENGE_LABEL)?.strip_prefix('.')?;
    let zone = zones.find_zone(resolver, above).await.ok()?;
    if zones.is_mute(&zone.apex) {
        return None;
    }
    let question = Question { name: asked, record_type: RecordType::CNAME, recursive: false };
    for address in addresses(&zone, port) {
        let answer = exchange::ask(Endpoint::Plain(Route::Udp, address), &question, LIMIT).await;
        if let Some(leaf) = answer.ok().and_then(|message| judge(&question.name, &message)) {
            return Some((zone, leaf));
        }
    }
    zones.note_mute(&zone.apex);
    None
}

/// IPv4 before IPv6, which many clusters do not have; one address of each host before a second one.
fn addresses(zone: &Zone, port: u16) -> Vec<SocketAddr> {
    let mut all: Vec<_> = zone
        .nameservers
        .iter()
        .flat_map(|host| host.addresses.iter().enumerate().map(|(place, address)| (address.is_ipv6(), place, *address)))
        .collect();
    all.sort();
    all.into_iter().take(MOST_ASKED).map(|(_, _, address)| SocketAddr::new(address, port)).collect()
}

fn judge(asked: &Name, message: &Message) -> Option<Leaf> {
    let alias = message.answers.iter().find_map(|record| match &record.data {
        RData::CNAME(target) if record.name == *asked => Some(name::to_fqdn(target)),
        _ => None,
    });
    if let Some(target) = alias {
        return Some(Leaf::Alias(target));
    }
    if let Some(delegated) = referral(message) {
        return delegated.zone_of(asked).then_some(Leaf::Zone);
    }
    if !matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return None;
    }
    // Who does not answer with authority may be a cache after all.
    if !message.metadata.authoritative {
        return None;
    }
    let begins_here =
        |record: &hickory_proto::rr::Record| record.name == *asked && matches!(record.data, RData::SOA(_));
    if message.authorities.iter().any(begins_here) { Some(Leaf::Zone) } else { Some(Leaf::Nothing) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hickory_proto::op::OpCode;
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::{CNAME, NS, SOA};

    use super::super::zone::NsHost;
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn asked() -> Name {
        name("_acme-challenge.a.example.com.")
    }

    fn answer(code: ResponseCode, authoritative: bool) -> Message {
        let mut message = Message::response(1, OpCode::Query);
        message.metadata.response_code = code;
        message.metadata.authoritative = authoritative;
        message
    }

    fn soa(owner: &Name) -> Record {
        let data = RData::SOA(SOA::new(name("ns1.example.com."), name("root.example.com."), 1, 1, 1, 1, 1));
        Record::from_rdata(owner.clone(), 60, data)
    }

    #[test]
    fn what_the_servers_of_the_zone_above_say() {
        let mut absent = answer(ResponseCode::NXDomain, true);
        absent.add_authority(soa(&name("example.com.")));
        assert_eq!(judge(&asked(), &absent), Some(Leaf::Nothing));
        let mut other_types = answer(ResponseCode::NoError, true);
        other_types.add_authority(soa(&name("example.com.")));
        assert_eq!(judge(&asked(), &other_types), Some(Leaf::Nothing));
        let mut own = answer(ResponseCode::NoError, true);
        own.add_authority(soa(&asked()));
        assert_eq!(judge(&asked(), &own), Some(Leaf::Zone));
        let mut delegated = answer(ResponseCode::NoError, false);
        delegated.add_authority(Record::from_rdata(asked(), 60, RData::NS(NS(name("ns.example.org.")))));
        assert_eq!(judge(&asked(), &delegated), Some(Leaf::Zone));
        let mut alias = answer(ResponseCode::NoError, true);
        alias.add_answer(Record::from_rdata(asked(), 60, RData::CNAME(CNAME(name("b.example.net.")))));
        assert_eq!(judge(&asked(), &alias), Some(Leaf::Alias("b.example.net.".to_owned())));
    }

    #[test]
    fn what_is_no_answer_of_theirs_is_not_believed() {
        assert_eq!(judge(&asked(), &answer(ResponseCode::Refused, false)), None);
        assert_eq!(judge(&asked(), &answer(ResponseCode::NXDomain, false)), None, "a cache's");
        let mut elsewhere = answer(ResponseCode::NoError, false);
        elsewhere.add_authority(Record::from_rdata(name("example.net."), 60, RData::NS(NS(name("ns.example.net.")))));
        assert_eq!(judge(&asked(), &elsewhere), None);
    }

    #[test]
    fn few_servers_are_asked_and_each_host_once_at_first() {
        let host = |host: &str, addresses: &[&str]| NsHost {
            host: host.to_owned(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            problem: None,
        };
        let nameservers = vec![
            host("ns1.", &["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
            host("ns2.", &["2001:db8::2"]),
            host("ns3.", &["192.0.2.3"]),
        ];
        let zone = Zone { apex: "example.com.".to_owned(), nameservers, ttl: Duration::from_mins(1) };
        let asked: Vec<_> = addresses(&zone, 53).iter().map(ToString::to_string).collect();
        assert_eq!(asked, ["192.0.2.1:53", "192.0.2.3:53", "192.0.2.2:53"]);
    }
}
