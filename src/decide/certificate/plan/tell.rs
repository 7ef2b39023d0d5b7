//! What the conditions say: whether the Secret is in order, and what keeps a new certificate from coming.

use super::{Plan, ignored_wishes, is_issuing};
use crate::{
    api::{
        find_condition,
        names::{condition, event, reason},
    },
    decide::{
        Note,
        policy::{self, Violation},
    },
};

const READY_TEXT: &str = "Certificate is up to date and has not expired";

/// Stands in the message of the Issuing condition between why a certificate is being issued and what keeps it from
/// going on.
pub(super) const HELD_UP: &str = "; held up: ";

/// What keeps the issuance under way from going on.
pub(super) struct HeldUp {
    pub(super) text: String,
    /// The event that tells of it, if it is not told of elsewhere.
    pub(super) event: Option<&'static str>,
}

impl Plan<'_> {
    pub(super) fn hold_up(&mut self, event: Option<&'static str>, text: String) {
        self.held_up = Some(HeldUp { text, event });
    }

    /// Whether the Issuing condition says already that this keeps the issuance from going on.
    pub(super) fn is_told_to_hold_up(&self, text: &str) -> bool {
        let issuing = find_condition(&self.status.conditions, condition::ISSUING);
        issuing.and_then(|issuing| issuing.message.as_deref()).is_some_and(|told| told.contains(text))
    }

    /// Whether the Secret is in order, and what keeps a new certificate from coming.
    pub(super) fn tell(&mut self) {
        let held_up = self.held_up.take();
        // A prompt issuance that does not go on is one to be watched.
        if let (true, Some(violation), false) = (self.is_prompt, self.issuance_reason(), is_issuing(&self.status))
            && held_up.is_some()
        {
            self.announce(&violation);
            self.store_held_key();
        }
        if is_issuing(&self.status) {
            self.tell_whether_held_up(held_up.as_ref());
        }
        let text = match &held_up {
            Some(held_up) => Some(held_up.text.clone()),
            None => find_condition(&self.status.conditions, condition::ISSUING)
                .filter(|issuing| issuing.is_false() && self.status.last_failure_time.is_some())
                .and_then(|failed| failed.message.clone()),
        };
        match (policy::unreadiness(&self.inputs(), self.now), text) {
            (None, _) => self.tell_sound(),
            (Some(Violation { reason, message }), None) => self.set(condition::READY, "False", reason, &message),
            (Some(Violation { reason, message }), Some(text)) => {
                self.set(condition::READY, "False", reason, &format!("{message}: {text}"));
            }
        }
    }

    /// What there is to say of a certificate that can be used.
    pub(super) fn tell_sound(&mut self) {
        if let Some(problem) = self.renewal_problem.take() {
            let text = format!("Could not calculate renewal time: {problem}");
            self.warn_once(event::WINDOW_ERROR, &text);
            return self.set(condition::READY, "False", reason::WINDOW_ERROR, &text);
        }
        let remark = self.remark.take();
        if let Some((event, text)) = &remark {
            self.warn_once(event, text);
        }
        let remarks = remark
            .map(|(_, text)| text)
            .into_iter()
            .chain(self.spare_remark())
            .chain(ignored_wishes(self.seen.certificate));
        let text = remarks.fold(READY_TEXT.to_owned(), |text, remark| format!("{text}; {remark}"));
        self.set(condition::READY, "True", reason::READY, &text);
    }

    /// A warning that stands in the Ready condition as well, so that it is told only when it is news.
    pub(super) fn warn_once(&mut self, event: &str, text: &str) {
        let former = self.seen.certificate.status.as_ref();
        let known = former.and_then(|status| find_condition(&status.conditions, condition::READY)?.message.as_deref());
        if known.is_none_or(|known| !known.contains(text)) {
            self.notes.push(Note::warning(event, text));
        }
    }

    /// The message of the Issuing condition may come from whoever asked for the issuance; that part stays.
    fn tell_whether_held_up(&mut self, held_up: Option<&HeldUp>) {
        let Some(issuing) = self.status.conditions.iter_mut().find(|found| found.type_ == condition::ISSUING) else {
            return;
        };
        let known = issuing.message.clone().unwrap_or_default();
        let why = known.split(HELD_UP).next().filter(|why| !why.is_empty()).unwrap_or("Issuing certificate");
        let text = match held_up {
            Some(held_up) => format!("{why}{HELD_UP}{}", held_up.text),
            None if known.contains(HELD_UP) => why.to_owned(),
            None => return,
        };
        if text == known {
            return;
        }
        issuing.message = Some(text);
        if let Some(HeldUp { text, event: Some(event) }) = held_up {
            self.notes.push(Note::warning(event, text));
        }
    }
}
