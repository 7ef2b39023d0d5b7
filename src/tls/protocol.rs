//! Versions and cipher suites, by the names that Go and Kubernetes have for them.

use std::{str::FromStr, sync::Arc};

use rustls::{
    SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs::default_provider},
    version::{TLS12, TLS13},
};

/// What is spoken. By default TLS 1.2 and 1.3, with all suites that there are.
#[derive(Clone, Debug, Default)]
pub struct Protocol {
    pub min_version: MinVersion,
    /// Those of TLS 1.2. Those of TLS 1.3 are always offered, as in Go. An empty list stands for all.
    pub cipher_suites: Vec<CipherSuite>,
}

/// The oldest version that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    #[default]
    Tls12,
    Tls13,
}

/// One that Kubernetes knows by this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CipherSuite(&'static str);

/// Those that Go has and the TLS library here has not, because they are weak.
const WEAK: [&str; 16] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_RSA_WITH_RC4_128_SHA",
];

/// Names that Go had before.
const FORMER: [(&str, &str); 2] = [
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
];

impl Protocol {
    /// What is missing of what was asked for, in words.
    pub fn notes(&self) -> Vec<String> {
        let weak = self.cipher_suites.iter().filter(|suite| WEAK.contains(&suite.0));
        let mut notes: Vec<_> =
            weak.map(|suite| format!("the cipher suite {} is weak and not offered", suite.0)).collect();
        if !self.speaks_tls12() && self.min_version == MinVersion::Tls12 {
            notes.push("without any other suite for TLS 1.2, only TLS 1.3 is spoken".to_owned());
        }
        notes
    }

    pub(super) fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        if self.speaks_tls12() { &BOTH } else { &BOTH[..1] }
    }

    pub(super) fn provider(&self) -> Arc<CryptoProvider> {
        let mut provider = default_provider();
        if !self.cipher_suites.is_empty() {
            provider.cipher_suites.retain(|suite| is_tls13(*suite) || self.names(*suite));
        }
        Arc::new(provider)
    }

    fn speaks_tls12(&self) -> bool {
        let has_suite = || default_provider().cipher_suites.iter().any(|suite| !is_tls13(*suite) && self.names(*suite));
        self.min_version == MinVersion::Tls12 && (self.cipher_suites.is_empty() || has_suite())
    }

    fn names(&self, suite: SupportedCipherSuite) -> bool {
        self.cipher_suites.iter().any(|named| Some(named.0) == name(suite))
    }
}

impl FromStr for MinVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            // Nobody speaks older ones than 1.2 here.
            "" | "VersionTLS10" | "VersionTLS11" | "VersionTLS12" => Ok(Self::Tls12),
            "VersionTLS13" => Ok(Self::Tls13),
            _ => Err("it is VersionTLS12 or VersionTLS13".to_owned()),
        }
    }
}

impl FromStr for CipherSuite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let current = FORMER.iter().find(|(former, _)| *former == text).map_or(text, |(_, current)| current);
        let offered = default_provider().cipher_suites.into_iter().filter_map(name);
        let found = offered.chain(WEAK).find(|name| *name == current);
        found.map(Self).ok_or_else(|| {
            let known: Vec<_> = default_provider().cipher_suites.into_iter().filter_map(name).collect();
            format!("there is no such cipher suite; there are {}", known.join(", "))
        })
    }
}

/// By the name of the standard, which Go has too.
fn name(suite: SupportedCipherSuite) -> Option<&'static str> {
    let name = suite.suite().as_str()?;
    Some(match name {
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        other => other,
    })
}

fn is_tls13(suite: SupportedCipherSuite) -> bool {
    suite.version().version == TLS13.version
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(suites: &[&str], version: &str) -> Protocol {
        let cipher_suites = suites.iter().map(|name| name.parse().unwrap()).collect();
        Protocol { min_version: version.parse().unwrap(), cipher_suites }
    }

    /// How many suites there are, of which version the oldest is, and how much is to be said.
    fn offer(protocol: &Protocol) -> (usize, usize, usize) {
        (protocol.provider().cipher_suites.len(), protocol.versions().len(), protocol.notes().len())
    }

    #[test]
    fn suites_and_versions_are_chosen_by_name() {
        let all = default_provider().cipher_suites.len();
        let one = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
        for (protocol, expected) in [
            (Protocol::default(), (all, 2, 0)),
            (of(&[], "VersionTLS10"), (all, 2, 0)),
            (of(&[], "VersionTLS13"), (all, 1, 0)),
            (of(&[one], "VersionTLS12"), (4, 2, 0)),
            (of(&[one, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"], ""), (5, 2, 0)),
            (of(&[one, "TLS_RSA_WITH_AES_128_CBC_SHA"], ""), (4, 2, 1)),
            (of(&["TLS_RSA_WITH_AES_128_CBC_SHA"], ""), (3, 1, 2)),
            (of(&["TLS_AES_128_GCM_SHA256"], "VersionTLS13"), (3, 1, 0)),
        ] {
            assert_eq!(offer(&protocol), expected, "{protocol:?}");
        }
        assert!("TLS1.3".parse::<MinVersion>().unwrap_err().contains("VersionTLS13"));
        assert!("AES".parse::<CipherSuite>().unwrap_err().contains("TLS_AES_128_GCM_SHA256"));
    }
}
