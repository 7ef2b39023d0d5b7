//! Whether what was presented has come far enough for the CA to look, and how often that is checked.

use std::str::FromStr;

use jiff::SignedDuration;

use super::solver::Method;
use crate::api::names::annotation as names;

/// How the TXT record of a DNS-01 challenge is verified before the CA looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// Every authoritative server of the zone has it.
    #[default]
    Authoritative,
    /// Every recursive nameserver has it.
    Recursive,
    /// The authoritative servers first, then the recursive ones: these would remember that they have not found it.
    Both,
    /// Not at all.
    None,
}

impl FromStr for Verification {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "authoritative" => Ok(Self::Authoritative),
            "recursive" => Ok(Self::Recursive),
            "both" => Ok(Self::Both),
            "none" => Ok(Self::None),
            other => Err(format!("{other:?} is not authoritative, recursive, both or none")),
        }
    }
}

impl Verification {
    /// What applies to a solver. Nameservers of its own mean that no others can be reached from here, as with cert-manager;
    /// an issuer's annotation that can be read goes before everything.
    pub fn chosen(annotation: Option<&str>, has_own_nameservers: bool, common: Self) -> Self {
        let by_nameservers = if has_own_nameservers { Self::Recursive } else { common };
        annotation.and_then(|text| text.parse().ok()).unwrap_or(by_nameservers)
    }

    /// What is wrong with an issuer's annotation, in one sentence.
    pub fn problem(annotation: Option<&str>) -> Option<String> {
        let why = annotation?.parse::<Self>().err()?;
        Some(format!("the annotation {} is ignored, because {why}", names::DNS01_VERIFICATION))
    }
}

/// A server of which nothing is heard holds up the issuance for no longer than this after the record was presented.
pub const SILENT_WAITED_FOR: SignedDuration = SignedDuration::from_secs(30);

/// What is known of the servers that are to have a TXT record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub found: usize,
    /// They answered, and do not have it.
    pub lacking: usize,
    /// They do not answer: they are silent, out of reach, or refuse.
    pub unheard: usize,
}

impl Tally {
    /// Whether the CA may look now.
    ///
    /// Servers that answer without the record are waited for as long as it takes: the CA may ask any of them. From those that
    /// do not answer, the CA gets nothing either and asks the next one, so after a while half of the servers are enough.
    pub fn is_enough(self, since_presented: SignedDuration) -> bool {
        if self.found == 0 || self.lacking > 0 {
            return false;
        }
        self.unheard == 0 || (self.may_do_without() && since_presented >= SILENT_WAITED_FOR)
    }

    /// Whether the servers that are not heard of are not needed in the end.
    pub fn may_do_without(self) -> bool {
        self.lacking == 0 && self.unheard > 0 && self.found >= self.unheard
    }
}

/// A record that somebody else removed after it was presented would be waited for in vain. One that is only slow to come is there
/// by then as a rule, and writing it again changes nothing.
const LACKING_WAITED_FOR: SignedDuration = SignedDuration::from_mins(2);

/// From one time of presenting again to the next.
const PRESENTED_AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// Whether a record that servers lack is to be presented again; `since_again` is the time since that was done last.
pub fn is_to_be_presented_again(since_presented: SignedDuration, since_again: Option<SignedDuration>) -> bool {
    since_presented >= LACKING_WAITED_FOR && since_again.is_none_or(|since| since >= PRESENTED_AGAIN_AFTER)
}

/// The time from one check to the next. Often at first, when every moment counts; seldom later, when it is somebody's mistake
/// that is waited for. DNS servers belong to others; what else is asked lies in the cluster.
///
/// `longest` is reached a few minutes after the first check, by one second more in each further twelve.
pub fn check_interval(method: Option<Method>, since_first: SignedDuration, longest: SignedDuration) -> SignedDuration {
    let second = SignedDuration::from_secs(1);
    match since_first.as_millis() {
        ..3_000 if method == Some(Method::Dns01) => SignedDuration::from_millis(200),
        ..3_000 => SignedDuration::from_millis(100),
        3_000..120_000 => second,
        later => {
            let more = SignedDuration::from_millis(i64::try_from((later - 120_000) / 12).unwrap_or(i64::MAX));
            second.saturating_add(more).min(longest.max(second))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_missing_is_presented_again_now_and_then() {
        let due = |since_presented, since_again: Option<i64>| {
            let minutes = SignedDuration::from_mins;
            is_to_be_presented_again(minutes(since_presented), since_again.map(minutes))
        };
        assert!(!due(1, None) && due(2, None));
        assert!(!due(11, Some(9)) && due(12, Some(10)));
    }

    fn tally(found: usize, lacking: usize, unheard: usize) -> Tally {
        Tally { found, lacking, unheard }
    }

    #[test]
    fn the_annotation_goes_before_own_nameservers_and_these_before_the_flag() {
        let chosen = Verification::chosen;
        assert_eq!(chosen(None, false, Verification::Authoritative), Verification::Authoritative);
        assert_eq!(chosen(None, false, Verification::Both), Verification::Both);
        assert_eq!(chosen(None, true, Verification::Both), Verification::Recursive);
        for (text, mode) in [
            ("authoritative", Verification::Authoritative),
            ("recursive", Verification::Recursive),
            ("both", Verification::Both),
            ("none", Verification::None),
        ] {
            assert_eq!(chosen(Some(text), true, Verification::Authoritative), mode);
            assert_eq!(Verification::problem(Some(text)), None);
        }
    }

    #[test]
    fn a_wrong_annotation_is_passed_over_and_told() {
        assert_eq!(Verification::chosen(Some("quorum"), true, Verification::Both), Verification::Recursive);
        assert_eq!(
            Verification::problem(Some("quorum")).unwrap(),
            "the annotation certwright.dev/dns01-verification is ignored, because \"quorum\" is not authoritative, \
             recursive, both or none"
        );
        assert_eq!(Verification::problem(None), None);
    }

    #[test]
    fn silent_servers_are_waited_for_only_so_long_and_others_for_ever() {
        let (early, late) = (SILENT_WAITED_FOR - SignedDuration::from_millis(1), SILENT_WAITED_FOR);
        assert!(tally(2, 0, 0).is_enough(SignedDuration::ZERO));
        assert!(!tally(1, 0, 1).is_enough(early) && tally(1, 0, 1).is_enough(late));
        let for_ever = SignedDuration::from_hours(100);
        assert!(!tally(3, 1, 0).is_enough(for_ever), "an answer without it counts");
        assert!(!tally(3, 1, 1).is_enough(for_ever));
        assert!(!tally(1, 0, 2).is_enough(for_ever), "less than half");
        assert!(!tally(0, 0, 0).is_enough(for_ever), "nobody asked is nobody found");
        assert!(!tally(0, 0, 1).is_enough(for_ever));
    }

    #[test]
    fn checks_become_rarer() {
        let longest = SignedDuration::from_secs(10);
        let interval = |millis| {
            let since = SignedDuration::from_millis(millis);
            check_interval(Some(Method::Dns01), since, longest).as_millis()
        };
        assert_eq!([0, 2_999, 3_000, 119_999, 120_000].map(interval), [200, 200, 1_000, 1_000, 1_000]);
        assert_eq!([132_000, 180_000, 228_000, 3_600_000].map(interval), [2_000, 6_000, 10_000, 10_000]);
        assert_eq!(check_interval(Some(Method::Http01), SignedDuration::ZERO, longest).as_millis(), 100);
        let rare = check_interval(None, SignedDuration::MAX, SignedDuration::MAX);
        assert!(rare > SignedDuration::from_hours(24), "{rare:?}");
        assert_eq!(check_interval(None, SignedDuration::MAX, SignedDuration::ZERO).as_secs(), 1);
    }
}
