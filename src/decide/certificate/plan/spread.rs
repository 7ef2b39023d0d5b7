//! Whether the renewal of a certificate is spread.

use kube::ResourceExt;

use super::Plan;
use crate::{decide::renewal, pki::ParsedCertificate};

impl Plan<'_> {
    /// What the renewal time of this certificate is spread by; none if it is not.
    ///
    /// A time that cert-manager has worked out stays until there is another certificate: nothing needs to be written about
    /// a certificate that was taken over, and none of those that are due within the hour are renewed for being taken over.
    /// To be called before the dates of the status are brought up to date.
    pub(super) fn renewal_seed(&self, leaf: &ParsedCertificate) -> Option<String> {
        let is_wanted = self.seen.settings.renewal_jitter && !self.has_plain_renewal_time(leaf);
        let uid = self.seen.certificate.uid().unwrap_or_default();
        is_wanted.then(|| format!("{uid}/{}", leaf.not_after))
    }

    /// Whether the status says of this very certificate that it is renewed exactly when the spec wants it.
    fn has_plain_renewal_time(&self, leaf: &ParsedCertificate) -> bool {
        let told = [&self.status.not_before, &self.status.not_after, &self.status.renewal_time];
        let told = told.map(|time| time.as_ref().map(|time| time.0));
        let plain = renewal::renewal_time(&self.seen.certificate.spec, leaf.not_before, leaf.not_after, None);
        plain.at.is_some() && told == [Some(leaf.not_before), Some(leaf.not_after), plain.at]
    }
}
