//! What the issuer made of a CertificateRequest.

use jiff::Timestamp;

use crate::{
    api::{
        CertificateRequest, Condition, find_condition,
        names::{condition, reason},
    },
    decide::chain::missing_name,
    pki::{self, ParsedCertificate, ParsedRequest, PrivateKey},
};

/// Why the issuer, or who approves, will never answer the request with a certificate.
pub(super) fn refusal_of(request: &CertificateRequest) -> Option<&Condition> {
    let conditions = &request.status.as_ref()?.conditions;
    let has = |type_: &str| find_condition(conditions, type_).filter(|found| found.is_true());
    let ready = find_condition(conditions, condition::READY);
    let ended = ready.filter(|ready| matches!(ready.reason.as_deref(), Some(reason::FAILED | reason::DENIED)));
    has(condition::DENIED).or_else(|| has(condition::INVALID_REQUEST)).or(ended)
}

/// That the issuer answered with a certificate.
pub(super) fn issue_of(request: &CertificateRequest) -> Option<&Condition> {
    let ready = find_condition(&request.status.as_ref()?.conditions, condition::READY)?;
    (ready.reason.as_deref() == Some(reason::ISSUED)).then_some(ready)
}

/// What keeps a request from being answered, in its own words. The usual steps are not obstacles.
pub(super) fn obstacle(ready: &Condition) -> Option<String> {
    let text = ready.message.clone()?;
    let is_usual = ready.reason.as_deref() != Some(reason::PENDING) || text.starts_with("Created Order resource ");
    (!is_usual).then_some(text)
}

/// The first certificate of the chain, if it is for this key, has every name that was requested and is in force.
pub(super) fn verified_leaf(
    chain: &[u8],
    key: &PrivateKey,
    request: &CertificateRequest,
    now: Timestamp,
) -> Result<ParsedCertificate, String> {
    let chain = ParsedCertificate::from_pem_chain(chain)
        .map_err(|error| format!("The issuer returned something that is no certificate chain: {error}"))?;
    pki::verify_chain_links(&chain).map_err(|error| format!("The issuer returned a broken chain: {error}"))?;
    let leaf = chain.into_iter().next().ok_or("The issuer returned no certificate")?;
    if !leaf.matches_key(key) {
        return Err("The issuer returned a certificate for another key than the one requested".to_owned());
    }
    let requested = ParsedRequest::from_pem(&request.spec.request.0).ok();
    if let Some(name) = requested.and_then(|requested| missing_name(&leaf, &requested)) {
        return Err(format!("The issuer returned a certificate without the name {name}, which was requested"));
    }
    if leaf.not_after <= now {
        return Err(format!("The issuer returned a certificate that expired at {}", leaf.not_after));
    }
    Ok(leaf)
}
