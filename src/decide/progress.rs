//! How far an Order or a Challenge has come, as far as others need to know.

use crate::api::{Order, names::state};

/// See the module's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Open,
    Valid,
    Failed,
}

impl Progress {
    pub fn of(order: &Order) -> Self {
        Self::of_word(order.status.as_ref().and_then(|status| status.state.as_deref()))
    }

    /// The state of an Order or a Challenge by its word in the status.
    pub fn of_word(word: Option<&str>) -> Self {
        match word {
            Some(state::VALID) => Self::Valid,
            Some(state::INVALID | state::EXPIRED | state::ERRORED) => Self::Failed,
            _ => Self::Open,
        }
    }
}
