//! The flags that say which work is done, and how much of it at once.

use clap::Args;

use crate::cli::feature_gates::{FeatureGate, FeatureGates};

/// Which work is done.
#[derive(Args, Clone, Debug)]
pub(super) struct WorkArgs {
    /// Which of cert-manager's controllers work: "*" is all of them, a leading "-" leaves one out. Only
    /// certificaterequests-approver, which approves every CertificateRequest, can be left out here; anything else in the
    /// list is without effect.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "*", allow_hyphen_values = true)]
    pub(super) controllers: Vec<String>,
    /// How many objects are worked on at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 16)]
    pub(super) concurrent_workers: usize,
    /// Features by cert-manager's names, such as ACMEUseARI=false, separated by commas. ACMEUseARI, which is on, is the only
    /// one that has an effect here: CAs are asked when they want certificates renewed (RFC 9773).
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = FeatureGate::parse)]
    pub(super) feature_gates: Vec<FeatureGate>,
}

impl WorkArgs {
    pub(super) fn features(&self) -> FeatureGates {
        FeatureGates::of(&self.feature_gates)
    }

    pub(super) fn approves(&self) -> bool {
        approves(&self.controllers)
    }
}

/// Whether the list of `--controllers` has the built-in approver in it. What is without effect is told of.
fn approves(controllers: &[String]) -> bool {
    const APPROVER: &str = "certificaterequests-approver";
    let named = |name: &str| controllers.iter().any(|controller| controller.trim() == name);
    for name in controllers.iter().map(|name| name.trim()).filter(|name| *name != "*") {
        if name.trim_start_matches('-') != APPROVER {
            tracing::warn!(name, "this name in --controllers is without effect; only {APPROVER} can be left out");
        }
    }
    !named("-certificaterequests-approver") && (named("*") || named(APPROVER))
}
