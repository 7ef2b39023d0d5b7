//! A validation that failed because nobody answered, while the controller that was to answer was being replaced.
//!
//! The CA was told to look by a process that is gone, and what it met is what a client meets when a server goes: no
//! connection, or a proxy that says so. That is no fault of whoever owns the certificate.

use crate::api::Challenge;

/// Ends the reason of such a failure, and goes up with it to the Certificate, which tries again soon.
pub const INTERRUPTED: &str = "; the controller, which answers itself, was replaced meanwhile";

/// What a proxy says for a server that does not answer, in the words of a CA.
const GATEWAY_ERRORS: [&str; 3] = ["502", "503", "504"];

/// Whether the CA's problem may come from that. `was_asked_here` says whether this process had the CA look.
pub(super) fn is_interrupted(challenge: &Challenge, was_asked_here: bool, problem: &str) -> bool {
    challenge.is_podless() && !was_asked_here && nobody_answered(problem)
}

fn nobody_answered(problem: &str) -> bool {
    let mut numbers = problem.split(|character: char| !character.is_ascii_alphanumeric());
    problem.contains("error:connection") || numbers.any(|word| GATEWAY_ERRORS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_cas() {
        for (problem, expected) in [
            ("urn:ietf:params:acme:error:connection: 192.0.2.1: Connection refused", true),
            ("urn:ietf:params:acme:error:connection: Get \"http://a/.well-known/acme-challenge/x\": EOF", true),
            ("urn:ietf:params:acme:error:unauthorized: Non-200 status code from HTTP: http://a/x returned 503", true),
            ("urn:ietf:params:acme:error:unauthorized: 192.0.2.1: Invalid response from http://a/x: 502", true),
            ("urn:ietf:params:acme:error:unauthorized: 192.0.2.1: Invalid response from http://a/x: 404", false),
            ("urn:ietf:params:acme:error:unauthorized: http://a5021.example.com/x: 404", false),
            ("urn:ietf:params:acme:error:dns: NXDOMAIN looking up A for a", false),
        ] {
            assert_eq!(nobody_answered(problem), expected, "{problem}");
        }
    }
}
