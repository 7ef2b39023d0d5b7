//! Dynamic updates (RFC 2136), signed with TSIG: BIND, Knot, PowerDNS, Windows DNS and many appliances.

mod authority;
mod failure;
mod message;

use std::io;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use hickory_proto::op::Message;
use jiff::Timestamp;

pub use self::failure::{Context, UpdateError};

use self::authority::{Verdict, judge, question};
use self::failure::{response_failure, tsig_failure};
use self::message::{pieces, update_message};
use super::tsig::TsigKey;
use super::{Change, Provider, ProviderError};
use crate::dns::exchange::{self, Route};
use crate::dns::name;
use crate::dns::nameserver::Nameserver;

/// For one try over one transport. A server may write to disk and tell its secondaries before it answers.
const UPDATE_LIMIT: Duration = Duration::from_secs(5);

/// For asking which zone a name lies in, over one transport. The resolvers are asked next.
const QUESTION_LIMIT: Duration = Duration::from_secs(2);

/// How many changes are handed over at once.
const MOST_AT_ONCE: usize = 50;

/// The longest message over UDP, in octets: what passes unfragmented nearly everywhere. More changes take more messages.
const LONGEST_UDP: usize = 1232;

/// The longest message over TCP, in octets. Servers take up to 65,535.
const LONGEST_TCP: usize = 16_384;

/// How updates travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// UDP; TCP when the answer is truncated or none comes.
    #[default]
    Udp,
    Tcp,
}

impl FromStr for Protocol {
    type Err = UpdateError;

    /// `UDP` or `TCP` in any case; empty means UDP.
    fn from_str(text: &str) -> Result<Self, UpdateError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "udp" => Ok(Self::Udp),
            "tcp" => Ok(Self::Tcp),
            _ => Err(UpdateError::Protocol(text.to_owned())),
        }
    }
}

/// A server that takes dynamic updates.
#[derive(Clone, Debug)]
pub struct Rfc2136 {
    nameserver: Nameserver,
    route: Route,
    key: Option<TsigKey>,
}

impl Rfc2136 {
    /// `nameserver` as users write it, port 53 if none is given. Without a key, updates are not signed.
    ///
    /// # Errors
    ///
    /// A nameserver that cannot be read.
    pub fn new(nameserver: &str, protocol: Protocol, key: Option<TsigKey>) -> Result<Self, UpdateError> {
        let route = match protocol {
            Protocol::Udp => Route::UdpThenTcp,
            Protocol::Tcp => Route::Tcp,
        };
        Ok(Self { nameserver: nameserver.parse()?, route, key })
    }

    /// Makes changes of one zone by one message: all of them, or none.
    async fn update(&self, changes: &[Change]) -> Result<(), UpdateError> {
        let (request, mac) = self.signed(update_message(changes)?)?;
        let answer = self.send(&request, UPDATE_LIMIT).await?;
        self.judge(&Context::new(&self.nameserver.to_string(), changes), &answer, mac.as_deref())
    }

    /// The zone that the server itself has for the name, if it says so. Servers with several views tell them apart by keys,
    /// so the question is signed, too.
    async fn ask_for_zone(&self, name: &str) -> Option<String> {
        let mut name = name::parse(name).ok()?;
        while !name.is_root() {
            let (request, _) = self.signed(question(&name)).ok()?;
            let answer = self.send(&request, QUESTION_LIMIT).await.ok()?;
            match judge(&name, &exchange::decode(&answer).ok()?) {
                Verdict::Zone(zone) => return Some(zone),
                Verdict::Above => name = name.base_name(),
                Verdict::Unknown => return None,
            }
        }
        None
    }

    /// The message as it is sent, and its code if it is signed.
    fn signed(&self, mut message: Message) -> Result<(Vec<u8>, Option<Vec<u8>>), UpdateError> {
        let mac = match &self.key {
            Some(key) => Some(key.sign(&mut message, now()).map_err(UpdateError::Encode)?),
            None => None,
        };
        Ok((message.to_vec().map_err(UpdateError::Encode)?, mac))
    }

    /// Sends to one address after the other until one answers. A repeated update changes nothing more.
    async fn send(&self, request: &[u8], limit: Duration) -> Result<Vec<u8>, UpdateError> {
        let server = self.nameserver.to_string();
        let no_address = |source| UpdateError::NoAddress { server: server.clone(), source };
        let addresses = self.nameserver.addresses().await.map_err(no_address)?;
        let mut failure = no_address(io::Error::other("the name has no address"));
        for address in addresses {
            match exchange::exchange(self.route, address, request, limit).await {
                Ok(answer) => return Ok(answer),
                Err(source) => failure = UpdateError::Unreachable { server: server.clone(), source },
            }
        }
        Err(failure)
    }

    fn judge(&self, context: &Context, bytes: &[u8], mac: Option<&[u8]>) -> Result<(), UpdateError> {
        let unreadable = |source| UpdateError::Unreachable { server: context.server().to_owned(), source };
        let answer = exchange::decode(bytes).map_err(unreadable)?;
        let tsig_error = answer.signature().and_then(|record| record.data.error);
        if let (Some(key), Some(error)) = (&self.key, tsig_error) {
            return Err(tsig_failure(context, key, error));
        }
        // Some servers do not sign what they answer; a forged answer is found out when the record is verified.
        if let (Some(key), Some(mac), Some(_)) = (&self.key, mac, answer.signature()) {
            let unverified = |source| UpdateError::Unverified { context: context.clone(), source };
            key.verify(bytes, mac, now()).map_err(unverified)?;
        }
        response_failure(context, answer.metadata.response_code, self.key.is_some()).map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Provider for Rfc2136 {
    /// What the server itself says goes before what resolvers know: it may be a hidden primary, or have internal zones.
    async fn find_zone(&self, name: &str) -> Result<Option<String>, ProviderError> {
        Ok(self.ask_for_zone(name).await)
    }

    async fn apply(&self, changes: &[Change]) -> Result<(), ProviderError> {
        let most_octets = if self.route == Route::Tcp { LONGEST_TCP } else { LONGEST_UDP };
        for piece in pieces(changes, most_octets) {
            self.update(piece).await?;
        }
        Ok(())
    }

    fn most_at_once(&self) -> usize {
        MOST_AT_ONCE
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hickory_proto::op::{OpCode, ResponseCode};
    use hickory_proto::rr::Name;
    use hickory_proto::rr::rdata::TSIG;
    use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, TsigError, make_tsig_record};

    use super::super::tsig::{Algorithm, FUDGE};
    use super::super::{Action, TxtRecord};
    use super::*;

    fn change(name: &str) -> Change {
        let [zone, domain, value] = ["example.com.", "a.example.com", "value"].map(str::to_owned);
        Change { action: Action::Add, record: TxtRecord { zone, name: name.to_owned(), domain, value, ttl: 60 } }
    }

    fn context() -> Context {
        Context::new("192.0.2.1:53", &[change("_acme-challenge.a.example.com.")])
    }

    fn provider() -> Rfc2136 {
        let key = TsigKey::new("key.", Algorithm::HmacSha256, "c2VjcmV0").unwrap();
        Rfc2136::new("192.0.2.1", Protocol::Udp, Some(key)).unwrap()
    }

    fn judged(code: ResponseCode, tsig_error: Option<TsigError>) -> Result<(), ProviderError> {
        let provider = provider();
        let mut answer = Message::response(7, OpCode::Update);
        answer.metadata.response_code = code;
        if tsig_error.is_some() {
            let tsig = TSIG::new(TsigAlgorithm::HmacSha256, now(), FUDGE, Vec::new(), 7, tsig_error, Vec::new());
            answer.set_signature(Box::new(make_tsig_record(Name::from_ascii("key.").unwrap(), tsig)));
        }
        let bytes = answer.to_vec().unwrap();
        Ok(provider.judge(&context(), &bytes, Some(&[0; 32]))?)
    }

    #[test]
    fn every_refusal_says_what_to_check() {
        judged(ResponseCode::NoError, None).unwrap();
        for (code, tsig_error, word, hint, transient) in [
            (ResponseCode::NotAuth, Some(TsigError::BadKey), "BADKEY", "tsigKeyName", false),
            (ResponseCode::NotAuth, Some(TsigError::BadSig), "BADSIG", "secret", false),
            (ResponseCode::NotAuth, Some(TsigError::BadTime), "BADTIME", "clocks", true),
            (ResponseCode::NotAuth, None, "NOTAUTH", "not authoritative", false),
            (ResponseCode::NotZone, None, "NOTZONE", "delegated", false),
            (ResponseCode::Refused, None, "REFUSED", "update-policy", false),
            (ResponseCode::NotImp, None, "NOTIMP", "dynamic updates", false),
            (ResponseCode::ServFail, None, "SERVFAIL", "log", true),
        ] {
            let error = judged(code, tsig_error).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(word) && message.contains(hint), "{message}");
            assert!(message.contains("_acme-challenge.a.example.com") && message.contains("192.0.2.1:53"), "{message}");
            assert_eq!(error.is_transient(), transient, "{message}");
        }
    }

    #[test]
    fn an_answer_with_a_wrong_signature_is_not_believed() {
        let provider = provider();
        let mut answer = Message::response(7, OpCode::Update);
        let other = TsigKey::new("key.", Algorithm::HmacSha256, "b3RoZXI=").unwrap();
        other.sign(&mut answer, now()).unwrap();
        let error = provider.judge(&context(), &answer.to_vec().unwrap(), Some(&[0; 32])).unwrap_err();
        assert!(matches!(error, UpdateError::Unverified { .. }), "{error}");
    }

    #[test]
    fn protocols_are_read_in_any_case() {
        assert_eq!("".parse::<Protocol>().unwrap(), Protocol::Udp);
        assert_eq!("udp".parse::<Protocol>().unwrap(), Protocol::Udp);
        assert_eq!("TCP".parse::<Protocol>().unwrap(), Protocol::Tcp);
        assert!("QUIC".parse::<Protocol>().unwrap_err().to_string().contains("UDP or TCP"));
    }

    #[test]
    fn of_several_names_none_is_told() {
        let context = Context::new("ns:53", &[change("a.example.com."), change("b.example.com.")]);
        assert_eq!(context.to_string(), "the update of several names in the zone example.com at ns:53");
    }
}
