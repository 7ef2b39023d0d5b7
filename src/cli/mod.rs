//! The subcommands of the certwright binary.

mod acmesolver;
mod command_line;
mod config_file;
mod controller;
mod crds;
mod debug;
mod feature_gates;
mod issuer;
mod log;
mod metrics_tls;
mod pflag;
mod probe;
mod suggestion;
mod tls;
mod webhook;
mod without_effect;

use std::{error::Error, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::cluster::with_causes;

/// Keeps TLS certificates in Kubernetes Secrets, obtained from ACME certificate authorities.
#[derive(Parser)]
#[command(name = "certwright", version, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answers one HTTP-01 or TLS-ALPN-01 challenge; runs in the solver pods that the controller starts.
    Acmesolver(acmesolver::AcmeSolverArgs),
    /// Watches Certificates and keeps their Secrets valid. Runs until it is told to stop.
    Controller(Box<controller::ControllerArgs>),
    /// Prints the CustomResourceDefinitions, for `kubectl apply -f -`.
    Crds,
    /// Prints an issuer for a well-known CA, for `kubectl apply -f -`.
    Issuer(issuer::IssuerArgs),
    /// Answers the API server whether objects may be written. Optional: see docs/admission.md. Runs until it is told to stop.
    Webhook(Box<webhook::WebhookArgs>),
    /// Stops the controller and takes back what it has begun, so that nothing waits for it any more: before it is uninstalled.
    WindDown(Box<controller::wind_down::WindDownArgs>),
}

/// Reads the command line and does what it says.
pub fn run() -> ExitCode {
    let cli = command_line::parse();
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("certwright: error: another TLS provider is installed in this process");
        return ExitCode::FAILURE;
    }
    match carry_out(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("certwright: error: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn carry_out(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Acmesolver(args) => {
            log::start(log::Format::Text, "info");
            // One request at a time is all that ever comes.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(acmesolver::run(args))?)
        }
        Command::Controller(args) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            Ok(runtime.block_on(controller::run(*args))?)
        }
        Command::Crds => Ok(crds::run()?),
        Command::Issuer(args) => Ok(issuer::run(&args)?),
        Command::Webhook(args) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(webhook::run(*args))?)
        }
        Command::WindDown(args) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            Ok(runtime.block_on(controller::wind_down::run(*args))?)
        }
    }
}
