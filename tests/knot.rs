//! Dynamic updates against a real Knot DNS, with every TSIG algorithm that it knows.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use certwright::dns::provider::rfc2136::{Protocol, Rfc2136};
use certwright::dns::provider::tsig::TsigKey;
use certwright::dns::provider::{Action, Change, DEFAULT_TTL, Provider, ProviderError, TxtRecord};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use tempfile::TempDir;

const SECRET: &str = "YSBzZWNyZXQgZm9yIHRlc3RzIG9ubHk=";
const ALGORITHMS: [&str; 6] = ["hmac-md5", "hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"];
/// A key that the server knows and gives no rights.
const POWERLESS: &str = "powerless";
const START_LIMIT: Duration = Duration::from_mins(1);

/// A running server of the zone knot.test; it ends when this is dropped.
struct Knot {
    child: Child,
    address: SocketAddr,
    directory: TempDir,
}

impl Drop for Knot {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Knot {
    /// None if Knot is not installed.
    fn start() -> Option<Self> {
        let Some(program) = knotd() else {
            println!("SKIPPED: Knot's knotd is not installed (Debian package knot)");
            return None;
        };
        let (directory, address) = (tempfile::tempdir().unwrap(), free_address());
        let folder = directory.path();
        let zone = "$ORIGIN knot.test.\n$TTL 60\n@ SOA ns root 1 86400 60 86400 60\n@ NS ns\nns A 127.0.0.1\n\
                    _acme-challenge.shared TXT \"of somebody else\"\nsub NS ns.sub\nns.sub A 127.0.0.99\n";
        fs::write(folder.join("knot.test.zone"), zone).unwrap();
        fs::write(folder.join("knot.conf"), configuration(folder, address)).unwrap();
        let child = Command::new(program)
            .arg("-c")
            .arg(folder.join("knot.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        let knot = Self { child, address, directory };
        knot.wait();
        Some(knot)
    }

    fn wait(&self) {
        let start = Instant::now();
        while self.ask("knot.test.", RecordType::SOA).is_none_or(|answer| answer.answers.is_empty()) {
            let log = || fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(start.elapsed() < START_LIMIT, "knotd does not serve: {}", log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asked without any code of ours but the message codec.
    fn ask(&self, name: &str, record_type: RecordType) -> Option<Message> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        let mut question = Message::query();
        question.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
        socket.connect(self.address).unwrap();
        socket.send(&question.to_vec().unwrap()).ok()?;
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).ok()?;
        Message::from_vec(&buffer[..length]).ok()
    }

    fn txt_values(&self, name: &str) -> Vec<String> {
        let text = |data: &RData| match data {
            RData::TXT(txt) => Some(String::from_utf8(txt.txt_data.concat()).unwrap()),
            _ => None,
        };
        let answer = self.ask(name, RecordType::TXT).unwrap();
        let mut values: Vec<String> = answer.answers.iter().filter_map(|record| text(&record.data)).collect();
        values.sort();
        values
    }

    fn provider(&self, protocol: Protocol, key: &str, algorithm: &str, secret: &str) -> Rfc2136 {
        let key = TsigKey::new(key, algorithm.parse().unwrap(), secret).unwrap();
        Rfc2136::new(&self.address.to_string(), protocol, Some(key)).unwrap()
    }
}

fn knotd() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join("knotd")).find(|program| program.is_file())
}

/// A port that is free over UDP and TCP, given out once, below the range from which the system takes ports for clients.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 15_000 + u16::try_from(std::process::id() % 40).unwrap() * 100;
    let ports = (0..100).map(|_| start + NEXT.fetch_add(1, Ordering::Relaxed));
    let is_free = |address: &SocketAddr| UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok();
    ports.map(|port| (Ipv4Addr::LOCALHOST, port).into()).find(is_free).expect("no free port found")
}

fn configuration(folder: &Path, address: SocketAddr) -> String {
    let (folder, port) = (folder.display(), address.port());
    let mut text = format!(
        "server:\n    rundir: \"{folder}\"\n    listen: 127.0.0.1@{port}\n    udp-workers: 1\n    tcp-workers: 1\n    \
         background-workers: 1\ndatabase:\n    storage: \"{folder}\"\nlog:\n  - target: stderr\n    any: info\nkey:\n"
    );
    for key in ALGORITHMS.iter().chain([&POWERLESS]) {
        let algorithm = if *key == POWERLESS { "hmac-sha256" } else { key };
        writeln!(text, "  - id: {key}\n    algorithm: {algorithm}\n    secret: {SECRET}").unwrap();
    }
    let keys = ALGORITHMS.join(", ");
    write!(
        text,
        "acl:\n  - id: update\n    key: [{keys}]\n    action: update\nzone:\n  - domain: knot.test\n    storage: \"{folder}\"\n    \
         file: knot.test.zone\n    zonefile-sync: -1\n    acl: update\n"
    )
    .unwrap();
    text
}

fn change(action: Action, name: &str, value: &str) -> Change {
    let [zone, domain] = ["knot.test.", "knot.test"].map(str::to_owned);
    let record = TxtRecord { zone, name: name.to_owned(), domain, value: value.to_owned(), ttl: DEFAULT_TTL };
    Change { action, record }
}

#[tokio::test]
async fn every_algorithm_works_over_both_protocols() {
    let Some(knot) = Knot::start() else { return };
    for algorithm in ALGORITHMS {
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            let provider = knot.provider(protocol, algorithm, algorithm, SECRET);
            let name = format!("_acme-challenge.{algorithm}.knot.test.");
            let zone = provider.find_zone(&name).await.unwrap();
            assert_eq!(zone.as_deref(), Some("knot.test."), "{algorithm} {protocol:?}");
            provider.apply(&[change(Action::Add, &name, "value")]).await.unwrap();
            assert_eq!(knot.txt_values(&name), ["value"], "{algorithm} {protocol:?}");
            provider.apply(&[change(Action::Remove, &name, "value")]).await.unwrap();
            assert_eq!(knot.txt_values(&name), [""; 0], "{algorithm} {protocol:?}");
        }
    }
}

#[tokio::test]
async fn values_stand_side_by_side_and_others_are_left_alone() {
    let Some(knot) = Knot::start() else { return };
    let name = "_acme-challenge.shared.knot.test.";
    let [tcp, udp] = [Protocol::Tcp, Protocol::Udp].map(|it| knot.provider(it, "hmac-sha512", "hmac-sha512", SECRET));
    let both = [change(Action::Add, name, "apex"), change(Action::Add, name, "wildcard")];
    tcp.apply(&both).await.unwrap();
    udp.apply(&both).await.unwrap();
    assert_eq!(knot.txt_values(name), ["apex", "of somebody else", "wildcard"]);
    for _ in 0..2 {
        tcp.apply(&[change(Action::Remove, name, "apex")]).await.unwrap();
        assert_eq!(knot.txt_values(name), ["of somebody else", "wildcard"]);
    }
    udp.apply(&[change(Action::Remove, name, "wildcard")]).await.unwrap();
    assert_eq!(knot.txt_values(name), ["of somebody else"]);
}

#[tokio::test]
async fn many_values_at_once() {
    let Some(knot) = Knot::start() else { return };
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let provider = knot.provider(protocol, "hmac-sha256", "hmac-sha256", SECRET);
        let names: Vec<_> = (0..50).map(|number| format!("_acme-challenge.n{number}.knot.test.")).collect();
        let all = |action| names.iter().map(|name| change(action, name, "value")).collect::<Vec<_>>();
        provider.apply(&all(Action::Add)).await.unwrap();
        assert!(names.iter().all(|name| knot.txt_values(name) == ["value"]), "{protocol:?}");
        provider.apply(&all(Action::Remove)).await.unwrap();
        assert!(names.iter().all(|name| knot.txt_values(name).is_empty()), "{protocol:?}");
    }
}

#[tokio::test]
async fn what_it_refuses_is_explained() {
    let Some(knot) = Knot::start() else { return };
    let name = "_acme-challenge.refused.knot.test.";
    for (provider, code) in [
        (knot.provider(Protocol::Udp, "hmac-sha256", "hmac-sha256", "b3RoZXI="), "BADSIG"),
        (knot.provider(Protocol::Tcp, "unknown", "hmac-sha256", SECRET), "BADKEY"),
        // Knot does not tell a key without rights from one that it does not know.
        (knot.provider(Protocol::Udp, POWERLESS, "hmac-sha256", SECRET), "BADKEY"),
    ] {
        let error = provider.apply(&[change(Action::Add, name, "value")]).await.unwrap_err();
        assert!(matches!(error, ProviderError::Refused { .. }) && error.to_string().contains(code), "{code}: {error}");
        // The keys are no good, but the zone is no secret.
        assert!(provider.find_zone(name).await.is_ok());
    }
    assert_eq!(knot.txt_values(name), [""; 0]);
}
