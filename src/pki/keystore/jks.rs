//! Java keystores in Sun's format JKS. There is no specification but Java's own source
//! (`sun.security.provider.JavaKeyStore` and `KeyProtector`).

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY};
use jiff::Timestamp;
use x509_cert::{
    der::{
        Any, Encode,
        asn1::{ObjectIdentifier, OctetString},
    },
    spki::AlgorithmIdentifierOwned,
};

use super::{WITHOUT_CERTIFICATE, cannot_encode, free_name, random, structures::EncryptedPrivateKeyInfo, utf16};
use crate::pki::{Encoding, Error, ParsedCertificate, PrivateKey};

const MAGIC: u32 = 0xFEED_FEED;
const VERSION: u32 = 2;
const PRIVATE_KEY_ENTRY: u32 = 1;
const TRUSTED_CERTIFICATE_ENTRY: u32 = 2;
/// Sun's key protector, made of SHA-1.
const KEY_PROTECTOR: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.42.2.17.1.1");
const SHA1_LENGTH: usize = 20;
/// Java hashes it along with the password, so that the digest is of nothing else.
const WHITENER: &[u8] = b"Mighty Aphrodite";

/// Writes the private key under `alias` with its chain, leaf first, and the authorities as the trusted entries `ca`,
/// `ca-1`, `ca-2`… but not under the key's alias. Store and key have the same password. Java looks aliases up in lower
/// case, so they are written that way.
///
/// # Errors
/// [`Error::Keystore`] if the chain is empty or the alias has more than 65535 bytes.
pub fn jks_keystore(
    password: &str,
    alias: &str,
    key: &PrivateKey,
    chain: &[ParsedCertificate],
    authorities: &[ParsedCertificate],
    created: Timestamp,
) -> Result<Vec<u8>, Error> {
    if chain.is_empty() {
        return Err(WITHOUT_CERTIFICATE);
    }
    let alias = alias.to_lowercase();
    let mut store = Store::new(password, 1 + authorities.len())?;
    store.number(PRIVATE_KEY_ENTRY);
    store.text(&alias)?;
    store.time(created);
    store.bytes(&protect(password, key)?)?;
    store.length(chain.len())?;
    for certificate in chain {
        store.certificate(certificate)?;
    }
    store.authorities(authorities, created, vec![alias])?;
    Ok(store.finish())
}

/// Writes the authorities as the trusted entries `ca`, `ca-1`, `ca-2`…
///
/// # Errors
/// Should a library fail.
pub fn jks_truststore(password: &str, authorities: &[ParsedCertificate], created: Timestamp) -> Result<Vec<u8>, Error> {
    let mut store = Store::new(password, authorities.len())?;
    store.authorities(authorities, created, Vec::new())?;
    Ok(store.finish())
}

/// The file as written so far. Numbers are big-endian, lengths four bytes long.
struct Store {
    password: Vec<u8>,
    content: Vec<u8>,
}

impl Store {
    fn new(password: &str, entries: usize) -> Result<Self, Error> {
        let mut store = Self { password: utf16(password), content: Vec::new() };
        store.number(MAGIC);
        store.number(VERSION);
        store.length(entries)?;
        Ok(store)
    }

    fn authorities(
        &mut self,
        authorities: &[ParsedCertificate],
        created: Timestamp,
        mut taken: Vec<String>,
    ) -> Result<(), Error> {
        for authority in authorities {
            self.number(TRUSTED_CERTIFICATE_ENTRY);
            self.text(&free_name(&mut taken, |count| match count {
                0 => "ca".to_owned(),
                more => format!("ca-{more}"),
            }))?;
            self.time(created);
            self.certificate(authority)?;
        }
        Ok(())
    }

    fn certificate(&mut self, certificate: &ParsedCertificate) -> Result<(), Error> {
        // As Java writes it; it reads "X509" too.
        self.text("X.509")?;
        self.bytes(&certificate.der)
    }

    fn number(&mut self, number: u32) {
        self.content.extend(number.to_be_bytes());
    }

    fn length(&mut self, length: usize) -> Result<(), Error> {
        let too_long = |_| Error::Keystore { what: "Java keystore", problem: "it is longer than 4 GiB" };
        self.number(u32::try_from(length).map_err(too_long)?);
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.length(bytes.len())?;
        self.content.extend(bytes);
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), Error> {
        let bytes = modified_utf8(text);
        let too_long = |_| Error::Keystore { what: "Java keystore", problem: "the alias is longer than 65535 bytes" };
        self.content.extend(u16::try_from(bytes.len()).map_err(too_long)?.to_be_bytes());
        self.content.extend(bytes);
        Ok(())
    }

    fn time(&mut self, time: Timestamp) {
        self.content.extend(time.as_millisecond().to_be_bytes());
    }

    fn finish(mut self) -> Vec<u8> {
        let digest = sha1(&[&self.password, WHITENER, &self.content]);
        self.content.extend(digest);
        self.content
    }
}

/// Java's form of UTF-8: each half of a surrogate pair stands for itself, and zero takes two bytes.
fn modified_utf8(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for unit in text.encode_utf16() {
        let [high, low] = unit.to_be_bytes();
        let last = 0x80 | low & 0x3F;
        match unit {
            1..0x80 => bytes.push(low),
            0 | 0x80..0x800 => bytes.extend([0xC0 | high << 2 | low >> 6, last]),
            _ => bytes.extend([0xE0 | high >> 4, 0x80 | (high & 0xF) << 2 | low >> 6, last]),
        }
    }
    bytes
}

/// The key as EncryptedPrivateKeyInfo: a salt, the key hidden by a stream of hashes that starts with it, a digest.
fn protect(password: &str, key: &PrivateKey) -> Result<Vec<u8>, Error> {
    let (_, plain) = key.to_der(Encoding::Pkcs8)?;
    let password = utf16(password);
    let salt: [u8; SHA1_LENGTH] = random()?;
    let mut protected = salt.to_vec();
    let mut link = salt;
    for chunk in plain.chunks(SHA1_LENGTH) {
        link = sha1(&[&password, &link]);
        protected.extend(chunk.iter().zip(link).map(|(byte, mask)| byte ^ mask));
    }
    protected.extend(sha1(&[&password, &plain]));
    let algorithm = AlgorithmIdentifierOwned { oid: KEY_PROTECTOR, parameters: Some(Any::null()) };
    OctetString::new(protected)
        .and_then(|data| EncryptedPrivateKeyInfo { algorithm, data }.to_der())
        .map_err(cannot_encode)
}

fn sha1(parts: &[&[u8]]) -> [u8; SHA1_LENGTH] {
    let mut context = digest::Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; SHA1_LENGTH];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pki::{
        KeyAlgorithm,
        keystore::{
            keytool::{CONVERTED_PASSWORD, File},
            samples::{KINDS, Sample, read_by_openssl, root},
        },
        openssl,
    };

    const PASSWORD: &str = "Größe 鍵 🔑";

    fn created() -> Timestamp {
        "2026-03-04T12:06:07.089Z".parse().unwrap()
    }

    fn file(bytes: &[u8]) -> File<'_> {
        File { bytes, password: PASSWORD, format: "JKS" }
    }

    #[test]
    fn keytool_reads_every_kind_of_key() {
        for kind in KINDS {
            let sample = Sample::new(kind);
            let chain = [&sample.chain[..], std::slice::from_ref(&sample.root)].concat();
            let store = jks_keystore(PASSWORD, "certificate", &sample.key, &chain, &[], created()).unwrap();
            let Some(converted) = file(&store).to_pkcs12() else { return };
            let Some(_) = openssl::run(&["version"], b"") else { return };
            let read = read_by_openssl(&converted.unwrap(), CONVERTED_PASSWORD, &[]);
            assert!(read == Some(sample.content()), "{kind}");
        }
    }

    #[test]
    fn keytool_finds_the_entries_under_their_names() {
        let sample = Sample::new(KeyAlgorithm::Ed25519);
        let authorities = [sample.root.clone(), root("Other"), root("Third")];
        // The key takes a name that the second authority would have got, in a case that Java does not look up.
        let store = jks_keystore(PASSWORD, "CA-1", &sample.key, &sample.chain, &authorities, created()).unwrap();
        let Some(listed) = file(&store).list(&["-rfc"]) else { return };
        let listed = listed.unwrap();
        assert!(listed.contains("contains 4 entries"), "{listed}");
        assert_eq!(listed.matches("Creation date: Mar 4, 2026").count(), 4, "{listed}");
        assert_eq!(listed.matches("Entry type: trustedCertEntry").count(), 3, "{listed}");
        let entry = |name: &str| file(&store).list(&["-rfc", "-alias", name]).unwrap().unwrap();
        for (name, authority) in ["ca", "ca-2", "ca-3"].into_iter().zip(&authorities) {
            let entry = entry(name);
            assert!(entry.contains(&authority.to_pem()), "{name}: {entry}");
        }
        let key = entry("CA-1");
        assert!(key.contains("Entry type: PrivateKeyEntry") && key.contains("Certificate chain length: 2"), "{key}");
        let read = ParsedCertificate::from_pem_chain(key.as_bytes()).unwrap();
        assert!(read.iter().map(|one| &one.der).eq(sample.chain.iter().map(|one| &one.der)));
    }

    #[test]
    fn keytool_reads_truststores_with_their_password_only() {
        let authorities = [root("Root"), root("Root")];
        let store = jks_truststore(PASSWORD, &authorities, created()).unwrap();
        let Some(listed) = file(&store).list(&["-rfc"]) else { return };
        let listed = listed.unwrap();
        assert_eq!(listed.matches("Entry type: trustedCertEntry").count(), 2, "{listed}");
        for authority in &authorities {
            assert!(listed.contains(&authority.to_pem()), "{listed}");
        }
        let refused = File { password: "wrong!", ..file(&store) }.list(&[]).unwrap().unwrap_err();
        assert!(refused.contains("password was incorrect"), "{refused}");
    }

    #[test]
    fn text_is_as_java_writes_it() {
        assert_eq!(modified_utf8("aß鍵"), "aß鍵".as_bytes());
        assert_eq!(modified_utf8("\0"), [0xC0, 0x80]);
        assert_eq!(modified_utf8("🔑"), [0xED, 0xA0, 0xBD, 0xED, 0xB4, 0x91]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let sample = Sample::new(KeyAlgorithm::Ed25519);
        let refused = |alias: &str, chain: &[ParsedCertificate]| {
            jks_keystore(PASSWORD, alias, &sample.key, chain, &[], created()).unwrap_err().to_string()
        };
        assert_eq!(refused("x", &[]), "cannot write the keystore: there is no certificate to go with the private key");
        assert_eq!(
            refused(&"x".repeat(65536), &sample.chain),
            "cannot write the Java keystore: the alias is longer than 65535 bytes"
        );
    }
}
