//! Settings of `dns01.route53`.

use super::credentials::Credentials;
use crate::{api::dns01, controller::step_error::StepError, dns::provider::Provider};

pub(super) async fn make(_: &Credentials<'_>, _: &dns01::Route53) -> Result<Box<dyn Provider>, StepError> {
    Err(StepError::is_final("This version of certwright does not write DNS records by dns01.route53 yet"))
}
