//! Servers that are no ACME servers, or bad ones: a few lines of HTTP over TCP each.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use certwright::acme::{Client, Config, Error, NewOrder, Registration, TransportKind};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::issuance::p256;

/// Answers every request with what `answer` makes of its method, path and number, and closes the connection.
pub struct Server {
    pub base: String,
    requests: Arc<AtomicUsize>,
}

impl Server {
    pub async fn start<F>(answer: F) -> Self
    where
        F: Fn(&str, &str, &str) -> Vec<u8> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let (own_base, counter) = (base.clone(), requests.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some((method, path)) = read_request(&mut stream).await else { continue };
                counter.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(&answer(&own_base, &method, &path)).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { base, requests }
    }

    pub fn client(&self) -> Client {
        client(&format!("{}/dir", self.base))
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

pub fn client(directory_url: &str) -> Client {
    // Any CA will do: these servers speak plain HTTP.
    let ca = rcgen::generate_simple_self_signed(vec!["unused.example".to_owned()]).unwrap().cert.pem();
    let config =
        Config { directory_url: directory_url.to_owned(), ca_bundle: Some(ca.into_bytes()), skip_tls_verify: false };
    Client::new(&config).unwrap()
}

async fn read_request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let length = stream.read(&mut chunk).await.ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&chunk[..length]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let announced =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= announced.unwrap_or(0) {
            let mut words = head.split(' ');
            return Some((words.next()?.to_owned(), words.next()?.to_owned()));
        }
    }
}

/// Talks first and in another protocol.
async fn babbling_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n").await;
            let _ = stream.read(&mut [0; 4096]).await;
        }
    });
    address
}

pub fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}").into_bytes()
}

fn directory(base: &str) -> Vec<u8> {
    let body = format!(r#"{{"newNonce":"{base}/nonce","newAccount":"{base}/account","newOrder":"{base}/order"}}"#);
    http("200 OK", "content-type: application/json\r\n", &body)
}

/// A server with a directory and nonces, whose POSTs are answered by `post`.
pub async fn acme<F>(post: F) -> Server
where
    F: Fn(&str) -> Vec<u8> + Send + Sync + 'static,
{
    Server::start(move |base, method, path| match (method, path) {
        ("GET", "/dir") => directory(base),
        ("HEAD", "/nonce") => http("200 OK", "replay-nonce: n0\r\n", ""),
        _ => post(path),
    })
    .await
}

async fn register(client: &Client) -> Error {
    client.register(&p256(), &Registration::default()).await.unwrap_err()
}

#[tokio::test]
async fn a_web_page_is_no_directory() {
    let server =
        Server::start(|_, _, _| http("200 OK", "content-type: text/html\r\n", "<html>\n<b>Hello</b>\u{1b}[1m")).await;
    let error = server.client().directory().await.unwrap_err();
    let expected = format!(
        "{}/dir did not answer as an ACME server does: an ACME directory was expected, but expected value at line 1 column 1; \
         it answered HTTP 200, text/html: <html> <b>Hello</b> [1m",
        server.base
    );
    assert_eq!(error.to_string(), expected);
    assert!(!error.is_transient());
}

#[tokio::test]
async fn a_directory_without_orders_is_none() {
    let server = Server::start(|base, _, _| {
        let body = format!(r#"{{"newNonce":"{base}/nonce","newAccount":"{base}/account","new-cert":"{base}/cert"}}"#);
        http("200 OK", "content-type: application/json\r\n", &body)
    })
    .await;
    let error = register(&server.client()).await;
    assert!(!error.is_transient());
    assert!(error.to_string().contains("an ACME directory was expected, but missing field `newOrder`"), "{error}");
}

#[tokio::test]
async fn a_missing_page_and_a_redirect_are_told_as_they_are() {
    let server = Server::start(|_, _, _| http("404 Not Found", "", "")).await;
    let error = server.client().directory().await.unwrap_err();
    assert!(error.to_string().ends_with("it answered HTTP 404, no content"), "{error}");
    let server = Server::start(|_, _, _| http("301 Moved Permanently", "location: /acme/directory\r\n", "")).await;
    let error = server.client().directory().await.unwrap_err();
    assert!(error.to_string().contains(&format!("HTTP 301 (redirect to {}/acme/directory)", server.base)), "{error}");
    assert!(!error.is_transient());
    let server = Server::start(|_, _, _| http("201 Created", "location: /acme/order/1\r\n", "")).await;
    let error = server.client().directory().await.unwrap_err();
    assert!(error.to_string().ends_with("it answered HTTP 201, no content"), "{error}");
}

#[tokio::test]
async fn a_sick_load_balancer_is_transient_and_its_wish_is_kept() {
    let server =
        Server::start(|_, _, _| http("503 Service Unavailable", "retry-after: 120\r\n", "<h1>sorry</h1>")).await;
    let error = server.client().directory().await.unwrap_err();
    assert!(error.is_transient());
    assert_eq!(error.retry_after(), Some(Duration::from_mins(2)));
    assert!(error.to_string().contains("it answered HTTP 503"), "{error}");
}

#[tokio::test]
async fn rate_limits_carry_their_time() {
    let server = acme(|_| {
        let body = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many orders"}"#;
        let headers = "content-type: application/problem+json\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                       retry-after: Sun, 06 Nov 1994 09:49:37 GMT\r\n";
        http("429 Too Many Requests", headers, body)
    })
    .await;
    let error = register(&server.client()).await;
    assert!(error.is_transient() && matches!(error, Error::Limited(_)), "{error:?}");
    assert_eq!(error.retry_after(), Some(Duration::from_hours(1)));
    assert_eq!(
        error.to_string(),
        "the ACME server answered 429: urn:ietf:params:acme:error:rateLimited: too many orders"
    );
}

#[tokio::test]
async fn a_server_that_refuses_every_nonce_is_not_asked_for_ever() {
    let server = acme(|_| {
        let body = r#"{"type":"urn:ietf:params:acme:error:badNonce","detail":"bad"}"#;
        http("400 Bad Request", "replay-nonce: n1\r\n", body)
    })
    .await;
    let error = register(&server.client()).await;
    assert!(error.problem().unwrap().is_bad_nonce() && error.is_transient());
    // The directory, one nonce, and the request with its ten repetitions.
    assert_eq!(server.requests(), 13);
}

#[tokio::test]
async fn a_server_without_nonces_is_no_acme_server() {
    let server = Server::start(|base, method, _| match method {
        "GET" => directory(base),
        _ => http("200 OK", "", ""),
    })
    .await;
    let error = register(&server.client()).await;
    assert!(error.to_string().contains("a nonce was expected in its Replay-Nonce header"), "{error}");
}

#[tokio::test]
async fn an_account_without_url_cannot_be_used() {
    let server = acme(|_| http("201 Created", "replay-nonce: n1\r\n", r#"{"status":"valid"}"#)).await;
    let error = register(&server.client()).await;
    assert!(error.to_string().contains("its Location header is missing"), "{error}");
}

#[tokio::test]
async fn the_directory_is_fetched_once() {
    let server = Server::start(|base, _, _| directory(base)).await;
    let client = server.client();
    for _ in 0..3 {
        client.clone().directory().await.unwrap();
    }
    assert_eq!(server.requests(), 1);
    assert!(client.renewal_info("a.b").await.unwrap().is_none());
}

#[tokio::test]
async fn huge_answers_are_not_read() {
    // One that says so, and one that does not.
    let announced = Server::start(|_, _, _| b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_vec()).await;
    let error = announced.client().directory().await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 1_048_576, .. }), "{error:?}");
    let endless = Server::start(|_, _, _| {
        let mut answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_vec();
        answer.resize(2 << 20, b' ');
        answer
    })
    .await;
    let error = endless.client().directory().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the answer of {}/dir is longer than 1048576 bytes; it was not read", endless.base)
    );
    assert!(!error.is_transient());
}

#[tokio::test]
async fn a_chain_that_is_no_pem_is_refused() {
    let server =
        acme(|_| http("200 OK", "content-type: application/pkix-cert\r\nreplay-nonce: n1\r\n", "0\u{3}")).await;
    let client = server.client();
    let account = client.account(p256(), format!("{}/account/1", server.base));
    let error = account.certificate(&format!("{}/cert", server.base)).await.unwrap_err();
    assert!(error.to_string().contains("a certificate chain in PEM was expected"), "{error}");
    assert!(error.to_string().contains("application/pkix-cert"), "{error}");
}

#[tokio::test]
async fn an_order_with_statuses_of_the_future_is_read() {
    let server = acme(|_| {
        let body = r#"{"status":"dreaming","finalize":"https://ca.example/f","expires":7,"unknown":{}}"#;
        http("201 Created", "location: /order/1\r\nreplay-nonce: n1\r\nretry-after: 7\r\n", body)
    })
    .await;
    let account = server.client().account(p256(), "https://ca.example/1");
    let (url, answer) = account.new_order(&NewOrder::default()).await.unwrap();
    assert_eq!(url, format!("{}/order/1", server.base));
    assert_eq!(answer.body.status.to_string(), "dreaming");
    assert_eq!(answer.body.expires, None);
    assert_eq!(answer.retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn unreachable_servers_are_told_apart() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let babbling = babbling_server().await;
    for (url, expected, text) in [
        (format!("http://{unused}/dir"), TransportKind::Connect, "Connection refused"),
        ("http://no-such-host.invalid/dir".to_owned(), TransportKind::Dns, "the host name cannot be resolved"),
        (format!("https://{babbling}/dir"), TransportKind::Tls, "TLS failed"),
        (format!("http://{babbling}/dir"), TransportKind::Interrupted, "the exchange broke off"),
    ] {
        let error = client(&url).directory().await.unwrap_err();
        assert!(matches!(&error, Error::Transport { kind, .. } if *kind == expected), "{url}: {error:?}");
        assert!(error.to_string().contains(&url) && error.to_string().contains(text), "{error}");
        assert!(error.is_transient());
    }
}

/// The clock runs ahead whenever everybody waits, so this takes no half minute.
#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/dir", silent.local_addr().unwrap());
    let started = tokio::time::Instant::now();
    let error = client(&url).directory().await.unwrap_err();
    assert!(matches!(error, Error::Transport { kind: TransportKind::Timeout, .. }), "{error:?}");
    assert!(started.elapsed() <= Duration::from_secs(31), "{:?}", started.elapsed());
}

#[test]
fn bad_configurations_are_refused_at_once() {
    let refused = |directory_url: &str, ca_bundle: Option<&[u8]>| {
        let ca_bundle = ca_bundle.map(<[u8]>::to_vec);
        let config = Config { directory_url: directory_url.to_owned(), ca_bundle, skip_tls_verify: false };
        Client::new(&config).unwrap_err()
    };
    let ca = rcgen::generate_simple_self_signed(vec!["ca.example".to_owned()]).unwrap().cert.pem();
    assert!(matches!(refused("ca.example/dir", Some(ca.as_bytes())), Error::InvalidUrl { .. }));
    assert!(matches!(refused("ftp://ca.example/dir", Some(ca.as_bytes())), Error::InvalidUrl { .. }));
    let nonsense = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for bundle in [&b""[..], b"hello", nonsense] {
        let error = refused("https://ca.example/dir", Some(bundle));
        assert!(matches!(error, Error::BadCaBundle(_)), "{error:?}");
        assert!(!error.is_transient());
    }
}

#[tokio::test]
async fn secrets_in_urls_are_not_shown() {
    let server = Server::start(|_, _, _| http("404 Not Found", "", "")).await;
    let url = format!("{}/dir?token=hunter2", server.base.replace("http://", "http://user:hunter2@"));
    let error = client(&url).directory().await.unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
}
