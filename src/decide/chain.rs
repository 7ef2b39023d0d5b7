//! Which of the chains that a CA offers for a certificate is stored, and which is refused (RFC 8555 section 7.4.2).

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::TroubleClass;
use crate::pki::{self, ParsedCertificate, ParsedRequest};

/// A certificate that is refused may be somebody's mistake on the way, so it is fetched so often before the order fails:
/// another order would cost more.
const FETCHES: u32 = 3;

/// A chain that was verified.
#[derive(Clone, Debug)]
pub struct OfferedChain {
    /// As the CA sent it.
    pub pem: Vec<u8>,
    certificates: Vec<ParsedCertificate>,
}

impl OfferedChain {
    /// Takes a chain if it is one, its certificate is for the key of `request` and has every name that was requested, and
    /// it is in force.
    ///
    /// # Errors
    /// In words for people, when it is to be refused.
    pub fn verify(pem: &[u8], request: &ParsedRequest, now: Timestamp) -> Result<Self, String> {
        let certificates = ParsedCertificate::from_pem_chain(pem)
            .map_err(|error| format!("The CA returned something that is no certificate chain: {error}"))?;
        pki::verify_chain_links(&certificates).map_err(|error| format!("The CA returned a broken chain: {error}"))?;
        let leaf = certificates.first().ok_or("The CA returned no certificate")?;
        if leaf.public_key_der != request.public_key_der {
            return Err("The CA returned a certificate for another key than the one in the CSR".to_owned());
        }
        if let Some(name) = missing_name(leaf, request) {
            return Err(format!("The CA returned a certificate without the name {name}, which was ordered"));
        }
        if leaf.not_after <= now {
            return Err(format!("The CA returned a certificate that expired at {}", leaf.not_after));
        }
        Ok(Self { pem: pem.to_vec(), certificates })
    }

    /// Whether the topmost certificate was issued by a CA of this common name: cert-manager's rule.
    pub fn leads_to(&self, name: &str) -> bool {
        self.root_name() == Some(name)
    }

    /// Whether any certificate of the chain was.
    fn passes(&self, name: &str) -> bool {
        self.certificates.iter().any(|certificate| certificate.issuer_common_name.as_deref() == Some(name))
    }

    fn root_name(&self) -> Option<&str> {
        self.certificates.last()?.issuer_common_name.as_deref()
    }
}

/// The chain that is stored, and what to warn of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenChain {
    /// PEM, leaf first.
    pub pem: Vec<u8>,
    pub warning: Option<String>,
}

/// Chooses among the default chain and the others. The one that leads to `preferred` is taken, or else one that passes a
/// CA of that name, or else the default one. `unread` says why there may be another one that could not be had.
pub fn choose(
    default: OfferedChain,
    others: &[OfferedChain],
    preferred: Option<&str>,
    unread: Option<&str>,
) -> ChosenChain {
    let Some(name) = preferred.filter(|name| !name.is_empty()) else {
        return ChosenChain { pem: default.pem, warning: None };
    };
    let all = || std::iter::once(&default).chain(others);
    let found = all().find(|chain| chain.leads_to(name)).or_else(|| all().find(|chain| chain.passes(name)));
    if let Some(why) = unread.filter(|_| !found.is_some_and(|found| found.leads_to(name))) {
        let warning = format!(
            "A further chain of the CA, which may lead to {name:?}, could not be had, so the best of the others is used: {why}"
        );
        return ChosenChain { pem: found.unwrap_or(&default).pem.clone(), warning: Some(warning) };
    }
    if let Some(found) = found {
        return ChosenChain { pem: found.pem.clone(), warning: None };
    }
    let offered: BTreeSet<String> = all().filter_map(OfferedChain::root_name).map(|name| format!("{name:?}")).collect();
    let offered = offered.into_iter().collect::<Vec<_>>().join(", ");
    let warning = format!(
        "The CA offers no chain to {name:?}, so its default chain is used; the chains it offers lead to {offered}"
    );
    ChosenChain { pem: default.pem, warning: Some(warning) }
}

/// What a refused chain means, after so many failures before it.
pub fn class_of_refusal(failures: u32) -> TroubleClass {
    if failures.saturating_add(1) < FETCHES { TroubleClass::Transient } else { TroubleClass::Final }
}

/// The first requested name that the certificate does not have. More than was requested is the CA's affair.
pub(super) fn missing_name(leaf: &ParsedCertificate, request: &ParsedRequest) -> Option<String> {
    let requested = request.names.clone().normalized();
    let held = leaf.names.clone().normalized();
    let missing = |requested: &[String], held: &[String]| requested.iter().find(|name| !held.contains(name)).cloned();
    missing(&requested.dns_names, &held.dns_names)
        .or_else(|| missing(&requested.uris, &held.uris))
        .or_else(|| missing(&requested.email_addresses, &held.email_addresses))
        .or_else(|| {
            let address = requested.ip_addresses.iter().find(|address| !held.ip_addresses.contains(address))?;
            Some(address.to_string())
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};

    use super::*;
    use crate::{
        decide::testing::{DAY, chain, key, now},
        pki::{CertificateRequestTemplate, SubjectAltNames},
    };

    fn request(names: &[&str]) -> ParsedRequest {
        let names = SubjectAltNames {
            dns_names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..SubjectAltNames::default()
        };
        let template = CertificateRequestTemplate { names, ..CertificateRequestTemplate::default() };
        ParsedRequest::from_der(&template.build(key(0)).unwrap()).unwrap()
    }

    #[test]
    fn what_was_not_ordered_is_refused() {
        let request = request(&["a.example.com", "b.example.com"]);
        let names = ["a.example.com", "b.example.com"];
        let good = chain(key(0), &names, -DAY, DAY);
        OfferedChain::verify(good.as_bytes(), &request, now()).unwrap();
        let (leaf, authority) = good.split_at(good.find("-----END").unwrap() + "-----END CERTIFICATE-----\n".len());
        let upside_down = format!("{authority}{leaf}");
        for (pem, text) in [
            ("<html>", "something that is no certificate chain"),
            (&upside_down, "a broken chain"),
            (&chain(key(1), &names, -DAY, DAY), "for another key than the one in the CSR"),
            (&chain(key(0), &names[..1], -DAY, DAY), "without the name b.example.com"),
            (&chain(key(0), &names, -DAY, 0), "that expired at 2026-03-01T12:00:00Z"),
        ] {
            let refused = OfferedChain::verify(pem.as_bytes(), &request, now()).unwrap_err();
            assert!(refused.starts_with("The CA returned ") && refused.contains(text), "{refused}");
        }
    }

    #[test]
    fn it_is_fetched_again_before_the_order_fails() {
        use TroubleClass::{Final, Transient};
        assert_eq!([0, 1, 2, 9, u32::MAX].map(class_of_refusal), [Transient, Transient, Final, Final, Final]);
    }

    type Ca = CertifiedIssuer<'static, KeyPair>;

    fn ca_params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    /// Leaf, and above it CAs of these names, of which the last one is named as issuer only.
    fn offered(names: &[&str]) -> OfferedChain {
        let mut issuer: Option<Ca> = None;
        let mut pem = String::new();
        for name in names.iter().rev() {
            let next = match &issuer {
                None => Ca::self_signed(ca_params(name), KeyPair::generate().unwrap()).unwrap(),
                Some(above) => {
                    let next = Ca::signed_by(ca_params(name), KeyPair::generate().unwrap(), above).unwrap();
                    pem.insert_str(0, &next.pem());
                    next
                }
            };
            issuer = Some(next);
        }
        let request = request(&["example.com"]);
        let mut params = CertificateParams::new(vec!["example.com".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let subject = KeyPair::from_pem(&crate::decide::testing::pem(key(0))).unwrap();
        pem.insert_str(0, &params.signed_by(&subject, &issuer.unwrap()).unwrap().pem());
        OfferedChain::verify(pem.as_bytes(), &request, now()).unwrap()
    }

    #[test]
    fn the_preferred_chain_is_found() {
        let default = offered(&["E5", "Root X1", "Old Root"]);
        let others = [offered(&["E5", "Root X2"]), offered(&["E5", "Root X1"])];
        let chosen = |preferred: Option<&str>| {
            let choice = choose(default.clone(), &others, preferred, None);
            let position = std::iter::once(&default).chain(&others).position(|chain| chain.pem == choice.pem);
            (position.unwrap(), choice.warning)
        };
        assert_eq!(chosen(None), (0, None));
        assert_eq!(chosen(Some("")), (0, None));
        assert_eq!(chosen(Some("Old Root")), (0, None));
        assert_eq!(chosen(Some("Root X2")), (1, None));
        assert_eq!(chosen(Some("Root X1")), (2, None), "leading to it goes before passing it");
        assert_eq!(chosen(Some("E5")), (0, None), "all pass it");
        let unread = |preferred| choose(default.clone(), &others, Some(preferred), Some("no answer"));
        assert_eq!(unread("Root X2"), ChosenChain { pem: others[0].pem.clone(), warning: None }, "it was there");
        for (preferred, expected) in [("Root X9", &default), ("E5", &default)] {
            let choice = unread(preferred);
            assert_eq!(choice.pem, expected.pem, "{preferred}");
            assert!(choice.warning.unwrap().ends_with(": no answer"), "{preferred}");
        }
        let (position, warning) = chosen(Some("Root X9"));
        assert_eq!(position, 0);
        let text = "no chain to \"Root X9\", so its default chain is used; the chains it offers lead to \"Old Root\", \
                    \"Root X1\", \"Root X2\"";
        assert!(warning.as_deref().unwrap().ends_with(text), "{warning:?}");
    }
}
