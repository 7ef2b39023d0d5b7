//! Transaction signatures for DNS messages (TSIG, RFC 8945), with the algorithms that users still have.

use std::fmt;
use std::str::FromStr;

use ::hmac::{Hmac, KeyInit, Mac};
use aws_lc_rs::{constant_time, hmac};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hickory_proto::ProtoError;
use hickory_proto::op::Message;
use hickory_proto::rr::Name;
use hickory_proto::rr::rdata::TSIG;
use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, make_tsig_record, message_tbs, signed_bitmessage_to_buf};
use md5::Md5;

use crate::dns::name::{self, NameError};

/// How far the clocks of the two sides may be apart, in seconds (RFC 8945 section 10).
pub const FUDGE: u16 = 300;

/// A message authentication code that both sides know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    HmacMd5,
    HmacSha1,
    HmacSha224,
    HmacSha256,
    HmacSha384,
    HmacSha512,
}

/// A shared key.
#[derive(Clone)]
pub struct TsigKey {
    name: Name,
    algorithm: Algorithm,
    secret: Vec<u8>,
}

/// Why a key cannot be used. The secret is never shown.
#[derive(Debug, thiserror::Error)]
pub enum TsigKeyError {
    #[error(
        "TSIG algorithm {0:?} is not known: use one of HMACMD5, HMACSHA1, HMACSHA224, HMACSHA256, HMACSHA384, HMACSHA512"
    )]
    Algorithm(String),
    #[error("the TSIG key name cannot be used: {0}")]
    Name(#[from] NameError),
    #[error("the TSIG key name is empty")]
    NoName,
    #[error(
        "the TSIG secret of key {key} is not base64: store the secret as in the server's key statement, encoded once"
    )]
    Encoding { key: String },
    #[error("the TSIG secret of key {key} is empty")]
    Empty { key: String },
}

/// Why the signature of an answer does not hold.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("it is signed with another key or algorithm")]
    OtherKey,
    #[error("its signature does not match its content")]
    Mismatch,
    #[error("it was signed more than {FUDGE} s before or after now by our clock")]
    Time,
    #[error("its signature cannot be read: {0}")]
    Unreadable(#[source] ProtoError),
}

impl TsigKey {
    /// A key as users store it: the name, one of the spellings of an algorithm, the secret in base64.
    pub fn new(key_name: &str, algorithm: Algorithm, secret: &str) -> Result<Self, TsigKeyError> {
        let name = name::parse(key_name)?;
        if name.is_root() {
            return Err(TsigKeyError::NoName);
        }
        let key = || key_name.trim().to_owned();
        let secret = decode_base64(secret).ok_or_else(|| TsigKeyError::Encoding { key: key() })?;
        if secret.is_empty() {
            return Err(TsigKeyError::Empty { key: key() });
        }
        Ok(Self { name, algorithm, secret })
    }

    /// The name of the key, without the closing dot.
    pub fn name(&self) -> String {
        name::shown(&name::to_fqdn(&self.name)).to_owned()
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Signs a message, which must not change afterwards. Returns the code, with which the answer is verified.
    ///
    /// `now` is in seconds since 1970.
    pub(crate) fn sign(&self, message: &mut Message, now: u64) -> Result<Vec<u8>, ProtoError> {
        let id = message.metadata.id;
        let stub = TSIG::new(self.algorithm.on_the_wire(), now, FUDGE, Vec::new(), id, None, Vec::new());
        let mac = self.algorithm.mac(&self.secret, &message_tbs(message, &stub, &self.name)?);
        message.set_signature(Box::new(make_tsig_record(self.name.clone(), stub.set_mac(mac.clone()))));
        Ok(mac)
    }

    /// Verifies the signature of an answer that has been decoded without error before.
    pub(crate) fn verify(&self, answer: &[u8], request_mac: &[u8], now: u64) -> Result<(), VerifyError> {
        let (signed, record) =
            signed_bitmessage_to_buf(answer, Some(request_mac), true).map_err(VerifyError::Unreadable)?;
        let tsig = &record.data;
        let same_algorithm = tsig.algorithm.to_name().eq_ignore_root(&self.algorithm.on_the_wire().to_name());
        if record.name != self.name || !same_algorithm {
            return Err(VerifyError::OtherKey);
        }
        let expected = self.algorithm.mac(&self.secret, &signed);
        constant_time::verify_slices_are_equal(&expected, &tsig.mac).map_err(|_| VerifyError::Mismatch)?;
        if tsig.time.abs_diff(now) > u64::from(FUDGE) {
            return Err(VerifyError::Time);
        }
        Ok(())
    }
}

impl fmt::Debug for TsigKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("TsigKey")
            .field("name", &self.name())
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// Secrets come with line ends, and with or without padding.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let text: String = text.split_whitespace().collect();
    GeneralPurpose::new(&alphabet::STANDARD, lenient).decode(text).ok()
}

impl Algorithm {
    fn on_the_wire(self) -> TsigAlgorithm {
        match self {
            Self::HmacMd5 => TsigAlgorithm::HmacMd5,
            Self::HmacSha1 => TsigAlgorithm::HmacSha1,
            Self::HmacSha224 => TsigAlgorithm::HmacSha224,
            Self::HmacSha256 => TsigAlgorithm::HmacSha256,
            Self::HmacSha384 => TsigAlgorithm::HmacSha384,
            Self::HmacSha512 => TsigAlgorithm::HmacSha512,
        }
    }

    fn mac(self, secret: &[u8], data: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::HmacMd5 => return mac_md5(secret, data),
            Self::HmacSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::HmacSha224 => hmac::HMAC_SHA224,
            Self::HmacSha256 => hmac::HMAC_SHA256,
            Self::HmacSha384 => hmac::HMAC_SHA384,
            Self::HmacSha512 => hmac::HMAC_SHA512,
        };
        hmac::sign(&hmac::Key::new(algorithm, secret), data).as_ref().to_vec()
    }
}

/// aws-lc-rs has no MD5. HMAC with it is still sound, and is what many servers are set up with.
fn mac_md5(secret: &[u8], data: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Md5>::new_from_slice(secret) else { return Vec::new() };
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

impl FromStr for Algorithm {
    type Err = TsigKeyError;

    /// Reads the spellings of cert-manager (`HMACSHA256`), of name servers (`hmac-sha256`) and of the wire
    /// (`hmac-md5.sig-alg.reg.int.`), in any case. Empty means HMAC-MD5.
    fn from_str(text: &str) -> Result<Self, TsigKeyError> {
        let plain = text.trim().trim_end_matches('.').to_ascii_lowercase().replace(['-', '_'], "");
        Ok(match plain.as_str() {
            "" | "hmacmd5" | "hmacmd5.sigalg.reg.int" => Self::HmacMd5,
            "hmacsha1" => Self::HmacSha1,
            "hmacsha224" => Self::HmacSha224,
            "hmacsha256" => Self::HmacSha256,
            "hmacsha384" => Self::HmacSha384,
            "hmacsha512" => Self::HmacSha512,
            _ => return Err(TsigKeyError::Algorithm(text.to_owned())),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hickory_proto::rr::rdata::tsig::TsigError;

    use super::*;

    const SECRET: &str = "bm90IGEgcmVhbCBzZWNyZXQ=";
    const NOW: u64 = 1_700_000_000;
    const ALL: [Algorithm; 6] = [
        Algorithm::HmacMd5,
        Algorithm::HmacSha1,
        Algorithm::HmacSha224,
        Algorithm::HmacSha256,
        Algorithm::HmacSha384,
        Algorithm::HmacSha512,
    ];

    fn key(algorithm: Algorithm) -> TsigKey {
        TsigKey::new("Key.example.com", algorithm, SECRET).unwrap()
    }

    /// An answer signed as a server does: over the code of the request, too.
    fn signed_answer(key: &TsigKey, request: &Message, request_mac: &[u8], time: u64) -> Vec<u8> {
        let mut answer = Message::response(request.metadata.id, request.metadata.op_code);
        let stub = TSIG::new(
            key.algorithm.on_the_wire(),
            time,
            FUDGE,
            Vec::new(),
            request.metadata.id,
            None::<TsigError>,
            Vec::new(),
        );
        let mut signed = u16::try_from(request_mac.len()).unwrap().to_be_bytes().to_vec();
        signed.extend_from_slice(request_mac);
        signed.extend(message_tbs(&answer, &stub, &key.name).unwrap());
        let mac = key.algorithm.mac(&key.secret, &signed);
        answer.set_signature(Box::new(make_tsig_record(key.name.clone(), stub.set_mac(mac))));
        answer.to_vec().unwrap()
    }

    #[test]
    fn codes_are_those_of_the_rfcs() {
        // RFC 2202 section 2 and 3, RFC 4231 section 4.3: key "Jefe", data "what do ya want for nothing?".
        let expected = [
            "750c783e6ab0b503eaa86e310a5db738",
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
            "a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd\
             caeab1a34d4a6b4b636e070a38bce737",
        ];
        for (algorithm, expected) in ALL.into_iter().zip(expected) {
            let mac = algorithm.mac(b"Jefe", b"what do ya want for nothing?");
            let hex = mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
            assert_eq!(hex, expected, "{algorithm:?}");
        }
    }

    #[test]
    fn an_answer_holds_only_with_our_key_our_request_and_our_time() {
        for algorithm in ALL {
            let key = key(algorithm);
            let mut request = Message::query();
            let mac = key.sign(&mut request, NOW).unwrap();
            let answer = signed_answer(&key, &request, &mac, NOW + 5);
            key.verify(&answer, &mac, NOW).unwrap();

            assert!(matches!(key.verify(&answer, b"another request", NOW), Err(VerifyError::Mismatch)));
            let mut changed = answer.clone();
            changed[3] ^= 1;
            assert!(matches!(key.verify(&changed, &mac, NOW), Err(VerifyError::Mismatch)));
            let other = TsigKey::new("other.", algorithm, SECRET).unwrap();
            assert!(matches!(other.verify(&answer, &mac, NOW), Err(VerifyError::OtherKey)));
            assert!(matches!(key.verify(&answer, &mac, NOW + 1000), Err(VerifyError::Time)));
        }
        let key = key(Algorithm::HmacSha256);
        let unsigned = Message::query().to_vec().unwrap();
        assert!(matches!(key.verify(&unsigned, &[], NOW), Err(VerifyError::Unreadable(_))));
    }

    #[test]
    fn every_spelling_of_an_algorithm_is_read() {
        for (text, algorithm) in [
            ("", Algorithm::HmacMd5),
            ("HMACMD5", Algorithm::HmacMd5),
            ("hmac-md5.sig-alg.reg.int.", Algorithm::HmacMd5),
            ("hmacsha1", Algorithm::HmacSha1),
            ("hmac-sha224", Algorithm::HmacSha224),
            ("HmacSha256", Algorithm::HmacSha256),
            ("hmac-sha384.", Algorithm::HmacSha384),
            ("HMAC_SHA512", Algorithm::HmacSha512),
        ] {
            assert_eq!(text.parse::<Algorithm>().unwrap(), algorithm, "{text}");
        }
        let message = "sha3".parse::<Algorithm>().unwrap_err().to_string();
        assert!(message.contains("\"sha3\"") && message.contains("HMACSHA256"), "{message}");
    }

    #[test]
    fn a_bad_secret_is_not_shown() {
        let message = TsigKey::new("key", Algorithm::HmacMd5, "hunter2!").unwrap_err().to_string();
        assert!(message.contains("key key") && message.contains("base64") && !message.contains("hunter2"), "{message}");
        assert!(matches!(TsigKey::new("key", Algorithm::HmacMd5, " \n"), Err(TsigKeyError::Empty { .. })));
        assert!(matches!(TsigKey::new(".", Algorithm::HmacMd5, SECRET), Err(TsigKeyError::NoName)));
        let shown = format!("{:?}", key(Algorithm::HmacSha256));
        assert!(shown.contains("key.example.com") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn line_ends_and_missing_padding_do_not_matter() {
        let plain = key(Algorithm::HmacMd5).secret;
        for text in ["bm90IGEgcmVhbCBzZWNyZXQ", "bm90IGEg\ncmVhbCBzZWNyZXQ=\n"] {
            assert_eq!(TsigKey::new("key", Algorithm::HmacMd5, text).unwrap().secret, plain);
        }
    }
}
