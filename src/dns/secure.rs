//! DNS over TLS (RFC 7858) and over HTTPS (RFC 8484), both with the server's certificate verified.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, Response, Url, redirect};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::exchange::{ExchangeError, Transport, is_answer_to, stream_round_trip};
use super::nameserver::NameserverError;

const MEDIA_TYPE: &str = "application/dns-message";

/// The longest message that DNS has, in bytes.
const LONGEST_MESSAGE: usize = 65_535;

/// What it takes to ask nameservers over TLS and HTTPS.
#[derive(Clone, Debug)]
pub struct Secure {
    tls: Arc<ClientConfig>,
    https: Client,
}

impl Secure {
    /// Trusts the roots that the machine trusts.
    ///
    /// # Errors
    ///
    /// Roots that cannot be read.
    pub fn of_machine() -> Result<Self, NameserverError> {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(BuilderVerifierExt::with_platform_verifier)
            .map_err(|error| NameserverError::Tls(error.to_string()))?;
        Self::new(config.with_no_client_auth())
    }

    /// # Errors
    ///
    /// An HTTP client that cannot be made.
    pub fn new(config: ClientConfig) -> Result<Self, NameserverError> {
        // RFC 8484 section 5.2 wants HTTP/2; some servers speak nothing else.
        let mut for_https = config.clone();
        for_https.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let https = Client::builder()
            .tls_backend_preconfigured(for_https)
            .user_agent(concat!("certwright/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .referer(false)
            .build()
            .map_err(|error| NameserverError::Tls(error.to_string()))?;
        Ok(Self { tls: Arc::new(config), https })
    }

    /// One connection for one question. `limit` is for all of it.
    pub(crate) async fn over_tls(
        &self,
        address: SocketAddr,
        name: &ServerName<'static>,
        request: &[u8],
        limit: Duration,
    ) -> Result<Vec<u8>, ExchangeError> {
        let transport = Transport::Tls;
        let round_trip = async {
            let stream = TcpStream::connect(address).await?;
            let stream = TlsConnector::from(self.tls.clone()).connect(name.clone(), stream).await?;
            stream_round_trip(stream, request).await
        };
        match timeout(limit, round_trip).await {
            Ok(Ok(answer)) => related(request, answer),
            Ok(Err(error)) => Err(ExchangeError::Io { transport, source: io::Error::other(cause(&error)) }),
            Err(_) => Err(ExchangeError::Timeout { transport, limit }),
        }
    }

    /// One POST. `limit` is for all of it.
    pub(crate) async fn over_https(
        &self,
        url: &Url,
        request: &[u8],
        limit: Duration,
    ) -> Result<Vec<u8>, ExchangeError> {
        let transport = Transport::Https;
        let round_trip = async {
            let post = self.https.post(url.clone()).header(CONTENT_TYPE, MEDIA_TYPE).header(ACCEPT, MEDIA_TYPE);
            body(post.body(request.to_vec()).send().await.map_err(broken)?).await
        };
        match timeout(limit, round_trip).await {
            Ok(answer) => related(request, answer?),
            Err(_) => Err(ExchangeError::Timeout { transport, limit }),
        }
    }
}

fn related(request: &[u8], answer: Vec<u8>) -> Result<Vec<u8>, ExchangeError> {
    if is_answer_to(request, &answer) { Ok(answer) } else { Err(ExchangeError::Unrelated) }
}

async fn body(mut response: Response) -> Result<Vec<u8>, ExchangeError> {
    if !response.status().is_success() {
        return Err(ExchangeError::Http(response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > LONGEST_MESSAGE {
            return Err(ExchangeError::Unrelated);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn broken(error: reqwest::Error) -> ExchangeError {
    let source = io::Error::other(cause(&error.without_url()));
    ExchangeError::Io { transport: Transport::Https, source }
}

/// The innermost error in words that are the same each time. Those of rustls tell the time of day.
fn cause(error: &(dyn StdError + 'static)) -> String {
    let mut innermost = error;
    loop {
        // An I/O error hides what it wraps from `source`.
        let wrapped = innermost.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let next = wrapped.map(|inner| inner as &(dyn StdError + 'static)).or_else(|| innermost.source());
        if let Some(error) = innermost.downcast_ref::<rustls::Error>() {
            return tls_cause(error);
        }
        match next {
            Some(next) => innermost = next,
            None => return innermost.to_string(),
        }
    }
}

fn tls_cause(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its certificate has expired".into(),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet".into()
            }
            CertificateError::UnknownIssuer => "its certificate is from an issuer that is not trusted".into(),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name".into()
            }
            _ => "its certificate is not valid".into(),
        },
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::UnixTime;

    use super::*;

    #[test]
    fn a_cause_is_told_without_the_time_of_day() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let expired = CertificateError::ExpiredContext { time: at(2_000), not_after: at(1_000) };
        let wrapped = io::Error::other(rustls::Error::InvalidCertificate(expired));
        assert_eq!(cause(&io::Error::other(wrapped)), "its certificate has expired");
        assert_eq!(cause(&io::Error::from(io::ErrorKind::ConnectionRefused)), "connection refused");
    }
}
