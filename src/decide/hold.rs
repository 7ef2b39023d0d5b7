//! Waits that the CA has asked for, as they stand in messages.
//!
//! Such a wait ends the message with the time, to the second, and says whom it concerns. It must survive a restart and
//! there is no field for it, so a new process reads it back from the Orders' reasons.

use jiff::Timestamp;

/// Begins the reason of an Order that waits for its account's budget.
pub(super) const WAITING_FOR_BUDGET: &str = "Waiting for a place: ";
/// Before the time of the next try.
pub(super) const NEXT_TRY: &str = "; next try at ";
const OF_ACCOUNT: &str = "; all orders of this account wait";
const OF_CA: &str = "; everything at this CA waits";
/// Instead of a time, when nobody has said how long it takes.
const TRIED: &str = ", and one request at a time tries again";

/// Whom a wait concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Whoever orders these names.
    Names,
    Account,
    Ca,
}

/// Nothing is asked before a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    pub until: Timestamp,
    pub reach: Reach,
    /// Whether the CA named the time; if not, it is our own guess and stands in no message.
    pub is_wish: bool,
}

/// A wait that was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub until: Timestamp,
    pub reach: Reach,
    /// What the CA said.
    pub words: String,
}

impl Hold {
    /// `message` with whom the wait concerns and how long it lasts; it stays the same as long as the wait does.
    pub fn sentence(&self, message: &str) -> String {
        let concerned = match self.reach {
            Reach::Names => "",
            Reach::Account => OF_ACCOUNT,
            Reach::Ca => OF_CA,
        };
        match (self.is_wish, self.reach) {
            (true, _) => format!("{message}{concerned}{NEXT_TRY}{}", self.until),
            (false, Reach::Names) => format!("{message}; it is tried again from time to time"),
            (false, _) => format!("{message}{concerned}{TRIED}"),
        }
    }
}

/// The wait that the CA asked for in a reason that [`Hold::sentence`] has written. A wait for the budget is none.
pub fn read(reason: &str) -> Option<Told> {
    if reason.starts_with(WAITING_FOR_BUDGET) {
        return None;
    }
    let (message, until) = reason.rsplit_once(NEXT_TRY)?;
    let until = until.parse().ok()?;
    let (message, reach) = match (message.strip_suffix(OF_ACCOUNT), message.strip_suffix(OF_CA)) {
        (Some(message), _) => (message, Reach::Account),
        (_, Some(message)) => (message, Reach::Ca),
        _ => (message, Reach::Names),
    };
    // What was tried when the CA said so is not what is tried next.
    let words = message.split_once(": ").map_or(message, |(_, words)| words);
    Some(Told { until, reach, words: words.to_owned() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decide::testing::at;

    fn hold(reach: Reach, is_wish: bool) -> Hold {
        Hold { until: at(7200), reach, is_wish }
    }

    #[test]
    fn a_wish_is_told_with_its_time_and_whom_it_concerns() {
        let told = |reach, is_wish| hold(reach, is_wish).sentence("Failed to create Order: too much");
        let until = at(7200);
        assert_eq!(told(Reach::Names, true), format!("Failed to create Order: too much; next try at {until}"));
        assert_eq!(
            told(Reach::Account, true),
            format!("Failed to create Order: too much; all orders of this account wait; next try at {until}")
        );
        assert_eq!(
            told(Reach::Ca, false),
            "Failed to create Order: too much; everything at this CA waits, and one request at a time tries again"
        );
    }

    #[test]
    fn what_is_no_wish_of_the_ca_is_not_read() {
        for reason in [
            "",
            "Failed to create Order: too much",
            "Failed to create Order: too much; next try after 5 min",
            "Failed to create Order: too much; next try at noon",
            "Waiting for a place: at most 3 new orders; next try at 2026-03-01T12:00:00Z",
            &hold(Reach::Ca, false).sentence("Failed: away"),
        ] {
            assert_eq!(read(reason), None, "{reason}");
        }
    }

    proptest! {
        #[test]
        fn what_was_told_is_read_back(words in "[ -~]{0,60}", seconds in 0i64..10_000_000, reach in 0usize..3) {
            let reach = [Reach::Names, Reach::Account, Reach::Ca][reach];
            let until = at(seconds);
            let reason = Hold { until, reach, is_wish: true }.sentence(&format!("Failed to create Order: {words}"));
            prop_assert_eq!(read(&reason), Some(Told { until, reach, words }));
        }
    }
}
