//! `GET /metrics`.

use std::{convert::Infallible, sync::Arc};

use axum::{Router, body::Body, http::header::CONTENT_TYPE, response::IntoResponse, routing::get};
use futures::stream;
use jiff::Timestamp;

use super::{Recorder, Sources, page, page::page_of_process};

/// Prometheus text format; see <https://prometheus.io/docs/instrumenting/exposition_formats/>.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Serves the page of these sources.
pub fn router(sources: Arc<Sources>) -> Router {
    let answer = move || {
        let pieces = page(&sources, Timestamp::now()).map(Ok::<_, Infallible>);
        async move { ([(CONTENT_TYPE, TEXT)], Body::from_stream(stream::iter(pieces))).into_response() }
    };
    Router::new().route("/metrics", get(answer))
}

/// Serves the page of a process that has no stores.
pub fn router_of_process(recorder: Recorder) -> Router {
    let answer = move || {
        let text = page_of_process(&recorder, Timestamp::now());
        async move { ([(CONTENT_TYPE, TEXT)], text).into_response() }
    };
    Router::new().route("/metrics", get(answer))
}
