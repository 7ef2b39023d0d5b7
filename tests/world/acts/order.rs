//! As `controller::order`.

use std::sync::Arc;

use certwright::{
    api::{
        Order, OrderStatus,
        names::annotation,
        order::{OrderAuthorization, OrderChallenge},
    },
    cluster::{Key, ObjectName, owner_entry},
    decide::{
        TroubleClass, Wake, admittance,
        caa::BeforeOrder,
        chain::{ChosenChain, OfferedChain, choose, class_of_refusal},
        delivery::Missing,
        hold::Reach,
        order::{CaOrder, OrderStep, SeenOrder, decide},
    },
    pki::ParsedRequest,
};
use kube::ResourceExt;

use super::{HeldIssuer, limits, next_look, publish};
use crate::{
    authority,
    process::{Failure, Memory, Process, Round},
    world::{World, dns01_key, is_final, transient},
};

pub fn round(process: &mut Process, world: &mut World, key: &Key, memory: &mut Memory) -> Result<Round, Failure> {
    let hub = process.hub.clone();
    let Some(order) = hub.orders.get(&key.object) else {
        *memory = Memory::default();
        limits::leave(process, world, &key.object);
        return Ok(Round::Rest(Wake::OnChange));
    };
    let uid = order.uid().unwrap_or_default();
    memory.of(&uid);
    let issuer = HeldIssuer::look_up(&hub, &key.object.namespace, &order.spec.issuer_ref);
    forget_outdated_trouble(&issuer, memory);
    let turn = limits::turn(process, world, &order, &issuer, memory);
    let challenges = hub.challenges.indexed(&owner_entry(&uid));
    // The model has no ClusterIssuers, for which the Order's origin matters too.
    let refusal = admittance::of_order(&issuer.terms(&order.spec.issuer_ref), &order, None, true);
    let seen = SeenOrder {
        order: &order,
        issuer: issuer.seen().unless(refusal.as_deref()),
        tls_alpn_01: issuer.annotation(annotation::TLS_ALPN_01),
        answerer: world.answerer,
        challenges: &challenges,
        ca: memory.order.as_ref(),
        turn: &turn,
        trouble: memory.trouble.as_ref(),
        // The CAs of the model leave CAA to others.
        caa: &BeforeOrder::Order(None),
    };
    let decision = decide(&seen, world.now());
    let mut round = Round::Rest(decision.wake);
    for step in decision.steps {
        if !matches!(step, OrderStep::Publish(_)) {
            round = Round::Again;
        }
        act(process, world, &order, step, memory)?;
    }
    Ok(round)
}

fn forget_outdated_trouble(issuer: &HeldIssuer, memory: &mut Memory) {
    if memory.trouble.is_none() {
        return;
    }
    let version = issuer.version();
    let former = memory.trouble_credentials.get_or_insert_with(|| version.clone());
    if *former != version && memory.trouble.as_ref().is_some_and(|trouble| trouble.class == TroubleClass::Transient) {
        memory.trouble = None;
    }
}

fn act(
    process: &mut Process,
    world: &mut World,
    order: &Arc<Order>,
    step: OrderStep,
    memory: &mut Memory,
) -> Result<(), Failure> {
    let hub = process.hub.clone();
    match step {
        OrderStep::DeleteChallenge(challenge) => return world.api_delete(&hub, &*challenge),
        OrderStep::WriteStatus(status) => return write_status(process, world, order, &status),
        OrderStep::Publish(note) => {
            publish(world, &order.name_any(), &note);
            return Ok(());
        }
        OrderStep::LookUpCaa => {}
        OrderStep::Place => match place(process, world, order) {
            Err(Failure::Trouble { hold: Some(hold), .. }) if hold.reach != Reach::Names => {}
            placed => placed?,
        },
        OrderStep::ReadAuthorizations => read_authorizations(process, world, order)?,
        OrderStep::CreateChallenge(mut challenge) => {
            let token = challenge.spec.token.clone();
            let key = if challenge.spec.type_ == "DNS-01" { dns01_key(&token) } else { format!("{token}.key") };
            challenge.spec.key = key.into();
            world.api_create(&hub, &*challenge)?;
        }
        OrderStep::ReadOrder => {
            let url = url_of(order);
            let answer = world.ask("Failed to retrieve Order resource", |ca, seen| ca.order(&url, seen))?;
            note(world, memory, &answer, false);
            if memory.order.as_ref().is_some_and(|told| !told.ends_trouble()) {
                return Ok(());
            }
        }
        OrderStep::Finalize => {
            let answer = finalize(world, order);
            memory.order = memory.order.take().filter(|_| answer.is_ok());
            note(world, memory, &answer?, true);
        }
        OrderStep::Download => {
            let url = url_of(order);
            let answer = world.ask("Failed to download the certificate", |ca, seen| ca.order(&url, seen))?;
            let since = *memory.undelivered.get_or_insert(world.now());
            let Some(chain) = &answer.certificate else {
                let message = "Failed to download the certificate: it is not named".to_owned();
                let class = Missing::Url.class(since, world.now());
                return Err(Failure::Trouble { class, message, retry_after: None, hold: None });
            };
            let chosen = verified(world, order, chain, memory)?;
            note(world, memory, &answer, false);
            if let Some(held) = &mut memory.order {
                held.certificate = Some(chosen);
            }
            memory.undelivered = None;
        }
    }
    memory.trouble = None;
    Ok(())
}

/// The one chain that this CA offers.
fn verified(world: &World, order: &Order, chain: &str, memory: &Memory) -> Result<ChosenChain, Failure> {
    let request = ParsedRequest::from_pem(&order.spec.request.0).map_err(|error| is_final(error.to_string()))?;
    let offered = OfferedChain::verify(chain.as_bytes(), &request, world.now()).map_err(|message| {
        let failures = memory.trouble.as_ref().map_or(0, |trouble| trouble.failures);
        Failure::Trouble { class: class_of_refusal(failures), message, retry_after: None, hold: None }
    })?;
    Ok(choose(offered, &[], None, None))
}

fn url_of(order: &Order) -> String {
    order.status.as_ref().and_then(|status| status.url.clone()).unwrap_or_default()
}

fn write_status(process: &Process, world: &mut World, order: &Order, status: &OrderStatus) -> Result<(), Failure> {
    world.api_status(&process.hub, order, &order.status.clone().unwrap_or_default(), status)
}

fn note(world: &World, memory: &mut Memory, answer: &authority::CaOrder, finalized: bool) {
    let is_same = memory.order.as_ref().is_some_and(|former| former.status == answer.state);
    memory.looks = if is_same { memory.looks.saturating_add(1) } else { 0 };
    memory.order = Some(CaOrder {
        status: answer.state.to_owned(),
        problem: answer.problem.clone(),
        finalized,
        next_look: next_look(memory.looks, world.ca.retry_after, world.now()),
        expires: None,
        certificate: None,
    });
}

fn finalize(world: &mut World, order: &Order) -> Result<authority::CaOrder, Failure> {
    let request = ParsedRequest::from_pem(&order.spec.request.0).map_err(|error| is_final(error.to_string()))?;
    let url = order.status.as_ref().and_then(|status| status.finalize_url.clone()).unwrap_or_default();
    let refused = match world.ask("Failed to finalize Order", |ca, _| ca.finalize(&url, request)) {
        Err(refused @ Failure::Trouble { class: TroubleClass::Final, .. }) => refused,
        answer => return answer,
    };
    let url = url_of(order);
    match world.ask("Failed to finalize Order", |ca, seen| ca.order(&url, seen)) {
        Ok(answer) if ["processing", "valid", "invalid"].contains(&answer.state) => Ok(answer),
        Err(failure) if !matches!(failure, Failure::Trouble { class: TroubleClass::Final, .. }) => Err(failure),
        _ => Err(refused),
    }
}

fn place(process: &mut Process, world: &mut World, order: &Arc<Order>) -> Result<(), Failure> {
    let mut names = order.spec.dns_names.clone();
    names.sort();
    let found =
        if process.fresh_orders.remove(&ObjectName::of(&**order)) { None } else { find_order(process, world, &names)? };
    let placed = if let Some(found) = found {
        found
    } else {
        let answer = new_order(world, &names, order.spec.replaces.as_deref());
        let may_have_arrived = |failure: &Failure| match failure {
            Failure::Trouble { message, hold: None, .. } => message.ends_with("connection lost"),
            _ => false,
        };
        if answer.as_ref().map_or_else(may_have_arrived, |_| true) {
            limits::placed(process, world, order);
        }
        answer?
    };
    let mut status = order.status.clone().unwrap_or_default();
    status.finalize_url = Some(format!("{}/finalize", placed.url));
    status.url = Some(placed.url.clone());
    status.state = Some(placed.state.to_owned());
    status.reason = None;
    let urls = authorization_urls(world, &placed);
    status.authorizations = unread(&urls, &[]);
    let trouble = match read_all(world, DOING, &mut status.authorizations) {
        Ok(()) | Err(Failure::Trouble { class: TroubleClass::Final, .. }) => Ok(()),
        Err(Failure::Crash) => return Err(Failure::Crash),
        Err(trouble) => Err(trouble),
    };
    write_status(process, world, order, &status)?;
    trouble
}

/// As `controller::replacement`.
fn new_order(world: &mut World, names: &[String], replaces: Option<&str>) -> Result<authority::CaOrder, Failure> {
    const DOING: &str = "Failed to create Order";
    let replaces = replaces.filter(|_| world.ca.renewals.is_some());
    match world.ask_for(Some(names), DOING, |ca, _| ca.new_order(names, replaces)) {
        Err(Failure::Trouble { class: TroubleClass::Final, .. }) if replaces.is_some() => {
            world.ask_for(Some(names), DOING, |ca, _| ca.new_order(names, None))
        }
        answer => answer,
    }
}

fn find_order(process: &Process, world: &mut World, names: &[String]) -> Result<Option<authority::CaOrder>, Failure> {
    const DOING: &str = "Failed to look for a former order";
    let urls = unless_transient(world.ask(DOING, |ca, _| ca.list_orders()))?.flatten().unwrap_or_default();
    let held = process.hub.orders.all();
    let is_held = |url: &String| held.iter().any(|order| url_of(order) == *url);
    for url in urls.into_iter().rev().filter(|url| !is_held(url)) {
        let found = unless_transient(world.ask(DOING, |ca, seen| ca.order(&url, seen)))?;
        let is_open = |found: &authority::CaOrder| ["pending", "ready"].contains(&found.state);
        if let Some(found) = found.filter(|found| is_open(found) && found.names == names) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn unless_transient<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Err(Failure::Trouble { class: TroubleClass::Final, .. }) => Ok(None),
        answer => answer.map(Some),
    }
}

fn authorization_urls(world: &World, order: &authority::CaOrder) -> Vec<String> {
    order.authorizations.iter().map(|index| world.ca.authorizations[*index].url.clone()).collect()
}

fn read_authorizations(process: &Process, world: &mut World, order: &Arc<Order>) -> Result<(), Failure> {
    let url = url_of(order);
    let answer = world.ask(DOING, |ca, seen| ca.order(&url, seen))?;
    if answer.authorizations.is_empty() {
        return Err(transient(format!("{DOING}: there are none")));
    }
    let mut status = order.status.clone().unwrap_or_default();
    let urls = authorization_urls(world, &answer);
    status.authorizations = unread(&urls, &status.authorizations);
    let read = read_all(world, DOING, &mut status.authorizations);
    if matches!(read, Err(Failure::Crash)) {
        return read;
    }
    if read.is_ok() {
        status.reason = None;
    }
    write_status(process, world, order, &status)?;
    read
}

const DOING: &str = "Failed to fetch authorizations";

/// As `controller::authorizations`.
fn unread(urls: &[String], known: &[OrderAuthorization]) -> Vec<OrderAuthorization> {
    let read = |url: &String| known.iter().find(|known| known.url == *url && known.identifier.is_some());
    let unread = |url: &String| OrderAuthorization { url: url.clone(), ..OrderAuthorization::default() };
    urls.iter().map(|url| read(url).cloned().unwrap_or_else(|| unread(url))).collect()
}

fn read_all(world: &mut World, doing: &str, all: &mut [OrderAuthorization]) -> Result<(), Failure> {
    for unread in all.iter_mut().filter(|known| known.identifier.is_none()) {
        let known = world.ask(doing, |ca, seen| ca.authorization(&unread.url, seen))?;
        let kinds: &[&str] = if known.is_wildcard { &["dns-01"] } else { &["http-01", "dns-01", "tls-alpn-01"] };
        *unread = OrderAuthorization {
            url: known.url.clone(),
            identifier: Some(known.name),
            wildcard: Some(known.is_wildcard),
            initial_state: Some(known.state.to_owned()),
            challenges: kinds
                .iter()
                .map(|kind| OrderChallenge {
                    url: format!("{}/{kind}", known.url),
                    token: known.token.clone(),
                    type_: (*kind).to_owned(),
                })
                .collect(),
        };
    }
    Ok(())
}
