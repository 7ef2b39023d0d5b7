//! Registering an issuer's account at its CA, and bringing what the CA knows of it up to date.

use super::{Context, account::read_account_key, step_error::StepError};
use crate::{
    acme::{
        self, Account, AccountStatus, Client, ExternalAccountBinding, MacAlgorithm, Registration as AcmeRegistration,
    },
    api::issuer::{AcmeIssuer, AcmeIssuerStatus},
    cluster::ObjectName,
    decide::{
        external_account,
        issuer::{Registration, contact_email, doing},
    },
    pki::PrivateKey,
};

/// Makes the account, or finds it by its key, and sees to it that the CA has the e-mail address. `former` is what the
/// issuer's status tells of the account.
pub(super) async fn register(
    context: &Context,
    acme: &AcmeIssuer,
    namespace: &str,
    former: Option<&AcmeIssuerStatus>,
) -> Result<Registration, StepError> {
    let key = read_account_key(context, acme, namespace).await?.map_err(StepError::transient)?;
    let client = context.accounts.client(acme).map_err(|error| StepError::from_acme(doing::REGISTER, &error))?;
    let email = contact_email(acme);
    let contacts = contacts(&email);
    let account = find_or_make(context, acme, namespace, &client, &key, &contacts).await?;
    if account.body.status != AccountStatus::Valid {
        let (url, status) = (&account.url, &account.body.status);
        let advice = advice_on_refused(acme, namespace);
        let text = format!("{}: the CA says that the account {url} is {status}{advice}", doing::VERIFY);
        return Err(StepError::is_final(text));
    }
    if needs_update(&account, &contacts, &email, former) {
        client
            .update_contacts(&key, &account.url, &contacts)
            .await
            .map_err(|error| StepError::from_acme(doing::UPDATE, &error).for_issuer())?;
    }
    let terms = client.directory().await.ok().and_then(|directory| directory.meta.terms_of_service.clone());
    Ok(Registration { uri: account.url, email, agreed_terms: terms.filter(|_| account.created) })
}

async fn find_or_make(
    context: &Context,
    acme: &AcmeIssuer,
    namespace: &str,
    client: &Client,
    key: &PrivateKey,
    contacts: &[String],
) -> Result<Account, StepError> {
    let failed = |error: acme::Error| failed(&error, acme, namespace);
    let directory = client.directory().await.map_err(failed)?;
    if acme.external_account_binding.is_none() && directory.meta.external_account_required {
        // An account that was made elsewhere needs no binding any more.
        return client.find_account(key).await.map_err(failed)?.ok_or_else(|| unbound(acme));
    }
    let registration = AcmeRegistration {
        contacts: contacts.to_vec(),
        external_account_binding: external_account_binding(context, acme, namespace).await?,
        terms_of_service_agreed: true,
    };
    client.register(key, &registration).await.map_err(failed)
}

fn contacts(email: &str) -> Vec<String> {
    Some(email).filter(|email| !email.is_empty()).map(|email| format!("mailto:{email}")).into_iter().collect()
}

/// Some CAs do not show contacts at all. Those are told when the address in the issuer is another than it last was.
fn needs_update(account: &Account, contacts: &[String], email: &str, former: Option<&AcmeIssuerStatus>) -> bool {
    let shown = &account.body.contacts;
    if account.created {
        return false;
    }
    if shown.is_empty() {
        let former = former.filter(|former| former.uri.as_deref() == Some(&account.url));
        return former.is_some_and(|former| {
            !former.last_registered_email.as_deref().unwrap_or_default().eq_ignore_ascii_case(email)
        });
    }
    shown.len() != contacts.len() || shown.iter().zip(contacts).any(|(one, other)| !one.eq_ignore_ascii_case(other))
}

fn unbound(acme: &AcmeIssuer) -> StepError {
    StepError::is_final(format!(
        "{}: the CA at {} makes accounts only for those who have one there already; put the key ID and the HMAC key that \
         it gives you into spec.acme.externalAccountBinding",
        doing::REGISTER,
        acme.server
    ))
}

/// The CA's words, with what to do about them.
fn failed(error: &acme::Error, acme: &AcmeIssuer, namespace: &str) -> StepError {
    if error.is_transient() {
        return StepError::from_acme(doing::REGISTER, error);
    }
    let problem = error.problem();
    let (doing, advice) = if problem.is_some_and(acme::Problem::account_is_refused) {
        (doing::VERIFY, advice_on_refused(acme, namespace))
    } else if problem.is_some_and(may_be_for_its_binding) {
        let place = binding_secret(acme, namespace).map(|name| name.to_string()).unwrap_or_default();
        (doing::REGISTER, external_account::advice(acme, &place))
    } else {
        (doing::REGISTER, String::new())
    };
    StepError::is_final(format!("{doing}: {error}{advice}"))
}

fn may_be_for_its_binding(problem: &acme::Problem) -> bool {
    ["unauthorized", "malformed", "externalAccountRequired", "badSignatureAlgorithm"]
        .iter()
        .any(|kind| problem.is(kind))
}

fn advice_on_refused(acme: &AcmeIssuer, namespace: &str) -> String {
    let name = ObjectName::new(namespace, &acme.private_key_secret_ref.name);
    format!("; it cannot be used any more: delete the Secret {name} with its key to have a new account made")
}

fn binding_secret(acme: &AcmeIssuer, namespace: &str) -> Option<ObjectName> {
    let binding = acme.external_account_binding.as_ref()?;
    Some(ObjectName::new(namespace, &binding.key_secret_ref.name))
}

async fn external_account_binding(
    context: &Context,
    acme: &AcmeIssuer,
    namespace: &str,
) -> Result<Option<ExternalAccountBinding>, StepError> {
    let (Some(binding), Some(name)) = (&acme.external_account_binding, binding_secret(acme, namespace)) else {
        return Ok(None);
    };
    let wrong = |why: String| StepError::is_final(format!("{}: {why}", doing::REGISTER));
    let held = context.cluster.secrets.get(&name).await?;
    let mac_key = external_account::mac_key(binding, held.as_deref(), &name.to_string()).map_err(wrong)?;
    let named = external_account::algorithm(binding);
    let algorithm = MacAlgorithm::from_name(named).ok_or_else(|| {
        wrong(format!("spec.acme.externalAccountBinding.keyAlgorithm is {named:?}; use HS256, HS384 or HS512"))
    })?;
    Ok(Some(ExternalAccountBinding { key_id: binding.key_id.clone(), mac_key, algorithm }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::account::AccountBody;

    fn account(created: bool, shown: &[&str]) -> Account {
        let contacts = shown.iter().map(ToString::to_string).collect();
        let body = AccountBody { status: AccountStatus::Valid, contacts, orders: None };
        Account { url: "ca/1".into(), created, body }
    }

    fn told(email: Option<&str>) -> AcmeIssuerStatus {
        let last_registered_email = email.map(str::to_owned);
        AcmeIssuerStatus { uri: Some("ca/1".into()), last_registered_email, last_private_key_hash: None }
    }

    #[test]
    fn the_ca_is_told_of_another_address_only() {
        let email = "a@example.com";
        let needs = |account: &Account, former: Option<&AcmeIssuerStatus>| {
            needs_update(account, &contacts(email), email, former)
        };
        assert!(!needs(&account(true, &[]), None), "it was made with it");
        assert!(!needs(&account(false, &["mailto:A@Example.com"]), None), "case does not matter");
        assert!(needs(&account(false, &["mailto:b@example.com"]), None));
        assert!(needs(&account(false, &["mailto:a@example.com", "mailto:b@example.com"]), None));
        // Not shown.
        assert!(!needs(&account(false, &[]), None));
        assert!(!needs(&account(false, &[]), Some(&told(Some(email)))));
        assert!(needs(&account(false, &[]), Some(&told(Some("b@example.com")))));
        assert!(needs(&account(false, &[]), Some(&told(None))));
    }
}
