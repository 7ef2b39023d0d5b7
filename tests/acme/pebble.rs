//! Starts Pebble, Let's Encrypt's test CA, on free ports, and stops it when dropped.

use std::{
    fs::File,
    net::{TcpListener, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use certwright::{
    acme::{
        Client, Config, Error,
        transport::{HttpTransport, Request, Response, Transport},
    },
    pki::ParsedCertificate,
};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reqwest::Method;
use tempfile::TempDir;

/// The DNS server's stand-in and the CA, both running.
pub struct Pebble {
    pub directory_url: String,
    /// The CA that signed Pebble's own HTTPS certificate, in PEM.
    pub ca_bundle: String,
    management_url: String,
    processes: Vec<Child>,
    directory: TempDir,
}

/// What differs between the tests.
#[derive(Default)]
pub struct Options {
    /// Key identifier and key (base64url) of accounts that may be bound; none means that binding is not required.
    pub external_account: Option<(&'static str, String)>,
    /// Chains beside the default one.
    pub alternate_roots: u8,
    /// Check challenges in earnest. Nobody answers them here, so they fail.
    pub validate: bool,
}

impl Pebble {
    /// `None` when the programs are not there.
    pub async fn start(options: Options) -> Option<Self> {
        let program = |name: &str| std::env::var(name).ok().filter(|path| Path::new(path).exists());
        let (Some(pebble), Some(dns)) = (program("CERTWRIGHT_PEBBLE"), program("CERTWRIGHT_PEBBLE_CHALLTESTSRV"))
        else {
            println!("skipped: CERTWRIGHT_PEBBLE and CERTWRIGHT_PEBBLE_CHALLTESTSRV do not name programs");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let ca_bundle = write_https_certificate(directory.path());
        let [port, management, dns_port, dns_management] = free_ports();
        write_configuration(directory.path(), port, management, &options);
        let dns = spawn(directory.path(), Command::new(dns).args(challtestsrv_arguments(dns_port, dns_management)));
        let ca = Command::new(pebble)
            .args(["-config", "pebble.json", "-dnsserver", &format!("127.0.0.1:{dns_port}")])
            // Every third nonce is refused although it is good.
            .env("PEBBLE_WFE_NONCEREJECT", "30")
            .env("PEBBLE_VA_ALWAYS_VALID", if options.validate { "0" } else { "1" })
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0")
            .env("PEBBLE_ALTERNATE_ROOTS", options.alternate_roots.to_string())
            .current_dir(directory.path())
            .stdout(log(directory.path(), "pebble.log"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let directory_url = format!("https://localhost:{port}/dir");
        let management_url = format!("https://localhost:{management}");
        let pebble = Self { directory_url, ca_bundle, management_url, processes: vec![dns, ca], directory };
        pebble.wait_until_it_answers().await;
        Some(pebble)
    }

    pub fn client(&self) -> Client {
        Client::new(&self.config()).unwrap()
    }

    pub fn config(&self) -> Config {
        Config {
            directory_url: self.directory_url.clone(),
            ca_bundle: Some(self.ca_bundle.clone().into_bytes()),
            skip_tls_verify: false,
        }
    }

    /// A client, and how many nonces it was refused so far.
    pub fn counting_client(&self) -> (Client, Arc<AtomicUsize>) {
        let refused = Arc::new(AtomicUsize::new(0));
        let inner = HttpTransport::new(Some(self.ca_bundle.as_bytes()), false).unwrap();
        let transport = CountingTransport { inner, refused: refused.clone() };
        (Client::with_transport(&self.directory_url, Box::new(transport)).unwrap(), refused)
    }

    /// What the CA says of a certificate: `Status` is `Valid` or `Revoked`, `Reason` a number of RFC 5280 section 5.3.1.
    pub async fn status_of(&self, certificate: &ParsedCertificate) -> serde_json::Value {
        let request = Request {
            method: Method::GET,
            url: format!("{}/cert-status-by-serial/{}", self.management_url, certificate.serial_hex()),
            accept: "application/json",
            body: None,
            limit: 1 << 20,
            action: "unnamed_action",
        };
        let transport = HttpTransport::new(Some(self.ca_bundle.as_bytes()), false).unwrap();
        serde_json::from_slice(&transport.exchange(&request).await.unwrap().body).unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("pebble.log")).unwrap()
    }

    async fn wait_until_it_answers(&self) {
        let client = self.client();
        for _ in 0..1200 {
            if client.directory().await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("Pebble does not answer: {}", self.log());
    }
}

/// Counts the requests that were refused for their nonce.
struct CountingTransport {
    inner: HttpTransport,
    refused: Arc<AtomicUsize>,
}

#[async_trait]
impl Transport for CountingTransport {
    async fn exchange(&self, request: &Request) -> Result<Response, Error> {
        let response = self.inner.exchange(request).await?;
        if String::from_utf8_lossy(&response.body).contains("acme:error:badNonce") {
            self.refused.fetch_add(1, Ordering::SeqCst);
        }
        Ok(response)
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn spawn(directory: &Path, command: &mut Command) -> Child {
    command.current_dir(directory).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn log(directory: &Path, name: &str) -> File {
    File::create(directory.join(name)).unwrap()
}

/// Ports that are free over UDP and TCP, given out once, below the range from which the system takes ports for clients.
fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 25_000 + u16::try_from(std::process::id() % 20).unwrap() * 300;
    let is_free =
        |port: &u16| UdpSocket::bind(("127.0.0.1", *port)).is_ok() && TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut ports = (0..100).map(|_| start + NEXT.fetch_add(1, Ordering::Relaxed)).filter(is_free);
    [(); N].map(|()| ports.next().expect("no free port found"))
}

fn challtestsrv_arguments(dns_port: u16, management: u16) -> Vec<String> {
    vec![
        "-dnsserver".into(),
        format!("127.0.0.1:{dns_port}"),
        "-management".into(),
        format!("127.0.0.1:{management}"),
        "-http01".into(),
        String::new(),
        "-https01".into(),
        String::new(),
        "-tlsalpn01".into(),
        String::new(),
        "-doh".into(),
        String::new(),
    ]
}

fn write_configuration(directory: &Path, port: u16, management: u16, options: &Options) {
    let keys = options.external_account.iter().cloned().collect::<std::collections::BTreeMap<_, _>>();
    let configuration = serde_json::json!({ "pebble": {
        "listenAddress": format!("127.0.0.1:{port}"),
        "managementListenAddress": format!("127.0.0.1:{management}"),
        "certificate": "https.pem",
        "privateKey": "https.key",
        "httpPort": 1,
        "tlsPort": 1,
        "externalAccountBindingRequired": options.external_account.is_some(),
        "externalAccountMACKeys": keys,
        "domainBlocklist": ["blocked-domain.example"],
        "retryAfter": { "authz": 3, "order": 5 },
        "keyAlgorithm": "ecdsa",
        "profiles": {
            "default": { "description": "ninety days", "validityPeriod": 7_776_000 },
            "shortlived": { "description": "six days", "validityPeriod": 518_400 },
        },
    } });
    std::fs::write(directory.join("pebble.json"), configuration.to_string()).unwrap();
}

fn write_https_certificate(directory: &Path) -> String {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "Pebble's HTTPS CA");
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    std::fs::write(directory.join("https.pem"), leaf.pem()).unwrap();
    std::fs::write(directory.join("https.key"), key.serialize_pem()).unwrap();
    ca.pem()
}
