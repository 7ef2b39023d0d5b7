#![allow(clippy::unwrap_used)]

use std::future::{pending, ready};
use std::sync::Arc;
use std::time::Instant;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::host::HostHeader;
use super::super::lookup::LookupError;
use super::super::server::{Answer, serve};
use super::*;

mod family;
mod within;

const TOKEN: &str = "tok-en_1";
const KEY: &str = "tok-en_1.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";

/// Names and their addresses.
struct Hosts(&'static [(&'static str, &'static str)], fn(&IpAddr) -> bool);

impl Resolve for Hosts {
    fn resolve(&self, name: Name) -> Resolving {
        let addresses = self.0.iter().filter(|(host, _)| *host == name.as_str());
        let wanted = addresses.map(|(_, address)| address.parse().unwrap()).filter(self.1);
        let found: Vec<SocketAddr> = wanted.map(|address| SocketAddr::new(address, 0)).collect();
        let outcome: Result<Addrs, _> =
            if found.is_empty() { Err(LookupError::NotFound.into()) } else { Ok(Box::new(found.into_iter())) };
        Box::pin(ready(outcome))
    }
}

fn clients_for(hosts: &'static [(&'static str, &'static str)]) -> Clients {
    let lookup = |family| Arc::new(Hosts(hosts, family)) as Arc<dyn Resolve>;
    Clients::from_lookups([lookup(|_| true), lookup(IpAddr::is_ipv4), lookup(IpAddr::is_ipv6)]).unwrap()
}

/// Lead all names that the tests use to this machine.
fn test_clients() -> Clients {
    clients_for(&[("example.com", "127.0.0.1"), ("www.example.com", "127.0.0.1")])
}

async fn check_of(target: &CheckTarget) -> CheckReport {
    check(&test_clients(), target, ready(Ok(Vec::new()))).await
}

fn target(domain: &str, port: u16) -> CheckTarget {
    CheckTarget {
        domain: domain.into(),
        token: TOKEN.into(),
        key: KEY.into(),
        solver_address: None,
        solver: "the solver pod",
        host_header: HostHeader::Host,
        port,
        timeout: TIMEOUT,
    }
}

async fn solver(domain: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Answer { domain: domain.into(), token: TOKEN.into(), key: KEY.into() };
    tokio::spawn(serve(listener, answer, HostHeader::Host, pending()));
    address
}

/// A server that answers every request with what the function makes of its target and the port.
async fn scripted(script: impl Fn(&str, u16) -> String + Send + 'static) -> u16 {
    scripted_at("127.0.0.1:0", script).await
}

async fn scripted_at(address: &str, script: impl Fn(&str, u16) -> String + Send + 'static) -> u16 {
    let listener = TcpListener::bind(address).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = read_head(&mut stream).await;
            let path = head.split(' ').nth(1).unwrap_or_default();
            drop(stream.write_all(script(path, port).as_bytes()).await);
        }
    });
    port
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(length) => head.extend_from_slice(&buffer[..length]),
        }
        if head.first() == Some(&0x16) {
            break;
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn to(location: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
}

async fn problem_with(port: u16) -> Problem {
    match check_of(&target("example.com", port)).await.public {
        LayerResult::Failed(error) => error.problem,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_public_name_alone_passes() {
    for domain in ["example.com", "127.0.0.1", "EXAMPLE.com"] {
        let address = solver(domain).await;
        let target = CheckTarget { solver_address: Some(address), ..target(domain, address.port()) };
        let report = check_of(&target).await;
        assert_eq!(report.inside, LayerResult::NotAsked, "{domain}");
        assert!(report.passed());
        assert_eq!(report.failure(), None);
    }
}

/// As where a network policy keeps the controller from pods.
#[tokio::test]
async fn a_solver_that_cannot_be_reached_is_not_waited_for_when_the_name_passes() {
    let silent = TcpListener::bind("127.0.0.3:0").await.unwrap();
    let address = solver("example.com").await;
    let target = CheckTarget { solver_address: silent.local_addr().ok(), ..target("example.com", address.port()) };
    let report = check_of(&target).await;
    assert_eq!((report.solver, report.public), (LayerResult::NotAsked, LayerResult::Passed));
}

#[tokio::test]
async fn the_pod_is_asked_with_the_host_of_the_challenge() {
    for domain in ["example.com", "2001:db8::7"] {
        let address = solver(domain).await;
        let target =
            CheckTarget { solver_address: Some(address), timeout: Duration::from_secs(2), ..target(domain, 1) };
        let report = check_of(&target).await;
        assert_eq!(report.solver, LayerResult::Passed, "{domain}");
        assert!(!report.passed());
    }
}

#[tokio::test]
async fn each_wrong_answer_has_its_name() {
    let status = scripted(|_, _| "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into()).await;
    assert_eq!(problem_with(status).await, Problem::Status(404));
    let empty = scripted(|_, _| "HTTP/1.1 204 No Content\r\n\r\n".into()).await;
    assert_eq!(problem_with(empty).await, Problem::Status(204));
    for body in ["", "another key", &KEY[..20], &format!("{KEY}x"), &format!(" {KEY}")] {
        let body = ok(body);
        let other = scripted(move |_, _| body.clone()).await;
        assert_eq!(problem_with(other).await, Problem::OtherBody);
    }
    let no_http = scripted(|_, _| "SSH-2.0-OpenSSH_9.2\r\n\r\n".into()).await;
    assert_eq!(problem_with(no_http).await, Problem::NotHttp);
    let silent = scripted(|_, _| String::new()).await;
    assert_eq!(problem_with(silent).await, Problem::Closed);
    let cut = scripted(|_, _| format!("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{KEY}")).await;
    assert_eq!(problem_with(cut).await, Problem::Closed);
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    assert_eq!(problem_with(nobody).await, Problem::Refused);
}

#[tokio::test]
async fn white_space_after_the_key_passes() {
    let port = scripted(|_, _| ok(&format!("{KEY}\r\n \n"))).await;
    assert!(check_of(&target("example.com", port)).await.passed());
}

#[tokio::test]
async fn an_endless_body_is_not_read_to_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    assert_eq!(problem_with(port).await, Problem::OtherBody);
}

#[tokio::test]
async fn a_server_that_hangs_costs_no_more_than_the_time_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limit = Duration::from_secs(2);
    let target = CheckTarget { solver_address: Some(address), timeout: limit, ..target("example.com", address.port()) };
    let begun = Instant::now();
    let report = check_of(&target).await;
    assert!(begun.elapsed() < 3 * limit, "the layers are asked at once: {:?}", begun.elapsed());
    let expected = format!(
        "http://example.com:{}/.well-known/acme-challenge/tok-en_1 did not answer within 2s \
         (the name leads to 127.0.0.1); \
         the solver pod did not answer within 2s",
        address.port()
    );
    assert_eq!(report.failure(), Some(expected));
}

#[tokio::test]
async fn redirects_are_followed_as_cas_do() {
    // Ten redirects to other paths and another name, relative and absolute, and then the key.
    let hops = scripted(|path, port| match path.strip_prefix("/hop/").map(|hop| hop.parse().unwrap()) {
        None => to("/hop/1"),
        Some(10) => ok(KEY),
        Some(hop) if hop % 2 == 0 => to(&format!("{}", hop + 1)),
        Some(hop) => to(&format!("http://www.example.com:{port}/hop/{}", hop + 1)),
    });
    assert!(check_of(&target("example.com", hops.await)).await.passed());
    let endless = scripted(|path, _| to(&format!("{path}1"))).await;
    assert_eq!(problem_with(endless).await, Problem::TooManyRedirects(10));
    let circle = scripted(|path, _| to(if path == "/a" { "/b" } else { "/a" })).await;
    assert_eq!(problem_with(circle).await, Problem::RedirectLoop);
    let nowhere = scripted(|_, _| "HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n".into()).await;
    assert_eq!(problem_with(nowhere).await, Problem::RedirectNowhere);
    for elsewhere in
        ["http://example.com:8080/", "https://example.com:8443/", "ftp://example.com/", "file:///etc/passwd"]
    {
        let port = scripted(move |_, _| to(elsewhere)).await;
        assert_eq!(problem_with(port).await, Problem::RedirectElsewhere, "{elsewhere}");
    }
}

#[tokio::test]
async fn bare_addresses_are_no_place_to_redirect_to() {
    for location in ["http://127.0.0.1/", "https://[::1]/", "http://2130706433/"] {
        let port = scripted(move |_, _| to(location)).await;
        assert_eq!(problem_with(port).await, Problem::RedirectToAddress, "{location}");
    }
    // What is asked for by its address has no other name.
    let own =
        scripted(|path, port| if path == "/next" { ok(KEY) } else { to(&format!("http://127.0.0.1:{port}/next")) });
    assert!(check_of(&target("127.0.0.1", own.await)).await.passed());
}

#[tokio::test]
async fn what_cas_do_not_follow_is_not_followed() {
    let see_other = scripted(|_, _| "HTTP/1.1 303 See Other\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".into()).await;
    assert_eq!(problem_with(see_other).await, Problem::Status(303));
    let nobody = scripted(|_, port| to(&format!("http://nobody.example.com:{port}/"))).await;
    assert_eq!(problem_with(nobody).await, Problem::RedirectNotFound);
}

#[tokio::test]
async fn a_redirect_to_tls_is_named() {
    let port = scripted(|path, port| {
        if path.starts_with('/') { to(&format!("https://www.example.com:{port}/secret?a=b")) } else { "no TLS".into() }
    });
    let port = port.await;
    let report = check_of(&target("example.com", port)).await;
    let expected = format!(
        "http://example.com:{port}/.well-known/acme-challenge/tok-en_1, redirected to https://www.example.com:{port}, \
         did not complete the TLS handshake (the name leads to 127.0.0.1)"
    );
    assert_eq!(report.failure(), Some(expected));
}

#[tokio::test]
async fn certificates_are_not_verified_after_a_redirect() {
    let port = scripted_with_tls();
    assert!(check_of(&target("example.com", port)).await.passed());
}

/// Redirects plain requests to TLS on the same port, and answers there with the key under a certificate that nobody
/// trusts.
fn scripted_with_tls() -> u16 {
    use std::io::{Read as _, Write as _};
    use std::sync::Arc;
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["other.test".into()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let mut stream = stream.unwrap();
            let mut first = [0];
            stream.peek(&mut first).unwrap();
            let mut buffer = [0; 4096];
            if first == [0x16] {
                let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = rustls::StreamOwned::new(session, stream);
                let _ = stream.read(&mut buffer).unwrap();
                stream.write_all(ok(KEY).as_bytes()).unwrap();
            } else {
                let _ = stream.read(&mut buffer).unwrap();
                stream.write_all(to(&format!("https://www.example.com:{port}/")).as_bytes()).unwrap();
            }
        }
    });
    port
}

#[tokio::test]
async fn what_is_no_name_is_not_asked_for() {
    let address = solver("example.com").await;
    for domain in
        ["", "a b", "example.com/x?", "user@example.com", "example.com:80", "exämple.com", "127.1", "0x7f000001"]
    {
        let report = check_of(&target(domain, address.port())).await;
        let LayerResult::Failed(error) = report.public else { panic!("{domain} was asked for") };
        assert_eq!(error.problem, Problem::Malformed, "{domain}");
    }
    let target =
        CheckTarget { token: "../x".into(), solver_address: Some(address), ..target("example.com", address.port()) };
    let failure = check_of(&target).await.failure().unwrap();
    assert!(failure.starts_with("the challenge's URL cannot be asked: "), "{failure}");
}

#[tokio::test]
async fn failures_say_how_far_the_way_is_clear() {
    let address = solver("example.com").await;
    let port = scripted(|_, _| "HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n".into()).await;
    let target = CheckTarget { solver_address: Some(address), ..target("example.com", port) };
    let expected = format!(
        "http://example.com:{port}/.well-known/acme-challenge/tok-en_1 answered 503 where the key was expected \
         (the name leads to 127.0.0.1); \
         the solver itself answers with the key"
    );
    assert_eq!(check_of(&target).await.failure(), Some(expected));
}

fn not_found() -> String {
    "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into()
}

#[tokio::test]
async fn a_body_that_drips_costs_no_more_than_the_time_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 80\r\n\r\n").await.unwrap();
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let limit = Duration::from_millis(300);
    let report = check_of(&CheckTarget { timeout: limit, ..target("example.com", port) }).await;
    assert_eq!(report.public.problem(), Some(&Problem::TimedOut(limit)));
}

#[tokio::test]
async fn an_endless_head_is_not_read_to_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    assert_eq!(problem_with(port).await, Problem::NotHttp);
}

#[tokio::test]
async fn a_solver_behind_proxies_is_asked_as_they_do() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Answer { domain: "example.com".into(), token: TOKEN.into(), key: KEY.into() };
    let rule: HostHeader = "Forwarded".parse().unwrap();
    tokio::spawn(serve(listener, answer, rule.clone(), pending()));
    let asked = CheckTarget { solver_address: Some(address), ..target("example.com", 1) };
    assert_eq!(check_of(&asked).await.solver.problem(), Some(&Problem::Status(404)));
    assert_eq!(check_of(&CheckTarget { host_header: rule, ..asked }).await.solver, LayerResult::Passed);
}
