//! Google Cloud DNS and Azure DNS: from a Certificate over the cloud's API and the DNS to the CA, with each way to sign in, and
//! what is said when the API fails. The APIs are stand-ins that check each request. These run inside a testbed, with
//! controllers of their own: `testbed run -- cargo test -p certwright-e2e --test dns01_clouds -- --include-ignored`.
#![allow(clippy::unwrap_used)]

#[path = "dns01_clouds/azure.rs"]
mod azure;
#[path = "dns01_clouds/google.rs"]
mod google;
#[path = "dns01_clouds/stage.rs"]
mod stage;
