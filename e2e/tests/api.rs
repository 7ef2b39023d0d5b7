//! The controller against a real Kubernetes API, Pebble and BIND, one controller for all. These run inside a testbed:
//! `testbed run -- cargo test -p certwright-e2e --test api -- --include-ignored`.
#![allow(clippy::unwrap_used)]

#[path = "api/accounts.rs"]
mod accounts;
#[path = "api/admission.rs"]
mod admission;
#[path = "api/admission_issuers.rs"]
mod admission_issuers;
#[path = "api/approval.rs"]
mod approval;
#[path = "api/caa.rs"]
mod caa;
#[path = "api/fallback.rs"]
mod fallback;
#[path = "api/issue.rs"]
mod issue;
#[path = "api/issuers.rs"]
mod issuers;
#[path = "api/life.rs"]
mod life;
#[path = "api/malformed.rs"]
mod malformed;
#[path = "api/refusals.rs"]
mod refusals;
#[path = "api/renewal_information.rs"]
mod renewal_information;
#[path = "api/requests.rs"]
mod requests;
#[path = "api/revocation.rs"]
mod revocation;
#[path = "api/schema.rs"]
mod schema;
#[path = "api/support.rs"]
mod support;
#[path = "api/tls_alpn01.rs"]
mod tls_alpn01;
