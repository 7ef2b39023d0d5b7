//! Keeps the certificate of a server valid: watches the Secret of its CA, and makes what is missing or due.

use std::{collections::BTreeMap, error::Error, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Certificates, TlsError};
use crate::{
    api::{
        MissingRight,
        names::{annotation, field_manager, label, secret_key},
    },
    decide::{
        Wake,
        authority::Authority,
        backoff,
        serving::{AUTHORITY_LIFETIME, CLOCK_SKEW, Leaf, SeenServing, ServingStep, decide, usable},
    },
    measure,
    pki::{
        CertificateRequestTemplate, Curve, Encoding, Error as PkiError, Issuance, KeyAlgorithm, ParsedCertificate,
        ParsedRequest, PrivateKey, SubjectAltNames, Usages,
    },
};

/// For one write to the API server.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest timer; a later time is reached in several steps.
const LONGEST_TIMER: Duration = Duration::from_hours(1);

/// What the operator chose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is served, for the log.
    pub what: &'static str,
    /// The namespace and the name of the Secret of the CA.
    pub namespace: String,
    pub secret: String,
    /// The names that the certificate is for.
    pub dns_names: Vec<String>,
    /// How long the certificate is valid.
    pub lifetime: SignedDuration,
}

/// See the module's description.
pub struct Keeper {
    api: Api<Secret>,
    settings: Settings,
    certificates: Arc<Certificates>,
    secret: Option<Secret>,
    /// What the list that is under way has told so far.
    listed: Option<Secret>,
    leaf: Option<Leaf>,
    failures: u32,
    /// Why the Secret cannot be watched, or nothing be made, at present.
    watching: Option<String>,
    making: Option<String>,
}

/// Why a step failed. It is tried again.
#[derive(Debug, thiserror::Error)]
enum KeeperError {
    #[error("cannot write the Secret of its CA: {0}")]
    Write(String),
    #[error("cannot make a certificate: {0}")]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Keeper {
    pub fn new(client: Client, settings: Settings, certificates: Arc<Certificates>) -> Self {
        let api = Api::namespaced(client, &settings.namespace);
        Self {
            api,
            settings,
            certificates,
            secret: None,
            listed: None,
            leaf: None,
            failures: 0,
            watching: None,
            making: None,
        }
    }

    /// Works until the process ends.
    pub async fn run(mut self) {
        let config = watcher::Config::default().fields(&format!("metadata.name={}", self.settings.secret));
        let mut events = watcher::watcher(self.api.clone(), config).default_backoff().boxed();
        self.first_look(&mut events).await;
        loop {
            let due = self.work().await;
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.take_in(event),
                    None => return,
                },
                () = sleep_until(due) => {}
            }
        }
    }

    /// Waits for the first list: what is there already is not made anew.
    async fn first_look(&mut self, events: &mut (impl Stream<Item = watcher::Result<Event<Secret>>> + Unpin)) {
        while let Some(event) = events.next().await {
            let is_done = matches!(event, Ok(Event::InitDone));
            self.take_in(event);
            if is_done {
                return;
            }
        }
    }

    fn take_in(&mut self, event: watcher::Result<Event<Secret>>) {
        if !matches!(event, Err(_) | Ok(Event::Init)) {
            self.watching = None;
            self.tell();
        }
        match event {
            Ok(Event::Apply(secret)) => self.secret = Some(secret),
            Ok(Event::Delete(_)) => self.secret = None,
            // Only a whole list tells that the Secret is gone; until then it is what it was.
            Ok(Event::Init) => self.listed = None,
            Ok(Event::InitApply(secret)) => self.listed = Some(secret),
            Ok(Event::InitDone) => self.secret = self.listed.take(),
            Err(error) => {
                self.watching = Some(format!("cannot watch the Secret of its CA: {}", with_right(&error)));
                self.tell();
            }
        }
    }

    /// In the log once, in a metric and to whoever asks whether it is ready for as long as it lasts.
    fn tell(&self) {
        let (what, secret) = (self.settings.what, self.settings.secret_path());
        let problem = self.watching.as_ref().or(self.making.as_ref());
        measure::serving_problem(what, problem.is_some());
        let told = problem.map(|problem| format!("{what}: {problem} (Secret {secret})"));
        if !self.certificates.set_problem(told) {
            return;
        }
        if let Some(problem) = problem {
            tracing::warn!(problem, what, secret, "{what} cannot be made or renewed; it is tried again");
        } else {
            tracing::info!(what, secret, "{what} can be made and renewed again");
        }
    }

    /// Does what there is to do; when to look again.
    async fn work(&mut self) -> Instant {
        let now = Timestamp::now();
        let decision = decide(&SeenServing { secret: self.secret.as_ref(), leaf: self.leaf.as_ref() }, now);
        let mut wake = decision.wake;
        for step in decision.steps {
            // What was done is looked at at once.
            wake = Wake::At(now);
            if let Err(error) = self.act(step, now).await {
                self.failures = self.failures.saturating_add(1);
                self.making = Some(error.to_string());
                wake = Wake::At(now + backoff::after_failures(self.failures));
            } else {
                (self.failures, self.making) = (0, None);
            }
            self.tell();
        }
        let wait =
            wake.time().map_or(LONGEST_TIMER, |at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
        Instant::now() + wait.min(LONGEST_TIMER)
    }

    async fn act(&mut self, step: ServingStep, now: Timestamp) -> Result<(), KeeperError> {
        match step {
            ServingStep::MakeAuthority(why) => {
                tracing::info!(what = self.settings.what, secret = self.settings.secret_path(), why, "making a CA");
                let data = authority(&self.settings.secret, now)?;
                let written = timeout(TIMEOUT, self.write(data)).await;
                self.secret = Some(written.map_err(|_| KeeperError::Write("no answer in time".to_owned()))??);
            }
            ServingStep::MakeLeaf => {
                let Ok(authority) = usable(self.secret.as_ref(), now) else { return Ok(()) };
                let (certificate, key) = leaf(&authority, &self.settings, now)?;
                self.certificates.put(std::slice::from_ref(&certificate), &key)?;
                let until = certificate.not_after;
                tracing::info!(what = self.settings.what, %until, "serving with a new certificate");
                let authority = authority.certificate().map(|own| own.der.clone()).unwrap_or_default();
                self.leaf = Some(Leaf { certificate, authority });
            }
        }
        Ok(())
    }

    /// If another replica was faster, its CA is the one.
    async fn write(&self, data: BTreeMap<String, ByteString>) -> Result<Secret, KeeperError> {
        let name = &self.settings.secret;
        let annotations = BTreeMap::from([(annotation::ALLOW_DIRECT_INJECTION.to_owned(), label::TRUE.to_owned())]);
        let manager = Some(field_manager::CERTWRIGHT.to_owned());
        let (written, by_others): (_, &[u16]) = if let Some(held) = &self.secret {
            // The version keeps it from writing over what another replica has just written.
            let metadata = json!({ "resourceVersion": held.metadata.resource_version, "annotations": annotations });
            let patch = Patch::Merge(json!({ "metadata": metadata, "data": data }));
            let params = PatchParams { field_manager: manager, ..PatchParams::default() };
            (self.api.patch(name, &params, &patch).await, &[404, 409])
        } else {
            let annotations = Some(annotations);
            let metadata = ObjectMeta { name: Some(name.clone()), annotations, ..ObjectMeta::default() };
            let secret = Secret { metadata, data: Some(data), ..Secret::default() };
            let params = PostParams { field_manager: manager, ..PostParams::default() };
            (self.api.create(&params, &secret).await, &[409])
        };
        let failed = |error: kube::Error| KeeperError::Write(with_right(&error));
        match written {
            Err(kube::Error::Api(status)) if by_others.contains(&status.code) => {
                let held = self.api.get_opt(name).await.map_err(failed)?;
                held.ok_or_else(|| KeeperError::Write("it was deleted meanwhile".to_owned()))
            }
            other => other.map_err(failed),
        }
    }
}

/// What went wrong, and for a right that is missing, who needs which.
fn with_right(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    let Some(right) = MissingRight::of(&text) else { return text };
    format!(
        "certwright has no right to {right}; {:?} needs get, list, watch, create and patch for Secrets there, as the Role \
         …:dynamic-serving of its chart gives",
        right.user
    )
}

impl Settings {
    /// As `namespace/name`.
    fn secret_path(&self) -> String {
        format!("{}/{}", self.namespace, self.secret)
    }
}

/// The data of the Secret of a new CA.
fn authority(name: &str, now: Timestamp) -> Result<BTreeMap<String, ByteString>, PkiError> {
    let key = PrivateKey::generate(KeyAlgorithm::Ecdsa(Curve::P384))?;
    let template = CertificateRequestTemplate {
        common_name: Some(name.to_owned()),
        is_ca: true,
        ..CertificateRequestTemplate::default()
    };
    let request = ParsedRequest::from_der(&template.build(&key)?)?;
    let usages = Usages::from_spec::<&str>(&[], true)?;
    let issuance = issuance(&request, &usages, true, now, now + AUTHORITY_LIFETIME);
    let certificate = ParsedCertificate::from_der(&issuance.self_sign(&key)?)?.to_pem();
    let entries = [
        (secret_key::TLS_CRT, certificate.clone()),
        (secret_key::CA_CRT, certificate),
        (secret_key::TLS_KEY, key.to_pem(Encoding::Pkcs8)?),
    ];
    Ok(entries.into_iter().map(|(entry, text)| (entry.to_owned(), ByteString(text.into_bytes()))).collect())
}

/// A certificate from the CA, and its key.
fn leaf(
    authority: &Authority,
    settings: &Settings,
    now: Timestamp,
) -> Result<(ParsedCertificate, PrivateKey), PkiError> {
    let key = PrivateKey::generate(KeyAlgorithm::Ecdsa(Curve::P256))?;
    let names = SubjectAltNames { dns_names: settings.dns_names.clone(), ..SubjectAltNames::default() };
    // What it may be used for is said when it is signed.
    let template = CertificateRequestTemplate { names, encode_usages: false, ..CertificateRequestTemplate::default() };
    let request = ParsedRequest::from_der(&template.build(&key)?)?;
    let usages = Usages::from_spec(&["digital signature", "server auth"], false)?;
    let end = (now + settings.lifetime).min(authority.not_after());
    let issuance = issuance(&request, &usages, false, now, end);
    let own = authority.certificate().ok_or(PkiError::Crypto("find the certificate of the CA"))?;
    Ok((ParsedCertificate::from_der(&issuance.sign_with_ca(own, &authority.key)?)?, key))
}

fn issuance<'a>(
    request: &'a ParsedRequest,
    usages: &'a Usages,
    is_ca: bool,
    now: Timestamp,
    not_after: Timestamp,
) -> Issuance<'a> {
    Issuance {
        request,
        usages,
        is_ca,
        not_before: now - CLOCK_SKEW,
        not_after,
        crl_distribution_points: &[],
        ocsp_servers: &[],
        issuing_certificate_urls: &[],
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            what: "a test",
            namespace: "a".to_owned(),
            secret: "webhook-ca".to_owned(),
            dns_names: vec!["webhook.a.svc".to_owned()],
            lifetime: SignedDuration::from_hours(168),
        }
    }

    #[tokio::test]
    async fn the_secret_is_gone_only_once_a_whole_list_is_without_it() {
        let address = "http://127.0.0.1:1".parse().unwrap();
        let client = Client::try_from(kube::Config::new(address)).unwrap();
        let mut keeper = Keeper::new(client, settings(), Arc::default());
        let secret = Secret::default;
        let steps: [(Event<Secret>, bool); 8] = [
            (Event::Init, false),
            (Event::InitApply(secret()), false),
            (Event::InitDone, true),
            (Event::Init, true),
            (Event::InitDone, false),
            (Event::Apply(secret()), true),
            (Event::Init, true),
            (Event::Delete(secret()), false),
        ];
        for (number, (event, is_there)) in steps.into_iter().enumerate() {
            keeper.take_in(Ok(event));
            assert_eq!(keeper.secret.is_some(), is_there, "after event {number}");
        }
    }

    #[tokio::test]
    async fn what_is_missing_is_told_until_it_is_there() {
        let client = Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        let certificates = Arc::new(Certificates::default());
        let mut keeper = Keeper::new(client, settings(), certificates.clone());
        let words = "secrets is forbidden: User \"system:serviceaccount:x:webhook\" cannot list resource \"secrets\" in API \
                     group \"\" in the namespace \"a\"";
        let status = kube::core::Status { code: 403, message: words.to_owned(), ..kube::core::Status::default() };
        keeper.take_in(Err(watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))));
        assert_eq!(
            certificates.problem().unwrap(),
            "a test: cannot watch the Secret of its CA: certwright has no right to list secrets in namespace \"a\"; \
             \"system:serviceaccount:x:webhook\" needs get, list, watch, create and patch for Secrets there, as the Role \
             …:dynamic-serving of its chart gives (Secret a/webhook-ca)"
        );
        keeper.take_in(Ok(Event::Init));
        assert!(certificates.problem().is_some(), "a list was begun, no more");
        keeper.take_in(Ok(Event::InitDone));
        assert_eq!(certificates.problem(), None);
    }

    /// What is made is what the decision takes for good, and then there is nothing to do.
    #[test]
    fn what_is_made_is_at_rest() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let settings = settings();
        let secret = Secret { data: Some(authority("webhook-ca", now).unwrap()), ..Secret::default() };
        let authority = usable(Some(&secret), now).unwrap();
        let (certificate, key) = leaf(&authority, &settings, now).unwrap();
        assert!(certificate.verify_issued_by(authority.certificate().unwrap()).is_ok());
        assert_eq!(certificate.names.dns_names, ["webhook.a.svc"]);
        let certificates = Arc::new(Certificates::default());
        assert!(!certificates.is_ready());
        certificates.put(std::slice::from_ref(&certificate), &key).unwrap();
        assert!(certificates.is_ready());
        let leaf = Leaf { certificate, authority: authority.certificate().unwrap().der.clone() };
        let decision = decide(&SeenServing { secret: Some(&secret), leaf: Some(&leaf) }, now);
        assert!(decision.steps.is_empty() && decision.wake.time().unwrap() > now + SignedDuration::from_hours(100));
    }
}
