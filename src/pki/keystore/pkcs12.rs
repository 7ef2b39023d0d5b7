//! PKCS#12 files (RFC 7292).

use aws_lc_rs::digest;
use x509_cert::{
    attr::Attribute,
    der::{
        self, Any, Encode,
        asn1::{ObjectIdentifier, OctetString, SetOfVec},
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
    // The key is encrypted already.
    let key = [key].to_der().and_then(|bags| ContentInfo::data(&bags)).map_err(cannot_encode)?;
    let safes = [encrypted_safe(profile, password, &certificates.to_der().map_err(cannot_encode)?)?, key];
    file(profile, password, &safes.to_der().map_err(cannot_encode)?)
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
    let safes = [encrypted_safe(profile, password, &bags.to_der().map_err(cannot_encode)?)?];
    file(profile, password, &safes.to_der().map_err(cannot_encode)?)
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

fn bag_of(id: ObjectIdentifier, value: Any, attributes: Vec<Attribute>) -> der::Result<SafeBag> {
    let attributes = if attributes.is_empty() { None } else { Some(SetOfVec::try_from(attributes)?) };
    Ok(SafeBag { id, value, attributes })
}

/// `bags` is DER, a SafeContents (RFC 7292 4.2).
fn encrypted_safe(profile: Pkcs12Profile, password: &str, bags: &[u8]) -> Result<ContentInfo, Error> {
    let (algorithm, content) = encrypt(profile.certificate_cipher(), password, bags)?;
    let content = EncryptedContentInfo { content_type: DATA, algorithm, content };
    let content = Any::encode_from(&EncryptedData { version: 0, content }).map_err(cannot_encode)?;
    Ok(ContentInfo { content_type: ENCRYPTED_DATA, content })
}

/// `safes` is DER, an AuthenticatedSafe (RFC 7292 4.1).
fn file(profile: Pkcs12Profile, password: &str, safes: &[u8]) -> Result<Vec<u8>, Error> {
    let mac_data = authenticate(profile.mac(), password, safes)?;
    let auth_safe = ContentInfo::data(safes).map_err(cannot_encode)?;
    Pfx { version: 3, auth_safe, mac_data }.to_der().map_err(cannot_encode)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use x509_cert::der::Decode as _;

    use super::*;
    use crate::pki::{
        KeyAlgorithm,
        keystore::{
            keytool::{CONVERTED_PASSWORD, File},
            samples::{KINDS, Sample, has_openssl, read_by_openssl, root},
            structures::{Pbkdf2Parameters, SchemeParameters},
        },
        openssl,
    };

    const PROFILES: [Pkcs12Profile; 4] =
        [Pkcs12Profile::LegacyRC2, Pkcs12Profile::LegacyDES, Pkcs12Profile::Modern2023, Pkcs12Profile::Modern2026];
    const PASSWORD: &str = "Correct horse, battery staple";
    /// Java knows PBMAC1 from version 26 on.
    const JAVA_PROFILES: [Pkcs12Profile; 3] = [PROFILES[0], PROFILES[1], PROFILES[2]];

    fn keystore(profile: Pkcs12Profile, sample: &Sample, password: &str) -> Vec<u8> {
        // The root is in both.
        let chain = [&sample.chain[..], std::slice::from_ref(&sample.root)].concat();
        pkcs12_keystore(profile, password, &sample.key, &chain, std::slice::from_ref(&sample.root)).unwrap()
    }

    /// OpenSSL before 3.4 does not know PBMAC1 and has to do without the MAC, which has a test of its own.
    fn options(profile: Pkcs12Profile) -> &'static [&'static str] {
        if profile == Pkcs12Profile::Modern2026 && !has_openssl(3, 4) { &["-nomacver"] } else { &[] }
    }

    #[test]
    fn profiles_have_the_names_of_the_api() {
        assert_eq!(Pkcs12Profile::from_spec(None).unwrap(), Pkcs12Profile::LegacyRC2);
        for profile in PROFILES {
            assert_eq!(Pkcs12Profile::from_spec(Some(&format!("{profile:?}"))).unwrap(), profile);
        }
        assert_eq!(
            Pkcs12Profile::from_spec(Some("modern2023")).unwrap_err().to_string(),
            "unknown PKCS#12 profile \"modern2023\"; use LegacyRC2, LegacyDES, Modern2023 or Modern2026"
        );
    }

    #[test]
    fn openssl_reads_every_profile_and_kind_of_key() {
        for (kind, profile) in KINDS.into_iter().flat_map(|kind| PROFILES.map(|profile| (kind, profile))) {
            let sample = Sample::new(kind);
            let file = keystore(profile, &sample, PASSWORD);
            let Some(_) = openssl::run(&["version"], b"") else { return };
            let read = read_by_openssl(&file, PASSWORD, options(profile));
            assert!(read == Some(sample.content()), "{kind} {profile:?}");
            assert!(read_by_openssl(&file, "wrong", options(profile)).is_none(), "{kind} {profile:?}");
        }
    }

    #[test]
    fn profiles_have_the_algorithms_of_go_pkcs12() {
        let expected = [
            (
                Pkcs12Profile::LegacyRC2,
                "MAC: sha1, Iteration 1\nMAC length: 20, salt length: 8\n\
                 PKCS7 Encrypted data: pbeWithSHA1And40BitRC2-CBC, Iteration 2048\n\
                 Certificate bag\nCertificate bag\nCertificate bag\n\
                 PKCS7 Data\nShrouded Keybag: pbeWithSHA1And3-KeyTripleDES-CBC, Iteration 2048\n",
            ),
            (
                Pkcs12Profile::LegacyDES,
                "MAC: sha1, Iteration 1\nMAC length: 20, salt length: 8\n\
                 PKCS7 Encrypted data: pbeWithSHA1And3-KeyTripleDES-CBC, Iteration 2048\n\
                 Certificate bag\nCertificate bag\nCertificate bag\n\
                 PKCS7 Data\nShrouded Keybag: pbeWithSHA1And3-KeyTripleDES-CBC, Iteration 2048\n",
            ),
            (
                Pkcs12Profile::Modern2023,
                "MAC: sha256, Iteration 2048\nMAC length: 32, salt length: 16\n\
                 PKCS7 Encrypted data: PBES2, PBKDF2, AES-256-CBC, Iteration 2048, PRF hmacWithSHA256\n\
                 Certificate bag\nCertificate bag\nCertificate bag\n\
                 PKCS7 Data\nShrouded Keybag: PBES2, PBKDF2, AES-256-CBC, Iteration 2048, PRF hmacWithSHA256\n",
            ),
        ];
        let sample = Sample::new(KINDS[1]);
        for (profile, algorithms) in expected {
            let file = keystore(profile, &sample, PASSWORD);
            let password = format!("pass:{PASSWORD}");
            let arguments = ["pkcs12", "-info", "-noout", "-legacy", "-passin", &password];
            let Some((output, printed)) = openssl::attempt(&arguments, &file) else { return };
            assert!(output.is_some() && printed == algorithms, "{profile:?}: {printed}");
        }
    }

    /// The MAC of Modern2026 (RFC 9579), made again by OpenSSL from its parts.
    #[test]
    fn openssl_makes_the_same_pbmac1() {
        let file = keystore(Pkcs12Profile::Modern2026, &Sample::new(KINDS[1]), PASSWORD);
        let pfx = Pfx::from_der(&file).unwrap();
        let content = pfx.auth_safe.content.decode_as::<OctetString>().unwrap();
        let mac = pfx.mac_data.mac;
        assert_eq!(mac.algorithm.oid.to_string(), "1.2.840.113549.1.5.14");
        let parameters: SchemeParameters = mac.algorithm.parameters.unwrap().decode_as().unwrap();
        assert_eq!(parameters.key_derivation.oid.to_string(), "1.2.840.113549.1.5.12");
        assert_eq!(parameters.scheme.oid.to_string(), "1.2.840.113549.2.9");
        let pbkdf2: Pbkdf2Parameters = parameters.key_derivation.parameters.unwrap().decode_as().unwrap();
        assert_eq!((pbkdf2.iterations, pbkdf2.key_length), (2048, Some(32)));
        assert_eq!(pbkdf2.function.oid.to_string(), "1.2.840.113549.2.9");
        let password = format!("pass:{PASSWORD}");
        let salt = format!("hexsalt:{}", hex(pbkdf2.salt.as_bytes()));
        let options = ["-kdfopt", "digest:SHA256", "-kdfopt", &password, "-kdfopt", &salt, "-kdfopt", "iter:2048"];
        let arguments = [&["kdf", "-keylen", "32", "-binary"], &options[..], &["PBKDF2"]].concat();
        let Some(key) = openssl::run(&arguments, b"") else { return };
        let key = format!("hexkey:{}", hex(&key));
        let arguments = ["mac", "-digest", "sha256", "-macopt", &key, "-binary", "HMAC"];
        assert_eq!(openssl::run(&arguments, content.as_bytes()).unwrap(), mac.digest.as_bytes());
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
    }

    #[test]
    fn keytool_reads_every_profile_and_kind_of_key() {
        for (kind, profile) in KINDS.into_iter().flat_map(|kind| JAVA_PROFILES.map(|profile| (kind, profile))) {
            let sample = Sample::new(kind);
            let file = keystore(profile, &sample, PASSWORD);
            let file = File { bytes: &file, password: PASSWORD, format: "PKCS12" };
            let Some(converted) = file.to_pkcs12() else { return };
            let Some(_) = openssl::run(&["version"], b"") else { return };
            let read = read_by_openssl(&converted.unwrap(), CONVERTED_PASSWORD, &[]);
            assert!(read == Some(sample.content()), "{kind} {profile:?}");
        }
    }

    #[test]
    fn keytool_sees_one_key_and_refuses_other_passwords() {
        let bytes = keystore(Pkcs12Profile::Modern2023, &Sample::new(KINDS[1]), PASSWORD);
        let file = File { bytes: &bytes, password: PASSWORD, format: "PKCS12" };
        let Some(listed) = file.list(&["-v"]) else { return };
        let listed = listed.unwrap();
        assert!(listed.contains("contains 1 entry"), "{listed}");
        for line in ["Alias name: 1", "Entry type: PrivateKeyEntry", "Certificate chain length: 3"] {
            assert!(listed.lines().any(|found| found == line), "{line}: {listed}");
        }
        let refused = File { password: "wrong!", ..file }.list(&[]).unwrap().unwrap_err();
        assert!(refused.contains("password was incorrect"), "{refused}");
    }

    #[test]
    fn keytool_takes_the_certificates_of_truststores_as_trusted() {
        // Java keeps one entry of a name, and does not tell upper from lower case.
        let authorities = [root("Root"), root("Root Ä"), root("root"), root("Root")];
        for profile in JAVA_PROFILES {
            let bytes = pkcs12_truststore(profile, PASSWORD, &authorities).unwrap();
            let Some(listed) = (File { bytes: &bytes, password: PASSWORD, format: "PKCS12" }).list(&["-rfc"]) else {
                return;
            };
            let listed = listed.unwrap();
            let mut names: Vec<_> = listed.lines().filter_map(|line| line.strip_prefix("Alias name: ")).collect();
            names.sort_unstable();
            assert_eq!(names, ["cn=root", "cn=root (2)", "cn=root (3)", "cn=root ä"]);
            assert_eq!(listed.matches("Entry type: trustedCertEntry").count(), 4, "{listed}");
            for authority in &authorities {
                assert!(listed.contains(&authority.to_pem()), "{authority}: {listed}");
            }
        }
    }

    #[test]
    fn openssl_reads_truststores() {
        let authorities = [root("Root"), root("Other")];
        for profile in PROFILES {
            let file = pkcs12_truststore(profile, PASSWORD, &authorities).unwrap();
            let password = format!("pass:{PASSWORD}");
            let arguments = [&["pkcs12", "-nokeys", "-legacy", "-passin", &password], options(profile)].concat();
            let Some(output) = openssl::text(&arguments, &file) else { return };
            assert!(output.contains("friendlyName: CN=Root\n") && output.contains("friendlyName: CN=Other\n"));
            let read = ParsedCertificate::from_pem_chain(output.as_bytes()).unwrap();
            assert!(read.iter().map(|one| &one.der).eq(authorities.iter().map(|one| &one.der)), "{profile:?}");
        }
    }

    #[test]
    fn passwords_may_hold_any_character() {
        let sample = Sample::new(KeyAlgorithm::Ed25519);
        for (profile, password) in
            PROFILES.into_iter().flat_map(|profile| ["", "Größe 鍵 🔑"].map(|text| (profile, text)))
        {
            let file = keystore(profile, &sample, password);
            let Some(_) = openssl::run(&["version"], b"") else { return };
            let read = read_by_openssl(&file, password, options(profile));
            assert!(read == Some(sample.content()), "{profile:?} {password:?}");
        }
    }

    #[test]
    fn a_key_without_certificate_is_refused() {
        let sample = Sample::new(KeyAlgorithm::Ed25519);
        let refused = pkcs12_keystore(Pkcs12Profile::LegacyRC2, PASSWORD, &sample.key, &[], &sample.chain);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "cannot write the keystore: there is no certificate to go with the private key"
        );
    }
}
