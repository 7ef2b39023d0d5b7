//! What works on one share of the work for as long as it is held. All that it remembers ends with it: when the share comes
//! back, others may have worked on it meanwhile.

use std::sync::Arc;

use tokio::{sync::OwnedSemaphorePermit, task::JoinSet, time::Instant};

use super::{Context, run::work};
use crate::cluster::Key;

/// See the module's description.
pub(super) struct Term {
    context: Arc<Context>,
    /// When it ends if nothing more is heard; none is never.
    pub(super) until: Option<Instant>,
    passes: JoinSet<()>,
}

impl Term {
    pub(super) fn new(context: Arc<Context>, until: Option<Instant>) -> Self {
        Self { context, until, passes: JoinSet::new() }
    }

    /// Begins a pass over the object, which holds the permit as long as it takes.
    pub(super) fn begin(&mut self, key: Key, permit: OwnedSemaphorePermit) {
        while self.passes.try_join_next().is_some() {}
        let context = self.context.clone();
        self.passes.spawn(async move {
            work(context, key).await;
            drop(permit);
        });
    }

    /// Waits until nothing is under way.
    pub(super) async fn rest(&mut self) {
        while self.passes.join_next().await.is_some() {}
    }

    /// Breaks off what is under way.
    pub(super) async fn end(mut self) {
        self.passes.shutdown().await;
    }
}
