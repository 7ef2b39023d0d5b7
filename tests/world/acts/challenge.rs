//! As `controller::challenge`, `controller::presenter`, `controller::self_check` and `controller::tls_alpn01`.

use std::sync::Arc;

use certwright::{
    api::{
        Challenge,
        names::{finalizer, state},
    },
    cluster::{Key, Kind, ObjectName, dns_value_entry, owner_entry, tls_name_entry},
    decide::{
        TroubleClass, Wake,
        challenge::{
            CaChallenge, ChallengeStep, Check, CleanUp, Pending, SeenChallenge, decide, is_ours, may_go, wants_value,
        },
        company::awaited_until,
        fixed_name,
        progress::Progress,
        propagation::check_interval,
        schedule::{Calls, Claim, Queued, Schedule, name_of},
        solver::Method,
        turns::{Rival, Taken},
    },
    http01::objects::{self, SolverOptions},
    tls_alpn01::objects as over_tls,
};
use jiff::SignedDuration;
use kube::ResourceExt;

use super::{HeldIssuer, next_look, publish};
use crate::{
    process::{DnsChange, Failure, Memory, Process, Round},
    world::{World, is_final, record_name},
};

const CA_LEFT_ALONE: SignedDuration = SignedDuration::from_mins(10);
const LONGEST_INTERVAL: SignedDuration = SignedDuration::from_secs(10);
const ADDITION_TAKES: SignedDuration = SignedDuration::from_millis(20);
const SELF_CHECK_TAKES: SignedDuration = SignedDuration::from_millis(20);
const REMOVAL_TAKES: SignedDuration = SignedDuration::from_millis(300);

pub fn round(process: &mut Process, world: &mut World, key: &Key, memory: &mut Memory) -> Result<Round, Failure> {
    let hub = process.hub.clone();
    let Some(challenge) = hub.challenges.get(&key.object) else {
        *memory = Memory::default();
        process.changes.remove(key);
        process.self_checks.remove(key);
        let name = (key.object.namespace.clone(), key.object.name.clone());
        let (_, calls) = schedule(process, world).look(&name, Claim::Nothing, world.now());
        call(process, world, calls);
        return Ok(Round::Rest(Wake::OnChange));
    };
    let uid = challenge.uid().unwrap_or_default();
    memory.of(&uid);
    let pods = hub.solver_pods.indexed(&owner_entry(&uid));
    let solver = pods.first().and_then(|pod| pod.metadata.resource_version.clone());
    if memory.checked_solver != solver {
        memory.checked_solver = solver;
        memory.check = None;
        process.self_checks.remove(key);
    }
    let issuer = HeldIssuer::look_up(&hub, &key.object.namespace, &challenge.spec.issuer_ref);
    let owners = challenge.metadata.owner_references.iter().flatten();
    let siblings = owners.flat_map(|owner| hub.challenges.indexed(&owner_entry(&owner.uid)));
    let others: Vec<_> = siblings.filter(|other| other.metadata.uid != challenge.metadata.uid).collect();
    let mut owners = challenge.metadata.owner_references.iter().flatten();
    let order =
        owners.find_map(|owner| hub.orders.get(&ObjectName::new(key.object.namespace.clone(), owner.name.clone())));
    let may_go = may_go(&challenge, issuer.seen(), memory.trouble.as_ref(), world.now());
    let queued = queued(process, world, &challenge, may_go);
    let taken = if queued.is_none() { taken(process, world, &challenge) } else { None };
    let pending = process.changes.get(key).filter(|change| change.uid == uid && world.now() < change.due);
    let seen = SeenChallenge {
        challenge: &challenge,
        issuer: issuer.seen(),
        has_open_siblings: others.iter().any(|other| is_open(other)),
        awaited_until: awaited_until(&challenge, order.as_deref(), &others, world.now()),
        queued: queued.as_ref(),
        taken: taken.as_ref(),
        presented: memory.presented,
        check: memory.check.as_ref(),
        ca: memory.challenge.as_ref(),
        was_asked_here: memory.has_asked,
        clean_up: memory.clean_up,
        pending: pending.map(|change| &change.pending),
        trouble: memory.trouble.as_ref(),
    };
    let decision = decide(&seen, world.now());
    let mut round = Round::Rest(decision.wake);
    for step in decision.steps {
        if !matches!(step, ChallengeStep::Publish(_)) {
            round = Round::Again;
        }
        act(process, world, &challenge, step, memory)?;
    }
    Ok(round)
}

/// As `controller::schedule`.
fn queued(process: &mut Process, world: &World, challenge: &Challenge, may_go: bool) -> Option<Queued> {
    let schedule = schedule(process, world);
    let (queued, calls) = schedule.look(&name_of(challenge), Claim::of(challenge, may_go), world.now());
    call(process, world, calls);
    queued
}

fn schedule<'a>(process: &'a mut Process, world: &World) -> &'a mut Schedule {
    let (hub, now) = (process.hub.clone(), world.now());
    process.schedule.get_or_insert_with(|| {
        let mut schedule = Schedule::new(world.most_challenges);
        for challenge in hub.challenges.all() {
            if let Claim::Holds(since) = Claim::of(&challenge, false) {
                schedule.hold(&name_of(&challenge), since.min(now));
            }
        }
        schedule
    })
}

fn call(process: &Process, world: &World, calls: Calls) {
    let queue = &process.hub.queue;
    for (namespace, name) in calls.now {
        queue.wake(&Key::new(Kind::Challenge, namespace, name));
    }
    if let Some(((namespace, name), at)) = calls.next {
        queue.wake_at(&Key::new(Kind::Challenge, namespace, name), at, world.now());
    }
}

fn taken(process: &mut Process, world: &World, challenge: &Challenge) -> Option<Taken> {
    let is_presented = challenge.status.as_ref().is_some_and(|status| status.presented);
    if is_presented || !challenge.is_tls_alpn01() {
        return None;
    }
    let hub = &process.hub;
    let named_so = hub.challenges.indexed(&tls_name_entry(&challenge.spec.dns_name)).into_iter();
    let rivals: Vec<_> = named_so
        .map(|rival| {
            let pods = hub.solver_pods.indexed(&owner_entry(&rival.uid().unwrap_or_default()));
            Rival { pod_since: over_tls::begun(&pods), challenge: rival, is_elsewhere: false }
        })
        .collect();
    process.turns.take(challenge, &rivals, world.now())
}

fn is_open(challenge: &Challenge) -> bool {
    let state = challenge.status.as_ref().and_then(|status| status.state.as_deref());
    Progress::of_word(state) == Progress::Open
}

fn act(
    process: &mut Process,
    world: &mut World,
    challenge: &Arc<Challenge>,
    step: ChallengeStep,
    memory: &mut Memory,
) -> Result<(), Failure> {
    let (hub, now) = (process.hub.clone(), world.now());
    let hub = &hub;
    match step {
        ChallengeStep::AddFinalizer => {
            let mut finalizers = challenge.finalizers().to_vec();
            finalizers.push(finalizer::CHALLENGE.to_owned());
            world.api_finalizers(hub, &**challenge, &finalizers)?;
        }
        ChallengeStep::RemoveFinalizer => {
            let others: Vec<_> = challenge.finalizers().iter().filter(|set| !is_ours(set)).cloned().collect();
            world.api_finalizers(hub, &**challenge, &others)?;
        }
        ChallengeStep::Present => {
            present(process, world, challenge)?;
            memory.presented = Some(world.now());
            (memory.trouble, memory.check, memory.checked_since) = (None, None, None);
            let (status, next_look) = (state::PENDING.to_owned(), now + CA_LEFT_ALONE);
            memory.challenge.get_or_insert(CaChallenge { status, accepted: false, problem: None, next_look });
        }
        ChallengeStep::PresentAgain => {
            present(process, world, challenge)?;
            (memory.trouble, memory.check) = (None, None);
        }
        ChallengeStep::SelfCheck => {
            let since = *memory.checked_since.get_or_insert(now);
            let found = check(process, world, challenge)?;
            memory.trouble = None;
            let interval = check_interval(Method::of(challenge), now.duration_since(since), LONGEST_INTERVAL);
            memory.check = Some(Check {
                passed: found,
                summary: "it cannot be seen yet".into(),
                next: now + interval,
                is_lost: false,
            });
        }
        ChallengeStep::Accept => {
            memory.has_asked = true;
            accept(world, challenge, memory)?;
        }
        ChallengeStep::Read => read(world, challenge, memory)?,
        ChallengeStep::CleanUp => {
            if memory.clean_up == CleanUp::Untried {
                memory.trouble = None;
                memory.clean_up = CleanUp::Tried;
            }
            clean_up(process, world, challenge)?;
            memory.trouble = None;
            memory.clean_up = CleanUp::Done;
        }
        ChallengeStep::WriteStatus(status) => {
            world.api_status(hub, &**challenge, &challenge.status.clone().unwrap_or_default(), &*status)?;
            if Progress::of_word(status.state.as_deref()) != Progress::Open {
                memory.trouble = None;
            }
        }
        ChallengeStep::Publish(note) => publish(world, &challenge.name_any(), &note),
    }
    Ok(())
}

fn present(process: &mut Process, world: &mut World, challenge: &Challenge) -> Result<(), Failure> {
    let spec = &challenge.spec;
    if spec.type_ == "DNS-01" {
        let record = (record_name(&spec.dns_name), spec.key.expose().to_owned());
        made_by_now(process, world, challenge, false)?;
        return world.dns(|records, now| {
            records.entry(record).or_insert(now);
        });
    }
    let name = fixed_name::http01_solver(&challenge.uid().unwrap_or_default());
    let options = SolverOptions::default();
    if challenge.is_podless() {
        // The process itself answers.
        return Ok(());
    }
    if challenge.is_tls_alpn01() {
        // TLSRoutes are not watched, and the world has watched kinds only.
        let pod = over_tls::pod(challenge, &name, &options).map_err(|error| is_final(error.to_string()))?;
        existing(world.api_create(&process.hub, &pod))?;
        return existing(world.api_create(&process.hub, &over_tls::service(challenge, &name, &options)));
    }
    let pod = objects::pod(challenge, &name, &options).map_err(|error| is_final(error.to_string()))?;
    existing(world.api_create(&process.hub, &pod))?;
    existing(world.api_create(&process.hub, &objects::service(challenge, &name, &options)))?;
    existing(world.api_create(&process.hub, &objects::ingress(challenge, &name, &options)))
}

fn check(process: &mut Process, world: &mut World, challenge: &Challenge) -> Result<bool, Failure> {
    let pods = process.hub.solver_pods.indexed(&owner_entry(&challenge.uid().unwrap_or_default()));
    if challenge.spec.type_ == "HTTP-01" && !challenge.is_podless() && pods.is_empty() {
        present(process, world, challenge)?;
        return Ok(false);
    }
    if challenge.spec.type_ != "DNS-01" {
        asked_by_now(process, world, challenge)?;
    }
    Ok(world.can_be_seen(challenge))
}

/// Begins a round of questions, and succeeds when it is over.
fn asked_by_now(process: &mut Process, world: &World, challenge: &Challenge) -> Result<(), Failure> {
    let key = Key { kind: Kind::Challenge, object: ObjectName::of(challenge) };
    let now = world.now();
    match process.self_checks.get(&key) {
        Some(over) if now < *over => {
            // This pass has undone the former one's timer.
            process.hub.queue.wake_at(&key, *over, now);
            return Err(Failure::Awaiting);
        }
        Some(_) => {
            process.self_checks.remove(&key);
            return Ok(());
        }
        None => {}
    }
    let over = now + SELF_CHECK_TAKES;
    process.hub.queue.wake_at(&key, over, now);
    process.self_checks.insert(key, over);
    Err(Failure::Awaiting)
}

/// Submits a change, and succeeds when it is time that the provider is asked. As `controller::dns01::changes`.
fn made_by_now(process: &mut Process, world: &World, challenge: &Challenge, removes: bool) -> Result<(), Failure> {
    let uid = challenge.uid().unwrap_or_default();
    let key = Key { kind: Kind::Challenge, object: ObjectName::of(challenge) };
    let now = world.now();
    let is_it = |change: &&DnsChange| change.uid == uid && change.pending.removes == removes;
    if let Some(change) = process.changes.get(&key).filter(is_it) {
        if now < change.due {
            return Err(Failure::Awaiting);
        }
        process.changes.remove(&key);
        return Ok(());
    }
    let due = now + if removes { REMOVAL_TAKES } else { ADDITION_TAKES };
    let pending = Pending { since: now, removes, reason: "Waiting for the DNS provider".to_owned() };
    process.hub.queue.wake_at(&key, due, now);
    process.changes.insert(key, DnsChange { uid, pending, due });
    Err(Failure::Awaiting)
}

fn existing(created: Result<(), Failure>) -> Result<(), Failure> {
    match created {
        Err(Failure::Overtaken) => Ok(()),
        other => other,
    }
}

fn clean_up(process: &mut Process, world: &mut World, challenge: &Challenge) -> Result<(), Failure> {
    let spec = &challenge.spec;
    if spec.type_ == "DNS-01" {
        let record = (record_name(&spec.dns_name), spec.key.expose().to_owned());
        let others = process.hub.challenges.indexed(&dns_value_entry(challenge));
        if others.iter().any(|other| other.metadata.uid != challenge.metadata.uid && wants_value(other)) {
            process.changes.remove(&Key { kind: Kind::Challenge, object: ObjectName::of(challenge) });
            return Ok(());
        }
        made_by_now(process, world, challenge, true)?;
        return world.dns(|records, _| {
            records.remove(&record);
        });
    }
    let (hub, entry) = (&process.hub, owner_entry(&challenge.uid().unwrap_or_default()));
    for ingress in hub.solver_ingresses.indexed(&entry) {
        world.api_delete(hub, &*ingress)?;
    }
    for service in hub.solver_services.indexed(&entry) {
        world.api_delete(hub, &*service)?;
    }
    for pod in hub.solver_pods.indexed(&entry) {
        world.api_delete(hub, &*pod)?;
    }
    Ok(())
}

fn accept(world: &mut World, challenge: &Challenge, memory: &mut Memory) -> Result<(), Failure> {
    let url = challenge.spec.url.clone();
    if let Err(failure) = world.ask("Error accepting challenge", |ca, _| ca.accept(&url)) {
        memory.challenge = None;
        if matches!(failure, Failure::Trouble { class: TroubleClass::Final, .. }) {
            match read(world, challenge, memory) {
                Ok(()) if is_accepted(memory) => return Ok(()),
                Err(unknown) if !matches!(unknown, Failure::Trouble { class: TroubleClass::Final, .. }) => {
                    return Err(unknown);
                }
                _ => {}
            }
        }
        return Err(failure);
    }
    memory.trouble = None;
    memory.looks = 0;
    let (status, now) = (state::PENDING.to_owned(), world.now());
    let next_look = next_look(0, world.ca.retry_after, now);
    memory.challenge = Some(CaChallenge { status, accepted: true, problem: None, next_look });
    Ok(())
}

fn is_accepted(memory: &Memory) -> bool {
    memory.challenge.as_ref().is_some_and(|known| known.accepted || known.status != state::PENDING)
}

fn read(world: &mut World, challenge: &Challenge, memory: &mut Memory) -> Result<(), Failure> {
    let url = challenge.spec.authorization_url.clone();
    let known = world.ask("Failed to retrieve the authorization", |ca, seen| ca.authorization(&url, seen))?;
    let accepted = known.accepted_at.is_some() || memory.challenge.as_ref().is_some_and(|former| former.accepted);
    memory.looks = memory.looks.saturating_add(1);
    let now = world.now();
    let next_look = if accepted { next_look(memory.looks, world.ca.retry_after, now) } else { now + CA_LEFT_ALONE };
    memory.challenge =
        Some(CaChallenge { status: known.state.to_owned(), accepted, problem: known.problem, next_look });
    if is_accepted(memory) {
        memory.trouble = None;
    }
    Ok(())
}
