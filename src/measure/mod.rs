//! What is counted at the moment it happens: exchanges with CAs, passes, checks, calls of DNS providers, writes.
//!
//! Every room may say here what happened; [`crate::metrics`] serves the sums. Until a recorder is installed nothing is kept.
//! Labels have a bounded number of values: no names of objects, no addresses of pods, no text of others.

mod hosts;
pub mod span;
mod table;

use std::time::Duration;

use metrics::{counter, gauge, histogram};

pub use table::{BUCKETS, HISTOGRAMS, RECORDED, Recorded, Type};

#[cfg(feature = "otlp")]
use table::TRACE_SPANS;
use table::{
    ACME_DURATION, ACME_REQUESTS, API_WRITES, DNS_CALLS, LEADER, REFUSALS, REVIEW_DURATION, REVIEWS, SELF_CHECKS,
    SERVING_PROBLEMS, STEP_FAILURES, SYNC_CALLS, SYNC_ERRORS, WATCH_INTERRUPTIONS,
};

/// What stands for the status of an exchange that got no answer, as cert-manager has it.
pub const NO_ANSWER: u16 = 999;

/// One HTTP exchange with a CA.
#[derive(Clone, Copy, Debug)]
pub struct AcmeExchange<'a> {
    pub url: &'a str,
    pub method: &'a str,
    /// By cert-manager's names, such as `authorize_order`.
    pub action: &'static str,
    /// Of the answer, or [`NO_ANSWER`].
    pub status: u16,
    pub took: Duration,
}

/// An exchange with a CA is over.
pub fn acme_exchange(exchange: &AcmeExchange<'_>) {
    let (scheme, host) = hosts::scheme_and_host(exchange.url);
    let labels = [
        ("scheme", scheme),
        ("host", host),
        ("action", exchange.action.to_owned()),
        ("method", exchange.method.to_owned()),
        ("status", exchange.status.to_string()),
    ];
    counter!(ACME_REQUESTS, &labels).increment(1);
    histogram!(ACME_DURATION, &labels).record(exchange.took);
}

/// The objects of this kind are going to be worked on: their counters begin at zero, so that the first failure shows.
pub fn controller(controller: &'static str) {
    counter!(SYNC_CALLS, "controller" => controller).increment(0);
    counter!(SYNC_ERRORS, "controller" => controller).increment(0);
}

/// A pass over an object has begun.
pub fn pass(controller: &'static str) {
    counter!(SYNC_CALLS, "controller" => controller).increment(1);
}

/// A step of a pass failed. `class` says what helps: `transient`, `final`, `limited`, `account`, `right`, `write`,
/// `defect`.
pub fn step_failure(controller: &'static str, class: &'static str) {
    counter!(SYNC_ERRORS, "controller" => controller).increment(1);
    counter!(STEP_FAILURES, "controller" => controller, "class" => class).increment(1);
}

/// One layer of a self-check is over. `type_` is that of the challenge, `layer` who was asked: `solver`, `public` or `dns`.
pub fn self_check(type_: &'static str, layer: &'static str, passed: bool, took: Duration) {
    let outcome = if passed { "passed" } else { "failed" };
    histogram!(SELF_CHECKS, "type" => type_, "layer" => layer, "outcome" => outcome).record(took);
}

/// A call of a DNS provider is over: `find_zone` or `apply`, and `ok` or what kind of failure.
pub fn dns_call(provider: &'static str, call: &'static str, outcome: &'static str, took: Duration) {
    histogram!(DNS_CALLS, "provider" => provider, "call" => call, "outcome" => outcome).record(took);
}

/// A write to the API server is over.
pub fn api_write(kind: String, verb: &'static str, outcome: &'static str) {
    counter!(API_WRITES, "kind" => kind, "verb" => verb, "outcome" => outcome).increment(1);
}

/// A watch has begun.
pub fn watch_begun(kind: &str) {
    counter!(WATCH_INTERRUPTIONS, "kind" => kind.to_owned()).increment(0);
}

/// A watch was interrupted; it is taken up again.
pub fn watch_interrupted(kind: &str) {
    counter!(WATCH_INTERRUPTIONS, "kind" => kind.to_owned()).increment(1);
}

/// Whether this process is the one that works.
pub fn leads(leads: bool) {
    gauge!(LEADER).set(if leads { 1.0 } else { 0.0 });
}

/// Whether what is served with cannot be renewed as things are. `what` is, for example, "the certificate of the metrics".
pub fn serving_problem(what: &'static str, is_there: bool) {
    gauge!(SERVING_PROBLEMS, "what" => what).set(if is_there { 1.0 } else { 0.0 });
}

/// The webhook has answered a question at this path, with this status of HTTP.
pub fn review(path: &'static str, status: u16, took: Duration) {
    counter!(REVIEWS, "webhook" => path, "code" => status.to_string()).increment(1);
    histogram!(REVIEW_DURATION, "webhook" => path).record(took);
}

/// The webhook has refused an object of a resource of ours.
pub fn refusal(resource: &'static str) {
    counter!(REFUSALS, "resource" => resource).increment(1);
}

/// Spans of traces were given to their collector, or lost: `exported`, `failed`, `refused` or `dropped`. Only in a build with the
/// feature `otlp`.
#[cfg(feature = "otlp")]
pub fn spans(outcome: &'static str, count: u64) {
    counter!(TRACE_SPANS, "outcome" => outcome).increment(count);
}
