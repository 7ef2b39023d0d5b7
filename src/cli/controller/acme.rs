//! The flags that say how much is asked of ACME servers.

use clap::Args;
use jiff::SignedDuration;

use super::durations::window;
use crate::decide::budget::Allowance;

/// How much is asked of ACME servers.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "ACME accounts")]
pub(super) struct AcmeArgs {
    /// How many orders an ACME account may have created within --acme-order-window; 0 is no limit. The annotation
    /// certwright.dev/new-orders of an issuer goes before it.
    #[arg(long, value_name = "NUMBER", default_value_t = Allowance::default().most)]
    pub(super) acme_orders_per_window: u32,
    /// See --acme-orders-per-window.
    #[arg(long, value_name = "DURATION", default_value = "3h", value_parser = window)]
    pub(super) acme_order_window: SignedDuration,
}

impl AcmeArgs {
    pub(super) fn allowance(&self) -> Allowance {
        Allowance { most: self.acme_orders_per_window, window: self.acme_order_window }
    }
}
