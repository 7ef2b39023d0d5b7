//! Challenges: gather and act.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use tokio::time::Instant;

use super::{
    Context,
    account::{account_of, settled},
    company, dns01,
    held_issuer::HeldIssuer,
    memory::Memory,
    origin,
    pace::next_look,
    presenter, refused,
    round::{Round, event, step_name},
    schedule, self_check,
    step_error::StepError,
    tls_alpn01,
};
use crate::{
    acme::{AuthorizationBody, ChallengeBody},
    api::{
        Challenge,
        names::{finalizer, state},
    },
    cluster::{Key, ObjectName},
    decide::{
        TroubleClass, Wake,
        challenge::{CaChallenge, ChallengeStep, Check, CleanUp, SeenChallenge, decide, is_ours, may_go, withdraw},
        later,
        progress::Progress,
        propagation::check_interval,
        solver::Method,
    },
};

/// How long the CA is left alone while the self-check does not pass; it may have given up on the order meanwhile.
const CA_LEFT_ALONE: SignedDuration = SignedDuration::from_mins(10);

/// What has ended at the CA has ended for sure by its own clock after so long.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_hours(1);

pub(super) async fn round(context: &Context, key: &Key, memory: &mut Memory) -> Result<Round, StepError> {
    let hub = &context.cluster.hub;
    let Some(challenge) = hub.challenges.get(&key.object) else {
        *memory = Memory::default();
        context.records.forget(key);
        context.self_checks.forget(key);
        schedule::gone(context, key, Timestamp::now());
        return Ok(Round::Rest(Wake::OnChange));
    };
    memory.keep_for(&challenge.uid().unwrap_or_default());
    let solver = presenter::solver_version(context, &challenge);
    if memory.checked_solver != solver {
        memory.checked_solver = solver;
        memory.check = None;
        context.self_checks.forget(key);
    }
    let issuer = HeldIssuer::look_up(hub, &challenge.spec.issuer_ref, &key.object.namespace);
    forget_outdated_trouble(context, &challenge, memory).await?;
    let refusal = origin::refusal_of_challenge(context, &challenge, &issuer);
    let now = Timestamp::now();
    let may_go = may_go(&challenge, issuer.seen().unless(refusal.as_deref()), memory.trouble.as_ref(), now);
    let queued = schedule::queued(context, &challenge, may_go, now);
    // A name is taken only by who can use it now.
    let taken = if queued.is_none() { tls_alpn01::taken(context, &challenge) } else { None };
    let pending = dns01::pending(context, &challenge).await;
    let others = company::others(context, &challenge);
    let seen = SeenChallenge {
        challenge: &challenge,
        issuer: issuer.seen().unless(refusal.as_deref()),
        has_open_siblings: others.iter().any(|other| is_open(other)),
        awaited_until: company::awaited_until(context, &challenge, &others, now),
        queued: queued.as_ref(),
        taken: taken.as_ref(),
        presented: memory.presented,
        check: memory.check.as_ref(),
        ca: memory.challenge.as_ref(),
        was_asked_here: memory.has_asked,
        clean_up: memory.clean_up,
        pending: pending.as_ref(),
        trouble: memory.trouble.as_ref(),
    };
    let decision = if context.options.is_leaving { withdraw(&seen, now) } else { decide(&seen, now) };
    let mut round = Round::Rest(decision.wake);
    for step in decision.steps {
        tracing::debug!(%key, step = step_name(&step), "step");
        if !matches!(step, ChallengeStep::Publish(_)) {
            round = Round::Again;
        }
        let acted = act(context, &challenge, &issuer, step, memory).await;
        if let Err(error) = acted {
            return Err(settled(context, &issuer, &key.object.namespace, error).await);
        }
    }
    Ok(round)
}

/// A trouble ends when the credentials change: the corrected ones are tried at once.
async fn forget_outdated_trouble(
    context: &Context,
    challenge: &Challenge,
    memory: &mut Memory,
) -> Result<(), StepError> {
    if memory.trouble.is_none() {
        return Ok(());
    }
    let credentials = match presenter::credentials_version(context, challenge).await {
        // The trouble may be just that.
        Err(StepError::Write(error)) if error.missing_right().is_some() => return Ok(()),
        credentials => credentials?,
    };
    let former = memory.trouble_credentials.get_or_insert_with(|| credentials.clone());
    if *former != credentials {
        memory.trouble = None;
    }
    Ok(())
}

fn is_open(challenge: &Challenge) -> bool {
    let state = challenge.status.as_ref().and_then(|status| status.state.as_deref());
    Progress::of_word(state) == Progress::Open
}

async fn act(
    context: &Context,
    challenge: &Challenge,
    issuer: &HeldIssuer,
    step: ChallengeStep,
    memory: &mut Memory,
) -> Result<(), StepError> {
    let now = Timestamp::now();
    match step {
        ChallengeStep::AddFinalizer => {
            let mut finalizers = challenge.finalizers().to_vec();
            finalizers.push(finalizer::CHALLENGE.to_owned());
            context.cluster.write_finalizers(challenge, &finalizers).await?;
        }
        ChallengeStep::RemoveFinalizer => {
            let others = challenge.finalizers().iter().filter(|set| !is_ours(set)).cloned().collect::<Vec<_>>();
            context.cluster.write_finalizers(challenge, &others).await?;
        }
        ChallengeStep::Present => {
            presenter::present(context, challenge).await?;
            refused::note_unwatched(context, challenge);
            memory.is_mine = true;
            memory.presented = Some(Timestamp::now());
            memory.trouble = None;
            memory.check = None;
            memory.checked_since = None;
            memory.solver_since = None;
            memory.propagation = dns01::Propagation::default();
            // The Order read the authorization a moment ago; only a process that comes later has to ask.
            let next_look = now + CA_LEFT_ALONE;
            let status = state::PENDING.to_owned();
            memory.challenge.get_or_insert(CaChallenge { status, accepted: false, problem: None, next_look });
        }
        ChallengeStep::PresentAgain => {
            dns01::present_again(context, challenge, &mut memory.propagation).await?;
            memory.trouble = None;
            memory.check = None;
        }
        ChallengeStep::SelfCheck => {
            let since = *memory.checked_since.get_or_insert(now);
            let found = presenter::check(context, challenge, issuer, memory).await?;
            let unwatched = found.as_ref().and_then(|_| refused::unwatched(context, challenge));
            let found = found.map(|found| unwatched.into_iter().fold(found, |found, why| format!("{found}; {why}")));
            memory.is_mine = true;
            memory.trouble = None;
            let method = Method::of(challenge);
            let now = Timestamp::now();
            let longest = context.options.check_retry_period;
            let next = later(now, check_interval(method, now.duration_since(since), longest));
            let is_lost = memory.propagation.is_to_be_presented_again(presenter::waited_since_presented(challenge));
            memory.check = Some(Check { passed: found.is_none(), summary: found.unwrap_or_default(), next, is_lost });
        }
        ChallengeStep::Accept => {
            self_check::take_over(context, challenge, memory).await?;
            memory.has_asked = true;
            context.asked_for.note(&ObjectName::of(challenge), Instant::now());
            accept(context, challenge, issuer, memory).await?;
        }
        ChallengeStep::Read => {
            // A former process may have had the CA look, whose question is to reach this one.
            self_check::take_over(context, challenge, memory).await?;
            read(context, challenge, issuer, memory).await?;
        }
        ChallengeStep::CleanUp => {
            if memory.clean_up == CleanUp::Untried {
                // What went wrong before has nothing to do with it.
                memory.trouble = None;
                memory.clean_up = CleanUp::Tried;
            }
            presenter::clean_up(context, challenge).await?;
            memory.trouble = None;
            memory.clean_up = CleanUp::Done;
        }
        ChallengeStep::WriteStatus(status) => {
            let former = challenge.status.clone().unwrap_or_default();
            context.cluster.write_status(challenge, &former, &*status).await?;
            if Progress::of_word(status.state.as_deref()) != Progress::Open {
                memory.trouble = None;
            }
        }
        ChallengeStep::Publish(note) => context.cluster.publish(event(note).about(challenge)),
    }
    Ok(())
}

async fn accept(
    context: &Context,
    challenge: &Challenge,
    issuer: &HeldIssuer,
    memory: &mut Memory,
) -> Result<(), StepError> {
    let account = account_of(context, issuer, &challenge.namespace().unwrap_or_default()).await?;
    let answer = match account.accept(&challenge.spec.url).await {
        Ok(answer) => answer,
        Err(error) => {
            // The CA may have taken it all the same, and refuses it the second time: ask before trying again.
            memory.challenge = None;
            if !error.is_transient() {
                match read(context, challenge, issuer, memory).await {
                    Ok(()) if is_accepted(memory) => return Ok(()),
                    // Whether it took it is not known yet.
                    Err(unknown @ StepError::Trouble { class: TroubleClass::Transient, .. }) => return Err(unknown),
                    _ => {}
                }
            }
            return Err(StepError::from_acme("Error accepting challenge", &error));
        }
    };
    memory.trouble = None;
    memory.looks = 0;
    let next_look = next_look(0, answer.retry_after, Timestamp::now());
    memory.challenge = Some(CaChallenge { accepted: true, ..ca_view(&answer.body, next_look) });
    Ok(())
}

fn is_accepted(memory: &Memory) -> bool {
    memory.challenge.as_ref().is_some_and(|known| known.accepted || known.status != state::PENDING)
}

/// Asks the authorization rather than the challenge: it also tells when the CA has given up on it as a whole.
async fn read(
    context: &Context,
    challenge: &Challenge,
    issuer: &HeldIssuer,
    memory: &mut Memory,
) -> Result<(), StepError> {
    let account = account_of(context, issuer, &challenge.namespace().unwrap_or_default()).await?;
    let answer = match account.authorization(&challenge.spec.authorization_url).await {
        // CAs forget authorizations whose time is over.
        Err(error) if error.status() == Some(404) && error.problem().is_some() => {
            let problem = Some("the CA does not know the authorization any more".to_owned());
            let (status, next_look) = (state::EXPIRED.to_owned(), Timestamp::now());
            memory.challenge = Some(CaChallenge { status, accepted: false, problem, next_look });
            memory.trouble = None;
            return Ok(());
        }
        answer => answer.map_err(|error| StepError::from_acme("Failed to retrieve the authorization", &error))?,
    };
    let own = answer.body.challenges.iter().find(|known| known.url == challenge.spec.url);
    let started = own.is_some_and(|own| matches!(own.status.as_str(), "processing" | "valid" | "invalid"));
    let accepted = started || memory.challenge.as_ref().is_some_and(|former| former.accepted);
    memory.looks = memory.looks.saturating_add(1);
    let now = Timestamp::now();
    let next_look = if accepted { next_look(memory.looks, answer.retry_after, now) } else { now + CA_LEFT_ALONE };
    memory.challenge = Some(CaChallenge { accepted, ..authorization_view(&answer.body, own, next_look) });
    // One that is still to be accepted may have failed at just that: only its success ends the row of failures.
    if is_accepted(memory) {
        memory.trouble = None;
    }
    Ok(())
}

fn ca_view(body: &ChallengeBody, next_look: Timestamp) -> CaChallenge {
    let problem = body.error.as_ref().map(ToString::to_string);
    CaChallenge { status: body.status.as_str().to_owned(), accepted: false, problem, next_look }
}

/// An authorization that is neither pending nor valid nor invalid is of no use any more (RFC 8555 section 7.1.6).
fn authorization_view(body: &AuthorizationBody, own: Option<&ChallengeBody>, next_look: Timestamp) -> CaChallenge {
    let problem = own.and_then(|own| own.error.as_ref()).or_else(|| body.error()).map(ToString::to_string);
    let (status, problem) = match body.status.as_str() {
        // Some CAs never say so themselves, and would be asked for ever.
        "pending" if body.expires.is_some_and(|end| Timestamp::now().duration_since(end) > CLOCKS_DIFFER) => {
            (state::EXPIRED, Some("the authorization has expired".to_owned()))
        }
        "pending" => (state::PENDING, problem),
        "valid" => (state::VALID, None),
        "invalid" => (state::INVALID, problem),
        other => (state::EXPIRED, Some(format!("the authorization is {other}"))),
    };
    CaChallenge { status: status.to_owned(), accepted: false, problem, next_look }
}
