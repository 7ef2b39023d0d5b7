//! A way into a testbed's Kubernetes API from outside its network namespace: a socket file leads through the wall, and a
//! port of the machine's loopback leads to the socket file. Whoever connects still needs the administrator's key.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use kube::config::Kubeconfig;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::launcher::Launcher;
use crate::lifecycle;
use crate::process::Process;
use crate::state::{ProcessRecord, State};
use crate::wait::until_ready;

const READY: Duration = Duration::from_secs(10);

/// Starts both halves, which end with the testbed, and writes `FOLDER/kubeconfig`, which works outside. Its path is
/// returned.
pub async fn start(state: &mut State) -> Result<PathBuf> {
    let socket = state.folder.join("api.sock");
    let _ = std::fs::remove_file(&socket);
    let me = std::env::current_exe()?.display().to_string();
    let words = [me.as_str(), "relay", "--inside"].map(str::to_owned);
    let mut inside = lifecycle::command(state, &words)?;
    start_half(state, "relay-inside", inside.arg(&socket), async |_| {
        UnixStream::connect(&socket).await.map(drop)
    })
    .await?;
    let port = free_port().await?;
    let mut outside = Launcher::command(&std::env::current_exe()?)?;
    outside.args(["relay", "--port", &port.to_string()]).arg(&socket);
    start_half(state, "relay-outside", &mut outside, async |_| {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.map(drop)
    })
    .await?;
    write_kubeconfig(state, port)
}

/// The half inside: from the socket file to the API server.
pub async fn inside(socket: &Path, server: SocketAddr) -> Result<()> {
    let listener = UnixListener::bind(socket).with_context(|| format!("listening on {}", socket.display()))?;
    loop {
        let (mut near, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut far = TcpStream::connect(server).await?;
            copy_bidirectional(&mut near, &mut far).await
        });
    }
}

/// The half outside: from a port of the loopback to the socket file.
pub async fn outside(port: u16, socket: PathBuf) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
    loop {
        let (mut near, _) = listener.accept().await?;
        let socket = socket.clone();
        tokio::spawn(async move {
            let mut far = UnixStream::connect(socket).await?;
            copy_bidirectional(&mut near, &mut far).await
        });
    }
}
