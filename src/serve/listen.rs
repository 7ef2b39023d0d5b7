//! Sockets that servers take connections from.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use rustix::net::sockopt::set_ipv6_v6only;
use tokio::{
    net::{TcpListener, TcpSocket, lookup_host},
    time::timeout,
};

/// For finding out the address of a host.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// How many connections may wait to be taken, as tokio has it.
const BACKLOG: u32 = 1024;

/// Listens where a flag says, as ADDRESS:PORT. Without an address, or with `0.0.0.0`, it is on all of both families, as in Go's
/// programs: flags that were written for cert-manager work in clusters that have IPv6 alone. In place of an address there may be
/// the name of a host, such as `localhost`.
///
/// # Errors
/// What is wrong with it, in words that follow its name.
pub async fn listen(address: &str) -> Result<TcpListener, String> {
    let with_host = if address.starts_with(':') { format!("0.0.0.0{address}") } else { address.to_owned() };
    let parsed = match with_host.parse() {
        Ok(parsed) => parsed,
        Err(_) => address_of(&with_host).await?,
    };
    let listening = if parsed.ip().is_unspecified() {
        listen_everywhere(parsed.port()).await
    } else {
        TcpListener::bind(parsed).await
    };
    listening.map_err(|error| error.to_string())
}

/// The address of a host and its port; of several the first of IPv4, as in Go's programs.
async fn address_of(host_and_port: &str) -> Result<SocketAddr, String> {
    let parts =
        host_and_port.rsplit_once(':').filter(|(host, port)| !host.contains(':') && port.parse::<u16>().is_ok());
    let (host, _) = parts.ok_or("is not ADDRESS:PORT")?;
    let found = timeout(LOOKUP_TIMEOUT, lookup_host(host_and_port)).await;
    let found = found.map_err(|_| format!("no answer in time for the address of {host:?}"))?;
    let found: Vec<_> = found.map_err(|error| format!("the address of {host:?} is not known: {error}"))?.collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| format!("{host:?} has no address"))
}

/// Listens on all addresses of both families; of IPv4 alone where the kernel has no IPv6.
///
/// # Errors
/// Most often somebody else listens at the port.
pub async fn listen_everywhere(port: u16) -> io::Result<TcpListener> {
    match of_both_families(port) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await
        }
        other => other,
    }
}

/// Says so itself, whatever the machine has as default (`net.ipv6.bindv6only`).
fn of_both_families(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v6()?;
    set_ipv6_v6only(&socket, false)?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    async fn is_reached(listener: &TcpListener, host: &str) -> bool {
        TcpStream::connect((host, listener.local_addr().unwrap().port())).await.is_ok()
    }

    #[tokio::test]
    async fn both_families_are_served() {
        // Not every machine has IPv6.
        let has_ipv6 = TcpListener::bind("[::1]:0").await.is_ok();
        for address in ["0.0.0.0:0", "[::]:0", ":0"] {
            let listener = listen(address).await.unwrap();
            assert!(is_reached(&listener, "127.0.0.1").await, "{address}");
            assert_eq!(is_reached(&listener, "::1").await, has_ipv6, "{address}");
        }
    }

    #[tokio::test]
    async fn a_single_address_is_served_alone() {
        let listener = listen("127.0.0.1:0").await.unwrap();
        assert!(is_reached(&listener, "127.0.0.1").await);
        assert!(!is_reached(&listener, "127.0.0.2").await);
        for address in ["9402", "localhost", ":", "127.0.0.1", "localhost:http", "localhost:99999", "::1:0"] {
            assert_eq!(listen(address).await.unwrap_err(), "is not ADDRESS:PORT", "{address}");
        }
    }

    #[tokio::test]
    async fn a_host_is_served_by_its_name() {
        let listener = listen("localhost:0").await.unwrap();
        assert!(is_reached(&listener, "localhost").await);
        assert!(listener.local_addr().unwrap().ip().is_loopback());
    }

    #[tokio::test]
    async fn a_port_is_taken_once() {
        let listener = listen_everywhere(0).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(listen_everywhere(port).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
