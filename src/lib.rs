//! certwright keeps TLS certificates in Kubernetes Secrets: it watches `Certificate` resources, obtains what they ask
//! for from ACME certificate authorities and renews it in time.
//!
//! # Layout
//!
//! - [`api`]: the wire types of `cert-manager.io/v1` and `acme.cert-manager.io/v1`, and every name users see
//! - [`pki`]: keys, certificate requests, certificates and chains: bytes in, bytes out
//! - [`decide`]: every decision, as pure functions of what is seen and the time
//! - [`acme`]: the ACME protocol (RFC 8555)
//! - [`cloud`]: who the controller is to the clouds, and how it signs
//! - [`dns`]: look-ups, zones, authoritative verification, and the providers that write TXT records
//! - [`http01`]: the solver's objects, its server and the self-check
//! - [`tls_alpn01`]: the same for TLS-ALPN-01
//! - [`cluster`]: shared watches, stores, the work queue, writes and events
//! - [`measure`]: what is counted while it happens, and what is under way
//! - [`metrics`]: what is scraped
//! - [`otlp`]: sends traces, in builds with the feature of that name
//! - [`serve`]: servers with bounds on connections, TLS and HTTP
//! - [`tls`]: what servers serve with over TLS
//! - [`controller`]: gather, decide, act: one file per kind
//! - [`admission`]: the optional webhook
//! - [`cli`]: the subcommands
//!
//! Who may import whom is enforced by `tests/layers.rs`.

pub mod acme;
pub mod admission;
pub mod api;
pub mod cli;
pub mod cloud;
pub mod cluster;
pub mod controller;
pub mod decide;
pub mod dns;
pub mod http01;
pub mod measure;
pub mod metrics;
pub mod otlp;
pub mod pki;
pub mod serve;
pub mod tls;
pub mod tls_alpn01;
