//! DNS look-ups, zones, authoritative verification, and the providers that write TXT records.
//!
//! Nothing here sleeps or polls: one call is one bounded round of queries, and its result says when nothing was found.
//!
//! - [`name`]: record names
//! - [`nameserver`]: one configured nameserver, as users write it
//! - [`resolver`]: look-ups at a list of nameservers
//! - [`secure`]: the same over TLS and HTTPS
//! - [`zone`], [`zone_cache`]: the zone a name lies in, its servers and their addresses
//! - [`caa`]: which CAs a domain allows
//! - [`cname`]: the CNAME chain of a name
//! - [`challenge_name`]: zone and CNAMEs of a challenge's name, without any cache learning that it is not there yet
//! - [`silence`]: servers that gave no answer lately
//! - [`verify`]: does every authoritative server have the TXT record yet
//! - [`provider`]: writing and removing TXT records

pub mod caa;
pub mod challenge_name;
pub mod cname;
mod exchange;
pub mod name;
pub mod nameserver;
pub mod provider;
pub mod resolver;
pub mod secure;
pub mod silence;
pub mod verify;
pub mod zone;
pub mod zone_cache;
