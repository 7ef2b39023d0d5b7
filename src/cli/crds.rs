//! `certwright crds`: prints the CustomResourceDefinitions.

use std::io::{self, Write as _};

use crate::api::crd;

/// Why the definitions could not be printed.
#[derive(Debug, thiserror::Error)]
pub enum CrdsError {
    #[error("writing the CustomResourceDefinitions as YAML failed: {0}")]
    Yaml(#[from] serde_yaml::Error),
    #[error("writing the CustomResourceDefinitions to standard output failed: {0}")]
    Output(#[from] io::Error),
}

/// Prints all CustomResourceDefinitions as one YAML stream, ready for `kubectl apply -f -`.
pub fn run() -> Result<(), CrdsError> {
    match io::stdout().lock().write_all(crd::crds_yaml()?.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
