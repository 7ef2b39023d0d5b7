#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::{
    decide::{
        Wake,
        authority::Authority,
        testing::{HOUR, acme, at, key, kinds, lines, now, object, pem, seconds_until, trouble},
        unread::Remark,
    },
    pki::{CertificateRequestTemplate, Issuance, ParsedCertificate, ParsedRequest, Usages},
};

/// What surrounds one issuer.
struct Scene {
    generation: i64,
    spec: IssuerSpec,
    status: Option<IssuerStatus>,
    account_key: AccountKey,
    authority: Option<SeenAuthority>,
    registration: Option<Registration>,
    is_doubtful: bool,
    roll_over: Option<RollOver>,
    trouble: Option<Trouble>,
    tls_alpn_01: Option<&'static str>,
    dns01_verification: Option<&'static str>,
    caa: Option<&'static str>,
    new_orders: Option<&'static str>,
    now: Timestamp,
}

impl Scene {
    fn new() -> Self {
        let mut acme = acme();
        acme.email = Some(" Admin@Example.com ".into());
        Self {
            generation: 1,
            spec: IssuerSpec { acme: Some(acme), ..IssuerSpec::default() },
            status: None,
            account_key: AccountKey::Usable { hash: "hash".into() },
            authority: None,
            registration: None,
            is_doubtful: false,
            roll_over: None,
            trouble: None,
            tls_alpn_01: None,
            dns01_verification: None,
            caa: None,
            new_orders: None,
            now: now(),
        }
    }

    fn ready() -> Self {
        let mut scene = Self::new();
        scene.register();
        scene.step();
        scene
    }

    fn register(&mut self) {
        self.registration =
            Some(Registration { uri: "ca/account/1".into(), email: "admin@example.com".into(), agreed_terms: None });
    }

    fn acme(&mut self) -> &mut AcmeIssuer {
        self.spec.acme.as_mut().unwrap()
    }

    fn decide(&self) -> Decision<IssuerStep> {
        let seen = SeenIssuer {
            generation: Some(self.generation),
            deleting: false,
            spec: &self.spec,
            tls_alpn_01: self.tls_alpn_01,
            dns01_verification: self.dns01_verification,
            caa: self.caa,
            new_orders: self.new_orders,
            answerer_problem: None,
            status: self.status.as_ref(),
            account_key: &self.account_key,
            authority: self.authority.as_ref(),
            registration: self.registration.as_ref(),
            is_doubtful: self.is_doubtful,
            roll_over: self.roll_over.as_ref(),
            trouble: self.trouble.as_ref(),
        };
        decide(&seen, self.now)
    }

    fn step(&mut self) -> Vec<String> {
        let decision = self.decide();
        let kinds = kinds(&decision);
        for step in decision.steps {
            if let IssuerStep::WriteStatus(status) = step {
                assert_ne!(self.status.as_ref(), Some(&*status), "an equal status is written");
                self.status = Some(*status);
            }
        }
        kinds
    }

    fn told(&self) -> String {
        lines(&self.status.clone().unwrap_or_default().conditions).concat()
    }
}

#[test]
fn key_account_ready() {
    let mut scene = Scene::new();
    scene.account_key = AccountKey::Missing;
    assert_eq!(scene.decide(), Decision::act(vec![IssuerStep::CreateAccountKey]));
    scene.account_key = AccountKey::Usable { hash: "hash".into() };
    assert_eq!(scene.decide(), Decision::act(vec![IssuerStep::Register]));
    scene.register();
    assert_eq!(scene.step(), ["WriteStatus"]);
    let ready = "Ready=True ACMEAccountRegistered: The ACME account was registered with the ACME server";
    assert_eq!(scene.told(), ready);
    let account = scene.status.clone().unwrap().acme.unwrap();
    assert_eq!(account.uri.as_deref(), Some("ca/account/1"));
    assert_eq!(account.last_registered_email.as_deref(), Some("admin@example.com"));
    assert_eq!(account.last_private_key_hash.as_deref(), Some("hash"));
    assert_eq!(scene.decide(), Decision::rest());
}

#[test]
fn a_new_process_does_not_register_again() {
    let mut scene = Scene::ready();
    scene.registration = None;
    assert_eq!(scene.decide(), Decision::rest());
}

#[test]
fn a_changed_spec_key_or_address_is_registered_again() {
    let changes: [fn(&mut Scene); 4] = [
        |scene| scene.generation += 1,
        |scene| scene.account_key = AccountKey::Usable { hash: "other".into() },
        |scene| scene.acme().email = None,
        |scene| scene.status.as_mut().unwrap().acme = None,
    ];
    for change in changes {
        let mut scene = Scene::ready();
        scene.registration = None;
        change(&mut scene);
        assert_eq!(scene.decide(), Decision::act(vec![IssuerStep::Register]));
    }
}

#[test]
fn issuers_that_nothing_can_be_done_with() {
    let spec = |value| object::<IssuerSpec>(value);
    let acme = |server: &str| json!({"acme": {"server": server, "privateKeySecretRef": {"name": "a"}}});
    for (spec, reason, text) in [
        (spec(json!({"ca": {"secretName": "x"}})), "ErrGetKeyPair", "The Secret \"x\" with the CA's key pair does not"),
        (spec(json!({"ca": {}})), "ErrGetKeyPair", "spec.ca.secretName is empty"),
        (spec(json!({"vault": {}})), "Unsupported", "does not serve Vault and Venafi issuers"),
        (spec(json!({})), "Unsupported", "spec names no issuer type"),
        (spec(acme("letsencrypt")), "InvalidURL", "write https://acme-v02.api.letsencrypt.org/directory"),
        (spec(acme("https://acme-v01.api.letsencrypt.org/directory")), "InvalidConfig", "use https://acme-v02.api"),
    ] {
        let mut scene = Scene { spec, ..Scene::new() };
        assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
        assert!(scene.told().starts_with(&format!("Ready=False {reason}: ")), "{}", scene.told());
        assert!(scene.told().contains(text), "{}", scene.told());
        assert_eq!(scene.decide(), Decision::rest());
    }
}

#[test]
fn account_keys_that_cannot_be_used() {
    let mut scene = Scene::ready();
    scene.account_key = AccountKey::Unusable("the Secret holds garbage".into());
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    assert_eq!(scene.told(), "Ready=False ErrVerifyACMEAccount: the Secret holds garbage");
    assert_eq!(scene.decide(), Decision::rest());

    let mut scene = Scene::new();
    scene.account_key = AccountKey::Missing;
    scene.acme().disable_account_key_generation = true;
    scene.acme().private_key_secret_ref.key = Some("account.pem".into());
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    assert!(scene.told().contains("The Secret \"account\" has no account key under \"account.pem\""));
    assert_eq!(scene.decide(), Decision::rest());
}

#[test]
fn trouble_is_told_and_waited_for() {
    let mut scene = Scene::new();
    scene.trouble = Some(trouble(TroubleClass::Transient, 1));
    assert_eq!(seconds_until(scene.decide().wake), Some(1));
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    let text = "Ready=False ErrRegisterACMEAccount: Failed to try: the other side was out";
    assert_eq!(scene.told(), format!("{text}; next try after 1 s"));
    assert_eq!(scene.decide(), Decision::rest_until(at(1)), "told once");
    scene.trouble = Some(trouble(TroubleClass::Transient, 2));
    assert_eq!(scene.step(), ["WriteStatus"], "another event would be noise");
    scene.now = at(5);
    assert_eq!(scene.decide(), Decision::act(vec![IssuerStep::Register]));
}

#[test]
fn a_refusal_is_not_the_last_word() {
    let mut scene = Scene::new();
    scene.trouble = Some(trouble(TroubleClass::Final, 1));
    assert_eq!(scene.decide().wake, Wake::At(at(15)));
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    let text = "tried again when the issuer or its Secrets change, and at the latest after 15 s";
    assert!(scene.told().ends_with(text), "{}", scene.told());
    assert_eq!(scene.decide(), Decision::rest_until(at(15)), "an equal status is not written again");
    scene.now = at(15);
    assert_eq!(scene.decide(), Decision::act(vec![IssuerStep::Register]));
    scene.trouble = Some(trouble(TroubleClass::Final, 9));
    assert_eq!(scene.decide().wake, Wake::At(at(3600)));
    scene.now = at(3600);
    assert_eq!(scene.decide(), Decision::act(vec![IssuerStep::Register]));
}

#[test]
fn an_account_in_doubt_is_looked_at_once() {
    let mut scene = Scene::ready();
    (scene.registration, scene.is_doubtful) = (None, true);
    assert_eq!(scene.decide(), Decision::act(vec![IssuerStep::Register]));
    // The CA knows it after all.
    scene.is_doubtful = false;
    scene.register();
    assert_eq!(scene.decide(), Decision::rest());
    // It was lost, and another one made.
    scene.registration.as_mut().unwrap().uri = "ca/account/2".into();
    assert_eq!(scene.step(), ["WriteStatus"]);
    assert_eq!(scene.status.clone().unwrap().acme.unwrap().uri.as_deref(), Some("ca/account/2"));
    assert_eq!(scene.decide(), Decision::rest());
}

#[test]
fn the_reason_tells_what_failed() {
    for (doing, reason) in [
        (doing::VERIFY, "ErrVerifyACMEAccount"),
        (doing::UPDATE, "ErrUpdateACMEAccount"),
        (doing::REGISTER, "ErrRegisterACMEAccount"),
    ] {
        let mut scene = Scene::ready();
        (scene.registration, scene.is_doubtful) = (None, true);
        let message = format!("{doing}: the account is deactivated");
        scene.trouble = Some(Trouble { message, ..trouble(TroubleClass::Final, 1) });
        assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
        assert!(
            scene.told().starts_with(&format!("Ready=False {reason}: {doing}: the account is")),
            "{}",
            scene.told()
        );
        // A later process asks again, and is told the same: it goes on waiting where it was.
        assert_eq!(scene.decide(), Decision::rest_until(at(15)));
    }
}

#[test]
fn terms_of_service_are_shown_once() {
    let mut scene = Scene::new();
    scene.register();
    scene.registration.as_mut().unwrap().agreed_terms = Some("https://ca.example/terms".into());
    let steps = scene.decide().steps;
    let [IssuerStep::WriteStatus(_), IssuerStep::Publish(note)] = &steps[..] else { panic!("{steps:?}") };
    assert!(!note.warning && note.text.ends_with("agreed to: https://ca.example/terms"), "{}", note.text);
    scene.step();
    assert_eq!(scene.decide(), Decision::rest());
    scene.generation += 1;
    assert_eq!(scene.step(), ["WriteStatus"], "the same account");
}

/// Ready, with a wish for another key.
fn wishing(last: Option<&str>) -> Scene {
    let wish = Some("2026-03".to_owned());
    let last = last.map(str::to_owned);
    Scene { roll_over: Some(RollOver { wish, last, ..RollOver::default() }), ..Scene::ready() }
}

#[test]
fn another_key_is_made_stored_told_and_adopted() {
    assert_eq!(wishing(Some("2026-03")).decide(), Decision::rest());
    let mut scene = wishing(Some("2025-03"));
    assert_eq!(scene.step(), ["CreateNextKey"]);
    scene.roll_over.as_mut().unwrap().has_next = true;
    assert_eq!(scene.step(), ["ChangeKey"]);
    let mut refused = Scene { roll_over: scene.roll_over.clone(), ..Scene::ready() };
    scene.roll_over.as_mut().unwrap().outcome = Some(Outcome::Changed);
    assert_eq!(scene.step(), ["AdoptNextKey"]);
    refused.roll_over.as_mut().unwrap().outcome = Some(Outcome::Refused("it cannot".into()));
    assert_eq!(refused.step(), ["DropNextKey", "Publish"]);
    // The Secret has it in its place: the account is looked up by it, and its hash written down.
    scene.roll_over = wishing(Some("2026-03")).roll_over;
    (scene.account_key, scene.registration) = (AccountKey::Usable { hash: "other".into() }, None);
    assert_eq!(scene.step(), ["Register"]);
    scene.register();
    assert_eq!(scene.step(), ["WriteStatus"]);
    assert_eq!(scene.decide(), Decision::rest());
}

/// Registering by the former key would make another account.
#[test]
fn a_change_that_was_begun_goes_before_everything_else() {
    let mut scene = wishing(None);
    let roll_over = scene.roll_over.as_mut().unwrap();
    (roll_over.wish, roll_over.has_next) = (None, true);
    scene.generation += 1;
    scene.registration = None;
    assert_eq!(scene.step(), ["ChangeKey"], "although nobody wishes for it any more");
    scene.trouble = Some(trouble(TroubleClass::Transient, 1));
    assert_eq!(scene.decide(), Decision::rest_until(at(1)));
    scene.now = at(1);
    assert_eq!(scene.step(), ["ChangeKey"]);
}

#[test]
fn an_issuer_that_goes_is_left_alone() {
    let scene = Scene::new();
    let seen = SeenIssuer {
        generation: None,
        deleting: true,
        spec: &scene.spec,
        tls_alpn_01: None,
        dns01_verification: None,
        caa: None,
        new_orders: None,
        answerer_problem: None,
        status: None,
        account_key: &AccountKey::Missing,
        authority: None,
        registration: None,
        is_doubtful: false,
        roll_over: None,
        trouble: None,
    };
    assert_eq!(decide(&seen, now()), Decision::rest());
}

#[test]
fn addresses_and_entries_as_they_are_used() {
    let mut scene = Scene::new();
    assert_eq!(contact_email(scene.acme()), "admin@example.com");
    assert_eq!(account_key_entry(scene.acme()), "tls.key");
    scene.acme().private_key_secret_ref.key = Some("x".into());
    assert_eq!(account_key_entry(scene.acme()), "x");
}

/// A CA in force from an hour ago until in an hour.
fn authority() -> Authority {
    let key = key(0);
    let template = CertificateRequestTemplate { common_name: Some("Own CA".into()), is_ca: true, ..Default::default() };
    let request = ParsedRequest::from_der(&template.build(key).unwrap()).unwrap();
    let usages = Usages::from_spec(&template.usages, true).unwrap();
    let issuance = Issuance {
        request: &request,
        usages: &usages,
        is_ca: true,
        not_before: at(-HOUR),
        not_after: at(HOUR),
        crl_distribution_points: &[],
        ocsp_servers: &[],
        issuing_certificate_urls: &[],
    };
    let own = ParsedCertificate::from_der(&issuance.self_sign(key).unwrap()).unwrap();
    let data = json!({"tls.crt": own.to_pem(), "tls.key": pem(key)});
    let data = data
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, text)| (name.clone(), k8s_openapi::ByteString(text.as_str().unwrap().as_bytes().to_vec())));
    let secret = k8s_openapi::api::core::v1::Secret { data: Some(data.collect()), ..Default::default() };
    Authority::from_secret(&secret).unwrap()
}

#[test]
fn a_ca_is_ready_as_long_as_it_is_in_force() {
    let spec = object(json!({"ca": {"secretName": "own-ca"}}));
    let mut scene = Scene { spec, authority: Some(SeenAuthority::Usable(Arc::new(authority()))), ..Scene::new() };
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    assert_eq!(scene.told(), "Ready=True KeyPairVerified: Signing CA verified");
    assert_eq!(scene.decide(), Decision::rest_until(at(HOUR)));
    scene.now = at(HOUR);
    assert_eq!(scene.step(), ["WriteStatus", "Publish"]);
    assert!(
        scene.told().starts_with("Ready=False ErrInvalidKeyPair: The Secret \"own-ca\" holds no usable CA: the CA's")
    );
    assert_eq!(scene.decide(), Decision::rest());
    scene.now = at(-2 * HOUR);
    scene.step();
    assert!(scene.told().contains("is not in force before"), "{}", scene.told());
    assert_eq!(scene.decide(), Decision::rest_until(at(-HOUR)));
    scene.authority = Some(SeenAuthority::Unusable("it has no tls.key".into()));
    scene.step();
    assert_eq!(
        scene.told(),
        "Ready=False ErrInvalidKeyPair: The Secret \"own-ca\" holds no usable CA: it has no tls.key"
    );
}

#[test]
fn a_self_signed_issuer_is_always_ready() {
    let mut scene = Scene { spec: object(json!({"selfSigned": {}})), ..Scene::new() };
    assert_eq!(scene.step(), ["WriteStatus"]);
    assert_eq!(scene.told(), "Ready=True IsReady: -");
    assert_eq!(scene.decide(), Decision::rest());
}

#[test]
fn an_annotation_that_cannot_be_followed_is_told_until_it_is_put_right() {
    let mut scene = Scene::ready();
    let told = |scene: &Scene| {
        let ready = find_condition(&scene.status.as_ref().unwrap().conditions, condition::READY).unwrap();
        (ready.status.clone(), ready.last_transition_time.clone(), ready.message.clone().unwrap())
    };
    let before = told(&scene);
    scene.registration = None;
    for (value, part) in [("7", "\"7\" is no place"), ("1", "solver 1 has no http01.gatewayHTTPRoute")] {
        scene.tls_alpn_01 = Some(value);
        assert_eq!(scene.step(), ["WriteStatus"]);
        let now = told(&scene);
        assert_eq!((&now.0, &now.1), (&before.0, &before.1));
        let begins = format!("{}; the annotation certwright.dev/tls-alpn-01 ", before.2);
        assert!(now.2.starts_with(&begins) && now.2.contains(part), "{}", now.2);
        assert_eq!(scene.decide(), Decision::rest());
    }
    (scene.dns01_verification, scene.caa, scene.new_orders) = (Some("quorum"), Some("maybe"), Some("lots"));
    assert_eq!(scene.step(), ["WriteStatus"]);
    let all = told(&scene).2;
    let parts = [
        "solver 1 has no",
        "certwright.dev/dns01-verification is ignored",
        "; the annotation certwright.dev/caa is ignored, because \"maybe\" is not off, warn or refuse",
        "; the annotation certwright.dev/new-orders is ignored, because \"lots\" is not a number of orders",
    ];
    assert!(parts.iter().all(|part| all.contains(part)), "{all}");
    assert_eq!(scene.decide(), Decision::rest());
    (scene.tls_alpn_01, scene.dns01_verification, scene.caa, scene.new_orders) = (None, None, None, None);
    assert_eq!(scene.step(), ["WriteStatus"]);
    assert_eq!(told(&scene), before);
    assert_eq!(scene.decide(), Decision::rest());

    let refused = scene.status.as_ref().unwrap().remark("certwright has no right to get secrets", scene.now);
    scene.status = refused;
    assert!(told(&scene).2.ends_with("; at present: certwright has no right to get secrets"));
    assert_eq!(scene.step(), ["WriteStatus"], "it has the right again");
    assert_eq!(told(&scene), before);

    let mut at_first = Scene::new();
    at_first.tls_alpn_01 = Some("true");
    at_first.register();
    assert_eq!(at_first.step(), ["WriteStatus"]);
    assert!(told(&at_first).2.contains("no solver has http01.gatewayHTTPRoute"));
    assert_eq!(at_first.decide(), Decision::rest());
}

/// Another replica writes it, and whoever works on the issuer asks the CA.
#[test]
fn a_doubt_that_another_one_tells_of_has_the_account_looked_at() {
    let mut scene = Scene::ready();
    let status = scene.status.clone().unwrap();
    assert_eq!(doubt::told_since(scene.status.as_ref()), None);
    let told = doubt::told(&status, at(60));
    assert_eq!(doubt::told_since(Some(&told)), Some(at(60)));
    assert_eq!(doubt::told(&told, at(70)), told, "it is told once");
    scene.status = Some(told);
    scene.registration = None;
    assert_eq!(scene.decide().steps, [IssuerStep::Register]);
    scene.register();
    scene.step();
    assert_eq!(doubt::told_since(scene.status.as_ref()), None);
    assert_eq!(scene.decide().steps, []);
}
