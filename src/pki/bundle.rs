//! Putting certificates into the order of a chain, whatever order they came in.

use std::collections::{HashMap, HashSet};

use super::{Error, ParsedCertificate};

/// The most certificates that are put in order.
pub const MAX_CERTIFICATES: usize = 1000;

/// How many signatures are checked for each certificate. One is enough unless CAs share a name.
const CHECKS_PER_CERTIFICATE: usize = 4;

/// A chain in order, and the certificate to trust.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The leaf, then the issuer of each, up to the highest that is not self-signed. A self-signed certificate that is
    /// alone is a chain of its own.
    pub chain: Vec<ParsedCertificate>,
    /// The self-signed root, or else the highest certificate if there is more than one.
    pub ca: Option<ParsedCertificate>,
}

/// Puts the certificates of one chain in order. Repeated ones count once. Every signature along the chain is checked;
/// dates and CA bits are not.
///
/// # Errors
/// [`Error::ChainLength`] for none or more than [`MAX_CERTIFICATES`], [`Error::Unlinked`] when they are not one chain.
pub fn bundle(certificates: Vec<ParsedCertificate>) -> Result<Bundle, Error> {
    let mut chain = in_order(unique(certificates)?)?;
    let alone = chain.len() == 1;
    let ca = match chain.last() {
        Some(last) if last.is_self_signed() => {
            if alone {
                chain.last().cloned()
            } else {
                chain.pop()
            }
        }
        last => last.filter(|_| !alone).cloned(),
    };
    Ok(Bundle { chain, ca })
}

fn unique(mut certificates: Vec<ParsedCertificate>) -> Result<Vec<ParsedCertificate>, Error> {
    let mut seen = HashSet::new();
    certificates.retain(|certificate| seen.insert(certificate.der.clone()));
    match certificates.len() {
        1..=MAX_CERTIFICATES => Ok(certificates),
        count => Err(Error::ChainLength { count, limit: MAX_CERTIFICATES }),
    }
}

/// From the leaf to its issuer and so on, until all are used up.
fn in_order(certificates: Vec<ParsedCertificate>) -> Result<Vec<ParsedCertificate>, Error> {
    let mut checks = certificates.len() * CHECKS_PER_CERTIFICATE;
    let mut order = vec![leaf(&certificates)?];
    let mut unused: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (index, certificate) in certificates.iter().enumerate().filter(|(index, _)| *index != order[0]) {
        unused.entry(&certificate.subject_der).or_default().push(index);
    }
    while let Some(issuer) = order.last().and_then(|last| issuer(&certificates, *last, &unused, &mut checks)) {
        if let Some(same_name) = unused.get_mut(certificates[issuer].subject_der.as_slice()) {
            same_name.retain(|index| *index != issuer);
        }
        order.push(issuer);
    }
    if let Some(left_over) = unused.values().flatten().min() {
        let top = &certificates[order[order.len() - 1]];
        return Err(unlinked(&certificates[*left_over], &format!("the chain ends with {top}, {}", wants(top))));
    }
    let mut certificates: Vec<_> = certificates.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|index| certificates[index].take()).collect())
}

/// The one that issued none of the others.
fn leaf(certificates: &[ParsedCertificate]) -> Result<usize, Error> {
    let issuers: HashSet<&[u8]> =
        certificates.iter().filter(|one| !names_itself(one)).map(|one| &one.issuer_der[..]).collect();
    let issued_nothing = |one: &ParsedCertificate| !issuers.contains(one.subject_der.as_slice());
    let mut candidates = positions(certificates, issued_nothing);
    if candidates.len() != 1 {
        // Names alone do not tell when a leaf shares its CA's name.
        let end_entities = positions(certificates, |one| !one.is_ca);
        candidates = if end_entities.len() == 1 { end_entities } else { candidates };
    }
    match candidates[..] {
        [one] => Ok(one),
        [first, second, ..] => {
            let first = &certificates[first];
            Err(unlinked(&certificates[second], &format!("neither it nor {first} issued any of them")))
        }
        [] => Err(unlinked(&certificates[0], "they issued one another in a circle")),
    }
}

fn positions(certificates: &[ParsedCertificate], wanted: impl Fn(&ParsedCertificate) -> bool) -> Vec<usize> {
    certificates.iter().enumerate().filter(|(_, one)| wanted(one)).map(|(index, _)| index).collect()
}

/// The unused certificate whose name and key made `certificates[index]`.
fn issuer(
    certificates: &[ParsedCertificate],
    index: usize,
    unused: &HashMap<&[u8], Vec<usize>>,
    checks: &mut usize,
) -> Option<usize> {
    let certificate = &certificates[index];
    let mut candidates = unused.get(certificate.issuer_der.as_slice())?.clone();
    // The key identifier is a hint that saves checks where CAs share a name.
    candidates.sort_by_key(|candidate| {
        let id = &certificates[*candidate].subject_key_id;
        id.is_none() || *id != certificate.authority_key_id
    });
    candidates.into_iter().find(|candidate| {
        let affordable = *checks > 0;
        *checks = checks.saturating_sub(1);
        affordable && certificate.verify_issued_by(&certificates[*candidate]).is_ok()
    })
}

fn names_itself(certificate: &ParsedCertificate) -> bool {
    certificate.subject_der == certificate.issuer_der
}

fn wants(top: &ParsedCertificate) -> String {
    if names_itself(top) {
        "which is its own issuer".to_owned()
    } else {
        format!("whose issuer {} is missing or did not sign it", top.issuer_text)
    }
}

fn unlinked(certificate: &ParsedCertificate, problem: &str) -> Error {
    Error::Unlinked { subject: certificate.to_string(), problem: problem.to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};

    use super::*;

    type Ca = CertifiedIssuer<'static, KeyPair>;

    fn params(name: &str, is_ca: bool) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = if is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::NoCa };
        params
    }

    fn root(name: &str) -> Ca {
        CertifiedIssuer::self_signed(params(name, true), KeyPair::generate().unwrap()).unwrap()
    }

    fn ca(name: &str, issuer: &Ca) -> Ca {
        CertifiedIssuer::signed_by(params(name, true), KeyPair::generate().unwrap(), issuer).unwrap()
    }

    fn leaf_of(name: &str, issuer: &Ca) -> ParsedCertificate {
        let certificate = params(name, false).signed_by(&KeyPair::generate().unwrap(), issuer).unwrap();
        ParsedCertificate::from_der(certificate.der()).unwrap()
    }

    fn parsed(ca: &Ca) -> ParsedCertificate {
        ParsedCertificate::from_der(ca.der()).unwrap()
    }

    /// What [`bundle`] makes of these, by name: the chain, then the CA.
    fn names(certificates: &[&ParsedCertificate]) -> (Vec<String>, Option<String>) {
        let bundle = bundle(certificates.iter().map(|one| (*one).clone()).collect()).unwrap();
        let name = |one: &ParsedCertificate| one.common_name.clone().unwrap();
        (bundle.chain.iter().map(name).collect(), bundle.ca.as_ref().map(name))
    }

    fn refused(certificates: &[&ParsedCertificate]) -> String {
        bundle(certificates.iter().map(|one| (*one).clone()).collect()).unwrap_err().to_string()
    }

    #[test]
    fn any_order_becomes_the_order_of_the_chain() {
        let root = root("root");
        let upper = ca("upper", &root);
        let lower = ca("lower", &upper);
        let leaf = leaf_of("leaf", &lower);
        let [root, upper, lower] = [parsed(&root), parsed(&upper), parsed(&lower)];
        let chain = || ["leaf", "lower", "upper"].map(str::to_owned).to_vec();
        assert_eq!(names(&[&upper, &root, &leaf, &lower, &upper]), (chain(), Some("root".into())));
        assert_eq!(names(&[&lower, &upper, &leaf]), (chain(), Some("upper".into())), "without the root");
        assert_eq!(names(&[&leaf]), (vec!["leaf".into()], None));
        assert_eq!(names(&[&upper]), (vec!["upper".into()], None));
    }

    #[test]
    fn a_lone_self_signed_certificate_is_chain_and_ca() {
        let root = parsed(&root("root"));
        assert_eq!(names(&[&root, &root]), (vec!["root".into()], Some("root".into())));
    }

    #[test]
    fn a_leaf_may_have_the_name_of_its_root() {
        let root = root("same");
        let leaf = leaf_of("same", &root);
        assert!(!leaf.is_self_signed());
        assert_eq!(names(&[&parsed(&root), &leaf]), (vec!["same".into()], Some("same".into())));
        let between = ca("between", &root);
        let leaf = leaf_of("same", &between);
        let found = names(&[&parsed(&root), &parsed(&between), &leaf]);
        assert_eq!(found, (vec!["same".into(), "between".into()], Some("same".into())));
    }

    #[test]
    fn a_renewed_root_signed_by_the_old_one_is_followed() {
        let old = root("root");
        let new = ca("root", &old);
        let leaf = leaf_of("leaf", &new);
        let bundle = bundle(vec![parsed(&old), leaf, parsed(&new)]).unwrap();
        assert_eq!(bundle.chain[1].der, parsed(&new).der);
        assert_eq!(bundle.ca.unwrap().der, parsed(&old).der);
    }

    #[test]
    fn what_does_not_link_is_named() {
        let (one, other) = (root("one"), root("other"));
        let leaf = leaf_of("leaf", &one);
        assert_eq!(
            refused(&[&leaf, &parsed(&other)]),
            "the certificate CN=other does not fit into a chain with the others: the chain ends with CN=leaf, \
             whose issuer CN=one is missing or did not sign it"
        );
        assert_eq!(
            refused(&[&leaf, &parsed(&one), &leaf_of("second", &one)]),
            "the certificate CN=second does not fit into a chain with the others: neither it nor CN=leaf issued any \
             of them"
        );
        assert!(refused(&[&leaf, &parsed(&one), &parsed(&other)]).contains("CN=one, which is its own issuer"));
        assert!(refused(&[&leaf, &parsed(&root("one"))]).contains("did not sign it"), "same name, another key");
        assert_eq!(refused(&[]), "a chain has 1 to 1000 certificates, not 0");
    }

    #[test]
    fn a_thousand_certificates_are_put_in_order() {
        let mut issuer = root("0");
        let mut certificates = vec![parsed(&issuer)];
        for number in 1..=MAX_CERTIFICATES {
            issuer = ca(&number.to_string(), &issuer);
            certificates.push(parsed(&issuer));
        }
        certificates.reverse();
        assert!(bundle(certificates.clone()).unwrap_err().to_string().contains("not 1001"));
        certificates.truncate(MAX_CERTIFICATES);
        certificates.rotate_left(300);
        assert_eq!(bundle(certificates).unwrap().chain.len(), MAX_CERTIFICATES);
    }

    #[test]
    fn a_thousand_certificates_of_one_name_come_to_an_end() {
        let root = root("same");
        let mut certificates: Vec<_> = (1..MAX_CERTIFICATES).map(|_| parsed(&ca("same", &root))).collect();
        certificates.push(leaf_of("leaf", &root));
        bundle(certificates).unwrap_err();
    }
}
