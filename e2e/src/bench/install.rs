//! Bars of the group `install`: what an operator sees of installing, upgrading and losing a controller.

use anyhow::Result;

use super::bar::{Bar, INSTALL_LEADER_KILL, INSTALL_LEADER_ORDERS, Measured};
use super::leader;
use crate::testbed::Testbed;

/// Measures what is wanted of tier `api`.
pub async fn measure(testbed: &Testbed, bars: &[&Bar]) -> Result<Vec<Measured>> {
    let wanted = |names: &[&str]| bars.iter().any(|bar| names.contains(&bar.name));
    let mut measured = Vec::new();
    if wanted(&[INSTALL_LEADER_KILL, INSTALL_LEADER_ORDERS]) {
        measured.extend(leader::measure(testbed).await?);
    }
    Ok(measured)
}
