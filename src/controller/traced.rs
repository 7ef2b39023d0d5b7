//! Passes as spans: which object, for which issuance, what came of it and when it is looked at next.

use std::time::SystemTime;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};

use crate::{
    api::{
        CertificateRequest, CertificateRequestStatus, Condition, find_condition,
        names::{KIND_CERTIFICATE, KIND_CERTIFICATE_REQUEST, KIND_ORDER, condition},
    },
    cluster::{Hub, Key, Kind, ObjectName},
    decide::{Wake, certificate::next_request_name},
    measure::span::{Span, Within, is_heard},
};

/// A pass that is under way.
pub(super) struct Traced<'a> {
    hub: &'a Hub,
    key: &'a Key,
    span: Span,
    issuance: Option<Issuance>,
}

/// What an issuance looked like when the pass began.
struct Issuance {
    request: ObjectName,
    /// Of the CertificateRequest.
    uid: String,
    began: SystemTime,
    is_over: bool,
}

impl<'a> Traced<'a> {
    pub(super) fn begin(hub: &'a Hub, key: &'a Key) -> Self {
        let issuance = if is_heard() { issuance_of(hub, key) } else { None };
        let span = Span::pass(key.kind.as_str(), issuance.as_ref().map(|issuance| issuance.uid.as_str()));
        Self { hub, key, span: of_object(span, key), issuance }
    }

    pub(super) fn around<F: Future>(&self, work: F) -> Within<F> {
        self.span.around(work)
    }

    pub(super) fn end(self, (outcome, wake): (&str, Wake)) {
        if !self.span.is_kept() {
            return;
        }
        self.span.text("certwright.outcome", || outcome.to_owned());
        self.span.text("certwright.wake", || wake.time().map_or_else(|| "on change".to_owned(), |at| at.to_string()));
        self.span.tell_writes();
        let known = self.issuance.as_ref().map(|issuance| issuance.uid.clone());
        let issuance = known.or_else(|| issuance_of(self.hub, self.key).map(|issuance| issuance.uid));
        self.span.belongs_to(issuance.as_deref());
        if let Some(issuance) = &self.issuance
            && let Some(outcome) = self.end_of(issuance)
        {
            let whole = Span::issuance(&issuance.uid, issuance.began).with("certwright.outcome", || outcome.to_owned());
            let whole = of_object(whole, self.key);
            if outcome != ISSUED {
                whole.failed(|| outcome.to_owned());
            }
        }
    }

    /// The outcome, if this pass brought it: for a Certificate once its Secret has what was issued.
    fn end_of(&self, issuance: &Issuance) -> Option<&'static str> {
        match self.key.kind {
            Kind::Certificate => {
                let certificate = self.hub.certificates.get(&self.key.object)?;
                (next_request_name(&certificate) != issuance.request.name).then_some(ISSUED)
            }
            Kind::CertificateRequest if !issuance.is_over => {
                let request = self.hub.certificate_requests.get(&self.key.object)?;
                let status = request.status.as_ref().filter(|status| status.is_final())?;
                let is_issued = find_condition(&status.conditions, condition::READY).is_some_and(Condition::is_true);
                match is_issued {
                    true if owner(request.meta(), KIND_CERTIFICATE).is_some() => None,
                    true => Some(ISSUED),
                    false => Some("failed"),
                }
            }
            _ => None,
        }
    }
}

/// The outcome of an issuance that went well.
const ISSUED: &str = "issued";

fn of_object(span: Span, key: &Key) -> Span {
    span.with("certwright.kind", || key.kind.as_str().to_owned())
        .with("k8s.namespace.name", || key.object.namespace.clone())
        .with("certwright.name", || key.object.name.clone())
}

/// The issuance that an object is for.
fn issuance_of(hub: &Hub, key: &Key) -> Option<Issuance> {
    let object = &key.object;
    match key.kind {
        Kind::Certificate => {
            let name = next_request_name(&*hub.certificates.get(object)?);
            of_request(hub, ObjectName::new(object.namespace.clone(), name))
        }
        Kind::CertificateRequest => of_request(hub, object.clone()),
        Kind::Order => of_order(hub, object),
        Kind::Challenge => {
            let challenge = hub.challenges.get(object)?;
            of_order(hub, &owner(challenge.meta(), KIND_ORDER)?)
        }
        Kind::ClusterIssuer | Kind::Issuer | Kind::Source(_) | Kind::Target(_) => None,
    }
}

fn of_order(hub: &Hub, name: &ObjectName) -> Option<Issuance> {
    let order = hub.orders.get(name)?;
    of_request(hub, owner(order.meta(), KIND_CERTIFICATE_REQUEST)?)
}

fn of_request(hub: &Hub, name: ObjectName) -> Option<Issuance> {
    let request = hub.certificate_requests.get(&name)?;
    let began = request.creation_timestamp().map_or_else(SystemTime::now, |at| at.0.into());
    Some(Issuance { request: name, uid: request.uid()?, began, is_over: is_over(&request) })
}

fn is_over(request: &CertificateRequest) -> bool {
    request.status.as_ref().is_some_and(CertificateRequestStatus::is_final)
}

/// The name of the owner of this kind.
fn owner(metadata: &ObjectMeta, kind: &str) -> Option<ObjectName> {
    let owner = metadata.owner_references.iter().flatten().find(|owner| owner.kind == kind)?;
    Some(ObjectName::new(metadata.namespace.clone().unwrap_or_default(), owner.name.clone()))
}
