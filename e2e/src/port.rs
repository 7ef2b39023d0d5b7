//! Ports that tests listen on one after the other, such as 80, and ports for programs that are told where to listen.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpListener;

use crate::wait::until;

const FREE: Duration = Duration::from_mins(1);
/// The first port for programs: below those that the kernel gives to whoever connects, of which one that is free now may be
/// taken when the program listens.
const FIRST: u16 = 20_000;
const MOST: usize = 1000;

/// Listens there as soon as nobody else does: the task that listened for a former test may be on its way out.
pub async fn listen(place: impl Into<SocketAddr>) -> Result<TcpListener> {
    let place = place.into();
    let look = async || TcpListener::bind(place).await.map(Some);
    until(&format!("{place} to be free"), FREE, look).await
}

/// A port of the loopback on which nobody listens, another one each time that this process asks.
pub fn for_a_program() -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(FIRST);
    let ports = std::iter::repeat_with(|| NEXT.fetch_add(1, Ordering::Relaxed)).take(MOST);
    let mut places = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    places.find(|place| std::net::TcpListener::bind(place).is_ok()).context("no port is free")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_listened_before_is_waited_for() {
        let former = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let place = former.local_addr().unwrap();
        let (next, ()) = tokio::join!(listen(place), async {
            tokio::task::yield_now().await;
            drop(former);
        });
        assert_eq!(next.unwrap().local_addr().unwrap(), place);
    }

    #[test]
    fn no_two_programs_get_the_same_port() {
        assert_ne!(for_a_program().unwrap(), for_a_program().unwrap());
    }
}
