//! Releases at a real API server: installed, upgraded, rolled back, uninstalled. There is no node; pods are only tried for
//! admission.

use std::path::Path;

use certwright_e2e::helm::{Helm, chart, values};
use certwright_e2e::install::install;
use certwright_e2e::release::{count_definitions, write_cert_manager_chart};
use certwright_e2e::scene::PATIENCE;
use certwright_e2e::wait::until;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, RoleBinding};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::sync::Mutex;

use super::testbed;

/// Releases have objects without namespaces, whose names are the same in each.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

struct Release {
    helm: Helm,
    client: Client,
    namespace: String,
    name: &'static str,
}

/// The kinds of Prometheus's operator are not there, nor is a namespace for them.
const NO_MONITORS: &str = "--set=prometheus.servicemonitor.enabled=false,prometheus.podmonitor.enabled=false,\
                           prometheus.rules.enabled=false,prometheus.dashboard.enabled=false";

impl Release {
    /// In a fresh namespace that admits restricted pods only.
    async fn new(name: &'static str) -> Self {
        let testbed = testbed();
        install(&testbed).await.unwrap();
        let (helm, client) = (Helm::of(&testbed.state).unwrap(), testbed.admin().await.unwrap());
        let namespace = testbed.namespace("chart").await.unwrap();
        let label = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces.patch(&namespace, &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
        Self { helm, client, namespace, name }
    }

    /// Runs `helm VERB RELEASE` with these further words.
    fn helm(&self, verb: &str, more: &[&str]) -> String {
        let mut arguments = vec![verb, self.name, "--namespace", &self.namespace];
        arguments.extend(more);
        self.helm.run(&arguments).unwrap()
    }

    fn upgrade(&self, chart: &Path, more: &[&str]) -> String {
        let chart = chart.display().to_string();
        // The definitions are there already, by another hand.
        let mut arguments = vec![chart.as_str(), "--install", "--take-ownership"];
        arguments.extend(more);
        self.helm("upgrade", &arguments)
    }

    async fn deployment(&self, name: &str) -> Option<Deployment> {
        Api::namespaced(self.client.clone(), &self.namespace).get_opt(name).await.unwrap()
    }

    async fn definitions(&self) -> usize {
        count_definitions(&self.client).await.unwrap()
    }

    /// How many objects without a namespace belong to the release.
    async fn roles(&self) -> usize {
        let roles: Api<ClusterRole> = Api::all(self.client.clone());
        let label = format!("app.kubernetes.io/instance={},app.kubernetes.io/managed-by=Helm", self.name);
        roles.list_metadata(&ListParams::default().labels(&label)).await.unwrap().items.len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_release_of_cert_manager_is_taken_over_and_given_back() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let release = Release::new("cert-manager").await;
    let theirs = tempfile::tempdir().unwrap();
    write_cert_manager_chart(theirs.path(), &release.namespace, 2).unwrap();
    release.upgrade(theirs.path(), &[]);
    let before = release.deployment("cert-manager").await.unwrap();

    let file = values("cert-manager").display().to_string();
    let leases = format!("--set=global.leaderElection.namespace={}", release.namespace);
    let families = "--set=serviceIPFamilyPolicy=SingleStack,serviceIPFamilies={IPv4}";
    let notes = release.upgrade(&chart(), &["--values", &file, NO_MONITORS, families, &leases]);
    assert!(notes.contains("these values have no effect:\n  cainjector, but for its enabled\n"), "{notes}");
    assert!(!notes.contains("disableHTTPChallengesRole"), "it has an effect: {notes}");
    assert!(!notes.contains("leaderElection") && !notes.contains("replicaCount"), "{notes}");
    let after = release.deployment("cert-manager").await.unwrap();
    assert_eq!(after.uid(), before.uid(), "it was changed, not made anew");
    let spec = after.spec.unwrap();
    assert_eq!(spec.replicas, Some(2));
    assert_eq!(spec.strategy.unwrap().type_.as_deref(), Some("RollingUpdate"));
    let pod = spec.template.spec.unwrap();
    assert_eq!(pod.containers.len(), 1);
    assert_eq!(pod.containers[0].image.as_deref(), Some("mirror.example.com/quay/jetstack/certwright:0.1.0"));
    assert_eq!(pod.containers[0].args.as_ref().unwrap()[0], "controller");
    let ports = pod.containers[0].ports.as_ref().unwrap();
    assert!(ports.iter().any(|port| port.name.as_deref() == Some("http-metrics")), "{ports:?}");
    assert_eq!(release.deployment("cert-manager-webhook").await, None);
    let role: ClusterRole = Api::all(release.client.clone()).get("cert-manager-controller-certificates").await.unwrap();
    let verbs: Vec<_> = role.rules.unwrap().into_iter().flat_map(|rule| rule.verbs).collect();
    assert!(verbs.contains(&"watch".to_owned()), "{verbs:?}");

    release.helm("rollback", &["1"]);
    let back = release.deployment("cert-manager").await.unwrap().spec.unwrap();
    assert_eq!(back.strategy.unwrap().type_.as_deref(), Some("RollingUpdate"));
    let image = &back.template.spec.unwrap().containers[0].image;
    assert_eq!(image.as_deref(), Some("quay.io/jetstack/cert-manager-controller:v1.21.1"));
    assert!(release.deployment("cert-manager-webhook").await.is_some());
    assert_eq!(release.definitions().await, 6, "they stay, whatever chart they came with");
    release.helm("uninstall", &["--wait"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn nothing_of_a_release_is_left_but_the_definitions() {
    let _alone = ONE_AT_A_TIME.lock().await;
    // Not "certwright": roles and policies of that name are the testbed's.
    let release = Release::new("other-certwright").await;
    let file = values("everything").display().to_string();
    let here = format!("namespace={}", release.namespace);
    let secured = "securityContext.runAsUser=1000,crds.keep=true";
    release.upgrade(&chart(), &["--values", &file, "--set", &here, "--set", secured, NO_MONITORS]);
    assert!(release.deployment("certificates").await.is_some());
    assert_eq!(release.roles().await, 8);

    release.upgrade(&chart(), &["--reset-values", "--set=crds.enabled=true"]);
    assert_eq!(release.deployment("certificates").await, None, "the names have changed");
    assert_admitted(&release, release.deployment("other-certwright").await.unwrap()).await;
    assert_eq!(release.roles().await, 11);
    assert_editors_borrow_no_credentials(&release).await;

    // Where no node is, no Job of a hook comes to its end.
    let told = release.helm("uninstall", &["--wait", "--no-hooks"]);
    assert!(told.contains("[CustomResourceDefinition] certificates.cert-manager.io"), "{told}");
    assert_eq!(release.deployment("other-certwright").await, None);
    assert_eq!(release.roles().await, 0);
    assert_eq!(release.definitions().await, 6);
    let accounts: Api<ServiceAccount> = Api::namespaced(release.client.clone(), &release.namespace);
    let names: Vec<_> =
        accounts.list(&ListParams::default()).await.unwrap().iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["default"]);
}

/// A pod of the template is one that Pod Security admits in a restricted namespace.
async fn assert_admitted(release: &Release, deployment: Deployment) {
    let template = deployment.spec.unwrap().template;
    let mut pod = Pod { metadata: template.metadata.unwrap(), spec: template.spec, ..Pod::default() };
    pod.metadata.name = Some("tried".into());
    let pods: Api<Pod> = Api::namespaced(release.client.clone(), &release.namespace);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    pods.create(&dry_run, &pod).await.unwrap();
    // That it would refuse another one shows that it looks.
    pod.spec.as_mut().unwrap().containers[0].security_context = None;
    let refusal = pods.create(&dry_run, &pod).await.unwrap_err().to_string();
    assert!(refusal.contains("violates PodSecurity \"restricted:latest\""), "{refusal}");
}

/// Who may edit makes Certificates and tidies up, but makes no Challenge of his own, for which a ClusterIssuer's
/// credentials would be used.
async fn assert_editors_borrow_no_credentials(release: &Release) {
    let binding = json!({
        "metadata": { "name": "editors" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "other-certwright-edit" },
        "subjects": [{ "kind": "User", "name": "editor" }],
    });
    let bindings: Api<RoleBinding> = Api::namespaced(release.client.clone(), &release.namespace);
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    // The API server learns of it in a moment.
    let look = async || -> kube::Result<_> {
        Ok(may_edit(release, "create", "certificates.cert-manager.io").await.then_some(()))
    };
    until("editors to have their rights", PATIENCE, look).await.unwrap();
    for (verb, resource, expected) in [
        ("create", "issuers.cert-manager.io", true),
        ("patch", "challenges.acme.cert-manager.io", true),
        ("delete", "orders.acme.cert-manager.io", true),
        ("create", "challenges.acme.cert-manager.io", false),
        ("create", "orders.acme.cert-manager.io", false),
        ("update", "orders.acme.cert-manager.io", false),
    ] {
        assert_eq!(may_edit(release, verb, resource).await, expected, "{verb} {resource}");
    }
}

async fn may_edit(release: &Release, verb: &str, resource: &str) -> bool {
    let (resource, group) = resource.split_once('.').unwrap();
    let what = json!({ "verb": verb, "group": group, "resource": resource, "namespace": release.namespace });
    let question = json!({ "metadata": {}, "spec": { "user": "editor", "resourceAttributes": what } });
    let reviews: Api<SubjectAccessReview> = Api::all(release.client.clone());
    let answer = reviews.create(&PostParams::default(), &serde_json::from_value(question).unwrap()).await.unwrap();
    answer.status.unwrap().allowed
}
