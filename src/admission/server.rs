//! The server: HTTPS for the API server alone, with bounds on everything that comes.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::{
    body::{self, Body},
    http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{Shared, Webhook};

/// The longest question, in bytes: two objects of the most that the API server takes, in JSON.
pub const LONGEST_REVIEW: usize = 7 << 20;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The API server gives up after 30 s at the latest.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at once; more wait in the backlog of the socket.
const MAX_CONNECTIONS: usize = 256;
/// Questions in memory at once.
const MAX_REVIEWS: usize = 16;

struct Place {
    webhook: Shared,
    reviews: Semaphore,
}

/// Answers until `shutdown` is done, then lets open questions be answered.
pub async fn serve(listener: TcpListener, tls: TlsAcceptor, webhook: Shared, shutdown: impl Future<Output = ()>) {
    let place = Arc::new(Place { webhook, reviews: Semaphore::new(MAX_REVIEWS) });
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        if let Some((stream, slot)) = accepted {
            let (tls, place, stopped) = (tls.clone(), place.clone(), stopped.clone());
            connections.spawn(async move {
                connection(stream, tls, place, stopped).await;
                drop(slot);
            });
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    stop.send_replace(true);
    let _ = timeout(DRAIN_TIMEOUT, async { while connections.join_next().await.is_some() {} }).await;
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, slot)),
        Err(error) => {
            // Either the client is gone already, or file descriptors have run out: then trying at once is of no use.
            tracing::debug!(%error, "a connection could not be accepted");
            sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, place: Arc<Place>, mut stopped: watch::Receiver<bool>) {
    let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await else {
        tracing::debug!("a TLS handshake failed");
        return;
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let place = place.clone();
        async move { Ok::<_, Infallible>(respond(&place, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = async { drop(stopped.wait_for(|stopped| *stopped).await) } => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn respond(place: &Place, request: Request<Incoming>) -> Response<Body> {
    let (head, incoming) = request.into_parts();
    if head.method != Method::POST || !["/validate", "/mutate"].contains(&head.uri.path()) {
        return text(StatusCode::NOT_FOUND, "not found\n".to_owned());
    }
    let Ok(_permit) = place.reviews.acquire().await else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    };
    let read = timeout(BODY_TIMEOUT, body::to_bytes(Body::new(incoming), LONGEST_REVIEW)).await;
    let Ok(Ok(body)) = read else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, format!("no more than {LONGEST_REVIEW} bytes are read\n"));
    };
    let answer = match head.uri.path() {
        "/mutate" => Webhook::mutate(&body),
        _ => place.webhook.validate(&body).await,
    };
    match answer {
        Ok(json) => {
            let mut response = Response::new(Body::from(json));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(problem) => text(StatusCode::BAD_REQUEST, format!("{problem}\n")),
    }
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
