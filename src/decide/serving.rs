//! The certificates that a server serves with, the webhook or that of the metrics: a CA in a Secret that all replicas share,
//! and in each replica a certificate from it, which is kept in memory alone. Both are renewed after two thirds of their
//! lifetime; what is expired, damaged or gone is made anew.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;

use super::{Decision, Wake, authority::Authority, later};
use crate::pki::ParsedCertificate;

/// How long the CA is valid.
pub const AUTHORITY_LIFETIME: SignedDuration = SignedDuration::from_hours(365 * 24);

/// How far clocks may be behind.
pub const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// A new CA is used so much later, if the former certificate can serve as long: its certificate has to be injected first.
const SPREADING: SignedDuration = SignedDuration::from_mins(1);

/// What there is.
#[derive(Clone, Copy, Debug)]
pub struct SeenServing<'a> {
    /// The Secret of the CA, if it exists.
    pub secret: Option<&'a Secret>,
    pub leaf: Option<&'a Leaf>,
}

/// The certificate in use.
#[derive(Clone, Debug)]
pub struct Leaf {
    pub certificate: ParsedCertificate,
    /// The certificate of the CA that signed it, as DER.
    pub authority: Vec<u8>,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServingStep {
    /// Make a CA and write it into the Secret; why.
    MakeAuthority(&'static str),
    /// Make a certificate from the CA in the Secret.
    MakeLeaf,
}

/// Keeps the CA and the certificate valid. A CA that is due is good as long as it is valid: whether another one can be written is a
/// matter of its own.
pub fn decide(seen: &SeenServing<'_>, now: Timestamp) -> Decision<ServingStep> {
    let authority = match usable(seen.secret, now) {
        Ok(authority) => authority,
        Err(why) => return Decision::act(vec![ServingStep::MakeAuthority(why)]),
    };
    let Some(own) = authority.certificate() else {
        return Decision::act(vec![ServingStep::MakeAuthority("it holds no certificate")]);
    };
    let renewal_of_authority = renewal_time(own);
    let leaf_at = seen.leaf.map_or(Timestamp::MIN, |leaf| {
        let end = renewal_time(&leaf.certificate);
        if leaf.authority == own.der { end } else { end.min(later(own.not_before, CLOCK_SKEW + SPREADING)) }
    });
    if leaf_at <= now {
        return Decision::act(vec![ServingStep::MakeLeaf]);
    }
    if renewal_of_authority <= now {
        return Decision::act(vec![ServingStep::MakeAuthority("it is due")]);
    }
    Decision { steps: Vec::new(), wake: Wake::At(leaf_at.min(renewal_of_authority)) }
}

/// The CA in the Secret.
///
/// # Errors
/// Why another one is needed.
pub fn usable(secret: Option<&Secret>, now: Timestamp) -> Result<Authority, &'static str> {
    let secret = secret.ok_or("there is none")?;
    let authority = Authority::from_secret(secret).map_err(|_| "it cannot be used")?;
    match authority.certificate() {
        Some(own) if own.not_before > now => Err("it is not valid yet"),
        Some(own) if own.not_after <= now => Err("it is expired"),
        Some(_) => Ok(authority),
        None => Err("it holds no certificate"),
    }
}

/// After two thirds of the time for which it was made. It is dated back for clocks that are behind.
fn renewal_time(certificate: &ParsedCertificate) -> Timestamp {
    let made = later(certificate.not_before, CLOCK_SKEW);
    later(made, certificate.not_after.duration_since(made) * 2 / 3)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        decide::testing::{at, key, object, pem},
        pki::{CertificateRequestTemplate, Issuance, ParsedRequest, PrivateKey, Usages},
    };

    const DAY: i64 = 24 * 3600;
    /// What is left of two thirds of a lifetime that begins later by [`CLOCK_SKEW`].
    const THIRD: i64 = CLOCK_SKEW.as_secs() / 3;

    fn authority(key: &PrivateKey, from: i64, until: i64) -> ParsedCertificate {
        let common_name = Some("ca".to_owned());
        let template = CertificateRequestTemplate { common_name, is_ca: true, ..CertificateRequestTemplate::default() };
        let request = ParsedRequest::from_der(&template.build(key).unwrap()).unwrap();
        let usages = Usages::from_spec::<&str>(&[], true).unwrap();
        let issuance = Issuance {
            request: &request,
            usages: &usages,
            is_ca: true,
            not_before: at(from),
            not_after: at(until),
            crl_distribution_points: &[],
            ocsp_servers: &[],
            issuing_certificate_urls: &[],
        };
        ParsedCertificate::from_der(&issuance.self_sign(key).unwrap()).unwrap()
    }

    fn secret(certificate: &ParsedCertificate, key: &PrivateKey) -> Secret {
        let data = json!({ "tls.crt": certificate.to_pem(), "tls.key": pem(key), "ca.crt": certificate.to_pem() });
        let encoded: serde_json::Map<_, _> = data
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, text)| {
                use base64::Engine as _;
                let text = base64::engine::general_purpose::STANDARD.encode(text.as_str().unwrap());
                (name.clone(), json!(text))
            })
            .collect();
        object(json!({ "metadata": { "name": "ca" }, "data": encoded }))
    }

    fn leaf(authority: &ParsedCertificate, from: i64, until: i64) -> Leaf {
        let pem = crate::decide::testing::chain(key(2), &["a.test"], from, until);
        let certificate = ParsedCertificate::from_pem_chain(pem.as_bytes()).unwrap().remove(0);
        Leaf { certificate, authority: authority.der.clone() }
    }

    fn decided(secret: Option<&Secret>, leaf: Option<&Leaf>, seconds: i64) -> Decision<ServingStep> {
        decide(&SeenServing { secret, leaf }, at(seconds))
    }

    #[test]
    fn from_nothing_to_rest() {
        assert_eq!(decided(None, None, 0).steps, [ServingStep::MakeAuthority("there is none")]);
        let own = authority(key(0), 0, 300 * DAY);
        let secret = secret(&own, key(0));
        assert_eq!(decided(Some(&secret), None, 0).steps, [ServingStep::MakeLeaf]);
        let leaf = leaf(&own, 0, 6 * DAY);
        assert_eq!(decided(Some(&secret), Some(&leaf), 0), Decision::rest_until(at(4 * DAY + THIRD)));
    }

    #[test]
    fn what_is_due_expired_or_damaged_is_made_anew() {
        let own = authority(key(0), 0, 300 * DAY);
        let held = secret(&own, key(0));
        let leaf = leaf(&own, 0, 6 * DAY);
        assert_eq!(decided(Some(&held), Some(&leaf), 4 * DAY + THIRD).steps, [ServingStep::MakeLeaf]);
        assert_eq!(decided(Some(&held), Some(&leaf), 50 * DAY).steps, [ServingStep::MakeLeaf]);
        assert_eq!(decided(Some(&held), Some(&leaf), 301 * DAY).steps, [ServingStep::MakeAuthority("it is expired")]);
        assert_eq!(decided(Some(&held), None, -DAY).steps, [ServingStep::MakeAuthority("it is not valid yet")]);
        for damaged in [secret(&own, key(1)), Secret::default()] {
            let decision = decided(Some(&damaged), Some(&leaf), 0);
            assert_eq!(decision.steps, [ServingStep::MakeAuthority("it cannot be used")]);
        }
    }

    /// Whether another one can be written is not known.
    #[test]
    fn a_ca_that_is_due_is_good_until_it_ends() {
        let own = authority(key(0), 0, 300 * DAY);
        let held = secret(&own, key(0));
        let due = 200 * DAY + THIRD;
        assert_eq!(decided(Some(&held), None, due).steps, [ServingStep::MakeLeaf]);
        let leaf = leaf(&own, due, due + 6 * DAY);
        assert_eq!(decided(Some(&held), Some(&leaf), due).steps, [ServingStep::MakeAuthority("it is due")]);
        assert_eq!(decided(Some(&held), Some(&leaf), due + 5 * DAY).steps, [ServingStep::MakeLeaf]);
    }

    /// A short life is over soon, but not at once: else there would be no end of making new ones.
    #[test]
    fn a_short_life_lasts_for_a_while() {
        let own = authority(key(0), 0, 300 * DAY);
        let held = secret(&own, key(0));
        let leaf = leaf(&own, 1000 - CLOCK_SKEW.as_secs(), 1012);
        assert_eq!(decided(Some(&held), Some(&leaf), 1000), Decision::rest_until(at(1008)));
        assert_eq!(decided(Some(&held), Some(&leaf), 1008).steps, [ServingStep::MakeLeaf]);
    }

    #[test]
    fn a_new_ca_is_used_once_it_has_spread() {
        let (former, new) = (authority(key(0), 0, 300 * DAY), authority(key(1), DAY, 300 * DAY));
        let secret = secret(&new, key(1));
        let leaf = leaf(&former, 0, 6 * DAY);
        let spread = DAY + (CLOCK_SKEW + SPREADING).as_secs();
        assert_eq!(decided(Some(&secret), Some(&leaf), DAY + 300), Decision::rest_until(at(spread)));
        assert_eq!(decided(Some(&secret), Some(&leaf), spread).steps, [ServingStep::MakeLeaf]);
        let ending = self::leaf(&former, 0, DAY + 310);
        assert_eq!(decided(Some(&secret), Some(&ending), DAY + 300).steps, [ServingStep::MakeLeaf]);
    }
}
