//! One test's place in the cluster: a namespace of its own with issuers and Certificates, and waiting for what the
//! controller makes of them.

use std::fmt::{Debug, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certwright::api::names::{KIND_CLUSTER_ISSUER, KIND_ISSUER, condition};
use certwright::api::{
    Certificate, CertificateRequest, Challenge, ClusterIssuer, Condition, Issuer, Order, find_condition,
};
use certwright::pki::ParsedCertificate;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::process::tail;
use crate::testbed::Testbed;
use crate::wait::until;

/// How long anything may take that takes a second or two on a machine with nothing else to do.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The Secret with the TSIG key, and its entry.
pub const TSIG_SECRET: &str = "tsig";
pub const TSIG_ENTRY: &str = "secret";

/// The namespace for the Secrets of ClusterIssuers: the controller's default.
pub const CLUSTER_RESOURCE_NAMESPACE: &str = "kube-system";

/// What the kinds in a scene have in common.
pub trait Kind: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + 'static {}
impl<K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + 'static> Kind for K {}

/// See the module's description.
#[derive(Clone)]
pub struct Scene {
    pub testbed: Testbed,
    /// May do everything.
    pub client: Client,
    pub namespace: String,
    /// The log of the controller, for messages about failures.
    pub controller_log: PathBuf,
}

/// An issued certificate as it was read back.
#[derive(Clone, Debug)]
pub struct Issued {
    pub certificate: Certificate,
    pub secret: Secret,
    /// Leaf first, as in `tls.crt`.
    pub chain: Vec<ParsedCertificate>,
}

impl Issued {
    /// The certificate itself.
    pub fn leaf(&self) -> &ParsedCertificate {
        &self.chain[0]
    }
}

impl Scene {
    /// A fresh namespace with the Secret [`TSIG_SECRET`] in it.
    pub async fn new(testbed: &Testbed, controller_log: &Path, prefix: &str) -> Result<Self> {
        let namespace = testbed.namespace(prefix).await?;
        let client = testbed.admin().await?;
        let scene = Self { testbed: testbed.clone(), client, namespace, controller_log: controller_log.to_owned() };
        scene.put_secret(TSIG_SECRET, TSIG_ENTRY, &testbed.state.dns()?.tsig.secret).await?;
        Ok(scene)
    }

    /// The objects of a kind in the scene's namespace.
    pub fn api<K: Kind + Resource<Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A DNS name that only this scene uses: `LABEL.NAMESPACE.certwright.test`.
    pub fn dns_name(&self, label: &str) -> String {
        format!("{label}.{}.certwright.test", self.namespace)
    }

    /// Creates an object of the scene's namespace.
    pub async fn create<K: Kind + Resource<Scope = NamespaceResourceScope>>(
        &self,
        name: &str,
        spec: Value,
    ) -> Result<K> {
        let object = object::<K>(&json!({ "name": name, "namespace": self.namespace }), &spec)?;
        let created = self.api().create(&PostParams::default(), &object).await;
        created.with_context(|| format!("creating {} {name}", K::kind(&())))
    }

    /// Changes an object by a merge patch (RFC 7396).
    pub async fn patch<K: Kind + Resource<Scope = NamespaceResourceScope>>(
        &self,
        name: &str,
        patch: Value,
    ) -> Result<K> {
        let patched = self.api().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.with_context(|| format!("patching {} {name}", K::kind(&())))
    }

    /// Creates a Secret with one entry, or gives it this one entry more.
    pub async fn put_secret(&self, name: &str, entry: &str, value: &str) -> Result<()> {
        put_secret(&self.client, &self.namespace, name, entry, value).await
    }

    /// The spec of an ACME issuer for the testbed's Pebble with a DNS-01 solver for every name. Its account key goes to
    /// the Secret `ACCOUNT`.
    pub fn issuer_spec(&self, account: &str) -> Result<Value> {
        let acme = self.testbed.state.acme()?;
        Ok(json!({ "acme": {
            "server": acme.directory_url,
            "caBundle": base64_of(&acme.ca_file)?,
            "privateKeySecretRef": { "name": account },
            "solvers": [self.rfc2136_solver(TSIG_SECRET)?],
        }}))
    }

    /// A solver that writes TXT records to the testbed's primary DNS server with the key in the Secret `tsig_secret`.
    pub fn rfc2136_solver(&self, tsig_secret: &str) -> Result<Value> {
        let dns = self.testbed.state.dns()?;
        Ok(json!({ "dns01": { "rfc2136": {
            "nameserver": format!("{}:53", dns.primary),
            "tsigKeyName": dns.tsig.name,
            "tsigAlgorithm": "HMACSHA256",
            "tsigSecretSecretRef": { "name": tsig_secret, "key": TSIG_ENTRY },
        }}}))
    }

    /// Creates an Issuer for the testbed's Pebble and waits until it is ready.
    pub async fn issuer(&self, name: &str) -> Result<Issuer> {
        self.create::<Issuer>(name, self.issuer_spec(&format!("{name}-account"))?).await?;
        self.wait_ready::<Issuer>(name).await
    }

    /// Creates a ClusterIssuer of the namespace's name for the testbed's Pebble and waits until it is ready.
    pub async fn cluster_issuer(&self) -> Result<ClusterIssuer> {
        let name = self.namespace.clone();
        let mut spec = self.issuer_spec(&name)?;
        let tsig = format!("{name}-tsig");
        spec["acme"]["solvers"] = json!([self.rfc2136_solver(&tsig)?]);
        let key = &self.testbed.state.dns()?.tsig.secret;
        put_secret(&self.client, CLUSTER_RESOURCE_NAMESPACE, &tsig, TSIG_ENTRY, key).await?;
        let issuers: Api<ClusterIssuer> = Api::all(self.client.clone());
        issuers.create(&PostParams::default(), &object(&json!({ "name": name }), &spec)?).await?;
        self.wait_in(issuers, &name, "being ready", PATIENCE, is_ready).await
    }

    /// Creates the Certificate `name` with the Secret `NAME-tls`, from the Issuer `issuer` of the namespace.
    pub async fn certificate(&self, name: &str, issuer: &str, dns_names: &[&str]) -> Result<Certificate> {
        self.create(name, certificate_spec(name, KIND_ISSUER, issuer, dns_names)).await
    }

    /// The same from the ClusterIssuer of [`Scene::cluster_issuer`].
    pub async fn certificate_of_cluster_issuer(&self, name: &str, dns_names: &[&str]) -> Result<Certificate> {
        self.create(name, certificate_spec(name, KIND_CLUSTER_ISSUER, &self.namespace, dns_names)).await
    }

    /// Waits until the Certificate is ready, and reads what is in its Secret.
    pub async fn issued(&self, name: &str) -> Result<Issued> {
        let certificate = self.wait_ready::<Certificate>(name).await?;
        let secret = self.api::<Secret>().get(&certificate.spec.secret_name).await?;
        let chain = secret.data.as_ref().and_then(|data| data.get("tls.crt")).context("the Secret has no tls.crt")?;
        let chain = ParsedCertificate::from_pem_chain(&chain.0).context("reading tls.crt")?;
        Ok(Issued { certificate, secret, chain })
    }

    /// Waits until the object's condition Ready is true for its present spec.
    pub async fn wait_ready<K: Kind + Conditions + Resource<Scope = NamespaceResourceScope>>(
        &self,
        name: &str,
    ) -> Result<K> {
        self.wait_for(name, "being ready", PATIENCE, is_ready).await
    }

    /// Waits until the object is as `wanted` says; `what` names that in the error, together with the object, its
    /// events and the end of the controller's log.
    pub async fn wait_for<K: Kind + Resource<Scope = NamespaceResourceScope>>(
        &self,
        name: &str,
        what: &str,
        patience: Duration,
        wanted: impl FnMut(&K) -> bool,
    ) -> Result<K> {
        self.wait_in(self.api(), name, what, patience, wanted).await
    }

    /// [`Scene::wait_for`] for any API, such as that of a kind without a namespace.
    pub async fn wait_in<K: Kind>(
        &self,
        api: Api<K>,
        name: &str,
        what: &str,
        patience: Duration,
        mut wanted: impl FnMut(&K) -> bool,
    ) -> Result<K> {
        let mut stream = watcher::watch_object(api, name).default_backoff().boxed();
        let mut last = None;
        let look = async {
            while let Some(seen) = stream.next().await {
                match seen {
                    Ok(Some(object)) if wanted(&object) => return Some(object),
                    Ok(seen) => last = seen,
                    Err(error) => eprintln!("watching {} {name}: {error}", K::kind(&())),
                }
            }
            None
        };
        if let Ok(Some(found)) = tokio::time::timeout(patience, look).await {
            return Ok(found);
        }
        let report = self.report(name, last.as_ref()).await;
        Err(anyhow!("waited {} s for {} {name} {what}\n{report}", patience.as_secs_f32(), K::kind(&())))
    }

    /// Watches the Challenges until one is as `wanted` says of it and of its reason, be it only for a moment; `what` names that
    /// in the error, together with all that they said.
    pub async fn see_challenge(
        &self,
        what: &str,
        patience: Duration,
        mut wanted: impl FnMut(&Challenge, &str) -> bool,
    ) -> Result<Challenge> {
        let challenges = watcher::watcher(self.api::<Challenge>(), watcher::Config::default());
        let mut stream = challenges.default_backoff().applied_objects().boxed();
        let mut said = Vec::new();
        let look = async {
            while let Some(seen) = stream.next().await {
                match seen {
                    Ok(challenge) => {
                        let reason = challenge.status.as_ref().and_then(|status| status.reason.as_deref());
                        let reason = reason.unwrap_or_default();
                        if wanted(&challenge, reason) {
                            return Some(challenge);
                        }
                        said.push(format!("{}: {reason}", challenge.name_any()));
                    }
                    Err(error) => eprintln!("watching the Challenges: {error}"),
                }
            }
            None
        };
        if let Ok(Some(found)) = tokio::time::timeout(patience, look).await {
            return Ok(found);
        }
        Err(anyhow!("waited {} s for {what}; they said {said:#?}", patience.as_secs_f32()))
    }

    /// Waits until the object is gone.
    pub async fn wait_gone<K: Kind + Resource<Scope = NamespaceResourceScope>>(&self, name: &str) -> Result<()> {
        let mut stream = watcher::watch_object(self.api::<K>(), name).default_backoff().boxed();
        let mut last = None;
        let look = async {
            while let Some(seen) = stream.next().await {
                match seen {
                    Ok(None) => return,
                    Ok(seen) => last = seen,
                    Err(error) => eprintln!("watching {} {name}: {error}", K::kind(&())),
                }
            }
        };
        if tokio::time::timeout(PATIENCE, look).await.is_ok() {
            return Ok(());
        }
        let report = self.report(name, last.as_ref()).await;
        Err(anyhow!("waited {} s for {} {name} to go\n{report}", PATIENCE.as_secs(), K::kind(&())))
    }

    /// Deletes every Certificate and what belongs to it, as the garbage collector does where one runs, and waits until it is
    /// gone. It takes several looks: a controller that has not heard yet that something is gone may make another of what
    /// belonged to it.
    pub async fn give_up(&self) -> Result<()> {
        let (now, all) = (DeleteParams::default(), ListParams::default());
        self.api::<Certificate>().delete_collection(&now, &all).await?;
        let look = async || {
            self.api::<CertificateRequest>().delete_collection(&now, &all).await?;
            self.api::<Order>().delete_collection(&now, &all).await?;
            self.api::<Challenge>().delete_collection(&now, &all).await?;
            let left = [
                self.list::<CertificateRequest>().await?.len(),
                self.list::<Order>().await?.len(),
                self.list::<Challenge>().await?.len(),
            ];
            ensure!(left == [0; 3], "requests, orders, challenges: {left:?}");
            Ok(Some(()))
        };
        until("what belonged to the Certificates to be gone", PATIENCE, look).await
    }

    /// Every object of a kind in the namespace.
    pub async fn list<K: Kind + Resource<Scope = NamespaceResourceScope>>(&self) -> Result<Vec<K>> {
        Ok(self.api::<K>().list(&ListParams::default()).await?.items)
    }

    /// Reason and note of the events about the object of that name, oldest first.
    pub async fn events(&self, name: &str) -> Result<Vec<(String, String)>> {
        let mut events: Vec<Event> = self.list().await?;
        events.retain(|event| event.involved_object.name.as_deref() == Some(name));
        events.sort_by_key(|event| event.metadata.creation_timestamp.clone().map(|time| time.0));
        let words = |event: Event| (event.reason.unwrap_or_default(), event.message.unwrap_or_default());
        Ok(events.into_iter().map(words).collect())
    }

    /// All that helps to understand why something did not happen.
    async fn report<K: Kind>(&self, name: &str, object: Option<&K>) -> String {
        let mut text = match object {
            Some(object) => format!("--- last seen:\n{}", yaml(object)),
            None => "--- it was not there at last\n".to_owned(),
        };
        self.report_kind::<CertificateRequest>(&mut text).await;
        self.report_kind::<Order>(&mut text).await;
        self.report_kind::<Challenge>(&mut text).await;
        let _ = writeln!(text, "--- events in {}:", self.namespace);
        for event in self.list::<Event>().await.unwrap_or_default() {
            let about = event.involved_object;
            let (kind, named) = (about.kind.unwrap_or_default(), about.name.unwrap_or_default());
            let (reason, note) = (event.reason.unwrap_or_default(), event.message.unwrap_or_default());
            let _ = writeln!(text, "{kind} {named}: {reason}: {note}");
        }
        let log = tail(&self.controller_log, 400);
        let ours = log.lines().filter(|line| line.contains(&self.namespace) || line.contains(name));
        let _ = writeln!(text, "--- {} about these:", self.controller_log.display());
        ours.for_each(|line| text.extend([line, "\n"]));
        let _ = writeln!(text, "--- and its end:\n{}", tail(&self.controller_log, 8));
        text
    }

    async fn report_kind<K: Kind + Resource<Scope = NamespaceResourceScope>>(&self, text: &mut String) {
        for object in self.list::<K>().await.unwrap_or_default() {
            let status = serde_json::to_value(&object).map(|value| value["status"].clone()).unwrap_or_default();
            let _ = write!(text, "--- {} {}:\n{}", K::kind(&()), object.name_any(), yaml(&status));
        }
    }
}

/// The spec of a Certificate that wants the Secret `NAME-tls`.
pub fn certificate_spec(name: &str, kind: &str, issuer: &str, dns_names: &[&str]) -> Value {
    json!({
        "secretName": format!("{name}-tls"),
        "dnsNames": dns_names,
        "issuerRef": { "kind": kind, "name": issuer },
    })
}

/// What a file holds, in base64.
pub fn base64_of(file: &Path) -> Result<String> {
    Ok(STANDARD.encode(std::fs::read(file).with_context(|| format!("reading {}", file.display()))?))
}

/// Kinds whose status has conditions.
pub trait Conditions {
    fn conditions(&self) -> &[Condition];
}

macro_rules! conditions {
    ($($kind:ty),*) => { $(
        impl Conditions for $kind {
            fn conditions(&self) -> &[Condition] {
                self.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default()
            }
        }
    )* };
}
conditions!(Certificate, CertificateRequest, ClusterIssuer, Issuer);

/// Whether Ready is true for the object's present spec.
pub fn is_ready<K: Conditions + Resource>(object: &K) -> bool {
    let current = |ready: &Condition| match ready.observed_generation {
        Some(observed) => Some(observed) == object.meta().generation,
        None => true,
    };
    find_condition(object.conditions(), condition::READY).is_some_and(|ready| ready.is_true() && current(ready))
}

/// Reason and message of the condition Ready if it is false for the object's present spec.
pub fn unreadiness<K: Conditions + Resource>(object: &K) -> Option<(&str, &str)> {
    let ready = find_condition(object.conditions(), condition::READY)?;
    let current = ready.observed_generation.is_none() || ready.observed_generation == object.meta().generation;
    (ready.is_false() && current)
        .then(|| (ready.reason.as_deref().unwrap_or_default(), ready.message.as_deref().unwrap_or_default()))
}

fn object<K: Kind>(metadata: &Value, spec: &Value) -> Result<K> {
    let value = json!({ "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": metadata, "spec": spec });
    serde_json::from_value(value).with_context(|| format!("making a {}", K::kind(&())))
}

async fn put_secret(client: &Client, namespace: &str, name: &str, entry: &str, value: &str) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "namespace": namespace },
        "stringData": { entry: value },
    });
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    secrets.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(secret)).await?;
    Ok(())
}

fn yaml<T: Serialize>(object: &T) -> String {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    shorten(&mut value);
    serde_yaml::to_string(&value).unwrap_or_default()
}

/// Certificates and the like would bury what matters.
fn shorten(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        Value::String(text) if text.len() > 500 && !text.contains(' ') => {
            *text = format!("{} bytes", text.len());
        }
        _ => {}
    }
}
