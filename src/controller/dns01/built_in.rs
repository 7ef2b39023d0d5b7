//! Webhook solvers of our own group, which are answered in this process.

use super::credentials::Credentials;
use crate::{
    api::{Sensitive, dns01},
    controller::step_error::StepError,
    dns::provider::{
        Provider,
        built_in::{BuiltIn, ConfigError, Given, Settings, Tools},
    },
};

pub(super) async fn make(
    credentials: &Credentials<'_>,
    solver: &dns01::WebhookSolver,
) -> Result<Box<dyn Provider>, StepError> {
    let wrong = |error: &ConfigError| format!("The solver's dns01.webhook is wrong: {error}");
    let is_final = |error: ConfigError| StepError::is_final(wrong(&error));
    let built_in = BuiltIn::named(&solver.solver_name).map_err(is_final)?;
    let given = built_in.read(solver.config.as_ref().map(Sensitive::expose)).map_err(is_final)?;
    let mut settings = Settings::default();
    for (name, given) in &given {
        let value = match given {
            Given::Text(text) => text.as_str().into(),
            Given::Secret(selector) => credentials.text(selector, &format!("the {name} of {}", built_in.name)).await?,
        };
        settings.set(name, value);
    }
    (built_in.make)(&Tools { http: credentials.http()? }, &settings).map_err(|error| {
        let is_in_secret =
            |(name, given): &(&str, Given)| error.setting() == Some(*name) && matches!(given, Given::Secret(_));
        // Whoever corrects a Secret need not touch the issuer.
        if given.iter().any(is_in_secret) { StepError::transient(wrong(&error)) } else { is_final(error) }
    })
}
