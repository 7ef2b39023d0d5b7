//! The wire: AdmissionReview of `admission.k8s.io/v1`.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::is_ours;
use crate::decide::admission::User;

#[derive(Deserialize)]
struct Review {
    request: Option<Request>,
}

/// What the API server asks.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Request {
    pub uid: String,
    pub resource: Resource,
    pub sub_resource: Option<String>,
    pub operation: String,
    pub namespace: String,
    pub name: String,
    pub object: Option<Value>,
    pub old_object: Option<Value>,
    user_info: UserInfo,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Resource {
    pub group: String,
    pub resource: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct UserInfo {
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Request {
    pub fn user(&self) -> User {
        let UserInfo { username, uid, groups, extra } = &self.user_info;
        User { username: username.clone(), uid: uid.clone(), groups: groups.clone(), extra: extra.clone() }
    }

    /// Whether an object of ours is created or changed.
    pub fn is_asked_about(&self) -> bool {
        is_ours(self) && ["CREATE", "UPDATE"].contains(&self.operation.as_str())
    }

    pub fn is_new(&self, resource: &str) -> bool {
        is_ours(self) && self.operation == "CREATE" && self.resource.resource == resource
    }
}

/// What is answered.
pub struct Answer {
    response: Value,
}

impl Answer {
    pub fn allowed() -> Self {
        Self { response: json!({ "allowed": true }) }
    }

    pub fn refused(message: &str) -> Self {
        let status = json!({ "status": "Failure", "message": message, "reason": "NotAcceptable", "code": 406 });
        Self { response: json!({ "allowed": false, "status": status }) }
    }

    /// Allowed, with a JSON patch (RFC 6902).
    pub fn patched(patch: &[Value]) -> Self {
        let mut answer = Self::allowed();
        if !patch.is_empty() {
            answer.response["patchType"] = "JSONPatch".into();
            answer.response["patch"] = STANDARD.encode(json!(patch).to_string()).into();
        }
        answer
    }

    pub fn warning(mut self, warnings: &[String]) -> Self {
        if !warnings.is_empty() {
            self.response["warnings"] = json!(warnings);
        }
        self
    }
}

/// Reads a question.
///
/// # Errors
/// In words for people.
pub fn read(body: &[u8]) -> Result<Request, String> {
    let review: Review =
        serde_json::from_slice(body).map_err(|error| format!("this is no AdmissionReview: {error}"))?;
    review.request.ok_or_else(|| "the AdmissionReview has no request".to_owned())
}

/// Writes the answer.
pub fn write(request: &Request, answer: Answer) -> Vec<u8> {
    let mut response = answer.response;
    response["uid"] = request.uid.clone().into();
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response })
        .to_string()
        .into_bytes()
}
