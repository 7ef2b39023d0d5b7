//! Providers with HTTP APIs: from a Certificate over the provider's API and the DNS to the CA, and what is said when the API
//! fails. The APIs are stand-ins that check each request. These run inside a testbed, with controllers of their own:
//! `testbed run -- cargo test -p certwright-e2e --test dns01_apis -- --include-ignored`.
#![allow(clippy::unwrap_used)]

#[path = "dns01_apis/acme_dns.rs"]
mod acme_dns;
#[path = "dns01_apis/akamai.rs"]
mod akamai;
#[path = "dns01_apis/cloudflare.rs"]
mod cloudflare;
#[path = "dns01_apis/contract.rs"]
mod contract;
#[path = "dns01_apis/digitalocean.rs"]
mod digitalocean;
#[path = "dns01_apis/stage.rs"]
mod stage;
