//! What a solver's settings refer to: Secrets, tokens of service accounts, the controller's surroundings.

use std::sync::Arc;

use kube::ResourceExt;
use reqwest::Client;

use crate::{
    api::{
        Challenge, SecretKeySelector, Sensitive,
        dns01::Dns01Solver,
        names::{KIND_CLUSTER_ISSUER, annotation},
        solver::secret_names,
    },
    cluster::ObjectName,
    controller::{Context, held_issuer::HeldIssuer, step_error::StepError},
    decide::secret,
    dns::{
        provider::{ProviderError, endpoints::Endpoints},
        resolver::Resolver,
    },
};

/// How the Secrets of one Challenge's solver are read.
pub(super) struct Credentials<'a> {
    pub(super) context: &'a Context,
    /// Where the Secrets and service accounts lie.
    pub(super) namespace: String,
    /// Whether the credentials of the controller's surroundings may be used.
    pub(super) ambient: bool,
    issuer: HeldIssuer,
    challenge: &'a Challenge,
}

impl<'a> Credentials<'a> {
    pub(super) fn of(context: &'a Context, challenge: &'a Challenge) -> Self {
        let ambient = context.options.ambient;
        let ambient = match challenge.spec.issuer_ref.kind_or_default() {
            KIND_CLUSTER_ISSUER => ambient.for_cluster_issuers,
            _ => ambient.for_issuers,
        };
        let namespace = challenge.namespace().unwrap_or_default();
        let issuer = HeldIssuer::look_up(&context.cluster.hub, &challenge.spec.issuer_ref, &namespace);
        Self { context, namespace: secrets_namespace(context, challenge), ambient, issuer, challenge }
    }

    pub(super) fn http(&self) -> Result<&Client, StepError> {
        self.context.providers.http()
    }

    /// For what the provider looks up itself.
    pub(super) fn resolver(&self) -> Result<Arc<Resolver>, StepError> {
        self.context.resolvers.of(self.challenge)
    }

    pub(super) fn endpoints(&self) -> &Endpoints {
        &self.context.providers.endpoints
    }

    /// What the role of a Route 53 solver asks for besides, which the API has no field for.
    pub(super) fn aws_external_id(&self) -> Option<String> {
        let id = self.issuer.annotation(annotation::AWS_EXTERNAL_ID)?.trim();
        Some(id.to_owned()).filter(|id| !id.is_empty())
    }

    /// The text under a Secret's entry, without white space around it, which editors and `echo` leave.
    ///
    /// `what` says what it is, such as `the API token`.
    ///
    /// # Errors
    ///
    /// It may be created later, so that it is not there is no lasting failure.
    pub(super) async fn text(&self, selector: &SecretKeySelector, what: &str) -> Result<Sensitive, StepError> {
        let name = ObjectName::new(&self.namespace, &selector.name);
        let entry = selector.key.as_deref().unwrap_or_default();
        let held = self.context.cluster.secrets.get(&name).await?;
        let value = held.as_deref().and_then(|held| secret::entry(held, entry));
        let Some(value) = value else {
            return Err(StepError::transient(format!(
                "The Secret {name} with {what} does not exist or has nothing under {entry:?}"
            )));
        };
        match std::str::from_utf8(value) {
            Ok(text) => Ok(text.trim().into()),
            Err(_) => Err(StepError::transient(format!(
                "The Secret {name} holds no text under {entry:?}, where {what} should be"
            ))),
        }
    }

    /// Changes whenever one of the Secrets does that the solver refers to, or what an annotation adds to it.
    pub(super) async fn version(&self, solver: &Dns01Solver) -> Result<String, StepError> {
        let mut version = String::new();
        if let Some(id) = solver.route53.as_ref().and_then(|_| self.aws_external_id()) {
            version = format!("{id} ");
        }
        for name in secret_names(solver) {
            let secret = self.context.cluster.secrets.get(&ObjectName::new(&self.namespace, &name)).await?;
            version.push_str(secret.and_then(|secret| secret.resource_version()).as_deref().unwrap_or("none"));
            version.push(' ');
        }
        Ok(version)
    }
}

/// What Secrets and settings gave cannot be used. A corrected Secret is looked at again.
pub(super) fn unusable(part: &str, error: &ProviderError) -> StepError {
    StepError::transient(format!("The solver's {part} cannot be used: {error}"))
}

/// Where the Secrets lie that the solver refers to: by the reference to the issuer alone, because the issuer may be gone
/// when it comes to cleaning up.
fn secrets_namespace(context: &Context, challenge: &Challenge) -> String {
    match challenge.spec.issuer_ref.kind_or_default() {
        KIND_CLUSTER_ISSUER => context.options.cluster_resource_namespace.clone(),
        _ => challenge.namespace().unwrap_or_default(),
    }
}
