//! ACME solvers: for which names they answer challenges, and how.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::GoDuration;
use super::dns01::Dns01Solver;
use super::pod_template::{PodTemplate, TemplateMetadata};

/// A way to answer challenges, and the names it is for. Exactly one of http01 and dns01 is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct AcmeSolver {
    /// Names that the solver is for. Without a selector it is for all names that no other solver suits better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<SolverSelector>,
    /// Serve an HTTP path. It cannot prove control over wildcard names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http01: Option<Http01Solver>,
    /// Write a DNS record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns01: Option<Dns01Solver>,
    /// Wait this long after presenting the answer instead of checking that it can be seen. For clusters that cannot
    /// reach what the CA can reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_instead_of_self_check: Option<GoDuration>,
}

impl AcmeSolver {
    /// The names of all Secrets that the solver refers to, in whichever of its fields.
    pub fn secret_names(&self) -> Vec<String> {
        self.dns01.as_ref().map(secret_names).unwrap_or_default()
    }
}

/// The names of all Secrets that a DNS-01 solver refers to, in whichever of its fields.
pub fn secret_names(solver: &Dns01Solver) -> Vec<String> {
    let mut names = Vec::new();
    collect_secret_names(&serde_json::to_value(solver).unwrap_or_default(), &mut names);
    names
}

/// Every reference to a Secret is in a field that is called so; webhooks' own configuration keeps to that as well.
fn collect_secret_names(value: &serde_json::Value, names: &mut Vec<String>) {
    match value {
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect_secret_names(item, names)),
        serde_json::Value::Object(fields) => {
            for (key, field) in fields {
                match field.get("name").and_then(serde_json::Value::as_str) {
                    Some(name) if key.ends_with("SecretRef") && !name.is_empty() => names.push(name.to_owned()),
                    _ => collect_secret_names(field, names),
                }
            }
        }
        _ => {}
    }
}

/// Chooses names: the labels must match and, if names or zones are listed, one of them must too. Among the solvers that
/// remain an exact name beats a zone, a longer zone beats a shorter one, and more labels beat fewer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct SolverSelector {
    /// Labels that the Certificate must carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Names, exactly as in the Certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<String>,
    /// Domains whose names, the domain itself included, the solver is for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_zones: Vec<String>,
}

/// Answers over HTTP, on port 80 of the name itself. Exactly one of the fields is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct Http01Solver {
    /// Route the path by an Ingress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Http01Ingress>,
    /// Route the path by an HTTPRoute of the Gateway API.
    #[serde(rename = "gatewayHTTPRoute", skip_serializing_if = "Option::is_none")]
    pub gateway_http_route: Option<Http01GatewayHttpRoute>,
}

/// Routes the challenge's path by an Ingress. At most one of class, ingressClassName and name is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct Http01Ingress {
    /// Type of the Service in front of the solver: ClusterIP, or NodePort, which applies unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_type: Option<String>,
    /// IngressClass of the Ingress that is created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress_class_name: Option<String>,
    /// The same as an annotation `kubernetes.io/ingress.class`, for controllers that know only that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// An existing Ingress that gets the path added, instead of a new one. For controllers that give each Ingress an
    /// address of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Changes to the solver's Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,
    /// Changes to the solver's Ingress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress_template: Option<IngressTemplate>,
}

/// What is added to the solver's Ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct IngressTemplate {
    /// Labels and annotations that are added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
}

/// Routes the challenge's path by an HTTPRoute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct Http01GatewayHttpRoute {
    /// Type of the Service in front of the solver: ClusterIP, or NodePort, which applies unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_type: Option<String>,
    /// Labels of the HTTPRoute.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The Gateways that the HTTPRoute attaches to. May be empty if an annotation of the Certificate names one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Changes to the solver's Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<PodTemplate>,
}

/// A Gateway, or one of its listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct ParentReference {
    /// API group of the parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 253),
        regex(pattern = r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"),
        extend("default" = "gateway.networking.k8s.io")
    )]
    pub group: Option<String>,
    /// Kind of the parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"),
        extend("default" = "Gateway")
    )]
    pub kind: Option<String>,
    /// Namespace of the parent; that of the Challenge unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// Name of the parent.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Name of one listener; all listeners unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub section_name: Option<String>,
    /// Port of the listeners; all ports unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}
