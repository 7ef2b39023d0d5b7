//! The question behind a line of the PROXY protocol (version 1,
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! Load balancers that speak it put such a line in front of each connection, and the ingress controllers behind them refuse
//! connections without. Whoever asks these within the cluster has to do the same.

use std::net::SocketAddr;
use std::pin::pin;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Request, Uri, header};
use futures::future::{Either, select};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::ask::{BODY_MARGIN, is_key};
use super::client;
use super::host::HostHeader;
use super::report::Problem;
use super::target::CheckTarget;

/// Whether this is what servers do that miss the line.
pub(super) fn may_want_line(problem: &Problem) -> bool {
    matches!(problem, Problem::Closed | Problem::NotHttp | Problem::Status(400))
}

/// Asks without following redirects.
pub(super) async fn ask_behind_line(target: &CheckTarget, place: SocketAddr) -> Result<(), Problem> {
    let request = request(target).ok_or(Problem::Malformed)?;
    let mut stream = TcpStream::connect(place).await.map_err(|_| Problem::Refused)?;
    let line = stream.local_addr().map(|own| line(own, place)).map_err(|_| Problem::Other)?;
    stream.write_all(line.as_bytes()).await.map_err(|_| Problem::Closed)?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|_| Problem::Closed)?;
    let exchange = pin!(async {
        let response = sender.send_request(request).await.map_err(|_| Problem::Closed)?;
        if response.status() != 200 {
            return Err(Problem::Status(response.status().as_u16()));
        }
        let key = target.key.expose();
        let body = to_bytes(Body::new(response.into_body()), key.len() + BODY_MARGIN).await;
        if body.is_ok_and(|body| is_key(&body, key)) { Ok(()) } else { Err(Problem::OtherBody) }
    });
    // The connection has to be driven beside the exchange.
    match select(exchange, pin!(connection)).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right((_, exchange)) => exchange.await,
    }
}

fn request(target: &CheckTarget) -> Option<Request<Body>> {
    let url = target.public_url()?;
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = url.path().parse::<Uri>().ok()?;
    *request.headers_mut() = HostHeader::Host.headers_for(&target.host()?);
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(client::USER_AGENT));
    Some(request)
}

fn line(from: SocketAddr, to: SocketAddr) -> String {
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_both_ends() {
        let line = |from: &str, to: &str| Some(line(from.parse().ok()?, to.parse().ok()?));
        assert_eq!(
            line("10.0.0.1:40000", "10.96.0.7:80").as_deref(),
            Some("PROXY TCP4 10.0.0.1 10.96.0.7 40000 80\r\n")
        );
        assert_eq!(line("[fd00::1]:4", "[fd00::2]:80").as_deref(), Some("PROXY TCP6 fd00::1 fd00::2 4 80\r\n"));
    }
}
