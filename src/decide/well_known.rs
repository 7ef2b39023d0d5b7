//! Public CAs that speak ACME, by the names people call them.

/// A CA, and where its ACME directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WellKnown {
    pub name: &'static str,
    pub title: &'static str,
    pub url: &'static str,
    /// Whether accounts are made only for those who have one already (RFC 8555 section 7.3.4).
    pub binds_accounts: bool,
    /// Whether its certificates are for trying things out, and trusted by nobody.
    pub is_staging: bool,
}

/// In the order in which they are shown.
pub const WELL_KNOWN: [WellKnown; 8] = [
    trusted("letsencrypt", "Let's Encrypt", "https://acme-v02.api.letsencrypt.org/directory", false),
    staging(
        "letsencrypt-staging",
        "Let's Encrypt, staging",
        "https://acme-staging-v02.api.letsencrypt.org/directory",
        false,
    ),
    trusted("google", "Google Trust Services", "https://dv.acme-v02.api.pki.goog/directory", true),
    staging(
        "google-staging",
        "Google Trust Services, staging",
        "https://dv.acme-v02.test-api.pki.goog/directory",
        true,
    ),
    trusted("zerossl", "ZeroSSL", "https://acme.zerossl.com/v2/DV90", true),
    trusted("actalis", "Actalis", "https://acme-api.actalis.com/acme/directory", true),
    trusted("sslcom-rsa", "SSL.com, RSA chain", "https://acme.ssl.com/sslcom-dv-rsa", true),
    trusted("sslcom-ecc", "SSL.com, ECC chain", "https://acme.ssl.com/sslcom-dv-ecc", true),
];

/// The CA of this name.
pub fn by_name(name: &str) -> Option<&'static WellKnown> {
    WELL_KNOWN.iter().find(|known| known.name.eq_ignore_ascii_case(name.trim()))
}

const fn trusted(name: &'static str, title: &'static str, url: &'static str, binds_accounts: bool) -> WellKnown {
    WellKnown { name, title, url, binds_accounts, is_staging: false }
}

const fn staging(name: &'static str, title: &'static str, url: &'static str, binds_accounts: bool) -> WellKnown {
    WellKnown { name, title, url, binds_accounts, is_staging: true }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_and_urls_are_told_apart() {
        let names: HashSet<_> = WELL_KNOWN.iter().map(|known| known.name).collect();
        let urls: HashSet<_> = WELL_KNOWN.iter().map(|known| known.url).collect();
        assert_eq!((names.len(), urls.len()), (WELL_KNOWN.len(), WELL_KNOWN.len()));
        assert!(WELL_KNOWN.iter().all(|known| known.url.starts_with("https://") && !known.name.contains([':', '/'])));
        assert_eq!(by_name(" LetsEncrypt").map(|known| known.url), Some(WELL_KNOWN[0].url));
        assert_eq!(by_name("nobody"), None);
    }
}
