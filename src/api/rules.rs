//! Rules in CEL that the API server checks by itself, so that bad input is refused without a webhook. See
//! docs/admission.md.
//!
//! Only functions that Kubernetes 1.29 knows are used: a server refuses a definition with newer ones. The server also
//! refuses rules that may become too costly, and takes a list or text without bounds to be as large as a request can be.
//! What a pattern or a format can say therefore stands in [`super::schema`]: these cost nothing.

mod certificate;
mod frozen;
mod issuer;
mod request;

use std::borrow::Cow;

use serde::Serialize;

pub(super) use certificate::{
    annotation_keys, bare_mail_address, certificate, common_name, cron, duration, go_duration, ip_address, issuer_name,
    issuer_reference, keystore, label_keys, name_constraints, object_identifier, other_name, output_formats,
    private_key, renew_before, renewal, secret_name, wait,
};
pub(super) use frozen::{frozen_challenge_spec, frozen_order_spec};
pub(super) use issuer::{
    acme, ca, dns01, external_account_binding, gateway_route, http01, ingress, ingress_class_name, nameserver,
    providers, solver, tsig_algorithm, update_server,
};
pub(super) use request::{
    conditions_of_requests, final_approval, frozen_authorizations, frozen_request_spec, frozen_text, kept_approval,
    kept_order_status,
};

/// One entry of `x-kubernetes-validations`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    #[serde(rename = "rule")]
    expression: String,
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_expression: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field_path: Option<Cow<'static, str>>,
}

impl Rule {
    /// `message` tells what is allowed; the API server puts field and value before it.
    fn new(expression: impl Into<String>, message: &'static str) -> Self {
        Self { expression: expression.into(), message, message_expression: None, reason: None, field_path: None }
    }

    /// The refusal is about this field below the one that the rule belongs to.
    fn at(self, field_path: &'static str) -> Self {
        Self { field_path: Some(field_path.into()), ..self }
    }

    /// The same for the name of a field.
    fn at_field(self, name: &str) -> Self {
        Self { field_path: Some(format!(".{name}").into()), ..self }
    }

    /// Refused as `Required value`, without the value.
    fn required(self) -> Self {
        Self { reason: Some("FieldValueRequired"), ..self }
    }

    /// Refused as `Forbidden`, without the value, which may be a secret.
    fn forbidden(self) -> Self {
        Self { reason: Some("FieldValueForbidden"), ..self }
    }

    /// An expression whose text is shown in place of the message.
    fn saying(self, expression: &'static str) -> Self {
        Self { message_expression: Some(expression), ..self }
    }
}
