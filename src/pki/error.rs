//! What can go wrong with keys, requests and certificates.

use x509_cert::der;

/// Why a key, request, certificate or name could not be read, made or checked. No variant carries key material.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The input is longer than what is decoded at all.
    #[error("the {what} is {size} bytes long; at most {limit} bytes are read")]
    TooLarge { what: &'static str, size: usize, limit: usize },

    /// The input holds PEM markers that do not add up.
    #[error("the {what} is not well-formed PEM: {source}")]
    Pem { what: &'static str, source: ::pem::PemError },

    /// The input holds no PEM block of the wanted kind.
    #[error("the {what} holds no PEM block \"{wanted}\"{}", found_suffix(.found))]
    NoPemBlock { what: &'static str, wanted: &'static str, found: Vec<String> },

    /// The bytes are not the DER structure they should be.
    #[error("the {what} is not valid DER: {source}")]
    Der { what: &'static str, source: der::Error },

    /// A structure could not be encoded, usually because a value has characters its ASN.1 type does not allow.
    #[error("cannot encode the {what}: {source}")]
    Encode { what: &'static str, source: der::Error },

    /// The private key is protected by a passphrase.
    #[error("the private key is encrypted; store it without a passphrase")]
    EncryptedKey,

    /// The cryptographic library refuses the private key.
    #[error("the private key is not usable: {reason}")]
    KeyRejected { reason: String },

    /// The key is of a kind that is not supported.
    #[error("the {what} has the unsupported algorithm {algorithm}; use RSA, ECDSA (P-256, P-384, P-521) or Ed25519")]
    UnsupportedKeyAlgorithm { what: &'static str, algorithm: String },

    /// A key specification that names no key we can make.
    #[error("{0}")]
    KeySpecification(String),

    /// The library could not generate or use a key.
    #[error("cannot {0}: the cryptographic library gave no reason")]
    Crypto(&'static str),

    /// The signature algorithm does not go with the key, or is unknown.
    #[error("the signature algorithm {algorithm} {problem}")]
    SignatureAlgorithm { algorithm: String, problem: &'static str },

    /// A signature does not verify.
    #[error("the signature on the {what} does not verify with {with}")]
    BadSignature { what: String, with: String },

    /// A private key that belongs to another certificate or request.
    #[error("the private key is not the one that belongs to the {what}")]
    KeyMismatch { what: String },

    /// An extension of a request says something else than whoever approved the request.
    #[error(
        "the certificate request's {what} ({asked}) are not what its spec says ({wanted}); make them the same, or leave the extension out of the request"
    )]
    Contradiction { what: &'static str, asked: String, wanted: String },

    /// A certificate that must not sign others.
    #[error("the certificate {subject} cannot sign this certificate: {problem}")]
    NotAnIssuer { subject: String, problem: &'static str },

    /// A time that certificates cannot hold.
    #[error(
        "certificates cannot be valid from {not_before} to {not_after}; they begin after the year 1969 and before they end"
    )]
    Validity { not_before: jiff::Timestamp, not_after: jiff::Timestamp },

    /// A certificate that has no place in a chain made of the ones that came with it.
    #[error("the certificate {subject} does not fit into a chain with the others: {problem}")]
    Unlinked { subject: String, problem: String },

    /// More or fewer certificates than a chain can have.
    #[error("a chain has 1 to {limit} certificates, not {count}")]
    ChainLength { count: usize, limit: usize },

    /// A usage that Certificate resources do not know.
    #[error("unknown key usage \"{0}\"")]
    UnknownUsage(String),

    /// A distinguished name that cannot be understood.
    #[error("the subject \"{subject}\" is not a valid RFC 4514 name: {problem}")]
    Subject { subject: String, problem: String },

    /// A name for the subjectAltName extension that cannot be used.
    #[error(transparent)]
    Name(#[from] super::NameError),

    /// A keystore that cannot be written.
    #[error("cannot write the {what}: {problem}")]
    Keystore { what: &'static str, problem: &'static str },

    /// A PKCS#12 profile that Certificate resources do not know.
    #[error("unknown PKCS#12 profile \"{0}\"; use LegacyRC2, LegacyDES, Modern2023 or Modern2026")]
    UnknownKeystoreProfile(String),

    /// Neighbours in a chain do not belong together.
    #[error("certificate {position} of the chain ({subject}) was not issued by the one after it ({next}): {problem}")]
    BrokenChain { position: usize, subject: String, next: String, problem: String },
}

fn found_suffix(found: &[String]) -> String {
    if found.is_empty() { String::new() } else { format!("; it holds {}", found.join(", ")) }
}
