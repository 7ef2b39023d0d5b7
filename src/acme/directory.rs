//! The directory: where everything else is (RFC 8555 7.1.1).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::wire::lenient;

/// What a CA offers and where.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Directory {
    pub new_nonce: String,
    pub new_account: String,
    pub new_order: String,
    #[serde(default, deserialize_with = "lenient")]
    pub revoke_cert: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub key_change: Option<String>,
    /// Where renewal information is, if the CA has it (RFC 9773 3).
    #[serde(default, deserialize_with = "lenient")]
    pub renewal_info: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub meta: Meta,
}

/// What a CA says about itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    #[serde(default, deserialize_with = "lenient")]
    pub terms_of_service: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub website: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub caa_identities: Vec<String>,
    /// Whether an account can only be made with an external account binding.
    #[serde(default, deserialize_with = "lenient")]
    pub external_account_required: bool,
    /// The certificate profiles the CA offers, with a description each.
    #[serde(default, deserialize_with = "lenient")]
    pub profiles: BTreeMap<String, String>,
}
