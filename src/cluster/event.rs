//! Events that `kubectl describe` shows, sent beside the path of the work.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event as CoreEvent, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client, Resource,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use thiserror::Error;
use tokio::{sync::mpsc, time::timeout};

use super::repeated::{Repeated, Times};
use crate::{api::SourceKind, measure};

/// More waiting events than this are dropped, with a line in the log.
const QUEUE_LENGTH: usize = 10_000;

/// For one answer: other events wait behind it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The API server refuses a longer note.
const LONGEST_NOTE: usize = 1024;

/// Whether an event tells of the usual way or of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    Normal,
    Warning,
}

/// What happened, in words for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    kind: EventKind,
    reason: String,
    note: String,
    regarding: ObjectReference,
}

impl Event {
    pub fn normal(reason: &str, note: impl Into<String>) -> Self {
        Self::new(EventKind::Normal, reason, note.into())
    }

    pub fn warning(reason: &str, note: impl Into<String>) -> Self {
        Self::new(EventKind::Warning, reason, note.into())
    }

    /// Says what the event is about.
    #[must_use]
    pub fn about<K: Resource<DynamicType = ()>>(self, object: &K) -> Self {
        self.about_metadata::<K>(object.meta())
    }

    /// As [`Event::about`], for an object of which only the metadata could be read.
    #[must_use]
    pub fn about_metadata<K: Resource<DynamicType = ()>>(mut self, metadata: &ObjectMeta) -> Self {
        self.regarding = ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(K::kind(&()).into_owned()),
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone(),
            uid: metadata.uid.clone(),
            ..ObjectReference::default()
        };
        self
    }

    /// As [`Event::about_metadata`], for what Certificates are made from.
    #[must_use]
    pub fn about_source(mut self, kind: SourceKind, metadata: &ObjectMeta) -> Self {
        self.regarding = ObjectReference {
            api_version: Some(kind.api_version()),
            kind: Some(kind.kind().to_owned()),
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone(),
            uid: metadata.uid.clone(),
            ..ObjectReference::default()
        };
        self
    }

    fn new(kind: EventKind, reason: &str, note: String) -> Self {
        Self { kind, reason: reason.to_owned(), note: shorten(note), regarding: ObjectReference::default() }
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.regarding.uid, self.kind, &self.reason, &self.note).hash(&mut hasher);
        hasher.finish()
    }

    /// Events about cluster-scoped objects lie in the namespace `default`, as `kubectl` expects.
    fn namespace(&self) -> &str {
        self.regarding.namespace.as_deref().unwrap_or("default")
    }

    fn name(&self, first: Timestamp) -> String {
        event_name(self.regarding.name.as_deref().unwrap_or_default(), self.fingerprint(), first)
    }

    fn to_core(&self, times: Times, now: Timestamp) -> CoreEvent {
        CoreEvent {
            metadata: ObjectMeta {
                namespace: Some(self.namespace().to_owned()),
                name: Some(self.name(times.first)),
                ..ObjectMeta::default()
            },
            count: Some(times.count),
            first_timestamp: Some(Time(times.first)),
            last_timestamp: Some(Time(now)),
            involved_object: self.regarding.clone(),
            message: Some(self.note.clone()),
            reason: Some(self.reason.clone()),
            source: Some(EventSource { component: Some("certwright".to_owned()), ..EventSource::default() }),
            type_: Some(match self.kind {
                EventKind::Normal => "Normal".to_owned(),
                EventKind::Warning => "Warning".to_owned(),
            }),
            ..CoreEvent::default()
        }
    }
}

/// Takes events and sends them in the background; never holds up its caller.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Event>,
}

impl Recorder {
    /// Starts the task that sends; it ends when the last `Recorder` is gone.
    pub fn start(client: Client) -> (Self, tokio::task::JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(QUEUE_LENGTH);
        (Self { sender }, tokio::spawn(send_all(client, receiver)))
    }

    pub fn publish(&self, event: Event) {
        if let Err(error) = self.sender.try_send(event) {
            tracing::warn!(%error, "event dropped");
        }
    }
}

async fn send_all(client: Client, mut receiver: mpsc::Receiver<Event>) {
    let mut sent = Repeated::default();
    while let Some(event) = receiver.recv().await {
        let now = Timestamp::now();
        let Some(times) = sent.happened(event.fingerprint(), now) else { continue };
        let api: Api<CoreEvent> = Api::namespaced(client.clone(), event.namespace());
        if let Err(error) = send(&api, &event, times, now).await {
            tracing::warn!(reason = event.reason, %error, "event not sent");
        }
    }
}

/// Why an event was not sent.
#[derive(Debug, Error)]
enum Unsent {
    #[error(transparent)]
    Refused(#[from] kube::Error),
    #[error("no answer in time")]
    Unanswered,
}

/// One that was sent before is counted on, if it is still there: the API server forgets events after an hour.
async fn send(api: &Api<CoreEvent>, event: &Event, times: Times, now: Timestamp) -> Result<(), Unsent> {
    if times.count > 1 {
        let counted = Patch::Merge(json!({"count": times.count, "lastTimestamp": Time(now)}));
        let (name, params) = (event.name(times.first), PatchParams::default());
        match measured("patch", api.patch(&name, &params, &counted)).await {
            Err(Unsent::Refused(kube::Error::Api(refusal))) if refusal.code == 404 => {}
            outcome => return outcome,
        }
    }
    measured("create", api.create(&PostParams::default(), &event.to_core(times, now))).await
}

async fn measured<T>(verb: &'static str, call: impl Future<Output = Result<T, kube::Error>>) -> Result<(), Unsent> {
    let outcome = timeout(TIMEOUT, call).await.map_err(|_| Unsent::Unanswered).and_then(|answer| Ok(answer?));
    let word = match &outcome {
        Ok(_) => "ok",
        Err(Unsent::Refused(_)) => "refused",
        Err(Unsent::Unanswered) => "unavailable",
    };
    measure::api_write("Event".to_owned(), verb, word);
    outcome.map(drop)
}

fn event_name(object: &str, fingerprint: u64, now: Timestamp) -> String {
    let object: String = object.chars().take(200).collect();
    // What is cut off must not leave a name that the API server refuses.
    let object = object.trim_end_matches(['-', '.']);
    format!("{object}.{:x}{:08x}", now.as_millisecond(), fingerprint & 0xffff_ffff)
}

fn shorten(mut note: String) -> String {
    if note.len() > LONGEST_NOTE {
        let mut end = LONGEST_NOTE - 3;
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
        note.push_str("...");
    }
    note
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::{net::TcpListener, time::Instant};

    use super::*;

    /// The clock jumps ahead whenever nothing else is left to do.
    #[tokio::test(start_paused = true)]
    async fn an_event_that_is_not_answered_holds_up_others_for_a_while_only() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", silent.local_addr().unwrap()).parse().unwrap();
        let (recorder, sending) = Recorder::start(Client::try_from(kube::Config::new(address)).unwrap());
        recorder.publish(Event::warning("Failed", "a"));
        recorder.publish(Event::warning("Failed", "b"));
        drop(recorder);
        let since = Instant::now();
        sending.await.unwrap();
        assert!((2 * TIMEOUT..3 * TIMEOUT).contains(&since.elapsed()), "{:?}", since.elapsed());
    }

    #[test]
    fn a_long_note_is_cut_at_a_character() {
        let event = Event::warning("Failed", "é".repeat(2000));
        assert!(event.note.len() <= LONGEST_NOTE);
        assert!(event.note.ends_with("é..."));
    }

    #[test]
    fn a_long_name_is_cut_where_a_name_may_end() {
        let name = event_name(&format!("{}.-b", "a".repeat(198)), 1, Timestamp::UNIX_EPOCH);
        assert_eq!(name, format!("{}.000000001", "a".repeat(198)));
    }

    #[test]
    fn what_is_told_again_has_the_name_and_the_time_of_the_first() {
        let (first, now) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(900).unwrap_or_default());
        let event = Event::warning("Failed", "no");
        let (once, again) =
            (event.to_core(Times { first, count: 1 }, first), event.to_core(Times { first, count: 7 }, now));
        assert_eq!(again.metadata, once.metadata);
        assert_eq!((again.count, again.first_timestamp), (Some(7), once.first_timestamp));
        assert_eq!(again.last_timestamp, Some(Time(now)));
    }

    #[test]
    fn the_note_is_part_of_what_makes_two_events_the_same() {
        let event = |note: &str| Event::normal("Issuing", note).fingerprint();
        assert_eq!(event("a"), event("a"));
        assert_ne!(event("a"), event("b"));
    }
}
