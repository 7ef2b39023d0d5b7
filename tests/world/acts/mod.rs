//! Gather, decide and act, as the controller does it, in a world that is only a model.

pub mod certificate;
pub mod challenge;
pub mod issuer;
pub mod limits;
pub mod order;
pub mod request;

use std::sync::Arc;

use certwright::{
    api::{Condition, Issuer, IssuerReference, IssuerSpec, find_condition, names::condition},
    cluster::{Hub, ObjectName},
    decide::{
        Note,
        admittance::Terms,
        authority::{Authority, SeenAuthority, SeenKey},
        issuer_of::SeenIssuerOf,
    },
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;

use super::{process::Process, world::World};

/// As in the controller.
const LOOKS: [i64; 7] = [20, 50, 130, 500, 1000, 2000, 5000];

fn next_look(looks: u32, retry_after: Option<SignedDuration>, now: Timestamp) -> Timestamp {
    let index = usize::try_from(looks).unwrap_or(usize::MAX).min(LOOKS.len() - 1);
    let own = if looks < 65 { LOOKS[index] } else { 30_000 };
    now + retry_after.filter(|wish| !wish.is_zero()).unwrap_or(SignedDuration::from_millis(own))
}

fn publish(world: &mut World, about: &str, note: &Note) {
    world.events.push(format!("{about}: {} {}", note.reason, note.text));
}

/// The issuer that an object refers to. As `controller::held_issuer`.
pub enum HeldIssuer {
    Foreign,
    Issuer(Arc<Issuer>),
    Missing,
}

/// What an issuer signs with if it needs no ACME.
enum Signer {
    Ca(SeenAuthority),
    None,
    SelfSigned(SeenKey),
}

impl HeldIssuer {
    fn look_up(hub: &Hub, namespace: &str, reference: &IssuerReference) -> Self {
        if !reference.is_ours() {
            return Self::Foreign;
        }
        hub.issuers.get(&ObjectName::new(namespace, &reference.name)).map_or(Self::Missing, Self::Issuer)
    }

    /// Changes whenever the issuer does.
    fn version(&self) -> String {
        match self {
            Self::Issuer(issuer) => issuer.metadata.resource_version.clone().unwrap_or_default(),
            _ => String::new(),
        }
    }

    fn seen(&self) -> SeenIssuerOf<'_> {
        self.seen_with(&Signer::None)
    }

    fn seen_with<'a>(&'a self, signer: &'a Signer) -> SeenIssuerOf<'a> {
        let issuer = match self {
            Self::Foreign => return SeenIssuerOf::Foreign,
            Self::Missing => return SeenIssuerOf::Missing,
            Self::Issuer(issuer) => issuer,
        };
        let ready = ready_of(issuer);
        match (&issuer.spec, signer) {
            (IssuerSpec { acme: Some(acme), .. }, _) => SeenIssuerOf::Acme { ready, acme },
            (IssuerSpec { ca: Some(ca), .. }, Signer::Ca(authority)) => SeenIssuerOf::Ca { ready, ca, authority },
            (IssuerSpec { self_signed: Some(self_signed), .. }, Signer::SelfSigned(key)) => {
                SeenIssuerOf::SelfSigned { ready, self_signed, key }
            }
            _ => SeenIssuerOf::Unserved("no ACME issuer"),
        }
    }

    /// Whom it serves.
    fn terms<'a>(&'a self, reference: &'a IssuerReference) -> Terms<'a> {
        Terms::of(reference, |name| self.annotation(name))
    }

    /// The value of one of its annotations.
    fn annotation(&self, key: &str) -> Option<&str> {
        let Self::Issuer(issuer) = self else { return None };
        issuer.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    fn is_acme(&self) -> bool {
        matches!(self, Self::Issuer(issuer) if issuer.spec.acme.is_some())
    }

    /// Whether it signs without asking anybody, and so at once.
    fn is_prompt(&self) -> bool {
        let Self::Issuer(issuer) = self else { return false };
        issuer.spec.acme.is_none()
            && (issuer.spec.ca.is_some() || issuer.spec.self_signed.is_some())
            && ready_of(issuer).is_some_and(Condition::is_true)
    }

    fn is_usable(&self) -> bool {
        match self {
            Self::Foreign => true,
            Self::Issuer(issuer) => ready_of(issuer).is_some_and(Condition::is_true),
            Self::Missing => false,
        }
    }

    /// Whether it signs with nothing but the request.
    fn needs_no_key(&self) -> bool {
        let Self::Issuer(issuer) = self else { return false };
        issuer.spec.acme.is_none() && issuer.spec.ca.is_some()
    }
}

fn ready_of(issuer: &Issuer) -> Option<&Condition> {
    find_condition(&issuer.status.as_ref()?.conditions, condition::READY)
}

/// As the controller reads Secrets: ours from the store, those of others each time.
fn read_secret(process: &Process, world: &World, name: &ObjectName) -> Option<Arc<Secret>> {
    process.hub.secrets.get(name).or_else(|| world.server.get(name).map(Arc::new))
}

/// The CA's key pair in this Secret as it is now.
fn read_authority(process: &Process, world: &World, name: &ObjectName) -> SeenAuthority {
    let Some(secret) = read_secret(process, world, name) else {
        return SeenAuthority::Missing(format!("The Secret {name}"));
    };
    match Authority::from_secret(&secret) {
        Ok(authority) => SeenAuthority::Usable(Arc::new(authority)),
        Err(why) => SeenAuthority::Unusable(why),
    }
}
