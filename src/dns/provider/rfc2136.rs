//! Dynamic updates (RFC 2136), signed with TSIG: BIND, Knot, PowerDNS, Windows DNS and many appliances.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use hickory_proto::ProtoError;
use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::TsigError;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use jiff::Timestamp;

use super::tsig::{FUDGE, TsigKey, VerifyError};
use super::{Action, Change, Provider, ProviderError, TxtRecord};
use crate::dns::exchange::{self, ExchangeError, Route};
use crate::dns::name::{self, NameError};
use crate::dns::nameserver::{Nameserver, NameserverError};

/// For one try over one transport. A server may write to disk and tell its secondaries before it answers.
const UPDATE_LIMIT: Duration = Duration::from_secs(5);

/// The longest string in a TXT record (RFC 1035 section 3.3).
const MAX_STRING: usize = 255;

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

/// Why an update was not made. Every message says what to check.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    #[error("protocol {0:?} is not known: use UDP or TCP")]
    Protocol(String),
    #[error(transparent)]
    Nameserver(#[from] NameserverError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("{name} does not lie in the zone {zone}, so it cannot be updated there")]
    OutsideZone { name: String, zone: String },
    #[error("the update cannot be encoded: {0}")]
    Encode(#[source] ProtoError),
    #[error("cannot find an address of the nameserver {server}: {source}; check the name, or give an address")]
    NoAddress { server: String, source: io::Error },
    #[error("the nameserver {server} {source}; check its address and port, and that it can be reached from here")]
    Unreachable { server: String, source: ExchangeError },
    #[error(
        "{context} was refused with BADKEY: the server does not know the TSIG key {key} with this algorithm; check \
         tsigKeyName and tsigAlgorithm against the server's key statement"
    )]
    BadKey { context: Context, key: String },
    #[error(
        "{context} was refused with BADSIG: the signature made with the TSIG key {key} is wrong; check the TSIG secret \
         and tsigAlgorithm against the server's key statement"
    )]
    BadSignature { context: Context, key: String },
    #[error(
        "{context} was refused with BADTIME: the clocks here and at the server are more than {FUDGE} s apart; check \
         time synchronisation on both"
    )]
    BadTime { context: Context },
    #[error("{context} was refused with {code}: {hint}")]
    Refused { context: Context, code: &'static str, hint: &'static str },
    #[error("{context} failed with {code}; see the server's log")]
    Failed { context: Context, code: String },
    #[error("the answer to {context} cannot be trusted: {source}; check for something between here and the server")]
    Unverified { context: Context, source: VerifyError },
}

/// What was tried, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    server: String,
    zone: String,
    name: String,
}

impl fmt::Display for Context {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the update of {} in the zone {} at {}", self.name, self.zone, self.server)
    }
}

impl From<UpdateError> for ProviderError {
    fn from(error: UpdateError) -> Self {
        match error {
            UpdateError::NoAddress { .. }
            | UpdateError::Unreachable { .. }
            | UpdateError::BadTime { .. }
            | UpdateError::Failed { .. }
            | UpdateError::Unverified { .. } => Self::transient(error),
            _ => Self::refused(error),
        }
    }
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

    async fn update(&self, record: &TxtRecord, action: Action) -> Result<(), UpdateError> {
        let mut message = update_message(record, action)?;
        let mac = match &self.key {
            Some(key) => Some(key.sign(&mut message, now()).map_err(UpdateError::Encode)?),
            None => None,
        };
        let request = message.to_vec().map_err(UpdateError::Encode)?;
        let answer = self.send(&request).await?;
        self.judge(&self.context(record), &answer, mac.as_deref())
    }

    /// Sends to one address after the other until one answers. A repeated update changes nothing more.
    async fn send(&self, request: &[u8]) -> Result<Vec<u8>, UpdateError> {
        let server = self.nameserver.to_string();
        let no_address = |source| UpdateError::NoAddress { server: server.clone(), source };
        let addresses = self.nameserver.addresses().await.map_err(no_address)?;
        let mut failure = no_address(io::Error::other("the name has no address"));
        for address in addresses {
            match exchange::exchange(self.route, address, request, UPDATE_LIMIT).await {
                Ok(answer) => return Ok(answer),
                Err(source) => failure = UpdateError::Unreachable { server: server.clone(), source },
            }
        }
        Err(failure)
    }

    fn judge(&self, context: &Context, bytes: &[u8], mac: Option<&[u8]>) -> Result<(), UpdateError> {
        let unreadable = |source| UpdateError::Unreachable { server: context.server.clone(), source };
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

    fn context(&self, record: &TxtRecord) -> Context {
        Context {
            server: self.nameserver.to_string(),
            zone: name::shown(&record.zone).to_owned(),
            name: name::shown(&record.name).to_owned(),
        }
    }
}

#[async_trait]
impl Provider for Rfc2136 {
    async fn apply(&self, changes: &[Change]) -> Result<(), ProviderError> {
        for change in changes {
            self.update(&change.record, change.action).await?;
        }
        Ok(())
    }
}

/// One TXT record added to its set (RFC 2136 section 2.5.1) or deleted from it (section 2.5.4), without
/// prerequisites: what is there already, or gone already, is no error.
fn update_message(record: &TxtRecord, action: Action) -> Result<Message, UpdateError> {
    let zone = name::parse(&record.zone)?;
    let owner = name::parse(&record.name)?;
    if !zone.zone_of(&owner) {
        let [name, zone] = [&record.name, &record.zone].map(|fqdn| name::shown(fqdn).to_owned());
        return Err(UpdateError::OutsideZone { name, zone });
    }
    let mut message = Message::query();
    message.metadata.op_code = OpCode::Update;
    message.add_query(Query::query(zone, RecordType::SOA));
    message.add_authority(update_record(owner, record, action));
    Ok(message)
}

fn update_record(owner: Name, record: &TxtRecord, action: Action) -> Record {
    let strings = record.value.as_bytes().chunks(MAX_STRING).collect();
    let mut update = Record::from_rdata(owner, record.ttl, RData::TXT(TXT::from_bytes(strings)));
    if action == Action::Remove {
        update.ttl = 0;
        update.dns_class = DNSClass::NONE;
    }
    update
}

fn tsig_failure(context: &Context, key: &TsigKey, error: TsigError) -> UpdateError {
    let context = context.clone();
    match error {
        TsigError::BadKey => UpdateError::BadKey { context, key: key.name() },
        TsigError::BadSig => UpdateError::BadSignature { context, key: key.name() },
        TsigError::BadTime => UpdateError::BadTime { context },
        TsigError::BadTrunc => UpdateError::Refused {
            context,
            code: "BADTRUNC",
            hint: "the server wants another length of signature; use the full-length algorithm on both sides",
        },
        TsigError::Unknown(code) => UpdateError::Failed { context, code: format!("TSIG error {code}") },
    }
}

fn response_failure(context: &Context, code: ResponseCode, signed: bool) -> Option<UpdateError> {
    let (code, hint) = match code {
        ResponseCode::NoError => return None,
        ResponseCode::Refused if signed => {
            ("REFUSED", "check that the server lets this TSIG key change TXT records at this name (update-policy)")
        }
        ResponseCode::Refused => {
            ("REFUSED", "the update was not signed; set a TSIG key, or let the server take unsigned updates from here")
        }
        ResponseCode::NotAuth => {
            ("NOTAUTH", "the server is not authoritative for this zone; check nameserver and zone, and the TSIG key")
        }
        ResponseCode::NotZone => {
            ("NOTZONE", "the server says that the name is not in this zone; check whether a part of it is delegated")
        }
        ResponseCode::NotImp => ("NOTIMP", "the server does not take dynamic updates; check its address"),
        ResponseCode::FormErr => ("FORMERR", "the server could not read the update; check that it knows RFC 2136"),
        ResponseCode::ServFail => {
            return Some(UpdateError::Failed { context: context.clone(), code: "SERVFAIL".to_owned() });
        }
        other => {
            let code = format!("response code {}", u16::from(other));
            return Some(UpdateError::Failed { context: context.clone(), code });
        }
    };
    Some(UpdateError::Refused { context: context.clone(), code, hint })
}

/// Seconds since 1970.
fn now() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hickory_proto::rr::rdata::TSIG;
    use hickory_proto::rr::rdata::tsig::{TsigAlgorithm, make_tsig_record};

    use super::super::tsig::Algorithm;
    use super::*;

    fn record() -> TxtRecord {
        TxtRecord {
            zone: "example.com.".to_owned(),
            name: "_acme-challenge.a.example.com.".to_owned(),
            domain: "a.example.com".to_owned(),
            value: "value".to_owned(),
            ttl: 60,
        }
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
        Ok(provider.judge(&provider.context(&record()), &bytes, Some(&[0; 32]))?)
    }

    #[test]
    fn one_record_is_added_and_exactly_that_one_deleted() {
        let added = update_message(&record(), Action::Add).unwrap();
        assert!(added.answers.is_empty(), "no prerequisites");
        let [added] = added.authorities.as_slice() else { panic!("one update, not {:?}", added.authorities) };
        assert_eq!((added.ttl, added.dns_class, added.record_type()), (60, DNSClass::IN, RecordType::TXT));

        let deleted = update_message(&record(), Action::Remove).unwrap();
        let [deleted] = deleted.authorities.as_slice() else { panic!("one update, not {:?}", deleted.authorities) };
        assert_eq!((deleted.ttl, deleted.dns_class), (0, DNSClass::NONE));
        assert_eq!((&deleted.name, &deleted.data), (&added.name, &added.data));
    }

    #[test]
    fn a_long_value_is_cut_into_strings() {
        let record = TxtRecord { value: "x".repeat(300), ..record() };
        let message = update_message(&record, Action::Add).unwrap();
        let RData::TXT(txt) = &message.authorities[0].data else { panic!("not a TXT record") };
        assert_eq!(txt.txt_data.iter().map(|string| string.len()).collect::<Vec<_>>(), [255, 45]);
    }

    #[test]
    fn a_name_outside_the_zone_is_never_sent() {
        let record = TxtRecord { zone: "example.net.".to_owned(), ..record() };
        let message = update_message(&record, Action::Add).unwrap_err().to_string();
        assert!(message.starts_with("_acme-challenge.a.example.com does not lie in the zone example.net"), "{message}");
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
        let context = provider.context(&record());
        let error = provider.judge(&context, &answer.to_vec().unwrap(), Some(&[0; 32])).unwrap_err();
        assert!(matches!(error, UpdateError::Unverified { .. }), "{error}");
    }

    #[test]
    fn protocols_are_read_in_any_case() {
        assert_eq!("".parse::<Protocol>().unwrap(), Protocol::Udp);
        assert_eq!("udp".parse::<Protocol>().unwrap(), Protocol::Udp);
        assert_eq!("TCP".parse::<Protocol>().unwrap(), Protocol::Tcp);
        assert!("QUIC".parse::<Protocol>().unwrap_err().to_string().contains("UDP or TCP"));
    }
}
