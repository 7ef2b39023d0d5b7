//! Providers that run in the cluster as aggregated API servers of their own: cert-manager's DNS webhook protocol.
//!
//! A `ChallengePayload` is posted to the Kubernetes API server, which checks our right to do so and passes it on to the
//! webhook. Nothing is stored; the answer is the same object with a `response` in it.

use std::fmt;

use async_trait::async_trait;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::http::shortened;
use super::{Action, Change, Provider, ProviderError};
use crate::api::Sensitive;

/// The version of every webhook's API group.
const VERSION: &str = "v1alpha1";

/// The way to the Kubernetes API server, with the controller's own credentials.
#[async_trait]
pub trait ApiServer: Send + Sync {
    /// Posts JSON; whatever comes back is an answer.
    ///
    /// # Errors
    ///
    /// No whole answer, bounded in size and time; the message carries no changing parts.
    async fn post(&self, path: &str, body: Vec<u8>) -> Result<(StatusCode, Vec<u8>), String>;
}

/// What a solver's settings say about its webhook.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The webhook's API group.
    pub group: String,
    /// Its name within the group, such as `hetzner`.
    pub solver: String,
    /// Handed over as it is.
    pub config: Option<Sensitive<Value>>,
    /// Where the webhook is to look for Secrets.
    pub namespace: String,
    /// Whether it may use the credentials of its surroundings.
    pub ambient: bool,
}

/// A webhook.
pub struct Webhook<S> {
    server: S,
    settings: Settings,
}

/// A name that cannot be part of an API server's path.
#[derive(Debug, thiserror::Error)]
#[error("{field} {name:?} is not a name: use letters, digits, hyphens and dots")]
pub struct NameError {
    field: &'static str,
    name: String,
}

/// The part of the answer that counts.
#[derive(Deserialize)]
struct Payload {
    response: Option<Response>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Response {
    success: bool,
    status: Option<Status>,
}

/// The part of a Kubernetes `Status` that says why.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    reason: String,
}

impl<S: ApiServer> Webhook<S> {
    /// # Errors
    ///
    /// Names that would lead to another path of the API server than a webhook's.
    pub fn new(server: S, settings: Settings) -> Result<Self, NameError> {
        checked("groupName", &settings.group)?;
        checked("solverName", &settings.solver)?;
        Ok(Self { server, settings })
    }
}

#[async_trait]
impl<S: ApiServer> Provider for Webhook<S> {
    async fn apply(&self, changes: &[Change]) -> Result<(), ProviderError> {
        let Settings { group, solver, .. } = &self.settings;
        for change in changes {
            let body = self.settings.payload(change).to_string().into_bytes();
            let answer = self.server.post(&format!("/apis/{group}/{VERSION}/{solver}"), body).await;
            let (status, body) = answer.map_err(|words| transient(format!("{}: {words}", self.settings)))?;
            self.settings.judge(status, &body)?;
        }
        Ok(())
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the webhook {} of {}", self.solver, self.group)
    }
}

impl Settings {
    fn payload(&self, change: &Change) -> Value {
        let record = &change.record;
        let mut request = json!({
            // Nobody compares it; the challenge's own would tie an answer to what is not sent along.
            "uid": "",
            "action": match change.action {
                Action::Add => "Present",
                Action::Remove => "CleanUp",
            },
            "type": "dns-01",
            "dnsName": record.domain,
            "key": record.value,
            "resourceNamespace": self.namespace,
            "resolvedFQDN": record.name,
            "resolvedZone": record.zone,
            "allowAmbientCredentials": self.ambient,
        });
        if let Some(config) = &self.config {
            request["config"] = config.expose().clone();
        }
        json!({
            "apiVersion": "webhook.acme.cert-manager.io/v1alpha1",
            "kind": "ChallengePayload",
            "request": request,
        })
    }

    fn judge(&self, status: StatusCode, body: &[u8]) -> Result<(), ProviderError> {
        if !status.is_success() {
            return Err(self.refusal(status, body));
        }
        let payload: Payload = serde_json::from_slice(body)
            .map_err(|_| transient(format!("{self} answered something that is not a ChallengePayload")))?;
        match payload.response {
            None => Err(transient(format!("{self} answered without a response; see its log"))),
            Some(Response { success: true, .. }) => Ok(()),
            Some(Response { status, .. }) => match steady(&status.unwrap_or_default().words()) {
                words if words.is_empty() => Err(transient(format!("{self} failed and did not say why; see its log"))),
                words => Err(transient(format!("{self} failed: {words}"))),
            },
        }
    }

    /// What the API server says instead of the webhook, or the webhook's own API server. Nobody tells us when a right is
    /// granted or a webhook installed, so all of it is worth another try.
    fn refusal(&self, status: StatusCode, body: &[u8]) -> ProviderError {
        let Self { group, solver, .. } = self;
        let words = serde_json::from_slice::<Status>(body)
            .map_or_else(|_| String::from_utf8_lossy(body).into_owned(), Status::words);
        match status.as_u16() {
            403 if words.contains("cannot create resource") => {
                let user = user_in(&words).unwrap_or("the controller's ServiceAccount");
                transient(format!(
                    "{self} may not be called by {user}; bind it to a ClusterRole with the rule {{apiGroups: [{group}], \
                     resources: [{solver}], verbs: [create]}}"
                ))
            }
            404 => transient(format!(
                "{self} does not exist: either there is no APIService {VERSION}.{group}, or it has no solver {solver}; \
                 compare groupName and solverName with the webhook's manual"
            )),
            429 => ProviderError::Throttled {
                message: format!("{self} allows no more requests at present"),
                retry_after: None,
                source: None,
            },
            503 if words.contains("x509") || words.contains("tls:") => transient(format!(
                "{self} cannot be reached, for the API server does not accept its TLS certificate; check the caBundle of \
                 the APIService {VERSION}.{group}"
            )),
            503 => transient(format!(
                "{self} is not available; see `kubectl describe apiservice {VERSION}.{group}` and the webhook's pods"
            )),
            code => transient(format!("{self} answered {code}: {}", steady(&words))),
        }
    }
}

impl Status {
    fn words(self) -> String {
        if self.message.is_empty() { self.reason } else { self.message }
    }
}

fn checked(field: &'static str, name: &str) -> Result<(), NameError> {
    let is_fine = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '.';
    if name.chars().all(is_fine) && name.starts_with(|letter: char| letter.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(NameError { field, name: name.to_owned() })
}

/// The user in the API server's words `User "NAME" cannot create resource …`.
fn user_in(words: &str) -> Option<&str> {
    words.split_once("User \"")?.1.split_once('"').map(|(user, _)| user)
}

/// A webhook's words as they can stand in a status: short, and without what is different each time.
fn steady(words: &str) -> String {
    let kept = words.split_whitespace().map(|word| {
        // Go writes a broken connection as OWN-ADDRESS:PORT->ADDRESS:PORT.
        let word = word.rsplit_once("->").map_or(word, |(_, far)| far);
        if is_unique(word) { "…" } else { word }
    });
    shortened(&kept.collect::<Vec<_>>().join(" "))
}

/// Whether it is a request's number (RFC 9562) or a time (RFC 3339).
fn is_unique(word: &str) -> bool {
    let word = word.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
    let has_form = |form: &str| {
        let fits = |(letter, wanted): (char, char)| match wanted {
            'x' => letter.is_ascii_hexdigit(),
            '0' => letter.is_ascii_digit(),
            other => letter == other,
        };
        word.is_ascii() && word.len() >= form.len() && word.chars().zip(form.chars()).all(fits)
    };
    has_form("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx") || has_form("0000-00-00T00:00:00")
}

fn transient(message: String) -> ProviderError {
    ProviderError::Transient { message, source: None }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::TxtRecord;
    use super::*;

    fn settings() -> Settings {
        Settings {
            group: "acme.example.com".into(),
            solver: "hetzner".into(),
            config: Some(json!({"apiKeySecretRef": {"name": "s", "key": "k"}, "ttl": 5}).into()),
            namespace: "web".into(),
            ambient: true,
        }
    }

    fn change(action: Action) -> Change {
        let record = TxtRecord {
            zone: "example.org.".into(),
            name: "_acme-challenge.a.example.org.".into(),
            domain: "a.example.com".into(),
            value: "v".into(),
            ttl: 60,
        };
        Change { action, record }
    }

    fn judged(status: u16, body: &Value) -> String {
        let error = settings().judge(StatusCode::from_u16(status).unwrap(), body.to_string().as_bytes()).unwrap_err();
        assert!(error.is_transient(), "nobody tells us when to try again: {error}");
        error.to_string()
    }

    #[test]
    fn the_payload_has_every_field_of_the_protocol() {
        let request = json!({
            "uid": "", "action": "Present", "type": "dns-01", "dnsName": "a.example.com", "key": "v",
            "resourceNamespace": "web", "resolvedFQDN": "_acme-challenge.a.example.org.",
            "resolvedZone": "example.org.", "allowAmbientCredentials": true,
            "config": {"apiKeySecretRef": {"name": "s", "key": "k"}, "ttl": 5},
        });
        let wanted = json!({
            "apiVersion": "webhook.acme.cert-manager.io/v1alpha1", "kind": "ChallengePayload", "request": request,
        });
        assert_eq!(settings().payload(&change(Action::Add)), wanted);
        let bare = Settings { config: None, ..settings() }.payload(&change(Action::Remove));
        assert_eq!(bare["request"]["action"], "CleanUp");
        assert_eq!(bare["request"].get("config"), None);
    }

    #[test]
    fn only_a_response_that_says_so_is_success() {
        let payload = |response: &str| format!(r#"{{"request": {{}}, "response": {response}}}"#);
        let judged = |body: &str| settings().judge(StatusCode::CREATED, body.as_bytes()).map_err(|e| e.to_string());
        assert_eq!(judged(&payload(r#"{"uid": "", "success": true}"#)), Ok(()));
        for (body, part) in [
            (payload(r#"{"success": false, "status": {"message": "no such zone"}}"#), "failed: no such zone"),
            (payload(r#"{"success": false, "status": {"reason": "Forbidden"}}"#), "failed: Forbidden"),
            (payload(r#"{"success": false}"#), "did not say why"),
            (payload("null"), "answered without a response"),
            (r#"{"request": {}}"#.to_owned(), "answered without a response"),
            ("<html>".to_owned(), "not a ChallengePayload"),
        ] {
            let message = judged(&body).unwrap_err();
            assert!(
                message.starts_with("the webhook hetzner of acme.example.com ") && message.contains(part),
                "{message}"
            );
        }
    }

    #[test]
    fn a_missing_right_names_the_rule_and_the_user() {
        let words = "hetzner.acme.example.com is forbidden: User \"system:serviceaccount:certwright:certwright\" cannot \
                     create resource \"hetzner\" in API group \"acme.example.com\" at the cluster scope";
        let message = judged(403, &json!({"kind": "Status", "message": words}));
        assert_eq!(
            message,
            "the webhook hetzner of acme.example.com may not be called by system:serviceaccount:certwright:certwright; bind \
             it to a ClusterRole with the rule {apiGroups: [acme.example.com], resources: [hetzner], verbs: [create]}"
        );
        assert!(judged(403, &json!({"message": "not today"})).ends_with("answered 403: not today"));
    }

    #[test]
    fn what_the_api_server_says_for_a_webhook() {
        for (status, words, part) in [
            (404, "404 page not found", "there is no APIService v1alpha1.acme.example.com"),
            (503, "service unavailable", "is not available"),
            (503, "error trying to reach service: dial tcp 10.0.0.1:443: connect: refused", "is not available"),
            (503, "error trying to reach service: tls: failed to verify certificate: x509: unknown", "caBundle"),
            (500, "it broke", "answered 500: \"it broke\""),
            (400, "bad request", "answered 400"),
            (429, "", "no more requests"),
        ] {
            let message = judged(status, &Value::from(words));
            assert!(message.contains(part), "{status} {words}: {message}");
        }
    }

    #[test]
    fn a_name_leads_to_no_other_path() {
        for name in ["", ".", "..", "../api", "a/b", "a?b", "a%2fb", "a b", "a#b", "-a"] {
            assert!(checked("groupName", name).is_err(), "{name}");
        }
        for name in ["acme.example.com", "hetzner", "my-DNS2"] {
            assert!(checked("solverName", name).is_ok(), "{name}");
        }
    }

    #[test]
    fn words_are_the_same_each_time() {
        let said = "read udp 10.1.0.7:43211->10.96.0.10:53: i/o timeout (request 0d8ab0f2-0f6e-4f5c-9d3e-0c6e8d1c9b7a) at \
                    2026-01-02T03:04:05Z in zone 7f3a";
        assert_eq!(steady(said), "read udp 10.96.0.10:53: i/o timeout (request … at … in zone 7f3a");
    }
}
