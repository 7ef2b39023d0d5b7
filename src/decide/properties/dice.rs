//! Random objects.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::Time};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use crate::{
    api::{
        Certificate, CertificateRequest, Challenge, Condition, IssuerSpec, Order,
        issuer::{AcmeIssuer, CaIssuer, SelfSignedIssuer},
    },
    decide::{
        Trouble, TroubleClass,
        authority::{Authority, SeenAuthority, SeenKey},
        budget::turn::Turn,
        children,
        hold::{Hold, Reach},
        issuer_of::SeenIssuerOf,
        renewal_information::{Answer, Found},
        template::CopiedAnnotations,
        testing::{DAY, HOUR, acme, chain, key, now, object, pem},
    },
    pki::ParsedCertificate,
};

/// An issuer as other objects see it.
pub(super) enum Issuer {
    Acme(Box<AcmeIssuer>, Option<Condition>),
    Ca(CaIssuer, SeenAuthority, Option<Condition>),
    SelfSigned(SelfSignedIssuer, SeenKey, Option<Condition>),
    Missing,
    Unserved,
    Refused,
    Foreign,
}

impl Issuer {
    pub(super) fn seen(&self) -> SeenIssuerOf<'_> {
        match self {
            Self::Acme(acme, ready) => SeenIssuerOf::Acme { ready: ready.as_ref(), acme },
            Self::Ca(ca, authority, ready) => SeenIssuerOf::Ca { ready: ready.as_ref(), ca, authority },
            Self::SelfSigned(self_signed, key, ready) => {
                SeenIssuerOf::SelfSigned { ready: ready.as_ref(), self_signed, key }
            }
            Self::Missing => SeenIssuerOf::Missing,
            Self::Unserved => SeenIssuerOf::Unserved("not of this world"),
            Self::Refused => SeenIssuerOf::Refused("not for you"),
            Self::Foreign => SeenIssuerOf::Foreign,
        }
    }
}

/// Random things, half of them sensible, so that every branch is reached.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// SplitMix64.
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(limit).unwrap()).unwrap()
    }

    /// True once in so many times.
    pub(super) fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    pub(super) fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (!self.chance(3)).then(|| make(self))
    }

    pub(super) fn text(&mut self) -> String {
        let long = "x".repeat(300);
        let odd =
            ["", "a", "web", "-", ".", "*.", "a b", "\u{0}", "b\u{fc}cher", "{}", "'\"", "; held up: ", "\n", &long];
        (*self.pick(&odd)).to_owned()
    }

    pub(super) fn number(&mut self) -> i64 {
        *self.pick(&[0, 1, 1, 2, 7, -1, 100, i64::from(i32::MAX), i64::MAX, i64::MIN])
    }

    pub(super) fn time(&mut self) -> Timestamp {
        match self.below(5) {
            0 => Timestamp::MIN,
            1 => Timestamp::MAX,
            2 => now(),
            _ => self.soon(),
        }
    }

    pub(super) fn soon(&mut self) -> Timestamp {
        now() + SignedDuration::from_secs(*self.pick(&[0, 1, -1, 60, HOUR, -HOUR, DAY, -DAY, 90 * DAY, 200 * DAY]))
    }

    pub(super) fn state(&mut self) -> String {
        let known = ["pending", "ready", "processing", "valid", "invalid", "expired", "errored", "", "odd"];
        (*self.pick(&known)).to_owned()
    }

    pub(super) fn trouble(&mut self) -> Option<Trouble> {
        self.maybe(|dice| Trouble {
            message: dice.text(),
            class: *dice.pick(&[TroubleClass::Final, TroubleClass::Transient]),
            failures: *dice.pick(&[0, 1, 2, 8, u32::MAX]),
            at: dice.time(),
            retry_after: dice
                .maybe(|dice| *dice.pick(&[SignedDuration::ZERO, SignedDuration::MAX, SignedDuration::MIN])),
            hold: dice.maybe(|dice| Hold {
                until: dice.time(),
                reach: *dice.pick(&[Reach::Names, Reach::Account, Reach::Ca]),
                is_wish: dice.chance(2),
            }),
        })
        .filter(|_| self.chance(2))
    }

    pub(super) fn turn(&mut self) -> Turn {
        match self.below(3) {
            0 => Turn::Go,
            _ => Turn::Wait { until: self.time(), why: self.maybe(Self::text) },
        }
    }

    pub(super) fn conditions(&mut self, types: &[&str]) -> Vec<Value> {
        let mut conditions = Vec::new();
        for type_ in types {
            let reasons = ["Pending", "Failed", "Issued", "Denied", "Ready", "DoesNotExist", "InvalidSpec", ""];
            let (reason, status) = (*self.pick(&reasons), *self.pick(&["True", "False", "Unknown", ""]));
            let (message, time) = (self.maybe(Self::text), self.maybe(Self::time).map(|time| time.to_string()));
            if self.chance(2) {
                conditions.push(json!({
                    "type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": time,
                }));
            }
        }
        conditions
    }

    pub(super) fn metadata<K: Resource>(&mut self, object: &mut K) {
        let metadata = object.meta_mut();
        metadata.name = Some(if self.chance(3) { self.text() } else { "web".to_owned() });
        metadata.namespace = self.maybe(|_| "shop".to_owned());
        metadata.uid = self.maybe(Self::text);
        metadata.generation = self.maybe(Self::number);
        metadata.creation_timestamp = self.maybe(Self::time).map(Time);
        metadata.deletion_timestamp = self.chance(12).then(|| Time(self.time()));
    }

    pub(super) fn certificate(&mut self) -> Certificate {
        let mut spec = json!({
            "secretName": "web-tls", "dnsNames": ["www.example.com"], "issuerRef": {"name": "le"},
            "privateKey": {"algorithm": "ECDSA", "rotationPolicy": *self.pick(&["Always", "Never", "", "odd"])},
        });
        if self.chance(2) {
            let odd: Value = match self.below(14) {
                0 => json!({"secretName": ""}),
                1 => json!({"dnsNames": [self.text()]}),
                2 => json!({"issuerRef": {"name": self.text(), "kind": self.text(), "group": self.text()}}),
                3 => json!({"privateKey": {"algorithm": self.text(), "size": self.number()}}),
                4 => json!({"duration": self.text(), "renewBefore": "2562047h"}),
                5 => json!({"renewBeforePercentage": *self.pick(&[0, 1, 99, 100, -1, i32::MIN])}),
                6 => json!({"usages": [self.text()]}),
                7 => json!({"literalSubject": self.text(), "commonName": self.text()}),
                8 => json!({"ipAddresses": [self.text()], "uris": [self.text()], "emailAddresses": [self.text()]}),
                9 => json!({"revisionHistoryLimit": *self.pick(&[0, 1, -5, i32::MAX])}),
                10 => json!({
                    "keystores": {
                        "jks": {"create": self.chance(2), "passwordSecretRef": {"name": "passwords", "key": self.text()}},
                        "pkcs12": {"create": self.chance(2), "profile": self.text(), "password": self.text()},
                    },
                    "secretTemplate": {"labels": {"a": self.text()}},
                    "additionalOutputFormats": [{"type": *self.pick(&["DER", "CombinedPEM", "odd"])}],
                }),
                11 => {
                    json!({"renewal": {"policy": self.text(), "windows": [{"cron": self.text(), "windowDuration": "1h"}]}})
                }
                12 => json!({"otherNames": [{"oid": self.text(), "utf8Value": self.text()}], "isCA": true}),
                _ => json!({"privateKey": {"algorithm": "ECDSA", "size": 384}, "signatureAlgorithm": self.text()}),
            };
            spec.as_object_mut().unwrap().extend(odd.as_object().unwrap().clone());
        }
        let status = self.maybe(|dice| {
            json!({
                "conditions": dice.conditions(&["Ready", "Issuing"]),
                "lastFailureTime": dice.maybe(Self::time).map(|time| time.to_string()),
                "failedIssuanceAttempts": dice.maybe(Self::number),
                "notAfter": dice.maybe(Self::time).map(|time| time.to_string()),
                "revision": dice.maybe(Self::number),
                "nextPrivateKeySecretName": dice.maybe(Self::text),
                "acme": dice.maybe(|dice| json!({"ari": dice.renewal_information()})),
            })
        });
        let mut certificate: Certificate = object(json!({"metadata": {}, "spec": spec, "status": status}));
        self.metadata(&mut certificate);
        if self.chance(3) {
            let names = ["renew-at", "max-issuances-per-day", "secret-policy", "x"];
            let name = format!("certwright.dev/{}", self.pick(&names));
            let value = if self.chance(2) { self.text() } else { self.time().to_string() };
            let value = if self.chance(3) { self.number().to_string() } else { value };
            certificate.annotations_mut().insert(name, value);
        }
        if self.chance(6) {
            let name = "cert-manager.io/issue-temporary-certificate".to_owned();
            certificate.annotations_mut().insert(name, "true".to_owned());
        }
        certificate
    }

    pub(super) fn chain(&mut self) -> Vec<u8> {
        let names = [*self.pick(&["www.example.com", "other.example.com"])];
        match self.below(6) {
            0 => self.text().into_bytes(),
            1 => chain(key(1), &names, 0, 90 * DAY).into_bytes(),
            2 => chain(key(0), &names, -90 * DAY, -DAY).into_bytes(),
            _ => chain(key(0), &names, -DAY, 90 * DAY).into_bytes(),
        }
    }

    pub(super) fn key_pem(&mut self) -> Vec<u8> {
        match self.below(6) {
            0 => self.text().into_bytes(),
            1 => pem(key(1)).into_bytes(),
            _ => pem(key(0)).into_bytes(),
        }
    }

    pub(super) fn secret(&mut self) -> Secret {
        let mut secret = Secret::default();
        self.metadata(&mut secret);
        secret.type_ = self.maybe(Self::text);
        let data =
            [("tls.crt".to_owned(), ByteString(self.chain())), ("tls.key".to_owned(), ByteString(self.key_pem()))];
        secret.data = self.maybe(|_| data.into());
        if self.chance(3) {
            let names = ["certificate-name", "issuer-name", "issuer-kind", "issuer-group"];
            let name = format!("cert-manager.io/{}", self.pick(&names));
            secret.metadata.annotations = Some([(name, self.text())].into());
        }
        secret
    }

    pub(super) fn password_secret(&mut self) -> Secret {
        object(json!({"data": {"": "eA==", "a": "/w==", "web": "eA=="}, "metadata": {"name": self.text()}}))
    }

    pub(super) fn authority(&mut self) -> SeenAuthority {
        match self.below(3) {
            0 => SeenAuthority::Missing(self.text()),
            1 => SeenAuthority::Unusable(self.text()),
            _ => {
                let chain = ParsedCertificate::from_pem_chain(&self.chain()).unwrap_or_default();
                SeenAuthority::Usable(Arc::new(Authority { chain, key: key(0).clone() }))
            }
        }
    }

    pub(super) fn answer(&mut self, certificate_id: String) -> Answer {
        let retry_after = self.maybe(|dice| *dice.pick(&[SignedDuration::ZERO, SignedDuration::MAX]));
        let found = match self.below(4) {
            0 => Found::Unsupported,
            1 => Found::Failed { message: self.text(), is_transient: self.chance(2), retry_after },
            _ => {
                let (start, end, explanation_url) = (self.time(), self.time(), self.maybe(Self::text));
                Found::Suggestion { start, end, explanation_url, retry_after }
            }
        };
        Answer { certificate_id, at: self.soon(), found }
    }

    pub(super) fn renewal_information(&mut self) -> Value {
        let time = |dice: &mut Self| dice.maybe(Self::time).map(|time| time.to_string());
        let window = self.maybe(|dice| json!({"start": dice.time().to_string(), "end": dice.soon().to_string()}));
        json!({
            "suggestedWindow": window, "explanationURL": self.maybe(Self::text), "lastError": self.maybe(Self::text),
            "lastChecked": time(self), "nextCheck": time(self),
        })
    }

    pub(super) fn next_key(&mut self, certificate: &Certificate) -> Secret {
        let (name, pem) = (self.text(), String::from_utf8(self.key_pem()).unwrap());
        let mut secret = children::next_key_secret(certificate, &name, pem);
        secret.metadata.deletion_timestamp = self.chance(5).then(|| Time(now()));
        secret
    }

    pub(super) fn request(&mut self, certificate: &Certificate) -> Arc<CertificateRequest> {
        let revision = if self.chance(2) { self.number() } else { 1 };
        let current = certificate.status.as_ref().and_then(|status| status.revision).unwrap_or_default();
        let revision = if self.chance(2) { current.saturating_add(1) } else { revision };
        let key = key(usize::from(self.chance(4)));
        let (copied, name) = (CopiedAnnotations::default(), format!("web-{revision}"));
        let made = children::certificate_request(
            certificate,
            name,
            revision,
            (String::new(), key),
            &[],
            (&copied, crate::decide::certificate::Features::default()),
        );
        let mut request = made.unwrap_or_default();
        if self.chance(6) {
            request.spec.request = ByteString(self.text().into_bytes());
        }
        let (name, annotations) = (request.metadata.name.clone(), request.metadata.annotations.clone());
        self.metadata(&mut request);
        if !self.chance(5) {
            (request.metadata.name, request.metadata.annotations) = (name, annotations);
        }
        request.status = self.maybe(|dice| {
            let mut status = json!({"conditions": dice.conditions(&["Ready", "Approved", "Denied", "InvalidRequest"])});
            status["failureTime"] = json!(dice.maybe(Self::time).map(|time| time.to_string()));
            let mut status: crate::api::CertificateRequestStatus = object(status);
            status.certificate = dice.maybe(|dice| ByteString(dice.chain()));
            status
        });
        Arc::new(request)
    }

    pub(super) fn issuer_spec(&mut self) -> IssuerSpec {
        match self.below(8) {
            0 => object(json!({"ca": {"secretName": self.text()}})),
            3 => object(json!({"selfSigned": {}})),
            1 => object(json!({"venafi": {}, "vault": {}})),
            2 => IssuerSpec::default(),
            _ => {
                let mut acme = acme();
                acme.server = self.text();
                acme.email = self.maybe(Self::text);
                acme.disable_account_key_generation = self.chance(2);
                IssuerSpec { acme: Some(acme), ..IssuerSpec::default() }
            }
        }
    }

    pub(super) fn issuer(&mut self) -> Issuer {
        let ready = json!({"type": "Ready", "status": *self.pick(&["True", "True", "False"])});
        match self.below(13) {
            0 => Issuer::Missing,
            12 => Issuer::Refused,
            1 => Issuer::Unserved,
            2 => Issuer::Foreign,
            3 | 4 => Issuer::Ca(CaIssuer::default(), self.authority(), self.maybe(|_| object(ready))),
            5 | 6 => {
                let key = match self.below(4) {
                    0 => SeenKey::Unnamed,
                    1 => SeenKey::Missing(self.text()),
                    2 => SeenKey::Unusable(self.text()),
                    _ => SeenKey::Usable(key(self.below(2)).clone()),
                };
                Issuer::SelfSigned(SelfSignedIssuer::default(), key, self.maybe(|_| object(ready)))
            }
            _ => {
                let mut acme = acme();
                if self.chance(4) {
                    acme.solvers.truncate(self.below(2));
                }
                Issuer::Acme(Box::new(acme), self.maybe(|_| object(ready)))
            }
        }
    }

    pub(super) fn order(&mut self, request: &CertificateRequest) -> Order {
        let mut order: Order = object(json!({
            "metadata": {}, "spec": {"request": "", "issuerRef": {"name": "le"}, "dnsNames": ["www.example.com"]},
        }));
        self.metadata(&mut order);
        if !self.chance(4) {
            order.metadata.owner_references = request.controller_owner_ref(&()).map(|owner| vec![owner]);
        }
        order.status = self.maybe(|dice| {
            let authorizations: Vec<_> = (0..dice.below(4)).map(|index| dice.authorization(index)).collect();
            let mut status: crate::api::OrderStatus = object(json!({
                "url": dice.maybe(Self::text), "state": dice.maybe(Self::state), "reason": dice.maybe(Self::text),
                "authorizations": authorizations,
            }));
            status.certificate = if dice.chance(3) { Some(ByteString(dice.chain())) } else { None };
            status
        });
        order
    }

    pub(super) fn authorization(&mut self, index: usize) -> Value {
        let offered = [*self.pick(&["dns-01", "http-01", "odd"]), "dns-01"].map(|kind| json!({"type": kind}));
        json!({
            "url": format!("ca/authorization/{index}"), "identifier": self.maybe(Self::text),
            "wildcard": self.maybe(|dice| dice.chance(2)), "initialState": self.maybe(Self::state),
            "challenges": self.maybe(|_| offered).map_or(Vec::new(), Vec::from),
        })
    }

    pub(super) fn challenge(&mut self, order: &Order) -> Challenge {
        let mut challenge: Challenge = object(json!({
            "metadata": {},
            "spec": {
                "authorizationURL": format!("ca/authorization/{}", self.below(3)), "dnsName": self.text(),
                "type": *self.pick(&["DNS-01", "HTTP-01", "odd"]), "issuerRef": {"name": "le"},
                "solver": {"waitInsteadOfSelfCheck": self.maybe(|dice| *dice.pick(&["5s", "", "2562047h", "-1h"]))},
            },
        }));
        self.metadata(&mut challenge);
        challenge.metadata.owner_references = order.controller_owner_ref(&()).map(|owner| vec![owner]);
        challenge.metadata.finalizers =
            self.maybe(|dice| vec![(*dice.pick(&["acme.cert-manager.io/finalizer", "x"])).to_owned()]);
        challenge.status = self.maybe(|dice| {
            object(json!({
                "processing": dice.chance(2), "presented": dice.chance(2), "reason": dice.maybe(Self::text),
                "presentedAt": dice.maybe(Self::time).map(|time| time.to_string()), "state": dice.maybe(Self::state),
            }))
        });
        challenge
    }
}
