//! What the rounds of all kinds have in common.

use std::fmt::{self, Write};

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
    let mut name = FirstWord(String::new());
    // The error only says that the word has ended.
    let _ = write!(name, "{step:?}");
    name.0
}

/// Takes what is written up to the first parenthesis or space; the rest is never formatted.
struct FirstWord(String);

impl Write for FirstWord {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.find(['(', ' ']);
        self.0.push_str(&text[..end.unwrap_or(text.len())]);
        if end.is_some() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{certificate::CertificateStep, order::OrderStep};

    #[test]
    fn a_step_is_named_without_what_it_carries() {
        let step = CertificateStep::CreateNextKey {
            name: "hidden".to_owned(),
            key: crate::decide::certificate::NextKey::Reuse("hidden".to_owned()),
        };
        assert_eq!(step_name(&step), "CreateNextKey");
        assert_eq!(step_name(&CertificateStep::WriteStatus(Box::default())), "WriteStatus");
        assert_eq!(step_name(&OrderStep::Place), "Place");
    }
}
