//! The Issuer and ClusterIssuer kinds: who signs certificates, and with which credentials.

use k8s_openapi::ByteString;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{CustomResource, CustomResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lenient;
use super::rules;
use super::schema::{self, is_false};
use super::solver::AcmeSolver;
use super::{Condition, SecretKeySelector};

/// How the issuer signs. Exactly one of the fields is set.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "cert-manager.io",
    version = "v1",
    kind = "Issuer",
    plural = "issuers",
    namespaced,
    doc = "Signs certificates for the Certificates and CertificateRequests of its own namespace.",
    status = "IssuerStatus",
    derive = "Default",
    derive = "PartialEq",
    shortname = "iss",
    category = "cert-manager",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type == "Ready")].status"#),
    printcolumn(
        name = "Status",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type == "Ready")].message"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "[has(self.acme), has(self.ca), has(self.selfSigned), has(self.vault), has(self.venafi)].filter(set, set).size() == 1",
    "message": "exactly one of acme, ca, selfSigned, vault and venafi must be set",
}]))]
pub struct IssuerSpec {
    /// Obtain certificates from a certificate authority that speaks ACME (RFC 8555), such as Let's Encrypt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acme: Option<AcmeIssuer>,
    /// Sign with a CA key that is kept in a Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaIssuer>,
    /// Let every certificate sign itself with its own key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_signed: Option<SelfSignedIssuer>,
    /// Sign with HashiCorp Vault. Kept as it is for other controllers; certwright does not serve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::vault_issuer")]
    pub vault: Option<serde_json::Value>,
    /// Sign with CyberArk (Venafi) services. Kept as it is for other controllers; certwright does not serve it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::venafi_issuer")]
    pub venafi: Option<serde_json::Value>,
}

/// Signs certificates for all namespaces. Its Secrets are looked up in the cluster resource namespace.
///
/// Spec and status are those of [`Issuer`]; only the scope differs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct ClusterIssuer {
    pub metadata: ObjectMeta,
    pub spec: IssuerSpec,
    pub status: Option<IssuerStatus>,
}

/// An ACME server, the account at it, and how challenges are answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = rules::acme()))]
pub struct AcmeIssuer {
    /// URL of the server's directory, for example `https://acme-v02.api.letsencrypt.org/directory`.
    pub server: String,
    /// Secret that keeps the private key of the ACME account; `tls.key` unless a key is named. It is created if it
    /// does not exist.
    pub private_key_secret_ref: SecretKeySelector,
    /// Mail address of the account, to which the CA may write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Common name of the root that the chain should lead to, if the CA offers several chains.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub preferred_chain: Option<String>,
    /// CA certificates in PEM form that the server's own certificate is checked against, instead of the well-known
    /// ones. Cannot be combined with skipTLSVerify.
    #[serde(default, deserialize_with = "lenient::optional_bytes", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::bytes")]
    pub ca_bundle: Option<ByteString>,
    /// Whether the server's own certificate is not checked at all. Anybody on the way can then answer in its place;
    /// use caBundle instead.
    #[serde(default, rename = "skipTLSVerify", skip_serializing_if = "is_false")]
    pub skip_tls_verify: bool,
    /// Ties the ACME account to an account that the CA knows by other means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_account_binding: Option<ExternalAccountBinding>,
    /// Solvers for challenges. For each name, the solver with the most specific selector is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::checked_solvers")]
    pub solvers: Vec<AcmeSolver>,
    /// Whether a missing account key is an error rather than a reason to make a new one.
    #[serde(default, skip_serializing_if = "is_false")]
    pub disable_account_key_generation: bool,
    /// Whether a Certificate's duration is sent to the server. Servers that do not support it refuse such orders.
    #[serde(default, skip_serializing_if = "is_false")]
    pub enable_duration_feature: bool,
    /// Certificate profile to ask for, one of those that the server's directory lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Whether the server is asked when to renew (ARI, RFC 9773), or not (None).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["ARI", "None"], "default" = "ARI"))]
    pub renewal_information_source: Option<String>,
}

/// Credentials that a CA hands out for the binding of a new account (RFC 8555 section 7.3.4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = rules::external_account_binding()))]
pub struct ExternalAccountBinding {
    /// Identifier of the key at the CA.
    #[serde(rename = "keyID")]
    pub key_id: String,
    /// Secret that holds the key, in base64url as the CA shows it.
    pub key_secret_ref: SecretKeySelector,
    /// Algorithm that the binding is made with: HS256 unless the CA asks for another.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["HS256", "HS384", "HS512"]))]
    pub key_algorithm: Option<String>,
}

/// A CA whose key is kept in a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = rules::ca()))]
pub struct CaIssuer {
    /// Secret with the CA's certificate (`tls.crt`, with its chain) and private key (`tls.key`).
    pub secret_name: String,
    /// URLs of revocation lists, copied into each certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crl_distribution_points: Vec<String>,
    /// URLs of OCSP responders, copied into each certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(length(min = 1)))]
    pub ocsp_servers: Vec<String>,
    /// URLs where the CA's own certificate can be fetched, copied into each certificate.
    #[schemars(inner(length(min = 1)))]
    #[serde(default, rename = "issuingCertificateURLs", skip_serializing_if = "Vec::is_empty")]
    pub issuing_certificate_urls: Vec<String>,
}

/// Certificates that sign themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct SelfSignedIssuer {
    /// URLs of revocation lists, copied into each certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crl_distribution_points: Vec<String>,
}

/// Whether the issuer can sign.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct IssuerStatus {
    /// `Ready` tells whether the issuer can sign.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The account at the ACME server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acme: Option<AcmeIssuerStatus>,
}

/// What is known about an ACME account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct AcmeIssuerStatus {
    /// URL of the account at the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Mail address that the server was last told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_registered_email: Option<String>,
    /// Hash of the account's public key, by which a change of the key is noticed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_private_key_hash: Option<String>,
}

impl ClusterIssuer {
    /// A ClusterIssuer of that name, without status.
    pub fn new(name: &str, spec: IssuerSpec) -> Self {
        Self { metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() }, spec, status: None }
    }
}

// kube's derive makes one kind from one spec type. What it would generate for the second kind is written out here.

impl kube::Resource for ClusterIssuer {
    type DynamicType = ();
    type Scope = kube::core::ClusterResourceScope;

    fn kind((): &()) -> std::borrow::Cow<'_, str> {
        super::names::KIND_CLUSTER_ISSUER.into()
    }

    fn group((): &()) -> std::borrow::Cow<'_, str> {
        super::names::GROUP.into()
    }

    fn version((): &()) -> std::borrow::Cow<'_, str> {
        super::names::VERSION.into()
    }

    fn plural((): &()) -> std::borrow::Cow<'_, str> {
        "clusterissuers".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Serialize for ClusterIssuer {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let mut object = serializer.serialize_struct("ClusterIssuer", 4 + usize::from(self.status.is_some()))?;
        object.serialize_field("apiVersion", &<Self as kube::Resource>::api_version(&()))?;
        object.serialize_field("kind", &<Self as kube::Resource>::kind(&()))?;
        object.serialize_field("metadata", &self.metadata)?;
        object.serialize_field("spec", &self.spec)?;
        if let Some(status) = &self.status {
            object.serialize_field("status", status)?;
        }
        object.end()
    }
}

impl kube::core::object::HasSpec for ClusterIssuer {
    type Spec = IssuerSpec;

    fn spec(&self) -> &IssuerSpec {
        &self.spec
    }

    fn spec_mut(&mut self) -> &mut IssuerSpec {
        &mut self.spec
    }
}

impl kube::core::object::HasStatus for ClusterIssuer {
    type Status = IssuerStatus;

    fn status(&self) -> Option<&IssuerStatus> {
        self.status.as_ref()
    }

    fn status_mut(&mut self) -> &mut Option<IssuerStatus> {
        &mut self.status
    }
}

impl CustomResourceExt for ClusterIssuer {
    fn crd() -> CustomResourceDefinition {
        let mut crd = Issuer::crd();
        crd.metadata.name = Some(Self::crd_name().into());
        crd.spec.scope = "Cluster".into();
        crd.spec.names.kind = super::names::KIND_CLUSTER_ISSUER.into();
        crd.spec.names.plural = "clusterissuers".into();
        crd.spec.names.singular = Some("clusterissuer".into());
        crd.spec.names.short_names = Some(Self::shortnames().iter().map(ToString::to_string).collect());
        for version in &mut crd.spec.versions {
            if let Some(schema) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) {
                schema.description = Some(
                    "Signs certificates for all namespaces. Its Secrets are looked up in the cluster resource namespace."
                        .into(),
                );
            }
        }
        crd
    }

    fn crd_name() -> &'static str {
        "clusterissuers.cert-manager.io"
    }

    fn api_resource() -> kube::core::ApiResource {
        kube::core::ApiResource::erase::<Self>(&())
    }

    fn shortnames() -> &'static [&'static str] {
        &["ciss"]
    }
}
