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
mod held_key;
mod next_key;
mod pace;
mod renewal_information;
mod revocation;
mod spread;
mod upkeep;

/// What surrounds one Certificate. Steps change it as the API server would.
#[derive(Clone)]
struct Scene {
    certificate: Certificate,
    secret: Option<Secret>,
    next_keys: Vec<Arc<Secret>>,
    held_key: Option<HeldKey>,
    requests: Vec<Arc<CertificateRequest>>,
    namesake: Option<CertificateRequest>,
    rivals: Vec<Arc<Certificate>>,
    passwords: PasswordSecrets,
    account_key_of: Option<String>,
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
            requests: Vec::new(),
            namesake: None,
            rivals: Vec::new(),
            passwords: PasswordSecrets::new(),
            account_key_of: None,
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
            requests: &self.requests,
            namesake: self.namesake.as_ref(),
            rivals: &self.rivals,
            passwords: &self.passwords,
            account_key_of: self.account_key_of.clone(),
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

#[test]
fn what_the_secret_is_made_of() {
    let mut scene = Scene::new();
    scene.spec(|spec| {
        spec.secret_template = Some(object(json!({
            "labels": {"team": "a"}, "annotations": {"own.example/x": "1", "cert-manager.io/alt-names": "not mine"},
        })));
        spec.private_key.as_mut().unwrap().encoding = Some("PKCS8".into());
        spec.issuer_ref.kind = Some("ClusterIssuer".into());
    });
    scene.secret = Some(object(json!({"metadata": {"name": "web-tls"}, "type": "Opaque"})));
    scene.run();
    scene.answer();
    Arc::make_mut(&mut scene.requests[0]).status.as_mut().unwrap().ca = Some(k8s_openapi::ByteString(b"ca".to_vec()));
    let chain = scene.requests[0].status.clone().unwrap().certificate.unwrap();
    scene.run();
    let secret = scene.secret.unwrap();
    assert_eq!(secret.type_.as_deref(), Some("Opaque"), "a type cannot be changed");
    let data: Vec<_> = secret.data.iter().flatten().map(|(name, value)| (name.as_str(), value.0.clone())).collect();
    let key = pem(key(0)).into_bytes();
    assert_eq!(data, [("ca.crt", b"ca".to_vec()), ("tls.crt", chain.0), ("tls.key", key)]);
    assert!(secret.owner_references().is_empty());
    let labels = [("controller.cert-manager.io/fao", "true"), ("team", "a")];
    assert_eq!(secret.labels().iter().map(|(key, value)| (&**key, &**value)).collect::<Vec<_>>(), labels);
    let annotations: Vec<_> = secret.annotations().iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(
        annotations,
        [
            ("cert-manager.io/alt-names", "www.example.com"),
            ("cert-manager.io/certificate-name", "web"),
            ("cert-manager.io/common-name", ""),
            ("cert-manager.io/ip-sans", ""),
            ("cert-manager.io/issuer-group", ""),
            ("cert-manager.io/issuer-kind", "ClusterIssuer"),
            ("cert-manager.io/issuer-name", "le"),
            ("cert-manager.io/uri-sans", ""),
            ("own.example/x", "1"),
        ]
    );
}

#[test]
fn renewal_at_its_time_and_expiry_if_it_fails() {
    let mut scene = Scene::issued();
    scene.now = at(60 * DAY - 1);
    assert_eq!(scene.run(), (vec![], Some(60 * DAY)));
    scene.now = at(60 * DAY);
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    let why = "Renewing certificate as renewal was scheduled at 2026-04-30T12:00:00Z";
    assert_eq!(scene.conditions(), [READY.to_owned(), format!("Issuing=True Renewing: {why}")]);
    scene.run();
    assert_eq!(scene.requests.last().unwrap().name_any(), "web-2");
    assert_eq!(seconds_until(scene.decide().wake), Some(90 * DAY), "to tell of the expiry");

    scene.now = at(90 * DAY);
    scene.run();
    assert_eq!(scene.conditions()[0], "Ready=False Expired: Certificate expired on Sat, 30 May 2026 12:00:00 +0000");

    scene.answer();
    scene.run();
    assert_eq!((scene.conditions(), scene.status().revision), (vec![READY.to_owned()], Some(2)));
    assert_eq!(scene.requests.len(), 1, "one is kept as history");
}

#[test]
fn a_failure_waits_an_hour_then_two_and_a_new_spec_does_not_wait() {
    let mut scene = Scene::new();
    scene.run();
    scene.fail("the CA said no");
    let failed = "The certificate request has failed to complete and will be retried: the CA said no";
    assert_eq!(scene.notes(), [format!("Warning Failed: {failed}")]);
    assert_eq!(scene.run(), (strings(&["WriteStatus", "DeleteNextKey", "Publish"]), Some(HOUR)));
    let told = format!("{failed} (next attempt at 2026-03-01T13:00:00Z, or when the spec changes)");
    assert_eq!(
        scene.conditions(),
        [format!("Issuing=False Failed: {told}"), format!("Ready=False DoesNotExist: {ISSUING}: {told}")]
    );
    let status = scene.status();
    assert_eq!((status.failed_issuance_attempts, status.last_failure_time), (Some(1), Some(Time(now()))));
    assert_eq!(status.next_private_key_secret_name, None);

    scene.now = at(HOUR - 1);
    assert_eq!(scene.run(), (vec![], Some(HOUR)));
    scene.now = at(HOUR);
    let again = ["WriteStatus", "Publish", "CreateNextKey", "Publish", "DeleteRequest", "CreateRequest", "Publish"];
    assert_eq!(scene.run(), (strings(&again), None));
    assert_eq!(scene.conditions()[1], format!("Ready=False DoesNotExist: {ISSUING}"));

    scene.fail("and again");
    assert_eq!(scene.run().1, Some(3 * HOUR));
    scene.now = at(HOUR + 60);
    scene.spec(|spec| spec.dns_names.push("shop.example.com".into()));
    scene.step();
    assert!(scene.conditions()[0].starts_with("Issuing=True"), "{:?}", scene.conditions());
    scene.run();
    scene.answer();
    scene.run();
    let status = scene.status();
    assert_eq!((status.failed_issuance_attempts, status.last_failure_time), (None, None));
    assert_eq!(scene.conditions(), [READY]);
}

#[test]
fn another_kind_of_key_does_not_wait_either() {
    let mut scene = Scene::new();
    scene.run();
    scene.fail("the CA dislikes the curve");
    scene.run();
    scene.spec(|spec| spec.private_key.as_mut().unwrap().size = Some(384));
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    assert!(scene.conditions()[0].starts_with("Issuing=True"));
}

#[test]
fn a_damaged_secret_is_replaced_and_the_reason_told() {
    type Damage = fn(&mut Scene);
    let cases: [(Damage, &str, &str); 12] = [
        (|s| s.secret = None, "DoesNotExist", "Secret does not exist"),
        (|s| s.secret.as_mut().unwrap().data = None, "MissingData", "does not contain any data"),
        (|s| s.data("tls.key").clear(), "MissingData", "does not contain a private key"),
        (|s| s.data("tls.crt").clear(), "MissingData", "does not contain a certificate"),
        (|s| *s.data("tls.key") = b"x".into(), "InvalidKeyPair", "contains invalid private key data"),
        (|s| *s.data("tls.crt") = b"x".into(), "InvalidCertificate", "contains an invalid certificate"),
        (
            |s| *s.data("tls.key") = pem(key(1)).into_bytes(),
            "InvalidKeyPair",
            "contains a private key that does not match the certificate",
        ),
        (
            |s| s.annotate(annotation::ISSUER_NAME, "other"),
            "IncorrectIssuer",
            "was previously issued by \"Issuer.cert-manager.io/other\"",
        ),
        (|s| s.annotate(annotation::CERTIFICATE_NAME, "other"), "IncorrectCertificate", "was issued for \"other\""),
        (
            |s| s.spec(|spec| spec.private_key.as_mut().unwrap().size = Some(384)),
            "SecretMismatch",
            "private key is not up to date for spec: [spec.privateKey.size]",
        ),
        (
            |s| {
                s.data("tls.crt").splice(.., chain(key(1), &["www.example.com"], 0, DAY).into_bytes());
                s.data("tls.key").splice(.., pem(key(1)).into_bytes());
            },
            "SecretMismatch",
            "private key that does not match the current CertificateRequest",
        ),
        (
            |s| s.spec(|spec| spec.usages = vec!["client auth".into()]),
            "RequestChanged",
            "not up to date: [spec.usages]",
        ),
    ];
    for (damage, reason, message) in cases {
        let mut scene = Scene::issued();
        damage(&mut scene);
        assert_eq!(scene.step(), ["WriteStatus", "Publish"], "{reason} {message}");
        for condition in &scene.status().conditions {
            assert_eq!(condition.reason.as_deref(), Some(reason), "{message}");
            assert!(condition.message.as_ref().unwrap().contains(message), "{condition:?}");
        }
        assert!(is_issuing(&scene.status()));
    }
}

#[test]
fn without_its_request_a_secret_is_compared_by_names_only() {
    let mut scene = Scene::issued();
    scene.requests.clear();
    scene.spec(|spec| spec.usages = vec!["client auth".into()]);
    assert!(!scene.run().0.contains(&"CreateNextKey".to_owned()));
    scene.spec(|spec| spec.dns_names = vec!["other.example.com".into()]);
    scene.step();
    let text = "Issuing certificate as Existing issued Secret is not up to date for spec: [spec.dnsNames]";
    assert_eq!(scene.conditions()[1], format!("Issuing=True SecretMismatch: {text}"));
}

#[test]
fn changes_that_need_no_new_certificate() {
    let mut scene = Scene::issued();
    scene.spec(|spec| {
        spec.renew_before = Some("240h".into());
        spec.private_key.as_mut().unwrap().rotation_policy = Some("Never".into());
        spec.dns_names = vec!["WWW.example.com".into()];
        spec.issuer_ref.kind = Some("Issuer".into());
        spec.issuer_ref.group = Some("cert-manager.io".into());
    });
    let (done, wake) = scene.run();
    assert_eq!((done, wake), (strings(&["WriteStatus"]), Some(80 * DAY)), "dates and generation only");
}

#[test]
fn an_invalid_spec_is_told_of_and_nothing_is_requested() {
    type Change = fn(&mut crate::api::CertificateSpec);
    let cases: [(Change, &str); 9] = [
        (|spec| spec.secret_name.clear(), "spec.secretName: is empty"),
        (|spec| spec.issuer_ref.name.clear(), "spec.issuerRef.name: is empty"),
        (|spec| spec.dns_names = vec!["a b".into()], "spec.dnsNames[0]: the DNS name \"a b\""),
        (|spec| spec.dns_names.clear(), "spec: names nothing to certify"),
        (|spec| spec.ip_addresses = vec!["1.2.3".into()], "spec.ipAddresses[0]"),
        (|spec| spec.private_key.as_mut().unwrap().size = Some(i64::MAX), "spec.privateKey.size"),
        (|spec| spec.private_key.as_mut().unwrap().algorithm = Some("DSA".into()), "spec.privateKey: \"DSA\""),
        (|spec| spec.usages = vec!["juggling".into()], "juggling"),
        (|spec| spec.literal_subject = Some("no equals sign".into()), "spec: "),
    ];
    for (change, text) in cases {
        let mut scene = Scene::new();
        scene.spec(change);
        assert_eq!(scene.run(), (strings(&["WriteStatus", "Publish"]), None));
        let [ready] = &scene.conditions()[..] else { panic!("{:?}", scene.conditions()) };
        assert!(ready.starts_with("Ready=False InvalidSpec: ") && ready.contains(text), "{ready}");
    }
}

#[test]
fn a_spec_that_becomes_invalid_while_issuing_and_back() {
    let mut scene = Scene::new();
    scene.run();
    scene.spec(|spec| spec.dns_names = vec!["-".into()]);
    assert_eq!(scene.run().0, ["WriteStatus", "DeleteNextKey", "Publish"]);
    assert_eq!(scene.conditions().len(), 1);
    assert_eq!((scene.status().next_private_key_secret_name, scene.next_keys.len()), (None, 0));

    scene.spec(|spec| spec.dns_names = vec!["new.example.com".into()]);
    scene.run();
    assert_eq!(scene.requests.len(), 1, "the former request made room");
    scene.answer();
    scene.run();
    assert_eq!(scene.conditions(), [READY]);
}

#[test]
fn another_secret_name_means_another_certificate() {
    let mut scene = Scene::issued();
    let former = scene.secret.take();
    scene.spec(|spec| spec.secret_name = "new-tls".into());
    scene.run();
    let status = scene.status();
    assert_eq!((status.not_after, status.renewal_time), (None, None), "dates are those of the Secret");
    scene.answer();
    scene.run();
    assert_eq!(scene.secret.as_ref().unwrap().name_any(), "new-tls");
    assert_eq!(scene.status().revision, Some(2));
    assert_eq!(former.unwrap().name_any(), "web-tls", "the former one is left alone");
}

#[test]
fn a_secret_name_that_changes_midway() {
    let mut scene = Scene::new();
    scene.run();
    scene.spec(|spec| spec.secret_name = "new-tls".into());
    scene.answer();
    assert!(!scene.run().0.contains(&"CreateRequest".to_owned()), "the request is still good");
    assert_eq!(scene.secret.as_ref().unwrap().name_any(), "new-tls");
}

#[test]
fn one_secret_has_one_owner() {
    let older = || {
        let mut older = certificate("zebra");
        older.metadata.creation_timestamp = Some(Time(at(-1)));
        Arc::new(older)
    };
    let twin = || Arc::new(certificate("alpha"));
    let mut first = Scene::new();
    first.rivals = vec![older()];
    assert_eq!(first.run(), (strings(&["WriteStatus", "Publish"]), None));
    assert_eq!(
        first.conditions(),
        ["Ready=False IncorrectCertificate: The Secret \"web-tls\" belongs to the Certificate \"zebra\", which names \
          it too; give this one its own spec.secretName"]
    );
    let mut same_age = Scene::new();
    same_age.rivals = vec![twin()];
    assert!(same_age.decide().steps.len() == 2, "by name then");

    let mut owner = Scene::issued();
    owner.rivals = vec![older(), twin()];
    assert_eq!(owner.run().0, [""; 0], "it was issued for this one");

    let mut overtaken = Scene::new();
    overtaken.run();
    overtaken.rivals = vec![older()];
    assert_eq!(overtaken.run().0, ["WriteStatus", "DeleteNextKey", "Publish"], "an issuance under way is left off");
    overtaken.rivals.clear();
    overtaken.run();
    assert!(is_issuing(&overtaken.status()), "until the other is gone");
}

#[test]
fn what_is_on_its_way_out_is_waited_for() {
    let mut scene = Scene::new();
    scene.run();
    let request = Arc::new(dying(&*scene.requests[0]));
    scene.requests = vec![request];
    assert_eq!(scene.decide(), Decision::rest(), "its name is still taken");

    let mut scene = Scene::new();
    scene.run();
    scene.requests.clear();
    scene.next_keys = vec![Arc::new(dying(&*scene.next_keys[0]))];
    assert_eq!(scene.decide(), Decision::rest());

    let mut scene = Scene::issued();
    scene.certificate = dying(&scene.certificate);
    scene.secret = None;
    assert_eq!(scene.decide(), Decision::rest(), "the owner references do the rest");
}

#[test]
fn a_request_of_somebody_else_in_the_way() {
    let mut scene = Scene::new();
    scene.step();
    scene.step();
    scene.namesake = Some(object(json!({"metadata": {"name": "web-1", "uid": "other"}, "spec": {}})));
    assert_eq!(scene.run(), (strings(&["WriteStatus", "Publish"]), Some(60)));
    let text = "held up: the CertificateRequest \"web-1\" does not belong to this Certificate; delete it";
    assert_eq!(scene.conditions()[0], format!("Issuing=True DoesNotExist: {ISSUING}; {text}"));
    scene.namesake = None;
    assert_eq!(scene.run().0, ["WriteStatus", "CreateRequest", "Publish"]);
    assert_eq!(scene.conditions()[0], format!("Issuing=True DoesNotExist: {ISSUING}"));
}

#[test]
fn an_own_request_with_a_lost_revision_makes_room() {
    let mut scene = Scene::new();
    scene.run();
    Arc::make_mut(&mut scene.requests[0]).annotations_mut().remove(annotation::CERTIFICATE_REVISION);
    assert_eq!(scene.run().0, ["DeleteRequest", "CreateRequest", "Publish"]);
}

#[test]
fn a_renewal_asked_for_by_somebody_else() {
    let mut scene = Scene::issued();
    let manual = told("Issuing", "True", reason::MANUALLY_TRIGGERED, "Certificate re-issuance manually triggered");
    scene.certificate.status.as_mut().unwrap().conditions.push(manual.clone());
    let (done, _) = scene.run();
    assert_eq!(done, ["WriteStatus", "CreateNextKey", "Publish", "CreateRequest", "Publish"]);
    assert_eq!(scene.status().conditions[1], manual);
    scene.answer();
    scene.run();
    assert_eq!((scene.conditions(), scene.status().revision), (vec![READY.to_owned()], Some(2)));
}

#[test]
fn a_renewal_asked_for_does_not_wait_for_the_end_of_a_back_off() {
    let mut scene = Scene::new();
    scene.run();
    scene.fail("no");
    scene.run();
    scene.now = at(60);
    let manual = Condition { last_transition_time: Some(Time(at(60))), ..told("Issuing", "True", "Manual", "now") };
    set_condition(&mut scene.certificate.status.as_mut().unwrap().conditions, manual, at(60));
    assert!(scene.run().0.contains(&"CreateRequest".to_owned()));
    assert_eq!(scene.requests[0].status, None, "with a new request");
}

#[test]
fn what_holds_it_up_is_told_once_and_taken_back() {
    let mut scene = Scene::issued();
    scene.now = at(60 * DAY);
    scene.run();
    scene.tell(told("Ready", "False", "Pending", "Waiting for Issuer \"le\": it sleeps"));
    assert_eq!(scene.run().0, ["WriteStatus"]);
    let issuing = &scene.conditions()[1];
    assert!(issuing.ends_with("; held up: Waiting for Issuer \"le\": it sleeps"), "{issuing}");
    assert_eq!(scene.conditions()[0], READY, "the certificate in use is still good");
    scene.tell(told("Ready", "False", "Pending", "Created Order resource shop/web-2-1"));
    assert_eq!(scene.run().0, ["WriteStatus"]);
    assert!(!scene.conditions()[1].contains("held up"));
}

#[test]
fn trouble_is_visible_and_waited_for() {
    for class in [TroubleClass::Transient, TroubleClass::Final] {
        let mut scene = Scene::new();
        scene.step();
        scene.trouble = Some(trouble(class, 2));
        let text = "Failed to try: the other side was out; next try after 5 s";
        assert_eq!(scene.notes(), [format!("Warning RequestFailed: {text}")]);
        assert_eq!(scene.run(), (strings(&["WriteStatus", "Publish"]), Some(5)));
        assert_eq!(scene.conditions()[0], format!("Issuing=True DoesNotExist: {ISSUING}; held up: {text}"));
        assert_eq!(scene.conditions()[1], format!("Ready=False DoesNotExist: {ISSUING}: {text}"));
        scene.now = at(5);
        assert_eq!(scene.step(), ["WriteStatus", "CreateNextKey", "Publish"]);
        assert_eq!(scene.conditions()[0], format!("Issuing=True DoesNotExist: {ISSUING}"));
    }
}

#[test]
fn a_missing_right_is_told_in_the_same_words_however_often_it_is_missed() {
    let mut scene = Scene::new();
    scene.step();
    let message = format!("Failed to create Secret shop/web: no right{}", crate::api::missing_right::GOES_ON);
    scene.trouble = Some(Trouble { message: message.clone(), ..trouble(TroubleClass::Transient, 1) });
    assert_eq!(scene.run(), (strings(&["WriteStatus", "Publish"]), Some(1)));
    assert_eq!(scene.conditions()[1], format!("Ready=False DoesNotExist: {ISSUING}: {message}"));
    scene.trouble = Some(Trouble { message, ..trouble(TroubleClass::Transient, 6) });
    assert_eq!(scene.run(), (strings(&[]), Some(300)));
    scene.now = at(300);
    assert_eq!(scene.step(), ["CreateNextKey", "Publish"], "nor is trying again");
    scene.trouble = None;
    assert_eq!(scene.run().0, ["WriteStatus", "CreateRequest"]);
}

#[test]
fn history_keeps_the_current_request_and_so_many_before() {
    let numbered = |revision: i64| {
        Arc::new(object::<CertificateRequest>(json!({
            "metadata": {
                "name": format!("web-{revision}"), "uid": format!("uid-{revision}"),
                "annotations": {"cert-manager.io/certificate-revision": revision.to_string()},
            },
            "spec": {},
        })))
    };
    for (limit, left) in
        [(None, vec!["web-1", "web-2"]), (Some(2), vec!["web-1", "web-2", "web-0"]), (Some(-3), vec!["web-1", "web-2"])]
    {
        let mut scene = Scene::issued();
        scene.spec(|spec| spec.revision_history_limit = limit);
        // A later one that failed, after the spec was changed back to what is there.
        scene.requests.extend([numbered(2), numbered(-1), numbered(0)]);
        scene.run();
        assert_eq!(crate::decide::testing::named(scene.requests.iter().map(AsRef::as_ref)), left);
    }
}

#[test]
fn a_status_that_was_lost_costs_no_certificate() {
    let mut scene = Scene::issued();
    scene.certificate.status = None;
    let (done, wake) = scene.run();
    assert_eq!((done, wake), (strings(&["WriteStatus"]), Some(60 * DAY)));
    scene.now = at(60 * DAY);
    scene.run();
    let names = crate::decide::testing::named(scene.requests.iter().map(AsRef::as_ref));
    assert_eq!(names, ["web-1", "web-2"], "the revision was found again");
    scene.answer();
    scene.run();
    assert_eq!(scene.status().not_after, Some(Time(at(150 * DAY))));
}

#[test]
fn an_answer_that_was_no_good_is_not_taken_again() {
    let mut scene = Scene::issued();
    scene.spec(|spec| spec.private_key.as_mut().unwrap().rotation_policy = Some("Never".into()));
    scene.certificate.status = None;
    *scene.data("tls.crt") = chain(key(0), &["www.example.com"], 0, 80 * DAY).into_bytes();
    scene.now = at(91 * DAY);
    assert!(scene.run().0.contains(&"DeleteRequest".to_owned()), "the key is the same, but the answer has expired");
    assert_eq!(scene.requests[0].status, None);
}

#[test]
fn the_values_of_an_attribute_are_a_set() {
    let mut scene = Scene::new();
    let subject =
        json!({"organizations": ["Second", "Example, Inc.", "Second"], "organizationalUnits": ["Web", "Mail"]});
    scene.spec(|spec| spec.subject = Some(object(subject)));
    scene.run();
    scene.answer();
    scene.run();
    assert_eq!((scene.conditions(), scene.run().0), (strings(&[READY]), vec![]));
    scene.spec(|spec| spec.subject.as_mut().unwrap().organizations.clear());
    assert!(scene.run().0.contains(&"CreateRequest".to_owned()));
}

#[test]
fn a_literal_subject_is_compared() {
    let mut scene = Scene::new();
    scene.spec(|spec| spec.literal_subject = Some("CN=www.example.com,OU=b+OU=a,O=Example".into()));
    scene.run();
    scene.answer();
    scene.run();
    assert_eq!((scene.conditions(), scene.run().0), (strings(&[READY]), vec![]));
    scene.spec(|spec| spec.literal_subject = Some("CN=www.example.com,O=Other".into()));
    assert!(scene.run().0.contains(&"CreateRequest".to_owned()));
    assert!(scene.conditions().concat().contains("not up to date: [spec.literalSubject]"));
}

#[test]
fn keys_do_not_show() {
    assert_eq!(format!("{:?}", NextKey::Reuse("secret".into())), "Reuse(…)");
    assert_eq!(format!("{:?}", HeldKey::new(key(0).clone(), now()).key), format!("{:?}", key(0)));
}

#[test]
fn the_wake_of_a_rest_is_the_renewal() {
    assert_eq!(Scene::issued().decide(), Decision { steps: vec![], wake: Wake::At(at(60 * DAY)) });
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}
