//! The flags that say what is served to whoever watches over the controller, and how it logs.

use std::net::SocketAddr;

use clap::Args;
use tokio::sync::watch;

use super::ControllerError;
use crate::cli::{log, probe};

/// What is served and logged.
#[derive(Args, Clone, Debug)]
pub(super) struct ServingArgs {
    /// Where /livez and /readyz are served; an empty value turns them off.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9403")]
    pub(super) internal_healthz_listen_address: String,
    /// How log lines are written.
    #[arg(long, value_enum, default_value = "text")]
    pub(super) logging_format: log::Format,
    /// What is logged: a level (error, warn, info, debug, trace), or directives such as info,certwright::acme=debug.
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub(super) log_level: String,
}

impl ServingArgs {
    pub(super) fn start_log(&self) {
        log::start(self.logging_format, &self.log_level);
    }
}

/// `is_alive` is asked for `/livez`.
pub(super) async fn serve_probes(
    args: &ServingArgs,
    filled: watch::Receiver<usize>,
    is_alive: impl Fn() -> bool + Clone + Send + Sync + 'static,
) -> Result<(), ControllerError> {
    let address = &args.internal_healthz_listen_address;
    if address.is_empty() {
        return Ok(());
    }
    let wrong = |problem: String| ControllerError::Listen { address: address.clone(), problem };
    let parsed: SocketAddr = address.parse().map_err(|_| wrong("is not ADDRESS:PORT".to_owned()))?;
    let listener = probe::listen(parsed).await.map_err(|error| wrong(error.to_string()))?;
    tokio::spawn(probe::serve(listener, filled, is_alive));
    Ok(())
}
