//! The loop that takes work from the queue.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    Context, certificate, challenge, issuer, memory::Memory, order, request, round::Round, step_error::StepError,
};
use crate::{
    cluster::{ApiError, Key, Kind},
    decide::{TroubleClass, Wake, backoff},
    measure,
};

/// A pass that takes longer is given up; the object is looked at again.
const LONGEST_PASS: Duration = Duration::from_mins(3);

/// What is under way in this process wakes the object; should it not, the object is looked at again after this.
const LONGEST_SILENCE: SignedDuration = SignedDuration::from_mins(1);

/// Rounds of gather, decide and act before a pass makes room for others.
const MOST_ROUNDS: u32 = 20;

/// How long running passes may take to end after the stop signal.
const GRACE: Duration = Duration::from_secs(10);

/// Works until `stop` resolves; passes that are under way then may end.
pub async fn run(context: Arc<Context>, stop: impl Future<Output = ()>) {
    let workers = Arc::new(Semaphore::new(context.options.workers.max(1)));
    let mut passes = JoinSet::new();
    for kind in Kind::ALL {
        measure::controller(kind.plural());
    }
    tokio::pin!(stop);
    loop {
        let permit = tokio::select! {
            () = &mut stop => break,
            permit = workers.clone().acquire_owned() => permit,
        };
        let Ok(permit) = permit else { break };
        let key = tokio::select! {
            () = &mut stop => break,
            key = context.cluster.hub.queue.next() => key,
        };
        while passes.try_join_next().is_some() {}
        let context = context.clone();
        passes.spawn(async move {
            work(context, key).await;
            drop(permit);
        });
    }
    let _ = tokio::time::timeout(GRACE, async { while passes.join_next().await.is_some() {} }).await;
}

/// One pass, in a task of its own so that a panic ends nothing else.
async fn work(context: Arc<Context>, key: Key) {
    let pass = tokio::spawn(pass(context.clone(), key.clone()));
    let abort = pass.abort_handle();
    let queue = &context.cluster.hub.queue;
    let wake = match tokio::time::timeout(LONGEST_PASS, pass).await {
        Ok(Ok(Outcome::Rest(wake))) => wake,
        Ok(Ok(Outcome::Restless(wait))) => {
            let now = Timestamp::now();
            return queue.hold(&key, now + wait, now);
        }
        Ok(Err(error)) => {
            measure::step_failure(key.kind.plural(), "defect");
            tracing::error!(%key, %error, "a pass ended by a defect of certwright; the object is looked at again in 5 min");
            Wake::At(Timestamp::now() + SignedDuration::from_mins(5))
        }
        Err(_) => {
            abort.abort();
            measure::step_failure(key.kind.plural(), "defect");
            tracing::warn!(%key, "a pass took too long; the object is looked at again");
            Wake::At(Timestamp::now() + SignedDuration::from_secs(30))
        }
    };
    queue.done(&key, wake.time(), Timestamp::now());
}

/// How a pass ended.
enum Outcome {
    Rest(Wake),
    /// There was something to do again and again. Its own writes would wake it at once, so that only waiting helps.
    Restless(SignedDuration),
}

async fn pass(context: Arc<Context>, key: Key) -> Outcome {
    measure::pass(key.kind.plural());
    let mut memory = context.memories.take(&key);
    let outcome = rounds(&context, &key, &mut memory).await;
    context.memories.put(&key, memory);
    outcome
}

async fn rounds(context: &Context, key: &Key, memory: &mut Memory) -> Outcome {
    for _ in 0..MOST_ROUNDS {
        let outcome = round(context, key, memory).await;
        if let Some(class) = outcome.as_ref().err().and_then(StepError::class) {
            measure::step_failure(key.kind.plural(), class);
        }
        match outcome {
            // Somebody else wrote: the store has it now, so look again.
            Ok(Round::Again) | Err(StepError::Write(ApiError::Conflict { .. } | ApiError::Gone { .. })) => {}
            Ok(Round::Rest(wake)) => {
                memory.write_failures = 0;
                memory.restless = 0;
                // What rests needs no new key, so one that was begun for it is not kept.
                context.keys.forget(key);
                context.inquiries.forget(key);
                context.looks.forget(key);
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
                memory.write_failures = memory.write_failures.saturating_add(1);
                tracing::warn!(%key, %error, failures = memory.write_failures, "write failed");
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
    match key.kind {
        Kind::Certificate => Box::pin(certificate::round(context, key, memory)),
        Kind::CertificateRequest => Box::pin(request::round(context, key, memory)),
        Kind::Challenge => Box::pin(challenge::round(context, key, memory)),
        Kind::ClusterIssuer | Kind::Issuer => Box::pin(issuer::round(context, key, memory)),
        Kind::Order => Box::pin(order::round(context, key, memory)),
    }
}
