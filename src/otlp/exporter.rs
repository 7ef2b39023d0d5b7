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
    client::Problem,
    disturbance::{Disturbance, News},
    processor::Waiting,
};
use crate::measure;

/// An exporter whose failures are told once until it succeeds.
#[derive(Debug)]
pub(super) struct Telling<E> {
    pub(super) next: E,
    pub(super) waiting: Waiting,
    pub(super) tally: Arc<Tally>,
    pub(super) problem: Problem,
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
        match &sent {
            Ok(()) => {
                measure::spans("exported", spans);
                self.tally.taken();
            }
            Err(error) => {
                measure::spans("failed", spans);
                self.tally.lost(spans, || self.problem.take().unwrap_or_else(|| error.to_string()));
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
