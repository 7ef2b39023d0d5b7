//! The identifier of a certificate in ACME renewal information (RFC 9773 section 4.1).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};

use super::ParsedCertificate;

/// The identifier under which a CA tells when to renew a certificate, and under which an order names the certificate
/// that it replaces: `None` if the certificate does not name its issuer's key.
pub fn certificate_id(certificate: &ParsedCertificate) -> Option<String> {
    let authority = certificate.authority_key_id.as_ref()?;
    Some(join(authority, &certificate.serial))
}

fn join(authority_key_id: &[u8], serial: &[u8]) -> String {
    format!("{}.{}", BASE64URL.encode(authority_key_id), BASE64URL.encode(serial))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 9773 section 4.1.
    #[test]
    fn the_identifier_joins_issuer_key_and_serial_number() {
        let authority = [
            0x69, 0x88, 0x5b, 0x6b, 0x87, 0x46, 0x40, 0x41, 0xe1, 0xb3, 0x7b, 0x84, 0x7b, 0xa0, 0xae, 0x2c, 0xde, 0x01,
            0xc8, 0xd4,
        ];
        assert_eq!(join(&authority, &[0x00, 0x87, 0x65, 0x43, 0x21]), "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
    }
}
