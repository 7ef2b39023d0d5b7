//! Spare issuers: another one is asked when the one whose turn it is does not sign.

use jiff::{SignedDuration, Timestamp};

use super::{CertificateStep, Plan, request_time, tell::HELD_UP};
use crate::{
    api::{
        CertificateRequest, CertificateSpec, IssuerReference, find_condition,
        names::{condition, event},
    },
    decide::{Note, Wake, fallback, later, policy, secret::noted_issuer},
};

/// Stands in the message of the Issuing condition after why a certificate is being issued: the spare that is asked.
const SPARE: &str = "; asked is the spare issuer ";

/// With less than this part of its lifetime left, a certificate is as good as none.
const LAST_PART: i64 = 6;

/// Nothing tells us when a spare becomes usable, so we look again after this time.
const NOBODY_USABLE: SignedDuration = SignedDuration::from_mins(5);

const LONGEST_PATIENCE: SignedDuration = SignedDuration::from_hours(6);

impl Plan<'_> {
    /// The spec with the issuer of the issuance under way.
    pub(super) fn spec_in_force(&self) -> CertificateSpec {
        let spec = &self.seen.certificate.spec;
        match self.spare_in_use() {
            Some(spare) => CertificateSpec { issuer_ref: spare.clone(), ..spec.clone() },
            None => spec.clone(),
        }
    }

    /// The spec as it was for this request, if that was made for the first issuer or a spare.
    pub(super) fn spec_of(&self, request: &CertificateRequest) -> CertificateSpec {
        policy::spec_of(&self.seen.certificate.spec, request, &self.fallback.spares)
    }

    /// The spare that is asked now: the message that says so is also where it is remembered.
    pub(super) fn spare_in_use(&self) -> Option<&IssuerReference> {
        let issuing =
            find_condition(&self.status.conditions, condition::ISSUING).filter(|issuing| issuing.is_true())?;
        let (_, told) = issuing.message.as_deref()?.split_once(SPARE)?;
        let named = fallback::parse(told.split(HELD_UP).next()?)?;
        self.fallback.spares.iter().find(|spare| spare.same_as(&named))
    }

    /// Why a certificate is being issued, with the spare that is asked first because the first issuer has failed already and
    /// time is short.
    pub(super) fn with_first_choice(&self, why: &str) -> String {
        let attempts = self.status.failed_issuance_attempts.unwrap_or_default();
        let turn = usize::try_from(attempts).unwrap_or_default() % (self.fallback.spares.len() + 1);
        let spare = turn.checked_sub(1).and_then(|index| self.fallback.spares.get(index));
        match spare.filter(|spare| self.is_urgent() && self.is_usable(spare)) {
            Some(spare) => with_spare(why, Some(spare)),
            None => why.to_owned(),
        }
    }

    /// Goes on to the next issuer if this request has not been answered for too long, for the reason `obstacle`; whether it
    /// does.
    pub(super) fn turn_to_spare(&mut self, request: &CertificateRequest, obstacle: &str) -> bool {
        if self.fallback.spares.is_empty() {
            return false;
        }
        let Some(asked) = request_time(request) else { return false };
        let until = later(asked, self.patience(asked));
        if self.now < until {
            self.wake = self.wake.min(Wake::At(until));
            return false;
        }
        let Some(next) = self.next_in_turn() else {
            self.wake = self.wake.min(Wake::At(later(self.now, NOBODY_USABLE)));
            return false;
        };
        let first = &self.seen.certificate.spec.issuer_ref;
        let former = fallback::shown(self.spare_in_use().unwrap_or(first));
        let spare = Some(&next).filter(|next| !next.same_as(first));
        let Some(issuing) = self.status.conditions.iter_mut().find(|held| held.type_ == condition::ISSUING) else {
            return false;
        };
        let known = issuing.message.clone().unwrap_or_default();
        let why = known.split(HELD_UP).next().and_then(|why| why.split(SPARE).next()).unwrap_or_default();
        issuing.message = Some(with_spare(why, spare));
        self.steps.push(CertificateStep::DeleteRequest(std::sync::Arc::new(request.clone())));
        let text = format!("{former} does not sign ({obstacle}); {} is asked instead", fallback::shown(&next));
        self.notes.push(Note::warning(event::FALLBACK_ISSUER, text));
        true
    }

    /// How long a request that was made then is waited for: the longer, the longer nobody has signed, so that issuers which
    /// are all away are asked ever less often.
    fn patience(&self, asked: Timestamp) -> SignedDuration {
        let began = find_condition(&self.status.conditions, condition::ISSUING)
            .and_then(|issuing| issuing.last_transition_time.as_ref());
        let so_far = began.map(|began| asked.duration_since(began.0)).unwrap_or_default();
        self.fallback.patience(self.is_urgent()).max((so_far / 2).min(LONGEST_PATIENCE))
    }

    /// The one after the one that is asked now, which after the last is the first; none if there is no other.
    fn next_in_turn(&self) -> Option<IssuerReference> {
        let spares = &self.fallback.spares;
        let position = self.spare_in_use().and_then(|used| spares.iter().position(|spare| spare == used));
        let rest = &spares[position.map_or(0, |position| position + 1)..];
        let next = rest.iter().find(|spare| self.is_usable(spare));
        next.or_else(|| position.map(|_| &self.seen.certificate.spec.issuer_ref)).cloned()
    }

    fn is_usable(&self, spare: &IssuerReference) -> bool {
        self.seen.spares.iter().any(|seen| seen.is_usable && seen.reference.same_as(spare))
    }

    /// Whether there is no certificate to live on, or not for long.
    fn is_urgent(&self) -> bool {
        if policy::unreadiness(&self.inputs(), self.now).is_some() {
            return true;
        }
        let (Some(from), Some(until)) = (&self.status.not_before, &self.status.not_after) else { return true };
        until.0.duration_since(self.now).as_secs() < until.0.duration_since(from.0).as_secs() / LAST_PART
    }

    /// That the certificate in the Secret, or the one that comes, is of a spare.
    pub(super) fn spare_remark(&self) -> Option<String> {
        let first = &self.seen.certificate.spec.issuer_ref;
        let issuer = self.issued_by.clone().or_else(|| noted_issuer(self.seen.secret?))?;
        let is_spare = self.fallback.spares.iter().any(|spare| spare.same_as(&issuer));
        is_spare.then(|| {
            let (spare, first) = (fallback::shown(&issuer), fallback::shown(first));
            format!("it is of the spare issuer {spare}; the next one is asked of {first} again")
        })
    }
}

fn with_spare(why: &str, spare: Option<&IssuerReference>) -> String {
    spare.map_or_else(|| why.to_owned(), |spare| format!("{why}{SPARE}{}", fallback::shown(spare)))
}
