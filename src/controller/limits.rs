//! What keeps the CAs from being asked too much: the budgets of the accounts, and the waits that the CAs have asked for
//! and that a former process has noted in the Orders.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use kube::ResourceExt;

use super::{Context, held_issuer::HeldIssuer};
use crate::{
    acme::{
        Client,
        gate::{Closed, Party, Standing, names_key},
        limit::Scope,
    },
    api::{Order, names::annotation},
    cluster::{Key, Kind, ObjectName, owner_entry},
    decide::{
        budget::{
            Allowance, Balance, Calls, Ledger, OrderName, past,
            turn::{self, Gate, Turn, name_of},
        },
        hold::{self, Hold, Reach},
    },
};

/// More accounts than this are never kept; those of which there is nothing to know go first.
const MOST_KEPT: usize = 10_000;

/// One ledger for each account, by its URL.
#[derive(Default)]
pub(super) struct Limits {
    ledgers: Mutex<HashMap<String, Ledger>>,
    is_restored: AtomicBool,
}

/// Whether an Order may have its order created now. Whoever is to be looked at because of that is woken.
pub(super) fn turn(context: &Context, order: &Order, names: &[String], issuer: &HeldIssuer, now: Timestamp) -> Turn {
    context.limits.restore_once(context, now);
    // What is missing here is told of when it is needed.
    let Some((client, account)) = parties(context, issuer) else { return Turn::Go };
    let names = names_key(names);
    let standing = client.gate().standing(&Party { account: Some(&account), names: Some(&names) }, now);
    let allowance = allowance(context, issuer);
    let mut ledgers = context.limits.lock();
    if ledgers.len() >= MOST_KEPT && !ledgers.contains_key(&account) {
        ledgers.retain(|_, ledger| !ledger.is_idle(&context.options.allowance, now));
        if ledgers.len() >= MOST_KEPT {
            return Turn::Go;
        }
    }
    let ledger = ledgers.entry(account).or_default();
    let (turn, calls) = turn::ask(ledger, order, &allowance, &gate(standing), now);
    drop(ledgers);
    call(context, calls, now);
    turn
}

/// An Order tries again at `until` and not before. It keeps its turn.
pub(super) fn pause(context: &Context, order: &Order, issuer: &HeldIssuer, until: Timestamp, now: Timestamp) {
    let Some((_, account)) = parties(context, issuer) else { return };
    let mut ledgers = context.limits.lock();
    let head = ledgers.get_mut(&account).and_then(|ledger| turn::pause(ledger, order, until, now));
    drop(ledgers);
    wake(context, head);
}

/// An Order's order was created, or may have been.
pub(super) fn placed(context: &Context, order: &Order, account: &str, now: Timestamp) {
    let mut ledgers = context.limits.lock();
    let Some(ledger) = ledgers.get_mut(account) else { return };
    ledger.place(Some(&name_of(order)), now);
    let head = ledger.head(now);
    drop(ledgers);
    wake(context, head);
}

/// An Order wants no place any more, or cannot use it now.
pub(super) fn leave(context: &Context, order: &ObjectName) {
    let name = (order.namespace.clone(), order.name.clone());
    let mut ledgers = context.limits.lock();
    let left = ledgers.values_mut().find_map(|ledger| ledger.leave(&name).then_some(ledger));
    let head = left.and_then(|ledger| ledger.head(Timestamp::now()));
    drop(ledgers);
    wake(context, head);
}

/// What is left of this share's part of the budgets, by issuer. Nothing before the first Order has asked: until then it is not known what a former
/// process has used.
pub fn balances(context: &Context, now: Timestamp) -> Vec<(Key, Balance)> {
    if !context.limits.is_restored.load(Ordering::Acquire) {
        return Vec::new();
    }
    let hub = &context.cluster.hub;
    let issuers = hub.issuers.all().into_iter().map(HeldIssuer::Issuer);
    let all = issuers.chain(hub.cluster_issuers.all().into_iter().map(HeldIssuer::ClusterIssuer));
    let mut ledgers = context.limits.lock();
    let balance = |issuer: HeldIssuer| {
        let account = issuer.parts()?.1?.acme.as_ref()?.uri.as_ref()?;
        let told = issuer.annotation(annotation::NEW_ORDERS).and_then(|text| Allowance::parse(text).ok());
        let allowance = told.unwrap_or(context.options.allowance).part_for(context.options.share);
        let ledger = ledgers.get_mut(account);
        Some((issuer.key()?, ledger.map_or_else(|| Balance::unused(&allowance), |held| held.balance(&allowance, now))))
    };
    // What an Issuer is for lies in its namespace.
    let share = context.options.share;
    let is_own = |(key, _): &(Key, Balance)| key.kind == Kind::ClusterIssuer || share.has(&key.object.namespace);
    all.filter_map(balance).filter(is_own).collect()
}

impl Limits {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Ledger>> {
        self.ledgers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Once, when all stores are filled: what the former process knew.
    fn restore_once(&self, context: &Context, now: Timestamp) {
        if self.is_restored.load(Ordering::Acquire) {
            return;
        }
        // Another pass waits here until it is done.
        let mut ledgers = self.lock();
        if self.is_restored.load(Ordering::Acquire) {
            return;
        }
        let hub = &context.cluster.hub;
        for order in hub.orders.all() {
            if !context.options.share.has(&order.namespace().unwrap_or_default()) {
                continue;
            }
            let issuer = HeldIssuer::look_up(hub, &order.spec.issuer_ref, &order.namespace().unwrap_or_default());
            let Some((client, account)) = parties(context, &issuer) else { continue };
            restore_wait(&client, &account, &order, now);
            let challenges = hub.challenges.indexed(&owner_entry(&order.uid().unwrap_or_default()));
            let challenge = challenges.iter().filter_map(|held| held.creation_timestamp()).map(|time| time.0).min();
            let window = allowance(context, &issuer).window;
            if let Some(at) = past::placed_at(&order, challenge, now)
                && now.duration_since(at) < window
            {
                ledgers.entry(account).or_default().place(None, at);
            }
        }
        self.is_restored.store(true, Ordering::Release);
    }
}

fn restore_wait(client: &Client, account: &str, order: &Order, now: Timestamp) {
    let reason = order.status.as_ref().and_then(|status| status.reason.as_deref()).unwrap_or_default();
    let Some(told) = hold::read(reason) else { return };
    let scope = match told.reach {
        Reach::Names => Scope::Names,
        Reach::Account => Scope::Account,
        Reach::Ca => Scope::Ca,
    };
    let names = names_key(&names_of(order));
    let wish = Duration::try_from(told.until.duration_since(now)).ok();
    let closed = Closed { until: told.until, scope, wish, words: told.words };
    client.gate().restore(&Party { account: Some(account), names: Some(&names) }, closed, now);
}

/// The names as they are ordered.
pub(super) fn names_of(order: &Order) -> Vec<String> {
    order.spec.dns_names.iter().chain(&order.spec.ip_addresses).cloned().collect()
}

/// The CA's client and the account's URL, if the issuer has them.
fn parties(context: &Context, issuer: &HeldIssuer) -> Option<(Client, String)> {
    let (spec, status) = issuer.parts()?;
    let acme = spec.acme.as_ref()?;
    let account = status?.acme.as_ref()?.uri.clone()?;
    Some((context.accounts.client(acme).ok()?, account))
}

/// What the issuer says, or else the operator; of that the part of this share of the work.
fn allowance(context: &Context, issuer: &HeldIssuer) -> Allowance {
    let chosen = issuer.annotation(annotation::NEW_ORDERS).map_or(Ok(context.options.allowance), Allowance::parse);
    // One that cannot be read is told of by the issuer.
    chosen.unwrap_or(context.options.allowance).part_for(context.options.share)
}

fn gate(standing: Standing) -> Gate {
    match standing {
        Standing::Open { recovered } => Gate::Open(recovered),
        Standing::Probe => Gate::Probe,
        Standing::Closed(closed) => Gate::Closed(hold_of(&closed), closed.words),
    }
}

/// A closed bucket as decisions see it.
pub(super) fn hold_of(closed: &Closed) -> Hold {
    let reach = match closed.scope {
        Scope::Names => Reach::Names,
        Scope::Account => Reach::Account,
        Scope::Ca => Reach::Ca,
    };
    Hold { until: closed.until, reach, is_wish: closed.wish.is_some() }
}

fn call(context: &Context, calls: Calls, now: Timestamp) {
    for (namespace, name) in calls.now {
        context.cluster.hub.queue.wake(&Key::new(Kind::Order, namespace, name));
    }
    if let Some(((namespace, name), at)) = calls.next {
        context.cluster.hub.queue.wake_at(&Key::new(Kind::Order, namespace, name), at, now);
    }
}

fn wake(context: &Context, head: Option<OrderName>) {
    if let Some((namespace, name)) = head {
        context.cluster.hub.queue.wake(&Key::new(Kind::Order, namespace, name));
    }
}
