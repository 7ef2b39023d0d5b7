//! The page, made piece by piece while it is sent: with many certificates the whole of it would be larger than all else
//! that the controller holds.

use std::{iter::once, sync::Arc};

use jiff::Timestamp;

use super::{
    AccountBudget, Recorder, accounts, certificates, challenges,
    family::{of_objects, of_one},
    general, issuers, process, work,
};
use crate::cluster::Hub;

/// Where the page comes from.
pub struct Sources {
    pub hub: Arc<Hub>,
    pub recorder: Recorder,
    /// The budgets of the accounts of all issuers that have one.
    pub budgets: Box<dyn Fn(Timestamp) -> Vec<AccountBudget> + Send + Sync>,
}

/// The whole page, in pieces of a few dozen kilobytes. Each is made when it is asked for.
pub fn page(sources: &Sources, now: Timestamp) -> impl Iterator<Item = String> + Send + use<> {
    let hub = &sources.hub;
    let of_the_moment = [
        page_of_process(&sources.recorder, now),
        of_one(&work::FAMILIES, &hub.queue.load()),
        of_one(&work::OF_UNREADABLE, &hub.unreadable),
        of_one(&accounts::FAMILIES, &*(sources.budgets)(now)),
    ];
    once(of_the_moment.concat())
        .chain(of_objects(&issuers::OF_ISSUERS, hub.issuers.all()))
        .chain(of_objects(&issuers::OF_CLUSTER_ISSUERS, hub.cluster_issuers.all()))
        .chain(of_objects(&certificates::FAMILIES, hub.certificates.all()))
        .chain(of_objects(&challenges::FAMILIES, hub.challenges.all()))
}

/// What every process has: the clock, what it uses, and what has happened in it.
pub(super) fn page_of_process(recorder: &Recorder, now: Timestamp) -> String {
    let usage = process::Usage::read();
    [of_one(&general::FAMILIES, &now), of_one(&process::FAMILIES, &usage), recorder.text()].concat()
}
