//! Settings of `dns01.route53`: the order in which credentials are looked for is cert-manager's.

use std::sync::Arc;

use async_trait::async_trait;

use super::credentials::Credentials;
use crate::{
    api::{SecretKeySelector, dns01, reference::ServiceAccountReference},
    cloud::aws::{
        self, CredentialsError, Held, Source,
        ambient::Environment,
        partition::{Endpoint, Region, RegionError},
        sts::{AssumedRole, IdentityToken, Role, Sts, WebIdentity},
    },
    cluster::{ApiError, Cluster, ObjectName},
    controller::step_error::StepError,
    dns::provider::{Provider, route53::Route53},
};

/// The audience of service accounts' tokens, unless they name others.
const AUDIENCE: &str = "sts.amazonaws.com";

/// How long such a token lasts, in seconds: the shortest time there is. It is used at once.
const TOKEN_SECONDS: i64 = 600;

pub(super) async fn make(
    credentials: &Credentials<'_>,
    settings: &dns01::Route53,
) -> Result<Box<dyn Provider>, StepError> {
    let environment = Environment::own();
    let own = Own::read(credentials, settings).await?;
    let environments = if credentials.ambient { environment.region() } else { Ok(Region::default()) };
    let region = environments.and_then(|environments| region(settings.region.as_deref(), environments, &own));
    let region = region.map_err(|error| wrong(&error))?;
    let at = |service: &str, variable: &str, endpoint: Endpoint| {
        let vendors = environment.endpoint(variable).unwrap_or(endpoint.url);
        Endpoint { url: credentials.endpoints().of(service, &vendors), region: endpoint.region }
    };
    let sts = Sts { http: credentials.http()?.clone(), endpoint: at("sts", "STS", region.sts()) };
    let held = held(credentials, settings, &environment, own, &sts)?;
    let endpoint = at("route53", "ROUTE_53", region.route53());
    let zone = settings.hosted_zone_id.as_deref();
    let provider = Route53::new(credentials.http()?.clone(), endpoint, held, zone).map_err(|error| wrong(&error))?;
    Ok(Box::new(provider))
}

/// What the settings themselves say of who we are.
enum Own {
    Keys(aws::Credentials),
    Account(ServiceAccountReference),
    Nothing,
}

impl Own {
    async fn read(credentials: &Credentials<'_>, settings: &dns01::Route53) -> Result<Self, StepError> {
        if let Some(auth) = &settings.auth {
            return Ok(Self::Account(auth.kubernetes.service_account_ref.clone()));
        }
        let id = match named(settings.access_key_id_secret_ref.as_ref()) {
            Some(selector) => text(credentials, selector, "the id of the AWS access key").await?,
            None => settings.access_key_id.as_deref().unwrap_or_default().trim().to_owned(),
        };
        let secret = match named(settings.secret_access_key_secret_ref.as_ref()) {
            Some(selector) => text(credentials, selector, "the AWS secret access key").await?,
            None => String::new(),
        };
        Self::keys(&id, &secret)
    }

    /// Either may be empty.
    fn keys(id: &str, secret: &str) -> Result<Self, StepError> {
        match (id.is_empty(), secret.is_empty()) {
            (true, true) => Ok(Self::Nothing),
            (false, false) => Ok(Self::Keys(aws::Credentials::lasting(id, secret))),
            (false, true) => Err(wrong("there is the id of an access key, but no secretAccessKeySecretRef")),
            (true, false) => {
                Err(wrong("there is a secret access key, but neither accessKeyID nor accessKeyIDSecretRef"))
            }
        }
    }
}

/// What a Secret holds, which is not nothing.
async fn text(credentials: &Credentials<'_>, selector: &SecretKeySelector, what: &str) -> Result<String, StepError> {
    let text = credentials.text(selector, what).await?.expose().clone();
    if text.is_empty() {
        let name = ObjectName::new(&credentials.namespace, &selector.name);
        return Err(StepError::transient(format!("The Secret {name} holds only white space where {what} should be")));
    }
    Ok(text)
}

/// A reference without a name counts as none: cert-manager writes such ones.
fn named(selector: Option<&SecretKeySelector>) -> Option<&SecretKeySelector> {
    selector.filter(|selector| !selector.name.is_empty())
}

/// The environment's goes before the solver's where its credentials are used, because whoever set up the one set up the other.
fn region(solvers: Option<&str>, environments: Region, own: &Own) -> Result<Region, RegionError> {
    let solvers = Region::new(solvers.unwrap_or_default())?;
    let prefers_environments = matches!(own, Own::Nothing) && !environments.is_none();
    Ok(if solvers.is_none() || prefers_environments { environments } else { solvers })
}

fn held(
    credentials: &Credentials<'_>,
    settings: &dns01::Route53,
    environment: &Environment,
    own: Own,
    sts: &Sts,
) -> Result<Arc<Held>, StepError> {
    let role = settings.role.as_deref().map(str::trim).filter(|role| !role.is_empty()).map(Role::new);
    let base: Box<dyn Source> = match own {
        Own::Account(account) => {
            let role = role.ok_or_else(|| wrong("auth.kubernetes needs the role to take on, in role"))?;
            let token = Box::new(AccountToken::new(credentials, account));
            return Ok(Held::new(Box::new(WebIdentity { sts: sts.clone(), role, token })));
        }
        Own::Keys(keys) => Box::new(keys),
        Own::Nothing if credentials.ambient => environment.source(sts.clone()).map_err(|error| unprepared(&error))?,
        Own::Nothing => {
            return Err(unprepared(
                "there are neither keys nor auth, and Issuers may not use the controller's own AWS credentials \
                 (--issuer-ambient-credentials)",
            ));
        }
    };
    let base = Held::new(base);
    Ok(match role {
        Some(role) => {
            let role = Role { external_id: credentials.aws_external_id(), ..role };
            Held::new(Box::new(AssumedRole { sts: sts.clone(), role, base }))
        }
        None => base,
    })
}

/// The token of a service account, asked for whenever credentials are.
struct AccountToken {
    cluster: Cluster,
    account: ObjectName,
    audiences: Vec<String>,
}

impl AccountToken {
    fn new(credentials: &Credentials<'_>, account: ServiceAccountReference) -> Self {
        let audiences = if account.audiences.is_empty() { vec![AUDIENCE.to_owned()] } else { account.audiences };
        let account = ObjectName::new(&credentials.namespace, &account.name);
        Self { cluster: credentials.context.cluster.clone(), account, audiences }
    }
}

#[async_trait]
impl IdentityToken for AccountToken {
    async fn token(&self) -> Result<String, CredentialsError> {
        let asked = self.cluster.service_account_token(&self.account, self.audiences.clone(), TOKEN_SECONDS).await;
        asked.map(|token| token.expose().clone()).map_err(|error| match error {
            ApiError::Refused { .. } => CredentialsError::Refused(format!(
                "{error}; let the controller create serviceaccounts/token of {}",
                self.account
            )),
            _ => CredentialsError::Transient(error.to_string()),
        })
    }
}

/// The operator can set that right without anybody touching the solver.
fn unprepared(what: impl std::fmt::Display) -> StepError {
    StepError::transient(format!("The solver's dns01.route53 cannot be used as the controller is set up: {what}"))
}

fn wrong(what: impl std::fmt::Display) -> StepError {
    StepError::is_final(format!("The solver's dns01.route53 cannot be used: {what}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_key_is_told() {
        assert!(matches!(Own::keys("", "").unwrap(), Own::Nothing));
        assert!(matches!(Own::keys("AKIDEXAMPLE", "secret").unwrap(), Own::Keys(_)));
        let told = |id, secret| format!("{:?}", Own::keys(id, secret).err());
        assert!(told("AKIDEXAMPLE", "").contains("no secretAccessKeySecretRef"), "{}", told("AKIDEXAMPLE", ""));
        assert!(told("", "secret").contains("neither accessKeyID nor"), "{}", told("", "secret"));
    }

    #[test]
    fn a_reference_without_a_name_is_none() {
        let selector = |name: &str| SecretKeySelector { name: name.to_owned(), ..SecretKeySelector::default() };
        assert_eq!(named(Some(&selector(""))), None);
        assert_eq!(named(Some(&selector("aws"))), Some(&selector("aws")));
    }

    #[test]
    fn the_region_belongs_to_the_credentials() {
        let own = || Own::keys("AKIDEXAMPLE", "secret").unwrap();
        let named = |name: &str| Region::new(name).unwrap();
        for (solvers, environments, own, expected) in [
            (Some("eu-west-1"), "us-west-2", own(), "eu-west-1"),
            (Some("eu-west-1"), "us-west-2", Own::Nothing, "us-west-2"),
            (Some("eu-west-1"), "", Own::Nothing, "eu-west-1"),
            (None, "us-west-2", own(), "us-west-2"),
            (None, "", Own::Nothing, ""),
        ] {
            assert_eq!(region(solvers, named(environments), &own).unwrap(), named(expected));
        }
        assert!(region(Some("a.b"), Region::default(), &own()).is_err());
    }
}
