//! As `controller::limits`, and the gate of `acme::client` around every request.

use std::time::Duration;

use certwright::{
    acme::{
        gate::{Closed, Party, Standing, names_key},
        limit::Scope,
    },
    api::{Issuer, Order},
    cluster::{Key, Kind, ObjectName, owner_entry},
    decide::{
        Trouble, TroubleClass,
        budget::{
            Ledger, OrderName, past,
            turn::{Gate, Turn, ask, name_of, pause},
        },
        hold::{self, Hold, Reach},
        progress::Progress,
    },
};
use jiff::Timestamp;
use kube::ResourceExt;

use super::HeldIssuer;
use crate::{
    authority::CaError,
    process::{Failure, Memory, Process},
    world::{EffectLost, World},
};

/// The one account of the world.
pub const ACCOUNT: &str = "ca/account/1";

/// Sends a request unless the gate is closed, and notes what becomes of it. `names` are those of a new order.
pub fn guarded<T>(
    world: &mut World,
    names: Option<&[String]>,
    doing: &str,
    send: impl FnOnce(&mut World) -> Result<Result<T, CaError>, EffectLost>,
) -> Result<T, Failure> {
    let names = names.map(names_key);
    let party = Party { account: Some(ACCOUNT), names: names.as_deref() };
    let began = world.now();
    world.gate.enter(&party, began).map_err(|closed| held(doing, &closed))?;
    let outcome = send(world);
    let now = world.now();
    let unanswered = |world: &World, words: &str| match world.gate.unanswered(&party, began, words, now) {
        Some(closed) => held(doing, &closed),
        None => trouble(TroubleClass::Transient, format!("{doing}: {words}"), None),
    };
    match outcome {
        Err(EffectLost::Crashed) => Err(Failure::Crash),
        Err(EffectLost::Failed) => Err(unanswered(world, "connection lost")),
        Ok(Err(error)) if error.is_silence => Err(unanswered(world, &error.message)),
        Ok(Err(error)) if error.message.starts_with("rateLimited") => {
            let wish = error.retry_after.map(|wish| Duration::try_from(wish).expect("a wait"));
            let scope = if error.message.contains("exact set") { Scope::Names } else { Scope::Account };
            Err(held(doing, &world.gate.refused(&party, began, (scope, wish), &error.message, now)))
        }
        Ok(answer) => {
            world.gate.answered(&party, now);
            answer.map_err(|error| {
                let class = if error.is_final { TroubleClass::Final } else { TroubleClass::Transient };
                trouble(class, format!("{doing}: {}", error.message), error.retry_after)
            })
        }
    }
}

fn trouble(class: TroubleClass, message: String, retry_after: Option<jiff::SignedDuration>) -> Failure {
    Failure::Trouble { class, message, retry_after, hold: None }
}

fn held(doing: &str, closed: &Closed) -> Failure {
    let message = format!("{doing}: {}", closed.words);
    Failure::Trouble { class: TroubleClass::Transient, message, retry_after: None, hold: Some(hold_of(closed)) }
}

fn hold_of(closed: &Closed) -> Hold {
    let reach = match closed.scope {
        Scope::Names => Reach::Names,
        Scope::Account => Reach::Account,
        Scope::Ca => Reach::Ca,
    };
    Hold { until: closed.until, reach, is_wish: closed.wish.is_some() }
}

/// Whether the order may be created now.
pub fn turn(process: &mut Process, world: &World, order: &Order, issuer: &HeldIssuer, memory: &Memory) -> Turn {
    let now = world.now();
    let status = order.status.clone().unwrap_or_default();
    let has_order = status.url.is_some() || Progress::of(order) != Progress::Open;
    let is_gone = order.metadata.deletion_timestamp.is_some();
    let is_over = memory.trouble.as_ref().is_some_and(|trouble| trouble.class == TroubleClass::Final);
    if has_order || is_gone || is_over || issuer.seen().usable(&order.spec.issuer_ref).is_err() {
        leave(process, world, &ObjectName::of(order));
        return Turn::Go;
    }
    if let Some(until) = memory.trouble.as_ref().map(Trouble::next_try).filter(|until| now < *until) {
        let head = process.ledger.as_mut().and_then(|ledger| pause(ledger, order, until, now));
        wake(process, head);
        return Turn::Go;
    }
    restore_once(process, world);
    let names = names_key(&order.spec.dns_names);
    let gate = match world.gate.standing(&Party { account: Some(ACCOUNT), names: Some(&names) }, now) {
        Standing::Open { recovered } => Gate::Open(recovered),
        Standing::Probe => Gate::Probe,
        Standing::Closed(closed) => Gate::Closed(hold_of(&closed), closed.words),
    };
    let ledger = process.ledger.get_or_insert_default();
    let (turn, calls) = ask(ledger, order, &world.allowance, &gate, now);
    let queue = &process.hub.queue;
    for (namespace, name) in calls.now {
        queue.wake(&Key::new(Kind::Order, namespace, name));
    }
    if let Some(((namespace, name), at)) = calls.next {
        queue.wake_at(&Key::new(Kind::Order, namespace, name), at, now);
    }
    turn
}

pub fn leave(process: &mut Process, world: &World, order: &ObjectName) {
    let name = (order.namespace.clone(), order.name.clone());
    let Some(ledger) = &mut process.ledger else { return };
    if ledger.leave(&name) {
        let head = ledger.head(world.now());
        wake(process, head);
    }
}

/// An order was created, or may have been.
pub fn placed(process: &mut Process, world: &World, order: &Order) {
    let Some(ledger) = &mut process.ledger else { return };
    ledger.place(Some(&name_of(order)), world.now());
    let head = ledger.head(world.now());
    wake(process, head);
}

fn wake(process: &Process, head: Option<OrderName>) {
    if let Some((namespace, name)) = head {
        process.hub.queue.wake(&Key::new(Kind::Order, namespace, name));
    }
}

fn restore_once(process: &mut Process, world: &World) {
    if process.ledger.is_some() {
        return;
    }
    let (now, hub) = (world.now(), process.hub.clone());
    let mut ledger = Ledger::default();
    for order in hub.orders.all() {
        let name = ObjectName::new(order.namespace().unwrap_or_default(), &order.spec.issuer_ref.name);
        let is_registered = |issuer: &Issuer| issuer.status.as_ref().is_some_and(|status| status.acme.is_some());
        if !hub.issuers.get(&name).is_some_and(|issuer| is_registered(&issuer)) {
            continue;
        }
        restore_wait(world, &order, now);
        let challenges = hub.challenges.indexed(&owner_entry(&order.uid().unwrap_or_default()));
        let challenge = challenges.iter().filter_map(|held| held.creation_timestamp()).map(|time| time.0).min();
        if let Some(at) = past::placed_at(&order, challenge, now)
            && now.duration_since(at) < world.allowance.window
        {
            ledger.place(None, at);
        }
    }
    process.ledger = Some(ledger);
}

fn restore_wait(world: &World, order: &Order, now: Timestamp) {
    let reason = order.status.as_ref().and_then(|status| status.reason.as_deref()).unwrap_or_default();
    let Some(told) = hold::read(reason) else { return };
    let scope = match told.reach {
        Reach::Names => Scope::Names,
        Reach::Account => Scope::Account,
        Reach::Ca => Scope::Ca,
    };
    let names = names_key(&order.spec.dns_names);
    let wish = Duration::try_from(told.until.duration_since(now)).ok();
    let party = Party { account: Some(ACCOUNT), names: Some(&names) };
    world.gate.restore(&party, Closed { until: told.until, scope, wish, words: told.words }, now);
}
