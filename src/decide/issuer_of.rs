//! The issuer that an object refers to, as the decisions about that object see it.

use super::authority::{SeenAuthority, SeenKey};
use crate::api::{
    Condition, IssuerReference,
    issuer::{AcmeIssuer, CaIssuer, SelfSignedIssuer},
};

/// See the module's description.
#[derive(Clone, Copy)]
pub enum SeenIssuerOf<'a> {
    /// It signs by ACME.
    Acme {
        ready: Option<&'a Condition>,
        acme: &'a AcmeIssuer,
    },
    /// It signs with a CA's key pair.
    Ca {
        ready: Option<&'a Condition>,
        ca: &'a CaIssuer,
        authority: &'a SeenAuthority,
    },
    /// It has every certificate signed by its own key.
    SelfSigned {
        ready: Option<&'a Condition>,
        self_signed: &'a SelfSignedIssuer,
        key: &'a SeenKey,
    },
    Missing,
    /// Of our group, but of a kind or type that this version does not serve.
    Unserved(&'a str),
    /// It does not serve who asks, for this reason.
    Refused(&'a str),
    /// Of another group: an external issuer answers.
    Foreign,
}

impl<'a> SeenIssuerOf<'a> {
    /// The same for somebody whom it does not serve for this reason, if there is one.
    #[must_use]
    pub fn unless(self, refusal: Option<&'a str>) -> Self {
        match (self, refusal) {
            (Self::Foreign | Self::Missing | Self::Unserved(_), _) | (_, None) => self,
            (_, Some(why)) => Self::Refused(why),
        }
    }

    /// What the issuer is set to, if it can be worked with now; else why not, in one sentence.
    pub fn usable(self, reference: &IssuerReference) -> Result<&'a AcmeIssuer, String> {
        let (kind, name) = (reference.kind_or_default(), &reference.name);
        match self {
            Self::Acme { ready, acme } if ready.is_some_and(Condition::is_true) => Ok(acme),
            Self::Acme { ready, .. } => Err(waiting(reference, ready)),
            Self::Ca { .. } | Self::SelfSigned { .. } => Err(format!("{kind} {name:?} is no ACME issuer")),
            Self::Missing => Err(format!("Waiting for {kind} {name:?}, which does not exist")),
            Self::Unserved(why) | Self::Refused(why) => Err(why.to_owned()),
            Self::Foreign => Err(format!("{kind} {name:?} is no ACME issuer of the group cert-manager.io")),
        }
    }
}

/// That an issuer is not ready, and why.
pub fn waiting(reference: &IssuerReference, ready: Option<&Condition>) -> String {
    let why = ready.and_then(|ready| ready.message.as_deref()).unwrap_or("it was not looked at yet");
    format!("Waiting for {} {:?}: {why}", reference.kind_or_default(), reference.name)
}
