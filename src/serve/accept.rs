//! Takes connections from a socket, so many at once and no more, until it is told to stop.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

/// A failed `accept` is most often a lack of file descriptors, which passes.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(50);

/// How much a server takes on.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at once; more wait in the backlog of the socket.
    pub connections: usize,
    /// How long those that are open may go on after the order to stop.
    pub drain: Duration,
}

/// Tells a connection that it shall come to an end.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Waits for the order to stop.
    pub async fn ordered(&mut self) {
        // Whoever is gone wants nothing any more.
        drop(self.0.wait_for(|stop| *stop).await);
    }
}

/// Has every connection handled until `shutdown` is done; then the socket is closed, and what is open may end.
pub async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    bounds: Bounds,
    handle: impl Fn(TcpStream, Stop) -> F,
    shutdown: impl Future<Output = ()>,
) {
    let slots = Arc::new(Semaphore::new(bounds.connections));
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = next(&listener, &slots) => accepted,
        };
        if let Some((stream, slot)) = accepted {
            let handled = handle(stream, Stop(stopped.clone()));
            connections.spawn(async move {
                handled.await;
                drop(slot);
            });
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    stop.send_replace(true);
    let drained = timeout(bounds.drain, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::debug!("stopped with connections still open");
    }
}

async fn next(listener: &TcpListener, slots: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, slot)),
        Err(error) => {
            // Either the client is gone already, or file descriptors have run out: then trying at once is of no use.
            tracing::debug!(%error, "a connection could not be accepted");
            sleep(AFTER_FAILED_ACCEPT).await;
            None
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::SocketAddr;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::oneshot,
        task::JoinHandle,
    };

    use super::*;

    /// Says a byte, and closes when it is sent one, or told to stop.
    async fn greet(mut stream: TcpStream, mut stop: Stop) {
        stream.write_all(b"1").await.unwrap();
        tokio::select! {
            _ = stream.read_u8() => {}
            () = stop.ordered() => stream.write_all(b"2").await.unwrap(),
        }
    }

    async fn start(connections: usize) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let bounds = Bounds { connections, drain: Duration::from_secs(5) };
        (address, stop, tokio::spawn(accept(listener, bounds, greet, async { drop(stopped.await) })))
    }

    /// The clock jumps ahead whenever nothing else is left to do.
    #[tokio::test(start_paused = true)]
    async fn one_more_than_there_are_slots_waits() {
        let (address, _stop, _) = start(1).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        assert_eq!(first.read_u8().await.unwrap(), b'1');
        assert!(timeout(Duration::from_secs(1), second.read_u8()).await.is_err());
        first.write_all(b"x").await.unwrap();
        assert_eq!(second.read_u8().await.unwrap(), b'1');
    }

    #[tokio::test]
    async fn what_is_open_is_told_to_end() {
        let (address, stop, server) = start(1).await;
        let mut open = TcpStream::connect(address).await.unwrap();
        assert_eq!(open.read_u8().await.unwrap(), b'1');
        stop.send(()).unwrap();
        assert_eq!(open.read_u8().await.unwrap(), b'2');
        server.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let bounds = Bounds { connections: 1, drain: Duration::from_secs(5) };
        let deaf = |mut stream: TcpStream, _| async move {
            stream.write_all(b"1").await.unwrap();
            std::future::pending::<()>().await;
        };
        let server = tokio::spawn(accept(listener, bounds, deaf, async { drop(stopped.await) }));
        let mut open = TcpStream::connect(address).await.unwrap();
        assert_eq!(open.read_u8().await.unwrap(), b'1');
        stop.send(()).unwrap();
        server.await.unwrap();
        assert!(open.read_u8().await.is_err());
    }
}
