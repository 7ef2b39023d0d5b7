//! HTTP-01: the solver's objects, its server and the self-check.
//!
//! The CA asks `http://<name>/.well-known/acme-challenge/<token>` and expects the key authorization (RFC 8555 section
//! 8.3). For each Challenge a Pod that runs [`server`] is created, with a Service and an Ingress that lead to it
//! ([`objects`]), or the Service leads to the controller, which runs the same server ([`endpoints`]) and answers for all names of
//! an Order; [`check`] asks what the CA will ask, before the CA does.

mod ask;
pub mod check;
pub mod client;
pub mod endpoints;
mod host;
pub mod in_place;
pub mod ingress;
pub mod listener_set;
pub mod lookup;
pub mod objects;
pub mod parent;
pub mod path_type;
mod pod;
mod pod_state;
mod proxied;
pub mod question;
pub mod refusal;
mod report;
pub mod route;
pub mod server;
pub mod target;
mod template;
pub mod way;

/// The path below which CAs ask, with the closing slash.
pub const PATH_PREFIX: &str = "/.well-known/acme-challenge/";

/// The port on which solver Pods and Services listen.
pub const SOLVER_PORT: u16 = 8089;

/// The path that the CA asks for.
pub fn path(token: &str) -> String {
    format!("{PATH_PREFIX}{token}")
}

/// Whether the token has only characters of the base64url alphabet, as RFC 8555 section 8.3 demands. Anything else could
/// claim other paths of the name, so it is neither routed, served nor asked for.
pub fn is_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_cannot_leave_their_path() {
        assert!(is_token("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA"));
        for other in ["", ".", "..", "a/b", "a%2fb", "a?b", "a#b", "a b", "a\n", "ä"] {
            assert!(!is_token(other), "{other:?}");
        }
    }
}
