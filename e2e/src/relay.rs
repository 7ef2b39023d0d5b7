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
use crate::state::State;
use crate::wait::until_ready;

const READY: Duration = Duration::from_mins(1);

/// Starts both halves, which end with the testbed, and writes a kubeconfig that works outside; its path is returned.
pub async fn start(state: State) -> Result<(State, PathBuf)> {
    let me = std::env::current_exe()?;
    let socket = state.folder.join("api.sock");
    let _ = std::fs::remove_file(&socket);
    let words = ["setsid", &me.display().to_string(), "relay"].map(str::to_owned);
    let mut inside = lifecycle::command(&state, &words)?;
    inside.arg(&socket);
    // Whichever port is free.
    let mut outside = Launcher::command(&me)?;
    outside.arg("relay").arg(&socket).args(["--port", "0"]);

    let mut launcher = Launcher::new(state);
    let process = launcher.start("relay-inside", inside)?;
    until_ready(process, "the relay inside", READY, async || UnixStream::connect(&socket).await.map(drop)).await?;
    let process = launcher.start("relay-outside", outside)?;
    let log = process.log().to_owned();
    let look = async || TcpStream::connect(address_in(&log)?).await.map(drop).map_err(anyhow::Error::from);
    until_ready(process, "the relay outside", READY, look).await?;
    let port = address_in(&log)?.port();
    let state = launcher.finish()?;
    let kubeconfig = write_kubeconfig(&state, port)?;
    Ok((state, kubeconfig))
}

/// The half inside: from the socket file to the API server of the testbed that this process is in.
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

/// The half outside: from a port of the loopback to the socket file. Its first words are where it listens.
pub async fn outside(port: u16, socket: &Path) -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
    println!("{}", listener.local_addr()?);
    loop {
        let (mut near, _) = listener.accept().await?;
        let socket = socket.to_owned();
        tokio::spawn(async move {
            let mut far = UnixStream::connect(socket).await?;
            copy_bidirectional(&mut near, &mut far).await
        });
    }
}

/// Where the half outside listens, as the last whole line of its log says.
fn address_in(log: &Path) -> Result<SocketAddr> {
    let text = std::fs::read_to_string(log)?;
    let (lines, _) = text.rsplit_once('\n').context("it does not listen yet")?;
    Ok(lines.rsplit('\n').next().unwrap_or_default().parse()?)
}

/// The API server's certificate is for 127.0.0.1 too.
fn write_kubeconfig(state: &State, port: u16) -> Result<PathBuf> {
    let admin = &state.kubernetes()?.admin_kubeconfig;
    let mut kubeconfig = Kubeconfig::read_from(admin).with_context(|| format!("reading {}", admin.display()))?;
    for cluster in &mut kubeconfig.clusters {
        if let Some(cluster) = &mut cluster.cluster {
            cluster.server = Some(format!("https://127.0.0.1:{port}"));
        }
    }
    let file = state.folder.join("kubeconfig");
    std::fs::write(&file, serde_yaml::to_string(&kubeconfig)?)
        .with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}
