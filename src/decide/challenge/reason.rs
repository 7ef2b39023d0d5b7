//! The reason of a Challenge as one word of a few, for programs: the text itself says more, and is different each time.

use super::{AS_ASKED, CLEAN_UP_ERROR};
use crate::api::Challenge;

/// Which beginning of a reason is which word; the first that fits counts.
const BEGINNINGS: [(&str, &str); 8] = [
    ("Successfully authorized domain", "authorized"),
    ("Waiting for the DNS provider", "waiting-for-provider"),
    ("Waiting for Challenge ", "waiting-for-turn"),
    ("Waiting for ", "waiting-for-propagation"),
    ("Error presenting challenge", "not-presented"),
    ("Error accepting authorization", "refused"),
    ("Error accepting challenge", "ca-error"),
    ("Failed to retrieve the authorization", "ca-error"),
];

/// Empty if there is no reason.
pub fn class(challenge: &Challenge) -> &'static str {
    let reason = challenge.status.as_ref().and_then(|status| status.reason.as_deref()).unwrap_or_default();
    if reason.is_empty() {
        return "";
    }
    if reason.contains(CLEAN_UP_ERROR) {
        return "not-cleaned-up";
    }
    if reason.ends_with(AS_ASKED) {
        return "waiting-as-asked";
    }
    BEGINNINGS.iter().find(|(beginning, _)| reason.starts_with(beginning)).map_or("other", |(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ChallengeStatus;

    fn class_of(reason: &str) -> &'static str {
        let status = ChallengeStatus { reason: Some(reason.to_owned()), ..ChallengeStatus::default() };
        class(&Challenge { status: Some(status), ..Challenge::default() })
    }

    #[test]
    fn reasons_are_told_apart_by_a_word() {
        let told = [
            ("", ""),
            ("Waiting for HTTP-01 challenge propagation: http://a/ timed out", "waiting-for-propagation"),
            (
                "Waiting for Challenge shop/a, which answers for the same name for 10 min at the longest",
                "waiting-for-turn",
            ),
            ("Error accepting authorization: acme: 403: no", "refused"),
            ("Successfully authorized domain", "authorized"),
            ("something else", "other"),
        ];
        for (reason, word) in told {
            assert_eq!(class_of(reason), word, "{reason}");
        }
        assert_eq!(class_of(&format!("Successfully authorized domain{CLEAN_UP_ERROR}no")), "not-cleaned-up");
        assert_eq!(class_of(&format!("Waiting 5 s before accepting{AS_ASKED}")), "waiting-as-asked");
    }
}
