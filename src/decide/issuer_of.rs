//! The issuer that an object refers to, as the decisions about that object see it.

use crate::api::{Condition, IssuerReference, issuer::AcmeIssuer};

/// See the module's description.
#[derive(Clone, Copy)]
pub enum SeenIssuerOf<'a> {
    /// It signs by ACME.
    Acme {
        ready: Option<&'a Condition>,
        acme: &'a AcmeIssuer,
    },
    Missing,
    /// Of our group, but of a kind or type that this version does not serve.
    Unserved(&'a str),
    /// Of another group: an external issuer answers.
    Foreign,
}

impl<'a> SeenIssuerOf<'a> {
    /// What the issuer is set to, if it can be worked with now; else why not, in one sentence.
    pub fn usable(self, reference: &IssuerReference) -> Result<&'a AcmeIssuer, String> {
        let (kind, name) = (reference.kind_or_default(), &reference.name);
        match self {
            Self::Acme { ready, acme } if ready.is_some_and(Condition::is_true) => Ok(acme),
            Self::Acme { ready, .. } => {
                let why = ready.and_then(|ready| ready.message.as_deref()).unwrap_or("it was not looked at yet");
                Err(format!("Waiting for {kind} {name:?}: {why}"))
            }
            Self::Missing => Err(format!("Waiting for {kind} {name:?}, which does not exist")),
            Self::Unserved(why) => Err(why.to_owned()),
            Self::Foreign => Err(format!("{kind} {name:?} is no ACME issuer of the group cert-manager.io")),
        }
    }
}
