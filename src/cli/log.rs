//! Logging to standard error.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Json,
    Text,
}

/// Starts logging. `filter` is a level, or directives such as `info,certwright::acme=debug`; `RUST_LOG` goes before it.
pub fn start(format: Format, filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start, as in tests, keeps the first one's settings.
    let _ = match format {
        Format::Json => builder.json().try_init(),
        Format::Text => builder.with_ansi(false).try_init(),
    };
}
