//! How long the certificate of an order is waited for that the CA calls valid, and the chain that is preferred for it.
//!
//! A valid order has cost all that an order costs, so it is not given up lightly; but one whose certificate never comes
//! must not keep the Certificate from ordering anew.

use jiff::{SignedDuration, Timestamp};

use super::TroubleClass;

/// A CA with several data centres may call an order valid before all of them know where its certificate is.
const UNTIL_NAMED: SignedDuration = SignedDuration::from_mins(30);

/// A CA that answers, but cannot hand out certificates, is mended within a day.
const UNTIL_SERVED: SignedDuration = SignedDuration::from_hours(24);

/// So many times a chain is asked for that may be the preferred one, while the CA has it out of order; then the default
/// chain is taken. It serves most clients, a certificate that is held back serves none.
const CHAIN_TRIES: u32 = 5;

/// If the CA asks for more time than this before it is asked for such a chain again, that is too long as well.
const CHAIN_WAIT: SignedDuration = SignedDuration::from_mins(2);

/// What keeps the certificate of a valid order from being had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The order does not say where it is.
    Url,
    /// What is there cannot be read now.
    Certificate,
}

impl Missing {
    /// Whether to go on waiting for what is missing since `since`.
    pub fn class(self, since: Timestamp, now: Timestamp) -> TroubleClass {
        if now.duration_since(since) < self.patience() { TroubleClass::Transient } else { TroubleClass::Final }
    }

    fn patience(self) -> SignedDuration {
        match self {
            Self::Url => UNTIL_NAMED,
            Self::Certificate => UNTIL_SERVED,
        }
    }
}

/// Whether a further chain that could not be had for now is tried once more, after so many tries before this one. `wait`
/// is what the CA asks for.
pub fn is_chain_tried_again(tries: u32, wait: Option<SignedDuration>) -> bool {
    tries.saturating_add(1) < CHAIN_TRIES && wait.is_none_or(|wait| wait <= CHAIN_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::testing::{DAY, HOUR, at, now};

    #[test]
    fn what_does_not_come_is_given_up() {
        use TroubleClass::{Final, Transient};
        for (missing, patience) in [(Missing::Url, HOUR / 2), (Missing::Certificate, DAY)] {
            let class = |seconds| missing.class(now(), at(seconds));
            assert_eq!([0, patience - 1, patience].map(class), [Transient, Transient, Final], "{missing:?}");
            assert_eq!(class(-HOUR), Transient, "{missing:?}: the clock was set back");
        }
    }

    #[test]
    fn a_chain_is_tried_a_few_times_and_not_waited_for_long() {
        let tries = (0..9).take_while(|tries| is_chain_tried_again(*tries, None)).count();
        assert_eq!(tries, 4, "the fifth try is the last");
        assert!(is_chain_tried_again(0, Some(SignedDuration::from_secs(30))));
        assert!(!is_chain_tried_again(0, Some(SignedDuration::from_hours(1))));
        assert!(!is_chain_tried_again(u32::MAX, None));
    }
}
