//! The loop that takes work from the queue.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    Context, certificate, challenge, injection, issuer,
    leadership::{Assignment, Held},
    memory::Memory,
    order, refused, request,
    round::Round,
    shim,
    step_error::StepError,
    term::Term,
    traced::Traced,
};
use crate::{
    cluster::{ApiError, Hub, Key, Kind},
    decide::{TroubleClass, Wake, backoff, shard::Share},
    measure::{self, span},
};

/// A pass that takes longer is given up; the object is looked at again.
const LONGEST_PASS: Duration = Duration::from_mins(3);

/// What is under way in this process wakes the object; should it not, the object is looked at again after this.
const LONGEST_SILENCE: SignedDuration = SignedDuration::from_mins(1);

/// Rounds of gather, decide and act before a pass makes room for others.
const MOST_ROUNDS: u32 = 20;

/// How long running passes may take to end after the stop signal.
const GRACE: Duration = Duration::from_secs(10);

/// Does what is held of the work until `stop` resolves; passes that are under way then may end. `make` makes what a share is
/// worked on with. The work is divided into `division` shares.
pub async fn run(
    hub: Arc<Hub>,
    (workers, division): (usize, u32),
    assignment: Assignment,
    make: impl Fn(Share) -> Arc<Context>,
    stop: impl Future<Output = ()>,
) {
    let workers = Arc::new(Semaphore::new(workers.max(1)));
    let Assignment { mut held, working } = assignment;
    let mut terms = BTreeMap::new();
    for kind in Kind::ALL {
        measure::controller(kind.plural());
    }
    tokio::pin!(stop);
    loop {
        let now_held = held.borrow_and_update().at(Instant::now());
        follow(&mut terms, &hub, division, &now_held, &make).await;
        tell(&terms, &working);
        measure::leads(!terms.is_empty());
        tokio::select! {
            () = &mut stop => break,
            Ok(()) = held.changed() => {}
            () = first_end(&terms) => {}
            Some((permit, key)) = next(&workers, &hub) => {
                let share = Share::of_namespace(&key.object.namespace, division);
                if let Some(term) = terms.get_mut(&share.number) {
                    term.begin(key, permit);
                } else {
                    // It is woken again when its share is held. Until then the queue would only grow, by all that comes and goes.
                    hub.queue.done(&key, None, Timestamp::now());
                }
            }
        }
    }
    finish(&mut terms, &mut held).await;
    while let Some((_, term)) = terms.pop_first() {
        term.end().await;
    }
    tell(&terms, &working);
}

/// Ends the terms of what is not held any more, and begins those of what is held now.
async fn follow(
    terms: &mut BTreeMap<u32, Term>,
    hub: &Hub,
    division: u32,
    held: &BTreeMap<u32, Option<Instant>>,
    make: &impl Fn(Share) -> Arc<Context>,
) {
    end_lost(terms, held).await;
    for (number, until) in held {
        if let Some(term) = terms.get_mut(number) {
            term.until = *until;
            continue;
        }
        let share = Share { number: *number, of: division };
        tracing::info!(share = number, of = division, "working");
        terms.insert(*number, Term::new(make(share), *until));
        hub.wake_all(|key| share.has(&key.object.namespace));
    }
}

/// Tells what is being worked on.
fn tell(terms: &BTreeMap<u32, Term>, working: &watch::Sender<BTreeSet<u32>>) {
    working.send_if_modified(|told| {
        let now = terms.keys().copied().collect();
        std::mem::replace(told, now) != *told
    });
}

async fn end_lost(terms: &mut BTreeMap<u32, Term>, held: &BTreeMap<u32, Option<Instant>>) {
    let lost: Vec<u32> = terms.keys().filter(|number| !held.contains_key(number)).copied().collect();
    for number in lost {
        if let Some(term) = terms.remove(&number) {
            term.end().await;
            tracing::warn!(
                share = number,
                "the lease is lost or given back: nothing of it is worked on until it is held again"
            );
        }
    }
}

/// When the first of what is held runs out, unless it is renewed.
async fn first_end(terms: &BTreeMap<u32, Term>) {
    match terms.values().filter_map(|term| term.until).min() {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

async fn next(workers: &Arc<Semaphore>, hub: &Hub) -> Option<(OwnedSemaphorePermit, Key)> {
    let permit = workers.clone().acquire_owned().await.ok()?;
    Some((permit, hub.queue.next().await))
}

/// Lets what is under way end, as long as it is held.
async fn finish(terms: &mut BTreeMap<u32, Term>, held: &mut watch::Receiver<Held>) {
    let limit = Instant::now() + GRACE;
    loop {
        let now_held = held.borrow_and_update().at(Instant::now());
        end_lost(terms, &now_held).await;
        for (number, term) in terms.iter_mut() {
            term.until = now_held.get(number).copied().flatten();
        }
        let end = terms.values().filter_map(|term| term.until).min().map_or(limit, |until| until.min(limit));
        let rest = async {
            for term in terms.values_mut() {
                term.rest().await;
            }
        };
        tokio::select! {
            () = rest => return,
            Ok(()) = held.changed() => {}
            () = sleep_until(end) => {
                if end == limit {
                    return;
                }
            }
        }
    }
}

/// One pass, in a task of its own so that a panic ends nothing else.
pub(super) async fn work(context: Arc<Context>, key: Key) {
    let mut turn = Turn { hub: context.cluster.hub.clone(), key: key.clone(), outcome: Outcome::Rest(Wake::OnChange) };
    // With the set the pass is broken off too.
    let mut passes = JoinSet::new();
    passes.spawn(pass(context, key.clone()));
    turn.outcome = match tokio::time::timeout(LONGEST_PASS, passes.join_next()).await {
        Ok(Some(Ok(outcome))) => outcome,
        Ok(None) => Outcome::Rest(Wake::OnChange),
        Ok(Some(Err(error))) => {
            measure::step_failure(key.kind.plural(), "defect");
            tracing::error!(%key, %error, "a pass ended by a defect of certwright; the object is looked at again in 5 min");
            Outcome::Rest(Wake::At(Timestamp::now() + SignedDuration::from_mins(5)))
        }
        Err(_) => {
            measure::step_failure(key.kind.plural(), "defect");
            tracing::warn!(%key, "a pass took too long; the object is looked at again");
            Outcome::Rest(Wake::At(Timestamp::now() + SignedDuration::from_secs(30)))
        }
    };
}

/// A key that was taken from the queue. It is given back whatever becomes of the pass.
struct Turn {
    hub: Arc<Hub>,
    key: Key,
    outcome: Outcome,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (queue, now) = (&self.hub.queue, Timestamp::now());
        match self.outcome {
            Outcome::Rest(wake) => queue.done(&self.key, wake.time(), now),
            Outcome::Restless(wait) => queue.hold(&self.key, now + wait, now),
        }
    }
}

/// How a pass ended.
#[derive(Clone, Copy)]
enum Outcome {
    Rest(Wake),
    /// There was something to do again and again. Its own writes would wake it at once, so that only waiting helps.
    Restless(SignedDuration),
}

async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    measure::pass(key.kind.plural());
    let traced = Traced::begin(&context.cluster.hub, &key);
    let mut memory = context.memories.take(&key);
    memory.begin_pass(Timestamp::now());
    let outcome = traced.around(rounds(&context, &key, &mut memory)).await;
    context.memories.put(&key, memory);
    traced.end(match outcome {
        Outcome::Rest(wake) => ("rest", wake),
        Outcome::Restless(wait) => ("restless", Wake::At(Timestamp::now() + wait)),
    });
    outcome
}

async fn rounds(context: &Context, key: &Key, memory: &mut Memory) -> Outcome {
    let mut is_refused = false;
    for _ in 0..MOST_ROUNDS {
        let outcome = round(context, key, memory).await;
        if let Err(error) = &outcome
            && let Some(class) = error.class()
        {
            measure::step_failure(key.kind.plural(), class);
            span::note_failure(class, || error.message());
        }
        match outcome {
            Ok(Round::Again) => {}
            // Somebody else wrote: the store has it now, so look again. That counts beyond the pass: one that needs a new key
            // for each try ends before every try, and so would never be found to be without rest.
            Err(StepError::Write(ApiError::Conflict { .. } | ApiError::Gone { .. })) => {
                memory.overtaken = memory.overtaken.saturating_add(1);
                if memory.overtaken > MOST_ROUNDS {
                    break;
                }
            }
            Ok(Round::Rest(wake)) => {
                memory.write_failures = 0;
                memory.overtaken = 0;
                memory.restless = 0;
                refused::is_over(context, memory);
                // What rests needs no new key, so one that was begun for it is not kept.
                context.keys.forget(key);
                context.inquiries.forget(key);
                context.looks.forget(key);
                context.self_checks.forget(key);
                return Outcome::Rest(wake);
            }
            Err(StepError::Awaiting) => return Outcome::Rest(Wake::At(Timestamp::now() + LONGEST_SILENCE)),
            Err(StepError::Trouble { class, message, retry_after, hold }) => {
                tracing::info!(%key, message, "step failed");
                memory.failed(class, message, (retry_after, hold), Timestamp::now());
            }
            Err(StepError::Account(message)) => {
                tracing::info!(%key, message, "step failed for the account");
                memory.failed(TroubleClass::Transient, message, (None, None), Timestamp::now());
            }
            Err(StepError::Write(error)) => {
                let trouble = if is_refused { None } else { refused::as_trouble(context, key, &error, memory) };
                if let Some(message) = trouble {
                    // The next decision tells of it. If the same is refused once more, it could not.
                    is_refused = true;
                    memory.failed(TroubleClass::Transient, message, (None, None), Timestamp::now());
                    continue;
                }
                memory.write_failures = memory.write_failures.saturating_add(1);
                refused::tell(context, key, &error, memory).await;
                let wait = backoff::after_failures(memory.write_failures);
                return Outcome::Rest(Wake::At(Timestamp::now() + wait));
            }
        }
    }
    memory.restless = memory.restless.saturating_add(1);
    let wait = backoff::after_failures(memory.restless);
    tracing::warn!(%key, "no rest after {MOST_ROUNDS} rounds; the object is looked at again in {}", backoff::in_words(wait));
    Outcome::Restless(wait)
}

fn round<'a>(
    context: &'a Context,
    key: &'a Key,
    memory: &'a mut Memory,
) -> Pin<Box<dyn Future<Output = Result<Round, StepError>> + Send + 'a>> {
    if context.options.is_leaving && key.kind != Kind::Challenge {
        return Box::pin(std::future::ready(Ok(Round::Rest(Wake::OnChange))));
    }
    match key.kind {
        Kind::Certificate => Box::pin(certificate::round(context, key, memory)),
        Kind::CertificateRequest => Box::pin(request::round(context, key, memory)),
        Kind::Challenge => Box::pin(challenge::round(context, key, memory)),
        Kind::ClusterIssuer | Kind::Issuer => Box::pin(issuer::round(context, key, memory)),
        Kind::Order => Box::pin(order::round(context, key, memory)),
        Kind::Source(source) => Box::pin(shim::round(context, key, source, memory)),
        Kind::Target(target) => Box::pin(injection::round(context, key, target, memory)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_holds_nothing_collects_no_work() {
        let hub = Arc::new(Hub::new());
        hub.queue.wake(&Key::new(Kind::Order, "shop", "web"));
        let (_holder, held) = watch::channel(Held::default());
        let assignment = Assignment { held, working: watch::Sender::default() };
        let is_empty = async {
            while !hub.queue.load().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let make = |_: Share| -> Arc<Context> { unreachable!("nothing is held") };
        let run = run(hub.clone(), (1, 1), assignment, make, is_empty);
        tokio::time::timeout(Duration::from_mins(1), run).await.unwrap();
    }
}
