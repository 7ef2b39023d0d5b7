//! PEM blocks (RFC 7468) with size limits, so that nobody makes us decode megabytes.

use std::sync::OnceLock;

use super::Error;

/// How much is read, in bytes of PEM. The defaults are cert-manager's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub private_key: usize,
    /// A single certificate, or a certificate request.
    pub certificate: usize,
    pub chain: usize,
    /// Trusted certificates.
    pub bundle: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { private_key: 13_000, certificate: 36_500, chain: 95_000, bundle: 330_000 }
    }
}

static LIMITS: OnceLock<Limits> = OnceLock::new();

/// The limits of this process.
pub fn limits() -> Limits {
    LIMITS.get().copied().unwrap_or_default()
}

/// Sets the limits of this process, once, before anything is read.
pub fn set_limits(limits: Limits) {
    // A second time, as in tests, keeps the first ones.
    let _ = LIMITS.set(limits);
}

pub(super) const CERTIFICATE: &str = "CERTIFICATE";
pub(super) const CERTIFICATE_REQUEST: &str = "CERTIFICATE REQUEST";
/// The label that old tools write; read, never written.
pub(super) const NEW_CERTIFICATE_REQUEST: &str = "NEW CERTIFICATE REQUEST";

/// One PEM block: its label (`CERTIFICATE`) and the DER inside.
#[derive(Clone)]
pub struct Block {
    pub label: String,
    pub der: Vec<u8>,
}

/// Reads every PEM block of `input`; text between blocks is ignored. `what` names the input in messages.
///
/// # Errors
/// [`Error::TooLarge`] if `input` is longer than `limit` bytes, [`Error::Pem`] if a block is damaged.
pub fn decode(what: &'static str, input: &[u8], limit: usize) -> Result<Vec<Block>, Error> {
    check_size(what, input.len(), limit)?;
    let blocks = ::pem::parse_many(input).map_err(|source| Error::Pem { what, source })?;
    Ok(blocks.into_iter().map(|block| Block { label: block.tag().to_owned(), der: block.into_contents() }).collect())
}

/// Writes one PEM block with lines of 64 characters and plain line feeds, ending with a line feed.
pub fn encode(label: &str, der: &[u8]) -> String {
    let config = ::pem::EncodeConfig::new().set_line_ending(::pem::LineEnding::LF);
    ::pem::encode_config(&::pem::Pem::new(label, der), config)
}

/// The certificates of a bundle of trusted certificates (a `caBundle`), as DER.
///
/// # Errors
/// As [`decode`], and [`Error::NoPemBlock`] if there is no certificate among the blocks.
pub fn decode_bundle(input: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    certificates("CA bundle", input, limits().bundle)
}

/// The DER of every `CERTIFICATE` block, at least one.
pub(super) fn certificates(what: &'static str, input: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, Error> {
    let blocks = decode(what, input, limit)?;
    let found = blocks.iter().map(|block| block.label.clone()).collect();
    let certificates: Vec<_> =
        blocks.into_iter().filter(|block| block.label == CERTIFICATE).map(|block| block.der).collect();
    if certificates.is_empty() {
        return Err(Error::NoPemBlock { what, wanted: CERTIFICATE, found });
    }
    Ok(certificates)
}

pub(super) fn check_size(what: &'static str, size: usize, limit: usize) -> Result<(), Error> {
    if size > limit { Err(Error::TooLarge { what, size, limit }) } else { Ok(()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn blocks_survive_writing_and_reading() {
        let text = encode("CERTIFICATE", &[7; 100]);
        assert!(text.starts_with("-----BEGIN CERTIFICATE-----\nBwcH"), "{text}");
        assert!(text.ends_with("-----END CERTIFICATE-----\n"), "{text}");
        assert!(!text.contains('\r'));
        let blocks = decode("chain", format!("# comment\n{text}\n{text}").as_bytes(), limits().chain).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!((blocks[1].label.as_str(), blocks[1].der.as_slice()), ("CERTIFICATE", &[7; 100][..]));
    }

    #[test]
    fn the_limit_counts_bytes_before_decoding() {
        let error = decode("chain", &vec![b'x'; 95_001], limits().chain).err().unwrap();
        assert_eq!(error.to_string(), "the chain is 95001 bytes long; at most 95000 bytes are read");
        assert!(decode("chain", &vec![b'x'; 95_000], limits().chain).unwrap().is_empty());
    }

    #[test]
    fn a_bundle_without_certificates_says_what_it_holds() {
        let error = decode_bundle(encode("PRIVATE KEY", b"secret").as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "the CA bundle holds no PEM block \"CERTIFICATE\"; it holds PRIVATE KEY");
        assert!(matches!(
            decode_bundle(b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----"),
            Err(Error::Pem { .. })
        ));
    }
}
