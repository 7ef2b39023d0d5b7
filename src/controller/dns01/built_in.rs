//! Webhook solvers of our own group, which are answered in this process.

use super::credentials::Credentials;
use crate::{
    api::dns01,
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
    let wrong = |error: ConfigError| StepError::is_final(format!("The solver's dns01.webhook is wrong: {error}"));
    let built_in = BuiltIn::named(&solver.solver_name).map_err(wrong)?;
    let config = solver.config.as_ref().map(|config| config.expose());
    let mut settings = Settings::default();
    for (name, given) in built_in.read(config).map_err(wrong)? {
        let value = match given {
            Given::Text(text) => text.into(),
            Given::Secret(selector) => credentials.text(&selector, &format!("the {name} of {}", built_in.name)).await?,
        };
        settings.set(name, value);
    }
    (built_in.make)(&Tools { http: credentials.http() }, &settings).map_err(wrong)
}
