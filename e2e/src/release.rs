//! Releases of Helm charts: certwright's own, and what one of cert-manager's leaves to its successor.

use std::fs;
use std::path::Path;

use anyhow::Result;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use crate::controller::binary;
use crate::helm::Helm;
use crate::kubectl::Kubectl;
use crate::testbed::Testbed;
use crate::{image, install};

/// What a release of cert-manager's chart has that concerns a successor: names, labels, selectors.
const CERT_MANAGER: &str = r"
apiVersion: v1
kind: ServiceAccount
metadata: {name: cert-manager, namespace: NAMESPACE}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: cert-manager-controller-certificates}
rules:
  - {apiGroups: [cert-manager.io], resources: [certificates], verbs: [update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: cert-manager-controller-certificates}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cert-manager-controller-certificates}
subjects: [{kind: ServiceAccount, name: cert-manager, namespace: NAMESPACE}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cert-manager, namespace: NAMESPACE}
spec:
  replicas: REPLICAS
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}
  selector:
    matchLabels:
      app.kubernetes.io/name: cert-manager
      app.kubernetes.io/instance: cert-manager
      app.kubernetes.io/component: controller
  template:
    metadata:
      labels:
        app.kubernetes.io/name: cert-manager
        app.kubernetes.io/instance: cert-manager
        app.kubernetes.io/component: controller
    spec:
      serviceAccountName: cert-manager
      containers:
        - name: cert-manager-controller
          image: quay.io/jetstack/cert-manager-controller:v1.21.1
          imagePullPolicy: Never
          args: [--v=2, --leader-election-namespace=kube-system]
          ports: [{name: http-metrics, containerPort: 9402}, {name: http-healthz, containerPort: 9403}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cert-manager-webhook, namespace: NAMESPACE}
spec:
  replicas: REPLICAS
  selector: {matchLabels: {app.kubernetes.io/name: webhook}}
  template:
    metadata: {labels: {app.kubernetes.io/name: webhook}}
    spec: {containers: [{name: webhook, image: 'quay.io/jetstack/cert-manager-webhook:v1.21.1'}]}
";

/// Makes room for a release whose pods run: ends what was deployed before, and has the node know the image of the program
/// under test.
pub fn prepare(testbed: &Testbed) -> Result<(Kubectl, Helm)> {
    testbed.state.cluster()?;
    let kubectl = Kubectl::of(&testbed.state)?;
    install::end_deployed(&kubectl)?;
    image::import_certwright(&testbed.state, &binary()?)?;
    Ok((kubectl, Helm::of(&testbed.state)?))
}

/// How many definitions of cert-manager's kinds there are.
pub async fn count_definitions(client: &Client) -> kube::Result<usize> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let found = definitions.list_metadata(&ListParams::default()).await?;
    Ok(found.iter().filter(|definition| definition.name_any().ends_with("cert-manager.io")).count())
}

/// Writes a chart in place of cert-manager's into this folder. Without replicas it is as one that was stopped.
pub fn write_cert_manager_chart(folder: &Path, namespace: &str, replicas: u32) -> Result<()> {
    fs::create_dir(folder.join("templates"))?;
    fs::write(folder.join("Chart.yaml"), "{apiVersion: v2, name: cert-manager, version: 1.21.1}")?;
    let objects = CERT_MANAGER.replace("NAMESPACE", namespace).replace("REPLICAS", &replicas.to_string());
    fs::write(folder.join("templates/all.yaml"), objects)?;
    Ok(())
}
