//! DNS servers that say what a test wants.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use certwright_e2e::network::NODE;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, NS};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const DNS_PORT: u16 = 53;
const LONGEST: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(5);

/// What is answered to one question.
pub enum Reply {
    /// As the testbed's primary server does.
    HandOn,
    /// The same with this NS record besides.
    AndNameserver(&'static str),
    Address(Ipv4Addr),
    /// The name has no such record.
    Nothing,
    NoSuchName,
}

/// A running server. It ends when it is dropped.
pub struct Answerer {
    asked: Arc<Mutex<Vec<(String, RecordType)>>>,
    task: JoinHandle<()>,
}

impl Drop for Answerer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Answerer {
    /// By UDP at port 53. `answer` is given each name, lower-case with the closing dot, and the type of record.
    pub async fn start(address: Ipv4Addr, answer: impl Fn(&str, RecordType) -> Reply + Send + Sync + 'static) -> Self {
        let socket = Arc::new(UdpSocket::bind((address, DNS_PORT)).await.unwrap());
        let (asked, answer) = (Arc::<Mutex<Vec<_>>>::default(), Arc::new(answer));
        let seen = asked.clone();
        let task = tokio::spawn(async move {
            let mut buffer = [0; LONGEST];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                let Ok(request) = Message::from_vec(&buffer[..length]) else { continue };
                let Some(query) = request.queries.first() else { continue };
                let name = query.name().to_lowercase().to_ascii();
                seen.lock().unwrap().push((name.clone(), query.query_type()));
                let reply = answer(&name, query.query_type());
                let socket = socket.clone();
                tokio::spawn(async move {
                    if let Some(reply) = reply.message(&request).await {
                        let _ = socket.send_to(&reply.to_vec().unwrap(), client).await;
                    }
                });
            }
        });
        Self { asked, task }
    }

    pub fn was_asked(&self, name: &str, record_type: RecordType) -> bool {
        self.asked.lock().unwrap().iter().any(|(asked, of_type)| asked == name && *of_type == record_type)
    }
}

impl Reply {
    async fn message(self, request: &Message) -> Option<Message> {
        let question = request.queries.first()?.name().clone();
        let mut own = request.clone().into_response();
        own.edns = None;
        own.metadata.authoritative = true;
        match self {
            Self::HandOn => return hand_on(request).await,
            Self::AndNameserver(host) => {
                let mut answer = hand_on(request).await?;
                answer.add_answer(Record::from_rdata(question, 60, RData::NS(NS(Name::from_ascii(host).ok()?))));
                return Some(answer);
            }
            Self::Address(address) => {
                own.add_answer(Record::from_rdata(question, 60, RData::A(A(address))));
            }
            Self::Nothing => {}
            Self::NoSuchName => own.metadata.response_code = ResponseCode::NXDomain,
        }
        Some(own)
    }
}

async fn hand_on(request: &Message) -> Option<Message> {
    let socket = UdpSocket::bind((NODE, 0)).await.ok()?;
    socket.connect((NODE, DNS_PORT)).await.ok()?;
    socket.send(&request.to_vec().ok()?).await.ok()?;
    let mut buffer = [0; LONGEST];
    let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.ok()?.ok()?;
    Message::from_vec(&buffer[..length]).ok()
}

/// A server that takes everything and says nothing, as long as what is returned lives.
pub async fn silent(address: Ipv4Addr) -> (UdpSocket, TcpListener) {
    let place = (address, DNS_PORT);
    (UdpSocket::bind(place).await.unwrap(), TcpListener::bind(place).await.unwrap())
}
