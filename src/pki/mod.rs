//! Keys, certificate requests, certificates and chains: bytes in, bytes out.
//!
//! Nothing here waits, reads a clock or knows Kubernetes. Encoding and parsing are done with the `der` and `x509-cert`
//! crates, all cryptography by aws-lc-rs but for the ciphers of old keystores. Everything that comes from outside is
//! bounded in size before it is decoded (see [`pem`]).
//!
//! - [`key`]: private keys: generate, read, write, sign
//! - [`signature`]: signature algorithms, and verifying what others signed
//! - [`subject`]: distinguished names, typed or written as RFC 4514 strings
//! - [`names`]: checking DNS names, IP addresses, e-mail addresses and URIs before a CA sees them
//! - [`san`]: the subjectAltName extension
//! - [`constraints`]: the nameConstraints extension
//! - [`usage`]: key usages under the names that Certificate resources use
//! - [`csr`]: building and reading PKCS#10 requests
//! - [`certificate`]: reading certificates and chains
//! - [`certificate_id()`]: the name of a certificate in ACME renewal information
//! - [`bundle`]: putting certificates into the order of a chain
//! - [`issuance`]: signing certificates
//! - [`acme_identifier`]: the certificate that answers a TLS-ALPN-01 challenge
//! - [`keystore`]: writing Java and PKCS#12 keystores
//! - [`pem`]: PEM blocks with size limits

pub mod acme_identifier;
mod algorithm;
pub mod bundle;
pub mod certificate;
mod certificate_id;
pub mod constraints;
pub mod csr;
mod error;
pub mod issuance;
pub mod key;
pub mod keystore;
pub mod names;
#[cfg(test)]
mod openssl;
pub mod pem;
mod revocation;
pub mod san;
pub mod signature;
mod signed;
pub mod subject;
pub mod usage;

pub use algorithm::{Curve, KeyAlgorithm};
pub use bundle::{Bundle, bundle};
pub use certificate::{ParsedCertificate, verify_chain_links};
pub use certificate_id::certificate_id;
pub use constraints::{NameConstraints, NameSubtrees};
pub use csr::{CertificateRequestTemplate, ParsedRequest};
pub use error::Error;
pub use issuance::Issuance;
pub use key::{Encoding, PrivateKey, PublicKeyNumbers};
pub use names::{NameError, encode_dns_name, validate_dns_name};
pub use revocation::RevocationReason;
pub use san::SubjectAltNames;
pub use signature::SignatureAlgorithm;
pub use subject::Subject;
pub use usage::Usages;
