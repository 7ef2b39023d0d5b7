//! Akamai Edge DNS.
