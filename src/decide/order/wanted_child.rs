//! The Challenges that an Order wants. They follow from the Order and its issuer alone, so those that are not yet there are known.

use kube::{ResourceExt, api::ObjectMeta};

use crate::{
    api::{
        Challenge, ChallengeSpec, Order, OrderStatus,
        issuer::AcmeIssuer,
        names::{finalizer, state},
        order::OrderAuthorization,
    },
    decide::{
        children::owner_references,
        fixed_name,
        podless::{self, Answerer},
        solver::{self, Choice, Method, NoSolver},
        template,
        tls_alpn01::{self, TlsAlpn},
    },
};

/// What an Order and its issuer say of Challenges.
#[derive(Clone, Copy)]
pub struct Wishes<'a> {
    pub order: &'a Order,
    pub acme: &'a AcmeIssuer,
    /// The issuer's annotation that tells which of its solvers answer by TLS-ALPN-01.
    pub tls_alpn_01: Option<&'a str>,
    /// Who answers the issuer's HTTP-01 challenges.
    pub answerer: Answerer,
}

/// The authorizations that need a Challenge.
pub fn open_authorizations(status: &OrderStatus) -> impl Iterator<Item = &OrderAuthorization> {
    status.authorizations.iter().filter(|known| known.initial_state.as_deref() != Some(state::VALID))
}

/// Every Challenge that the Order wants, whether it is there already or not.
pub fn challenges(wishes: &Wishes<'_>) -> Vec<Challenge> {
    let status = wishes.order.status.iter();
    status.flat_map(open_authorizations).filter_map(|known| challenge(wishes, known).ok()).collect()
}

/// The Challenge for one authorization.
pub fn challenge(wishes: &Wishes<'_>, authorization: &OrderAuthorization) -> Result<Challenge, NoSolver> {
    let Wishes { order, acme, tls_alpn_01, answerer } = *wishes;
    let tls_alpn = TlsAlpn::read(tls_alpn_01, &acme.solvers);
    let Choice { solver, challenge_url, token, method } =
        solver::choose(&acme.solvers, &tls_alpn, authorization, order.labels())?;
    let mut solver = solver.clone();
    if method == Method::Http01 {
        template::override_http01(&mut solver, order.annotations(), order.namespace().as_deref());
    }
    let dns_name = authorization.identifier.clone().unwrap_or_default();
    let annotations = match method {
        Method::TlsAlpn01 => Some(tls_alpn01::mark()),
        Method::Http01 => podless::mark(answerer, &solver, &dns_name, place(order, authorization)),
        Method::Dns01 => None,
    };
    let name = fixed_name::challenge(&order.name_any(), &order.uid().unwrap_or_default(), &authorization.url);
    Ok(Challenge {
        metadata: ObjectMeta {
            namespace: order.namespace(),
            name: Some(name),
            annotations,
            // Set from the start, so that nothing is presented which would not be cleaned up.
            finalizers: Some(vec![finalizer::CHALLENGE.to_owned()]),
            owner_references: owner_references(order),
            ..ObjectMeta::default()
        },
        spec: ChallengeSpec {
            url: challenge_url.to_owned(),
            authorization_url: authorization.url.clone(),
            dns_name,
            wildcard: authorization.wildcard == Some(true),
            type_: method.as_spec().to_owned(),
            token: token.to_owned(),
            key: String::new().into(),
            solver,
            issuer_ref: order.spec.issuer_ref.clone(),
        },
        status: None,
    })
}

/// Where the authorization stands among those of its Order, which never change once they are read.
fn place(order: &Order, authorization: &OrderAuthorization) -> usize {
    let mut all = order.status.iter().flat_map(|status| &status.authorizations);
    all.position(|known| known.url == authorization.url).unwrap_or_default()
}
