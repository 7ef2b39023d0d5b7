//! Signing requests: JSON Web Signatures in flattened form (RFC 7515 7.2.2, RFC 8555 6.2), keys as JSON (RFC 7517) and
//! the values that challenges are answered with. All of it is pure.

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use x509_cert::der::{
    Decode, SliceReader,
    asn1::{AnyRef, UintRef},
};

use crate::pki::{self, Curve, KeyAlgorithm, PrivateKey, PublicKeyNumbers, SignatureAlgorithm};

/// A flattened JSON Web Signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jws {
    protected: String,
    payload: String,
    signature: String,
}

/// How a request says who signed it (RFC 8555 6.2).
#[derive(Clone, Copy, Debug)]
pub enum Signer<'a> {
    /// By the account's URL.
    Account(&'a str),
    /// By the public key, for making and finding an account.
    Key,
}

/// The body of a request.
#[derive(Clone, Debug)]
pub enum Payload {
    /// POST-as-GET (RFC 8555 6.3).
    Empty,
    Json(Value),
}

impl Payload {
    /// # Panics
    /// Never: the types that are sent have string keys only.
    pub(super) fn json<T: Serialize>(value: &T) -> Self {
        Self::Json(serde_json::to_value(value).unwrap_or(Value::Null))
    }

    fn encoded(&self) -> String {
        match self {
            Self::Empty => String::new(),
            Self::Json(value) => BASE64URL.encode(value.to_string()),
        }
    }
}

/// Signs a request to `url` with `nonce`.
///
/// # Errors
/// When the key cannot sign.
pub fn sign(
    key: &PrivateKey,
    signer: Signer<'_>,
    nonce: &str,
    url: &str,
    payload: &Payload,
) -> Result<Jws, pki::Error> {
    let mut header = Map::new();
    header.insert("alg".into(), algorithm_name(key.algorithm()).into());
    match signer {
        Signer::Account(kid) => header.insert("kid".into(), kid.into()),
        Signer::Key => header.insert("jwk".into(), Jwk::of(key)?.to_value()),
    };
    header.insert("nonce".into(), nonce.into());
    header.insert("url".into(), url.into());
    sealed(key, header, payload)
}

fn sealed(key: &PrivateKey, header: Map<String, Value>, payload: &Payload) -> Result<Jws, pki::Error> {
    let protected = BASE64URL.encode(Value::Object(header).to_string());
    let payload = payload.encoded();
    let signature = sign_jose(key, format!("{protected}.{payload}").as_bytes())?;
    Ok(Jws { protected, payload, signature: BASE64URL.encode(signature) })
}

/// The hash of the HMAC in an external account binding (RFC 7518 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MacAlgorithm {
    #[default]
    Hs256,
    Hs384,
    Hs512,
}

impl MacAlgorithm {
    /// The algorithm of this name (RFC 7518 3.1).
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Hs256, Self::Hs384, Self::Hs512].into_iter().find(|known| known.name() == name)
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Hs256 => hmac::HMAC_SHA256,
            Self::Hs384 => hmac::HMAC_SHA384,
            Self::Hs512 => hmac::HMAC_SHA512,
        }
    }
}

/// The JWS that binds a new account to one that the CA already has (RFC 8555 7.3.4). `mac_key` is the raw key.
///
/// # Errors
/// When the public key cannot be written.
pub fn bind_external_account(
    key: &PrivateKey,
    key_id: &str,
    mac_key: &[u8],
    algorithm: MacAlgorithm,
    new_account_url: &str,
) -> Result<Jws, pki::Error> {
    let mut header = Map::new();
    header.insert("alg".into(), algorithm.name().into());
    header.insert("kid".into(), key_id.into());
    header.insert("url".into(), new_account_url.into());
    let protected = BASE64URL.encode(Value::Object(header).to_string());
    let payload = BASE64URL.encode(Jwk::of(key)?.canonical());
    let mac = hmac::sign(&hmac::Key::new(algorithm.hmac(), mac_key), format!("{protected}.{payload}").as_bytes());
    Ok(Jws { protected, payload, signature: BASE64URL.encode(mac) })
}

/// The inner JWS of a key change (RFC 8555 7.3.5): the new key says which account it shall have, and in place of which
/// key. It has no nonce; the request around it does.
///
/// # Errors
/// When a public key cannot be written, or the new key cannot sign.
pub fn change_key(
    new_key: &PrivateKey,
    old_key: &PrivateKey,
    account_url: &str,
    key_change_url: &str,
) -> Result<Jws, pki::Error> {
    let mut header = Map::new();
    header.insert("alg".into(), algorithm_name(new_key.algorithm()).into());
    header.insert("jwk".into(), Jwk::of(new_key)?.to_value());
    header.insert("url".into(), key_change_url.into());
    let payload = serde_json::json!({ "account": account_url, "oldKey": Jwk::of(old_key)?.to_value() });
    sealed(new_key, header, &Payload::Json(payload))
}

/// `token.thumbprint` (RFC 8555 8.1): what an HTTP-01 challenge is answered with.
///
/// # Errors
/// When the public key cannot be written.
pub fn key_authorization(key: &PrivateKey, token: &str) -> Result<String, pki::Error> {
    Ok(format!("{token}.{}", thumbprint(key)?))
}

/// The TXT record's value for a DNS-01 challenge (RFC 8555 8.4).
pub fn dns01_value(key_authorization: &str) -> String {
    BASE64URL.encode(digest(&SHA256, key_authorization.as_bytes()))
}

/// The thumbprint of a key (RFC 7638) in base64url.
///
/// # Errors
/// When the public key cannot be written.
pub fn thumbprint(key: &PrivateKey) -> Result<String, pki::Error> {
    Ok(Jwk::of(key)?.thumbprint())
}

/// A public key as JSON. The members stand in alphabetical order, as thumbprints want them (RFC 7638 3).
#[derive(Serialize)]
#[serde(untagged)]
enum Jwk {
    Ec { crv: &'static str, kty: &'static str, x: Number, y: Number },
    Okp { crv: &'static str, kty: &'static str, x: Number },
    Rsa { e: Number, kty: &'static str, n: Number },
}

impl Jwk {
    fn of(key: &PrivateKey) -> Result<Self, pki::Error> {
        Ok(match key.public_key_numbers()? {
            PublicKeyNumbers::Ecdsa { curve, x, y } => {
                Self::Ec { crv: curve_name(curve), kty: "EC", x: Number(x), y: Number(y) }
            }
            PublicKeyNumbers::Ed25519 { x } => Self::Okp { crv: "Ed25519", kty: "OKP", x: Number(x) },
            PublicKeyNumbers::Rsa { modulus, exponent } => {
                Self::Rsa { e: Number(exponent), kty: "RSA", n: Number(modulus) }
            }
        })
    }

    fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or(Value::Null)
    }

    fn canonical(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    fn thumbprint(&self) -> String {
        BASE64URL.encode(digest(&SHA256, self.canonical().as_bytes()))
    }
}

/// A big-endian number, written in base64url.
struct Number(Vec<u8>);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64URL.encode(&self.0))
    }
}

fn curve_name(curve: Curve) -> &'static str {
    match curve {
        Curve::P256 => "P-256",
        Curve::P384 => "P-384",
        Curve::P521 => "P-521",
    }
}

/// The `alg` that goes with a key (RFC 7518 3.1, RFC 8037 3.1). RSA keys use RS256 whatever their size: it is the one
/// every CA takes.
fn algorithm_name(key: KeyAlgorithm) -> &'static str {
    match key {
        KeyAlgorithm::Ecdsa(Curve::P256) => "ES256",
        KeyAlgorithm::Ecdsa(Curve::P384) => "ES384",
        KeyAlgorithm::Ecdsa(Curve::P521) => "ES512",
        KeyAlgorithm::Ed25519 => "EdDSA",
        KeyAlgorithm::Rsa(_) => "RS256",
    }
}

fn sign_jose(key: &PrivateKey, message: &[u8]) -> Result<Vec<u8>, pki::Error> {
    match key.algorithm() {
        KeyAlgorithm::Rsa(_) => key.sign(SignatureAlgorithm::RsaSha256, message),
        KeyAlgorithm::Ed25519 => key.sign(SignatureAlgorithm::Ed25519, message),
        algorithm @ KeyAlgorithm::Ecdsa(curve) => {
            let signature = key.sign(SignatureAlgorithm::for_key(algorithm), message)?;
            fixed_length(&signature, curve.coordinate_len())
                .map_err(|source| pki::Error::Der { what: "signature", source })
        }
    }
}

/// JOSE wants both numbers of an ECDSA signature at full length, one after the other (RFC 7518 3.4), X.509 in DER.
fn fixed_length(signature: &[u8], length: usize) -> Result<Vec<u8>, x509_cert::der::Error> {
    let (r, s) = AnyRef::from_der(signature)?.sequence(|reader: &mut SliceReader<'_>| {
        Ok::<_, x509_cert::der::Error>((UintRef::decode(reader)?.as_bytes(), UintRef::decode(reader)?.as_bytes()))
    })?;
    let mut fixed = Vec::with_capacity(2 * length);
    for number in [r, s] {
        fixed.resize(fixed.len() + length.saturating_sub(number.len()), 0);
        fixed.extend_from_slice(number);
    }
    Ok(fixed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, RSA_PKCS1_2048_8192_SHA256,
        UnparsedPublicKey, VerificationAlgorithm,
    };

    use super::*;

    fn decoded(text: &str) -> Vec<u8> {
        BASE64URL.decode(text).unwrap()
    }

    fn json(text: &str) -> Value {
        serde_json::from_slice(&decoded(text)).unwrap()
    }

    /// The key of RFC 8037 appendix A.1, in PKCS#8.
    fn rfc8037_key() -> PrivateKey {
        let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        der.extend(decoded("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"));
        PrivateKey::from_pkcs8(&der).unwrap()
    }

    #[test]
    fn rfc_7638_thumbprint_of_an_rsa_key() {
        let modulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiF\
                       V4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9\
                       c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1\
                       jF44-csFCur-kEgU8awapJzKnqDKgw";
        let jwk = Jwk::Rsa { e: Number(decoded("AQAB")), kty: "RSA", n: Number(decoded(modulus)) };
        assert_eq!(jwk.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn rfc_8037_thumbprint_and_signature_of_an_ed25519_key() {
        assert_eq!(thumbprint(&rfc8037_key()).unwrap(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let input = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert_eq!(sign_jose(&rfc8037_key(), input).unwrap(), decoded(signature));
    }

    #[test]
    fn challenge_values() {
        assert_eq!(
            key_authorization(&rfc8037_key(), "token").unwrap(),
            "token.kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
        // SHA-256 of "abc" (FIPS 180-4 examples).
        assert_eq!(dns01_value("abc"), "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
    }

    #[test]
    fn every_kind_of_key_signs_as_its_algorithm_says() {
        let verifiers: [(KeyAlgorithm, &str, &dyn VerificationAlgorithm); 4] = [
            (KeyAlgorithm::Ecdsa(Curve::P256), "ES256", &ECDSA_P256_SHA256_FIXED),
            (KeyAlgorithm::Ecdsa(Curve::P384), "ES384", &ECDSA_P384_SHA384_FIXED),
            (KeyAlgorithm::Ecdsa(Curve::P521), "ES512", &ECDSA_P521_SHA512_FIXED),
            (KeyAlgorithm::Rsa(2048), "RS256", &RSA_PKCS1_2048_8192_SHA256),
        ];
        for (kind, name, verifier) in verifiers {
            let key = PrivateKey::generate(kind).unwrap();
            let jws = sign(&key, Signer::Key, "n0nce", "https://ca.example/new", &Payload::Empty).unwrap();
            let header = json(&jws.protected);
            assert_eq!(header["alg"], name);
            assert_eq!(jws.payload, "");
            let public = UnparsedPublicKey::new(verifier, raw_public_key(&key));
            let input = format!("{}.", jws.protected);
            public.verify(input.as_bytes(), &decoded(&jws.signature)).unwrap();
        }
    }

    fn raw_public_key(key: &PrivateKey) -> Vec<u8> {
        let der = key.public_key_der().unwrap();
        let key = x509_cert::SubjectPublicKeyInfo::from_der(&der).unwrap();
        key.subject_public_key.raw_bytes().to_vec()
    }

    #[test]
    fn the_header_names_key_or_account_never_both() {
        let key = rfc8037_key();
        let url = "https://ca.example/new";
        let jws = sign(&key, Signer::Key, "n0nce", url, &Payload::Json(serde_json::json!({ "a": 1 }))).unwrap();
        let jwk =
            serde_json::json!({ "crv": "Ed25519", "kty": "OKP", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
        let expected = serde_json::json!({ "alg": "EdDSA", "jwk": jwk, "nonce": "n0nce", "url": url });
        assert_eq!(json(&jws.protected), expected);
        assert_eq!(json(&jws.payload), serde_json::json!({ "a": 1 }));
        let jws = sign(&key, Signer::Account("https://ca.example/1"), "n0nce", url, &Payload::Empty).unwrap();
        let expected =
            serde_json::json!({ "alg": "EdDSA", "kid": "https://ca.example/1", "nonce": "n0nce", "url": url });
        assert_eq!(json(&jws.protected), expected);
    }

    /// The shape that RFC 8555 7.3.5 shows.
    #[test]
    fn a_new_key_signs_which_account_it_is_for() {
        let (old, new) = (rfc8037_key(), PrivateKey::generate(KeyAlgorithm::Ecdsa(Curve::P256)).unwrap());
        let (account, url) = ("https://ca.example/1", "https://ca.example/key-change");
        let jws = change_key(&new, &old, account, url).unwrap();
        let header = json(&jws.protected);
        assert_eq!(header.as_object().unwrap().keys().collect::<Vec<_>>(), ["alg", "jwk", "url"], "no nonce, no kid");
        assert_eq!((&header["alg"], &header["url"]), (&"ES256".into(), &url.into()));
        assert_eq!(header["jwk"], Jwk::of(&new).unwrap().to_value());
        let expected = serde_json::json!({ "account": account, "oldKey": Jwk::of(&old).unwrap().to_value() });
        assert_eq!(json(&jws.payload), expected);
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, raw_public_key(&new));
        let input = format!("{}.{}", jws.protected, jws.payload);
        public.verify(input.as_bytes(), &decoded(&jws.signature)).unwrap();
    }

    #[test]
    fn mac_algorithms_by_name() {
        assert_eq!(MacAlgorithm::from_name("HS384"), Some(MacAlgorithm::Hs384));
        assert_eq!(MacAlgorithm::from_name("HS1"), None);
    }

    #[test]
    fn short_numbers_are_padded_to_full_length() {
        // SEQUENCE { INTEGER 1, INTEGER 0x80 }
        let der = [0x30, 7, 2, 1, 1, 2, 2, 0, 0x80];
        assert_eq!(fixed_length(&der, 4).unwrap(), [0, 0, 0, 1, 0, 0, 0, 0x80]);
        assert!(fixed_length(b"nonsense", 4).is_err());
    }

    #[test]
    fn external_accounts_are_bound_by_an_hmac_over_the_public_key() {
        let url = "https://ca.example/new-account";
        for (algorithm, name) in
            [(MacAlgorithm::Hs256, "HS256"), (MacAlgorithm::Hs384, "HS384"), (MacAlgorithm::Hs512, "HS512")]
        {
            let jws = bind_external_account(&rfc8037_key(), "kid-1", b"secret", algorithm, url).unwrap();
            let header = json(&jws.protected);
            assert_eq!(header, serde_json::json!({ "alg": name, "kid": "kid-1", "url": url }));
            assert_eq!(json(&jws.payload)["kty"], "OKP");
            let mac_key = hmac::Key::new(algorithm.hmac(), b"secret");
            let input = format!("{}.{}", jws.protected, jws.payload);
            hmac::verify(&mac_key, input.as_bytes(), &decoded(&jws.signature)).unwrap();
        }
    }
}
