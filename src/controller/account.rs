//! The ACME accounts of the issuers, ready for use.

use jiff::Timestamp;

use super::{
    Context, account_doubt, account_key::holds_next_key, account_notes::AccountNotes, held_issuer::HeldIssuer,
    recent::Recent, step_error::StepError,
};
use crate::{
    acme::{AccountHandle, Client, Config},
    api::{Issuer, issuer::AcmeIssuer},
    cluster::ObjectName,
    decide::{TroubleClass, issuer::account_key_entry, secret},
    pki::PrivateKey,
};

/// The clients are kept per server and trust, so that directory, nonces and connections are shared; the accounts per
/// key and URL.
pub struct Accounts {
    pub(super) notes: AccountNotes,
    clients: Recent<ClientKey, Client>,
    handles: Recent<String, AccountHandle>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct ClientKey {
    server: String,
    ca_bundle: Option<Vec<u8>>,
    skip_tls_verify: bool,
}

/// More than this are never kept; the next use makes them anew. With a client goes what its CA wants to be spared, so it is
/// those that nobody uses that go.
const MOST_KEPT: usize = 256;

impl Default for Accounts {
    fn default() -> Self {
        let (clients, handles) = (Recent::new(MOST_KEPT), Recent::new(MOST_KEPT));
        Self { notes: AccountNotes::default(), clients, handles }
    }
}

impl Accounts {
    /// The client for an issuer's server.
    pub fn client(&self, acme: &AcmeIssuer) -> Result<Client, crate::acme::Error> {
        let key = ClientKey {
            server: acme.server.clone(),
            ca_bundle: acme.ca_bundle.as_ref().map(|bundle| bundle.0.clone()).filter(|bundle| !bundle.is_empty()),
            skip_tls_verify: acme.skip_tls_verify,
        };
        if let Some(client) = self.clients.get(&key) {
            return Ok(client);
        }
        let client = Client::new(&Config {
            directory_url: key.server.clone(),
            ca_bundle: key.ca_bundle.clone(),
            skip_tls_verify: key.skip_tls_verify,
        })?;
        Ok(self.clients.get_or_keep(key, client))
    }

    /// The keys of accounts have changed: what is signed from now on is signed with what the Secrets hold.
    pub(super) fn forget_handles(&self) {
        self.handles.clear();
    }
}

/// The account of a ready issuer.
pub(super) async fn account_of(
    context: &Context,
    issuer: &HeldIssuer,
    namespace: &str,
) -> Result<AccountHandle, StepError> {
    let Some((spec, status)) = issuer.parts() else {
        return Err(StepError::transient("The issuer is gone"));
    };
    let Some(acme) = &spec.acme else { return Err(StepError::is_final("The issuer is not an ACME issuer")) };
    let account = status.and_then(|status| status.acme.as_ref());
    let Some(url) = account.and_then(|account| account.uri.clone()) else {
        return Err(StepError::transient("The issuer has no account yet"));
    };
    let namespace = secrets_namespace(context, issuer, namespace);
    let secret_name = ObjectName::new(&namespace, &acme.private_key_secret_ref.name);
    if context.accounts.notes.is_changing(&secret_name, Timestamp::now()) {
        return Err(StepError::transient(KEY_IS_CHANGING));
    }
    let hash = account.and_then(|account| account.last_private_key_hash.clone()).unwrap_or_default();
    // The server's trust is in the identity by way of the client, which is compared by what it was made from.
    let trust = (acme.skip_tls_verify, acme.ca_bundle.as_ref().map(|bundle| bundle.0.clone()).unwrap_or_default());
    let identity = format!("{}\n{url}\n{hash}\n{namespace}\n{trust:?}", acme.server);
    if let Some(handle) = context.accounts.handles.get(&identity) {
        return Ok(handle);
    }
    let key = read_account_key(context, acme, &namespace).await?.map_err(StepError::transient)?;
    let held = context.cluster.secrets.get(&secret_name).await?;
    // A former process may have changed the key at the CA; the issuer finds out.
    let is_in_doubt = held.is_some_and(|held| holds_next_key(&held, acme, Some(&url)));
    if is_in_doubt && !context.accounts.notes.is_postponed(&secret_name) {
        return Err(StepError::transient(KEY_IS_CHANGING));
    }
    let client = context.accounts.client(acme).map_err(|error| StepError::from_acme("Failed to set up", &error))?;
    let handle = client.account(key, url);
    Ok(context.accounts.handles.get_or_keep(identity, handle))
}

const KEY_IS_CHANGING: &str = "The key of the issuer's ACME account is being changed";

/// What an error means that came of acting in the name of an issuer's account. One that is about the account itself says
/// nothing against the order: the issuer is looked at, and the order waits.
pub(super) async fn settled(context: &Context, issuer: &HeldIssuer, namespace: &str, error: StepError) -> StepError {
    let (Some((spec, status)), Some(key)) = (issuer.parts(), issuer.key()) else { return error };
    let now = Timestamp::now();
    match error {
        StepError::Account(message) => {
            let url = status.and_then(|status| status.acme.as_ref()?.uri.as_deref());
            if let Some(url) = url {
                account_doubt::raise(context, issuer, &key, url).await;
            }
            StepError::transient(message)
        }
        StepError::Trouble { class: TroubleClass::Final, message, retry_after, hold } => {
            let namespace = secrets_namespace(context, issuer, namespace);
            let secret = spec.acme.as_ref().map(|acme| &acme.private_key_secret_ref.name);
            let is_old_key =
                secret.is_some_and(|name| context.accounts.notes.was_changing(&ObjectName::new(namespace, name), now));
            let class = if is_old_key { TroubleClass::Transient } else { TroubleClass::Final };
            StepError::Trouble { class, message, retry_after, hold }
        }
        other => other,
    }
}

/// Where the Secrets lie that an issuer refers to.
pub(super) fn secrets_namespace(context: &Context, issuer: &HeldIssuer, namespace: &str) -> String {
    match issuer {
        HeldIssuer::ClusterIssuer(_) => context.options.cluster_resource_namespace.clone(),
        HeldIssuer::Issuer(issuer) => namespace_of(issuer),
        _ => namespace.to_owned(),
    }
}

fn namespace_of(issuer: &Issuer) -> String {
    issuer.metadata.namespace.clone().unwrap_or_default()
}

/// The account key; the inner error says in words for users what is wrong with the Secret.
pub(super) async fn read_account_key(
    context: &Context,
    acme: &AcmeIssuer,
    namespace: &str,
) -> Result<Result<PrivateKey, String>, StepError> {
    let name = ObjectName::new(namespace, &acme.private_key_secret_ref.name);
    let entry_name = account_key_entry(acme);
    let Some(held) = context.cluster.secrets.get(&name).await? else {
        return Ok(Err(format!("The Secret {name} with the ACME account key does not exist")));
    };
    let Some(pem) = secret::entry(&held, entry_name) else {
        return Ok(Err(format!("The Secret {name} has no ACME account key under {entry_name:?}")));
    };
    Ok(PrivateKey::from_pem(pem).map_err(|error| {
        format!(
            "The ACME account key in the Secret {name} under {entry_name:?} is malformed: {error}; correct it, or \
             delete the Secret to have a new account made; it is tried again when the Secret changes"
        )
    }))
}
