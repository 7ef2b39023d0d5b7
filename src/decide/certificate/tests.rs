#![allow(clippy::unwrap_used)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::*;
use crate::{
    api::{names::reason, set_condition},
    decide::{
        TroubleClass, Wake, children,
        renewal_information::{Answer, Found, Source},
        template::CopiedAnnotations,
        testing::{
            DAY, HOUR, answer, applied, at, chain, condition as told, dying, key, kinds, lines, now, object, pem,
            seconds_until, temporary_chain, trouble,
        },
    },
    pki::PrivateKey,
};

const ISSUING: &str = "Issuing certificate as Secret does not exist";
const READY: &str = "Ready=True Ready: Certificate is up to date and has not expired";

mod answer;
mod failure;
mod held_key;
mod next_key;
mod pace;
mod renewal;
mod renewal_information;
mod requests;
mod revocation;
mod secret;
mod silence;
mod spec;
mod spread;
mod upkeep;

/// What surrounds one Certificate. Steps change it as the API server would.
#[derive(Clone)]
struct Scene {
    certificate: Certificate,
    secret: Option<Secret>,
    next_keys: Vec<Arc<Secret>>,
    held_key: Option<HeldKey>,
    made_request: Option<MadeRequest>,
    requests: Vec<Arc<CertificateRequest>>,
    namesake: Option<CertificateRequest>,
    rivals: Vec<Arc<Certificate>>,
    passwords: PasswordSecrets,
    account_key_of: Option<String>,
    issuer_is_acme: bool,
    issuer_is_prompt: bool,
    issuer_needs_no_key: bool,
    spares: Vec<SeenSpare>,
    issuer_revokes: bool,
    revoked: Option<Revoked>,
    put_right: Vec<Timestamp>,
    source: Source,
    /// What the CA would say, and what it said.
    suggestion: Found,
    answer: Option<Answer>,
    settings: Settings,
    trouble: Option<Trouble>,
    now: Timestamp,
}

fn certificate(name: &str) -> Certificate {
    object(json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": {
            "name": name, "namespace": "shop", "uid": format!("uid-of-{name}"), "generation": 1,
            "creationTimestamp": now().to_string(),
        },
        "spec": {
            "secretName": "web-tls", "dnsNames": ["www.example.com"], "issuerRef": {"name": "le"},
            "privateKey": {"algorithm": "ECDSA"},
        },
    }))
}

fn made(next: NextKey) -> PrivateKey {
    match next {
        NextKey::Generate(wanted) if wanted == key(0).algorithm() => key(0).clone(),
        NextKey::Generate(wanted) => PrivateKey::generate(wanted).unwrap(),
        NextKey::Reuse(text) => PrivateKey::from_pem(text.as_bytes()).unwrap(),
    }
}

impl Scene {
    fn new() -> Self {
        Self {
            certificate: certificate("web"),
            secret: None,
            next_keys: Vec::new(),
            held_key: None,
            made_request: None,
            requests: Vec::new(),
            namesake: None,
            rivals: Vec::new(),
            passwords: PasswordSecrets::new(),
            account_key_of: None,
            issuer_is_acme: false,
            issuer_is_prompt: false,
            issuer_needs_no_key: false,
            spares: Vec::new(),
            issuer_revokes: true,
            revoked: None,
            put_right: Vec::new(),
            source: Source::Nobody,
            suggestion: Found::Unsupported,
            answer: None,
            settings: Settings { renewal_jitter: false, ..Settings::default() },
            trouble: None,
            now: now(),
        }
    }

    /// Issued at `now`, for 90 days, as revision 1.
    fn issued() -> Self {
        let mut scene = Self::new();
        scene.run();
        scene.answer();
        scene.run();
        assert_eq!(scene.conditions(), [READY]);
        scene
    }

    fn decide(&self) -> Decision<CertificateStep> {
        let seen = SeenCertificate {
            certificate: &self.certificate,
            secret: self.secret.as_ref(),
            next_keys: &self.next_keys,
            held_key: self.held_key.as_ref(),
            made_request: self.made_request.as_ref(),
            requests: &self.requests,
            namesake: self.namesake.as_ref(),
            rivals: &self.rivals,
            passwords: &self.passwords,
            account_key_of: self.account_key_of.clone(),
            issuer_is_acme: self.issuer_is_acme,
            issuer_is_prompt: self.issuer_is_prompt,
            issuer_needs_no_key: self.issuer_needs_no_key,
            spares: &self.spares,
            issuer_revokes: self.issuer_revokes,
            revoked: self.revoked.as_ref(),
            put_right: &self.put_right,
            renewal_information: SeenRenewalInformation {
                source: self.source,
                answer: self.answer.as_ref(),
                since: at(-DAY),
            },
            settings: &self.settings,
            trouble: self.trouble.as_ref(),
        };
        decide(&seen, self.now)
    }

    /// One decision, carried out; says what was done.
    fn step(&mut self) -> Vec<String> {
        let decision = self.decide();
        let kinds = kinds(&decision);
        for step in decision.steps {
            self.act(step);
        }
        kinds
    }

    /// Decides until nothing is left to do; says what was done, and when to look again.
    fn run(&mut self) -> (Vec<String>, Option<i64>) {
        let mut done = Vec::new();
        for _ in 0..10 {
            let steps = self.step();
            if steps.iter().all(|step| step == "Publish") {
                assert_eq!(steps, [""; 0], "an event without anything that happened");
                return (done, seconds_until(self.decide().wake));
            }
            done.extend(steps);
        }
        panic!("no rest: {done:?}");
    }

    fn act(&mut self, step: CertificateStep) {
        match step {
            CertificateStep::ApplySecret(wanted) => self.apply(*wanted),
            CertificateStep::PutSecretRight(wanted) => {
                self.put_right.push(self.now);
                self.apply(*wanted);
            }
            CertificateStep::ApplyTemporary { key_secret } => {
                let held = self.next_keys.iter().find(|held| held.name_any() == key_secret).unwrap();
                let key = held.data.as_ref().unwrap()["tls.key"].0.clone();
                let chain = temporary_chain(&PrivateKey::from_pem(&key).unwrap()).into_bytes();
                let secret = crate::decide::secret::temporary(&self.certificate, key, chain, None);
                self.apply(WantedSecret { secret, keystores: Vec::new() });
            }
            CertificateStep::CreateNextKey { name, key } => self.store_key(&name, &made(key)),
            CertificateStep::StoreHeldKey { name } => self.store_key(&name, &self.held_key.clone().unwrap().key),
            CertificateStep::HoldKey(key) => self.held_key = Some(HeldKey::new(made(key), self.now)),
            CertificateStep::DropHeldKey => self.held_key = None,
            CertificateStep::CreateRequest { name, revision, key_secret, recent, issuer, marks } => {
                let stored = self.next_keys.iter().find(|held| held.name_any() == key_secret);
                let stored =
                    stored.map(|held| PrivateKey::from_pem(&held.data.as_ref().unwrap()["tls.key"].0).unwrap());
                let key = stored.unwrap_or_else(|| self.held_key.clone().unwrap().key);
                let copied = CopiedAnnotations::default();
                let key = (key_secret, &key);
                let request = children::certificate_request(
                    &self.certificate,
                    name,
                    revision,
                    key,
                    &recent,
                    (&copied, crate::decide::certificate::Features::default()),
                );
                let mut request = request.unwrap();
                marks.put_on(&mut request);
                request.metadata.creation_timestamp = Some(Time(self.now));
                request.spec.issuer_ref = issuer;
                self.requests.push(Arc::new(request));
                let generation = self.certificate.metadata.generation;
                self.made_request = Some(MadeRequest::once_more(self.made_request.as_ref(), generation, self.now));
            }
            CertificateStep::Revoke(wish) => {
                let leaf = crate::decide::policy::leaf_of(self.secret.as_ref().unwrap()).unwrap();
                self.revoked = Some(Revoked::new(&wish, &leaf));
            }
            CertificateStep::AddFinalizer => self.certificate.finalizers_mut().push(finalizer::REVOKE.to_owned()),
            CertificateStep::RemoveFinalizer => self.certificate.finalizers_mut().clear(),
            CertificateStep::CheckRenewalInformation { certificate_id } => {
                self.answer = Some(Answer { certificate_id, at: self.now, found: self.suggestion.clone() });
            }
            CertificateStep::DeleteNextKey(secret) => self.next_keys.retain(|held| *held != secret),
            CertificateStep::DeleteRequest(request) => self.requests.retain(|held| *held != request),
            CertificateStep::WriteStatus(status) => {
                assert_ne!(self.certificate.status.as_ref(), Some(&*status), "an equal status is written");
                self.certificate.status = Some(*status);
            }
            CertificateStep::Publish(_) => {}
        }
    }

    fn store_key(&mut self, name: &str, key: &PrivateKey) {
        let mut secret = children::next_key_secret(&self.certificate, name, pem(key));
        secret.metadata.creation_timestamp = Some(Time(self.now));
        self.next_keys.push(Arc::new(secret));
    }

    /// As the API server does it: what others have put there stays, what we had and do not apply any more goes.
    fn apply(&mut self, mut wanted: WantedSecret) {
        for wish in &wanted.keystores {
            let data = wanted.secret.data.get_or_insert_default();
            data.insert(wish.entries().0.to_owned(), k8s_openapi::ByteString(b"a keystore".to_vec()));
        }
        self.secret = Some(applied(self.secret.take(), wanted.secret));
        self.made_request = None;
    }

    fn status(&self) -> CertificateStatus {
        self.certificate.status.clone().unwrap_or_default()
    }

    fn conditions(&self) -> Vec<String> {
        lines(&self.status().conditions)
    }

    /// The newest request is told `condition`.
    fn tell(&mut self, condition: Condition) {
        let request = Arc::make_mut(self.requests.last_mut().unwrap());
        set_condition(&mut request.status.get_or_insert_default().conditions, condition, self.now);
    }

    fn fail(&mut self, message: &str) {
        self.tell(told("Ready", "False", "Failed", message));
        let request = Arc::make_mut(self.requests.last_mut().unwrap());
        request.status.as_mut().unwrap().failure_time = Some(Time(self.now));
    }

    /// The newest request is answered with what it asked for.
    fn answer(&mut self) {
        let from = self.now.duration_since(now()).as_secs();
        let chain = answer(self.requests.last().unwrap(), from, from + 90 * DAY);
        self.answer_with(&chain.0);
    }

    fn answer_with(&mut self, chain: &[u8]) {
        self.tell(told("Ready", "True", "Issued", "Certificate fetched from issuer successfully"));
        let request = Arc::make_mut(self.requests.last_mut().unwrap());
        request.status.as_mut().unwrap().certificate = Some(k8s_openapi::ByteString(chain.to_vec()));
    }

    fn spec(&mut self, change: impl FnOnce(&mut crate::api::CertificateSpec)) {
        change(&mut self.certificate.spec);
        *self.certificate.metadata.generation.get_or_insert_default() += 1;
    }

    fn data(&mut self, entry: &str) -> &mut Vec<u8> {
        &mut self.secret.as_mut().unwrap().data.as_mut().unwrap().get_mut(entry).unwrap().0
    }

    fn wish(&mut self, annotation: &str, value: &str) {
        self.certificate.annotations_mut().insert(annotation.to_owned(), value.to_owned());
    }

    fn annotate(&mut self, key: &str, value: &str) {
        let annotations = self.secret.as_mut().unwrap().metadata.annotations.get_or_insert_default();
        annotations.insert(key.to_owned(), value.to_owned());
    }

    fn notes(&self) -> Vec<String> {
        let note = |step: CertificateStep| match step {
            CertificateStep::Publish(Note { warning, reason, text }) => {
                Some(format!("{} {reason}: {text}", if warning { "Warning" } else { "Normal" }))
            }
            _ => None,
        };
        self.decide().steps.into_iter().filter_map(note).collect()
    }
}

#[test]
fn first_issuance_step_by_step() {
    let mut scene = Scene::new();
    assert_eq!(scene.notes(), [format!("Normal Issuing: {ISSUING}")]);
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    let about_secret = format!("DoesNotExist: {ISSUING}");
    assert_eq!(scene.conditions(), [format!("Issuing=True {about_secret}"), format!("Ready=False {about_secret}")]);
    let name = scene.status().next_private_key_secret_name.unwrap();
    assert!(name.starts_with("web-"), "{name}");

    assert_eq!(
        scene.notes(),
        [format!("Normal Generated: Stored new private key in temporary Secret resource {name:?}")]
    );
    assert_eq!(scene.step(), ["CreateNextKey", "Publish"]);
    assert_eq!(scene.notes(), ["Normal Requested: Created new CertificateRequest resource \"web-1\""]);
    assert_eq!(scene.step(), ["CreateRequest", "Publish"]);
    assert_eq!(scene.decide(), Decision::rest(), "the issuer's turn");
    let request = scene.requests[0].clone();
    assert_eq!(request.name_any(), "web-1");
    assert_eq!(request.annotations()[annotation::PRIVATE_KEY_SECRET_NAME], name);

    scene.tell(told("Approved", "True", "cert-manager.io", ""));
    scene.tell(told("Ready", "False", "Pending", "Created Order resource shop/web-1-1"));
    assert_eq!(scene.decide(), Decision::rest(), "the usual steps are not told of");

    scene.answer();
    assert_eq!(scene.notes(), ["Normal Issuing: The certificate has been successfully issued"]);
    assert_eq!(scene.step(), ["ApplySecret", "WriteStatus", "DeleteNextKey", "Publish"]);
    assert_eq!(scene.conditions(), [READY]);
    let status = scene.status();
    assert_eq!((status.revision, status.next_private_key_secret_name), (Some(1), None));
    let dates = [status.not_before, status.not_after, status.renewal_time].map(|time| time.unwrap().0);
    assert_eq!(dates, [now(), at(90 * DAY), at(60 * DAY)]);
    assert_eq!(scene.secret.as_ref().unwrap().type_.as_deref(), Some("kubernetes.io/tls"));
    assert_eq!(scene.decide(), Decision::rest_until(at(60 * DAY)));
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}
