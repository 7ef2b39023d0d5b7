//! What the CA suggests about the time of the renewal (RFC 9773).

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{Plan, request_time};
use crate::{
    api::{
        certificate::{CertificateAcmeStatus, SuggestedWindow},
        names::{event, reason},
    },
    decide::{
        Note, Wake, later,
        policy::{self, Violation},
        renewal::{self, RenewalTime, Suggestion},
        renewal_information::{Marks, Source, first_check, next_check, paced, taken_in},
        secret::noted_issuer,
        template,
    },
    pki::{ParsedCertificate, certificate_id},
};

/// Whether an issuer has come to give renewal information is looked at so often.
const SOURCE: SignedDuration = SignedDuration::from_hours(6);

/// So many certificates within a day are issued because the CA wants it at once; a CA that always does is not followed.
const MOST_BY_SUGGESTION: usize = 3;
const DAY: SignedDuration = SignedDuration::from_hours(24);

impl Plan<'_> {
    /// What the status says of the CA's suggestion is about this certificate, and takes in what this process was told.
    /// To be called before the dates of the status are brought up to date.
    pub(super) fn update_renewal_information(&mut self, leaf: Option<&ParsedCertificate>) {
        let is_same = |leaf: &ParsedCertificate| {
            let dates = [self.status.not_before.as_ref(), self.status.not_after.as_ref()];
            dates.map(|time| time.map(|time| time.0)) == [Some(leaf.not_before), Some(leaf.not_after)]
        };
        let Some(leaf) = leaf.filter(|leaf| is_same(leaf) && self.may_be_suggested()) else {
            self.status.acme = None;
            return;
        };
        let seen = &self.seen.renewal_information;
        let Some(answer) = seen.answer.filter(|answer| {
            seen.source == Source::Ca && certificate_id(leaf).is_some_and(|id| id == answer.certificate_id)
        }) else {
            return;
        };
        let former = self.status.acme.take().and_then(|acme| acme.ari);
        let ari = taken_in(former.as_ref(), answer, &self.uid());
        let (known, told) =
            (former.and_then(|former| former.last_error), ari.as_ref().and_then(|ari| ari.last_error.clone()));
        if let Some(text) = told.filter(|text| known.as_ref() != Some(text)) {
            self.notes.push(Note::warning(event::ARI_ERROR, text));
        }
        self.status.acme = ari.map(|ari| CertificateAcmeStatus { ari: Some(ari) });
    }

    /// Whether suggestions of the CA are obeyed for the certificate in the Secret.
    fn may_be_suggested(&self) -> bool {
        let renewal = self.seen.certificate.spec.renewal.as_ref();
        matches!(self.seen.renewal_information.source, Source::Ca | Source::Unknown)
            && renewal.and_then(|renewal| renewal.policy.as_deref()) != Some(renewal::DISABLED)
            && self.is_of_the_same_issuer()
    }

    /// Whether the Secret says that its certificate came from the issuer of the spec.
    fn is_of_the_same_issuer(&self) -> bool {
        let noted = self.seen.secret.and_then(noted_issuer);
        noted.is_some_and(|noted| noted.same_as(&self.seen.certificate.spec.issuer_ref))
    }

    /// Has the CA asked, if that is due, else looks again when it is. The Secret is in order.
    pub(super) fn ask_for_renewal_information(&mut self) {
        let Some((certificate_id, due)) = self.next_question() else { return };
        if due > self.now {
            self.wake = self.wake.min(Wake::At(due));
        } else {
            self.question = Some(certificate_id);
        }
    }

    /// About which certificate the CA is to be asked, and when.
    fn next_question(&mut self) -> Option<(String, Timestamp)> {
        let seen = &self.seen.renewal_information;
        if matches!(seen.source, Source::Off | Source::Unknown) {
            self.wake = self.wake.min(Wake::At(later(self.now, SOURCE)));
        }
        let pair = self.seen.secret.and_then(policy::sound_pair)?;
        if seen.source != Source::Ca || !self.may_be_suggested() || policy::is_temporary(&pair.leaf) {
            return None;
        }
        let (id, uid) = (certificate_id(&pair.leaf)?, self.uid());
        let due = match self.status.acme.as_ref().and_then(|acme| acme.ari.as_ref()) {
            Some(ari) => next_check(ari),
            None => first_check(self.issued_at(&pair.leaf), &uid),
        };
        let due = paced(due, seen, &id, &uid);
        let end = self.status.renewal_time.as_ref().map_or(pair.leaf.not_after, |time| time.0);
        (due < end).then_some((id, due))
    }

    /// CAs date back, so the request for it tells better, as long as it is there.
    fn issued_at(&self, leaf: &ParsedCertificate) -> Timestamp {
        let requested = self.request_of(self.status.revision).and_then(request_time);
        requested.map_or(leaf.not_before, |requested| requested.max(leaf.not_before))
    }

    /// The renewal time by the CA's suggestion, if there is one; `regular` is when it would be without.
    pub(super) fn suggested_renewal(&self, leaf: &ParsedCertificate, regular: Timestamp) -> Option<RenewalTime> {
        let ari = self.status.acme.as_ref()?.ari.as_ref()?;
        let SuggestedWindow { start, end } = ari.suggested_window.as_ref()?;
        let suggestion = Suggestion {
            start: start.0,
            end: end.0,
            seed: &format!("{}/{}", self.uid(), leaf.serial_hex()),
            checked: ari.last_checked.as_ref().map_or(Timestamp::MIN, |time| time.0),
            obeyed_from: self.end_of_disobedience(),
        };
        let spec = &self.seen.certificate.spec;
        Some(renewal::suggested_renewal_time(spec, leaf.not_before, leaf.not_after, regular, &suggestion))
    }

    /// Until when the CA is not obeyed, because it has had too many certificates renewed.
    fn end_of_disobedience(&self) -> Option<Timestamp> {
        let noted = self.noted_issuances();
        let oldest = noted.len().checked_sub(MOST_BY_SUGGESTION)?;
        noted.get(oldest).map(|oldest| later(*oldest, DAY))
    }

    fn suggested_window(&self) -> Option<&SuggestedWindow> {
        self.status.acme.as_ref()?.ari.as_ref()?.suggested_window.as_ref()
    }

    /// Whether the CA wants the certificate renewed before its time.
    fn is_early(&self, window: &SuggestedWindow) -> bool {
        let (Some(from), Some(until)) = (&self.status.not_before, &self.status.not_after) else { return false };
        window.end.0 < renewal::desired(&self.seen.certificate.spec, from.0, until.0)
    }

    /// Says that the CA is why, if it wants the renewal before its time.
    pub(super) fn with_the_cas_reason(&self, violation: Violation) -> Violation {
        let window = self.suggested_window().filter(|window| self.is_early(window));
        let Some(SuggestedWindow { start, end }) = window.filter(|_| violation.reason == reason::RENEWING) else {
            return violation;
        };
        let ari = self.status.acme.as_ref().and_then(|acme| acme.ari.as_ref());
        let page = ari.and_then(|ari| ari.explanation_url.as_ref()).map(|url| format!(" ({url})")).unwrap_or_default();
        let message =
            format!("Renewing certificate as the CA suggests a renewal between {} and {}{page}", start.0, end.0);
        Violation { message, ..violation }
    }

    /// What the CertificateRequest is told of the certificate that it replaces.
    pub(super) fn marks(&self) -> Marks {
        let is_due = self.status.renewal_time.as_ref().is_some_and(|time| time.0 <= self.now);
        let is_urgent = |window: &SuggestedWindow| self.is_early(window) || window.end.0 <= self.now;
        Marks {
            replaces: self.replaced_certificate(),
            urgent: is_due && self.suggested_window().is_some_and(is_urgent),
        }
    }

    /// The certificate in the Secret, if its CA can know that it is being replaced (RFC 9773 section 5). CAs refuse an
    /// order that has no name in common with the certificate that it is said to replace.
    fn replaced_certificate(&self) -> Option<String> {
        let leaf = self.seen.secret.and_then(policy::leaf_of)?;
        let ari = self.status.acme.as_ref().and_then(|acme| acme.ari.as_ref());
        let is_unknown = ari.is_some_and(|ari| ari.last_error.is_some() && ari.suggested_window.is_none());
        let is_replaced = self.seen.renewal_information.source == Source::Ca
            && self.is_of_the_same_issuer()
            && !policy::is_temporary(&leaf)
            && !is_unknown
            && self.has_a_name_of(&leaf);
        certificate_id(&leaf).filter(|_| is_replaced)
    }

    fn has_a_name_of(&self, leaf: &ParsedCertificate) -> bool {
        let Ok(wanted) = template::request_template(&self.seen.certificate.spec) else { return false };
        let (wanted, held) = (wanted.names.normalized(), leaf.names.clone().normalized());
        wanted.dns_names.iter().any(|name| held.dns_names.contains(name))
            || wanted.ip_addresses.iter().any(|address| held.ip_addresses.contains(address))
    }

    fn uid(&self) -> String {
        self.seen.certificate.uid().unwrap_or_default()
    }
}
