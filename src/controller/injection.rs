//! CA injection: gather and act.

use jiff::Timestamp;
use k8s_openapi::{
    api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use kube::{ResourceExt, api::ObjectMeta};

use super::{
    Context,
    memory::Memory,
    round::{Round, event},
    step_error::StepError,
};
use crate::{
    api::{CaSource, InjectionTarget},
    cluster::{Event, Key, ObjectName},
    decide::{
        Note, Wake,
        injection::{InjectionStep, SeenCa, SeenTarget, decide},
    },
};

pub(super) async fn round(
    context: &Context,
    key: &Key,
    target: InjectionTarget,
    memory: &mut Memory,
) -> Result<Round, StepError> {
    let name = &key.object.name;
    let Some(object) = context.cluster.read_injection_target(target, name).await? else {
        *memory = Memory::default();
        return Ok(Round::Rest(Wake::OnChange));
    };
    memory.keep_for(&object.uid().unwrap_or_default());
    let Some(source) = CaSource::of(object.annotations()) else { return Ok(Round::Rest(Wake::OnChange)) };
    let secret_name = secret_name(context, &source);
    let secret = match &secret_name {
        Some(name) => context.cluster.secrets.get(name).await?,
        None => None,
    };
    let shown = secret_name.map(|name| name.to_string());
    let ca = match (&source, &shown) {
        (_, Some(name)) => SeenCa::Secret { name, secret: secret.as_deref() },
        (CaSource::ApiServer, None) => SeenCa::ApiServer(context.options.api_server_ca.as_deref()),
        (CaSource::Certificate { .. }, None) => SeenCa::NoCertificate,
        (CaSource::Secret { .. } | CaSource::Unreadable(_), None) => SeenCa::Nothing,
    };
    let metadata = object.metadata.clone();
    let object = serde_json::to_value(object).unwrap_or_default();
    let decision = decide(&SeenTarget { target, object: &object, source: &source, ca: &ca }, Timestamp::now());
    let mut told = None;
    for step in decision.steps {
        match step {
            InjectionStep::Apply(part) => {
                context.cluster.apply_injection(target, name, &part).await?;
                tracing::info!(%key, "CA bundle injected");
            }
            InjectionStep::Tell(note) => told = Some(note),
        }
    }
    tell(context, key, target, &metadata, told);
    Ok(Round::Rest(decision.wake))
}

/// Where the certificate lies; none if that is no Secret, or not known.
fn secret_name(context: &Context, source: &CaSource) -> Option<ObjectName> {
    match source {
        CaSource::Secret { namespace, name } => Some(ObjectName::new(namespace, name)),
        CaSource::Certificate { namespace, name } => {
            let certificate = context.cluster.hub.certificates.get(&ObjectName::new(namespace, name))?;
            Some(ObjectName::new(namespace, &certificate.spec.secret_name))
        }
        CaSource::ApiServer | CaSource::Unreadable(_) => None,
    }
}

/// In the log and in an event, once.
fn tell(context: &Context, key: &Key, target: InjectionTarget, metadata: &ObjectMeta, note: Option<Note>) {
    let is_new = context.cluster.hub.injection_targets.tell(key, note.as_ref().map(|note| note.text.as_str()));
    if let Some(note) = note.filter(|_| is_new) {
        tracing::warn!(%key, reason = note.text, "no CA bundle injected");
        context.cluster.publish(about(event(note), target, metadata));
    }
}

fn about(event: Event, target: InjectionTarget, metadata: &ObjectMeta) -> Event {
    match target {
        InjectionTarget::ApiService => event.about_metadata::<APIService>(metadata),
        InjectionTarget::CustomResourceDefinition => event.about_metadata::<CustomResourceDefinition>(metadata),
        InjectionTarget::MutatingWebhookConfiguration => event.about_metadata::<MutatingWebhookConfiguration>(metadata),
        InjectionTarget::ValidatingWebhookConfiguration => {
            event.about_metadata::<ValidatingWebhookConfiguration>(metadata)
        }
    }
}
