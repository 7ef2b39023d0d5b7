//! PKCS#12 files (RFC 7292).

use aws_lc_rs::digest;
use x509_cert::{
    attr::Attribute,
    der::{
        self, Any, Encode,
        asn1::{OctetString, SetOfVec},
    },
};

use super::{
    WITHOUT_CERTIFICATE, cannot_encode,
    encryption::{Cipher, Mac, authenticate, encrypt},
    free_name,
    structures::{
        ANY_EXTENDED_KEY_USAGE, CERTIFICATE_BAG, CertificateBag, ContentInfo, DATA, ENCRYPTED_DATA,
        EncryptedContentInfo, EncryptedData, EncryptedPrivateKeyInfo, FRIENDLY_NAME, LOCAL_KEY_ID,
        ORACLE_TRUSTED_KEY_USAGE, Pfx, SHROUDED_KEY_BAG, SafeBag, X509_CERTIFICATE, attribute, bmp_string,
    },
};
use crate::pki::{Encoding, Error, ParsedCertificate, PrivateKey};

/// The algorithms of a PKCS#12 file, under the names that `spec.keystores.pkcs12.profile` uses. What they are follows
/// Go's go-pkcs12.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pkcs12Profile {
    /// RC2 with 40 bits for the certificates, triple DES for the key, HMAC-SHA-1. OpenSSL 3 needs `-legacy` to read it.
    #[default]
    LegacyRC2,
    /// Triple DES and HMAC-SHA-1. OpenSSL 3 needs `-legacy` to read it.
    LegacyDES,
    /// AES-256 by PBES2, and HMAC-SHA-256. Read by Java 12 and OpenSSL 1.1.1 and later.
    Modern2023,
    /// AES-256 by PBES2, and PBMAC1 (RFC 9579). Read by Java 26 and OpenSSL 3.4 and later.
    Modern2026,
}

impl Pkcs12Profile {
    /// The profile of a Certificate's spec.
    ///
    /// # Errors
    /// [`Error::UnknownKeystoreProfile`]
    pub fn from_spec(profile: Option<&str>) -> Result<Self, Error> {
        match profile {
            None => Ok(Self::default()),
            Some("LegacyRC2") => Ok(Self::LegacyRC2),
            Some("LegacyDES") => Ok(Self::LegacyDES),
            Some("Modern2023") => Ok(Self::Modern2023),
            Some("Modern2026") => Ok(Self::Modern2026),
            Some(other) => Err(Error::UnknownKeystoreProfile(other.to_owned())),
        }
    }

    fn certificate_cipher(self) -> Cipher {
        match self {
            Self::LegacyRC2 => Cipher::Rc2,
            Self::LegacyDES => Cipher::TripleDes,
            Self::Modern2023 | Self::Modern2026 => Cipher::Aes256,
        }
    }

    fn key_cipher(self) -> Cipher {
        match self {
            Self::LegacyRC2 | Self::LegacyDES => Cipher::TripleDes,
            Self::Modern2023 | Self::Modern2026 => Cipher::Aes256,
        }
    }

    fn mac(self) -> Mac {
        match self {
            Self::LegacyRC2 | Self::LegacyDES => Mac::Sha1,
            Self::Modern2023 => Mac::Sha256,
            Self::Modern2026 => Mac::Pbmac1,
        }
    }
}

/// Writes the private key with its certificate, the first of `chain`. The others of the chain, and those authorities
/// that are not among them, go along as CA certificates. The key has no friendly name; Java calls its entry `1`.
///
/// # Errors
/// [`Error::Keystore`] if the chain is empty.
pub fn pkcs12_keystore(
    profile: Pkcs12Profile,
    password: &str,
    key: &PrivateKey,
    chain: &[ParsedCertificate],
    authorities: &[ParsedCertificate],
) -> Result<Vec<u8>, Error> {
    let leaf = chain.first().ok_or(WITHOUT_CERTIFICATE)?;
    let local_key_id = local_key_id(leaf).map_err(cannot_encode)?;
    let others = authorities.iter().filter(|authority| chain.iter().all(|known| known.der != authority.der));
    let mut certificates = Vec::new();
    for certificate in chain.iter().chain(others) {
        let attributes = if certificates.is_empty() { vec![local_key_id.clone()] } else { vec![] };
        certificates.push(certificate_bag(certificate, attributes).map_err(cannot_encode)?);
    }
    let key = key_bag(profile, password, key, local_key_id)?;
    let safes = [
        encrypted_safe(profile, password, &certificates)?,
        // The key is encrypted already.
        ContentInfo::data(&vec![key]).map_err(cannot_encode)?,
    ];
    file(profile, password, safes.into())
}

/// Writes certificates that Java takes as trusted for every purpose. Each is named after its subject; Java keeps only
/// one entry of a name, so more of the same subject get a number.
///
/// # Errors
/// Should a library fail.
pub fn pkcs12_truststore(
    profile: Pkcs12Profile,
    password: &str,
    authorities: &[ParsedCertificate],
) -> Result<Vec<u8>, Error> {
    let mut taken = Vec::new();
    let mut bags = Vec::new();
    for authority in authorities {
        let name = free_name(&mut taken, |count| match count {
            0 => authority.to_string(),
            more => format!("{authority} ({})", more + 1),
        });
        bags.push(trusted_bag(authority, &name).map_err(cannot_encode)?);
    }
    file(profile, password, vec![encrypted_safe(profile, password, &bags)?])
}

/// What tells readers which certificate belongs to the key. Any value would do; this one is usual.
fn local_key_id(leaf: &ParsedCertificate) -> der::Result<Attribute> {
    let fingerprint = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &leaf.der);
    attribute(LOCAL_KEY_ID, &OctetString::new(fingerprint.as_ref())?)
}

fn trusted_bag(authority: &ParsedCertificate, name: &str) -> der::Result<SafeBag> {
    let trusted = attribute(ORACLE_TRUSTED_KEY_USAGE, &ANY_EXTENDED_KEY_USAGE)?;
    certificate_bag(authority, vec![trusted, attribute(FRIENDLY_NAME, &bmp_string(name)?)?])
}

fn certificate_bag(certificate: &ParsedCertificate, attributes: Vec<Attribute>) -> der::Result<SafeBag> {
    let bag = CertificateBag { id: X509_CERTIFICATE, certificate: OctetString::new(certificate.der.as_slice())? };
    bag_of(CERTIFICATE_BAG, Any::encode_from(&bag)?, attributes)
}

fn key_bag(
    profile: Pkcs12Profile,
    password: &str,
    key: &PrivateKey,
    local_key_id: Attribute,
) -> Result<SafeBag, Error> {
    let (_, plain) = key.to_der(Encoding::Pkcs8)?;
    let (algorithm, data) = encrypt(profile.key_cipher(), password, &plain)?;
    Any::encode_from(&EncryptedPrivateKeyInfo { algorithm, data })
        .and_then(|value| bag_of(SHROUDED_KEY_BAG, value, vec![local_key_id]))
        .map_err(cannot_encode)
}

fn bag_of(id: der::asn1::ObjectIdentifier, value: Any, attributes: Vec<Attribute>) -> der::Result<SafeBag> {
    let attributes = if attributes.is_empty() { None } else { Some(SetOfVec::try_from(attributes)?) };
    Ok(SafeBag { id, value, attributes })
}

fn encrypted_safe(profile: Pkcs12Profile, password: &str, bags: &Vec<SafeBag>) -> Result<ContentInfo, Error> {
    let plain = bags.to_der().map_err(cannot_encode)?;
    let (algorithm, content) = encrypt(profile.certificate_cipher(), password, &plain)?;
    let content = EncryptedContentInfo { content_type: DATA, algorithm, content };
    let content = Any::encode_from(&EncryptedData { version: 0, content }).map_err(cannot_encode)?;
    Ok(ContentInfo { content_type: ENCRYPTED_DATA, content })
}

fn file(profile: Pkcs12Profile, password: &str, safes: Vec<ContentInfo>) -> Result<Vec<u8>, Error> {
    let content = safes.to_der().map_err(cannot_encode)?;
    let mac_data = authenticate(profile.mac(), password, &content)?;
    let auth_safe = ContentInfo::data(&safes).map_err(cannot_encode)?;
    Pfx { version: 3, auth_safe, mac_data }.to_der().map_err(cannot_encode)
}
