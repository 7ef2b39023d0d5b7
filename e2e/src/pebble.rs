//! Pebble, the ACME certificate authority for tests.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::authority::{Authority, Signed};
use crate::launcher::Launcher;
use crate::network::NODE;
use crate::process::Process;
use crate::state::{Acme, State};
use crate::wait::until_ready;

const READY: Duration = Duration::from_mins(1);

/// How a Pebble behaves. The defaults are quick and leave nothing but nonces to chance.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct PebbleOptions {
    /// Distinguishes several in one testbed: folder and log are called so.
    pub name: String,
    /// The ACME interface listens here, on all addresses.
    pub port: u16,
    /// The management interface.
    pub management_port: u16,
    /// Seconds in the `Retry-After` header of authorizations being validated. 0: no header; 1 is the least that sends one.
    /// Pebble writes it as a number or as a date, by chance.
    pub retry_after_authorization: u32,
    /// The same for orders being issued.
    pub retry_after_order: u32,
    /// Of 100 good nonces, so many are refused with `badNonce`.
    pub nonce_reject_percent: u8,
    /// Of 100 identifiers with a valid authorization, so many get it again in a new order.
    pub authorization_reuse_percent: u8,
    /// New accounts need external account binding with one of the keys in [`Acme::external_account_keys`].
    pub external_account_required: bool,
    /// Certificate profiles: name and validity in seconds.
    pub profiles: BTreeMap<String, u64>,
    /// Names (and all below them) that are refused with `rejectedIdentifier`.
    pub blocked_names: Vec<String>,
    /// The DNS server that is asked when names are validated, as `ADDRESS:PORT`; the testbed's own without it.
    pub dns_server: Option<String>,
    /// Further variables, such as `PEBBLE_ALTERNATE_ROOTS`, `PEBBLE_CHAIN_LENGTH`, `PEBBLE_VA_ALWAYS_VALID`.
    pub environment: BTreeMap<String, String>,
}

impl Default for PebbleOptions {
    fn default() -> Self {
        let day = 24 * 3600;
        let profiles = [("default", 90 * day), ("shortlived", 6 * day), ("hour", 3600)];
        Self {
            name: "pebble".into(),
            port: 14000,
            management_port: 15000,
            retry_after_authorization: 1,
            retry_after_order: 1,
            nonce_reject_percent: 5,
            authorization_reuse_percent: 0,
            external_account_required: false,
            profiles: profiles.into_iter().map(|(name, seconds)| (name.to_owned(), seconds)).collect(),
            blocked_names: vec!["blocked.certwright.test".into()],
            dns_server: None,
            environment: BTreeMap::new(),
        }
    }
}

/// Starts the testbed's own Pebble and waits until it answers.
pub async fn start(launcher: &mut Launcher, options: &PebbleOptions) -> Result<()> {
    let prepared = prepare(&launcher.state, options)?;
    let mut command = Launcher::command(&prepared.program)?;
    prepared.complete(&mut command);
    let process = launcher.start(&options.name, command)?;
    wait(process, &prepared.acme).await?;
    launcher.state.acme = Some(prepared.acme);
    Ok(())
}

/// Starts a further Pebble from a test inside the testbed `state`; it needs a name and ports of its own.
pub async fn start_another(state: &State, options: &PebbleOptions) -> Result<(Process, Acme)> {
    let prepared = prepare(state, options)?;
    let mut command = Command::new(&prepared.program);
    prepared.complete(&mut command);
    let mut process = Process::start(&options.name, command, &state.logs().join(format!("{}.log", options.name)))?;
    wait(&mut process, &prepared.acme).await?;
    Ok((process, prepared.acme))
}

/// Random bytes from the system.
pub(crate) fn random<const LENGTH: usize>() -> Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes).context("reading /dev/urandom")?;
    Ok(bytes)
}

struct Prepared {
    program: PathBuf,
    configuration: PathBuf,
    dns_server: String,
    environment: BTreeMap<String, String>,
    acme: Acme,
}

impl Prepared {
    fn complete(&self, command: &mut Command) {
        command.arg("-config").arg(&self.configuration).arg("-dnsserver").arg(&self.dns_server);
        command.envs(&self.environment);
    }
}

fn prepare(state: &State, options: &PebbleOptions) -> Result<Prepared> {
    let folder = state.folder.join(&options.name);
    let authority = Authority::create(&folder, "server-ca")?;
    let name = format!("{}.certwright.test", options.name);
    let server = authority.server("server", &[&name, "localhost", &NODE.to_string(), "127.0.0.1"])?;
    let mut keys = BTreeMap::new();
    for identifier in ["kid-1", "kid-2"] {
        keys.insert(identifier.to_owned(), URL_SAFE_NO_PAD.encode(random::<32>()?));
    }
    let configuration = write_configuration(&folder, options, &server, &keys)?;
    let acme = Acme {
        directory_url: format!("https://{NODE}:{}/dir", options.port),
        management_url: format!("https://{NODE}:{}", options.management_port),
        ca_file: authority.certificate_file().to_owned(),
        external_account_keys: keys,
    };
    let dns_server = options.dns_server.clone().unwrap_or_else(|| format!("{NODE}:53"));
    let program = state.program("pebble");
    Ok(Prepared { program, configuration, dns_server, environment: environment(options), acme })
}

fn write_configuration(
    folder: &Path,
    options: &PebbleOptions,
    server: &Signed,
    keys: &BTreeMap<String, String>,
) -> Result<PathBuf> {
    let profile = |(name, seconds): (&String, &u64)| {
        (name.clone(), json!({ "description": format!("valid for {seconds} seconds"), "validityPeriod": seconds }))
    };
    let profiles: serde_json::Map<String, serde_json::Value> = options.profiles.iter().map(profile).collect();
    let text = json!({ "pebble": {
        "listenAddress": format!("0.0.0.0:{}", options.port),
        "managementListenAddress": format!("0.0.0.0:{}", options.management_port),
        "certificate": server.certificate_file,
        "privateKey": server.key_file,
        "httpPort": 80,
        "tlsPort": 443,
        "externalAccountBindingRequired": options.external_account_required,
        "externalAccountMACKeys": keys,
        "domainBlocklist": options.blocked_names,
        "retryAfter": { "authz": options.retry_after_authorization, "order": options.retry_after_order },
        "keyAlgorithm": "ecdsa",
        "profiles": profiles,
    }});
    let file = folder.join("pebble.json");
    fs::write(&file, serde_json::to_vec_pretty(&text)?).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

fn environment(options: &PebbleOptions) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::from([
        ("PEBBLE_VA_NOSLEEP".to_owned(), "1".to_owned()),
        ("PEBBLE_WFE_NONCEREJECT".to_owned(), options.nonce_reject_percent.to_string()),
        ("PEBBLE_AUTHZREUSE".to_owned(), options.authorization_reuse_percent.to_string()),
    ]);
    environment.extend(options.environment.clone());
    environment
}

async fn wait(process: &mut Process, acme: &Acme) -> Result<()> {
    let client = acme.http_client()?;
    // The two interfaces begin to listen independently of each other.
    let urls = [acme.directory_url.clone(), format!("{}/roots/0", acme.management_url)];
    let look = async || {
        for url in &urls {
            client.get(url).send().await?.error_for_status()?;
        }
        Ok::<_, reqwest::Error>(())
    };
    until_ready(process, "Pebble's two interfaces", READY, look).await
}

impl Acme {
    /// An HTTP client that trusts Pebble's server certificate, for both its interfaces.
    pub fn http_client(&self) -> Result<reqwest::Client> {
        let pem = fs::read(&self.ca_file).with_context(|| format!("reading {}", self.ca_file.display()))?;
        let authority = reqwest::Certificate::from_pem(&pem)?;
        // RFC 8555 section 6.1 wants a user agent, and Pebble insists on one.
        let client = reqwest::Client::builder().user_agent("certwright-testbed").tls_certs_only([authority]);
        let client = client.no_proxy().timeout(Duration::from_secs(30));
        Ok(client.build()?)
    }
}
