//! Bars of the group `install`: what an operator touches.

use anyhow::Result;

use super::bar::{self, Bar, Measured};
use super::{helm_install, take_over};
use crate::testbed::Testbed;

/// Those of tier `api`.
pub(super) async fn api(testbed: &Testbed, bars: &[&Bar]) -> Result<Vec<Measured>> {
    let is_meant = |name: &str| bars.iter().any(|bar| bar.name == name);
    let mut measured = Vec::new();
    let sizes =
        [bar::INSTALL_CHART_BYTES, bar::INSTALL_CRDS_BYTES, bar::INSTALL_IMAGE_BYTES, bar::INSTALL_LARGEST_CRD_BYTES];
    if sizes.into_iter().any(is_meant) {
        measured.extend(helm_install::sizes(testbed)?);
    }
    if is_meant(bar::INSTALL_TAKE_OVER) {
        measured.push(take_over::measure(testbed).await?);
    }
    Ok(measured)
}

/// Those of tier `cluster`. They take the definitions away, so they come last.
pub(super) async fn cluster(testbed: &Testbed) -> Result<Vec<Measured>> {
    Ok(vec![helm_install::measure(testbed).await?])
}
