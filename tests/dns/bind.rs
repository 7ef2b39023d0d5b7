//! Real BIND servers on loopback addresses, each ended when its handle is dropped.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, thread};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use tempfile::TempDir;

/// Serves example.test, and takes updates. BIND listens only at addresses that an interface has, which loopback has
/// one of in each family.
pub const PRIMARY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The second server of example.test: whatever the test makes of it.
pub const SECOND: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// An address at which nothing listens.
pub const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 99));

/// The secret of every key; the names are those of the algorithms.
pub const SECRET: &str = "YSBzZWNyZXQgZm9yIHRlc3RzIG9ubHk=";
pub const ALGORITHMS: [&str; 6] = ["hmac-md5", "hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"];
/// A key that the server knows and gives no rights.
pub const POWERLESS_KEY: &str = "powerless";

const START_LIMIT: Duration = Duration::from_mins(1);

/// One running server.
pub struct Bind {
    child: Child,
    _directory: TempDir,
}

impl Drop for Bind {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, or a printed reason why the test does nothing.
pub fn named_or_skip() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join("named")).find(|program| program.is_file());
    if found.is_none() {
        println!("SKIPPED: BIND's named is not installed (Debian package bind9)");
    }
    if UdpSocket::bind((SECOND, 0)).is_err() {
        println!("SKIPPED: this machine has no IPv6 loopback address for the second server");
        return None;
    }
    found
}

/// A port that is free over UDP and TCP at all our addresses, given out once. Below the range from which the system
/// takes ports for clients, one of which could otherwise come in between.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 20_000 + u16::try_from(std::process::id() % 100).unwrap() * 100;
    for _ in 0..1000 {
        let port = start + NEXT.fetch_add(1, Ordering::Relaxed);
        let free = |address| UdpSocket::bind((address, port)).is_ok() && TcpListener::bind((address, port)).is_ok();
        if [PRIMARY, SECOND, NOBODY].into_iter().all(free) {
            return port;
        }
    }
    panic!("no free port found");
}

/// Starts a server from its zone statements and zone files, and waits until it serves.
pub fn start(named: &Path, listen: SocketAddr, statements: &str, zones: &[(&str, String)]) -> Bind {
    start_at(named, &listen_statement(listen, ""), statements, zones)
}

/// The same with `listen-on` statements of one's own.
pub fn start_at(named: &Path, listeners: &str, statements: &str, zones: &[(&str, String)]) -> Bind {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in zones {
        fs::write(directory.path().join(name), content).unwrap();
    }
    let file = directory.path().join("named.conf");
    fs::write(&file, configuration(directory.path(), listeners, statements)).unwrap();
    let child = Command::new(named)
        .args(["-g", "-n", "1", "-c"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut bind = Bind { child, _directory: directory };
    wait_until_running(&mut bind);
    bind
}

fn configuration(directory: &Path, listeners: &str, statements: &str) -> String {
    let mut keys = String::new();
    for key in ALGORITHMS.iter().chain([&POWERLESS_KEY]) {
        let algorithm = if *key == POWERLESS_KEY { "hmac-sha256" } else { key };
        writeln!(keys, "key \"{key}\" {{ algorithm {algorithm}; secret \"{SECRET}\"; }};").unwrap();
    }
    // Without a statement of its own, each family would have a server at port 53.
    let mut listeners = listeners.to_owned();
    for statement in ["listen-on", "listen-on-v6"] {
        if !listeners.contains(&format!("{statement} ")) {
            write!(listeners, "{statement} {{ none; }}; ").unwrap();
        }
    }
    let recursion = if statements.contains("type forward") { "yes" } else { "no" };
    format!(
        "{keys}\n{statements}\ncontrols {{ }};\noptions {{ directory \"{}\"; pid-file none; \
         {listeners} notify-delay 0; \
         recursion {recursion}; dnssec-validation no; empty-zones-enable no; }};\n",
        directory.display()
    )
}

/// `how` is nothing, or names what encrypts.
pub fn listen_statement(listen: SocketAddr, how: &str) -> String {
    let family = if listen.is_ipv4() { "listen-on" } else { "listen-on-v6" };
    format!("{family} port {} {how} {{ {}; }}; ", listen.port(), listen.ip())
}

/// `named -g` logs to standard error; its last line when all zones are loaded ends in "running".
fn wait_until_running(bind: &mut Bind) {
    let log = BufReader::new(bind.child.stderr.take().unwrap());
    let (sender, lines) = mpsc::channel();
    // Goes on reading after nobody listens, so that the server never blocks on a full pipe.
    thread::spawn(move || log.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
    let mut seen = Vec::new();
    loop {
        match lines.recv_timeout(START_LIMIT) {
            Ok(line) if line.ends_with(" running") => return,
            Ok(line) => seen.push(line),
            Err(error) => panic!("named did not start ({error}):\n{}", seen.join("\n")),
        }
    }
}

/// The TXT values a server has at a name, asked without any code of ours but the message codec.
pub fn txt_values(server: SocketAddr, name: &str) -> BTreeSet<String> {
    let socket = UdpSocket::bind((server.ip(), 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    let mut question = Message::query();
    question.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::TXT));
    socket.send_to(&question.to_vec().unwrap(), server).unwrap();
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).unwrap();
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    let text = |data: &RData| match data {
        RData::TXT(txt) => Some(String::from_utf8(txt.txt_data.concat()).unwrap()),
        _ => None,
    };
    answer.answers.iter().filter_map(|record| text(&record.data)).collect()
}

/// The zone example.test as it looks from inside: another server, another record.
pub fn inside() -> String {
    "$ORIGIN example.test.\n$TTL 60\n@ SOA ns1 root 1 86400 60 86400 60\n@ NS inner\ninner AAAA ::1\n\
     _acme-challenge TXT \"inside\"\n"
        .to_owned()
}

/// Zone data of example.test. Its second server exists or not, as each test sees fit.
pub fn example_zone() -> String {
    let mut zone = format!(
        "$ORIGIN example.test.\n$TTL 60\n@ SOA ns1 root 1 86400 60 86400 60\n@ NS ns1\n@ NS ns2\n\
         ns1 A {PRIMARY}\nns1 A {NOBODY}\nns2 AAAA {SECOND}\n\
         sub NS ns.sub\nns.sub A {NOBODY}\n\
         leaf.empty A 192.0.2.1\n\
         _acme-challenge.alias CNAME first.example.test.\nfirst CNAME target.sub.example.test.\n\
         loop1 CNAME loop2\nloop2 CNAME loop3\nloop3 CNAME loop1\n\
         _acme-challenge.shared TXT \"of somebody else\"\n"
    );
    for number in 0..20 {
        writeln!(zone, "chain{number} CNAME chain{}", number + 1).unwrap();
    }
    for number in 0..60 {
        writeln!(zone, "many TXT \"value-{number}-{}\"", "x".repeat(40)).unwrap();
    }
    zone
}

/// Zone data of the delegated sub.example.test.
pub fn sub_zone() -> String {
    format!("$ORIGIN sub.example.test.\n$TTL 60\n@ SOA ns root 1 86400 60 86400 60\n@ NS ns\nns A {NOBODY}\n")
}

/// Zone statement of a primary; every key but the powerless one may change TXT records.
pub fn primary_statement(zone: &str, file: &str, port: u16) -> String {
    let grants: String = ALGORITHMS.iter().fold(String::new(), |all, key| all + &format!("grant {key} zonesub TXT; "));
    format!(
        "zone \"{zone}\" {{ type primary; file \"{file}\"; update-policy {{ {grants} }}; notify explicit; \
         also-notify {{ {SECOND} port {port}; }}; allow-transfer {{ any; }}; }};\n"
    )
}

/// Zone statement of a resolver: where to ask for the zone, since nothing on loopback listens at port 53.
pub fn forward_statement(zone: &str, port: u16) -> String {
    format!("zone \"{zone}\" {{ type forward; forward only; forwarders {{ {PRIMARY} port {port}; }}; }};\n")
}
