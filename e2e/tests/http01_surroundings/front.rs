//! What stands in front of the solvers: it leads requests to them as an ingress controller does, and shows the controller
//! another face than the CA.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// The longest head of a request, in bytes.
const LONGEST_HEAD: u64 = 4096;

/// What the controller meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// The solver's answer.
    Pass,
    /// Nothing, as where packets are lost.
    Silence,
    /// The end of the connection, as where a line of the PROXY protocol is missing.
    Close,
    /// A redirect to where it comes from.
    Circle,
    /// A body without an end.
    Endless,
}

/// It ends when it is dropped.
pub struct Front {
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

/// The hosts of requests.
#[derive(Default)]
struct Seen {
    passed: Mutex<Vec<String>>,
    of_controller: Mutex<Vec<String>>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Front {
    /// Listens there and leads to the solver at `solver`. `behaviour` says by the host what the controller meets.
    pub async fn start(place: impl Into<SocketAddr>, solver: Ipv4Addr, behaviour: fn(&str) -> Behaviour) -> Self {
        let listener = TcpListener::bind(place.into()).await.unwrap();
        let seen: Arc<Seen> = Arc::default();
        let noted = seen.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, solver, behaviour, noted.clone()));
            }
        });
        Self { seen, task }
    }

    /// Whether somebody was led to the solver for this host.
    pub fn has_passed(&self, host: &str) -> bool {
        self.seen.passed.lock().unwrap().iter().any(|seen| seen == host)
    }

    /// Whether the controller asked for this host.
    pub fn has_met_controller(&self, host: &str) -> bool {
        self.seen.of_controller.lock().unwrap().iter().any(|seen| seen == host)
    }
}

async fn answer(
    mut near: TcpStream,
    solver: Ipv4Addr,
    behaviour: fn(&str) -> Behaviour,
    seen: Arc<Seen>,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let read = (&mut near).take(LONGEST_HEAD).read_buf(&mut head).await?;
        if read == 0 || head.len() as u64 > LONGEST_HEAD {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let header = |name: &str| {
        let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    };
    let host = header("host").unwrap_or_default();
    let name = host.split(':').next().unwrap_or_default().to_owned();
    let is_controller = header("user-agent").is_some_and(|agent| agent.starts_with("certwright/"));
    if is_controller {
        seen.of_controller.lock().unwrap().push(name.clone());
    }
    match if is_controller { behaviour(&name) } else { Behaviour::Pass } {
        Behaviour::Pass => {
            seen.passed.lock().unwrap().push(name);
            let mut far = TcpStream::connect((solver, 8089)).await?;
            // As proxies do that give themselves as the host.
            let (first, rest) = head.split_once("\r\n").unwrap();
            let others = rest.lines().filter(|line| !line.to_ascii_lowercase().starts_with("host:"));
            let others: String = others.flat_map(|line| [line, "\r\n"]).collect();
            let passed = format!("{first}\r\nHost: solver.internal\r\nX-Forwarded-Host: {host}\r\n{others}");
            far.write_all(passed.as_bytes()).await?;
            copy_bidirectional(&mut near, &mut far).await.map(drop)
        }
        Behaviour::Silence => {
            sleep(Duration::from_mins(10)).await;
            Ok(())
        }
        Behaviour::Close => Ok(()),
        Behaviour::Circle => {
            let location = format!("http://{host}/.well-known/acme-challenge/x");
            let answer = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
            near.write_all(answer.as_bytes()).await
        }
        Behaviour::Endless => {
            near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            loop {
                near.write_all(&[b'x'; 4096]).await?;
            }
        }
    }
}
