//! Putting it all together.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider},
};

use super::{
    client::Client,
    exporter::{Tally, Telling},
    processor::{Bounded, Waiting},
    remark::Remarks,
    settings::{Settings, environment, is_asked_for},
};
use crate::measure::span;

/// How long the end of the process waits for the last spans to be taken.
const LONGEST_FAREWELL: Duration = Duration::from_secs(5);

/// Traces are kept as long as this is; what is left is sent at its end.
#[derive(Debug)]
#[must_use]
pub struct Traces(Option<SdkTracerProvider>);

/// Begins to keep traces, if the environment says where they go. What it says wrong is logged: certificates matter more.
///
/// To be called on a runtime of several threads, and to be dropped on none of them.
pub fn start() -> Traces {
    if !is_asked_for(&environment) {
        return Traces(None);
    }
    match Settings::read(&environment).and_then(provider) {
        Ok(provider) => {
            span::listen(provider.tracer("certwright"));
            tracing::info!("traces are sent by OTLP");
            Traces(Some(provider))
        }
        Err(problem) => {
            tracing::error!(problem, "no traces are sent");
            Traces(None)
        }
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take() {
            // What could not be sent was told already.
            let _ = provider.shutdown_with_timeout(LONGEST_FAREWELL);
        }
    }
}

fn provider(settings: Settings) -> Result<SdkTracerProvider, String> {
    let (remarks, waiting, tally) = (Remarks::default(), Waiting::new(AtomicUsize::new(0)), Arc::<Tally>::default());
    let client = Client::new(settings.timeout, settings.ca.as_deref(), remarks.clone())?;
    let exporter = SpanExporter::builder().with_http().with_http_client(client).build();
    let next = exporter.map_err(|error| error.to_string())?;
    let exporter = Telling { next, waiting: waiting.clone(), tally: tally.clone(), remarks };
    let batches = BatchConfigBuilder::default().with_max_queue_size(settings.queue).build();
    let next = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    let processor = Bounded { next, most: settings.queue, waiting, tally };
    let builder = SdkTracerProvider::builder().with_span_processor(processor).with_sampler(settings.sampler);
    Ok(builder.with_id_generator(span::Ids::default()).with_resource(resource()).build())
}

/// What the environment says of this process; the name and the version of the program besides.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let builder = Resource::builder().with_attribute(version);
    let is_in_attributes = |attributes: String| {
        attributes.split(',').any(|entry| entry.split('=').next().is_some_and(|key| key.trim() == "service.name"))
    };
    let is_named = environment("OTEL_SERVICE_NAME").is_some()
        || environment("OTEL_RESOURCE_ATTRIBUTES").is_some_and(is_in_attributes);
    if is_named { builder.build() } else { builder.with_service_name("certwright").build() }
}
