//! The Certificate kind: which names a TLS Secret shall hold, who signs, and how the key is kept.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lenient;
use super::rules;
use super::schema::{self, is_false};
use super::{Condition, GoDuration, IssuerReference, SecretKeySelector, Sensitive};

/// The certificate that is wanted.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "cert-manager.io",
    version = "v1",
    kind = "Certificate",
    plural = "certificates",
    namespaced,
    doc = "A certificate that is kept valid in a TLS Secret: it is requested from the issuer, stored together with its private key and renewed in time.",
    status = "CertificateStatus",
    derive = "Default",
    derive = "PartialEq",
    shortname = "cert",
    shortname = "certs",
    category = "cert-manager",
    selectable = ".spec.issuerRef.group",
    selectable = ".spec.issuerRef.kind",
    selectable = ".spec.issuerRef.name",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type == "Ready")].status"#),
    printcolumn(name = "Secret", type_ = "string", json_path = ".spec.secretName"),
    printcolumn(name = "Issuer", type_ = "string", priority = 1, json_path = ".spec.issuerRef.name"),
    printcolumn(
        name = "Status",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type == "Ready")].message"#
    ),
    printcolumn(name = "Expiration", type_ = "string", priority = 1, json_path = ".status.notAfter"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = rules::certificate()))]
pub struct CertificateSpec {
    /// Name of the Secret, in the same namespace, that receives the private key and the certificate. It is created if
    /// it does not exist. No two Certificates may name the same Secret.
    #[schemars(length(max = 253), extend("x-kubernetes-validations" = rules::secret_name()))]
    pub secret_name: String,
    /// The issuer that signs the certificate.
    #[schemars(schema_with = "schema::checked_issuer")]
    pub issuer_ref: IssuerReference,
    /// Common name of the subject, at most 64 bytes. Clients look at the subject alternative names instead; a public
    /// CA demands that the common name is one of these too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("x-kubernetes-validations" = rules::common_name()))]
    pub common_name: Option<String>,
    /// DNS names to put into the certificate, wildcards such as `*.example.com` included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<String>,
    /// IP addresses to put into the certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::ip_addresses")]
    pub ip_addresses: Vec<String>,
    /// URIs to put into the certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uris: Vec<String>,
    /// Mail addresses to put into the certificate, without display names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::mail_addresses")]
    pub email_addresses: Vec<String>,
    /// Names of other types to put into the certificate, for example Active Directory user principal names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1500))]
    pub other_names: Vec<OtherName>,
    /// Attributes of the subject other than the common name. ACME certificate authorities ignore them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<X509Subject>,
    /// The whole subject as one LDAP distinguished name (RFC 4514), for example `CN=app,OU=web,O=Example`. Cannot be
    /// combined with commonName or subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub literal_subject: Option<String>,
    /// Lifetime to ask for, for example `2160h`; 90 days unless set, one hour at least. Certificate authorities may
    /// shorten it. ACME issuers pass it on only with enableDurationFeature.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), extend("x-kubernetes-validations" = rules::duration()))]
    pub duration: Option<GoDuration>,
    /// How long before the certificate expires it is renewed. One third of its actual lifetime unless set, five
    /// minutes at least, and less than the lifetime. Cannot be combined with renewBeforePercentage.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), extend("x-kubernetes-validations" = rules::renew_before()))]
    pub renew_before: Option<GoDuration>,
    /// The same in percent of the actual lifetime: with 25, the certificate is renewed when a quarter of its lifetime
    /// remains. Cannot be combined with renewBefore.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99))]
    pub renew_before_percentage: Option<i32>,
    /// Whether and in which hours the certificate may be renewed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewal: Option<RenewalSpec>,
    /// Labels and annotations for the Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_template: Option<SecretTemplate>,
    /// Further keystore files to put into the Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keystores: Option<CertificateKeystores>,
    /// Whether the certificate may sign other certificates.
    #[serde(default, rename = "isCA", skip_serializing_if = "is_false")]
    pub is_ca: bool,
    /// What the key may be used for; `digital signature` and `key encipherment` unless set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::key_usages")]
    pub usages: Vec<String>,
    /// Type, size and handling of the private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_key: Option<CertificatePrivateKey>,
    /// Algorithm that signs the certificate request; chosen to suit the key unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [
        "SHA256WithRSA",
        "SHA384WithRSA",
        "SHA512WithRSA",
        "ECDSAWithSHA256",
        "ECDSAWithSHA384",
        "ECDSAWithSHA512",
        "PureEd25519",
    ]))]
    pub signature_algorithm: Option<String>,
    /// Whether the certificate request carries the key usages as extensions; true unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encode_usages_in_request: Option<bool>,
    /// How many CertificateRequests are kept as history; one unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub revision_history_limit: Option<i32>,
    /// Further forms in which key and certificate are put into the Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-validations" = rules::output_formats()))]
    pub additional_output_formats: Vec<CertificateAdditionalOutputFormat>,
    /// Names for which a CA certificate may and may not sign (RFC 5280 section 4.2.1.10). Only with isCA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_constraints: Option<NameConstraints>,
}

impl CertificateSpec {
    /// The names of the Secrets that hold this Certificate's keystore passwords.
    pub fn keystore_password_secrets(&self) -> Vec<&str> {
        let Some(keystores) = &self.keystores else { return Vec::new() };
        let jks = keystores.jks.as_ref().filter(|jks| jks.create).and_then(|jks| jks.password_secret_ref.as_ref());
        let pkcs12 =
            keystores.pkcs12.as_ref().filter(|p12| p12.create).and_then(|p12| p12.password_secret_ref.as_ref());
        let mut names: Vec<_> = [jks, pkcs12].into_iter().flatten().map(|selector| selector.name.as_str()).collect();
        names.retain(|name| !name.is_empty());
        names.dedup();
        names
    }
}

/// A subject alternative name of a type of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = rules::other_name()))]
pub struct OtherName {
    /// Object identifier of the name type, in dotted numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), extend("x-kubernetes-validations" = rules::object_identifier()))]
    pub oid: Option<String>,
    /// The name, encoded as a UTF8String.
    #[serde(rename = "utf8Value", skip_serializing_if = "Option::is_none")]
    pub utf8_value: Option<String>,
}

/// Attributes of a certificate's subject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct X509Subject {
    /// Organizations (O).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub organizations: Vec<String>,
    /// Countries (C), as two-letter codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub countries: Vec<String>,
    /// Organizational units (OU).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub organizational_units: Vec<String>,
    /// Localities, such as cities (L).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub localities: Vec<String>,
    /// Provinces or states (ST).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provinces: Vec<String>,
    /// Street addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub street_addresses: Vec<String>,
    /// Postal codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub postal_codes: Vec<String>,
    /// Serial number of the subject; not that of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial_number: Option<String>,
}

/// Whether and when a certificate is renewed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = rules::renewal()))]
pub struct RenewalSpec {
    /// RenewBefore renews before expiry, as renewBefore or renewBeforePercentage say. Disabled never renews because of
    /// expiry; a change of the spec or a request by hand still leads to a new certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["RenewBefore", "Disabled"]))]
    pub policy: Option<String>,
    /// Times at which a renewal may happen. Without windows it may happen at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub windows: Vec<RenewalWindow>,
}

/// A recurring stretch of time in which renewals may happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct RenewalWindow {
    /// When the window opens: a cron expression of five fields, or a word such as `@daily`.
    #[schemars(length(min = 1, max = 1024), extend("x-kubernetes-validations" = rules::cron()))]
    pub cron: String,
    /// Time zone of the cron expression by its IANA name; UTC unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub timezone: Option<String>,
    /// How long the window stays open, for example `4h` or `1h30m`.
    #[schemars(regex(pattern = r"^([0-9]+(\.[0-9]+)?(s|m|h))+$"))]
    pub window_duration: GoDuration,
}

/// Labels and annotations that are copied to the Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct SecretTemplate {
    /// Annotations for the Secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("x-kubernetes-validations" = rules::annotation_keys(), "maxProperties" = 1000))]
    pub annotations: BTreeMap<String, String>,
    /// Labels for the Secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::labels")]
    pub labels: BTreeMap<String, String>,
}

/// Keystore files for software that cannot read PEM.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct CertificateKeystores {
    /// Java keystores: `keystore.jks`, and `truststore.jks` when the issuer gives a CA certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jks: Option<JksKeystore>,
    /// PKCS#12 keystores: `keystore.p12`, and `truststore.p12` when the issuer gives a CA certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pkcs12: Option<Pkcs12Keystore>,
}

/// Java keystore files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = rules::keystore()))]
pub struct JksKeystore {
    /// Whether the files are written.
    pub create: bool,
    /// Alias of the entry in the keystore; `certificate` unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// The password, in the clear. Readers of the Certificate can see it, so prefer passwordSecretRef.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Sensitive>,
    /// Secret that holds the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeySelector>,
}

/// PKCS#12 keystore files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = rules::keystore()))]
pub struct Pkcs12Keystore {
    /// Whether the files are written.
    pub create: bool,
    /// Algorithms of the files, LegacyRC2 unless set. LegacyRC2 and LegacyDES are for software that reads nothing
    /// better and protect little; Modern2023 suits OpenSSL 3 and Java 20, Modern2026 the newest software.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["LegacyRC2", "LegacyDES", "Modern2023", "Modern2026"]))]
    pub profile: Option<String>,
    /// The password, in the clear. Readers of the Certificate can see it, so prefer passwordSecretRef.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Sensitive>,
    /// Secret that holds the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeySelector>,
}

/// Type, size and handling of a private key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = rules::private_key()))]
pub struct CertificatePrivateKey {
    /// Whether a new key is made for each issuance (Always, which applies unless set) or an existing one kept (Never).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Never", "Always"]))]
    pub rotation_policy: Option<String>,
    /// How `tls.key` is written: PKCS1 (for ECDSA keys this means SEC 1), which applies unless set, or PKCS8. Ed25519
    /// keys are always PKCS8.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["PKCS1", "PKCS8"]))]
    pub encoding: Option<String>,
    /// Type of the key, RSA unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["RSA", "ECDSA", "Ed25519"]))]
    pub algorithm: Option<String>,
    /// Bits of the key. RSA: 2048 to 8192, 2048 unless set. ECDSA: 256, 384 or 521, 256 unless set. Ed25519 keys have
    /// one size only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
}

/// A further form of key and certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct CertificateAdditionalOutputFormat {
    /// DER adds the key in binary form as `key.der`. CombinedPEM adds key and chain in one file, `tls-combined.pem`.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["DER", "CombinedPEM"]))]
    pub type_: String,
}

/// The names for which a CA may sign.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default, extend("x-kubernetes-validations" = rules::name_constraints()))]
pub struct NameConstraints {
    /// Whether clients that do not understand the constraints must refuse the certificate.
    #[serde(default, skip_serializing_if = "is_false")]
    pub critical: bool,
    /// Names for which the CA may sign; nothing else of a listed type is allowed then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permitted: Option<NameConstraintItem>,
    /// Names for which the CA may not sign, even if they are permitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excluded: Option<NameConstraintItem>,
}

/// Names by type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct NameConstraintItem {
    /// DNS domains, subdomains included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_domains: Vec<String>,
    /// Networks in CIDR notation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::networks")]
    pub ip_ranges: Vec<String>,
    /// Mail addresses, hosts or domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub email_addresses: Vec<String>,
    /// Domains of URIs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uri_domains: Vec<String>,
}

/// What has become of the certificate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct CertificateStatus {
    /// `Ready` tells whether the Secret holds a valid certificate for the spec, `Issuing` whether a new one is being
    /// obtained. Setting Issuing to True asks for a new certificate at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// When the last issuance failed; absent after a success.
    #[serde(deserialize_with = "lenient::or_none", skip_serializing_if = "Option::is_none")]
    pub last_failure_time: Option<Time>,
    /// How many issuances failed in a row; absent after a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_issuance_attempts: Option<i64>,
    /// Start of the validity of the certificate in the Secret.
    #[serde(deserialize_with = "lenient::or_none", skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// End of the validity of the certificate in the Secret.
    #[serde(deserialize_with = "lenient::or_none", skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
    /// When the certificate is going to be renewed.
    #[serde(deserialize_with = "lenient::or_none", skip_serializing_if = "Option::is_none")]
    pub renewal_time: Option<Time>,
    /// Number of the issuance that the certificate in the Secret comes from, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// Secret that keeps the new private key while an issuance is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_private_key_secret_name: Option<String>,
    /// What the ACME server says about the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acme: Option<CertificateAcmeStatus>,
}

/// What an ACME server says about a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct CertificateAcmeStatus {
    /// When the CA wants the certificate renewed (ACME Renewal Information, RFC 9773).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ari: Option<AcmeRenewalInfo>,
}

/// The last answer to a question for ACME Renewal Information (RFC 9773).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct AcmeRenewalInfo {
    /// The time span in which the CA suggests to renew.
    #[serde(deserialize_with = "lenient::or_none", skip_serializing_if = "Option::is_none")]
    pub suggested_window: Option<SuggestedWindow>,
    /// A page that tells why the CA suggests that time.
    #[serde(rename = "explanationURL", skip_serializing_if = "Option::is_none")]
    pub explanation_url: Option<String>,
    /// When the CA was last asked.
    #[serde(deserialize_with = "lenient::or_none", skip_serializing_if = "Option::is_none")]
    pub last_checked: Option<Time>,
    /// When the CA is going to be asked again.
    #[serde(deserialize_with = "lenient::or_none", skip_serializing_if = "Option::is_none")]
    pub next_check: Option<Time>,
    /// Why the last question failed; absent after a success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// A time span in which to renew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuggestedWindow {
    /// Start of the time span.
    pub start: Time,
    /// End of the time span.
    pub end: Time,
}
