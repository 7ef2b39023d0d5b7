//! DNS look-ups, zones, authoritative verification, and the providers that write TXT records.
pub mod provider;
