//! The flags that say how certificates are kept.

use clap::Args;
use jiff::SignedDuration;

use super::durations::window;
use crate::{
    cli::feature_gates::FeatureGates,
    decide::{
        certificate::{Features, Settings},
        template::CopiedAnnotations,
    },
};

/// How certificates are kept.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Certificates")]
pub(super) struct CertificateArgs {
    /// Delete a Certificate's Secret together with the Certificate.
    #[arg(long, value_name = "BOOL", default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) enable_certificate_owner_ref: bool,
    /// Renew each certificate a little before its time, by up to 1 % of its lifetime and an hour at most, and try again
    /// after a failure a little later, by up to a tenth of the wait, so that those issued together are not renewed together.
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) renewal_jitter: bool,
    /// Which annotations are copied from Certificates to CertificateRequests and Orders, by prefix; `-` excludes.
    #[arg(
        long,
        value_name = "PREFIXES",
        default_value = "*,-kubectl.kubernetes.io/,-fluxcd.io/,-argocd.argoproj.io/",
        allow_hyphen_values = true
    )]
    pub(super) copied_annotation_prefixes: String,
    /// Wait after the first failed issuance of a Certificate; doubled after each further one.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = window)]
    pub(super) certificate_request_minimum_backoff_duration: SignedDuration,
    /// Longest wait after a failed issuance.
    #[arg(long, value_name = "DURATION", default_value = "32h", value_parser = window)]
    pub(super) certificate_request_maximum_backoff_duration: SignedDuration,
}

impl CertificateArgs {
    pub(super) fn settings(&self, features: FeatureGates) -> Settings {
        Settings {
            owner_reference: self.enable_certificate_owner_ref,
            least_wait: self.certificate_request_minimum_backoff_duration,
            most_wait: self.certificate_request_maximum_backoff_duration,
            renewal_jitter: self.renewal_jitter,
            features: Features {
                basic_constraints: features.basic_constraints,
                literal_subject: features.literal_subject,
                name_constraints: features.name_constraints,
                other_names: features.other_names,
            },
        }
    }

    pub(super) fn copied_annotations(&self) -> CopiedAnnotations {
        CopiedAnnotations::new(&self.copied_annotation_prefixes)
    }
}
