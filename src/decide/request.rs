//! What to do about a CertificateRequest.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt, api::ObjectMeta};

use super::{
    Decision, Note, Trouble,
    authority::{SeenAuthority, SeenKey},
    children::{is_owned_by, owner_references},
    fixed_name,
    issuer_of::{SeenIssuerOf, waiting},
    profile,
    progress::Progress,
    signing,
    solver::{self, NoSolver},
};
use crate::{
    api::{
        CertificateRequest, CertificateRequestStatus, Condition, IssuerReference, Order, OrderSpec, find_condition,
        issuer::AcmeIssuer,
        names::{annotation, condition, event, reason},
        set_condition,
    },
    pki::{ParsedRequest, Usages, validate_dns_name},
};

/// Everything that the decision rests on.
pub struct SeenRequest<'a> {
    pub request: &'a CertificateRequest,
    pub issuer: SeenIssuerOf<'a>,
    /// See [`super::order_of`].
    pub order: Option<&'a Order>,
    /// Which annotations go on to the Order.
    pub copied_annotations: &'a super::template::CopiedAnnotations,
    /// Whether certwright approves what nobody else has approved or denied.
    pub approves: bool,
    /// Why signing without ACME failed.
    pub trouble: Option<&'a Trouble>,
}

/// Every effect that can follow.
#[derive(Clone, Debug, PartialEq)]
pub enum RequestStep {
    CreateOrder(Box<Order>),
    /// Signs a certificate for this time with the issuer's key, puts it into this status and writes that.
    Sign {
        not_before: Timestamp,
        not_after: Timestamp,
        status: Box<CertificateRequestStatus>,
    },
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
    if status.is_final() || is_true(&status, condition::INVALID_REQUEST) {
        return Decision::rest();
    }
    let ended =
        seen.order.filter(|order| is_owned_by(order.meta(), seen.request) && Progress::of(order) != Progress::Open);
    if let (SeenIssuerOf::Refused(why), None) = (seen.issuer, ended) {
        writer.fail(event::NOT_ALLOWED, why);
        return writer.finish(Vec::new());
    }
    if !is_true(&status, condition::APPROVED) {
        if !seen.approves {
            return writer.wait_for_approval(seen.issuer);
        }
        writer.approve();
    }
    // An Order that has come to its end needs no issuer any more.
    if let Some(order) = ended {
        return follow_order(seen, order, writer);
    }
    match seen.issuer {
        SeenIssuerOf::Foreign | SeenIssuerOf::Refused(_) => writer.finish(Vec::new()),
        SeenIssuerOf::Missing => {
            writer.pending(event::ISSUER_NOT_FOUND, &missing_issuer(&seen.request.spec.issuer_ref, seen.request));
            writer.finish(Vec::new())
        }
        SeenIssuerOf::Unserved(why) => {
            writer.pending(event::ISSUER_TYPE_MISSING, why);
            writer.finish(Vec::new())
        }
        SeenIssuerOf::Acme { ready, acme } => sign_by_acme(seen, ready, acme, writer),
        SeenIssuerOf::Ca { ready, authority, .. } => sign_by_ca(seen, ready, authority, writer),
        SeenIssuerOf::SelfSigned { ready, key, .. } => sign_by_itself(seen, ready, key, writer),
    }
}

fn sign_by_acme(
    seen: &SeenRequest<'_>,
    ready: Option<&Condition>,
    acme: &AcmeIssuer,
    mut writer: Writer<'_>,
) -> Decision<RequestStep> {
    if !ready.is_some_and(Condition::is_true) {
        writer.pending(event::ISSUER_NOT_READY, &waiting(&seen.request.spec.issuer_ref, ready));
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

fn sign_by_ca(
    seen: &SeenRequest<'_>,
    ready: Option<&Condition>,
    authority: &SeenAuthority,
    mut writer: Writer<'_>,
) -> Decision<RequestStep> {
    let problem = match authority {
        _ if !ready.is_some_and(Condition::is_true) => {
            Err((event::ISSUER_NOT_READY, waiting(&seen.request.spec.issuer_ref, ready)))
        }
        SeenAuthority::Missing(what) => {
            Err((event::SECRET_MISSING, format!("{what} with the CA's key pair does not exist")))
        }
        SeenAuthority::Unusable(why) => {
            Err((event::SECRET_INVALID_DATA, format!("The issuer's Secret holds no usable CA: {why}")))
        }
        SeenAuthority::Usable(authority) => match authority.problem(writer.now) {
            Some(why) => Err((event::SECRET_INVALID_DATA, format!("The issuer's Secret holds no usable CA: {why}"))),
            None => Ok(authority.not_after()),
        },
    };
    match problem {
        Ok(last) => sign(seen, last, writer),
        Err((event, text)) => {
            writer.pending(event, &text);
            writer.finish(Vec::new())
        }
    }
}

fn sign_by_itself(
    seen: &SeenRequest<'_>,
    ready: Option<&Condition>,
    key: &SeenKey,
    mut writer: Writer<'_>,
) -> Decision<RequestStep> {
    match key {
        _ if !ready.is_some_and(Condition::is_true) => {
            writer.pending(event::ISSUER_NOT_READY, &waiting(&seen.request.spec.issuer_ref, ready));
        }
        SeenKey::Unnamed => writer.fail(
            event::MISSING_ANNOTATION,
            &format!(
                "A self-signed certificate is signed with its own key, but the annotation {} does not say which Secret \
                 holds it",
                annotation::PRIVATE_KEY_SECRET_NAME
            ),
        ),
        SeenKey::Missing(what) => {
            writer.pending(event::MISSING_SECRET, &format!("{what} with the private key does not exist"));
        }
        SeenKey::Unusable(why) => writer.pending(event::ERROR_PARSING_KEY, why),
        SeenKey::Usable(key) => {
            let parsed = ParsedRequest::from_pem(&seen.request.spec.request.0);
            if parsed.as_ref().is_ok_and(|parsed| parsed.subject_text.is_empty()) && seen.trouble.is_none() {
                let text =
                    "The certificate will have no issuer name, because the CSR has no subject; RFC 5280 wants one";
                writer.notes.push(Note::warning(event::BAD_CONFIG, text));
            }
            if parsed.is_err() || parsed.is_ok_and(|parsed| parsed.matches_key(key)) {
                return sign(seen, Timestamp::MAX, writer);
            }
            let text = "The private key in the Secret that the request names is not the one that its CSR is for";
            writer.fail(event::ERROR_KEY_MATCH, text);
        }
    }
    writer.finish(Vec::new())
}

/// Has the certificate signed, to end at `last` at the latest.
fn sign(seen: &SeenRequest<'_>, last: Timestamp, mut writer: Writer<'_>) -> Decision<RequestStep> {
    if let Some(trouble) = seen.trouble {
        writer.fail(event::SIGNING_ERROR, &trouble.message);
        return writer.finish(Vec::new());
    }
    let (not_before, not_after) = match signing::validity(&seen.request.spec, writer.now, last) {
        Ok(validity) => validity,
        Err(why) => {
            writer.fail(event::SIGNING_ERROR, &why);
            return writer.finish(Vec::new());
        }
    };
    writer.set_issued();
    let Writer { status, notes, .. } = writer;
    let sign = RequestStep::Sign { not_before, not_after, status: Box::new(status) };
    Decision::act(std::iter::once(sign).chain(notes.into_iter().map(RequestStep::Publish)).collect())
}

fn follow_order(seen: &SeenRequest<'_>, order: &Order, mut writer: Writer<'_>) -> Decision<RequestStep> {
    let status = order.status.clone().unwrap_or_default();
    let state = status.state.clone().unwrap_or_default();
    let why = status.reason.filter(|reason| !reason.is_empty());
    match Progress::of(order) {
        Progress::Valid => match status.certificate {
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
        Progress::Failed => {
            let name = order.name_any();
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            let text = "Failed to wait for order resource";
            writer.fail(
                event::ORDER_FAILED,
                &format!("{text} {name:?} to become ready: order is in {state:?} state{why}"),
            );
            writer.finish(Vec::new())
        }
        Progress::Open => {
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
    Usages::from_spec(&request.spec.usages, request.spec.is_ca)
        .and_then(|usages| parsed.check_agrees(&usages, request.spec.is_ca))
        .map_err(|error| Refusal::ForGood {
            event: event::REQUEST_PARSING_ERROR,
            message: format!("spec.usages and spec.isCA do not fit the CSR in spec.request: {error}"),
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
        annotations: Some(order_annotations(seen)),
        owner_references: owner_references(request),
        ..ObjectMeta::default()
    };
    Ok(Order { metadata, spec, status: None })
}

/// That it is urgent goes on to the Order, whatever else does.
fn order_annotations(seen: &SeenRequest<'_>) -> BTreeMap<String, String> {
    let noted = seen.request.annotations();
    let mut annotations = seen.copied_annotations.filter(noted);
    let urgent = noted.get(annotation::URGENT);
    annotations.extend(urgent.map(|value| (annotation::URGENT.to_owned(), value.clone())));
    annotations
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
    if let Some(error) = dns_names.iter().find_map(|name| validate_dns_name(name).err()) {
        let message = format!("The CSR has a name that no CA certifies by ACME: {error}");
        return Err(Refusal::ForGood { event: event::INVALID_ORDER, message });
    }
    let profile = profile::wish(request.annotations(), acme)
        .map_err(|message| Refusal::ForGood { event: event::INVALID_ORDER, message })?;
    Ok(OrderSpec {
        request: request.spec.request.clone(),
        issuer_ref: request.spec.issuer_ref.clone(),
        common_name,
        dns_names,
        ip_addresses,
        duration: request.spec.duration.clone().filter(|_| acme.enable_duration_feature),
        profile,
        replaces: request.annotations().get(annotation::REPLACES).cloned(),
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

    /// Somebody else is to approve. What an external issuer says in its conditions stays its own.
    fn wait_for_approval(mut self, issuer: SeenIssuerOf<'_>) -> Decision<RequestStep> {
        if !matches!(issuer, SeenIssuerOf::Foreign) {
            self.pending(event::WAITING_FOR_APPROVAL, "Not signing CertificateRequest until it is Approved");
        }
        self.finish(Vec::new())
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
        self.status.certificate = Some(certificate);
        self.set_issued();
    }

    fn set_issued(&mut self) {
        let text = "Certificate fetched from issuer successfully";
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
