//! The solver's server: answers one token for one name, and nothing else.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::header::{CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::PATH_PREFIX;
use super::client;
pub use super::host::HostHeader;
use super::host::names_same_host;
use crate::api::Sensitive;
use crate::serve::{Bounds, HttpBounds, Slot, accept, serve_http};

/// The Pod has little memory.
const BOUNDS: Bounds = Bounds { connections: 128, drain: Duration::from_secs(5) };
/// No client needs longer, and CAs send less than 1 KiB, to which proxies add a few headers.
const HTTP: HttpBounds =
    HttpBounds { head: Duration::from_secs(10), longest_head: Some(16 * 1024), whole: Some(Duration::from_secs(30)) };

/// A process that has begun a moment ago does not know its answers yet; CAs wait for one for 10 s.
const UNTIL_KNOWN: Duration = Duration::from_secs(8);

/// What is answered, and for which name.
#[derive(Clone, Debug)]
pub struct Answer {
    /// DNS name or IP address, as in the Challenge.
    pub domain: String,
    /// The CA's token, the last part of the path.
    pub token: String,
    /// The key authorization, the body of the answer.
    pub key: Sensitive,
}

/// Where a server finds what to answer.
#[async_trait]
pub trait Answers: Send + Sync + 'static {
    /// The answers under this token; several names may have got the same one from the CA.
    fn find(&self, token: &str) -> Vec<Answer>;

    /// Waits until every answer that there is can be found.
    async fn are_known(&self) {}
}

#[async_trait]
impl Answers for Answer {
    fn find(&self, token: &str) -> Vec<Answer> {
        if token == self.token { vec![self.clone()] } else { Vec::new() }
    }
}

/// Serves the answers until `shutdown` is done, then lets open requests finish for a few seconds. `host_header` says where
/// requests have the name that they are for.
///
/// `/` and `/healthz` answer 200, for those who check whether the server is there. Of everything else, only a GET or HEAD of
/// exactly a token's path with its name as its host gets the key authorization; the rest gets 404. Whoever asks for a token before
/// the answers are known waits for them, and gets 503 if that takes too long.
pub async fn serve(
    listener: TcpListener,
    answers: impl Answers,
    host_header: HostHeader,
    shutdown: impl Future<Output = ()>,
) {
    let rules = Arc::new(Rules { answers: Box::new(answers), host_header });
    accept(listener, BOUNDS, |stream, slot| connection(stream, rules.clone(), slot), shutdown).await;
}

/// One request on one connection: whoever asks has one question, and an idle connection would only hold a slot.
async fn connection(stream: TcpStream, rules: Arc<Rules>, slot: Slot) {
    let service = service_fn(move |request: Request<Incoming>| {
        let rules = rules.clone();
        async move { Ok::<_, Infallible>(rules.respond(&request).await) }
    });
    serve_http(stream, HTTP, service, slot).await;
}

/// What is answered to whom.
struct Rules {
    answers: Box<dyn Answers>,
    host_header: HostHeader,
}

impl Rules {
    async fn respond<B>(&self, request: &Request<B>) -> Response<String> {
        let is_for_token = request.uri().path().starts_with(PATH_PREFIX);
        let verdict = if is_for_token && timeout(UNTIL_KNOWN, self.answers.are_known()).await.is_err() {
            Verdict::TooEarly
        } else {
            self.judge(request)
        };
        // Nothing of the request is logged: the path holds the token, and the rest is whatever the client likes. Our own checks
        // come again and again.
        if verdict == Verdict::Alive || is_own_check(request) {
            tracing::debug!("{}", verdict.explanation());
        } else {
            tracing::info!("{}", verdict.explanation());
        }
        match verdict {
            Verdict::Key(key) => text(StatusCode::OK, key.expose()),
            Verdict::Alive => text(StatusCode::OK, ""),
            Verdict::TooEarly => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    fn judge<B>(&self, request: &Request<B>) -> Verdict {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Verdict::OtherMethod;
        }
        // The path as it was sent: nothing is decoded, joined or cleaned, so there is only one spelling of the right one.
        let path = request.uri().path();
        if path == "/" || path == "/healthz" {
            return Verdict::Alive;
        }
        let token = path.strip_prefix(PATH_PREFIX).filter(|token| super::is_token(token));
        let found = token.map(|token| self.answers.find(token)).unwrap_or_default();
        if found.is_empty() {
            return Verdict::OtherPath;
        }
        let Some(host) = self.host_header.asked_host(request) else { return Verdict::OtherHost };
        let right = found.into_iter().find(|answer| names_same_host(&host, &answer.domain));
        right.map_or(Verdict::OtherHost, |answer| Verdict::Key(answer.key))
    }
}

fn is_own_check<B>(request: &Request<B>) -> bool {
    request.headers().get(USER_AGENT).is_some_and(|agent| agent.as_bytes() == client::USER_AGENT.as_bytes())
}

fn text(status: StatusCode, body: &str) -> Response<String> {
    let mut response = Response::new(body.to_owned());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Key(Sensitive),
    Alive,
    OtherMethod,
    OtherPath,
    OtherHost,
    TooEarly,
}

impl Verdict {
    fn explanation(&self) -> &'static str {
        match self {
            Self::Key(_) => "answered with the key authorization",
            Self::Alive => "answered that the server is there",
            Self::OtherMethod => "refused: the method is neither GET nor HEAD",
            Self::OtherPath => "refused: the path is not that of a challenge",
            Self::OtherHost => "refused: the host is not the name of the challenge",
            Self::TooEarly => "put off: the challenges are not known yet",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::*;

    const KEY: &str = "tok-en_1.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";
    const PATH: &str = "/.well-known/acme-challenge/tok-en_1";

    async fn start(domain: &str) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
        start_with(domain, HostHeader::Host).await
    }

    async fn start_with(domain: &str, rule: HostHeader) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Answer { domain: domain.into(), token: "tok-en_1".into(), key: KEY.into() };
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, answer, rule, async { drop(stopped.await) }));
        (address, stop, server)
    }

    /// What comes back for exactly these bytes.
    async fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may close before it has read everything.
        drop(stream.write_all(request.as_bytes()).await);
        let mut response = Vec::new();
        drop(stream.read_to_end(&mut response).await);
        String::from_utf8(response).unwrap()
    }

    async fn ask(address: SocketAddr, line: &str, host: &str) -> String {
        exchange(address, &format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await
    }

    fn status(response: &str) -> u16 {
        response.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap()
    }

    #[tokio::test]
    async fn the_key_is_answered_as_text() {
        let (address, _stop, _) = start("example.com").await;
        let response = ask(address, &format!("GET {PATH}"), "example.com").await;
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert_eq!(status(head), 200);
        assert!(head.contains("content-type: text/plain"), "{head}");
        assert!(head.contains(&format!("content-length: {}", KEY.len())), "{head}");
        assert_eq!(body, KEY);

        let head_only = ask(address, &format!("HEAD {PATH}"), "example.com").await;
        assert_eq!(status(&head_only), 200);
        assert!(head_only.ends_with("\r\n\r\n"), "{head_only}");
    }

    #[tokio::test]
    async fn only_the_host_of_the_challenge_is_answered() {
        let names = [
            ("example.com", true),
            ("EXAMPLE.com", true),
            ("example.com.", true),
            ("example.com:80", true),
            ("example.com:8089", true),
            ("example.com.:80", true),
            ("example.com:", true),
            ("example.com:http", false),
            ("example.com:80:80", false),
            ("example.com..", false),
            ("example.com.evil.test", false),
            ("evil.test.example.com", false),
            ("evilexample.com", false),
            ("example.co", false),
            ("[example.com]", false),
            ("", false),
            (".", false),
            ("192.0.2.7", false),
        ];
        let (name, _stop, _) = start("Example.com").await;
        for (host, answered) in names {
            let response = ask(name, &format!("GET {PATH}"), host).await;
            assert_eq!(response.ends_with(KEY), answered, "{host:?}: {response}");
            assert_eq!(status(&response), if answered { 200 } else { 404 }, "{host:?}");
        }
        let addresses = [
            ("[2001:db8::7]", true),
            ("[2001:DB8:0:0::7]", true),
            ("[2001:db8::7]:80", true),
            ("2001:db8::7", true),
            ("[2001:db8::7", false),
            ("[2001:db8::7]80", false),
            ("[2001:db8::8]", false),
            ("example.com", false),
        ];
        let (address, _stop, _) = start("2001:db8::7").await;
        for (host, answered) in addresses {
            let response = ask(address, &format!("GET {PATH}"), host).await;
            assert_eq!(response.ends_with(KEY), answered, "{host:?}: {response}");
        }
        let (address, _stop, _) = start("192.0.2.7").await;
        for (host, answered) in
            [("192.0.2.7", true), ("192.0.2.7:80", true), ("192.0.2.70", false), ("[192.0.2.7]", false)]
        {
            let response = ask(address, &format!("GET {PATH}"), host).await;
            assert_eq!(response.ends_with(KEY), answered, "{host:?}: {response}");
        }
    }

    #[tokio::test]
    async fn only_the_exact_path_is_answered() {
        let (address, _stop, _) = start("example.com").await;
        for other in [
            "/.well-known/acme-challenge/tok-en_2",
            "/.well-known/acme-challenge/tok-en_",
            "/.well-known/acme-challenge/tok-en_11",
            "/.well-known/acme-challenge/TOK-EN_1",
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge",
            "/.well-known/acme-challenge/tok-en_1/",
            "/.well-known/acme-challenge//tok-en_1",
            "//.well-known/acme-challenge/tok-en_1",
            "/x/.well-known/acme-challenge/tok-en_1",
            "/x/../.well-known/acme-challenge/tok-en_1",
            "/.well-known/x/../acme-challenge/tok-en_1",
            "/.well-known/acme-challenge/./tok-en_1",
            "/.well-known/acme-challenge/%74ok-en_1",
            "/.well-known/acme-challenge/tok-en_1%00",
            "/.well-known/acme-challenge/tok-en_1;x",
            "/.well-known/acme-challenge/tok-en_1%2f",
            "/.Well-Known/acme-challenge/tok-en_1",
            "/.well-known/ACME-challenge/tok-en_1",
            "/.well-known//acme-challenge/tok-en_1",
            "/.well-known\\acme-challenge\\tok-en_1",
            "/./.well-known/acme-challenge/tok-en_1",
            "/.well-known/acme-challenge/x/../tok-en_1",
            "/%2ewell-known/acme-challenge/tok-en_1",
            "/.well-known%2facme-challenge/tok-en_1",
            "/tok-en_1",
            "/healthz/",
        ] {
            let response = ask(address, &format!("GET {other}"), "example.com").await;
            assert_eq!(status(&response), 404, "{other}");
            assert!(!response.contains(KEY), "{other}");
        }
        for (alive, host) in [("/", "10.0.0.1:8089"), ("/healthz", "anything")] {
            let response = ask(address, &format!("GET {alive}"), host).await;
            assert_eq!(status(&response), 200, "{alive}");
            assert!(!response.contains(KEY), "{alive}");
        }
    }

    #[tokio::test]
    async fn absolute_targets_count_before_the_header() {
        let (address, _stop, _) = start("example.com").await;
        let right = ask(address, &format!("GET http://example.com{PATH}"), "other.test").await;
        assert!(right.ends_with(KEY), "{right}");
        let wrong = ask(address, &format!("GET http://other.test{PATH}"), "example.com").await;
        assert_eq!(status(&wrong), 404);
    }

    #[tokio::test]
    async fn a_proxy_may_say_the_host_in_a_header_of_its_own() {
        let (address, _stop, _) = start_with("example.com", HostHeader::Forwarded).await;
        for (headers, answered) in [
            ("Host: inner\r\nForwarded: for=192.0.2.43;host=\"example.com:80\"", true),
            ("Host: inner\r\nForwarded: host=other.test, host=example.com", false),
            ("Host: example.com", false),
            ("Host: example.com\r\nX-Forwarded-Host: example.com", false),
        ] {
            let response = exchange(address, &format!("GET {PATH} HTTP/1.1\r\n{headers}\r\n\r\n")).await;
            assert_eq!(response.ends_with(KEY), answered, "{headers:?}: {response}");
        }
        let absolute = ask(address, &format!("GET http://example.com{PATH}"), "example.com").await;
        assert_eq!(status(&absolute), 404, "only the header counts");
    }

    #[tokio::test]
    async fn a_query_changes_nothing() {
        let (address, _stop, _) = start("example.com").await;
        assert!(ask(address, &format!("GET {PATH}?a=/../b"), "example.com").await.ends_with(KEY));
        let other = ask(address, &format!("GET /.well-known/acme-challenge/x?{PATH}"), "example.com").await;
        assert_eq!(status(&other), 404);
    }

    #[tokio::test]
    async fn other_requests_are_refused() {
        let (address, _stop, _) = start("example.com").await;
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
            let response = ask(address, &format!("{method} {PATH}"), "example.com").await;
            assert_eq!(status(&response), 404, "{method}");
        }
        for hosts in ["Host: example.com\r\nHost: example.com\r\n", ""] {
            let response = exchange(address, &format!("GET {PATH} HTTP/1.1\r\n{hosts}\r\n")).await;
            assert_eq!(status(&response), 404, "{hosts:?}");
        }
        for headers in [format!("X: {}\r\n", "x".repeat(2 * HTTP.longest_head.unwrap())), "X: x\r\n".repeat(200)] {
            let request = format!("GET {PATH} HTTP/1.1\r\nHost: example.com\r\n{headers}\r\n");
            assert!(!exchange(address, &request).await.contains(KEY));
        }
        // And it is still there afterwards.
        assert!(ask(address, &format!("GET {PATH}"), "example.com").await.ends_with(KEY));
    }

    #[tokio::test]
    async fn odd_spellings_of_the_target_and_the_host_get_no_key() {
        let (address, _stop, _) = start("example.com").await;
        for (target, host) in [
            (&*format!("http://user@example.com{PATH}"), "example.com"),
            (&format!("http://example.com%2e{PATH}"), "example.com"),
            (&format!("http://example.com:80x{PATH}"), "example.com"),
            (&format!("http:{PATH}"), "example.com"),
            ("example.com:80", "example.com"),
            ("*", "example.com"),
            (PATH, "user@example.com"),
            (PATH, "example.com, example.com"),
            (PATH, "example.com/"),
            (PATH, "http://example.com"),
            (PATH, "example%2ecom"),
            (PATH, "ex\u{e4}mple.com"),
            (PATH, "\u{ff45}xample.com"),
            (PATH, "[::ffff:192.0.2.7]"),
        ] {
            let response = ask(address, &format!("GET {target}"), host).await;
            assert!(!response.contains(KEY), "{target} {host}: {response}");
            assert!(response.is_empty() || (400..500).contains(&status(&response)), "{target} {host}: {response}");
        }
        let (address, _stop, _) = start("fe80::7").await;
        for zoned in ["[fe80::7%25eth0]", "[fe80::7%eth0]", "fe80::7%eth0", "[fe80::7]:", "[fe80:0::7]:80"] {
            let response = ask(address, &format!("GET {PATH}"), zoned).await;
            assert_eq!(response.contains(KEY), !zoned.contains('%'), "{zoned}: {response}");
        }
    }

    #[tokio::test]
    async fn one_connection_has_one_answer_whatever_the_version() {
        let (address, _stop, _) = start("example.com").await;
        let old = exchange(address, &format!("GET {PATH} HTTP/1.0\r\nHost: example.com\r\n\r\n")).await;
        assert!(old.contains(" 200 OK\r\n") && old.ends_with(KEY), "{old}");
        let nameless = exchange(address, &format!("GET {PATH} HTTP/1.0\r\n\r\n")).await;
        assert!(nameless.contains(" 404 "), "{nameless}");
        let wanted = format!("GET {PATH} HTTP/1.1\r\nHost: example.com\r\nConnection: keep-alive\r\n\r\n");
        let pipelined = exchange(address, &wanted.repeat(3)).await;
        assert_eq!((pipelined.matches("HTTP/1.1 200").count(), pipelined.matches(KEY).count()), (1, 1), "{pipelined}");
        assert!(pipelined.to_ascii_lowercase().contains("connection: close"), "{pipelined}");
        let prior_knowledge = exchange(address, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        assert!(!prior_knowledge.contains(" 200 "), "{prior_knowledge}");
        // And it is still there afterwards.
        assert!(ask(address, &format!("GET {PATH}"), "example.com").await.ends_with(KEY));
    }

    #[tokio::test]
    async fn a_token_that_is_none_is_never_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Answer { domain: "example.com".into(), token: "a/b".into(), key: KEY.into() };
        let server = tokio::spawn(serve(listener, answer, HostHeader::Host, std::future::pending()));
        let response = ask(address, "GET /.well-known/acme-challenge/a/b", "example.com").await;
        assert_eq!(status(&response), 404);
        server.abort();
    }

    /// The clock jumps ahead whenever nothing else is left to do.
    #[tokio::test(start_paused = true)]
    async fn clients_that_do_not_go_on_are_dropped() {
        let (address, _stop, _) = start("example.com").await;
        let begun = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {PATH} HTTP/1.1\r\nHost: example.com\r\n").as_bytes()).await.unwrap();
        let mut response = String::new();
        drop(stream.read_to_string(&mut response).await);
        assert!(!response.contains(KEY), "{response}");
        assert!(begun.elapsed() >= HTTP.head && begun.elapsed() < HTTP.whole.unwrap(), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn shutdown_finishes_what_was_begun_and_takes_no_more() {
        let (address, stop, server) = start("example.com").await;
        let mut begun = TcpStream::connect(address).await.unwrap();
        begun.write_all(format!("GET {PATH} HTTP/1.1\r\n").as_bytes()).await.unwrap();
        // An answer to a later connection shows that the earlier one has been accepted.
        assert!(ask(address, &format!("GET {PATH}"), "example.com").await.ends_with(KEY));
        stop.send(()).unwrap();
        begun.write_all(b"Host: example.com\r\n\r\n").await.unwrap();
        let mut response = String::new();
        begun.read_to_string(&mut response).await.unwrap();
        assert!(response.ends_with(KEY), "{response}");
        timeout(BOUNDS.drain, server).await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let answer = Answer { domain: "example.com".into(), token: "t".into(), key: KEY.into() };
        assert!(!format!("{answer:?}").contains(KEY));
    }

    /// What is known from the moment on that it is told so.
    struct Later(Answer, tokio::sync::watch::Receiver<bool>);

    #[async_trait]
    impl Answers for Later {
        fn find(&self, token: &str) -> Vec<Answer> {
            if *self.1.borrow() { self.0.find(token) } else { Vec::new() }
        }

        async fn are_known(&self) {
            let mut known = self.1.clone();
            drop(known.wait_for(|known| *known).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_too_early_waits() {
        let (tell, told) = tokio::sync::watch::channel(false);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Answer { domain: "example.com".into(), token: "tok-en_1".into(), key: KEY.into() };
        tokio::spawn(serve(listener, Later(answer, told), HostHeader::Host, std::future::pending()));
        let request = format!("GET {PATH} HTTP/1.1\r\nHost: example.com\r\n\r\n");
        assert_eq!(status(&exchange(address, &request).await), 503, "it took too long");
        assert_eq!(status(&exchange(address, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await), 200);
        let (response, _) = tokio::join!(exchange(address, &request), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            tell.send(true)
        });
        assert!(response.ends_with(KEY), "{response}");
    }
}
