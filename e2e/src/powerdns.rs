//! A PowerDNS server with a zone of its own below one of the testbed's: its HTTP API, and dynamic updates (RFC 2136). It may
//! have a secondary, which hears of changes from it alone.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::dns;
use crate::network::run;
use crate::packages::{copy_program, require_program};
use crate::pebble::random;
use crate::process::Process;
use crate::state::Tsig;
use crate::testbed::Testbed;
use crate::wait::until_ready;

const API_PORT: u16 = 8081;
const READY: Duration = Duration::from_mins(1);

/// A running server. Dropping it ends it.
pub struct PowerDns {
    /// Its zone, to which the testbed's own servers refer, without a final dot.
    pub zone: String,
    pub address: Ipv4Addr,
    pub api_key: String,
    /// The key for dynamic updates.
    pub tsig: Tsig,
    processes: Vec<Process>,
}

impl PowerDns {
    /// Starts a server on one of [`SPARE`](crate::network::SPARE) and delegates `zone` to it.
    pub async fn start(testbed: &Testbed, address: Ipv4Addr, zone: &str) -> Result<Self> {
        Self::start_all(testbed, &[address], zone).await
    }

    /// The same with a secondary on another of the addresses. It looks for changes by itself once in an hour.
    pub async fn start_with_secondary(testbed: &Testbed, addresses: [Ipv4Addr; 2], zone: &str) -> Result<Self> {
        let mut server = Self::start_all(testbed, &addresses, zone).await?;
        let [primary, address] = addresses;
        let folder = folder(testbed, address, &server.api_key)?;
        pdnsutil(&folder, &["create-secondary-zone", zone, &primary.to_string()])?;
        server.processes.push(start_process(testbed, &folder, address, zone).await?);
        Ok(server)
    }

    /// Starts the first of the zone's nameservers.
    async fn start_all(testbed: &Testbed, nameservers: &[Ipv4Addr], zone: &str) -> Result<Self> {
        let address = *nameservers.first().context("a zone needs a nameserver")?;
        let api_key = STANDARD.encode(random::<18>()?);
        let folder = folder(testbed, address, &api_key)?;
        let secret = STANDARD.encode(random::<32>()?);
        let tsig = Tsig { name: "powerdns-key".into(), algorithm: "hmac-sha256".into(), secret };
        fill(&folder, zone, nameservers, &tsig)?;
        let process = start_process(testbed, &folder, address, zone).await?;
        delegate(testbed, zone, nameservers)?;
        Ok(Self { zone: zone.to_owned(), address, api_key, tsig, processes: vec![process] })
    }

    /// Where the HTTP API is.
    pub fn host(&self) -> String {
        format!("http://{}:{API_PORT}", self.address)
    }

    /// The TXT values at `name`, as PowerDNS itself has them.
    pub async fn txt(&self, name: &str) -> Result<Vec<String>> {
        let zone: Value = self.request(reqwest::Method::GET, None).await?;
        let sets = zone["rrsets"].as_array().context("the zone has no record sets")?;
        let wanted = format!("{name}.");
        let of_name = sets.iter().filter(|set| set["type"] == "TXT" && set["name"] == *wanted);
        let records = of_name.flat_map(|set| set["records"].as_array().into_iter().flatten());
        Ok(records.filter_map(|record| Some(record["content"].as_str()?.trim_matches('"').to_owned())).collect())
    }

    /// Replaces the TXT values at `name`, as somebody else would.
    pub async fn put_txt(&self, name: &str, values: &[&str]) -> Result<()> {
        let records: Vec<Value> =
            values.iter().map(|value| json!({ "content": format!("\"{value}\""), "disabled": false })).collect();
        let set = json!({
            "name": format!("{name}."), "type": "TXT", "ttl": 300, "changetype": "REPLACE", "records": records,
        });
        self.request(reqwest::Method::PATCH, Some(json!({ "rrsets": [set] }))).await.map(drop)
    }

    async fn request(&self, method: reqwest::Method, body: Option<Value>) -> Result<Value> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build()?;
        let url = format!("{}/api/v1/servers/localhost/zones/{}.", self.host(), self.zone);
        let mut request = client.request(method, url).header("X-API-Key", &self.api_key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let text = request.send().await?.error_for_status()?.text().await?;
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }
}

/// A folder with the server's configuration. Its name is short, because the path of a socket in it has room for 107 bytes.
fn folder(testbed: &Testbed, address: Ipv4Addr, api_key: &str) -> Result<PathBuf> {
    let [.., host] = address.octets();
    let folder = testbed.state.folder.join(format!("pdns-{host}-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("making the folder {}", folder.display()))?;
    fs::write(folder.join("pdns.conf"), configuration(&folder, address, api_key))?;
    Ok(folder)
}

/// Starts a server, and waits until it serves the zone and its HTTP API.
async fn start_process(testbed: &Testbed, folder: &Path, address: Ipv4Addr, zone: &str) -> Result<Process> {
    let mut command = Command::new(own_server(folder)?);
    command.arg(config_dir(folder)).args(["--daemon=no", "--guardian=no", "--disable-syslog"]);
    let mut process = testbed.start("powerdns", command)?;
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build()?;
    let look = async || {
        client.get(format!("http://{address}:{API_PORT}/api")).send().await?;
        serves(address, zone)
    };
    until_ready(&mut process, "PowerDNS", READY, look).await?;
    Ok(process)
}

fn configuration(folder: &Path, address: Ipv4Addr, api_key: &str) -> String {
    let folder = folder.display();
    format!(
        "launch=lmdb\nlmdb-filename={folder}/pdns.lmdb\nlmdb-map-size=64\nsocket-dir={folder}\n\
         local-address={address}\nlocal-port=53\napi=yes\napi-key={api_key}\nwebserver=yes\n\
         webserver-address={address}\nwebserver-port={API_PORT}\nwebserver-allow-from=10.77.0.0/24\n\
         dnsupdate=yes\nallow-dnsupdate-from=10.77.0.0/24\nsecurity-poll-suffix=\nzone-cache-refresh-interval=0\n\
         primary=yes\nsecondary=yes\nxfr-cycle-interval=3600\nallow-axfr-ips=10.77.0.0/24\nquery-local-address={address}\n"
    )
}

/// The zone, and who may update it. Its serial grows with every change through the API.
fn fill(folder: &Path, zone: &str, nameservers: &[Ipv4Addr], tsig: &Tsig) -> Result<()> {
    pdnsutil(folder, &["create-zone", zone])?;
    for (host, address) in hosts(nameservers) {
        pdnsutil(folder, &["add-record", zone, "@", "NS", "60", &format!("{host}.{zone}")])?;
        pdnsutil(folder, &["add-record", zone, &host, "A", "60", &address.to_string()])?;
    }
    pdnsutil(folder, &["set-kind", zone, "primary"])?;
    pdnsutil(folder, &["set-meta", zone, "SOA-EDIT-API", "DEFAULT"])?;
    pdnsutil(folder, &["import-tsig-key", &tsig.name, &tsig.algorithm, &tsig.secret])?;
    pdnsutil(folder, &["set-meta", zone, "TSIG-ALLOW-DNSUPDATE", &tsig.name])
}

fn pdnsutil(folder: &Path, arguments: &[&str]) -> Result<()> {
    run(Command::new(require_program("pdnsutil")?).arg(config_dir(folder)).args(arguments))
}

fn config_dir(folder: &Path) -> String {
    format!("--config-dir={}", folder.display())
}

/// A copy: where AppArmor guards the program by its path, that may not read a testbed's folder.
fn own_server(folder: &Path) -> Result<PathBuf> {
    let copy = folder.join("pdns_server");
    copy_program(&require_program("pdns_server").context("`testbed packages --of-tests` installs it")?, &copy)?;
    Ok(copy)
}

fn delegate(testbed: &Testbed, zone: &str, nameservers: &[Ipv4Addr]) -> Result<()> {
    let records =
        |(host, address)| [format!("add {zone} 60 NS {host}.{zone}"), format!("add {host}.{zone} 60 A {address}")];
    let lines: Vec<String> = hosts(nameservers).flat_map(records).collect();
    dns::update(testbed.state.dns()?, &lines)
}

/// The nameservers' names within the zone.
fn hosts(nameservers: &[Ipv4Addr]) -> impl Iterator<Item = (String, Ipv4Addr)> {
    nameservers.iter().enumerate().map(|(number, &address)| (format!("ns{}", number + 1), address))
}

fn serves(server: Ipv4Addr, zone: &str) -> Result<()> {
    let mut dig = Command::new(require_program("dig")?);
    dig.args([&format!("@{server}"), zone, "SOA", "+norecurse", "+short", "+time=1", "+tries=1"]);
    let output = dig.output().context("starting dig")?;
    if !output.status.success() || output.stdout.is_empty() {
        bail!("{server} does not serve {zone}: {}", String::from_utf8_lossy(&output.stdout).trim());
    }
    Ok(())
}
