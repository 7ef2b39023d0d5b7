//! Orders: gather and act.

use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Context,
    account::account_of,
    held_issuer::HeldIssuer,
    memory::Memory,
    pace::next_look,
    round::{Round, event, step_name},
    step_error::StepError,
};
use crate::{
    acme::{AccountHandle, Answer, AuthorizationBody, Error, Identifier, NewOrder, OrderBody},
    api::{
        Challenge, Order, OrderStatus, Sensitive,
        order::{OrderAuthorization, OrderChallenge},
    },
    cluster::{Key, ObjectName, owner_entry},
    decide::{
        Wake,
        order::{CaOrder, OrderStep, SeenOrder, decide},
        solver::Method,
    },
    pki::ParsedRequest,
};

const READING: &str = "Failed to fetch authorizations";

pub(super) async fn round(context: &Context, key: &Key, memory: &mut Memory) -> Result<Round, StepError> {
    let hub = &context.cluster.hub;
    let Some(order) = hub.orders.get(&key.object) else {
        *memory = Memory::default();
        return Ok(Round::Rest(Wake::OnChange));
    };
    let uid = order.uid().unwrap_or_default();
    memory.keep_for(&uid);
    let issuer = HeldIssuer::look_up(hub, &order.spec.issuer_ref, &key.object.namespace);
    let challenges = hub.challenges.indexed(&owner_entry(&uid));
    let seen = SeenOrder {
        order: &order,
        issuer: issuer.seen(),
        challenges: &challenges,
        ca: memory.order.as_ref(),
        trouble: memory.trouble.as_ref(),
    };
    let decision = decide(&seen, Timestamp::now());
    let mut round = Round::Rest(decision.wake);
    for step in decision.steps {
        tracing::debug!(%key, step = step_name(&step), "step");
        if !matches!(step, OrderStep::Publish(_)) {
            round = Round::Again;
        }
        act(context, &order, &issuer, step, memory).await?;
    }
    Ok(round)
}

async fn act(
    context: &Context,
    order: &Order,
    issuer: &HeldIssuer,
    step: OrderStep,
    memory: &mut Memory,
) -> Result<(), StepError> {
    let cluster = &context.cluster;
    let namespace = order.namespace().unwrap_or_default();
    match step {
        OrderStep::DeleteChallenge(challenge) => return Ok(cluster.delete(&*challenge).await?),
        OrderStep::WriteStatus(status) => return write_status(context, order, &status).await,
        OrderStep::Publish(note) => {
            cluster.publish(event(note).about(order));
            return Ok(());
        }
        _ => {}
    }
    let account = account_of(context, issuer, &namespace).await?;
    match step {
        OrderStep::Place => place(context, order, &account).await?,
        OrderStep::ReadAuthorizations => read_authorizations(context, order, &account).await?,
        OrderStep::CreateChallenge(challenge) => create_challenge(context, *challenge, &account).await?,
        OrderStep::ReadOrder => {
            let answer = account.order(order_url(order)).await.map_err(failed("Failed to retrieve Order resource"))?;
            note(memory, &answer, false);
        }
        OrderStep::Finalize => {
            let request = ParsedRequest::from_pem(&order.spec.request.0)
                .map_err(|error| StepError::is_final(format!("Failed to read the CSR in spec.request: {error}")))?;
            let url = order.status.as_ref().and_then(|status| status.finalize_url.clone()).unwrap_or_default();
            let answer = finalize(&account, &url, &request.der, order_url(order)).await;
            // Whether the CA took it is not known then, so the next look asks.
            memory.order = memory.order.take().filter(|_| answer.is_ok());
            note(memory, &answer?, true);
        }
        OrderStep::Download => download(order, &account, memory).await?,
        _ => {}
    }
    memory.trouble = None;
    Ok(())
}

fn failed(doing: &'static str) -> impl Fn(Error) -> StepError {
    move |error| StepError::from_acme(doing, &error)
}

fn order_url(order: &Order) -> &str {
    order.status.as_ref().and_then(|status| status.url.as_deref()).unwrap_or_default()
}

async fn write_status(context: &Context, order: &Order, status: &OrderStatus) -> Result<(), StepError> {
    let former = order.status.clone().unwrap_or_default();
    Ok(context.cluster.write_status(order, &former, status).await?)
}

/// Remembers what the CA said of the order.
fn note(memory: &mut Memory, answer: &Answer<OrderBody>, finalized: bool) {
    let now = Timestamp::now();
    let is_same = memory.order.as_ref().is_some_and(|former| former.status == answer.body.status.as_str());
    memory.looks = if is_same { memory.looks.saturating_add(1) } else { 0 };
    memory.order = Some(CaOrder {
        status: answer.body.status.as_str().to_owned(),
        problem: answer.body.error.as_ref().map(ToString::to_string),
        finalized,
        next_look: next_look(memory.looks, answer.retry_after, now),
        certificate: None,
    });
}

/// A CA that took the certificate request before, without our getting to know, refuses it the second time.
async fn finalize(
    account: &AccountHandle,
    url: &str,
    request: &[u8],
    order_url: &str,
) -> Result<Answer<OrderBody>, StepError> {
    let refused = match account.finalize(url, request).await {
        Err(error) if !error.is_transient() => error,
        answer => return answer.map_err(failed("Failed to finalize Order")),
    };
    match account.order(order_url).await {
        Ok(answer) if matches!(answer.body.status.as_str(), "processing" | "valid" | "invalid") => Ok(answer),
        _ => Err(failed("Failed to finalize Order")(refused)),
    }
}

/// Creates the order, unless the CA has one that a former process created and could not write down.
async fn place(context: &Context, order: &Order, account: &AccountHandle) -> Result<(), StepError> {
    let wanted = new_order(order)?;
    // An Order that this process has created and not yet worked on cannot have one, so the usual case asks nothing.
    let found = if context.memories.take_fresh(&ObjectName::of(order)) {
        None
    } else {
        find_order(context, account, &wanted.identifiers).await?
    };
    let (url, body) = if let Some(found) = found {
        found
    } else {
        let (url, answer) = account.new_order(&wanted).await.map_err(failed("Failed to create Order"))?;
        (url, answer.body)
    };
    let mut status = order.status.clone().unwrap_or_default();
    status.url = Some(url);
    status.finalize_url = Some(body.finalize.clone());
    status.state = Some(body.status.as_str().to_owned());
    status.reason = None;
    status.authorizations = body.authorizations.iter().map(|url| unread_authorization(url)).collect();
    // If one cannot be read now, the order itself is written down all the same, before the wait that this may cost.
    let read = read_all(account, &body.authorizations).await;
    if let Ok(read) = &read {
        status.authorizations.clone_from(read);
    }
    write_status(context, order, &status).await?;
    match read {
        Err(error) if error.is_transient() => Err(failed(READING)(error)),
        _ => Ok(()),
    }
}

fn new_order(order: &Order) -> Result<NewOrder, StepError> {
    let addresses = order.spec.ip_addresses.iter().map(|text| {
        text.parse().map(Identifier::ip).map_err(|_| StepError::is_final(format!("{text:?} is not an IP address")))
    });
    let mut identifiers: Vec<Identifier> = order.spec.dns_names.iter().map(Identifier::dns).collect();
    identifiers.extend(addresses.collect::<Result<Vec<_>, _>>()?);
    identifiers.sort_by(|a, b| (&a.kind, &a.value).cmp(&(&b.kind, &b.value)));
    identifiers.dedup();
    let lifetime = order.spec.duration.as_ref().and_then(|duration| duration.to_duration().ok());
    Ok(NewOrder {
        identifiers,
        not_after: lifetime.map(|lifetime| Timestamp::now() + lifetime),
        profile: order.spec.profile.clone(),
        replaces: order.spec.replaces.clone(),
    })
}

/// An open order of this account for exactly these names that no other Order has. CAs that do not list orders give none.
async fn find_order(
    context: &Context,
    account: &AccountHandle,
    wanted: &[Identifier],
) -> Result<Option<(String, OrderBody)>, StepError> {
    /// Looking through more than this would cost more than a second order.
    const MOST_LOOKED_AT: usize = 20;
    let urls = unless_transient(account.orders().await)?.flatten().unwrap_or_default();
    let held = context.cluster.hub.orders.all();
    let is_held = |url: &String| held.iter().any(|order| order_url(order) == *url);
    for url in urls.into_iter().rev().filter(|url| !is_held(url)).take(MOST_LOOKED_AT) {
        let Some(answer) = unless_transient(account.order(&url).await)? else { continue };
        let mut names = answer.body.identifiers.clone();
        names.sort_by(|a, b| (&a.kind, &a.value).cmp(&(&b.kind, &b.value)));
        let is_open = matches!(answer.body.status.as_str(), "pending" | "ready");
        if is_open && names == wanted {
            return Ok(Some((url, answer.body)));
        }
    }
    Ok(None)
}

/// What was found, if anything; what time may cure is tried again rather than taken for nothing.
fn unless_transient<T>(answer: Result<T, Error>) -> Result<Option<T>, StepError> {
    match answer {
        Err(error) if error.is_transient() => Err(failed("Failed to look for a former order")(error)),
        answer => Ok(answer.ok()),
    }
}

async fn read_authorizations(context: &Context, order: &Order, account: &AccountHandle) -> Result<(), StepError> {
    let answer = account.order(order_url(order)).await.map_err(failed(READING))?;
    let mut status = order.status.clone().unwrap_or_default();
    status.finalize_url = Some(answer.body.finalize.clone());
    if answer.body.authorizations.is_empty() {
        return Err(StepError::is_final(format!("{READING}: the CA's order names none")));
    }
    status.authorizations = read_all(account, &answer.body.authorizations).await.map_err(failed(READING))?;
    status.reason = None;
    write_status(context, order, &status).await
}

async fn read_all(account: &AccountHandle, urls: &[String]) -> Result<Vec<OrderAuthorization>, Error> {
    /// Enough for speed, few enough to be kind to the CA.
    const AT_ONCE: usize = 5;
    let mut read = Vec::with_capacity(urls.len());
    for chunk in urls.chunks(AT_ONCE) {
        let answers = futures::future::try_join_all(chunk.iter().map(|url| account.authorization(url))).await?;
        read.extend(chunk.iter().zip(answers).map(|(url, answer)| read_authorization(url, answer.body)));
    }
    Ok(read)
}

fn unread_authorization(url: &str) -> OrderAuthorization {
    OrderAuthorization { url: url.to_owned(), ..OrderAuthorization::default() }
}

fn read_authorization(url: &str, body: AuthorizationBody) -> OrderAuthorization {
    OrderAuthorization {
        url: url.to_owned(),
        identifier: Some(body.identifier.value),
        wildcard: Some(body.wildcard),
        initial_state: Some(body.status.as_str().to_owned()),
        challenges: body
            .challenges
            .into_iter()
            .map(|challenge| OrderChallenge {
                url: challenge.url,
                token: challenge.token.unwrap_or_default(),
                type_: challenge.kind,
            })
            .collect(),
    }
}

async fn create_challenge(
    context: &Context,
    mut challenge: Challenge,
    account: &AccountHandle,
) -> Result<(), StepError> {
    let token = &challenge.spec.token;
    let key = match Method::from_spec(&challenge.spec.type_) {
        Some(Method::Dns01) => account.dns01_value(token),
        _ => account.key_authorization(token),
    };
    challenge.spec.key = Sensitive::from(key.map_err(failed("Failed to make the key of a Challenge"))?);
    context.cluster.create(&challenge).await?;
    Ok(())
}

async fn download(order: &Order, account: &AccountHandle, memory: &mut Memory) -> Result<(), StepError> {
    const DOING: &str = "Failed to download the certificate";
    let answer = account.order(order_url(order)).await.map_err(failed(DOING))?;
    let Some(url) = answer.body.certificate.clone() else {
        return Err(StepError::transient(format!("{DOING}: the CA calls the order valid, but names no certificate")));
    };
    let chain = account.certificate(&url).await.map_err(failed(DOING))?;
    note(memory, &answer, false);
    if let Some(held) = &mut memory.order {
        held.certificate = Some(chain.body.pem.into_bytes());
    }
    Ok(())
}
