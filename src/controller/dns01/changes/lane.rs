//! One lane: the changes of one zone by one set of credentials.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{LaneKey, Rest, Shared, State, Ticket};
use crate::{
    cluster::Key,
    decide::backoff,
    dns::provider::{Change, Provider, ProviderError},
    measure::span::Span,
};

/// For one call of a provider. It is given up then, and may have been made or not.
const CALL_LIMIT: Duration = Duration::from_mins(1);

/// From the beginning of a call with several changes, or with one of several, to the next one. It gathers what comes in quick
/// succession, and spares secondary servers a transfer for every value.
const BETWEEN_CALLS: Duration = Duration::from_millis(100);

/// A provider that takes so long to fail is out of order, and who waits is told so without trying it alone.
const OUT_OF_ORDER: Duration = Duration::from_secs(10);

/// The longest rest after an answer that it was too much.
const LONGEST_REST: Duration = Duration::from_hours(1);

/// See the module's description. It ends when nothing waits.
pub(super) struct Lane {
    pub(super) shared: Arc<Shared>,
    pub(super) key: LaneKey,
    pub(super) provider: Arc<dyn Provider>,
    pub(super) arrived: Arc<Notify>,
}

impl Lane {
    pub(super) fn spawn(self) {
        let mut is_over = self.shared.is_over.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                _ = is_over.wait_for(|is_over| *is_over) => {}
                () = async { while self.pass().await {} } => {}
            }
        });
    }

    /// Waits for company and makes one call; whether anything may be left to do.
    async fn pass(&self) -> bool {
        while let Some(until) = self.wait() {
            tokio::select! {
                () = sleep_until(until) => {}
                () = self.arrived.notified() => {}
            }
        }
        let batch = self.batch();
        if !batch.is_empty() {
            let began = Instant::now();
            let made = self.call(&batch).await;
            let alone = batch.iter().all(|ticket| ticket.alone);
            self.settle(batch, made, began);
            if self.provider.most_at_once() > 1 && !alone {
                sleep_until(began + BETWEEN_CALLS).await;
            }
        }
        self.goes_on()
    }

    /// Until when nothing is to be sent; none if it is time, or nothing waits.
    fn wait(&self) -> Option<Instant> {
        let state = self.shared.lock();
        let waiting = &state.lanes.get(&self.key)?.waiting;
        let due = waiting.iter().map(|ticket| ticket.due).min()?;
        let due = state.rests.get(&self.key.0).map_or(due, |rest| due.max(rest.until));
        (due > Instant::now()).then_some(due)
    }

    /// Takes what goes into one call. A record that is added and removed again needs two.
    fn batch(&self) -> Vec<Ticket> {
        let (most, mut batch) = (self.provider.most_at_once().max(1), Vec::<Ticket>::new());
        let mut state = self.shared.lock();
        while batch.len() < most {
            let Some(lane) = state.lanes.get_mut(&self.key) else { break };
            let fits = |ticket: &Ticket| {
                let together = batch.is_empty() || (!ticket.alone && !batch[0].alone);
                together && batch.iter().all(|other| other.change.record != ticket.change.record)
            };
            let Some(ticket) = lane.waiting.pop_front_if(|ticket| fits(ticket)) else { break };
            if let Some(submission) = state.submission(&ticket) {
                submission.in_call = true;
                batch.push(ticket);
            }
        }
        batch
    }

    /// In a task of its own, so that a panic ends nothing else. It ends with the lane.
    async fn call(&self, batch: &[Ticket]) -> Result<(), ProviderError> {
        let changes: Vec<Change> = batch.iter().map(|ticket| ticket.change.clone()).collect();
        let provider = self.provider.clone();
        let mut call = JoinSet::new();
        // Each Challenge has the call in its trace, and the first what it consists of.
        let spans: Vec<Span> = batch.iter().map(|ticket| Span::part_of(&ticket.from, "DNS change")).collect();
        let work = async move { timeout(CALL_LIMIT, provider.apply(&changes)).await };
        match spans.first() {
            Some(span) => call.spawn(span.around(work)),
            None => call.spawn(work),
        };
        let message = match call.join_next().await {
            Some(Ok(Ok(made))) => return made,
            Some(Ok(Err(_))) | None => format!("the DNS provider did not answer within {} s", CALL_LIMIT.as_secs()),
            Some(Err(error)) => {
                tracing::error!(%error, "a call of a DNS provider ended by a defect of certwright");
                "the call of the DNS provider ended by a defect of certwright; see its log".to_owned()
            }
        };
        Err(ProviderError::Transient { message, source: None })
    }

    fn settle(&self, batch: Vec<Ticket>, made: Result<(), ProviderError>, began: Instant) {
        let mut state = self.shared.lock();
        for ticket in &batch {
            if let Some(submission) = state.submission(ticket) {
                submission.in_call = false;
            }
        }
        let woken = match made {
            Err(ProviderError::Throttled { message, retry_after, .. }) => {
                self.rest(&mut state, message, retry_after);
                self.put_behind(&mut state, batch);
                Vec::new()
            }
            Err(ProviderError::Refused { .. } | ProviderError::NoZone { .. }) if batch.len() > 1 => {
                self.put_before(&mut state, batch);
                Vec::new()
            }
            Err(error) if error.is_transient() && began.elapsed() >= OUT_OF_ORDER => {
                let waiting = state.lanes.get_mut(&self.key).map(|lane| std::mem::take(&mut lane.waiting));
                let all: Vec<Ticket> = batch.into_iter().chain(waiting.into_iter().flatten()).collect();
                deliver(&mut state, &all, &Err(error))
            }
            made => {
                let now = Instant::now();
                if state.rests.get(&self.key.0).is_some_and(|rest| rest.until <= now) {
                    state.rests.remove(&self.key.0);
                }
                if let Some(lane) = state.lanes.get_mut(&self.key) {
                    lane.throttled = None;
                }
                deliver(&mut state, &batch, &made)
            }
        };
        drop(state);
        for owner in woken {
            self.shared.hub.queue.wake(&owner);
        }
    }

    /// Nobody asks with these credentials for a while. No Challenge has failed by it.
    fn rest(&self, state: &mut State, message: String, retry_after: Option<Duration>) {
        let times = state.rests.get(&self.key.0).map_or(0, |rest| rest.times).saturating_add(1);
        let usual = unsigned(backoff::after_failures(times));
        let wait = retry_after.unwrap_or(usual).clamp(Duration::from_secs(1), LONGEST_REST);
        let now = Instant::now();
        state.rests.retain(|_, rest| rest.until > now);
        state.rests.insert(self.key.0, Rest { until: now + wait, times });
        if let Some(lane) = state.lanes.get_mut(&self.key) {
            lane.throttled = Some(message);
        }
    }

    /// Each of them is tried alone now.
    fn put_before(&self, state: &mut State, batch: Vec<Ticket>) {
        let Some(lane) = state.lanes.get_mut(&self.key) else { return };
        for ticket in batch.into_iter().rev() {
            lane.waiting.push_front(Ticket { alone: true, due: Instant::now(), ..ticket });
        }
    }

    /// What was too much lets others go first: where room is what is wanting, a removal makes some.
    fn put_behind(&self, state: &mut State, batch: Vec<Ticket>) {
        let Some(lane) = state.lanes.get_mut(&self.key) else { return };
        let now = Instant::now();
        lane.waiting.extend(batch.into_iter().map(|ticket| Ticket { due: now, ..ticket }));
    }

    fn goes_on(&self) -> bool {
        let mut state = self.shared.lock();
        let waits = state.lanes.get(&self.key).is_some_and(|lane| !lane.waiting.is_empty());
        if !waits {
            state.lanes.remove(&self.key);
        }
        waits
    }
}

/// Notes the outcome; who has no part left that is under way.
fn deliver(state: &mut State, tickets: &[Ticket], made: &Result<(), ProviderError>) -> Vec<Key> {
    let mut woken = Vec::new();
    for ticket in tickets {
        let Some(submission) = state.submission(ticket) else { continue };
        for part in submission.parts.iter_mut().filter(|part| part.change == ticket.change) {
            part.made = Some(made.clone());
        }
        if submission.parts.iter().all(|part| part.made.is_some()) {
            woken.push(ticket.owner.clone());
        }
    }
    woken
}

fn unsigned(wait: SignedDuration) -> Duration {
    Duration::try_from(wait).unwrap_or_default()
}
