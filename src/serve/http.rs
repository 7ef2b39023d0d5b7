//! HTTP/1 on one connection, for as long as its bounds allow.

use std::{convert::Infallible, error::Error, pin::pin, time::Duration};

use hyper::{
    Request, Response,
    body::{Body, Incoming},
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::Slot;

/// What one connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For the head of a request.
    pub head: Duration,
    /// The largest head, in bytes; hyper takes no less than 8 KiB. Without it, hyper's own bound.
    pub longest_head: Option<usize>,
    /// For everything. Without it, a connection may go on with further requests for as long as it likes.
    pub whole: Option<Duration>,
}

/// Serves one request, or several where [`Bounds::whole`] does not limit it. The answer to a single one says that there is no
/// further one, so that nobody meets the end of the connection by surprise.
pub async fn serve_http<S, B>(stream: impl AsyncRead + AsyncWrite + Unpin, bounds: Bounds, service: S, mut slot: Slot)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(bounds.head).keep_alive(bounds.whole.is_none());
    if let Some(longest) = bounds.longest_head {
        builder.max_buf_size(longest);
    }
    let at_work = slot.clone();
    let service = service_fn(move |request| {
        let (work, answer) = (at_work.begin_work(), service.call(request));
        async move {
            let answer = answer.await;
            drop(work);
            answer
        }
    });
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let whole = async {
        tokio::select! {
            ended = served.as_mut() => ended,
            () = slot.stop_ordered() => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        }
    };
    let ended = match bounds.whole {
        Some(limit) => timeout(limit, whole).await,
        None => Ok(whole.await),
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection ended early"),
        Err(_) => tracing::debug!("a connection took too long"),
    }
}
