//! Traces by OTLP over HTTP, in builds with the feature `otlp`: who gets them stands in the environment, as OpenTelemetry has it.
//!
//! What is traced is said in [`crate::measure::span`]. Nobody who works ever waits for a collector: spans that it does not take
//! in time are dropped, counted, and told of once.

#[cfg(feature = "otlp")]
mod client;
#[cfg(feature = "otlp")]
mod disturbance;
#[cfg(feature = "otlp")]
mod exporter;
#[cfg(feature = "otlp")]
mod pause;
#[cfg(feature = "otlp")]
mod processor;
#[cfg(feature = "otlp")]
mod remark;
mod settings;
#[cfg(feature = "otlp")]
mod start;

#[cfg(feature = "otlp")]
pub use start::{Traces, start};

/// In a build without traces there are none to keep.
#[cfg(not(feature = "otlp"))]
#[derive(Debug)]
pub struct Traces;

/// A build without traces: says so if the environment asks for them.
#[cfg(not(feature = "otlp"))]
pub fn start() -> Traces {
    if settings::is_asked_for(&settings::environment) {
        tracing::warn!(
            "the environment ($OTEL_EXPORTER_OTLP_ENDPOINT) asks for traces, which this build does not have; one with the \
             feature \"otlp\" has them"
        );
    }
    Traces
}
