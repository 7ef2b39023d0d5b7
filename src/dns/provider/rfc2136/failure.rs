//! Why an update was not made, and what to check.

use std::fmt;
use std::io;

use hickory_proto::ProtoError;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::rdata::tsig::TsigError;

use crate::dns::exchange::ExchangeError;
use crate::dns::name::{self, NameError};
use crate::dns::nameserver::NameserverError;
use crate::dns::provider::tsig::{FUDGE, TsigKey, VerifyError};
use crate::dns::provider::{Change, ProviderError};

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

impl Context {
    /// Of changes in one zone. Which of several are in one message is chance, so they are not told.
    pub(super) fn new(server: &str, changes: &[Change]) -> Self {
        let first = changes.first().map(|change| &change.record);
        let shown = |text: &String| name::shown(text).to_owned();
        let is_one = changes.windows(2).all(|pair| pair[0].record.name == pair[1].record.name);
        let name = first.filter(|_| is_one).map_or_else(|| "several names".to_owned(), |record| shown(&record.name));
        Self { server: server.to_owned(), zone: first.map(|record| shown(&record.zone)).unwrap_or_default(), name }
    }

    pub(super) fn server(&self) -> &str {
        &self.server
    }
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

/// What an error in the signature of an answer stands for.
pub(super) fn tsig_failure(context: &Context, key: &TsigKey, error: TsigError) -> UpdateError {
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

/// What a response code stands for; none if the update was made.
pub(super) fn response_failure(context: &Context, code: ResponseCode, signed: bool) -> Option<UpdateError> {
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
