//! One DNS message out, one message back, over UDP and TCP (RFC 1035 section 4.2, RFC 7766); over TLS and HTTPS see
//! [`secure`](super::secure).

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::ProtoError;
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use reqwest::{StatusCode, Url};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::secure::Secure;
use crate::measure::span::Span;

/// The largest answer we let servers send by UDP: what passes unfragmented nearly everywhere. Longer ones come by TCP.
const UDP_PAYLOAD: u16 = 1232;

/// Room for answers of servers that do not heed [`UDP_PAYLOAD`].
const UDP_BUFFER: usize = 4096;

const HEADER_LENGTH: usize = 12;

/// TC, in the third byte of the header (RFC 1035 section 4.1.1).
const TRUNCATED: u8 = 0x02;

/// Which transports to use for one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// UDP; TCP only for the rest of a truncated answer.
    Udp,
    Tcp,
    /// UDP; TCP after a truncated answer and also when UDP brings none, for many networks drop it.
    UdpThenTcp,
}

/// Where one question goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Endpoint<'a> {
    Plain(Route, SocketAddr),
    Tls(&'a Secure, SocketAddr, &'a ServerName<'static>),
    Https(&'a Secure, &'a Url),
}

impl Endpoint<'_> {
    /// None for a URL: the HTTP client chooses among the addresses of its host.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Plain(_, address) | Self::Tls(_, address, _) => Some(*address),
            Self::Https(..) => None,
        }
    }
}

impl fmt::Display for Endpoint<'_> {
    /// Without the path of a URL, in which a resolver's customers may have to name themselves.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_, address) | Self::Tls(_, address, _) => address.fmt(out),
            Self::Https(_, url) => out.write_str(url.host_str().unwrap_or_default()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    Https,
}

impl fmt::Display for Transport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Https => "HTTPS",
        })
    }
}

/// Why no usable answer came.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error("gave no answer over {transport} within {} s", limit.as_secs_f32())]
    Timeout { transport: Transport, limit: Duration },
    #[error("could not be reached over {transport}: {source}")]
    Io { transport: Transport, source: io::Error },
    #[error("{udp}, and {tcp}")]
    Both { udp: Box<ExchangeError>, tcp: Box<ExchangeError> },
    #[error("answered HTTP {0} and no DNS message")]
    Http(StatusCode),
    #[error("sent an answer that cannot be read: {0}")]
    Unreadable(#[source] ProtoError),
    #[error("sent an answer to another question")]
    Unrelated,
    #[error("was not asked, for the question cannot be encoded: {0}")]
    Encode(#[source] ProtoError),
}

impl ExchangeError {
    /// Nothing came back by UDP, so TCP is worth a try.
    pub(crate) fn is_udp_silence(&self) -> bool {
        matches!(self, Self::Timeout { transport: Transport::Udp, .. } | Self::Io { transport: Transport::Udp, .. })
    }
}

impl ExchangeError {
    /// It was waited for in vain.
    pub(crate) fn is_silence(&self) -> bool {
        match self {
            Self::Timeout { .. } => true,
            Self::Both { udp, tcp } => udp.is_silence() || tcp.is_silence(),
            _ => false,
        }
    }
}

/// One question.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) name: Name,
    pub(crate) record_type: RecordType,
    /// Ask the server to find the answer elsewhere if it does not have it.
    pub(crate) recursive: bool,
}

impl Question {
    fn message(&self, with_edns: bool) -> Message {
        let mut message = Message::query();
        message.metadata.recursion_desired = self.recursive;
        message.add_query(Query::query(self.name.clone(), self.record_type));
        if with_edns {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_PAYLOAD).set_version(0);
            message.set_edns(edns);
        }
        message
    }
}

/// Asks one server one question. `limit` holds for each transport.
pub(crate) async fn ask(
    endpoint: Endpoint<'_>,
    question: &Question,
    limit: Duration,
) -> Result<Message, ExchangeError> {
    let span = Span::call(|| format!("DNS {}", question.record_type))
        .with("dns.question.name", || question.name.to_string())
        .with("server.address", || endpoint.to_string());
    let answer = span.around(ask_in_any_way(endpoint, question, limit)).await;
    match &answer {
        Ok(message) => span.text("dns.response_code", || message.metadata.response_code.to_string()),
        Err(error) => span.failed(|| error.to_string()),
    }
    answer
}

async fn ask_in_any_way(
    endpoint: Endpoint<'_>,
    question: &Question,
    limit: Duration,
) -> Result<Message, ExchangeError> {
    let answer = ask_once(endpoint, &question.message(true), limit).await?;
    // RFC 6891 section 7: a server that does not know EDNS may answer FORMERR.
    if answer.metadata.response_code == ResponseCode::FormErr {
        return ask_once(endpoint, &question.message(false), limit).await;
    }
    Ok(answer)
}

async fn ask_once(endpoint: Endpoint<'_>, message: &Message, limit: Duration) -> Result<Message, ExchangeError> {
    let request = message.to_vec().map_err(ExchangeError::Encode)?;
    let answer = match endpoint {
        Endpoint::Plain(route, address) => exchange(route, address, &request, limit).await?,
        Endpoint::Tls(secure, address, name) => secure.over_tls(address, name, &request, limit).await?,
        Endpoint::Https(secure, url) => secure.over_https(url, &request, limit).await?,
    };
    decode(&answer)
}

/// Reads a message as it came from the wire.
pub(crate) fn decode(bytes: &[u8]) -> Result<Message, ExchangeError> {
    Message::from_vec(bytes).map_err(|error| ExchangeError::Unreadable(error.into()))
}

/// Sends one encoded message and returns the encoded answer. `limit` holds for each transport.
pub(crate) async fn exchange(
    route: Route,
    server: SocketAddr,
    request: &[u8],
    limit: Duration,
) -> Result<Vec<u8>, ExchangeError> {
    if route == Route::Tcp {
        return over_tcp(server, request, limit).await;
    }
    match over_udp(server, request, limit).await {
        Ok(answer) if is_truncated(&answer) => over_tcp(server, request, limit).await,
        Err(udp) if route == Route::UdpThenTcp && udp.is_udp_silence() => over_tcp(server, request, limit)
            .await
            .map_err(|tcp| ExchangeError::Both { udp: Box::new(udp), tcp: Box::new(tcp) }),
        other => other,
    }
}

async fn over_udp(server: SocketAddr, request: &[u8], limit: Duration) -> Result<Vec<u8>, ExchangeError> {
    let transport = Transport::Udp;
    match timeout(limit, udp_round_trip(server, request)).await {
        Ok(answer) => answer.map_err(|source| ExchangeError::Io { transport, source }),
        Err(_) => Err(ExchangeError::Timeout { transport, limit }),
    }
}

async fn udp_round_trip(server: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // A connected socket takes nothing from other addresses, and hears that a port is closed.
    socket.connect(server).await?;
    socket.send(request).await?;
    let mut buffer = vec![0; UDP_BUFFER];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // Whatever does not fit is a stray or forged datagram: the real answer may still come.
        if is_answer_to(request, &buffer[..length]) {
            buffer.truncate(length);
            // What may have been cut off is as good as truncated.
            buffer[2] |= if length == UDP_BUFFER { TRUNCATED } else { 0 };
            return Ok(buffer);
        }
    }
}

async fn over_tcp(server: SocketAddr, request: &[u8], limit: Duration) -> Result<Vec<u8>, ExchangeError> {
    let transport = Transport::Tcp;
    match timeout(limit, tcp_round_trip(server, request)).await {
        Ok(Ok(answer)) if is_answer_to(request, &answer) => Ok(answer),
        Ok(Ok(_)) => Err(ExchangeError::Unrelated),
        Ok(Err(source)) => Err(ExchangeError::Io { transport, source }),
        Err(_) => Err(ExchangeError::Timeout { transport, limit }),
    }
}

async fn tcp_round_trip(server: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    stream_round_trip(TcpStream::connect(server).await?, request).await
}

/// Over a stream, each message follows its length (RFC 1035 section 4.2.2).
pub(super) async fn stream_round_trip(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &[u8],
) -> io::Result<Vec<u8>> {
    let length =
        u16::try_from(request.len()).map_err(|_| io::Error::other("the message is longer than 65535 bytes"))?;
    // Length and message in one write: some servers read only once (RFC 7766 section 8).
    let framed = [&length.to_be_bytes(), request].concat();
    stream.write_all(&framed).await?;
    stream.flush().await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn is_truncated(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & TRUNCATED != 0)
}

/// Same identifier, marked as a response, and the same question (an error may come without any).
pub(super) fn is_answer_to(request: &[u8], answer: &[u8]) -> bool {
    if request.len() < HEADER_LENGTH || answer.len() < HEADER_LENGTH {
        return false;
    }
    let is_response = answer[2] & 0x80 != 0;
    let has_question = answer[4..6] != [0, 0];
    answer[..2] == request[..2] && is_response && (!has_question || same_question(request, answer))
}

/// Servers repeat the question byte by byte, save for the case of letters. Nothing stands before it, so that it cannot
/// be compressed.
fn same_question(request: &[u8], answer: &[u8]) -> bool {
    let mut end = HEADER_LENGTH;
    while let Some(&length) = request.get(end) {
        end += 1 + usize::from(length);
        if length == 0 {
            break;
        }
    }
    let range = HEADER_LENGTH..end + 4;
    match (request.get(range.clone()), answer.get(range)) {
        (Some(asked), Some(repeated)) => asked.eq_ignore_ascii_case(repeated),
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(300);

    fn question(name: &str) -> Question {
        Question { name: Name::from_ascii(name).unwrap(), record_type: RecordType::TXT, recursive: true }
    }

    fn response(request: &Message) -> Message {
        let mut response = request.clone().into_response();
        response.edns = None;
        response
    }

    #[test]
    fn an_answer_has_our_identifier_and_our_question() {
        let request = question("a.example.com.").message(true);
        let sent = request.to_vec().unwrap();
        let answer = response(&request).to_vec().unwrap();
        assert!(is_answer_to(&sent, &answer));
        let mut other_case = request.clone();
        other_case.queries[0].name = Name::from_ascii("A.Example.com.").unwrap();
        assert!(is_answer_to(&sent, &response(&other_case).to_vec().unwrap()));

        let mut other_id = answer.clone();
        other_id[1] ^= 1;
        assert!(!is_answer_to(&sent, &other_id));
        assert!(!is_answer_to(&sent, &sent), "a query is not an answer");
        assert!(!is_answer_to(&sent, &answer[..11]));

        let mut other = request.clone();
        other.queries[0].name = Name::from_ascii("b.example.com.").unwrap();
        assert!(!is_answer_to(&sent, &response(&other).to_vec().unwrap()));
        other.queries.clear();
        assert!(is_answer_to(&sent, &response(&other).to_vec().unwrap()), "an error may come without the question");
    }

    proptest::proptest! {
        #[test]
        fn anything_is_judged_without_panic(mut answer: Vec<u8>, repeat: bool) {
            let request = question("a.example.com.").message(true).to_vec().unwrap();
            if repeat {
                answer.splice(0..answer.len().min(2), [request[0], request[1], 0x80]);
            }
            let _ = (is_answer_to(&request, &answer), is_answer_to(&answer, &request), is_truncated(&answer));
        }
    }

    #[tokio::test]
    async fn a_stray_datagram_is_passed_over() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let elsewhere = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let serve = async {
            let mut buffer = [0; 512];
            let (length, client) = server.recv_from(&mut buffer).await.unwrap();
            let request = Message::from_vec(&buffer[..length]).unwrap();
            let mut forged = response(&request);
            forged.metadata.response_code = ResponseCode::ServFail;
            elsewhere.send_to(&forged.to_vec().unwrap(), client).await.unwrap();
            let mut other_question = forged.clone();
            other_question.queries[0].name = Name::from_ascii("b.example.com.").unwrap();
            server.send_to(&other_question.to_vec().unwrap(), client).await.unwrap();
            forged.metadata.id ^= 1;
            server.send_to(&forged.to_vec().unwrap(), client).await.unwrap();
            server.send_to(&[0xff; 5], client).await.unwrap();
            server.send_to(&response(&request).to_vec().unwrap(), client).await.unwrap();
        };
        let question = question("a.example.com.");
        let (answer, ()) = tokio::join!(ask(Endpoint::Plain(Route::Udp, address), &question, LIMIT), serve);
        assert_eq!(answer.unwrap().metadata.response_code, ResponseCode::NoError);
    }

    #[tokio::test]
    async fn a_server_without_edns_is_asked_again_without() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let serve = async {
            let mut buffer = [0; 512];
            for _ in 0..2 {
                let (length, client) = server.recv_from(&mut buffer).await.unwrap();
                let request = Message::from_vec(&buffer[..length]).unwrap();
                let mut answer = response(&request);
                if request.edns.is_some() {
                    answer.metadata.response_code = ResponseCode::FormErr;
                }
                server.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
            }
        };
        let question = question("a.example.com.");
        let (answer, ()) = tokio::join!(ask(Endpoint::Plain(Route::Udp, address), &question, LIMIT), serve);
        assert_eq!(answer.unwrap().metadata.response_code, ResponseCode::NoError);
    }

    /// Both at the same port.
    async fn udp_and_tcp() -> (UdpSocket, TcpListener) {
        loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                return (udp, tcp);
            }
        }
    }

    async fn serve_tcp(tcp: &TcpListener) {
        let (mut stream, _) = tcp.accept().await.unwrap();
        let mut request = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut request).await.unwrap();
        let answer = response(&Message::from_vec(&request).unwrap()).to_vec().unwrap();
        stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
        stream.write_all(&answer).await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_too_long_for_us_is_asked_for_over_tcp() {
        let (udp, tcp) = udp_and_tcp().await;
        let address = udp.local_addr().unwrap();
        let serve = async {
            let mut buffer = [0; 512];
            let (length, client) = udp.recv_from(&mut buffer).await.unwrap();
            let mut answer = response(&Message::from_vec(&buffer[..length]).unwrap()).to_vec().unwrap();
            answer.resize(UDP_BUFFER + 500, 0);
            udp.send_to(&answer, client).await.unwrap();
            serve_tcp(&tcp).await;
        };
        let question = question("a.example.com.");
        let (answer, ()) = tokio::join!(ask(Endpoint::Plain(Route::Udp, address), &question, LIMIT), serve);
        assert_eq!(answer.unwrap().metadata.response_code, ResponseCode::NoError);
    }

    #[tokio::test]
    async fn silence_over_udp_leads_to_tcp() {
        let (udp, tcp) = udp_and_tcp().await;
        let address = udp.local_addr().unwrap();
        let serve = serve_tcp(&tcp);
        let question = question("a.example.com.");
        let (answer, ()) = tokio::join!(ask(Endpoint::Plain(Route::UdpThenTcp, address), &question, LIMIT), serve);
        answer.unwrap();
        let error = ask(Endpoint::Plain(Route::Udp, address), &question, LIMIT).await.unwrap_err();
        assert_eq!(error.to_string(), "gave no answer over UDP within 0.3 s");
    }
}
