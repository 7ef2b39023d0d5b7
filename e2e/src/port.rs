//! Ports that tests listen on one after the other, such as 80.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::net::TcpListener;

use crate::wait::until;

const FREE: Duration = Duration::from_secs(30);

/// Listens there as soon as nobody else does: the task that listened for a former test may be on its way out.
pub async fn listen(place: impl Into<SocketAddr>) -> Result<TcpListener> {
    let place = place.into();
    let look = async || TcpListener::bind(place).await.map(Some);
    until(&format!("{place} to be free"), FREE, look).await
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
}
