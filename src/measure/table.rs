//! The names of what is counted, and what they mean.

/// How values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

/// One family of series.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    pub name: &'static str,
    pub type_: Type,
    pub help: &'static str,
}

pub(super) const ACME_REQUESTS: &str = "certmanager_http_acme_client_request_count";
pub(super) const ACME_DURATION: &str = "certmanager_http_acme_client_request_duration_seconds";
pub(super) const SYNC_CALLS: &str = "certmanager_controller_sync_call_count";
pub(super) const SYNC_ERRORS: &str = "certmanager_controller_sync_error_count";
pub(super) const STEP_FAILURES: &str = "certwright_step_failures_total";
pub(super) const SELF_CHECKS: &str = "certwright_self_check_duration_seconds";
pub(super) const DNS_CALLS: &str = "certwright_dns_provider_call_duration_seconds";
pub(super) const API_WRITES: &str = "certwright_api_writes_total";
pub(super) const WATCH_INTERRUPTIONS: &str = "certwright_watch_interruptions_total";
pub(super) const LEADER: &str = "certwright_leader";
pub(super) const SERVING_PROBLEMS: &str = "certwright_serving_problems";
pub(super) const REVIEWS: &str = "controller_runtime_webhook_requests_total";
pub(super) const REVIEW_DURATION: &str = "controller_runtime_webhook_latency_seconds";
pub(super) const REFUSALS: &str = "certwright_webhook_refusals_total";
#[cfg(feature = "otlp")]
pub(super) const TRACE_SPANS: &str = "certwright_trace_spans_total";

/// Those of type histogram.
pub const HISTOGRAMS: [&str; 3] = [SELF_CHECKS, DNS_CALLS, REVIEW_DURATION];

/// Their upper bounds, in seconds.
pub const BUCKETS: [f64; 10] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// All that is counted.
pub const RECORDED: &[Recorded] = &[
    recorded(ACME_REQUESTS, Type::Counter, "Requests that were sent to ACME servers."),
    recorded(ACME_DURATION, Type::Summary, "How long requests to ACME servers took, in seconds."),
    recorded(SYNC_CALLS, Type::Counter, "Passes over objects, by controller."),
    recorded(SYNC_ERRORS, Type::Counter, "Steps that failed in passes over objects, by controller."),
    recorded(STEP_FAILURES, Type::Counter, "Steps that failed, by controller and by what helps."),
    recorded(SELF_CHECKS, Type::Histogram, "How long the layers of self-checks took, in seconds, by outcome."),
    recorded(DNS_CALLS, Type::Histogram, "How long calls of DNS providers took, in seconds, by outcome."),
    recorded(API_WRITES, Type::Counter, "Writes to the API server, by kind, verb and outcome."),
    recorded(WATCH_INTERRUPTIONS, Type::Counter, "How often a watch was interrupted and taken up again, by kind."),
    recorded(LEADER, Type::Gauge, "Whether this process is the one that works: 1 or 0."),
    recorded(
        SERVING_PROBLEMS,
        Type::Gauge,
        "Whether what servers serve with cannot be renewed as things are, by what it is: 1 or 0.",
    ),
    recorded(REVIEWS, Type::Counter, "Questions of the API server to the webhook, by path and status of the answer."),
    recorded(REVIEW_DURATION, Type::Histogram, "How long answers of the webhook took, in seconds, by path."),
    recorded(REFUSALS, Type::Counter, "Objects that the webhook refused, by resource."),
    #[cfg(feature = "otlp")]
    recorded(TRACE_SPANS, Type::Counter, "Spans of traces, by what became of them."),
];

const fn recorded(name: &'static str, type_: Type, help: &'static str) -> Recorded {
    Recorded { name, type_, help }
}
