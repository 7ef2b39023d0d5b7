//! A zone below one of the testbed's whose secondary hears of no change, and looks for some every half minute or so.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::dns::{serial, txt_values, update};
use crate::packages::require_program;
use crate::process::Process;
use crate::state::Dns;
use crate::testbed::Testbed;
use crate::wait::until_ready;

const LABEL: &str = "lagging";
/// BIND waits for three quarters of it at least.
const REFRESH_SECONDS: u32 = 36;
const READY: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks at the secondary.
const STEP: Duration = Duration::from_millis(20);

/// The two servers, which end when this is dropped.
pub struct Lagging {
    zone: String,
    dns: Dns,
    _servers: [Process; 2],
}

impl Lagging {
    /// Starts both and delegates the zone to them.
    pub async fn start(testbed: &Testbed) -> Result<Self> {
        let above = testbed.state.dns()?;
        let zone = format!("{LABEL}.{}", above.zones.first().map(String::as_str).unwrap_or_default());
        let [primary, secondary, ..] = testbed.state.spare_addresses[..] else { bail!("there are no spare addresses") };
        let dns = Dns { primary, secondary, zones: vec![zone.clone()], tsig: above.tsig.clone() };
        let mut servers = Vec::new();
        for address in [primary, secondary] {
            let mut server = start_server(testbed, &dns, address)?;
            let look = async || serial(address, &zone).map(drop);
            until_ready(&mut server, "a DNS server of the lagging zone", READY, look).await?;
            servers.push(server);
        }
        let mut lines = Vec::new();
        for (label, address) in [("ns1", primary), ("ns2", secondary)] {
            lines.push(format!("add {zone} 60 NS {label}.{zone}."));
            lines.push(format!("add {label}.{zone} 60 A {address}"));
        }
        update(above, &lines)?;
        let Ok(servers) = servers.try_into() else { bail!("there are two servers") };
        Ok(Self { zone, dns, _servers: servers })
    }

    pub fn zone(&self) -> &str {
        &self.zone
    }

    /// Where updates go.
    pub fn nameserver(&self) -> String {
        format!("{}:53", self.dns.primary)
    }

    /// Changes the zone, and waits until the secondary has looked: now it has just begun to wait again.
    pub fn follow(&self, name: &str) -> Result<()> {
        update(&self.dns, &[format!("add {name} 60 TXT mark")])?;
        let start = Instant::now();
        while txt_values(self.dns.secondary, name)?.is_empty() {
            if start.elapsed() > PATIENCE {
                bail!("the secondary of {} does not follow", self.zone);
            }
            std::thread::sleep(STEP);
        }
        Ok(())
    }

    /// When, since `start`, the primary has a value at this name.
    pub async fn taken(&self, name: &str, start: Instant) -> Result<Duration> {
        has(self.dns.primary, name, start).await
    }

    /// When, since `start`, the secondary has a value at this name.
    pub async fn followed(&self, name: &str, start: Instant) -> Result<Duration> {
        has(self.dns.secondary, name, start).await
    }
}

async fn has(server: Ipv4Addr, name: &str, start: Instant) -> Result<Duration> {
    while start.elapsed() < PATIENCE {
        if !txt_values(server, name)?.is_empty() {
            return Ok(start.elapsed());
        }
        tokio::time::sleep(STEP).await;
    }
    bail!("{server} has no value at {name} after {} s", PATIENCE.as_secs())
}

fn start_server(testbed: &Testbed, dns: &Dns, address: Ipv4Addr) -> Result<Process> {
    let home = testbed.state.folder.join(format!("dns/lagging-{address}"));
    fs::create_dir_all(&home)?;
    let (zone, folder, tsig) = (&dns.zones[0], home.display(), &dns.tsig);
    let body = if address == dns.primary {
        fs::write(home.join("zone"), zone_text(zone, dns))?;
        format!("type primary; file \"zone\"; allow-update {{ key \"{}\"; }}; allow-transfer {{ any; }};", tsig.name)
    } else {
        format!("type secondary; file \"zone\"; primaries {{ {}; }}; min-refresh-time 1;", dns.primary)
    };
    let text = format!(
        "options {{ directory \"{folder}\"; pid-file none; session-keyfile \"{folder}/session.key\"; listen-on port 53 \
         {{ {address}; }}; listen-on-v6 {{ none; }}; transfer-source {address}; recursion no; dnssec-validation no; \
         empty-zones-enable no; }};\ncontrols {{ }};\nkey \"{}\" {{ algorithm {}; secret \"{}\"; }};\n\
         zone \"{zone}\" {{ {body} notify no; }};\n",
        tsig.name, tsig.algorithm, tsig.secret
    );
    fs::write(home.join("named.conf"), text)?;
    // The testbed's own copy: see the module `dns`.
    let mut command = Command::new(require_program(&testbed.state.folder.join("dns/named").display().to_string())?);
    command.args(["-g", "-n", "1", "-c"]).arg(home.join("named.conf"));
    testbed.start(&format!("dns-lagging-{address}"), command)
}

fn zone_text(zone: &str, dns: &Dns) -> String {
    let Dns { primary, secondary, .. } = dns;
    format!(
        "$TTL 60\n@ SOA ns1.{zone}. hostmaster.{zone}. 1 {REFRESH_SECONDS} 10 86400 1\n@ NS ns1.{zone}.\n@ NS ns2.{zone}.\n\
         ns1 A {primary}\nns2 A {secondary}\n* A {primary}\n"
    )
}
