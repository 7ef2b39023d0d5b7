//! One trace for one issuance: its ids follow from the CertificateRequest's, so that every process finds them without asking.

use std::cell::Cell;

use aws_lc_rs::digest::{SHA256, digest};
use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

thread_local! {
    /// What the span that is being made on this thread is called, if that is not left to chance.
    static NEXT: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Gives spans their ids.
#[derive(Debug, Default)]
pub struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        NEXT.get().map_or_else(|| self.0.new_trace_id(), |(trace, _)| trace)
    }

    fn new_span_id(&self) -> SpanId {
        NEXT.get().map_or_else(|| self.0.new_span_id(), |(_, span)| span)
    }
}

/// Makes the span that all passes of this issuance are parts of.
pub(super) fn with_ids_of<T>(issuance: &str, make: impl FnOnce() -> T) -> T {
    NEXT.set(Some(ids(issuance)));
    let span = make();
    NEXT.set(None);
    span
}

/// The span of this issuance, as what comes before it and after it sees it. Whether it is sampled is found out again for
/// each pass, by its trace's id, so with the same answer.
pub(super) fn parent(issuance: &str) -> Context {
    Context::new().with_remote_span_context(span_context(issuance))
}

pub(super) fn span_context(issuance: &str) -> SpanContext {
    let (trace, span) = ids(issuance);
    SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::NONE)
}

fn ids(issuance: &str) -> (TraceId, SpanId) {
    let hash = digest(&SHA256, issuance.as_bytes());
    let (mut trace, mut span) = ([0; 16], [0; 8]);
    for (to, from) in trace.iter_mut().chain(span.iter_mut()).zip(hash.as_ref()) {
        *to = *from;
    }
    (TraceId::from_bytes(trace), SpanId::from_bytes(span))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuance_has_ids_of_its_own() {
        assert_eq!(ids("a"), ids("a"));
        assert_ne!(ids("a").0, ids("b").0);
        assert!(span_context("a").is_valid() && span_context("a").is_remote());
    }

    #[test]
    fn other_spans_have_ids_by_chance() {
        let generator = Ids::default();
        let chosen = with_ids_of("a", || (generator.new_trace_id(), generator.new_span_id()));
        assert_eq!(chosen, ids("a"));
        assert_ne!(generator.new_trace_id(), chosen.0);
        assert_ne!(generator.new_trace_id(), generator.new_trace_id());
    }
}
