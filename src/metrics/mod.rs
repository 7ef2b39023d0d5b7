//! What Prometheus scrapes: the text of `/metrics`.
//!
//! What the objects say is read from the stores for each scrape, so that an object that is gone has no series any more, and
//! nothing is held for it in between. What happens and leaves no object behind is summed up by [`crate::measure`].
//!
//! The names, types and labels that begin with `certmanager_` are cert-manager's; those that begin with `certwright_` are
//! ours. All of them are in `docs/metrics.md`.

mod accounts;
mod certificates;
mod challenges;
mod family;
mod general;
mod issuers;
mod page;
mod process;
mod recorder;
mod serve;
mod work;

pub use accounts::AccountBudget;
pub use page::{Sources, page};
pub use recorder::{Recorder, keep_up};
pub use serve::{router, router_of_process};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
