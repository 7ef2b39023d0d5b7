//! The CNAME chain of a name, for challenges that are answered in another zone.

use std::time::Duration;

use hickory_proto::rr::{RData, RecordType};
use tokio::time::timeout;

use super::name::{self, NameError};
use super::resolver::{LookupError, Reply, Resolver};

/// Longer chains are not followed: recursive resolvers give up at about this length, and so would the CA.
const MAX_ALIASES: usize = 16;

/// For the whole chain.
const CHAIN_LIMIT: Duration = Duration::from_secs(30);

/// Why a chain could not be followed to its end.
#[derive(Debug, thiserror::Error)]
pub enum CnameError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("cannot follow the CNAME records {}: {source}", shown(chain))]
    Lookup { chain: Vec<String>, source: LookupError },
    #[error("the CNAME records lead back to where they came from: {}", shown(chain))]
    Loop { chain: Vec<String> },
    #[error("more than {MAX_ALIASES} CNAME records in a row: {}", shown(chain))]
    TooLong { chain: Vec<String> },
    #[error("cannot follow the CNAME records of {name}: it took more than {} s", CHAIN_LIMIT.as_secs())]
    TooSlow { name: String },
}

/// Follows the CNAME records of a name.
///
/// The chain begins with the name itself and ends with the name that has no CNAME record, which is the one to write at.
/// It has one element when there is nothing to follow. All names have the closing dot.
///
/// # Errors
///
/// A look-up that no nameserver answers, a loop, or a chain of more than 16 records.
pub async fn follow_cnames(resolver: &Resolver, fqdn: &str) -> Result<Vec<String>, CnameError> {
    follow_on(resolver, name::to_fqdn(&name::parse(fqdn)?), Vec::new()).await
}

/// The same where the records that lead to `start` are known already; the chain begins with them.
pub(crate) async fn follow_on(
    resolver: &Resolver,
    start: String,
    known: Vec<String>,
) -> Result<Vec<String>, CnameError> {
    let slow = CnameError::TooSlow { name: name::shown(known.first().unwrap_or(&start)).to_owned() };
    timeout(CHAIN_LIMIT, follow(resolver, start, known)).await.unwrap_or(Err(slow))
}

async fn follow(resolver: &Resolver, start: String, known: Vec<String>) -> Result<Vec<String>, CnameError> {
    let mut chain = known;
    chain.push(start.clone());
    let mut current = start;
    loop {
        // One record at a time: a resolver that follows the chain itself stops at the first zone it cannot reach.
        let reply = match resolver.query(&current, RecordType::CNAME).await {
            Ok(reply) => reply,
            Err(source) => return Err(CnameError::Lookup { chain, source }),
        };
        let Some(next) = target(&current, &reply) else { return Ok(chain) };
        let seen = chain.contains(&next);
        chain.push(next.clone());
        if seen {
            return Err(CnameError::Loop { chain });
        }
        if chain.len() > MAX_ALIASES + 1 {
            return Err(CnameError::TooLong { chain });
        }
        current = next;
    }
}

fn target(owner: &str, reply: &Reply) -> Option<String> {
    reply.message.answers.iter().find_map(|record| match &record.data {
        RData::CNAME(target) if name::to_fqdn(&record.name) == owner => Some(name::to_fqdn(target)),
        _ => None,
    })
}

fn shown(chain: &[String]) -> String {
    chain.iter().map(|name| name::shown(name)).collect::<Vec<_>>().join(" -> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_shows_the_chain() {
        let chain = ["a.example.com.", "b.example.net.", "a.example.com."].map(str::to_owned).to_vec();
        let message = CnameError::Loop { chain }.to_string();
        assert!(message.ends_with("a.example.com -> b.example.net -> a.example.com"), "{message}");
    }
}
