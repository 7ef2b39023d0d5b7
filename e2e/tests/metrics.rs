//! What is told to those who watch over the controller: metrics as Prometheus scrapes them, alerts, the dashboard, the log; and
//! what nobody must be told. These run inside a testbed, with controllers of their own:
//! `testbed run -- cargo test -p certwright-e2e --test metrics -- --include-ignored`.
#![allow(clippy::unwrap_used)]

#[path = "metrics/alerts.rs"]
mod alerts;
#[path = "metrics/dashboard.rs"]
mod dashboard;
#[path = "metrics/level.rs"]
mod level;
#[path = "metrics/page.rs"]
mod page;
#[path = "metrics/prometheus.rs"]
mod prometheus;
#[path = "metrics/scraped.rs"]
mod scraped;
#[path = "metrics/secrets.rs"]
mod secrets;
#[path = "metrics/stage.rs"]
mod stage;
#[path = "dns01_apis/digitalocean/vendor.rs"]
#[allow(dead_code)]
mod vendor;
