//! What must never happen, looked at with the API server's eyes at every write: a certificate that nobody needs, and a
//! good Secret that is lost.

use std::collections::BTreeMap;

use certwright::{
    api::{Certificate, CertificateRequest, names::annotation},
    cluster::ObjectName,
    decide::{
        children,
        fallback::Fallback,
        policy::{self, Held},
        renewal,
        secret::{TLS_KEY, entry},
    },
    pki::{ParsedRequest, PrivateKey},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use super::world::World;

#[derive(Default)]
pub struct Chronicle {
    /// How many CertificateRequests were made, by what each was needed for.
    pub reasons: BTreeMap<&'static str, u32>,
    /// What must never happen.
    pub offences: Vec<String>,
    /// Certificates that were signed, fitting, and thrown away.
    pub wasted: Vec<String>,
    /// When somebody has last asked for a new certificate, by the Certificate's uid.
    wishes: BTreeMap<String, Timestamp>,
    /// The key in the memory of the process, for the Certificate that it is working on.
    pub held_key: Option<PrivateKey>,
}

impl Chronicle {
    /// Somebody asks for a new certificate.
    pub fn wish(&mut self, certificate: &Certificate, now: Timestamp) {
        self.wishes.insert(certificate.uid().unwrap_or_default(), now);
    }
}

impl World {
    /// The process has made a request.
    pub fn note_request(&mut self, request: &CertificateRequest) {
        let Some(certificate) = self.owner_of(request) else { return };
        let reason = self.reason_for(&certificate);
        let is_again = self.chronicle.wasted.last().is_some_and(|text| text.contains(&again_of(request)));
        if let Some(reason) = reason.or(is_again.then_some("thrown away")) {
            *self.chronicle.reasons.entry(reason).or_default() += 1;
        } else {
            let text = format!("{}: {} is needless: {certificate:?}", self.now(), request.name_any());
            self.chronicle.offences.push(text);
        }
    }

    /// The process is about to delete a request.
    pub fn note_deleted_request(&mut self, request: &CertificateRequest) {
        let Some(certificate) = self.owner_of(request) else { return };
        let (status, revision) = (certificate.status.clone().unwrap_or_default(), revision_of(request));
        let chain = request.status.as_ref().and_then(|status| status.certificate.as_ref());
        if chain.is_none() || revision <= status.revision.unwrap_or_default() {
            return;
        }
        let parsed = ParsedRequest::from_pem(&request.spec.request.0).unwrap();
        let fits = sorted(&parsed.names.dns_names) == sorted(&certificate.spec.dns_names)
            && request.spec.issuer_ref.name == certificate.spec.issuer_ref.name;
        let stored = self.server.list::<Secret>().into_iter().filter(children::is_next_key_secret);
        let mut keys: Vec<_> = stored.filter_map(|held| PrivateKey::from_pem(entry(&held, TLS_KEY)?).ok()).collect();
        keys.extend(self.chronicle.held_key.clone());
        let has_key = keys.iter().any(|key| parsed.matches_key(key));
        let is_refused = request
            .status
            .iter()
            .flat_map(|status| &status.conditions)
            .any(|held| held.reason.as_deref() == Some("Failed"));
        if fits && has_key && !is_refused {
            let text = format!("{}: {}, by {}", self.now(), again_of(request), request.spec.issuer_ref.name);
            self.chronicle.wasted.push(text);
        }
    }

    /// The process has written a Secret, which was `before`.
    pub fn note_secret(&mut self, before: Option<&Secret>, after: Option<&Secret>) {
        let (had, has) = (before.and_then(good_pair), after.and_then(good_pair));
        if had.is_some() && has.is_none() {
            let text = format!("{}: the good Secret {:?} is lost", self.now(), before.map(ResourceExt::name_any));
            self.chronicle.offences.push(text);
        }
        let is_other = |had: &Held, has: &Held| had.leaf.serial_hex() != has.leaf.serial_hex();
        let is_new = has.as_ref().is_some_and(|has| had.as_ref().is_none_or(|had| is_other(had, has)));
        let noted = after.and_then(|after| after.annotations().get(annotation::CERTIFICATE_NAME).cloned());
        if let (true, Some(certificate)) = (is_new, noted.and_then(|name| self.find::<Certificate>(&name))) {
            // One that was signed before does not fulfil it.
            let signed = has.map(|has| has.leaf.not_before.as_second());
            let uid = certificate.uid().unwrap_or_default();
            if self.chronicle.wishes.get(&uid).is_some_and(|wish| signed >= Some(wish.as_second())) {
                self.chronicle.wishes.remove(&uid);
            }
        }
    }

    fn owner_of(&self, request: &CertificateRequest) -> Option<Certificate> {
        let owner = request.owner_references().first()?;
        self.find::<Certificate>(&owner.name).filter(|held| held.uid().as_deref() == Some(&owner.uid))
    }

    /// What a new certificate is good for.
    fn reason_for(&self, certificate: &Certificate) -> Option<&'static str> {
        let (uid, now) = (certificate.uid().unwrap_or_default(), self.now());
        let name = ObjectName::new(certificate.namespace().unwrap_or_default(), &certificate.spec.secret_name);
        let revision = certificate.status.as_ref().and_then(|status| status.revision);
        let Some(secret) = self.server.get::<Secret>(&name) else {
            return Some(if revision.is_none() { "first" } else { "lost" });
        };
        let Some(pair) = good_pair(&secret) else { return Some(if revision.is_none() { "first" } else { "damaged" }) };
        let noted = secret.annotations().get(annotation::ISSUER_NAME);
        let spares = Fallback::of(certificate).spares;
        let is_other =
            |name: &str| name != certificate.spec.issuer_ref.name && spares.iter().all(|spare| spare.name != name);
        if sorted(&pair.leaf.names.dns_names) != sorted(&certificate.spec.dns_names)
            || noted.is_some_and(|noted| is_other(noted))
            || self.issuer_asked(certificate).is_some_and(|asked| is_other(&asked))
        {
            return Some("spec");
        }
        let (from, until) = (pair.leaf.not_before, pair.leaf.not_after);
        let seed = format!("{uid}/{until}");
        let renewal = renewal::renewal_time(&certificate.spec, from, until, Some(&seed)).at;
        if renewal.is_some_and(|at| at <= now) {
            return Some("renewal");
        }
        if self.ca.revoked.contains(&pair.leaf.serial_hex()) {
            return Some("revoked");
        }
        let suggestion = self.ca.renewals.map(|renewals| renewals(from, until));
        if suggestion.is_some_and(|(start, _)| start <= now) {
            return Some("suggested");
        }
        if self.chronicle.wishes.contains_key(&uid) {
            return Some("by hand");
        }
        let wish = certificate.annotations().get(annotation::RENEW_AT)?;
        let is_done = secret.annotations().get(annotation::RENEWED_AT) == Some(wish);
        let at = wish.parse::<Timestamp>().ok().filter(|_| !is_done)?;
        (at > from && at <= now).then_some("renew-at")
    }

    /// The issuer that the request of the current revision was for.
    fn issuer_asked(&self, certificate: &Certificate) -> Option<String> {
        let revision = certificate.status.as_ref()?.revision?;
        let requests = self.server.list::<CertificateRequest>().into_iter();
        let mut own =
            requests.filter(|request| self.owner_of(request).is_some_and(|own| own.uid() == certificate.uid()));
        Some(own.find(|request| revision_of(request) == revision)?.spec.issuer_ref.name)
    }
}

/// Names a request and whom it is for, whichever object it is.
fn again_of(request: &CertificateRequest) -> String {
    let owner = request.owner_references().first().map(|owner| owner.uid.clone());
    format!("{} of {}", request.name_any(), owner.unwrap_or_default())
}

fn good_pair(secret: &Secret) -> Option<Held> {
    policy::sound_pair(secret).filter(|pair| !policy::is_temporary(&pair.leaf))
}

fn revision_of(request: &CertificateRequest) -> i64 {
    let noted = request.annotations().get(annotation::CERTIFICATE_REVISION);
    noted.and_then(|noted| noted.parse().ok()).unwrap_or_default()
}

pub fn sorted(names: &[String]) -> Vec<&String> {
    let mut names: Vec<_> = names.iter().collect();
    names.sort();
    names
}
