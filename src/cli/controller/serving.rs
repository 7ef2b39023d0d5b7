//! The flags that say what is served to whoever watches over the controller, and how it logs.

use std::sync::Arc;

use clap::Args;
use tokio::sync::watch;

use super::ControllerError;
use crate::{
    cli::{
        debug,
        log::{self, Level},
        probe,
    },
    cluster::Hub,
    serve,
};

/// What is served and logged.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Probes and logs")]
pub(super) struct ServingArgs {
    /// Where /livez and /readyz are served; an empty value turns them off.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9403")]
    pub(super) internal_healthz_listen_address: String,
    /// How log lines are written.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(super) logging_format: log::Format,
    /// What is logged: a level (error, warn, info, debug, trace), or directives such as info,certwright::acme=debug.
    #[arg(long, value_name = "FILTER", default_value = "info", value_parser = log::checked)]
    pub(super) log_level: String,
    /// Serve /debug/log-level at --profiler-address: PUT a level there, or directives as in --log-level, to change what is
    /// logged.
    #[arg(long, value_name = "BOOL", default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) enable_profiling: bool,
    /// Where that is served: an address of the machine itself.
    #[arg(long, value_name = "ADDRESS", default_value = "localhost:6060")]
    pub(super) profiler_address: String,
}

impl ServingArgs {
    pub(super) fn start_log(&self) -> Level {
        log::start(self.logging_format, &self.log_level)
    }
}

/// Serves what only who may reach into the pod may ask for, if that is wanted.
pub(super) async fn serve_debug(args: &ServingArgs, level: Level) -> Result<(), ControllerError> {
    if !args.enable_profiling {
        return Ok(());
    }
    let address = &args.profiler_address;
    let wrong = |problem: String| ControllerError::Profiler { address: address.clone(), problem };
    debug::start(address, level).await.map_err(wrong)
}

/// `is_alive` is asked for `/livez`.
pub(super) async fn serve_probes(
    args: &ServingArgs,
    (filled, hub): (watch::Receiver<usize>, Arc<Hub>),
    is_alive: impl Fn() -> bool + Clone + Send + Sync + 'static,
) -> Result<(), ControllerError> {
    let address = &args.internal_healthz_listen_address;
    if address.is_empty() {
        return Ok(());
    }
    let wrong = |problem: String| ControllerError::Listen { address: address.clone(), problem };
    let listener = serve::listen(address).await.map_err(wrong)?;
    tokio::spawn(probe::serve(listener, (filled, hub), is_alive));
    Ok(())
}
