//! What an exchange with the collector came to, as far as the library that sends spans does not tell.

use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

/// The longest reason of a collector that is told, in bytes.
const LONGEST_REASON: usize = 512;

/// About the last exchange.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Remark {
    /// Why there was no answer.
    NoAnswer(String),
    /// The collector refused so many of the spans, and took the others.
    Refused { spans: u64, why: String },
}

/// Where the client leaves it for the exporter. There is one exchange at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Remarks(Arc<Mutex<Option<Remark>>>);

impl Remarks {
    /// Takes the place of what was said of the exchange before.
    pub(super) fn put(&self, remark: Option<Remark>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = remark;
    }

    pub(super) fn take(&self) -> Option<Remark> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Remark {
    /// What an answer of success says of spans that were not taken all the same (OTLP, section "Partial Success").
    pub(super) fn of_success(body: &[u8]) -> Option<Self> {
        let part = ExportTraceServiceResponse::decode(body).ok()?.partial_success?;
        let spans = u64::try_from(part.rejected_spans).ok().filter(|spans| *spans > 0)?;
        let mut why = part.error_message;
        why.truncate(why.floor_char_boundary(LONGEST_REASON));
        Some(Self::Refused { spans, why })
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;

    fn of(rejected_spans: i64, error_message: &str) -> Option<Remark> {
        let part = ExportTracePartialSuccess { rejected_spans, error_message: error_message.to_owned() };
        let answer = ExportTraceServiceResponse { partial_success: Some(part) };
        Remark::of_success(&answer.encode_to_vec())
    }

    #[test]
    fn spans_that_were_refused_are_counted() {
        assert_eq!(of(3, "too old"), Some(Remark::Refused { spans: 3, why: "too old".to_owned() }));
        assert_eq!(of(0, "only a warning"), None);
        assert_eq!(of(-1, "nonsense"), None);
        assert_eq!(Remark::of_success(b""), None);
        assert_eq!(Remark::of_success(b"<html>"), None);
        let long = of(1, &"ä".repeat(1000));
        assert!(matches!(long, Some(Remark::Refused { why, .. }) if why.len() == LONGEST_REASON));
    }
}
