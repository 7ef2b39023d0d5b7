//! What to do about a CertificateRequest.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt, api::ObjectMeta};

use super::{
    Decision, Note, fixed_name,
    order::OrderState,
    solver::{self, NoSolver},
};
use crate::{
    api::{
        CertificateRequest, CertificateRequestStatus, Condition, IssuerReference, Order, OrderSpec, find_condition,
        issuer::AcmeIssuer,
        names::{condition, event, reason},
        set_condition,
    },
    pki::{ParsedRequest, validate_dns_name},
};

/// Everything that the decision rests on.
pub struct SeenRequest<'a> {
    pub request: &'a CertificateRequest,
    pub issuer: SeenIssuerOf<'a>,
    /// The Order of the fixed name, whoever owns it.
    pub order: Option<&'a Order>,
    /// Which annotations go on to the Order.
    pub copied_annotations: &'a super::template::CopiedAnnotations,
}

/// The issuer that an object refers to.
#[derive(Clone, Copy)]
pub enum SeenIssuerOf<'a> {
    /// It signs by ACME.
    Acme {
        ready: Option<&'a Condition>,
        acme: &'a AcmeIssuer,
    },
    Missing,
    /// Of our group, but of a kind or type that this version does not serve.
    Unserved(&'a str),
    /// Of another group: an external issuer answers.
    Foreign,
}

/// Every effect that can follow.
#[derive(Clone, Debug, PartialEq)]
pub enum RequestStep {
    CreateOrder(Box<Order>),
    WriteStatus(Box<CertificateRequestStatus>),
    Publish(Note),
}

/// See the module's description.
pub fn decide(seen: &SeenRequest<'_>, now: Timestamp) -> Decision<RequestStep> {
    if seen.request.meta().deletion_timestamp.is_some() {
        return Decision::rest();
    }
    let status = seen.request.status.clone().unwrap_or_default();
    let mut writer = Writer { former: &status, status: status.clone(), notes: Vec::new(), now };
    if is_true(&status, condition::DENIED) {
        writer.deny();
        return writer.finish(Vec::new());
    }
    if is_final(&status) || is_true(&status, condition::INVALID_REQUEST) {
        return Decision::rest();
    }
    if !is_true(&status, condition::APPROVED) {
        writer.approve();
    }
    // An Order that has come to its end needs no issuer any more.
    let ended =
        seen.order.filter(|order| is_owned_by(order.meta(), seen.request) && OrderState::of(order) != OrderState::Open);
    if let Some(order) = ended {
        return follow_order(seen, order, writer);
    }
    match seen.issuer {
        SeenIssuerOf::Foreign => writer.finish(Vec::new()),
        SeenIssuerOf::Missing => {
            writer.pending(event::ISSUER_NOT_FOUND, &missing_issuer(&seen.request.spec.issuer_ref, seen.request));
            writer.finish(Vec::new())
        }
        SeenIssuerOf::Unserved(why) => {
            writer.pending(event::ISSUER_TYPE_MISSING, why);
            writer.finish(Vec::new())
        }
        SeenIssuerOf::Acme { ready, acme } => sign_by_acme(seen, ready, acme, writer),
    }
}

/// Whether a request has come to its end, one way or the other.
pub fn is_final(status: &CertificateRequestStatus) -> bool {
    let ready = find_condition(&status.conditions, condition::READY);
    ready.is_some_and(|ready| matches!(ready.reason.as_deref(), Some(reason::ISSUED | reason::FAILED | reason::DENIED)))
}

fn sign_by_acme(
    seen: &SeenRequest<'_>,
    ready: Option<&Condition>,
    acme: &AcmeIssuer,
    mut writer: Writer<'_>,
) -> Decision<RequestStep> {
    let issuer = &seen.request.spec.issuer_ref;
    if !ready.is_some_and(Condition::is_true) {
        let why =
            ready.and_then(|ready| ready.message.clone()).unwrap_or_else(|| "it was not looked at yet".to_owned());
        writer.pending(
            event::ISSUER_NOT_READY,
            &format!("Waiting for {} {:?}: {why}", issuer.kind_or_default(), issuer.name),
        );
        return writer.finish(Vec::new());
    }
    let Some(order) = seen.order else {
        return match wanted_order(seen, acme) {
            Ok(order) => {
                writer.pending_quietly(&created(&order));
                writer.finish(vec![RequestStep::CreateOrder(Box::new(order))])
            }
            Err(Refusal::ForGood { event, message }) => {
                writer.fail(event, &message);
                writer.finish(Vec::new())
            }
            Err(Refusal::Uncovered(none)) => {
                writer.pending(event::ORDER_BUILDING_ERROR, &format!("Nothing was ordered: {none}"));
                writer.finish(Vec::new())
            }
        };
    };
    if !is_owned_by(order.meta(), seen.request) {
        writer.pending(
            event::ORDER_GET_ERROR,
            &format!(
                "Order {:?} exists but belongs to another object; delete it or this CertificateRequest",
                order.name_any()
            ),
        );
        return writer.finish(Vec::new());
    }
    follow_order(seen, order, writer)
}

fn follow_order(seen: &SeenRequest<'_>, order: &Order, mut writer: Writer<'_>) -> Decision<RequestStep> {
    let status = order.status.clone().unwrap_or_default();
    let state = status.state.clone().unwrap_or_default();
    let why = status.reason.filter(|reason| !reason.is_empty());
    match OrderState::of(order) {
        OrderState::Valid => match status.certificate {
            Some(certificate) if fits(&certificate.0, seen.request) => {
                writer.issue(certificate);
                writer.finish(Vec::new())
            }
            // Ordering the same once more would give the same: the Certificate tries again, with growing waits.
            Some(_) => {
                let text =
                    "The CA returned a certificate for another key than the one in the CSR, or none that can be read";
                writer.fail(event::ORDER_FAILED, &format!("{text}, to the Order {:?}", order.name_any()));
                writer.finish(Vec::new())
            }
            None => writer.finish(Vec::new()),
        },
        OrderState::Failed => {
            let name = order.name_any();
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            let text = "Failed to wait for order resource";
            writer.fail(
                event::ORDER_FAILED,
                &format!("{text} {name:?} to become ready: order is in {state:?} state{why}"),
            );
            writer.finish(Vec::new())
        }
        OrderState::Open => {
            let name = format!("{}/{}", order.namespace().unwrap_or_default(), order.name_any());
            let text = why.map(|why| format!("Waiting on certificate issuance from order {name}: {state:?}: {why}"));
            writer.pending_quietly(&text.unwrap_or_else(|| created(order)));
            writer.finish(Vec::new())
        }
    }
}

/// What a request says while its Order takes the usual way.
fn created(order: &Order) -> String {
    format!("Created Order resource {}/{}", order.namespace().unwrap_or_default(), order.name_any())
}

/// Whether the certificate's key is the one that was asked for.
fn fits(certificate: &[u8], request: &CertificateRequest) -> bool {
    let Ok(chain) = crate::pki::ParsedCertificate::from_pem_chain(certificate) else { return false };
    let Ok(parsed) = ParsedRequest::from_pem(&request.spec.request.0) else { return false };
    chain.first().is_some_and(|leaf| leaf.public_key_der == parsed.public_key_der)
}

/// Why a request does not become an Order.
enum Refusal {
    /// The request itself is to blame.
    ForGood { event: &'static str, message: String },
    /// The issuer has no solver for a name. Nothing was asked of the CA, so the request waits until it gets one.
    Uncovered(NoSolver),
}

fn wanted_order(seen: &SeenRequest<'_>, acme: &AcmeIssuer) -> Result<Order, Refusal> {
    let request = seen.request;
    let parsed = ParsedRequest::from_pem(&request.spec.request.0).map_err(|error| Refusal::ForGood {
        event: event::REQUEST_PARSING_ERROR,
        message: format!("Failed to decode CSR in spec.request: {error}"),
    })?;
    let spec = order_spec(request, &parsed, acme)?;
    let labels = request.labels().clone();
    let covered: Vec<String> = spec.dns_names.iter().chain(&spec.ip_addresses).cloned().collect();
    if let Some(uncovered) = solver::first_uncovered(&acme.solvers, &covered, &labels) {
        return Err(Refusal::Uncovered(uncovered));
    }
    let metadata = ObjectMeta {
        namespace: request.namespace(),
        name: Some(fixed_name::order(&request.name_any(), &request.uid().unwrap_or_default())),
        labels: Some(labels),
        annotations: Some(seen.copied_annotations.filter(request.annotations())),
        owner_references: request.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    Ok(Order { metadata, spec, status: None })
}

fn order_spec(request: &CertificateRequest, parsed: &ParsedRequest, acme: &AcmeIssuer) -> Result<OrderSpec, Refusal> {
    let common_name = parsed.common_name.clone().filter(|name| !name.is_empty());
    let ip_addresses: Vec<String> = parsed.names.ip_addresses.iter().map(ToString::to_string).collect();
    let dns_names: Vec<String> = parsed.names.dns_names.clone();
    if let Some(name) = &common_name
        && !dns_names.iter().any(|other| same_dns_name(name, other))
        && !ip_addresses.contains(name)
    {
        return Err(Refusal::ForGood {
            event: event::INVALID_ORDER,
            message: format!(
                "The CSR's common name {name:?} is not among its DNS names and IP addresses; a CA that speaks ACME \
                 would refuse it: add it to spec.dnsNames, or leave spec.commonName out"
            ),
        });
    }
    if dns_names.is_empty() && ip_addresses.is_empty() {
        return Err(Refusal::ForGood {
            event: event::INVALID_ORDER,
            message: "The CSR names neither a DNS name nor an IP address; a CA that speaks ACME certifies nothing else"
                .to_owned(),
        });
    }
    Ok(OrderSpec {
        request: request.spec.request.clone(),
        issuer_ref: request.spec.issuer_ref.clone(),
        common_name,
        dns_names,
        ip_addresses,
        duration: request.spec.duration.clone().filter(|_| acme.enable_duration_feature),
        profile: acme.profile.clone().filter(|profile| !profile.is_empty()),
        replaces: None,
    })
}

/// Whether two spellings mean the same name: case does not matter, nor whether it is written in ASCII.
fn same_dns_name(one: &str, other: &str) -> bool {
    let plain = |name: &str| validate_dns_name(name).unwrap_or_else(|_| name.to_ascii_lowercase());
    plain(one) == plain(other)
}

fn missing_issuer(reference: &IssuerReference, request: &CertificateRequest) -> String {
    let (kind, name) = (reference.kind_or_default(), &reference.name);
    if kind == "ClusterIssuer" {
        return format!("Referenced ClusterIssuer {name:?} not found; create it or correct spec.issuerRef");
    }
    let namespace = request.namespace().unwrap_or_default();
    format!("Referenced {kind} {name:?} not found in namespace {namespace:?}; create it or correct spec.issuerRef")
}

/// Whether the object with this metadata is controlled by exactly this object, not by a former one of its name.
pub fn is_owned_by<K: Resource>(metadata: &ObjectMeta, owner: &K) -> bool {
    let uid = owner.meta().uid.as_deref().unwrap_or_default();
    metadata
        .owner_references
        .iter()
        .flatten()
        .any(|reference| reference.controller == Some(true) && reference.uid == uid)
}

fn is_true(status: &CertificateRequestStatus, type_: &str) -> bool {
    find_condition(&status.conditions, type_).is_some_and(Condition::is_true)
}

/// Gathers the new status and what is told about it.
struct Writer<'a> {
    former: &'a CertificateRequestStatus,
    status: CertificateRequestStatus,
    notes: Vec<Note>,
    now: Timestamp,
}

impl Writer<'_> {
    fn approve(&mut self) {
        let text = "Certificate request has been approved by cert-manager.io";
        self.set(condition::APPROVED, "True", reason::APPROVED_BY_US, text);
    }

    fn deny(&mut self) {
        let text = "The CertificateRequest was denied by an approval controller";
        self.set(condition::READY, "False", reason::DENIED, text);
        self.status.failure_time.get_or_insert(Time(self.now));
    }

    fn pending(&mut self, event: &str, message: &str) {
        let known =
            find_condition(&self.former.conditions, condition::READY).and_then(|ready| ready.message.as_deref());
        if known != Some(message) {
            self.notes.push(Note::normal(event, message));
        }
        self.pending_quietly(message);
    }

    fn pending_quietly(&mut self, message: &str) {
        self.set(condition::READY, "False", reason::PENDING, message);
    }

    fn fail(&mut self, event: &str, message: &str) {
        self.set(condition::READY, "False", reason::FAILED, message);
        self.status.failure_time.get_or_insert(Time(self.now));
        self.notes.push(Note::warning(event, message));
    }

    fn issue(&mut self, certificate: k8s_openapi::ByteString) {
        let text = "Certificate fetched from issuer successfully";
        self.status.certificate = Some(certificate);
        self.set(condition::READY, "True", reason::ISSUED, text);
        self.notes.push(Note::normal(event::CERTIFICATE_ISSUED, text));
    }

    fn set(&mut self, type_: &str, status: &str, reason: &str, message: &str) {
        let new = Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            ..Condition::default()
        };
        set_condition(&mut self.status.conditions, new, self.now);
    }

    /// The effects first, then the status that tells of them.
    fn finish(self, mut steps: Vec<RequestStep>) -> Decision<RequestStep> {
        if self.status != *self.former {
            steps.push(RequestStep::WriteStatus(Box::new(self.status)));
        }
        steps.extend(self.notes.into_iter().map(RequestStep::Publish));
        Decision::act(steps)
    }
}

/// The labels of an object, as solvers' selectors see them.
pub fn labels_of<K: Resource>(object: &K) -> BTreeMap<String, String> {
    object.meta().labels.clone().unwrap_or_default()
}
