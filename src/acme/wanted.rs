//! What a request is for, and what is to come back.

use super::transport::{CHAIN_LIMIT, JSON_LIMIT};

/// What a request is for, by the names that cert-manager's metrics give it.
pub(super) mod action {
    pub(in crate::acme) const ACCEPT_CHALLENGE: &str = "accept_challenge";
    pub(in crate::acme) const DISCOVER: &str = "discover";
    pub(in crate::acme) const FETCH_CERTIFICATE: &str = "fetch_cert";
    pub(in crate::acme) const FINALIZE: &str = "create_order_cert";
    pub(in crate::acme) const GET_ACCOUNT: &str = "get_registration";
    pub(in crate::acme) const GET_AUTHORIZATION: &str = "get_authorization";
    pub(in crate::acme) const GET_CHALLENGE: &str = "get_challenge";
    pub(in crate::acme) const GET_ORDER: &str = "get_order";
    pub(in crate::acme) const GET_RENEWAL_INFORMATION: &str = "get_renewal_info";
    pub(in crate::acme) const NEW_ORDER: &str = "authorize_order";
    /// What cert-manager has no name for.
    pub(in crate::acme) const OTHER: &str = "unnamed_action";
    pub(in crate::acme) const REGISTER: &str = "register_account";
    pub(in crate::acme) const UPDATE_ACCOUNT: &str = "update_registration";
}

/// See the module's description.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) action: &'static str,
    pub(super) accept: &'static str,
    /// In bytes.
    pub(super) limit: usize,
}

impl Wanted {
    pub(super) fn json(action: &'static str) -> Self {
        Self { action, accept: "application/json", limit: JSON_LIMIT }
    }

    pub(super) fn chain() -> Self {
        Self { action: action::FETCH_CERTIFICATE, accept: "application/pem-certificate-chain", limit: CHAIN_LIMIT }
    }

    /// Only the header of the answer counts. The request belongs to what it is needed for.
    pub(super) fn nonce(action: &'static str) -> Self {
        Self { action, accept: "*/*", limit: JSON_LIMIT }
    }
}
