//! Java (JKS) and PKCS#12 keystores, as Certificate resources ask for in `spec.keystores`.
//!
//! - [`pkcs12_keystore`], [`pkcs12_truststore`]: PKCS#12 (RFC 7292) in one of four profiles
//! - [`jks_keystore`], [`jks_truststore`]: Sun's format of before Java 9
//!
//! Two writings of the same content differ, for their salts are random. Passwords may hold any character: where the
//! format wants UTF-16, characters beyond the Basic Multilingual Plane become surrogate pairs, as in Java and OpenSSL.
//! But Java takes no password beyond ASCII for PKCS#12, whoever wrote the file; for JKS it does.

mod encryption;
mod jks;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod keytool;
mod pkcs12;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod samples;
mod structures;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use x509_cert::der;

pub use jks::{jks_keystore, jks_truststore};
pub use pkcs12::{Pkcs12Profile, pkcs12_keystore, pkcs12_truststore};

use super::Error;

const WITHOUT_CERTIFICATE: Error =
    Error::Keystore { what: "keystore", problem: "there is no certificate to go with the private key" };

/// For mapping the errors of [`der`].
fn cannot_encode(source: der::Error) -> Error {
    Error::Encode { what: "keystore", source }
}

fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], Error> {
    let mut bytes = [0; LENGTH];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Crypto("make random numbers"))?;
    Ok(bytes)
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// The first of `name(0)`, `name(1)`… that is not in `taken` when the case of letters does not count. It is added.
fn free_name(taken: &mut Vec<String>, name: impl Fn(usize) -> String) -> String {
    let mut count = 0;
    while taken.contains(&name(count).to_lowercase()) {
        count += 1;
    }
    taken.push(name(count).to_lowercase());
    name(count)
}
