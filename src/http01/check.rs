//! The self-check: asks what the CA will ask, before the CA does.
//!
//! One call is one bounded round: it neither sleeps nor repeats. What it reports has no changing parts, so that an equal
//! outcome gives an equal status, and it never repeats what a server said: with a name that leads to an inner service the
//! report would otherwise read that service out to whoever may create Challenges.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use reqwest::header::{HOST, LOCATION};
use reqwest::{Client, Response, Url};
use tokio::time::timeout;

use super::client::problem;
pub use super::client::{ClientError, client};
pub use super::report::{CheckError, CheckReport, LayerResult, Problem};
use crate::api::{Challenge, Sensitive};
use crate::measure;

/// Time for each layer, redirects included.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// Where CAs give up.
const MAX_REDIRECTS: usize = 10;
/// Bytes read beyond the key's length: enough for stray white space, too little to hurt.
const BODY_MARGIN: usize = 1024;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct CheckTarget {
    /// DNS name or IP address, as in the Challenge.
    pub domain: String,
    /// The CA's token.
    pub token: String,
    /// The key authorization that must come back.
    pub key: Sensitive,
    /// Where the solver listens, if that is known.
    pub pod_address: Option<SocketAddr>,
    /// What messages call it.
    pub solver: &'static str,
    /// Port of the name; CAs ask on 80.
    pub port: u16,
    /// Time for each layer, redirects included.
    pub timeout: Duration,
}

impl CheckTarget {
    /// What the CA of the Challenge will ask for.
    pub fn of(challenge: &Challenge, pod_address: Option<SocketAddr>) -> Self {
        let spec = &challenge.spec;
        Self {
            domain: spec.dns_name.clone(),
            token: spec.token.clone(),
            key: spec.key.clone(),
            pod_address,
            solver: if challenge.is_podless() { "the controller" } else { "the solver pod" },
            port: 80,
            timeout: TIMEOUT,
        }
    }
}

/// Asks the solver Pod and the public name, both at once.
pub async fn check(client: &Client, target: &CheckTarget) -> CheckReport {
    let pod = measured("solver", check_pod(client, target));
    let (pod, public) = tokio::join!(pod, measured("public", check_public(client, target)));
    CheckReport { pod, public }
}

async fn measured(layer: &'static str, checking: impl Future<Output = LayerResult>) -> LayerResult {
    let began = Instant::now();
    let result = checking.await;
    if result != LayerResult::NotAsked {
        measure::self_check("HTTP-01", layer, result == LayerResult::Passed, began.elapsed());
    }
    result
}

async fn check_pod(client: &Client, target: &CheckTarget) -> LayerResult {
    let Some(address) = target.pod_address else { return LayerResult::NotAsked };
    let outcome = match (url(&address.to_string(), &target.token), host(&target.domain)) {
        (Some(url), Some(host)) => bounded(target, ask_pod(client, target, url, &host)).await,
        _ => Err(Problem::Malformed),
    };
    // The address changes with every Pod, so it is not said.
    layer(outcome, || target.solver.to_owned())
}

async fn ask_pod(client: &Client, target: &CheckTarget, url: Url, host: &str) -> Result<(), Problem> {
    match ask(client, &url, Some(host), target.key.expose()).await? {
        Reply::Key => Ok(()),
        Reply::Redirect { status, .. } => Err(Problem::Status(status)),
    }
}

async fn check_public(client: &Client, target: &CheckTarget) -> LayerResult {
    let Some(first) = target.public_url() else {
        return layer(Err(Problem::Malformed), || "the challenge's URL".to_owned());
    };
    let mut trail = vec![first];
    let outcome = bounded(target, follow(client, target, &mut trail)).await;
    layer(outcome, || place(&trail))
}

async fn bounded(target: &CheckTarget, asking: impl Future<Output = Result<(), Problem>>) -> Result<(), Problem> {
    timeout(target.timeout, asking).await.unwrap_or(Err(Problem::TimedOut(target.timeout)))
}

fn layer(outcome: Result<(), Problem>, place: impl FnOnce() -> String) -> LayerResult {
    match outcome {
        Ok(()) => LayerResult::Passed,
        Err(problem) => LayerResult::Failed(CheckError { place: place(), problem }),
    }
}

/// Only the origin of a redirect is said: the rest of it is text of whoever answered.
fn place(trail: &[Url]) -> String {
    match trail {
        [] => String::new(),
        [only] => only.to_string(),
        [first, .., last] => format!("{first}, redirected to {},", last.origin().ascii_serialization()),
    }
}

/// Follows redirects as CAs do; the trail holds every URL that was asked.
async fn follow(client: &Client, target: &CheckTarget, trail: &mut Vec<Url>) -> Result<(), Problem> {
    while let Some(url) = trail.last().cloned() {
        let location = match ask(client, &url, None, target.key.expose()).await? {
            Reply::Key => break,
            Reply::Redirect { location, .. } => location.ok_or(Problem::RedirectNowhere)?,
        };
        let next = redirect_target(&url, &location, target.port)?;
        if trail.contains(&next) {
            return Err(Problem::RedirectLoop);
        }
        if trail.len() > MAX_REDIRECTS {
            return Err(Problem::TooManyRedirects(MAX_REDIRECTS));
        }
        trail.push(next);
    }
    Ok(())
}

fn redirect_target(from: &Url, location: &str, own_port: u16) -> Result<Url, Problem> {
    let mut next = from.join(location).map_err(|_| Problem::RedirectNowhere)?;
    next.set_fragment(None);
    let port_is_allowed = next.port_or_known_default().is_some_and(|port| [80, 443, own_port].contains(&port));
    if matches!(next.scheme(), "http" | "https") && port_is_allowed {
        Ok(next)
    } else {
        Err(Problem::RedirectElsewhere)
    }
}

enum Reply {
    Key,
    Redirect { status: u16, location: Option<String> },
}

async fn ask(client: &Client, url: &Url, host: Option<&str>, key: &str) -> Result<Reply, Problem> {
    let mut request = client.get(url.clone());
    if let Some(host) = host {
        request = request.header(HOST, host);
    }
    let response = request.send().await.map_err(|error| problem(&error, url))?;
    match response.status().as_u16() {
        200 => read_key(response, url, key).await.map(|()| Reply::Key),
        status @ (301 | 302 | 303 | 307 | 308) => {
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
            Ok(Reply::Redirect { status, location })
        }
        status => Err(Problem::Status(status)),
    }
}

async fn read_key(mut response: Response, url: &Url, key: &str) -> Result<(), Problem> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| problem(&error, url))? {
        if body.len() + chunk.len() > key.len() + BODY_MARGIN {
            return Err(Problem::OtherBody);
        }
        body.extend_from_slice(&chunk);
    }
    // CAs let white space at the end pass (RFC 8555 section 8.3).
    if body.trim_ascii_end() == key.as_bytes() { Ok(()) } else { Err(Problem::OtherBody) }
}

impl CheckTarget {
    fn public_url(&self) -> Option<Url> {
        let host = host(&self.domain)?;
        let url = url(&format!("{host}:{}", self.port), &self.token)?;
        // URLs know more spellings of an IPv4 address than names do: `127.1` must not become one.
        let is_as_written = url.host_str().is_some_and(|parsed| parsed == host);
        is_as_written.then_some(url)
    }
}

fn url(authority: &str, token: &str) -> Option<Url> {
    super::is_token(token).then(|| Url::parse(&format!("http://{authority}{}", super::path(token))).ok()).flatten()
}

/// The name in lower case as it stands in URLs and Host headers, IPv6 addresses in brackets. `None` if it is none.
fn host(domain: &str) -> Option<String> {
    match domain.parse() {
        Ok(IpAddr::V6(address)) => Some(format!("[{address}]")),
        Ok(IpAddr::V4(address)) => Some(address.to_string()),
        Err(_) => {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            (!domain.is_empty() && domain.bytes().all(allowed)).then(|| domain.to_ascii_lowercase())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::client::builder;
    use super::super::server::{Answer, serve};
    use super::*;

    const TOKEN: &str = "tok-en_1";
    const KEY: &str = "tok-en_1.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";

    /// Leads all names that the tests use to this machine.
    fn test_client() -> Client {
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        builder().unwrap().resolve("example.com", here).resolve("www.example.com", here).build().unwrap()
    }

    fn target(domain: &str, port: u16) -> CheckTarget {
        CheckTarget {
            domain: domain.into(),
            token: TOKEN.into(),
            key: KEY.into(),
            pod_address: None,
            solver: "the solver pod",
            port,
            timeout: TIMEOUT,
        }
    }

    async fn solver(domain: &str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Answer { domain: domain.into(), token: TOKEN.into(), key: KEY.into() };
        tokio::spawn(serve(listener, answer, std::future::pending()));
        address
    }

    /// A server that answers every request with what the function makes of its target and the port.
    async fn scripted(script: impl Fn(&str, u16) -> String + Send + 'static) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
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
        match check(&test_client(), &target("example.com", port)).await.public {
            LayerResult::Failed(error) => error.problem,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_solver_passes_in_both_layers() {
        for domain in ["example.com", "127.0.0.1", "EXAMPLE.com"] {
            let address = solver(domain).await;
            let target = CheckTarget { pod_address: Some(address), ..target(domain, address.port()) };
            let report = check(&test_client(), &target).await;
            assert_eq!(report, CheckReport { pod: LayerResult::Passed, public: LayerResult::Passed }, "{domain}");
            assert!(report.passed());
            assert_eq!(report.failure(), None);
        }
    }

    #[tokio::test]
    async fn the_pod_is_asked_with_the_host_of_the_challenge() {
        for domain in ["example.com", "2001:db8::7"] {
            let address = solver(domain).await;
            let target =
                CheckTarget { pod_address: Some(address), timeout: Duration::from_secs(2), ..target(domain, 1) };
            let report = check(&test_client(), &target).await;
            assert_eq!(report.pod, LayerResult::Passed, "{domain}");
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
        assert!(check(&test_client(), &target("example.com", port)).await.passed());
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
        let limit = Duration::from_millis(300);
        let target =
            CheckTarget { pod_address: Some(address), timeout: limit, ..target("example.com", address.port()) };
        let begun = Instant::now();
        let report = check(&test_client(), &target).await;
        assert!(begun.elapsed() < 3 * limit, "the layers are asked at once: {:?}", begun.elapsed());
        let expected = format!(
            "http://example.com:{}/.well-known/acme-challenge/tok-en_1 did not answer within 300ms; \
             the solver pod did not answer within 300ms",
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
        assert!(check(&test_client(), &target("example.com", hops.await)).await.passed());
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
    async fn a_redirect_to_tls_is_named() {
        let port = scripted(|path, port| {
            if path.starts_with('/') {
                to(&format!("https://www.example.com:{port}/secret?a=b"))
            } else {
                "no TLS".into()
            }
        });
        let port = port.await;
        let report = check(&test_client(), &target("example.com", port)).await;
        let expected = format!(
            "http://example.com:{port}/.well-known/acme-challenge/tok-en_1, redirected to https://www.example.com:{port}, \
             did not complete the TLS handshake"
        );
        assert_eq!(report.failure(), Some(expected));
    }

    #[tokio::test]
    async fn certificates_are_not_verified_after_a_redirect() {
        let port = scripted_with_tls();
        assert!(check(&test_client(), &target("example.com", port)).await.passed());
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
            let report = check(&test_client(), &target(domain, address.port())).await;
            let LayerResult::Failed(error) = report.public else { panic!("{domain} was asked for") };
            assert_eq!(error.problem, Problem::Malformed, "{domain}");
        }
        let target =
            CheckTarget { token: "../x".into(), pod_address: Some(address), ..target("example.com", address.port()) };
        let failure = check(&test_client(), &target).await.failure().unwrap();
        assert!(failure.starts_with("the challenge's URL cannot be asked: "), "{failure}");
    }

    #[tokio::test]
    async fn the_ports_of_the_challenge_and_of_cas_are_the_default() {
        let challenge = Challenge::new(
            "c",
            crate::api::ChallengeSpec {
                dns_name: "2001:DB8::7".into(),
                token: TOKEN.into(),
                ..crate::api::ChallengeSpec::default()
            },
        );
        let target = CheckTarget::of(&challenge, None);
        assert_eq!(target.public_url().unwrap().as_str(), "http://[2001:db8::7]/.well-known/acme-challenge/tok-en_1");
        assert_eq!(target.timeout, TIMEOUT);
    }

    #[tokio::test]
    async fn failures_say_how_far_the_way_is_clear() {
        let address = solver("example.com").await;
        let port = scripted(|_, _| "HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n".into()).await;
        let target = CheckTarget { pod_address: Some(address), ..target("example.com", port) };
        let expected = format!(
            "http://example.com:{port}/.well-known/acme-challenge/tok-en_1 answered 503 where the key was expected; \
             the solver itself answers with the key"
        );
        assert_eq!(check(&test_client(), &target).await.failure(), Some(expected));
    }
}
