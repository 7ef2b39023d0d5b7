//! Presenting the TXT record of a Challenge and taking it away, each over several passes: the place is found and the change is
//! made beside them.

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::{
    Found, Propagation,
    changes::Progress,
    find::{Finder, own_name},
    last_provider,
    pool::Made,
    provider,
};
use crate::{
    api::{Challenge, names::annotation},
    cluster::{Key, Kind, ObjectName, dns_value_entry},
    controller::{
        Context, company,
        step_error::{StepError, signed},
    },
    decide::{
        TroubleClass,
        challenge::{Pending, wants_value},
        place::{Place, noted, to_note},
        progress::Progress as Outcome,
        solver::Method,
    },
    dns::{
        name,
        provider::{Action, Change, DEFAULT_TTL, ProviderError, TxtRecord},
    },
};

/// What the provider refuses, its operator has to put right. A changed Secret is tried at once; what was put right at the
/// provider, after so long.
const REFUSED_WAIT: SignedDuration = SignedDuration::from_mins(10);

/// A change that has waited for so long may be for credentials that were replaced meanwhile.
const LONG: SignedDuration = SignedDuration::from_secs(5);

const PRESENTING: &str = "Error presenting challenge";

/// What errands are about.
const PLACE: &str = "the place of the TXT record";
const OWN_PLACE: &str = "the zone of the TXT record";

/// Makes the record visible to the CA. Doing it twice is as good as doing it once.
///
/// # Errors
///
/// Also that something is under way that wakes the Challenge.
pub(in crate::controller) async fn present(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    let (owner, uid) = identity(challenge);
    match context.records.changes.progress((&owner, &uid), Action::Add) {
        Progress::UnderWay => Err(StepError::Awaiting),
        Progress::Made => Ok(()),
        Progress::None => present_at(context, challenge, find(context, challenge).await?).await,
        Progress::Failed { identity, record, error } => {
            let made = provider(context, challenge).await?;
            if identity != made.identity {
                // The credentials have been replaced meanwhile.
                context.records.changes.forget(&owner);
                return present_at(context, challenge, find(context, challenge).await?).await;
            }
            let found = find_instead(context, challenge, made, &record, &error);
            if !matches!(found, Err(StepError::Awaiting)) {
                context.records.changes.note_told(&owner);
            }
            present_at(context, challenge, found?).await
        }
    }
}

/// The same for a record that was visible, or should have been, and is not.
///
/// # Errors
///
/// As of [`present`].
pub(in crate::controller) async fn present_again(
    context: &Context,
    challenge: &Challenge,
    propagation: &mut Propagation,
) -> Result<(), StepError> {
    if propagation.begins_anew() {
        let (owner, _) = identity(challenge);
        tracing::info!(challenge = %owner, "the TXT record is missing and is written again");
        // What was made before counts no more.
        context.records.changes.note_told(&owner);
    }
    present(context, challenge).await?;
    *propagation = Propagation::of_presented_again();
    Ok(())
}

/// Takes the record away from wherever it may be. That it is gone already is well.
///
/// # Errors
///
/// Also that something is under way that wakes the Challenge.
pub(in crate::controller) async fn clean_up(context: &Context, challenge: &Challenge) -> Result<(), StepError> {
    let ((owner, uid), changes) = (identity(challenge), &context.records.changes);
    if !changes.is_in_call(&owner) && is_wanted_by_another(context, challenge) {
        changes.forget(&owner);
        return Ok(());
    }
    match changes.progress((&owner, &uid), Action::Remove) {
        Progress::UnderWay => return Err(StepError::Awaiting),
        Progress::Made => return Ok(()),
        Progress::Failed { record, error, .. } => {
            changes.note_told(&owner);
            return Err(tried_again(trouble(&left(&record.name, &record.zone), &error)));
        }
        // Whether the record is there is known only when the call that adds it has ended.
        Progress::None if changes.is_in_call(&owner) => return Err(StepError::Awaiting),
        Progress::None => {}
    }
    let own = own_name(challenge)?;
    let made = match provider(context, challenge).await {
        Ok(made) => made,
        // The Issuer's Secret may be gone together with the Challenge; this process may still know what was in it.
        Err(error) => last_provider(context, challenge).ok_or_else(|| naming(&own, error))?,
    };
    let places = match places(context, challenge, &made) {
        Ok(places) => places,
        Err(StepError::Awaiting) => return Err(StepError::Awaiting),
        Err(error) => return Err(tried_again(naming(&own, error))),
    };
    let removal = |place| Change { action: Action::Remove, record: record(challenge, place) };
    let removals: Vec<Change> = places.into_iter().map(removal).collect();
    if removals.is_empty() {
        return Ok(());
    }
    changes.submit((&owner, &uid), &made, removals, false).map_err(|error| trouble(&left(&own, ""), &error))?;
    Err(StepError::Awaiting)
}

/// The change that is under way for the Challenge. One that waits with credentials that have been replaced is forgotten.
pub(in crate::controller) async fn pending(context: &Context, challenge: &Challenge) -> Option<Pending> {
    let ((owner, uid), changes) = (identity(challenge), &context.records.changes);
    let pending = changes.pending((&owner, &uid))?;
    if Timestamp::now().duration_since(pending.since) >= LONG
        && let Some(identity) = changes.waits_with(&owner)
        && provider(context, challenge).await.is_ok_and(|made| made.identity != identity)
    {
        changes.forget(&owner);
        return None;
    }
    Some(pending)
}

async fn present_at(context: &Context, challenge: &Challenge, found: Found) -> Result<(), StepError> {
    let (owner, uid) = identity(challenge);
    note(context, challenge, &found.place).await?;
    let change = Change { action: Action::Add, record: record(challenge, found.place) };
    let company = has_company(context, challenge);
    let submitted = context.records.changes.submit((&owner, &uid), &found.made, vec![change], company);
    submitted.map_err(|error| trouble(PRESENTING, &error))?;
    Err(StepError::Awaiting)
}

async fn find(context: &Context, challenge: &Challenge) -> Result<Found, StepError> {
    let (owner, _) = identity(challenge);
    if let Some(answer) = found(context, &owner, PLACE)? {
        return answer;
    }
    let made = provider(context, challenge).await?;
    let finder = Finder::new(context, challenge, made.provider.clone())?;
    let place = async move { finder.place().await.map(|place| Found { place, made }) };
    Err(context.records.errands.begin(&owner, PLACE.to_owned(), place))
}

/// Another place than the one that was refused, if there is one.
fn find_instead(
    context: &Context,
    challenge: &Challenge,
    made: Made,
    record: &TxtRecord,
    error: &ProviderError,
) -> Result<Found, StepError> {
    let refused = trouble(PRESENTING, error);
    if error.is_transient() || record.name == own_name(challenge)? {
        return Err(refused);
    }
    let ((owner, _), target) = (identity(challenge), record.name.clone());
    let about = format!("a place instead of {}", name::shown(&target));
    if let Some(answer) = found(context, &owner, &about)? {
        return answer;
    }
    let finder = Finder::new(context, challenge, made.provider.clone())?;
    let place = async move { finder.instead_of(&target, refused).await.map(|place| Found { place, made }) };
    Err(context.records.errands.begin(&owner, about, place))
}

/// Everywhere that the record may be.
fn places(context: &Context, challenge: &Challenge, made: &Made) -> Result<Vec<Place>, StepError> {
    let (owner, uid) = identity(challenge);
    let mut places = noted_places(challenge);
    for record in context.records.changes.records((&owner, &uid)) {
        let place = Place { name: record.name, zone: record.zone };
        if !places.contains(&place) {
            places.push(place);
        }
    }
    if !places.is_empty() {
        return Ok(places);
    }
    if let Some(answer) = found(context, &owner, OWN_PLACE)? {
        return answer.map(|found| vec![found.place]);
    }
    let (finder, made) = (Finder::new(context, challenge, made.provider.clone())?, made.clone());
    let place = async move { finder.own_place().await.map(|place| Found { place, made }) };
    Err(context.records.errands.begin(&owner, OWN_PLACE.to_owned(), place))
}

/// What came of looking for this, once.
fn found(context: &Context, owner: &Key, about: &str) -> Result<Option<Result<Found, StepError>>, StepError> {
    let outcome = context.records.errands.outcome(owner, about)?;
    let unfinished = |error| Err(StepError::transient(format!("Failed to find {about}: {error}")));
    Ok(outcome.map(|outcome| outcome.unwrap_or_else(unfinished)))
}

/// What cannot be found anew has to be known to whoever comes later, before it is written.
async fn note(context: &Context, challenge: &Challenge, place: &Place) -> Result<(), StepError> {
    let text = to_note(&noted_places(challenge), &own_name(challenge)?, place);
    if let Some(text) = text {
        context.cluster.write_annotation(challenge, annotation::DNS01_RECORD, &text).await?;
    }
    Ok(())
}

fn noted_places(challenge: &Challenge) -> Vec<Place> {
    noted(challenge.annotations().get(annotation::DNS01_RECORD).map(String::as_str))
}

/// Whether a later Challenge is answered by the same value, and will take it away itself.
fn is_wanted_by_another(context: &Context, challenge: &Challenge) -> bool {
    let others = context.cluster.hub.challenges.indexed(&dns_value_entry(challenge));
    others.iter().any(|other| other.metadata.uid != challenge.metadata.uid && wants_value(other))
}

/// Whether other Challenges of the Order are about to be presented.
fn has_company(context: &Context, challenge: &Challenge) -> bool {
    company::others(context, challenge).iter().any(|sibling| {
        let status = sibling.status.as_ref();
        let is_open = Outcome::of_word(status.and_then(|status| status.state.as_deref())) == Outcome::Open;
        let is_presented = status.is_some_and(|status| status.presented);
        Method::of(sibling) == Some(Method::Dns01) && is_open && !is_presented
    })
}

fn identity(challenge: &Challenge) -> (Key, String) {
    (Key { kind: Kind::Challenge, object: ObjectName::of(challenge) }, challenge.uid().unwrap_or_default())
}

fn record(challenge: &Challenge, place: Place) -> TxtRecord {
    let value = challenge.spec.key.expose().to_owned();
    let domain = challenge.spec.dns_name.trim_start_matches("*.").to_owned();
    TxtRecord { zone: place.zone, name: place.name, domain, value, ttl: DEFAULT_TTL }
}

/// The beginning of a message about a record that stays.
fn left(name: &str, zone: &str) -> String {
    let of = if zone.is_empty() { String::new() } else { format!(" of the zone {}", name::shown(zone)) };
    format!("the TXT record {}{of} could not be removed", name::shown(name))
}

fn naming(own: &str, error: StepError) -> StepError {
    match error {
        StepError::Trouble { class, message, retry_after, hold } => {
            StepError::Trouble { class, message: format!("{}: {message}", left(own, "")), retry_after, hold }
        }
        other => other,
    }
}

/// Clean-up ends after some tries, so they come at their usual times.
fn tried_again(error: StepError) -> StepError {
    match error {
        StepError::Trouble { class, message, hold, .. } => {
            StepError::Trouble { class, message, retry_after: None, hold }
        }
        other => other,
    }
}

pub(super) fn trouble(doing: &str, error: &ProviderError) -> StepError {
    let retry_after = match error {
        ProviderError::Throttled { retry_after, .. } => retry_after.map(signed),
        ProviderError::Refused { .. } | ProviderError::NoZone { .. } => Some(REFUSED_WAIT),
        ProviderError::Transient { .. } => None,
    };
    StepError::Trouble { class: TroubleClass::Transient, message: format!("{doing}: {error}"), retry_after, hold: None }
}
