//! Spans that are kept, in a program with traces.

use std::{
    borrow::Cow,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::SystemTime,
};

use futures::future::Either;
use opentelemetry::{
    Context, KeyValue,
    context::{FutureExt, WithContext},
    trace::{SpanBuilder, SpanKind, Status, TraceContextExt, Tracer},
};
use opentelemetry_sdk::trace::SdkTracer;

use super::issuance;

/// The longest text in a span, in bytes.
const LONGEST_TEXT: usize = 1024;

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// From now on spans are kept and given to this tracer. The first one remains.
pub fn listen(tracer: SdkTracer) {
    let _ = TRACER.set(tracer);
}

/// Whether anybody listens.
pub fn is_heard() -> bool {
    TRACER.get().is_some()
}

/// Work with what it is a part of.
pub type Within<F> = Either<WithContext<F>, F>;

/// A place in a trace, for work that goes on elsewhere.
#[derive(Clone, Debug)]
pub struct Here(Option<Context>);

impl Here {
    /// What is under way on this thread.
    pub fn now() -> Self {
        let now = TRACER.get().map(|_| Context::current());
        Self(now.filter(|now| now.span().span_context().is_sampled()))
    }

    /// What `work` begins are parts of it.
    pub fn within<F: Future>(&self, work: F) -> Within<F> {
        match &self.0 {
            Some(context) => Either::Left(work.with_context(context.clone())),
            None => Either::Right(work),
        }
    }
}

/// Something that takes its time, from its making on until it is dropped.
#[derive(Debug)]
pub struct Span(Here);

/// Writes to the API server during a pass.
#[derive(Clone, Default)]
struct Writes(Arc<AtomicI64>);

impl Span {
    /// A pass over an object, for an issuance if there is one (the UID of the CertificateRequest). It is part of nothing else.
    pub fn pass(name: &'static str, issuance: Option<&str>) -> Self {
        let Some(tracer) = TRACER.get() else { return Self::none() };
        let parent = issuance.map_or_else(Context::new, issuance::parent);
        let span = tracer.build_with_context(SpanBuilder::from_name(name), &parent);
        Self::kept(&parent.with_value(Writes::default()), span)
    }

    /// A part of what is under way; nothing if nothing is.
    pub fn part(name: &'static str) -> Self {
        Self::part_of(&Here::now(), name)
    }

    /// A part of what was under way there.
    pub fn part_of(whole: &Here, name: &'static str) -> Self {
        Self::made(whole, || SpanBuilder::from_name(name))
    }

    /// Something that is asked of others, as a part of what is under way.
    pub fn call(name: impl FnOnce() -> String) -> Self {
        Self::made(&Here::now(), || SpanBuilder::from_name(bounded(name())).with_kind(SpanKind::Client))
    }

    /// The whole of an issuance, now that it is over. `began` is when its CertificateRequest was made.
    pub fn issuance(issuance: &str, began: SystemTime) -> Self {
        let Some(tracer) = TRACER.get() else { return Self::none() };
        let builder = SpanBuilder::from_name("issuance").with_start_time(began);
        let span = issuance::with_ids_of(issuance, || tracer.build_with_context(builder, &Context::new()));
        Self::kept(&Context::new(), span)
    }

    fn made(whole: &Here, builder: impl FnOnce() -> SpanBuilder) -> Self {
        match (TRACER.get(), &whole.0) {
            (Some(tracer), Some(whole)) => Self::kept(whole, tracer.build_with_context(builder(), whole)),
            _ => Self::none(),
        }
    }

    fn kept(whole: &Context, span: <SdkTracer as Tracer>::Span) -> Self {
        Self(Here(Some(whole.with_span(span))))
    }

    fn none() -> Self {
        Self(Here(None))
    }

    #[must_use]
    pub fn with(self, key: &'static str, text: impl FnOnce() -> String) -> Self {
        self.text(key, text);
        self
    }

    pub fn text(&self, key: &'static str, text: impl FnOnce() -> String) {
        self.set(key, || bounded(text()).into_owned().into());
    }

    pub fn number(&self, key: &'static str, number: impl FnOnce() -> i64) {
        self.set(key, || number().into());
    }

    fn set(&self, key: &'static str, value: impl FnOnce() -> opentelemetry::Value) {
        if let Some(context) = self.recording() {
            context.span().set_attribute(KeyValue::new(key, value()));
        }
    }

    /// A pass tells how much it wrote to the API server so far.
    pub fn tell_writes(&self) {
        if let Some(Writes(count)) = self.recording().and_then(|context| context.get()) {
            self.number("certwright.writes", || count.load(Ordering::Relaxed));
        }
    }

    /// It did not succeed.
    pub fn failed(&self, why: impl FnOnce() -> String) {
        if let Some(context) = self.recording() {
            context.span().set_status(Status::error(bounded(why())));
        }
    }

    /// It turned out to be about this issuance (the UID of the CertificateRequest).
    pub fn belongs_to(&self, issuance: Option<&str>) {
        if let (Some(context), Some(issuance)) = (self.recording(), issuance) {
            let of_issuance = issuance::span_context(issuance);
            if context.span().span_context().trace_id() != of_issuance.trace_id() {
                context.span().add_link(of_issuance, Vec::new());
            }
            self.text("certwright.issuance", || issuance.to_owned());
        }
    }

    /// What `work` begins are parts of it.
    pub fn around<F: Future>(&self, work: F) -> Within<F> {
        self.0.within(work)
    }

    /// Whether somebody will see it.
    pub fn is_kept(&self) -> bool {
        self.recording().is_some()
    }

    fn recording(&self) -> Option<&Context> {
        self.0.0.as_ref().filter(|context| context.span().is_recording())
    }
}

impl Drop for Span {
    /// What has become of its parts may be awaited still, so it is not left to the last who holds it.
    fn drop(&mut self) {
        if let Some(context) = self.recording() {
            context.span().end();
        }
    }
}

/// Something failed in what is under way.
pub fn note_failure(class: &'static str, message: impl FnOnce() -> String) {
    let here = Here::now();
    if let Some(context) = &here.0 {
        let message = bounded(message()).into_owned();
        context.span().add_event("step failed", vec![KeyValue::new("class", class), KeyValue::new("message", message)]);
    }
}

/// The pass that is under way wrote to the API server.
pub fn wrote() {
    if TRACER.get().is_some() {
        Context::map_current(|now| {
            if let Some(Writes(count)) = now.get() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
}

fn bounded(mut text: String) -> Cow<'static, str> {
    if text.len() > LONGEST_TEXT {
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
    }
    text.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::{
        error::OTelSdkResult,
        trace::{SdkTracerProvider, SpanData, SpanExporter},
    };

    use super::*;
    use crate::measure::span::Ids;

    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    impl Kept {
        fn one(&self, name: &str) -> SpanData {
            let kept = self.0.lock().unwrap();
            let named: Vec<_> = kept.iter().filter(|span| span.name == name).collect();
            assert_eq!(named.len(), 1, "{name}: {kept:#?}");
            named[0].clone()
        }
    }

    fn attribute(span: &SpanData, key: &str) -> String {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
        found.map(|attribute| attribute.value.to_string()).unwrap_or_default()
    }

    /// All in one, for there is one listener in a process.
    #[tokio::test]
    async fn what_is_under_way_is_kept_with_its_parts() {
        wrote();
        assert!(!Span::pass("unheard", None).is_kept());
        let kept = Kept::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(kept.clone());
        listen(provider.with_id_generator(Ids::default()).build().tracer("test"));

        assert!(!Span::part("alone").is_kept(), "what is part of nothing is not kept");
        let pass = Span::pass("pass", Some("uid"));
        let elsewhere = pass
            .around(async {
                let call = Span::call(|| "call".to_owned()).with("long", || "ä".repeat(1000));
                call.around(async { wrote() }).await;
                call.failed(|| "refused".to_owned());
                note_failure("final", || "no way".to_owned());
                Here::now()
            })
            .await;
        pass.tell_writes();
        drop(pass);
        elsewhere.within(async { drop(Span::part("later")) }).await;
        drop(Span::issuance("uid", SystemTime::UNIX_EPOCH));
        let other = Span::pass("other", None);
        other.belongs_to(Some("uid"));
        drop(other);

        let (pass, whole) = (kept.one("pass"), kept.one("issuance"));
        assert_eq!(pass.parent_span_id, whole.span_context.span_id());
        assert_eq!(pass.span_context.trace_id(), whole.span_context.trace_id());
        assert_eq!((attribute(&pass, "certwright.writes"), pass.events.len()), ("1".to_owned(), 1));
        let call = kept.one("call");
        assert_eq!((call.parent_span_id, call.span_kind.clone()), (pass.span_context.span_id(), SpanKind::Client));
        assert_eq!(call.status, Status::error("refused"));
        assert_eq!(attribute(&call, "long").len(), LONGEST_TEXT);
        assert_eq!(kept.one("later").parent_span_id, pass.span_context.span_id(), "also when it has ended");
        let other = kept.one("other");
        assert_ne!(other.span_context.trace_id(), whole.span_context.trace_id());
        assert_eq!(other.links[0].span_context.trace_id(), whole.span_context.trace_id());
        assert_eq!(attribute(&other, "certwright.issuance"), "uid");
    }
}
