//! Takes connections from a socket, so many at once and no more, until it is told to stop.

use std::{pin::pin, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};

use super::slot::{Slot, Slots};

/// A failed `accept` is most often a lack of file descriptors, which passes.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(50);

/// How much a server takes on.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections at once. For one more, the one that has been idle for longest goes; as long as none has been so for half a
    /// second, more wait in the backlog of the socket.
    pub connections: usize,
    /// How long those that are open may go on after the order to stop.
    pub drain: Duration,
}

/// Has every connection handled until `shutdown` is done; then the socket is closed, and what is open may end.
pub async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    bounds: Bounds,
    handle: impl Fn(TcpStream, Slot) -> F,
    shutdown: impl Future<Output = ()>,
) {
    let mut slots = Slots::new(bounds.connections);
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = next(&listener, &mut slots) => accepted,
        };
        if let Some(stream) = accepted {
            slots.take(|slot| handle(stream, slot));
        }
    }
    drop(listener);
    slots.close(bounds.drain).await;
}

/// The next connection, when there is room for it.
async fn next(listener: &TcpListener, slots: &mut Slots) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => {
            slots.make_room().await;
            Some(stream)
        }
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
        time::{advance, timeout},
    };

    use super::*;

    /// Says a byte, and closes when it is sent one, or told to stop. Sent a `w`, it is at work until the next.
    async fn greet(mut stream: TcpStream, mut slot: Slot) {
        stream.write_all(b"1").await.unwrap();
        tokio::select! {
            read = stream.read_u8() => if let Ok(b'w') = read {
                let _work = slot.begin_work();
                stream.write_all(b"w").await.unwrap();
                drop(stream.read_u8().await);
            },
            () = slot.stop_ordered() => stream.write_all(b"2").await.unwrap(),
        }
    }

    async fn start(connections: usize) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let bounds = Bounds { connections, drain: Duration::from_secs(5) };
        (address, stop, tokio::spawn(accept(listener, bounds, greet, async { drop(stopped.await) })))
    }

    async fn greeted(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'1');
        stream
    }

    async fn begin_work(stream: &mut TcpStream) {
        stream.write_all(b"w").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'w');
    }

    /// The clock jumps ahead whenever nothing else is left to do.
    #[tokio::test(start_paused = true)]
    async fn who_has_been_idle_for_longest_makes_room() {
        let (address, _stop, _) = start(2).await;
        let mut first = greeted(address).await;
        advance(Duration::from_millis(1)).await;
        let mut second = greeted(address).await;
        let mut third = greeted(address).await;
        assert!(first.read_u8().await.is_err(), "it was closed");
        second.write_all(b"x").await.unwrap();
        third.write_all(b"w").await.unwrap();
        assert_eq!(third.read_u8().await.unwrap(), b'w', "it is still served");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_at_work_stays_before_the_idle() {
        let (address, _stop, _) = start(2).await;
        let mut busy = greeted(address).await;
        begin_work(&mut busy).await;
        let mut idle = greeted(address).await;
        let _third = greeted(address).await;
        assert!(idle.read_u8().await.is_err());
        busy.write_all(b"x").await.unwrap();
        assert_eq!(busy.read(&mut [0]).await.unwrap(), 0, "it has come to its own end");
    }

    /// More of those who hold their connections open than the server takes at once, and each comes back when it is sent away.
    #[tokio::test(start_paused = true)]
    async fn many_that_say_nothing_hold_up_nobody() {
        let (address, _stop, _) = start(4).await;
        for _ in 0..40 {
            tokio::spawn(async move {
                while let Ok(mut stream) = TcpStream::connect(address).await {
                    while stream.read_u8().await.is_ok() {}
                }
            });
        }
        for _ in 0..10 {
            let mut asking = greeted(address).await;
            begin_work(&mut asking).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_are_at_work_one_more_waits() {
        let (address, _stop, _) = start(1).await;
        let mut first = greeted(address).await;
        begin_work(&mut first).await;
        let mut second = TcpStream::connect(address).await.unwrap();
        assert!(timeout(Duration::from_secs(9), second.read_u8()).await.is_err());
        first.write_all(b"x").await.unwrap();
        assert_eq!(second.read_u8().await.unwrap(), b'1');
        begin_work(&mut second).await;
        // Whoever sends its request in pieces for ever does not keep its place for ever.
        let _third = greeted(address).await;
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
