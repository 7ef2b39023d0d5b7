//! Generating private keys without holding up anything else.

use super::{Context, step_error::StepError};
use crate::pki::{KeyAlgorithm, PrivateKey};

/// Generates a key on a thread of its own, a bounded number at once.
pub(super) async fn generate_key(context: &Context, algorithm: KeyAlgorithm) -> Result<PrivateKey, StepError> {
    let failed =
        |error: &dyn std::fmt::Display| StepError::transient(format!("Failed to generate a private key: {error}"));
    let _permit = context.key_generation.acquire().await.map_err(|error| failed(&error))?;
    let generated = tokio::task::spawn_blocking(move || PrivateKey::generate(algorithm)).await;
    generated.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}
