//! What the rounds of all kinds have in common.

use crate::{
    cluster::Event,
    decide::{Note, Wake},
};

/// What one round came to.
pub enum Round {
    /// Steps were taken: there may be more to do.
    Again,
    /// Nothing is left to do for now.
    Rest(Wake),
}

/// The event that a note becomes.
pub(super) fn event(note: Note) -> Event {
    if note.warning { Event::warning(&note.reason, note.text) } else { Event::normal(&note.reason, note.text) }
}

/// The kind of a step, for the log. What it carries may be secret, so it is not shown.
pub(super) fn step_name(step: &impl std::fmt::Debug) -> String {
    let mut text = format!("{step:?}");
    text.truncate(text.find(['(', ' ']).unwrap_or(text.len()));
    text
}
