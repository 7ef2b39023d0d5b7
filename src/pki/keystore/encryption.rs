//! Encryption and message authentication by password, as PKCS#12 files do them.

use std::num::NonZeroU32;

use aws_lc_rs::{
    cipher::{AES_256, AES_256_KEY_LEN, PaddedBlockEncryptingKey, UnboundCipherKey},
    digest, hmac, pbkdf2,
};
use cbc::cipher::{BlockModeEncrypt as _, InnerIvInit as _, KeyInit as _, block_padding::Pkcs7};
use x509_cert::{
    der::{
        self, Any,
        asn1::{Null, ObjectIdentifier, OctetString},
    },
    spki::AlgorithmIdentifierOwned,
};

use super::{
    cannot_encode, random,
    structures::{
        AES_256_CBC, DigestInfo, HMAC_SHA256, MacData, PBE_SHA1_RC2_40, PBE_SHA1_TRIPLE_DES, PBES2, PBKDF2, PBMAC1,
        Pbkdf2Parameters, Pkcs12PbeParameters, SHA1, SHA256, SchemeParameters, algorithm,
    },
    utf16,
};
use crate::pki::Error;

/// As OpenSSL and Go's go-pkcs12 have it. Against a weak password no count that a handshake can wait for would help.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(2048).expect("2048 is not zero");
/// SHA-1 and SHA-256 work on blocks of this many bytes.
const HASH_BLOCK: usize = 64;
const ENCRYPT: Error = Error::Crypto("encrypt a keystore");

#[derive(Clone, Copy)]
pub(super) enum Cipher {
    /// PBES2 with AES-256-CBC and PBKDF2-HMAC-SHA-256 (RFC 8018 6.2).
    Aes256,
    /// RC2 with a key of 40 bits (RFC 7292 C).
    Rc2,
    /// Triple DES with three keys (RFC 7292 C).
    TripleDes,
}

#[derive(Clone, Copy)]
pub(super) enum Mac {
    /// HMAC-SHA-1 with the key derivation of RFC 7292 B, one iteration.
    Sha1,
    /// HMAC-SHA-256 with the key derivation of RFC 7292 B.
    Sha256,
    /// HMAC-SHA-256 with PBKDF2-HMAC-SHA-256 (RFC 9579).
    Pbmac1,
}

/// What a derived key is for (RFC 7292 B.3).
#[derive(Clone, Copy)]
enum Purpose {
    Encryption = 1,
    Iv = 2,
    Mac = 3,
}

/// Encrypts `plain` under a new salt. Returns how, and the result.
pub(super) fn encrypt(
    cipher: Cipher,
    password: &str,
    plain: &[u8],
) -> Result<(AlgorithmIdentifierOwned, OctetString), Error> {
    let (algorithm, encrypted) = match cipher {
        Cipher::Aes256 => encrypt_aes(password, plain)?,
        Cipher::Rc2 => {
            let (parameters, key, iv) = legacy_key::<5>(password)?;
            let cipher = rc2::Rc2::new_from_slice(&key).map_err(|_| ENCRYPT)?;
            let encrypted = cbc::Encryptor::inner_iv_init(cipher, &iv.into()).encrypt_padded_vec::<Pkcs7>(plain);
            (algorithm(PBE_SHA1_RC2_40, &parameters).map_err(cannot_encode)?, encrypted)
        }
        Cipher::TripleDes => {
            let (parameters, key, iv) = legacy_key::<24>(password)?;
            let cipher = des::TdesEde3::new(&key.into());
            let encrypted = cbc::Encryptor::inner_iv_init(cipher, &iv.into()).encrypt_padded_vec::<Pkcs7>(plain);
            (algorithm(PBE_SHA1_TRIPLE_DES, &parameters).map_err(cannot_encode)?, encrypted)
        }
    };
    Ok((algorithm, OctetString::new(encrypted).map_err(cannot_encode)?))
}

/// A new salt with key and initialization vector from it.
fn legacy_key<const LENGTH: usize>(password: &str) -> Result<(Pkcs12PbeParameters, [u8; LENGTH], [u8; 8]), Error> {
    let salt: [u8; 8] = random()?;
    let hash = &digest::SHA1_FOR_LEGACY_USE_ONLY;
    let key = derive(hash, Purpose::Encryption, password, &salt, ITERATIONS.get());
    let iv = derive(hash, Purpose::Iv, password, &salt, ITERATIONS.get());
    let salt = OctetString::new(salt).map_err(cannot_encode)?;
    Ok((Pkcs12PbeParameters { salt, iterations: ITERATIONS.get() }, key, iv))
}

fn encrypt_aes(password: &str, plain: &[u8]) -> Result<(AlgorithmIdentifierOwned, Vec<u8>), Error> {
    let salt: [u8; 16] = random()?;
    let key = UnboundCipherKey::new(&AES_256, &pbkdf2_key(password, &salt)).map_err(|_| ENCRYPT)?;
    let mut encrypted = plain.to_vec();
    let context = PaddedBlockEncryptingKey::cbc_pkcs7(key).and_then(|key| key.encrypt(&mut encrypted));
    let context = context.map_err(|_| ENCRYPT)?;
    let iv: &[u8] = (&context).try_into().map_err(|_| ENCRYPT)?;
    let parameters = || {
        let scheme = algorithm(AES_256_CBC, &OctetString::new(iv)?)?;
        algorithm(PBES2, &SchemeParameters { key_derivation: pbkdf2_algorithm(&salt, None)?, scheme })
    };
    Ok((parameters().map_err(cannot_encode)?, encrypted))
}

/// PBKDF2-HMAC-SHA-256 (RFC 8018 5.2). Unlike PKCS#12's own way, this takes the password as UTF-8.
fn pbkdf2_key(password: &str, salt: &[u8]) -> [u8; AES_256_KEY_LEN] {
    let mut key = [0; AES_256_KEY_LEN];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, salt, password.as_bytes(), &mut key);
    key
}

fn pbkdf2_algorithm(salt: &[u8], key_length: Option<u32>) -> der::Result<AlgorithmIdentifierOwned> {
    let function = algorithm(HMAC_SHA256, &Null)?;
    let salt = OctetString::new(salt)?;
    algorithm(PBKDF2, &Pbkdf2Parameters { salt, iterations: ITERATIONS.get(), key_length, function })
}

/// Authenticates `content` under a new salt.
pub(super) fn authenticate(mac: Mac, password: &str, content: &[u8]) -> Result<MacData, Error> {
    match mac {
        Mac::Sha1 => {
            let salt: [u8; 8] = random()?;
            let key: [u8; 20] = derive(&digest::SHA1_FOR_LEGACY_USE_ONLY, Purpose::Mac, password, &salt, 1);
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key), content);
            mac_data(simple(SHA1), tag, &salt, 1)
        }
        Mac::Sha256 => {
            let salt: [u8; 16] = random()?;
            let key: [u8; 32] = derive(&digest::SHA256, Purpose::Mac, password, &salt, ITERATIONS.get());
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), content);
            mac_data(simple(SHA256), tag, &salt, ITERATIONS.get())
        }
        Mac::Pbmac1 => {
            let salt: [u8; 16] = random()?;
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &pbkdf2_key(password, &salt)), content);
            // Readers take salt and iterations from the algorithm; these here need only be well-formed.
            mac_data(pbmac1_algorithm(&salt).map_err(cannot_encode)?, tag, &salt, ITERATIONS.get())
        }
    }
}

fn simple(oid: ObjectIdentifier) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid, parameters: Some(Any::null()) }
}

fn pbmac1_algorithm(salt: &[u8]) -> der::Result<AlgorithmIdentifierOwned> {
    let scheme = algorithm(HMAC_SHA256, &Null)?;
    algorithm(PBMAC1, &SchemeParameters { key_derivation: pbkdf2_algorithm(salt, Some(32))?, scheme })
}

fn mac_data(
    algorithm: AlgorithmIdentifierOwned,
    tag: hmac::Tag,
    salt: &[u8],
    iterations: u32,
) -> Result<MacData, Error> {
    let digest = OctetString::new(tag.as_ref()).map_err(cannot_encode)?;
    let salt = OctetString::new(salt).map_err(cannot_encode)?;
    Ok(MacData { mac: DigestInfo { algorithm, digest }, salt, iterations })
}

/// The key derivation of PKCS#12 (RFC 7292 B.2), for hashes that work on blocks of [`HASH_BLOCK`] bytes. The names of
/// the variables are those of the RFC.
fn derive<const LENGTH: usize>(
    hash: &'static digest::Algorithm,
    purpose: Purpose,
    password: &str,
    salt: &[u8],
    iterations: u32,
) -> [u8; LENGTH] {
    let mut password = utf16(password);
    password.extend([0, 0]);
    let d = [purpose as u8; HASH_BLOCK];
    let mut i = [fill_blocks(salt), fill_blocks(&password)].concat();
    let mut key = [0; LENGTH];
    for chunk in key.chunks_mut(hash.output_len()) {
        let mut a = digest::digest(hash, &[&d[..], &i].concat());
        for _ in 1..iterations {
            a = digest::digest(hash, a.as_ref());
        }
        chunk.copy_from_slice(&a.as_ref()[..chunk.len()]);
        let b: Vec<u8> = a.as_ref().iter().copied().cycle().take(HASH_BLOCK).collect();
        for block in i.chunks_mut(HASH_BLOCK) {
            add_and_one(block, &b);
        }
    }
    key
}

/// Repeats `bytes` until they fill whole blocks.
fn fill_blocks(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().cycle().take(bytes.len().next_multiple_of(HASH_BLOCK)).collect()
}

/// `number + other + 1`, big-endian, what overflows is lost.
fn add_and_one(number: &mut [u8], other: &[u8]) {
    let mut carry = 1;
    for (digit, addend) in number.iter_mut().zip(other).rev() {
        let [low, high] = (u16::from(*digit) + u16::from(*addend) + carry).to_le_bytes();
        *digit = low;
        carry = u16::from(high);
    }
}
