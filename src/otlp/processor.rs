//! Spans on their way to the exporter: so many wait, and no more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};

use super::exporter::Tally;
use crate::measure;

/// How many spans wait or are being sent.
pub(super) type Waiting = Arc<AtomicUsize>;

/// Gives spans to a processor that never holds more than `most`, so that it has a place for each. What is beyond is dropped
/// here, where it can be counted.
#[derive(Debug)]
pub(super) struct Bounded<P> {
    pub(super) next: P,
    pub(super) most: usize,
    pub(super) waiting: Waiting,
    pub(super) tally: Arc<Tally>,
}

impl<P: SpanProcessor> SpanProcessor for Bounded<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.next.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.waiting.fetch_add(1, Ordering::AcqRel) < self.most {
            self.next.on_end(span);
            return;
        }
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        measure::spans("dropped", 1);
        self.tally.lost(1, || format!("{} wait already to be sent", self.most));
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Tracer, TracerProvider};
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    /// Takes spans and sends none.
    #[derive(Debug)]
    struct Stuck(Arc<AtomicUsize>);

    impl SpanProcessor for Stuck {
        fn on_start(&self, _: &mut Span, _: &Context) {}

        fn on_end(&self, _: SpanData) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let (taken, waiting) = (Arc::<AtomicUsize>::default(), Waiting::default());
        let next = Stuck(taken.clone());
        let processor = Bounded { next, most: 3, waiting: waiting.clone(), tally: Arc::default() };
        let provider = SdkTracerProvider::builder().with_span_processor(processor).build();
        let tracer = provider.tracer("test");
        for _ in 0..5 {
            drop(tracer.start("span"));
        }
        assert_eq!((taken.load(Ordering::Acquire), waiting.load(Ordering::Acquire)), (3, 3));
        // What was sent makes room.
        waiting.fetch_sub(2, Ordering::AcqRel);
        for _ in 0..5 {
            drop(tracer.start("span"));
        }
        assert_eq!(taken.load(Ordering::Acquire), 5);
    }
}
