//! Sends spans, and says what becomes of them.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};

use super::{
    disturbance::{Disturbance, News},
    processor::Waiting,
    remark::{Remark, Remarks},
};
use crate::measure;

/// An exporter whose failures are told once until it succeeds.
#[derive(Debug)]
pub(super) struct Telling<E> {
    pub(super) next: E,
    pub(super) waiting: Waiting,
    pub(super) tally: Arc<Tally>,
    pub(super) remarks: Remarks,
}

/// What was lost lately.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Disturbance>);

impl<E: SpanExporter> SpanExporter for Telling<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let sent = self.next.export(batch).await;
        self.waiting.fetch_sub(count, Ordering::AcqRel);
        let spans = u64::try_from(count).unwrap_or(u64::MAX);
        match (&sent, self.remarks.take()) {
            (Ok(()), Some(Remark::Refused { spans: refused, why })) => {
                let refused = refused.min(spans);
                measure::spans("exported", spans - refused);
                measure::spans("refused", refused);
                self.tally.lost(refused, || format!("the collector refuses some: {why}"));
            }
            (Ok(()), _) => {
                measure::spans("exported", spans);
                self.tally.taken();
            }
            (Err(_), Some(Remark::NoAnswer(why))) => {
                measure::spans("failed", spans);
                self.tally.lost(spans, || why);
            }
            (Err(error), _) => {
                measure::spans("failed", spans);
                self.tally.lost(spans, || error.to_string());
            }
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

impl Tally {
    pub(super) fn lost(&self, spans: u64, why: impl FnOnce() -> String) {
        if self.with(|disturbance| disturbance.lost(spans)).is_some() {
            let why = why();
            tracing::warn!(why, "traces are not taken and are lost; this is told once until it is over");
        }
    }

    fn taken(&self) {
        if let Some(News::Over(lost)) = self.with(Disturbance::taken) {
            tracing::info!(lost, "traces are taken again; so many spans were lost meanwhile");
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Disturbance) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Takes everything.
    #[derive(Debug)]
    struct Taking;

    impl SpanExporter for Taking {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            Ok(())
        }
    }

    #[tokio::test]
    async fn spans_that_are_refused_in_an_answer_of_success_are_lost() {
        for (remark, is_loss) in [(None, false), (Some(Remark::Refused { spans: 1, why: String::new() }), true)] {
            let (tally, remarks) = (Arc::<Tally>::default(), Remarks::default());
            let waiting = Waiting::new(AtomicUsize::new(0));
            let exporter = Telling { next: Taking, waiting, tally: tally.clone(), remarks: remarks.clone() };
            remarks.put(remark);
            assert!(exporter.export(Vec::new()).await.is_ok());
            // A further loss is no news if one was told of.
            assert_eq!(tally.with(|disturbance| disturbance.lost(1)).is_none(), is_loss);
        }
    }
}
