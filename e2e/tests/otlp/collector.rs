//! A collector that takes spans by OTLP over HTTP and checks each request against the published messages.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use certwright_e2e::stand_in::{Answer, Request, Vendor};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// What requests have to carry.
pub const PASSWORD: &str = "Basic Y29sbGVjdG9yOnNlc2FtZQ==";

/// All that was taken.
#[derive(Clone, Default)]
pub struct Collector(Arc<Mutex<Vec<Taken>>>);

/// A span, and who sent it.
#[derive(Clone, Debug)]
pub struct Taken {
    pub span: Span,
    pub resource: Vec<KeyValue>,
}

impl Collector {
    pub fn taken(&self) -> Vec<Taken> {
        self.0.lock().unwrap().clone()
    }

    /// Those with this name and, if it is not empty, this object.
    pub fn named(&self, name: &str, object: &str) -> Vec<Taken> {
        let mut taken = self.taken();
        taken.retain(|taken| taken.span.name == name && (object.is_empty() || taken.text("certwright.name") == object));
        taken
    }
}

impl Taken {
    /// An attribute of the span; empty if there is none.
    pub fn text(&self, key: &str) -> String {
        text(&self.span.attributes, key)
    }

    pub fn number(&self, key: &str) -> Option<i64> {
        match value(&self.span.attributes, key)? {
            Value::IntValue(number) => Some(number),
            other => panic!("{key} is {other:?}"),
        }
    }

    /// An attribute of who sent it.
    pub fn of_sender(&self, key: &str) -> String {
        text(&self.resource, key)
    }
}

impl Vendor for Collector {
    fn answer(&self, request: &Request) -> Result<Answer> {
        ensure!(request.line() == "POST /v1/traces", "{}", request.line());
        ensure!(request.header("content-type") == Some("application/x-protobuf"), "{:?}", request.headers);
        ensure!(request.header("authorization") == Some(PASSWORD), "the header that was asked for is missing");
        let message = ExportTraceServiceRequest::decode(&*request.body).context("the body is no request")?;
        // What is not in the published messages would be lost on the way.
        ensure!(message.encoded_len() == request.body.len(), "the body has more than the published messages");
        for spans in message.resource_spans {
            let resource = spans.resource.context("spans without a resource")?.attributes;
            for span in spans.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                check(&span)?;
                self.0.lock().unwrap().push(Taken { span, resource: resource.clone() });
            }
        }
        let answer = ExportTraceServiceResponse::default().encode_to_vec();
        Ok(Answer { body: answer, ..Answer::empty(200) }.with("content-type", "application/x-protobuf"))
    }
}

/// As the comments of the messages have it.
fn check(span: &Span) -> Result<()> {
    ensure!(span.trace_id.len() == 16 && span.trace_id.iter().any(|byte| *byte != 0), "trace id {:?}", span.trace_id);
    ensure!(span.span_id.len() == 8 && span.span_id.iter().any(|byte| *byte != 0), "span id {:?}", span.span_id);
    ensure!([0, 8].contains(&span.parent_span_id.len()), "parent {:?}", span.parent_span_id);
    ensure!(!span.name.is_empty(), "a span without a name");
    ensure!(span.start_time_unix_nano > 0, "a span without a start");
    ensure!(span.end_time_unix_nano >= span.start_time_unix_nano, "a span that ends before it starts");
    let keys: Vec<_> = span.attributes.iter().map(|attribute| &attribute.key).collect();
    let mut unique = keys.clone();
    unique.sort();
    unique.dedup();
    ensure!(unique.len() == keys.len(), "an attribute twice: {keys:?}");
    Ok(())
}

fn value(attributes: &[KeyValue], key: &str) -> Option<Value> {
    attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    match value(attributes, key) {
        Some(Value::StringValue(text)) => text,
        Some(other) => panic!("{key} is {other:?}"),
        None => String::new(),
    }
}
