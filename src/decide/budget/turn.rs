//! Whether an Order may have its order created now: the CA's wishes first, then the account's budget.

use jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};

use super::{Allowance, Calls, Ledger, OrderName, Pace, Ticket};
use crate::{
    api::{Order, names::annotation},
    decide::{
        hold::{Hold, NEXT_TRY, Reach, WAITING_FOR_BUDGET},
        later,
        renewal::chosen,
    },
};

/// Waits up to this are not told of: that would be over before anybody reads it.
const QUIET: SignedDuration = SignedDuration::from_secs(30);

/// Who is not next looks again after so long at the latest, should nobody call.
const LONGEST_SILENCE: SignedDuration = SignedDuration::from_mins(5);

/// So that those who wait for the same time do not look all at once.
const WIDEST_SPREAD: SignedDuration = SignedDuration::from_mins(1);

/// See the module's description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    #[default]
    Go,
    Wait {
        until: Timestamp,
        /// What the status says of it; none leaves what stands there.
        why: Option<String>,
    },
}

/// How the CA stands to the account and the names of an Order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    Open(Option<Timestamp>),
    Probe,
    /// With what the CA said.
    Closed(Hold, String),
}

/// Asks for a place for `order` in its account's ledger. Whoever is to be looked at now or later is called.
pub fn ask(ledger: &mut Ledger, order: &Order, allowance: &Allowance, gate: &Gate, now: Timestamp) -> (Turn, Calls) {
    let ticket = ticket(order);
    let name = ticket.name.clone();
    let spread = |at| spread(at, order, now);
    let (pace, why) = match gate {
        Gate::Closed(hold, words) => {
            let why = Some(hold.sentence(&format!("Failed to create Order: {words}")));
            if hold.reach == Reach::Names {
                ledger.leave(&name);
                return (Turn::Wait { until: spread(hold.until), why }, Calls::default());
            }
            (Pace::Closed(hold.until), why)
        }
        Gate::Probe => (Pace::Probe, None),
        Gate::Open(recovered) => (Pace::Open(*recovered), None),
    };
    let own = ticket.clone();
    ledger.enter(ticket);
    let mut calls = ledger.hand_out(allowance, pace, now);
    calls.now.retain(|called| *called != name);
    if ledger.has_place(&name) {
        if let Pace::Closed(_) = pace {
            // Whoever went to see stays in the line.
            ledger.leave(&name);
            ledger.enter(own);
        } else {
            return (Turn::Go, calls);
        }
    }
    let (latest, why) = match pace {
        Pace::Closed(until) => (until, why),
        Pace::Probe => (later(now, LONGEST_SILENCE), None),
        Pace::Open(_) => by_budget(ledger, order, allowance, now),
    };
    let own = calls.next.take_if(|(next, _)| *next == name).map(|(_, at)| at);
    let latest = spread(latest.max(later(now, SignedDuration::from_secs(1))));
    (Turn::Wait { until: own.unwrap_or(latest), why }, calls)
}

/// Notes that an Order tries again at `until` and not before. It keeps its turn. Whom to look at because of that.
pub fn pause(ledger: &mut Ledger, order: &Order, until: Timestamp, now: Timestamp) -> Option<OrderName> {
    if ledger.pause(ticket(order), until) { ledger.head(now) } else { None }
}

/// The name under which an Order waits.
pub fn name_of(order: &Order) -> OrderName {
    (order.namespace().unwrap_or_default(), order.name_any())
}

fn ticket(order: &Order) -> Ticket {
    let annotations = order.annotations();
    let created = order.meta().creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    Ticket {
        name: name_of(order),
        created,
        expires: annotations.get(annotation::EXPIRES).and_then(|text| text.parse().ok()),
        urgent: annotations.get(annotation::URGENT).is_some_and(|text| text == "true"),
    }
}

/// What is told of a wait for the budget is told once, and again when the time named in it is over.
fn by_budget(ledger: &Ledger, order: &Order, allowance: &Allowance, now: Timestamp) -> (Timestamp, Option<String>) {
    let text = format!("{WAITING_FOR_BUDGET}{}{NEXT_TRY}", allowance.in_words());
    let told = order.status.as_ref().and_then(|status| status.reason.as_deref()).unwrap_or_default();
    let told_time = told.strip_prefix(&text).and_then(|time| time.parse::<Timestamp>().ok());
    if let Some(time) = told_time.filter(|time| *time > now) {
        return (time, Some(told.to_owned()));
    }
    let forecast = ledger.forecast(allowance, now);
    if forecast < later(now, QUIET) {
        return (later(now, QUIET), None);
    }
    let time = rounded_up(forecast, allowance.window);
    (time, Some(format!("{text}{time}")))
}

/// To a part of the window, so that a place more or less seldom makes another time.
fn rounded_up(at: Timestamp, window: SignedDuration) -> Timestamp {
    let grain = (window.as_secs() / 18).clamp(1, 600);
    let seconds = at.as_second().div_euclid(grain).saturating_add(1).saturating_mul(grain);
    Timestamp::from_second(seconds).unwrap_or(at)
}

/// Some time after `at`, always the same for an Order: up to a tenth of the wait.
pub fn spread(at: Timestamp, order: &Order, now: Timestamp) -> Timestamp {
    let wait = at.duration_since(now).as_millis().clamp(0, i128::from(i64::MAX));
    let widest = (wait / 10).min(WIDEST_SPREAD.as_millis());
    let choices = u64::try_from(widest).unwrap_or_default().saturating_add(1);
    let share = chosen(order.meta().uid.as_deref().unwrap_or_default(), choices);
    later(at, SignedDuration::from_millis(i64::try_from(share).unwrap_or(0)))
}
