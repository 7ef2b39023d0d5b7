//! Orders: gather and act.

use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Context,
    account::{account_of, settled},
    authorizations, caa,
    download::{self, NoChain},
    former_order,
    held_issuer::HeldIssuer,
    limits,
    memory::Memory,
    origin,
    pace::next_look,
    replacement,
    round::{Round, event, step_name},
    step_error::StepError,
};
use crate::{
    acme::{AccountHandle, Answer, Error, Identifier, NewOrder, OrderBody, TransportKind},
    api::{Challenge, Order, OrderStatus, Sensitive, issuer::AcmeIssuer, names::annotation},
    cluster::{Key, ObjectName, owner_entry},
    decide::{
        Trouble, TroubleClass, Wake,
        budget::turn::Turn,
        caa::{BeforeOrder, before_order},
        chain::class_of_refusal,
        delivery::Missing,
        hold::Reach,
        order::{CaOrder, EXPIRED_BEFORE_FINISHED, OrderStep, SeenOrder, decide},
        profile,
        progress::Progress,
        solver::Method,
    },
    pki::ParsedRequest,
};

const READING: &str = "Failed to fetch authorizations";
const RETRIEVING: &str = "Failed to retrieve Order resource";

pub(super) async fn round(context: &Context, key: &Key, memory: &mut Memory) -> Result<Round, StepError> {
    let hub = &context.cluster.hub;
    let Some(order) = hub.orders.get(&key.object) else {
        *memory = Memory::default();
        limits::leave(context, &key.object);
        return Ok(Round::Rest(Wake::OnChange));
    };
    let uid = order.uid().unwrap_or_default();
    memory.keep_for(&uid);
    let issuer = HeldIssuer::look_up(hub, &order.spec.issuer_ref, &key.object.namespace);
    forget_outdated_trouble(&issuer, memory);
    let now = Timestamp::now();
    let caa = before_order(issuer.annotation(annotation::CAA), memory.caa.as_ref(), now);
    let challenges = hub.challenges.indexed(&owner_entry(&uid));
    let refusal = origin::refusal_of_order(context, &order, &issuer);
    let turn = turn(context, &order, &issuer, (memory, &caa, refusal.is_some()), now);
    let seen = SeenOrder {
        order: &order,
        issuer: issuer.seen().unless(refusal.as_deref()),
        tls_alpn_01: issuer.annotation(annotation::TLS_ALPN_01),
        answerer: context.options.podless.answerer(issuer.annotation(annotation::HTTP01_SOLVER)),
        challenges: &challenges,
        ca: memory.order.as_ref(),
        turn: &turn,
        trouble: memory.trouble.as_ref(),
        caa: &caa,
    };
    let decision = decide(&seen, now);
    let mut round = Round::Rest(decision.wake);
    for step in decision.steps {
        tracing::debug!(%key, step = step_name(&step), "step");
        if !matches!(step, OrderStep::Publish(_)) {
            round = Round::Again;
        }
        let acted = act(context, &order, &issuer, step, memory).await;
        if let Err(error) = acted {
            return Err(settled(context, &issuer, &key.object.namespace, error).await);
        }
    }
    Ok(round)
}

/// A trouble ends when the issuer changes: with its account put right, the Order goes on at once.
fn forget_outdated_trouble(issuer: &HeldIssuer, memory: &mut Memory) {
    if memory.trouble.is_none() {
        return;
    }
    let version = issuer.version().unwrap_or_default();
    let former = memory.trouble_credentials.get_or_insert_with(|| version.clone());
    if *former != version && memory.trouble.as_ref().is_some_and(|trouble| trouble.class == TroubleClass::Transient) {
        memory.trouble = None;
    }
}

/// Whether the order may be created now. An Order that has one, or that waits for something else, needs no place.
fn turn(
    context: &Context,
    order: &Order,
    issuer: &HeldIssuer,
    (memory, caa, is_refused): (&Memory, &BeforeOrder, bool),
    now: Timestamp,
) -> Turn {
    let has_order = !order_url(order).is_empty() || Progress::of(order) != Progress::Open;
    let is_gone = order.metadata.deletion_timestamp.is_some();
    let is_over = memory.trouble.as_ref().is_some_and(|trouble| trouble.class == TroubleClass::Final);
    let is_forbidden = !matches!(caa, BeforeOrder::Order(_));
    if has_order
        || is_gone
        || is_refused
        || is_over
        || is_forbidden
        || issuer.seen().usable(&order.spec.issuer_ref).is_err()
    {
        limits::leave(context, &ObjectName::of(order));
        return Turn::Go;
    }
    if let Some(until) = memory.trouble.as_ref().map(Trouble::next_try).filter(|until| now < *until) {
        limits::pause(context, order, issuer, until, now);
        return Turn::Go;
    }
    limits::turn(context, order, &limits::names_of(order), issuer, now)
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
        OrderStep::LookUpCaa => memory.caa = Some(caa::look_up(context, order, &account).await?),
        OrderStep::Place => match place(context, order, &account).await {
            // It waits for its turn once more, which is told of and ended by whoever gets through.
            Err(StepError::Trouble { hold: Some(hold), .. }) if hold.reach != Reach::Names => {}
            placed => placed?,
        },
        OrderStep::ReadAuthorizations => read_authorizations(context, order, &account).await?,
        OrderStep::CreateChallenge(challenge) => create_challenge(context, *challenge, &account).await?,
        OrderStep::ReadOrder => {
            let answer = account.order(order_url(order)).await.map_err(failed_with_order(RETRIEVING))?;
            note(memory, &answer, false);
            if memory.order.as_ref().is_some_and(|told| !told.ends_trouble()) {
                return Ok(());
            }
        }
        OrderStep::Finalize => {
            let request = parsed_request(order)?;
            let url = order.status.as_ref().and_then(|status| status.finalize_url.clone()).unwrap_or_default();
            let answer = finalize(&account, &url, &request.der, order_url(order)).await;
            // Whether the CA took it is not known then, so the next look asks.
            memory.order = memory.order.take().filter(|_| answer.is_ok());
            note(memory, &answer?, true);
        }
        OrderStep::Download => {
            let acme = issuer.parts().and_then(|(spec, _)| spec.acme.as_ref());
            download(order, &account, acme, memory).await?;
        }
        _ => {}
    }
    memory.trouble = None;
    Ok(())
}

pub(super) fn failed(doing: &'static str) -> impl Fn(Error) -> StepError {
    move |error| {
        // CAs forget orders whose time is over, and what belongs to them.
        if error.status() == Some(404) && error.problem().is_some() {
            return StepError::is_final(format!("{doing}: {error}{EXPIRED_BEFORE_FINISHED}"));
        }
        StepError::from_acme_for_order(doing, &error)
    }
}

/// The same for an order that there is: what is unauthorized then is the order, not the account. An account that the issuer had
/// before may have made it, and however long that is waited for, it stays so.
fn failed_with_order(doing: &'static str) -> impl Fn(Error) -> StepError {
    move |error| match error.problem() {
        Some(problem) if problem.is("unauthorized") => StepError::from_acme(doing, &error),
        _ => failed(doing)(error),
    }
}

pub(super) fn order_url(order: &Order) -> &str {
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
        expires: answer.body.expires,
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
        answer => return answer.map_err(failed_with_order("Failed to finalize Order")),
    };
    match account.order(order_url).await {
        Ok(answer) if matches!(answer.body.status.as_str(), "processing" | "valid" | "invalid") => Ok(answer),
        // Whether it was taken is not known yet, and an order that was must not be given up.
        Err(error) if error.is_transient() => Err(StepError::from_acme(RETRIEVING, &error)),
        _ => Err(failed_with_order("Failed to finalize Order")(refused)),
    }
}

/// Creates the order, unless the CA has one that a former process created and could not write down.
async fn place(context: &Context, order: &Order, account: &AccountHandle) -> Result<(), StepError> {
    let wanted = new_order(order)?;
    // An Order that this process has created and not yet worked on cannot have one, so the usual case asks nothing.
    let found = if context.memories.take_fresh(&ObjectName::of(order)) {
        None
    } else {
        former_order::find(context, account, &wanted.identifiers).await?
    };
    let (url, body) = if let Some(found) = found {
        found
    } else {
        check_profile(account, wanted.profile.as_deref()).await?;
        let answer = replacement::new_order(account, wanted).await;
        if answer.as_ref().map_or_else(may_have_arrived, |_| true) {
            limits::placed(context, order, account.url(), Timestamp::now());
        }
        let (url, answer) = answer.map_err(failed("Failed to create Order"))?;
        (url, answer.body)
    };
    let mut status = order.status.clone().unwrap_or_default();
    status.url = Some(url);
    status.finalize_url = Some(body.finalize.clone());
    status.state = Some(body.status.as_str().to_owned());
    status.reason = None;
    status.authorizations = authorizations::unread(&body.authorizations, &[]);
    // If one cannot be read now, the order itself is written down all the same, before the wait that this may cost.
    let read = authorizations::read(account, &mut status.authorizations).await;
    write_status(context, order, &status).await?;
    match read {
        Err(error) if error.is_transient() => Err(failed(READING)(error)),
        _ => Ok(()),
    }
}

/// Whether a request may have been done though no answer came.
fn may_have_arrived(error: &Error) -> bool {
    matches!(error, Error::Transport { kind: TransportKind::Interrupted | TransportKind::Timeout, .. })
}

/// Asks nothing of the CA unless its directory, as it was fetched once, lists profiles and not this one.
async fn check_profile(account: &AccountHandle, wanted: Option<&str>) -> Result<(), StepError> {
    const DOING: &str = "Failed to create Order";
    let Some(wanted) = wanted else { return Ok(()) };
    let known = account.client().directory().await.map_err(failed(DOING))?;
    if profile::check(wanted, known.meta.profiles.keys()).is_ok() {
        return Ok(());
    }
    let now = account.client().current_directory().await.map_err(failed(DOING))?;
    profile::check(wanted, now.meta.profiles.keys()).map_err(|why| StepError::is_final(format!("{DOING}: {why}")))
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

async fn read_authorizations(context: &Context, order: &Order, account: &AccountHandle) -> Result<(), StepError> {
    let answer = account.order(order_url(order)).await.map_err(failed_with_order(READING))?;
    let mut status = order.status.clone().unwrap_or_default();
    status.finalize_url = Some(answer.body.finalize.clone());
    if answer.body.authorizations.is_empty() {
        return Err(StepError::is_final(format!("{READING}: the CA's order names none")));
    }
    status.authorizations = authorizations::unread(&answer.body.authorizations, &status.authorizations);
    let read = authorizations::read(account, &mut status.authorizations).await.map_err(failed_with_order(READING));
    if read.is_ok() {
        status.reason = None;
    }
    // What was read is kept: a slow CA is gone on with where it was left.
    write_status(context, order, &status).await?;
    read
}

async fn create_challenge(
    context: &Context,
    mut challenge: Challenge,
    account: &AccountHandle,
) -> Result<(), StepError> {
    let token = &challenge.spec.token;
    let key = match Method::of(&challenge) {
        Some(Method::Dns01) => account.dns01_value(token),
        _ => account.key_authorization(token),
    };
    challenge.spec.key = Sensitive::from(key.map_err(failed("Failed to make the key of a Challenge"))?);
    context.cluster.create(&challenge).await?;
    Ok(())
}

async fn download(
    order: &Order,
    account: &AccountHandle,
    acme: Option<&AcmeIssuer>,
    memory: &mut Memory,
) -> Result<(), StepError> {
    let answer = account.order(order_url(order)).await.map_err(failed_with_order(DOWNLOADING))?;
    let now = Timestamp::now();
    let since = *memory.undelivered.get_or_insert(now);
    let Some(url) = answer.body.certificate.clone() else {
        let text = format!("{DOWNLOADING}: the CA calls the order valid, but names no certificate");
        return Err(StepError::of_class(Missing::Url.class(since, now), text));
    };
    let request = parsed_request(order)?;
    let preferred = acme.and_then(|acme| acme.preferred_chain.as_deref());
    let chosen = download::certificate(account, &url, &request, preferred, memory.chain_tries).await;
    let chosen = chosen.map_err(|no| undelivered(no, since, memory))?;
    note(memory, &answer, false);
    if let Some(held) = &mut memory.order {
        held.certificate = Some(chosen);
    }
    (memory.undelivered, memory.chain_tries) = (None, 0);
    Ok(())
}

const DOWNLOADING: &str = "Failed to download the certificate";

/// What it means that there is no certificate, for an order that has been valid since `since`.
fn undelivered(no: NoChain, since: Timestamp, memory: &mut Memory) -> StepError {
    match no {
        NoChain::Acme(error) => {
            failed_with_order(DOWNLOADING)(error).at_most(Missing::Certificate.class(since, Timestamp::now()))
        }
        NoChain::Unread(error) => {
            memory.chain_tries = memory.chain_tries.saturating_add(1);
            StepError::from_acme("Failed to download a further chain of the certificate", &error)
        }
        NoChain::Refused(why) => {
            let failures = memory.trouble.as_ref().map_or(0, |trouble| trouble.failures);
            StepError::of_class(class_of_refusal(failures), why)
        }
    }
}

fn parsed_request(order: &Order) -> Result<ParsedRequest, StepError> {
    ParsedRequest::from_pem(&order.spec.request.0)
        .map_err(|error| StepError::is_final(format!("Failed to read the CSR in spec.request: {error}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        acme::testing::{ca, response},
        decide::testing::key,
    };

    #[tokio::test]
    async fn a_refused_request_gives_up_no_order_of_which_the_ca_tells_nothing() {
        for (order, class) in [(500, TroubleClass::Transient), (404, TroubleClass::Final)] {
            let ca = ca(move |path| match path {
                "/finalize" => {
                    response(403, &[], r#"{"type": "urn:ietf:params:acme:error:orderNotReady", "detail": "not now"}"#)
                }
                _ => response(order, &[], "out of order"),
            });
            let account = ca.account(key(0).clone(), "https://ca.example/account");
            let answer = finalize(&account, "https://ca.example/finalize", &[], "https://ca.example/order").await;
            let told = match answer {
                Err(StepError::Trouble { class, .. }) => Some(class),
                _ => None,
            };
            assert_eq!(told, Some(class), "{order}");
        }
    }

    #[test]
    fn an_order_of_a_former_account_is_given_up() {
        let refusal = |detail: &str| {
            let body = serde_json::json!({ "type": "urn:ietf:params:acme:error:unauthorized", "detail": detail });
            let problem = Box::new(serde_json::from_value(body).unwrap());
            Error::Problem { problem, status: 403, retry_after: None }
        };
        let told = |error| match error {
            StepError::Trouble { class, .. } => Some(class),
            _ => None,
        };
        let not_ours = "the order belongs to somebody else";
        assert_eq!(told(failed_with_order(RETRIEVING)(refusal(not_ours))), Some(TroubleClass::Final));
        assert_eq!(told(failed("Failed to create Order")(refusal(not_ours))), Some(TroubleClass::Transient));
        let deactivated = "the account was deactivated";
        assert_eq!(told(failed_with_order(RETRIEVING)(refusal(deactivated))), None, "the account is looked at");
    }
}
