//! Issued certificates (RFC 8555 7.4.2).

use super::{
    Error,
    client::Answer,
    link,
    transport::{Request, Response},
};
use crate::pki::pem;

/// More chains than any CA has for one certificate.
const MAX_ALTERNATES: usize = 10;

/// A certificate with the chain the server chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The certificate, then its issuers, in PEM.
    pub pem: String,
    /// URLs where the same certificate is with other chains.
    pub alternates: Vec<String>,
}

impl Chain {
    pub(super) fn from_response(request: &Request, response: &Response) -> Result<Answer<Self>, Error> {
        let limit = pem::limits().chain;
        if response.body.len() > limit {
            return Err(Error::TooLarge { url: request.shown_url(), limit });
        }
        let pem = String::from_utf8(response.body.clone()).ok();
        let Some(pem) = pem.filter(|pem| pem.contains("-----BEGIN CERTIFICATE-----")) else {
            return Err(response.not_acme(request, "a certificate chain in PEM was expected"));
        };
        let alternates = link::targets(&response.headers, "alternate", &request.url, MAX_ALTERNATES);
        Ok(Answer::new(Self { pem, alternates }, request, response))
    }
}
