//! The server: HTTPS for the API server alone, with bounds on everything that comes.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE},
};
use futures::StreamExt;
use hyper::{body::Incoming, service::service_fn};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};

use super::{Shared, Webhook};
use crate::{
    measure,
    serve::{Bounds, HttpBounds, Slot, accept, handshake, serve_http},
};

/// The longest question, in bytes: two objects of the most that the API server takes, in JSON.
pub const LONGEST_REVIEW: usize = 7 << 20;
/// The API server gives up after 30 s at the latest.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
const BOUNDS: Bounds = Bounds { connections: 256, drain: Duration::from_secs(10) };
const HTTP: HttpBounds = HttpBounds { head: Duration::from_secs(30), longest_head: None, whole: None };
const MUTATE: &str = "/mutate";
const PATHS: [&str; 2] = ["/validate", MUTATE];
/// Questions in memory at once that are long.
const MAX_REVIEWS: usize = 16;
/// Hardly any question has more bytes. Who sends so few, and slowly, holds a connection but no place among [`MAX_REVIEWS`].
const SHORT_REVIEW: usize = 64 << 10;

struct Place {
    webhook: Shared,
    reviews: Semaphore,
}

/// Answers until `shutdown` is done, then lets open questions be answered.
pub async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, webhook: Shared, shutdown: impl Future<Output = ()>) {
    let place = Arc::new(Place { webhook, reviews: Semaphore::new(MAX_REVIEWS) });
    let handle = |stream, slot| connection(stream, tls.clone(), place.clone(), slot);
    accept(listener, BOUNDS, handle, shutdown).await;
}

/// The API server keeps its connections for further questions.
async fn connection(stream: TcpStream, tls: Arc<ServerConfig>, place: Arc<Place>, slot: Slot) {
    let Some(stream) = handshake(&tls, stream).await else { return };
    let service = service_fn(move |request: Request<Incoming>| {
        let place = place.clone();
        async move { Ok::<_, Infallible>(respond(&place, request).await) }
    });
    serve_http(stream, HTTP, service, slot).await;
}

async fn respond(place: &Place, request: Request<Incoming>) -> Response<Body> {
    let (head, incoming) = request.into_parts();
    let path = PATHS.into_iter().find(|path| *path == head.uri.path());
    let Some(path) = path.filter(|_| head.method == Method::POST) else {
        return text(StatusCode::NOT_FOUND, "not found\n".to_owned());
    };
    let begun = Instant::now();
    let response = review(place, path, incoming).await;
    measure::review(path, response.status().as_u16(), begun.elapsed());
    response
}

async fn review(place: &Place, path: &'static str, incoming: Incoming) -> Response<Body> {
    let read = timeout(BODY_TIMEOUT, read(Body::new(incoming), &place.reviews)).await;
    let Ok(Some((body, _permit))) = read else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, format!("no more than {LONGEST_REVIEW} bytes are read\n"));
    };
    let answer = if path == MUTATE { Webhook::mutate(&body) } else { place.webhook.validate(&body).await };
    match answer {
        Ok(json) => {
            let mut response = Response::new(Body::from(json));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(problem) => text(StatusCode::BAD_REQUEST, format!("{problem}\n")),
    }
}

/// The whole question, with its place if it is long; none if it is too long or breaks off.
async fn read(body: Body, places: &Semaphore) -> Option<(Vec<u8>, Option<SemaphorePermit<'_>>)> {
    let (mut stream, mut whole, mut permit) = (body.into_data_stream(), Vec::new(), None);
    while let Some(part) = stream.next().await {
        let part = part.ok()?;
        let length = whole.len() + part.len();
        if length > LONGEST_REVIEW {
            return None;
        }
        if length > SHORT_REVIEW && permit.is_none() {
            permit = Some(places.acquire().await.ok()?);
        }
        whole.extend_from_slice(&part);
    }
    Some((whole, permit))
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn question(length: usize) -> Body {
        Body::from(vec![b' '; length])
    }

    #[tokio::test(start_paused = true)]
    async fn only_long_questions_wait_for_a_place() {
        let places = Semaphore::new(1);
        let (long, permit) = read(question(LONGEST_REVIEW), &places).await.unwrap();
        assert!(long.len() == LONGEST_REVIEW && permit.is_some());
        let (short, none) = read(question(SHORT_REVIEW), &places).await.unwrap();
        assert!(short.len() == SHORT_REVIEW && none.is_none());
        let wait = Duration::from_secs(1);
        assert!(timeout(wait, read(question(SHORT_REVIEW + 1), &places)).await.is_err());
        drop(permit);
        assert!(timeout(wait, read(question(SHORT_REVIEW + 1), &places)).await.unwrap().is_some());
        assert!(read(question(LONGEST_REVIEW + 1), &places).await.is_none());
    }
}
