//! The flags that say into which objects CA certificates are injected. They have the names of cert-manager's cainjector.

use clap::Args;

use crate::{api::InjectionTarget, pki::pem};

/// Where CA certificates are injected.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "CA injection")]
pub(super) struct InjectionArgs {
    /// Inject CA certificates into APIServices that ask for it by annotation (cert-manager.io/inject-ca-from and others).
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) enable_apiservices_injectable: bool,
    /// The same for the conversion webhooks of CustomResourceDefinitions.
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) enable_customresourcedefinitions_injectable: bool,
    /// The same for MutatingWebhookConfigurations.
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) enable_mutatingwebhookconfigurations_injectable: bool,
    /// The same for ValidatingWebhookConfigurations.
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub(super) enable_validatingwebhookconfigurations_injectable: bool,
}

impl InjectionArgs {
    pub(super) fn targets(&self) -> Vec<InjectionTarget> {
        let chosen = [
            (self.enable_apiservices_injectable, InjectionTarget::ApiService),
            (self.enable_customresourcedefinitions_injectable, InjectionTarget::CustomResourceDefinition),
            (self.enable_mutatingwebhookconfigurations_injectable, InjectionTarget::MutatingWebhookConfiguration),
            (self.enable_validatingwebhookconfigurations_injectable, InjectionTarget::ValidatingWebhookConfiguration),
        ];
        chosen.into_iter().filter(|(is_chosen, _)| *is_chosen).map(|(_, target)| target).collect()
    }
}

/// The certificates of a kubeconfig in PEM form.
pub(super) fn authority(certificates: &[Vec<u8>]) -> Vec<u8> {
    certificates.iter().map(|der| pem::encode("CERTIFICATE", der)).collect::<String>().into_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::read;

    #[test]
    fn each_kind_can_be_left_out() {
        let targets = |flags: &[&str]| read(flags).unwrap().injection.targets();
        assert_eq!(targets(&[]).len(), 4);
        let kinds = [
            "apiservices",
            "customresourcedefinitions",
            "mutatingwebhookconfigurations",
            "validatingwebhookconfigurations",
        ];
        for kind in kinds {
            let left = targets(&[&format!("--enable-{kind}-injectable=false")]);
            assert!(left.len() == 3 && left.iter().all(|target| target.plural() != kind), "{kind}: {left:?}");
        }
    }
}
