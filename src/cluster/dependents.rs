//! Who has something to do when an object changes, and by what objects are found.

use k8s_openapi::api::{
    core::v1::{Pod, Secret, Service},
    networking::v1::Ingress,
};
use kube::{Resource, ResourceExt, api::ObjectMeta};

use crate::api::{
    Certificate, CertificateRequest, CertificateRequestStatus, Challenge, ClusterIssuer, Condition, Issuer,
    IssuerReference, IssuerSpec, Order, find_condition,
    names::{KIND_CLUSTER_ISSUER, annotation, condition},
};

use super::{
    hub::{Hub, Indexes, Watched},
    keep,
    key::{Key, Kind, ObjectName},
    namespaces::Namespaces,
    store::Store,
};

impl Hub {
    /// Empty stores that know how their objects are found besides by name.
    pub fn new() -> Self {
        Self::with_indexes(Indexes {
            certificate: |certificate| {
                let namespace = certificate.namespace().unwrap_or_default();
                let next = certificate.status.as_ref().and_then(|status| status.next_private_key_secret_name.clone());
                let mut entries = vec![by_secret(&namespace, &certificate.spec.secret_name)];
                entries.extend(next.map(|name| by_secret(&namespace, &name)));
                let passwords = certificate.spec.keystore_password_secrets();
                entries.extend(passwords.into_iter().map(|name| by_secret(&namespace, name)));
                entries.extend(by_owner(certificate.meta()));
                entries
            },
            certificate_request: |request| {
                let mut entries = by_owner(request.meta());
                // A request that has come to its end does not care about its issuer any more.
                if !has_ended(request) {
                    entries.push(by_issuer(&request.spec.issuer_ref, request.namespace().as_deref()));
                    let key = request.annotations().get(annotation::PRIVATE_KEY_SECRET_NAME);
                    entries.extend(key.map(|name| by_secret(&request.namespace().unwrap_or_default(), name)));
                }
                entries
            },
            challenge: |challenge| {
                let mut entries = by_owner(challenge.meta());
                entries.push(by_issuer(&challenge.spec.issuer_ref, challenge.namespace().as_deref()));
                entries.extend(by_solver_secrets(challenge));
                entries.extend(challenge.is_tls_alpn01().then(|| tls_name_entry(&challenge.spec.dns_name)));
                entries.extend((challenge.spec.type_ == "DNS-01").then(|| dns_value_entry(challenge)));
                entries.extend(challenge.is_podless().then(|| token_entry(&challenge.spec.token)));
                entries
            },
            cluster_issuer: |issuer| by_cluster_secrets(&issuer.spec),
            issuer: |issuer| {
                let namespace = issuer.namespace().unwrap_or_default();
                secrets_of(&issuer.spec).into_iter().map(|name| by_secret(&namespace, &name)).collect()
            },
            order: |order| {
                let mut entries = by_owner(order.meta());
                entries.push(by_issuer(&order.spec.issuer_ref, order.namespace().as_deref()));
                entries
            },
            secret: |secret| by_owner(secret.meta()),
            solver_ingress: |ingress| by_owner(ingress.meta()),
            solver_pod: |pod| by_owner(pod.meta()),
            solver_service: |service| by_owner(service.meta()),
        })
    }

    /// The same for a part of the cluster.
    pub fn of(namespaces: Namespaces) -> Self {
        Self { namespaces, ..Self::new() }
    }

    /// Wakes who depends on the Secret of this name, whatever it holds.
    pub fn wake_for_secret(&self, secret: &ObjectName) {
        for key in secret_dependents(self, secret) {
            self.queue.wake(&key);
        }
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

/// The index entry under which the children of the object with this uid are found.
pub fn owner_entry(uid: &str) -> String {
    format!("owner/{uid}")
}

/// The index entry under which the Challenges are found that are answered by TLS-ALPN-01 for this name.
pub fn tls_name_entry(name: &str) -> String {
    format!("tls-alpn-01/{}", name.to_ascii_lowercase())
}

/// The index entry under which the Challenges are found that are answered by the same TXT value: the CA may give the same
/// authorization to a later Order.
pub fn dns_value_entry(challenge: &Challenge) -> String {
    format!("dns-01/{}", challenge.spec.key.expose())
}

/// The index entry under which the Challenges are found that the controller answers itself under this token.
pub fn token_entry(token: &str) -> String {
    format!("http-01/{token}")
}

/// The index entry under which the objects that refer to this Secret are found.
pub fn by_secret(namespace: &str, name: &str) -> String {
    format!("secret/{namespace}/{name}")
}

fn by_owner(metadata: &ObjectMeta) -> Vec<String> {
    controller_uid(metadata).map(owner_entry).into_iter().collect()
}

fn controller_uid(metadata: &ObjectMeta) -> Option<&str> {
    let owners = metadata.owner_references.iter().flatten();
    owners.filter(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str()).next()
}

fn has_ended(request: &CertificateRequest) -> bool {
    request.status.as_ref().is_some_and(CertificateRequestStatus::is_final)
}

fn by_issuer(reference: &IssuerReference, namespace: Option<&str>) -> String {
    if reference.kind_or_default() == KIND_CLUSTER_ISSUER {
        format!("issuer//{}", reference.name)
    } else {
        format!("issuer/{}/{}", namespace.unwrap_or_default(), reference.name)
    }
}

fn is_ready(conditions: Option<&[Condition]>) -> bool {
    let conditions = conditions.unwrap_or_default();
    find_condition(conditions, condition::READY).is_some_and(Condition::is_true)
        && find_condition(conditions, condition::ISSUING).is_none_or(Condition::is_false)
}

/// By the credentials that it presents its answer with.
fn by_solver_secrets(challenge: &Challenge) -> Vec<String> {
    let is_cluster = challenge.spec.issuer_ref.kind_or_default() == KIND_CLUSTER_ISSUER;
    let namespace = if is_cluster { String::new() } else { challenge.namespace().unwrap_or_default() };
    challenge.spec.solver.secret_names().iter().map(|name| by_secret(&namespace, name)).collect()
}

fn by_cluster_secrets(spec: &IssuerSpec) -> Vec<String> {
    secrets_of(spec).into_iter().map(|name| by_secret("", &name)).collect()
}

/// Every Secret that an issuer's own work rests on.
fn secrets_of(spec: &IssuerSpec) -> Vec<String> {
    let acme = spec.acme.as_ref();
    let account_key = acme.map(|acme| &acme.private_key_secret_ref.name);
    let binding = acme.and_then(|acme| Some(&acme.external_account_binding.as_ref()?.key_secret_ref.name));
    let authority = spec.ca.as_ref().map(|ca| &ca.secret_name);
    [account_key, binding, authority].into_iter().flatten().filter(|name| !name.is_empty()).cloned().collect()
}

fn secret_dependents(hub: &Hub, secret: &ObjectName) -> Vec<Key> {
    let entry = by_secret(&secret.namespace, &secret.name);
    let mut keys = keys_of(Kind::Certificate, &hub.certificates, &entry);
    keys.extend(keys_of(Kind::CertificateRequest, &hub.certificate_requests, &entry));
    keys.extend(keys_of(Kind::Issuer, &hub.issuers, &entry));
    keys.extend(keys_of(Kind::Challenge, &hub.challenges, &entry));
    // A look too many for a ClusterIssuer, whose Secrets lie in one namespace only, costs nothing.
    let of_cluster = by_secret("", &secret.name);
    keys.extend(keys_of(Kind::ClusterIssuer, &hub.cluster_issuers, &of_cluster));
    keys.extend(keys_of(Kind::Challenge, &hub.challenges, &of_cluster));
    keys.extend(hub.injection_targets.of_secret(secret, &hub.certificates.indexed(&entry)));
    keys
}

fn keys_of<K: Resource<DynamicType = ()>>(kind: Kind, store: &Store<K>, entry: &str) -> Vec<Key> {
    store.indexed(entry).iter().map(|object| key_of(kind, &**object)).collect()
}

fn key_of<K: Resource>(kind: Kind, object: &K) -> Key {
    Key { kind, object: ObjectName::of(object) }
}

/// The controlling owner, if it is of this kind.
fn owner_key(kind: Kind, metadata: &ObjectMeta) -> Option<Key> {
    let owner = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    (owner.kind == kind.as_str())
        .then(|| Key::new(kind, metadata.namespace.clone().unwrap_or_default(), owner.name.clone()))
}

fn own_and_owner<K: Resource>(kind: Kind, object: &K, owner: Kind) -> Vec<Key> {
    std::iter::once(key_of(kind, object)).chain(owner_key(owner, object.meta())).collect()
}

impl Watched for Certificate {
    fn store(hub: &Hub) -> &Store<Self> {
        &hub.certificates
    }

    /// Itself, the others that name the same Secret, what it is made from or takes the name from, and who wants its CA.
    fn dependents(&self, hub: &Hub) -> Vec<Key> {
        let entry = by_secret(&self.namespace().unwrap_or_default(), &self.spec.secret_name);
        let mut keys = keys_of(Kind::Certificate, &hub.certificates, &entry);
        keys.push(key_of(Kind::Certificate, self));
        keys.extend(hub.sources.of_secret(&ObjectName::of(self)));
        keys.extend(hub.injection_targets.of_certificate(&ObjectName::of(self)));
        keys
    }

    fn is_at_rest(&self) -> bool {
        is_ready(self.status.as_ref().map(|status| &status.conditions[..]))
    }

    fn let_go(&mut self) {
        keep::of_certificate(self);
    }
}

impl Watched for CertificateRequest {
    fn store(hub: &Hub) -> &Store<Self> {
        &hub.certificate_requests
    }

    /// Itself, its owner, and the Certificate that may wait for its name.
    fn dependents(&self, _: &Hub) -> Vec<Key> {
        let mut keys = own_and_owner(Kind::CertificateRequest, self, Kind::Certificate);
        let name = self.name_any();
        if let Some((certificate, revision)) = name.rsplit_once('-')
            && revision.bytes().all(|byte| byte.is_ascii_digit())
        {
            keys.push(Key::new(Kind::Certificate, self.namespace().unwrap_or_default(), certificate));
        }
        keys
    }

    fn is_at_rest(&self) -> bool {
        has_ended(self)
    }

    fn let_go(&mut self) {
        keep::of_request(self);
    }
}

impl Watched for Order {
    fn store(hub: &Hub) -> &Store<Self> {
        &hub.orders
    }

    fn dependents(&self, _: &Hub) -> Vec<Key> {
        own_and_owner(Kind::Order, self, Kind::CertificateRequest)
    }

    fn is_at_rest(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.certificate.is_some())
    }

    fn let_go(&mut self) {
        keep::of_order(self);
    }
}

impl Watched for Challenge {
    fn store(hub: &Hub) -> &Store<Self> {
        &hub.challenges
    }

    /// Itself, its Order, those that wait for the name, and those at the same TXT record.
    fn dependents(&self, hub: &Hub) -> Vec<Key> {
        let mut keys = own_and_owner(Kind::Challenge, self, Kind::Order);
        keys.extend(at_same_record(hub, self));
        if self.is_tls_alpn01() {
            keys.extend(keys_of(Kind::Challenge, &hub.challenges, &tls_name_entry(&self.spec.dns_name)));
        }
        keys
    }

    fn is_at_rest(&self) -> bool {
        false
    }
}

/// The Challenges of the same Order whose values stand at the same TXT record.
fn at_same_record(hub: &Hub, challenge: &Challenge) -> Vec<Key> {
    let (Some(domain), Some(owner)) = (challenge.dns01_domain(), controller_uid(challenge.meta())) else {
        return Vec::new();
    };
    let mut siblings = hub.challenges.indexed(&owner_entry(owner));
    siblings.retain(|sibling| sibling.metadata.uid != challenge.metadata.uid);
    siblings.retain(|sibling| sibling.dns01_domain().as_ref() == Some(&domain));
    siblings.iter().map(|sibling| key_of(Kind::Challenge, &**sibling)).collect()
}

impl Watched for Issuer {
    fn store(hub: &Hub) -> &Store<Self> {
        &hub.issuers
    }

    fn dependents(&self, hub: &Hub) -> Vec<Key> {
        issuer_dependents(hub, key_of(Kind::Issuer, self))
    }

    fn is_at_rest(&self) -> bool {
        is_ready(self.status.as_ref().map(|status| &status.conditions[..]))
    }
}

impl Watched for ClusterIssuer {
    fn store(hub: &Hub) -> &Store<Self> {
        &hub.cluster_issuers
    }

    fn dependents(&self, hub: &Hub) -> Vec<Key> {
        issuer_dependents(hub, key_of(Kind::ClusterIssuer, self))
    }

    fn is_at_rest(&self) -> bool {
        is_ready(self.status.as_ref().map(|status| &status.conditions[..]))
    }
}

/// The issuer itself, and what waits for it.
fn issuer_dependents(hub: &Hub, issuer: Key) -> Vec<Key> {
    let entry = format!("issuer/{}/{}", issuer.object.namespace, issuer.object.name);
    let mut keys = keys_of(Kind::CertificateRequest, &hub.certificate_requests, &entry);
    keys.extend(keys_of(Kind::Order, &hub.orders, &entry));
    keys.extend(keys_of(Kind::Challenge, &hub.challenges, &entry));
    keys.push(issuer);
    keys
}

impl Watched for Secret {
    fn store(hub: &Hub) -> &Store<Self> {
        &hub.secrets
    }

    fn dependents(&self, hub: &Hub) -> Vec<Key> {
        let mut keys = secret_dependents(hub, &ObjectName::of(self));
        // A Secret says itself which Certificate it was made for, also before the Certificate's status tells of it.
        let certificate = self.annotations().get(annotation::CERTIFICATE_NAME);
        let namespace = self.namespace().unwrap_or_default();
        keys.extend(certificate.map(|name| Key::new(Kind::Certificate, namespace, name.clone())));
        keys.extend(owner_key(Kind::Certificate, self.meta()));
        keys
    }

    fn is_at_rest(&self) -> bool {
        true
    }
}

impl Watched for Pod {
    fn store(hub: &Hub) -> &Store<Self> {
        &hub.solver_pods
    }

    fn dependents(&self, _: &Hub) -> Vec<Key> {
        owner_key(Kind::Challenge, self.meta()).into_iter().collect()
    }

    fn is_at_rest(&self) -> bool {
        false
    }
}

impl Watched for Service {
    fn store(hub: &Hub) -> &Store<Self> {
        &hub.solver_services
    }

    fn dependents(&self, _: &Hub) -> Vec<Key> {
        owner_key(Kind::Challenge, self.meta()).into_iter().collect()
    }

    fn is_at_rest(&self) -> bool {
        false
    }
}

impl Watched for Ingress {
    fn store(hub: &Hub) -> &Store<Self> {
        &hub.solver_ingresses
    }

    fn dependents(&self, _: &Hub) -> Vec<Key> {
        owner_key(Kind::Challenge, self.meta()).into_iter().collect()
    }

    fn is_at_rest(&self) -> bool {
        false
    }
}
