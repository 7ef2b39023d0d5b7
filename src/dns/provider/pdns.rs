//! The HTTP API of the PowerDNS authoritative server.
