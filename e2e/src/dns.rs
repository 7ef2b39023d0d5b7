//! Two BIND servers: a primary that takes dynamic updates (RFC 2136) and resolves, and a secondary that follows it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::launcher::Launcher;
use crate::network::{NODE, SECONDARY_DNS};
use crate::packages::{copy_program, require_program};
use crate::pebble::random;
use crate::state::{Dns, Tsig};
use crate::wait::until_ready;

/// The zones: every name in them that nothing else is said about has the node's address.
pub const ZONES: [&str; 2] = ["certwright.test", "other.test"];

const KEY_NAME: &str = "testbed-key";
const ALGORITHM: &str = "hmac-sha256";
const READY: Duration = Duration::from_mins(3);

/// Starts both servers and waits until each serves every zone.
pub async fn start(launcher: &mut Launcher) -> Result<()> {
    let folder = launcher.state.folder.join("dns");
    // The journals of a former testbed in this folder would not fit the new zones.
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    let secret = STANDARD.encode(random::<32>()?);
    let tsig = Tsig { name: KEY_NAME.into(), algorithm: ALGORITHM.into(), secret };
    let named = own_named(&launcher.state.folder)?;
    for (name, address, role) in [("primary", NODE, Role::Primary), ("secondary", SECONDARY_DNS, Role::Secondary)] {
        let home = folder.join(name);
        write_files(&home, address, role, &tsig)?;
        let mut command = Launcher::command(&named)?;
        command.args(["-g", "-n", "1", "-c"]).arg(home.join("named.conf"));
        let process = launcher.start(&format!("dns-{name}"), command)?;
        until_ready(process, &format!("the {name} DNS server"), READY, async || serves_all(address)).await?;
    }
    fs::write(resolver_file(&launcher.state.folder), format!("nameserver {NODE}\n"))?;
    let zones = ZONES.map(str::to_owned).to_vec();
    launcher.state.dns = Some(Dns { primary: NODE, secondary: SECONDARY_DNS, zones, tsig });
    Ok(())
}

/// The `resolv.conf` for who is inside the testbed.
pub fn resolver_file(folder: &Path) -> PathBuf {
    folder.join("resolv.conf")
}

/// The TXT records for DNS-01 challenges whose name contains `part`, of all zones, as each of the two servers has them.
pub fn challenge_records(dns: &Dns, part: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for server in [dns.primary, dns.secondary] {
        for zone in &dns.zones {
            let mut dig = Command::new(require_program("dig")?);
            dig.args([&format!("@{server}"), zone, "AXFR", "+time=30", "+tries=3"]);
            let output = dig.output().context("starting dig")?;
            let text = String::from_utf8_lossy(&output.stdout);
            if !output.status.success() || !text.contains("SOA") {
                bail!("{server} does not transfer {zone}: {}", text.trim());
            }
            let is_one = |line: &&str| line.starts_with("_acme-challenge.") && line.contains(part);
            found.extend(text.lines().filter(is_one).map(|line| format!("{server}: {line}")));
        }
    }
    Ok(found)
}

/// Changes the zones on the primary server by a dynamic update (RFC 2136). Each line is one of nsupdate's, such as
/// `add www.certwright.test 60 CAA 0 issue ";"`.
pub fn update(dns: &Dns, lines: &[String]) -> Result<()> {
    let (server, tsig) = (dns.primary, &dns.tsig);
    let script =
        format!("server {server}\nkey {}:{} {}\n{}\nsend\n", tsig.algorithm, tsig.name, tsig.secret, lines.join("\n"));
    let mut command = Command::new(require_program("nsupdate")?);
    // By TCP: by UDP an update is sent again every three seconds, and given up after a few times.
    let mut nsupdate = command.args(["-v", "-t", "60"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    nsupdate.stdin.take().context("nsupdate takes no input")?.write_all(script.as_bytes())?;
    let output = nsupdate.wait_with_output()?;
    if !output.status.success() {
        bail!("nsupdate refuses {lines:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The TXT records that a server has at a name, as they are in its answer.
pub fn txt_values(server: Ipv4Addr, name: &str) -> Result<BTreeSet<Vec<u8>>> {
    let answer = ask(server, name, TXT)?;
    let mut at = HEADER + encoded(name).len() + 4;
    let mut values = BTreeSet::new();
    for _ in 0..u16::from_be_bytes([answer[6], answer[7]]) {
        // Type, class, time to live and length come between the name and the data (RFC 1035 section 3.2.1).
        let begin = name_end(&answer, at).context("the answer ends too early")? + 10;
        let length = answer.get(begin - 2..begin).context("the answer ends too early")?;
        at = begin + usize::from(u16::from_be_bytes(length.try_into()?));
        values.insert(answer.get(begin..at).context("the answer ends too early")?.to_vec());
    }
    Ok(values)
}

/// The serial number of a zone.
pub fn serial(server: Ipv4Addr, zone: &str) -> Result<u32> {
    let answer = ask(server, zone, SOA)?;
    if answer[6..8] != [0, 1] {
        bail!("{server} does not serve {zone}");
    }
    // After the question comes the record: a pointer, type, class, time to live and length, then two names, which end in a
    // pointer or a zero, and the serial number first of the rest (RFC 1035 section 3.3.13).
    let mut at = HEADER + encoded(zone).len() + 4 + 12;
    for _ in 0..2 {
        at = name_end(&answer, at).context("the answer ends too early")?;
    }
    let bytes = answer.get(at..at + 4).context("the answer ends too early")?;
    Ok(u32::from_be_bytes(bytes.try_into()?))
}

const HEADER: usize = 12;
const TXT: u8 = 16;
const SOA: u8 = 6;
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// One question without any code of certwright's, and without a process for each.
fn ask(server: Ipv4Addr, name: &str, record_type: u8) -> Result<Vec<u8>> {
    let mut question = vec![0xc7, 0x57, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    question.extend(encoded(name));
    question.extend([0, record_type, 0, 1]);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(ANSWER_LIMIT))?;
    socket.connect((server, 53))?;
    socket.send(&question)?;
    let mut answer = vec![0; 4096];
    let length = socket.recv(&mut answer).with_context(|| format!("asking {server} for {name}"))?;
    answer.truncate(length);
    if length < HEADER || answer[..2] != question[..2] {
        bail!("{server} answers something else when asked for {name}");
    }
    Ok(answer)
}

fn encoded(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    let length = |label: &str| u8::try_from(label.len()).unwrap_or_default();
    labels.flat_map(|label| std::iter::once(length(label)).chain(label.bytes())).chain([0]).collect()
}

fn name_end(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            pointer if pointer >= 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Primary,
    Secondary,
}

/// A copy of `named`: where AppArmor guards `/usr/sbin/named`, that path may not read a testbed's folder.
fn own_named(folder: &Path) -> Result<PathBuf> {
    let copy = folder.join("dns/named");
    fs::create_dir_all(folder.join("dns"))?;
    copy_program(&require_program("named")?, &copy)?;
    Ok(copy)
}

fn write_files(home: &Path, address: Ipv4Addr, role: Role, tsig: &Tsig) -> Result<()> {
    fs::create_dir_all(home).with_context(|| format!("making the folder {}", home.display()))?;
    if role == Role::Primary {
        fs::write(home.join("root.zone"), root_zone())?;
        for zone in ZONES {
            fs::write(home.join(format!("{zone}.zone")), zone_text(zone))?;
        }
    }
    let text = configuration(home, address, role, tsig);
    fs::write(home.join("named.conf"), text)
        .with_context(|| format!("writing the DNS configuration in {}", home.display()))
}

fn configuration(home: &Path, address: Ipv4Addr, role: Role, tsig: &Tsig) -> String {
    let home = home.display();
    let (name, algorithm, secret) = (&tsig.name, &tsig.algorithm, &tsig.secret);
    // The secondary is an authoritative server only, as most in the world are.
    let recursion = if role == Role::Primary { "recursion yes; allow-recursion { any; };" } else { "recursion no;" };
    // Pebble asks by TCP, three times for each challenge, and gives up after two seconds.
    let mut text = format!(
        "options {{\n  directory \"{home}\";\n  pid-file none;\n  session-keyfile \"{home}/session.key\";\n  \
         listen-on port 53 {{ {address}; }};\n  listen-on-v6 {{ none; }};\n  notify-source {address};\n  \
         transfer-source {address};\n  query-source address {address};\n  {recursion}\n  dnssec-validation no;\n  \
         empty-zones-enable no;\n  minimal-responses no;\n  notify-delay 0;\n  max-ncache-ttl 1;\n  tcp-clients 4000;\n  \
         tcp-listen-queue 1000;\n  transfers-out 100;\n}};\n\
         controls {{ }};\nkey \"{name}\" {{ algorithm {algorithm}; secret \"{secret}\"; }};\n"
    );
    if role == Role::Primary {
        text.push_str("zone \".\" { type primary; file \"root.zone\"; notify no; };\n");
    }
    for zone in ZONES {
        let body = match role {
            Role::Primary => format!(
                "type primary; file \"{zone}.zone\"; allow-update {{ key \"{name}\"; }}; allow-transfer {{ any; }}; \
                 notify explicit; also-notify {{ {SECONDARY_DNS}; }};"
            ),
            Role::Secondary => {
                format!("type secondary; file \"{zone}.zone\"; primaries {{ {NODE}; }}; notify no; min-refresh-time 1;")
            }
        };
        let _ = writeln!(text, "zone \"{zone}\" {{ {body} }};");
    }
    text
}

/// A root of our own, so that names outside are answered "no such name" at once instead of asked for in vain.
fn root_zone() -> String {
    let mut text = String::from("$TTL 60\n@ SOA ns1.certwright.test. hostmaster.certwright.test. 1 3600 600 86400 1\n");
    text.push_str("@ NS ns1.certwright.test.\n");
    for zone in ZONES {
        let _ = writeln!(text, "{zone}. NS ns1.{zone}.\n{zone}. NS ns2.{zone}.");
        let _ = writeln!(text, "ns1.{zone}. A {NODE}\nns2.{zone}. A {SECONDARY_DNS}");
    }
    text
}

fn zone_text(zone: &str) -> String {
    format!(
        "$TTL 60\n@ SOA ns1.{zone}. hostmaster.{zone}. 1 60 10 86400 1\n@ NS ns1.{zone}.\n@ NS ns2.{zone}.\n@ A {NODE}\n\
         ns1 A {NODE}\nns2 A {SECONDARY_DNS}\n* A {NODE}\n"
    )
}

fn serves_all(server: Ipv4Addr) -> Result<()> {
    for zone in ZONES {
        let mut dig = Command::new(require_program("dig")?);
        dig.args([&format!("@{server}"), zone, "SOA", "+norecurse", "+short", "+time=1", "+tries=1"]);
        let output = dig.output().context("starting dig")?;
        let answer = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() || !answer.starts_with(&format!("ns1.{zone}.")) {
            bail!("{server} does not serve {zone}: {}", answer.trim());
        }
    }
    Ok(())
}
