//! Finds the addresses of names for the self-check.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_net::NetError;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_proto::rr::Name as DomainName;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::{ResolverBuilder, TokioResolver};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;

/// Two attempts end before the check as a whole does, so that its report can name the cause.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a name has no addresses. Found again as a source of the client's error.
#[derive(Debug, Error)]
pub enum LookupError {
    #[error("the name does not resolve")]
    NotFound,
    #[error("the name servers gave no answer for the name")]
    Failed(#[source] NetError),
}

/// Which addresses are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Any,
    V4,
    V6,
}

/// Looks names up as the machine is set up (`/etc/hosts`, then the name servers of `/etc/resolv.conf`), without the C
/// library: nothing blocks a thread, nothing outlives the check, and "no such name" is told from "no answer".
pub struct Lookup(TokioResolver);

impl Lookup {
    /// As `/etc/hosts` and `/etc/resolv.conf` are now.
    pub fn from_system(family: Family) -> Result<Self, NetError> {
        Self::from_builder(TokioResolver::builder_tokio()?, family)
    }

    /// Asks these name servers alone.
    pub fn from_nameservers(servers: &[SocketAddr], family: Family) -> Result<Self, NetError> {
        let at = |server: &SocketAddr, mut connection: ConnectionConfig| {
            connection.port = server.port();
            connection
        };
        let config = |server: &SocketAddr| {
            let connections =
                [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|connection| at(server, connection));
            NameServerConfig::new(server.ip(), true, connections.into())
        };
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(config).collect());
        Self::from_builder(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()), family)
    }

    /// The addresses of a name, at least one, in an order that stays the same: servers turn their answers around. The name is
    /// absolute, as it is for CAs: what pods have below their search domains is not looked at.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let mut name = DomainName::from_utf8(name).map_err(|error| LookupError::Failed(error.into()))?;
        name.set_fqdn(true);
        let found = self.0.lookup_ip(name).await.map_err(classify)?;
        let mut addresses: Vec<IpAddr> = found.iter().collect();
        addresses.sort();
        if addresses.is_empty() { Err(LookupError::NotFound) } else { Ok(addresses) }
    }

    fn from_builder(mut builder: ResolverBuilder<TokioRuntimeProvider>, family: Family) -> Result<Self, NetError> {
        let options = builder.options_mut();
        options.timeout = ATTEMPT_TIMEOUT;
        options.attempts = 1;
        options.ip_strategy = match family {
            Family::Any => LookupIpStrategy::Ipv4AndIpv6,
            Family::V4 => LookupIpStrategy::Ipv4Only,
            Family::V6 => LookupIpStrategy::Ipv6Only,
        };
        // A record that was just corrected must count at once.
        options.cache_size = 0;
        Ok(Self(builder.build()?))
    }
}

impl Resolve for Lookup {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = Self(self.0.clone());
        Box::pin(async move {
            let addresses = lookup.addresses(name.as_str()).await?;
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

fn classify(error: NetError) -> LookupError {
    if error.is_nx_domain() || error.is_no_records_found() { LookupError::NotFound } else { LookupError::Failed(error) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::Ipv4Addr;
    use std::str::FromStr;

    use hickory_proto::op::{Message, ResponseCode};
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{RData, Record, RecordType};
    use tokio::net::UdpSocket;

    use super::*;

    /// A name server that knows `known.example.` and one name below a search domain, refuses to say anything about
    /// `broken.example.`, and denies the rest.
    async fn name_server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            loop {
                let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
                let reply = answer(&Message::from_vec(&buffer[..length]).unwrap());
                socket.send_to(&reply.to_vec().unwrap(), client).await.unwrap();
            }
        });
        address
    }

    fn answer(query: &Message) -> Message {
        let question = query.queries[0].clone();
        let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
        reply.add_query(question.clone());
        match question.name().to_ascii().as_str() {
            "known.example." | "web.example.svc.cluster.local." if question.query_type() == RecordType::A => {
                for last in [9, 7] {
                    let data = RData::A(A(Ipv4Addr::new(192, 0, 2, last)));
                    reply.add_answer(Record::from_rdata(question.name().clone(), 60, data));
                }
            }
            "known.example." => {}
            "broken.example." => reply.metadata.response_code = ResponseCode::ServFail,
            _ => reply.metadata.response_code = ResponseCode::NXDomain,
        }
        reply
    }

    async fn addresses(name: &str, family: Family) -> Result<Vec<IpAddr>, String> {
        let server = name_server().await;
        let lookup = Lookup::from_nameservers(&[server], family).unwrap();
        match lookup.resolve(Name::from_str(name).unwrap()).await {
            Ok(found) => Ok(found.map(|address| address.ip()).collect()),
            Err(error) => Err(error.downcast::<LookupError>().unwrap().to_string()),
        }
    }

    #[tokio::test]
    async fn no_such_name_is_told_from_no_answer() {
        for family in [Family::Any, Family::V4] {
            let in_order = [7, 9].map(|last| IpAddr::from([192, 0, 2, last]));
            assert_eq!(addresses("known.example", family).await, Ok(in_order.to_vec()));
        }
        assert_eq!(addresses("known.example", Family::V6).await, Err("the name does not resolve".into()));
        assert_eq!(addresses("unknown.example", Family::Any).await, Err("the name does not resolve".into()));
        let silence = "the name servers gave no answer for the name";
        assert_eq!(addresses("broken.example", Family::Any).await, Err(silence.into()));
    }

    #[tokio::test]
    async fn names_are_not_looked_for_below_search_domains() {
        let server = name_server().await;
        let mut connection = ConnectionConfig::udp();
        connection.port = server.port();
        let servers = vec![NameServerConfig::new(server.ip(), true, vec![connection])];
        let search = vec![DomainName::from_ascii("svc.cluster.local.").unwrap()];
        let config = ResolverConfig::from_parts(None, search, servers);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().ndots = 5;
        let lookup = Lookup::from_builder(builder, Family::V4).unwrap();
        let found = lookup.addresses("web.example").await;
        assert!(matches!(found, Err(LookupError::NotFound)), "{found:?}");
        assert!(lookup.addresses("web.example.svc.cluster.local").await.is_ok(), "by its whole name");
    }
}
