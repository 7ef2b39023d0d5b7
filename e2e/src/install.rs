//! What certwright needs in a cluster before it starts: its CustomResourceDefinitions, its rights, and the policies for
//! admission.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use certwright::api::names::LEASE;
use certwright::api::{Certificate, CertificateRequest, Challenge, ClusterIssuer, Issuer, Order};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding, Subject};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::image;
use crate::kubectl::Kubectl;
use crate::kubernetes::CERTWRIGHT_USER;
use crate::replica::LEASE_NAMESPACE;
use crate::state::State;
use crate::testbed::Testbed;
use crate::wait::until;

const ESTABLISHED: Duration = Duration::from_mins(3);

/// Installs `crds/`, the policies of `deploy/admission/`, and the rights of `deploy/rbac.yaml`, bound to the user
/// `certwright`. May be called by every test:
/// the first call of a process works, the others wait for it.
pub async fn install(testbed: &Testbed) -> Result<()> {
    static DONE: OnceCell<()> = OnceCell::const_new();
    DONE.get_or_try_init(|| install_now(testbed)).await.copied()
}

async fn install_now(testbed: &Testbed) -> Result<()> {
    let client = testbed.admin().await?;
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let mut names = Vec::new();
    for file in definition_files()? {
        let definition: CustomResourceDefinition = read_one(&file)?;
        definitions.patch(&definition.name_any(), &params(), &Patch::Apply(&definition)).await?;
        names.push(definition.name_any());
    }
    for name in names {
        let look = async || established(&definitions, &name).await;
        until(&format!("the definition {name} to be served"), ESTABLISHED, look).await?;
    }
    install_policies(&client).await?;
    // Some of the rights lie where the controller would be installed.
    let namespace: Namespace = read_one(&repository().join("deploy/namespace.yaml"))?;
    Api::<Namespace>::all(client.clone()).patch(&namespace.name_any(), &params(), &Patch::Apply(&namespace)).await?;
    rights(client).await?;
    rights_are_enforced(testbed).await
}

/// Waits until the API server has heard of the rights: a controller that begins before is refused, tells of it and waits.
async fn rights_are_enforced(testbed: &Testbed) -> Result<()> {
    let client = testbed.certwright().await?;
    let one = ListParams::default().limit(1);
    // Each kind of ours, and what was granted last to the whole cluster and within a namespace.
    let look = async || -> kube::Result<_> {
        Api::<Issuer>::all(client.clone()).list_metadata(&one).await?;
        Api::<ClusterIssuer>::all(client.clone()).list_metadata(&one).await?;
        Api::<Certificate>::all(client.clone()).list_metadata(&one).await?;
        Api::<CertificateRequest>::all(client.clone()).list_metadata(&one).await?;
        Api::<Order>::all(client.clone()).list_metadata(&one).await?;
        Api::<Challenge>::all(client.clone()).list_metadata(&one).await?;
        Api::<CustomResourceDefinition>::all(client.clone()).list_metadata(&one).await?;
        Api::<Lease>::namespaced(client.clone(), LEASE_NAMESPACE).get_opt(LEASE).await?;
        Ok(Some(()))
    };
    until("the rights to be enforced", ESTABLISHED, look).await
}

/// It takes the API server about a second to enforce them; nothing waits for that but the tests of the policies.
async fn install_policies(client: &Client) -> Result<()> {
    let folder = repository().join("deploy/admission");
    let kustomization: serde_json::Value = read_one(&folder.join("kustomization.yaml"))?;
    for file in kustomization["resources"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str) {
        let file = folder.join(file);
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        for document in serde_yaml::Deserializer::from_str(&text) {
            let object = DynamicObject::deserialize(document).with_context(|| format!("reading {}", file.display()))?;
            let types = object.types.as_ref().context("a policy has no kind")?;
            let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            api.patch(&object.name_any(), &params(), &Patch::Apply(&object)).await?;
        }
    }
    Ok(())
}

/// Installs `crds/` as people do, with kubectl.
pub fn definitions(kubectl: &Kubectl) -> Result<()> {
    let folder = repository().join("crds").display().to_string();
    kubectl.run(&["apply", "-f", &folder])?;
    kubectl.run(&["wait", "--for=condition=Established", "--timeout=180s", "-f", &folder])
}

/// Packs `binary` into an image and installs `deploy/` in a testbed of tier cluster, after [`definitions`]; waits until
/// the pod is ready.
pub fn deploy(state: &State, kubectl: &Kubectl, binary: &Path) -> Result<()> {
    image::import_certwright(state, binary)?;
    kubectl.run(&["apply", "-k", &repository().join("deploy").display().to_string()])?;
    kubectl.run(&["rollout", "status", "--namespace=certwright", "--timeout=180s", "deployment/certwright"])
}

/// Takes away what [`deploy`] of another test program has left running, and waits until its pods are gone: a controller
/// that is about to end still works on what a test lays down.
pub fn end_deployed(kubectl: &Kubectl) -> Result<()> {
    let deployment = ["delete", "deployment", "certwright", "--namespace=certwright"];
    kubectl.run(&[&deployment[..], &["--ignore-not-found", "--cascade=foreground", "--timeout=180s"]].concat())
}

/// The files of `crds/`, in order of their names.
pub fn definition_files() -> Result<Vec<PathBuf>> {
    let folder = repository().join("crds");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    Ok(files)
}

/// The folder that the sources lie in.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

async fn established(definitions: &Api<CustomResourceDefinition>, name: &str) -> Result<Option<()>> {
    let status = definitions.get(name).await?.status.unwrap_or_default();
    let mut conditions = status.conditions.unwrap_or_default().into_iter();
    Ok(conditions.any(|condition| condition.type_ == "Established" && condition.status == "True").then_some(()))
}

/// Installs the rights of `deploy/rbac.yaml`, bound to the user `certwright`; the namespaces that they lie in must be there.
pub async fn rights(client: Client) -> Result<()> {
    let file = repository().join("deploy/rbac.yaml");
    let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    for document in serde_yaml::Deserializer::from_str(&text) {
        let value = serde_json::Value::deserialize(document)?;
        match value["kind"].as_str().unwrap_or_default() {
            "ClusterRole" => {
                let role: ClusterRole = serde_json::from_value(value)?;
                Api::<ClusterRole>::all(client.clone())
                    .patch(&role.name_any(), &params(), &Patch::Apply(&role))
                    .await?;
            }
            "ClusterRoleBinding" => {
                let binding = bound_to_user(serde_json::from_value(value)?);
                Api::<ClusterRoleBinding>::all(client.clone())
                    .patch(&binding.name_any(), &params(), &Patch::Apply(&binding))
                    .await?;
            }
            "Role" => apply_in_namespace::<Role>(&client, serde_json::from_value(value)?).await?,
            "RoleBinding" => {
                let mut binding: RoleBinding = serde_json::from_value(value)?;
                binding.metadata.name = Some(format!("{}-user", binding.name_any()));
                binding.subjects = Some(vec![user()]);
                apply_in_namespace(&client, binding).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

pub(crate) async fn apply_in_namespace<K>(client: &Client, object: K) -> Result<()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned,
{
    let api = Api::<K>::namespaced(client.clone(), object.meta().namespace.as_deref().unwrap_or_default());
    api.patch(&object.name_any(), &params(), &Patch::Apply(&object)).await?;
    Ok(())
}

/// The same rights for the user of the testbed's kubeconfig, beside the ServiceAccount's.
fn bound_to_user(mut binding: ClusterRoleBinding) -> ClusterRoleBinding {
    binding.metadata.name = Some(format!("{}-user", binding.name_any()));
    binding.subjects = Some(vec![user()]);
    binding
}

fn user() -> Subject {
    Subject {
        api_group: Some("rbac.authorization.k8s.io".into()),
        kind: "User".into(),
        name: CERTWRIGHT_USER.into(),
        namespace: None,
    }
}

fn read_one<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    serde_yaml::from_str(&text).with_context(|| format!("reading {}", file.display()))
}

fn params() -> PatchParams {
    PatchParams::apply("certwright-testbed").force()
}
