//! Where a server's certificate comes from: flags of the same meaning that different servers have under different names.

use std::{
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use rustls::ServerConfig;

use crate::tls::{
    Certificates, CipherSuite, Clients, Keeper, MinVersion, Protocol, Settings, Source, TlsError, follow, pair,
};

/// What the flags say. They are called `--tls-cert-file`, `--dynamic-serving-ca-secret-name` and so on, with a prefix.
#[derive(Clone, Debug)]
pub struct TlsFlags {
    /// As in `metrics-`.
    pub prefix: &'static str,
    pub certificate_file: String,
    pub key_file: String,
    pub secret_namespace: String,
    pub secret_name: String,
    pub dns_names: Vec<String>,
    pub lifetime: SignedDuration,
    pub protocol: Protocol,
}

/// A server's side of TLS.
pub struct Served {
    pub settings: Arc<ServerConfig>,
    pub certificates: Arc<Certificates>,
    /// Keeps the certificate current for as long as it is worked on, which is until the process ends.
    pub keep: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Why nothing can be served over TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsFlagsError {
    #[error("--{0} needs --{1} too")]
    Incomplete(String, String),
    #[error("--{0} and --{1} cannot both be set: the certificate comes from files, or from a CA in a Secret")]
    Both(String, String),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Files { certificate: PathBuf, key: PathBuf },
    Secret,
}

impl TlsFlags {
    /// Prepares to serve; `None` if no flag says with what. `what` is what is served, for the log.
    ///
    /// # Errors
    /// Which flag is missing or too many.
    pub fn serve(
        self,
        what: &'static str,
        client: &Client,
        clients: Option<Arc<Clients>>,
    ) -> Result<Option<Served>, TlsFlagsError> {
        let Some(origin) = self.origin()? else { return Ok(None) };
        for note in self.protocol.notes() {
            tracing::warn!(what, "--{}tls-cipher-suites: {note}", self.prefix);
        }
        let certificates = Arc::new(Certificates::default());
        let settings = certificates.settings(&self.protocol, clients)?;
        let keep: Pin<Box<dyn Future<Output = ()> + Send>> = match origin {
            Origin::Files { certificate, key } => Box::pin(keep_files(what, &certificate, &key, certificates.clone())),
            Origin::Secret => {
                let keeper = Keeper::new(client.clone(), self.settings(what), certificates.clone());
                Box::pin(keeper.run())
            }
        };
        Ok(Some(Served { settings, certificates, keep }))
    }

    fn origin(&self) -> Result<Option<Origin>, TlsFlagsError> {
        let files = [("tls-cert-file", &*self.certificate_file), ("tls-private-key-file", &*self.key_file)];
        let first_name = self.dns_names.iter().find(|name| !name.is_empty()).map_or("", |name| name);
        let secret = [
            ("dynamic-serving-ca-secret-namespace", &*self.secret_namespace),
            ("dynamic-serving-ca-secret-name", &*self.secret_name),
            ("dynamic-serving-dns-names", first_name),
        ];
        match (self.all_or_none(&files)?, self.all_or_none(&secret)?) {
            (None, None) => Ok(None),
            (Some(()), None) => {
                let (certificate, key) = (self.certificate_file.clone().into(), self.key_file.clone().into());
                Ok(Some(Origin::Files { certificate, key }))
            }
            (None, Some(())) => Ok(Some(Origin::Secret)),
            (Some(()), Some(())) => Err(TlsFlagsError::Both(self.flag(files[0].0), self.flag(secret[1].0))),
        }
    }

    /// Of flags that belong together.
    fn all_or_none(&self, flags: &[(&str, &str)]) -> Result<Option<()>, TlsFlagsError> {
        let given = flags.iter().find(|(_, value)| !value.is_empty());
        let missing = flags.iter().find(|(_, value)| value.is_empty());
        match (given, missing) {
            (None, _) => Ok(None),
            (Some(_), None) => Ok(Some(())),
            (Some((given, _)), Some((missing, _))) => {
                Err(TlsFlagsError::Incomplete(self.flag(given), self.flag(missing)))
            }
        }
    }

    fn flag(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn settings(self, what: &'static str) -> Settings {
        Settings {
            what,
            namespace: self.secret_namespace,
            secret: self.secret_name,
            dns_names: self.dns_names.into_iter().filter(|name| !name.is_empty()).collect(),
            lifetime: self.lifetime,
        }
    }
}

/// For the value of `…tls-min-version`.
pub fn min_version(text: &str) -> Result<MinVersion, String> {
    text.parse()
}

/// For one value of `…tls-cipher-suites`.
pub fn cipher_suite(text: &str) -> Result<CipherSuite, String> {
    text.parse()
}

fn keep_files(
    what: &'static str,
    certificate: &Path,
    key: &Path,
    certificates: Arc<Certificates>,
) -> impl Future<Output = ()> + use<> {
    let sources = [Source::chain(certificate), Source::key(key)];
    let take = {
        let sources = sources.clone();
        move |found: &[Vec<u8>; 2]| pair(&certificates, &sources, found, Timestamp::now())
    };
    follow(what, sources, take)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn flags(set: impl Fn(&mut TlsFlags)) -> TlsFlags {
        let mut flags = TlsFlags {
            prefix: "metrics-",
            certificate_file: String::new(),
            key_file: String::new(),
            secret_namespace: String::new(),
            secret_name: String::new(),
            dns_names: Vec::new(),
            lifetime: SignedDuration::from_hours(168),
            protocol: Protocol::default(),
        };
        set(&mut flags);
        flags
    }

    #[test]
    fn the_certificate_has_one_origin() {
        let name = || vec!["a.test".to_owned()];
        let files = |flags: &mut TlsFlags| {
            (flags.certificate_file, flags.key_file) = ("a".to_owned(), "b".to_owned());
        };
        let secret = |flags: &mut TlsFlags| {
            (flags.secret_namespace, flags.secret_name) = ("a".to_owned(), "b".to_owned());
            flags.dns_names = name();
        };
        assert_eq!(flags(|_| ()).origin().unwrap(), None);
        assert_eq!(flags(files).origin().unwrap(), Some(Origin::Files { certificate: "a".into(), key: "b".into() }));
        assert_eq!(flags(secret).origin().unwrap(), Some(Origin::Secret));
    }

    #[test]
    fn what_is_missing_or_too_much_is_told_by_its_flag() {
        let problem = |set: &dyn Fn(&mut TlsFlags)| flags(set).origin().unwrap_err().to_string();
        let text = || "a".to_owned();
        assert_eq!(
            problem(&|flags| flags.certificate_file = text()),
            "--metrics-tls-cert-file needs --metrics-tls-private-key-file too"
        );
        assert_eq!(
            problem(&|flags| flags.key_file = text()),
            "--metrics-tls-private-key-file needs --metrics-tls-cert-file too"
        );
        assert_eq!(
            problem(&|flags| {
                (flags.secret_namespace, flags.secret_name, flags.dns_names) = (text(), text(), vec![String::new()]);
            }),
            "--metrics-dynamic-serving-ca-secret-namespace needs --metrics-dynamic-serving-dns-names too"
        );
        assert_eq!(
            problem(&|flags| {
                (flags.secret_namespace, flags.secret_name, flags.dns_names) = (text(), text(), vec![text()]);
                (flags.certificate_file, flags.key_file) = (text(), text());
            }),
            "--metrics-tls-cert-file and --metrics-dynamic-serving-ca-secret-name cannot both be set: the certificate comes \
             from files, or from a CA in a Secret"
        );
    }
}
