//! The certwright binary; see [`certwright::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    certwright::cli::run()
}
