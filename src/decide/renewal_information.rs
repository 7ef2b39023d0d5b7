//! ACME renewal information (RFC 9773): when the CA is asked, and what becomes of its answers.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::{issuer_of::SeenIssuerOf, later, renewal::chosen};
use crate::api::{
    CertificateRequest,
    certificate::{AcmeRenewalInfo, SuggestedWindow},
    names::{annotation, label},
};

/// The interval between two questions, within what the CA may wish for (RFC 9773 section 4.3).
const USUAL: SignedDuration = SignedDuration::from_hours(6);
const SHORTEST: SignedDuration = SignedDuration::from_hours(1);
const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The wait after the first question that failed; each further one takes three times as long, up to [`USUAL`].
const FIRST_RETRY: SignedDuration = SignedDuration::from_mins(5);

/// The first question comes between one and two of these after the issuance: CAs do not change their mind so soon.
const FIRST: SignedDuration = SignedDuration::from_hours(1);

/// What was due while no process was there is spread over this time.
const CATCHING_UP: SignedDuration = SignedDuration::from_hours(1);

/// Nobody is asked again so soon after an answer, whatever the status says.
const AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// A CA without renewal information is asked again after this.
const UNSUPPORTED: SignedDuration = SignedDuration::from_hours(24);

/// Bounds on what comes from outside and goes into a status.
const LONGEST_ERROR: usize = 500;
const LONGEST_URL: usize = 500;

/// What a decision about a Certificate knows of renewal information besides its status.
#[derive(Clone, Copy, Debug)]
pub struct SeenRenewalInformation<'a> {
    pub source: Source,
    /// What this process was last told, about whichever certificate.
    pub answer: Option<&'a Answer>,
    /// Since when this process is at work.
    pub since: Timestamp,
}

/// Who tells when a certificate is to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The CA.
    Ca,
    /// The issuer is an ACME issuer whose `renewalInformationSource` is `None`.
    Off,
    /// There is no issuer now.
    Unknown,
    /// The issuer is no ACME issuer, or the operator wants it so.
    Nobody,
}

impl Source {
    /// `enabled` is what the operator chose for all issuers.
    pub fn of(issuer: &SeenIssuerOf<'_>, enabled: bool) -> Self {
        match issuer {
            _ if !enabled => Self::Nobody,
            SeenIssuerOf::Acme { acme, .. } if acme.renewal_information_source.as_deref() == Some("None") => Self::Off,
            SeenIssuerOf::Acme { .. } => Self::Ca,
            SeenIssuerOf::Missing => Self::Unknown,
            _ => Self::Nobody,
        }
    }
}

/// What came of a question to the CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which certificate it is about, see [`crate::pki::certificate_id`].
    pub certificate_id: String,
    pub at: Timestamp,
    pub found: Found,
}

/// See [`Answer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Suggestion {
        start: Timestamp,
        end: Timestamp,
        explanation_url: Option<String>,
        retry_after: Option<SignedDuration>,
    },
    /// The CA has no renewal information.
    Unsupported,
    Failed {
        message: String,
        is_transient: bool,
        retry_after: Option<SignedDuration>,
    },
}

/// When a certificate that was issued then is first asked about.
pub fn first_check(issued: Timestamp, uid: &str) -> Timestamp {
    later(later(issued, FIRST), part_of(FIRST, uid))
}

/// When to ask, for a question that was due at `due`: those that came due before this process was there are not asked
/// all at once, and nobody is asked again right after an answer.
pub fn paced(due: Timestamp, seen: &SeenRenewalInformation<'_>, certificate_id: &str, uid: &str) -> Timestamp {
    let due = if due < seen.since { later(seen.since, part_of(CATCHING_UP, uid)) } else { due };
    match seen.answer.filter(|answer| answer.certificate_id == certificate_id) {
        Some(Answer { at, found: Found::Unsupported, .. }) => due.max(later(*at, UNSUPPORTED)),
        Some(Answer { at, .. }) => due.max(later(*at, AGAIN)),
        None => due,
    }
}

/// When the CA is to be asked again by what the status says, but never later than an honest answer would have it.
pub fn next_check(status: &AcmeRenewalInfo) -> Timestamp {
    let stated = status.next_check.as_ref().map_or(Timestamp::MIN, |time| time.0);
    match &status.last_checked {
        Some(checked) => stated.min(later(checked.0, LONGEST + LONGEST / 10)),
        None => stated,
    }
}

/// What the status says after an answer, and the former status before it; `None` if there is nothing to be said.
pub fn taken_in(former: Option<&AcmeRenewalInfo>, answer: &Answer, seed: &str) -> Option<AcmeRenewalInfo> {
    let at = to_the_second(answer.at);
    if former.is_some_and(|former| former.last_checked == Some(Time(at))) {
        return former.cloned();
    }
    let seed = format!("{seed}/{at}");
    let checked = |wait| (Some(Time(at)), Some(Time(to_the_second(later(at, spread(wait, &seed))))));
    match &answer.found {
        Found::Unsupported => None,
        Found::Suggestion { start, end, .. } if !is_window(*start, *end) => {
            let (last_checked, next_check) = checked(wait_after_failure(former, true, None));
            let text = "The CA suggests a renewal in a time span that does not end after it begins";
            Some(AcmeRenewalInfo { last_checked, next_check, last_error: Some(text.into()), ..suggestion_of(former) })
        }
        Found::Suggestion { start, end, explanation_url, retry_after } => {
            let wait = retry_after.unwrap_or(USUAL).clamp(SHORTEST, LONGEST);
            let (last_checked, next_check) = checked(wait);
            Some(AcmeRenewalInfo {
                suggested_window: Some(SuggestedWindow {
                    start: Time(to_the_second(*start)),
                    end: Time(to_the_second(*end)),
                }),
                explanation_url: explanation_url.clone().filter(|url| is_page(url)),
                last_checked,
                next_check,
                last_error: None,
            })
        }
        Found::Failed { message, is_transient, retry_after } => {
            let (last_checked, next_check) = checked(wait_after_failure(former, *is_transient, *retry_after));
            let text = message.chars().take(LONGEST_ERROR).collect();
            Some(AcmeRenewalInfo { last_checked, next_check, last_error: Some(text), ..suggestion_of(former) })
        }
    }
}

/// What is known goes on to hold while the CA does not answer.
fn suggestion_of(former: Option<&AcmeRenewalInfo>) -> AcmeRenewalInfo {
    let former = former.cloned().unwrap_or_default();
    AcmeRenewalInfo {
        suggested_window: former.suggested_window,
        explanation_url: former.explanation_url,
        ..AcmeRenewalInfo::default()
    }
}

/// An end that is not after the start is no answer (RFC 9773 section 4.2), and times before ours are none either.
fn is_window(start: Timestamp, end: Timestamp) -> bool {
    Timestamp::UNIX_EPOCH < start && start < end
}

fn is_page(url: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic();
    url.len() <= LONGEST_URL && url.bytes().all(is_plain) && (url.starts_with("https://") || url.starts_with("http://"))
}

/// How long the last wait was stands in the status, so that a restart does not begin anew. What time does not cure is
/// asked at the usual pace.
fn wait_after_failure(
    former: Option<&AcmeRenewalInfo>,
    is_transient: bool,
    retry_after: Option<SignedDuration>,
) -> SignedDuration {
    let last_wait = former.filter(|former| former.last_error.is_some()).and_then(|former| {
        let (next, last) = (former.next_check.as_ref()?, former.last_checked.as_ref()?);
        Some(next.0.duration_since(last.0).clamp(SignedDuration::ZERO, USUAL))
    });
    let wait = match last_wait {
        _ if !is_transient => USUAL,
        None => FIRST_RETRY,
        Some(wait) => (wait * 3).clamp(FIRST_RETRY, USUAL),
    };
    wait.max(retry_after.unwrap_or_default().min(LONGEST))
}

/// Up to a tenth more or less.
fn spread(wait: SignedDuration, seed: &str) -> SignedDuration {
    let tenth = wait / 10;
    wait - tenth + part_of(tenth * 2, seed)
}

fn part_of(span: SignedDuration, seed: &str) -> SignedDuration {
    let seconds = u64::try_from(span.as_secs()).unwrap_or_default();
    SignedDuration::from_secs(i64::try_from(chosen(seed, seconds)).unwrap_or_default())
}

fn to_the_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// What a CertificateRequest is told of the certificate before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The identifier of the certificate that is replaced, if the CA is to know.
    pub replaces: Option<String>,
    /// Whether the renewal goes before others.
    pub urgent: bool,
}

impl Marks {
    /// Notes the marks in the annotations; what a user wrote there does not count.
    pub fn put_on(&self, request: &mut CertificateRequest) {
        let annotations = request.annotations_mut();
        annotations.remove(annotation::REPLACES);
        annotations.remove(annotation::URGENT);
        annotations.extend(self.replaces.clone().map(|id| (annotation::REPLACES.to_owned(), id)));
        if self.urgent {
            annotations.insert(annotation::URGENT.to_owned(), label::TRUE.to_owned());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        api::issuer::AcmeIssuer,
        decide::testing::{DAY, HOUR, acme, at},
    };

    fn hours(count: i64) -> SignedDuration {
        SignedDuration::from_hours(count)
    }

    fn answer(found: Found) -> Answer {
        Answer { certificate_id: "a.b".to_owned(), at: at(0), found }
    }

    fn suggestion(start: i64, end: i64, retry_after: Option<SignedDuration>) -> Found {
        let explanation_url = Some("https://ca.example/why".to_owned());
        Found::Suggestion { start: at(start), end: at(end), explanation_url, retry_after }
    }

    fn failure(is_transient: bool, retry_after: Option<SignedDuration>) -> Found {
        Found::Failed { message: "no".to_owned(), is_transient, retry_after }
    }

    /// Minutes until the next question.
    fn wait(former: Option<&AcmeRenewalInfo>, found: Found) -> i64 {
        let status = taken_in(former, &answer(found), "uid").unwrap();
        assert_eq!(status.last_checked, Some(Time(at(0))));
        next_check(&status).duration_since(at(0)).as_mins()
    }

    #[test]
    fn who_tells() {
        let off = AcmeIssuer { renewal_information_source: Some("None".to_owned()), ..acme() };
        let on = AcmeIssuer { renewal_information_source: Some("ARI".to_owned()), ..acme() };
        let of = |acme: &AcmeIssuer, enabled| Source::of(&SeenIssuerOf::Acme { ready: None, acme }, enabled);
        assert_eq!([of(&acme(), true), of(&on, true), of(&off, true)], [Source::Ca, Source::Ca, Source::Off]);
        assert_eq!([of(&on, false), of(&off, false)], [Source::Nobody; 2]);
        assert_eq!(Source::of(&SeenIssuerOf::Missing, true), Source::Unknown);
        for other in [SeenIssuerOf::Foreign, SeenIssuerOf::Unserved("no")] {
            assert_eq!(Source::of(&other, true), Source::Nobody);
        }
    }

    #[test]
    fn the_cas_wish_counts_within_an_hour_and_a_week() {
        for (wish, expected) in
            [(None, hours(6)), (Some(hours(0)), hours(1)), (Some(hours(24)), hours(24)), (Some(hours(999)), hours(168))]
        {
            let minutes = wait(None, suggestion(DAY, 2 * DAY, wish));
            let usual = expected.as_mins();
            assert!((usual * 9 / 10..=usual * 11 / 10).contains(&minutes), "{wish:?}: {minutes}");
        }
    }

    #[test]
    fn failures_are_repeated_soon_then_ever_less_often() {
        let failed = |last: i64, next: i64| AcmeRenewalInfo {
            last_checked: Some(Time(at(last))),
            next_check: Some(Time(at(next))),
            last_error: Some("no".to_owned()),
            ..AcmeRenewalInfo::default()
        };
        let after_success = AcmeRenewalInfo { last_error: None, ..failed(-6 * HOUR, 0) };
        for (former, found, usual) in [
            (None, failure(true, None), 5),
            (Some(after_success), failure(true, None), 5),
            (Some(failed(-300, 0)), failure(true, None), 15),
            (Some(failed(-900, 0)), failure(true, None), 45),
            (Some(failed(-5 * HOUR, 0)), failure(true, None), 360),
            (Some(failed(i64::from(i32::MAX), 0)), failure(true, None), 5),
            (None, failure(true, Some(hours(2))), 120),
            (None, failure(true, Some(hours(9999))), 7 * 24 * 60),
            (None, failure(false, None), 360),
            (None, suggestion(2 * DAY, 2 * DAY, None), 5),
        ] {
            let minutes = wait(former.as_ref(), found);
            assert!((usual * 9 / 10 - 1..=usual * 11 / 10).contains(&minutes), "{former:?}: {minutes}");
        }
    }

    #[test]
    fn what_is_no_answer_leaves_the_former_one() {
        let known = taken_in(None, &answer(suggestion(DAY, 2 * DAY, None)), "uid").unwrap();
        assert_eq!(known.suggested_window.as_ref().unwrap().end.0, at(2 * DAY));
        assert_eq!(known.explanation_url.as_deref(), Some("https://ca.example/why"));
        let later = |found| Answer { at: at(HOUR), ..answer(found) };
        for odd in [failure(true, None), suggestion(DAY, DAY, None), suggestion(DAY, 0, None)] {
            let status = taken_in(Some(&known), &later(odd), "uid").unwrap();
            assert_eq!(status.suggested_window, known.suggested_window);
            assert_eq!(status.explanation_url, known.explanation_url);
            assert!(status.last_error.is_some());
        }
        assert_eq!(taken_in(Some(&known), &later(Found::Unsupported), "uid"), None);
        let (start, end) = (Timestamp::MIN, Timestamp::MAX);
        let odd = Found::Suggestion { start, end, explanation_url: None, retry_after: None };
        assert!(taken_in(None, &answer(odd), "uid").unwrap().suggested_window.is_none());
    }

    #[test]
    fn what_comes_from_outside_is_bounded() {
        for (url, is_shown) in [
            ("https://ca.example/why", true),
            ("http://ca.example", true),
            ("javascript:alert(1)", false),
            ("https://ca.example/a b", false),
            ("https://ca.example/\n", false),
            (&format!("https://ca.example/{}", "x".repeat(500)), false),
        ] {
            let Found::Suggestion { start, end, .. } = suggestion(DAY, 2 * DAY, None) else { panic!() };
            let found = Found::Suggestion { start, end, explanation_url: Some(url.to_owned()), retry_after: None };
            let status = taken_in(None, &answer(found), "uid").unwrap();
            assert_eq!(status.explanation_url.is_some(), is_shown, "{url}");
        }
        let found = Found::Failed { message: "\u{e4}".repeat(9999), is_transient: true, retry_after: None };
        assert_eq!(taken_in(None, &answer(found), "uid").unwrap().last_error.unwrap().chars().count(), 500);
    }

    #[test]
    fn a_status_that_nobody_could_have_meant_does_not_end_the_questions() {
        let far = AcmeRenewalInfo { next_check: Some(Time(Timestamp::MAX)), ..AcmeRenewalInfo::default() };
        let checked = AcmeRenewalInfo { last_checked: Some(Time(at(0))), ..far.clone() };
        assert!(next_check(&checked) < at(8 * DAY));
        assert_eq!(next_check(&AcmeRenewalInfo::default()), Timestamp::MIN);
    }

    proptest! {
        #[test]
        fn an_answer_is_taken_in_once(second in 0..4 * DAY, nanosecond in 0..999_999_999_i64, uid in "[a-z]{1,9}", kind in 0..2) {
            let found = if kind == 0 { suggestion(DAY, 2 * DAY, None) } else { failure(true, None) };
            let taken_at = at(second) + SignedDuration::from_nanos(nanosecond);
            let answer = Answer { at: taken_at, ..answer(found) };
            let once = taken_in(None, &answer, &uid);
            prop_assert_eq!(&taken_in(once.as_ref(), &answer, &uid), &once);
            let next = next_check(once.as_ref().unwrap());
            prop_assert!(next > taken_at && next <= taken_at + hours(7));
            prop_assert_eq!(next.subsec_nanosecond(), 0, "as the API server keeps it");
        }

        #[test]
        fn the_first_question_and_those_that_were_missed(uid in "[a-z0-9-]{1,36}", due in -9 * DAY..9 * DAY) {
            let first = first_check(at(0), &uid);
            prop_assert!(at(HOUR) <= first && first < at(2 * HOUR));
            let seen = SeenRenewalInformation { source: Source::Ca, answer: None, since: at(0) };
            let paced = paced(at(due), &seen, "a.b", &uid);
            if due >= 0 {
                prop_assert_eq!(paced, at(due));
            } else {
                prop_assert!(at(0) <= paced && paced < at(HOUR));
            }
        }
    }
}
