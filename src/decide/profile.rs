//! Certificate profiles (draft-aaron-acme-profiles): the CA's names for kinds of certificates.

use std::collections::BTreeMap;

use crate::api::{issuer::AcmeIssuer, names::annotation};

/// Longer names are nobody's, in bytes.
const LONGEST_NAME: usize = 64;

/// How many of a CA's profiles are shown.
const SHOWN: usize = 20;

/// The profile to order: the one in the annotations of a CertificateRequest, or else the issuer's.
///
/// # Errors
/// As [`problem`].
pub fn wish(annotations: &BTreeMap<String, String>, acme: &AcmeIssuer) -> Result<Option<String>, String> {
    problem(annotations)?;
    let own = annotations.get(annotation::PROFILE).filter(|name| !name.is_empty());
    Ok(own.or(acme.profile.as_ref().filter(|name| !name.is_empty())).cloned())
}

/// What is wrong with the profile that the annotations name.
///
/// # Errors
/// In words for people, when it is no name of a profile.
pub fn problem(annotations: &BTreeMap<String, String>) -> Result<(), String> {
    let Some(name) = annotations.get(annotation::PROFILE) else { return Ok(()) };
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.len() <= LONGEST_NAME && name.bytes().all(is_usual) {
        return Ok(());
    }
    Err(format!(
        "The annotation {} is no name of a profile; use up to {LONGEST_NAME} letters, digits, '-', '_' and '.'",
        annotation::PROFILE
    ))
}

/// Whether a CA that lists profiles has the wanted one. A CA that lists none is asked.
///
/// # Errors
/// In words for people, naming those that it has.
pub fn check<'a>(wanted: &str, offered: impl Iterator<Item = &'a String>) -> Result<(), String> {
    let offered: Vec<&String> = offered.collect();
    if offered.is_empty() || offered.iter().any(|name| *name == wanted) {
        return Ok(());
    }
    let more = if offered.len() > SHOWN { " and others" } else { "" };
    let names: Vec<_> = offered.iter().take(SHOWN).map(|name| format!("{name:?}")).collect();
    Err(format!("the CA has no profile {wanted:?}; it offers {}{more}", names.join(", ")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::decide::testing::acme;

    #[test]
    fn the_own_profile_goes_before_the_issuers() {
        let mut acme = acme();
        let with = |name: &str| BTreeMap::from([(annotation::PROFILE.to_owned(), name.to_owned())]);
        assert_eq!(wish(&BTreeMap::new(), &acme).unwrap(), None);
        acme.profile = Some("classic".into());
        assert_eq!(wish(&BTreeMap::new(), &acme).unwrap().as_deref(), Some("classic"));
        assert_eq!(wish(&with("short-lived_1.0"), &acme).unwrap().as_deref(), Some("short-lived_1.0"));
        assert_eq!(wish(&with(""), &acme).unwrap().as_deref(), Some("classic"));
        for odd in ["two words", "a\nb", "ü", &"x".repeat(65)] {
            assert!(wish(&with(odd), &acme).unwrap_err().contains("certwright.dev/profile is no name"), "{odd:?}");
        }
    }

    #[test]
    fn an_unknown_profile_is_told_with_those_that_there_are() {
        let offered = ["classic".to_owned(), "shortlived".to_owned()];
        check("shortlived", offered.iter()).unwrap();
        check("anything", [].iter()).unwrap();
        let told = check("tlsserver", offered.iter()).unwrap_err();
        assert_eq!(told, "the CA has no profile \"tlsserver\"; it offers \"classic\", \"shortlived\"");
        let many: Vec<_> = (0..30).map(|number| number.to_string()).collect();
        assert!(check("x", many.iter()).unwrap_err().ends_with("\"19\" and others"));
    }
}
