//! What the controller's surroundings give it: files, and services of the machine.

use std::path::Path;

use reqwest::Client;
use tokio::io::AsyncReadExt as _;

use crate::{controller::step_error::StepError, dns::provider::http};

/// The longest file, in bytes.
const LONGEST_FILE: u64 = 64 << 10;

/// A client for the metadata server of a cloud.
pub(super) fn local_client() -> Result<Client, StepError> {
    http::local_client().map_err(|error| StepError::transient(format!("TLS cannot be set up: {error}")))
}

/// The content of the file that an environment variable names.
pub(super) async fn read_file(file: &Path, variable: &str) -> Result<String, StepError> {
    let failed = |error: std::io::Error| {
        StepError::transient(format!("The file that {variable} names cannot be read: {}", error.kind()))
    };
    let mut content = String::new();
    let opened = tokio::fs::File::open(file).await.map_err(failed)?;
    opened.take(LONGEST_FILE).read_to_string(&mut content).await.map_err(failed)?;
    Ok(content)
}
