//! The DNS providers that have settings of their own in the API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reference::ServiceAccountReference;
use super::{SecretKeySelector, Sensitive, schema};

/// Answers by a TXT record. Exactly one provider is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct Dns01Solver {
    /// Whether a CNAME at `_acme-challenge` of the name is followed to find the record to write (Follow) or not (None,
    /// which applies unless set).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["None", "Follow"]))]
    pub cname_strategy: Option<String>,
    /// Resolvers to ask for this solver, as `host:port`, `tcp://host:port`, `tls://host:port` or as `https://` URL of a
    /// DNS-over-HTTPS server. They replace those given to the controller, and the authoritative servers are not asked then
    /// unless the issuer's annotation `certwright.dev/dns01-verification` says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// Akamai Edge DNS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub akamai: Option<AkamaiDns>,
    /// Google Cloud DNS.
    #[serde(rename = "cloudDNS", skip_serializing_if = "Option::is_none")]
    pub cloud_dns: Option<CloudDns>,
    /// Cloudflare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloudflare: Option<Cloudflare>,
    /// Amazon Route 53.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route53: Option<Route53>,
    /// Azure DNS.
    #[serde(rename = "azureDNS", skip_serializing_if = "Option::is_none")]
    pub azure_dns: Option<AzureDns>,
    /// DigitalOcean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digitalocean: Option<DigitalOcean>,
    /// An acme-dns server, to which the name's `_acme-challenge` is delegated.
    #[serde(rename = "acmeDNS", skip_serializing_if = "Option::is_none")]
    pub acme_dns: Option<AcmeDns>,
    /// A name server that takes dynamic updates (RFC 2136), such as BIND, Knot or PowerDNS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rfc2136: Option<Rfc2136>,
    /// A provider that runs in the cluster as an aggregated API server of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookSolver>,
}

/// Akamai Edge DNS, with EdgeGrid credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct AkamaiDns {
    /// Host of the API, as the credentials give it.
    pub service_consumer_domain: String,
    /// Secret that holds the client token.
    pub client_token_secret_ref: SecretKeySelector,
    /// Secret that holds the client secret.
    pub client_secret_secret_ref: SecretKeySelector,
    /// Secret that holds the access token.
    pub access_token_secret_ref: SecretKeySelector,
}

/// Google Cloud DNS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct CloudDns {
    /// Project that the zones belong to.
    pub project: String,
    /// Managed zone to write to; found by the name unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosted_zone_name: Option<String>,
    /// Secret that holds a service account's key file. Without it the credentials of the controller's surroundings are
    /// used, for example Workload Identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account_secret_ref: Option<SecretKeySelector>,
}

/// Cloudflare. Exactly one of apiTokenSecretRef and apiKeySecretRef is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct Cloudflare {
    /// Mail address of the account. Needed with apiKeySecretRef only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Secret that holds the global API key, which may do everything. Prefer a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key_secret_ref: Option<SecretKeySelector>,
    /// Secret that holds an API token with the permissions Zone:Read and DNS:Edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_token_secret_ref: Option<SecretKeySelector>,
}

/// Amazon Route 53. Without keys or auth the credentials of the controller's surroundings are used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct Route53 {
    /// Sign in with a service account's token instead of keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Route53Auth>,
    /// Id of the access key. Cannot be combined with accessKeyIDSecretRef.
    #[serde(rename = "accessKeyID", skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// Secret that holds the id of the access key.
    #[serde(rename = "accessKeyIDSecretRef", skip_serializing_if = "Option::is_none")]
    pub access_key_id_secret_ref: Option<SecretKeySelector>,
    /// Secret that holds the access key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_access_key_secret_ref: Option<SecretKeySelector>,
    /// ARN of a role to take on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Id of the hosted zone to write to; found by the name unless set.
    #[serde(rename = "hostedZoneID", skip_serializing_if = "Option::is_none")]
    pub hosted_zone_id: Option<String>,
    /// Region of the service that gives out credentials. Route 53 itself is global.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// How to sign in to AWS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct Route53Auth {
    /// Sign in as a service account of the cluster.
    pub kubernetes: Route53KubernetesAuth,
}

/// A service account that an AWS role trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct Route53KubernetesAuth {
    /// The service account; the default audience of its token is `sts.amazonaws.com`.
    pub service_account_ref: ServiceAccountReference,
}

/// Azure DNS. Either clientID, clientSecretSecretRef and tenantID are set, or none of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct AzureDns {
    /// Subscription of the zone.
    #[serde(rename = "subscriptionID")]
    pub subscription_id: String,
    /// Resource group of the zone.
    pub resource_group_name: String,
    /// Zone to write to; found by the name unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hosted_zone_name: Option<String>,
    /// Azure cloud; AzurePublicCloud unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [
        "AzurePublicCloud",
        "AzureChinaCloud",
        "AzureGermanCloud",
        "AzureUSGovernmentCloud",
    ]))]
    pub environment: Option<String>,
    /// Client id of the application that signs in.
    #[serde(rename = "clientID", skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Secret that holds the application's client secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret_secret_ref: Option<SecretKeySelector>,
    /// Tenant of the application.
    #[serde(rename = "tenantID", skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// Which managed or workload identity signs in, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_identity: Option<AzureManagedIdentity>,
    /// Whether the zone is public, which applies unless set, or private.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["AzurePublicZone", "AzurePrivateZone"]))]
    pub zone_type: Option<String>,
}

/// A managed or workload identity of Azure. At most one of clientID and resourceID is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct AzureManagedIdentity {
    /// Client id of the identity.
    #[serde(rename = "clientID", skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Resource id of the identity. Cannot be used with workload identity.
    #[serde(rename = "resourceID", skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
    /// Tenant of the identity, for workload identity; needs clientID.
    #[serde(rename = "tenantID", skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
}

/// DigitalOcean.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct DigitalOcean {
    /// Secret that holds an API token with write permission.
    pub token_secret_ref: SecretKeySelector,
}

/// An acme-dns server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct AcmeDns {
    /// URL of the server's API.
    pub host: String,
    /// Secret that holds the accounts: a JSON object from domain to account, as the server gave it out.
    pub account_secret_ref: SecretKeySelector,
}

/// A name server that takes dynamic updates. tsigKeyName and tsigSecretSecretRef belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct Rfc2136 {
    /// The name server as `host` or `host:port`, IPv6 addresses in brackets; port 53 unless given.
    pub nameserver: String,
    /// Transport of the updates: TCP, or UDP, which applies unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["TCP", "UDP"]))]
    pub protocol: Option<String>,
    /// Name of the TSIG key that signs the updates (RFC 8945).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tsig_key_name: Option<String>,
    /// Algorithm of the TSIG key: HMACMD5, which applies unless set, HMACSHA1, HMACSHA256 or HMACSHA512.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tsig_algorithm: Option<String>,
    /// Secret that holds the TSIG key in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tsig_secret_secret_ref: Option<SecretKeySelector>,
}

/// A DNS provider behind the webhook solver protocol.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct WebhookSolver {
    /// API group of the provider.
    pub group_name: String,
    /// Name of the solver within the group.
    pub solver_name: String,
    /// Settings of the provider, handed over as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::anything")]
    pub config: Option<Sensitive<serde_json::Value>>,
}
