//! Every name that users and other tools see on objects: labels, annotations, finalizers, reasons, states.
//!
//! They are cert-manager's names, letter for letter; dashboards, alerts and command line tools rely on them. Names of
//! our own begin with [`OWN_PREFIX`].

/// API group of Certificates, CertificateRequests and issuers.
pub const GROUP: &str = "cert-manager.io";
/// API group of Orders and Challenges.
pub const ACME_GROUP: &str = "acme.cert-manager.io";
/// The one version that both groups serve.
pub const VERSION: &str = "v1";

pub const KIND_CERTIFICATE: &str = "Certificate";
pub const KIND_CERTIFICATE_REQUEST: &str = "CertificateRequest";
pub const KIND_ISSUER: &str = "Issuer";
pub const KIND_CLUSTER_ISSUER: &str = "ClusterIssuer";
pub const KIND_ORDER: &str = "Order";
pub const KIND_CHALLENGE: &str = "Challenge";

/// API group of the Gateway API, and its kinds for TLS that is passed through and for HTTP.
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// API group of those of its kinds that are still tried out.
pub const GATEWAY_EXPERIMENTAL_GROUP: &str = "gateway.networking.x-k8s.io";
pub const KIND_TLS_ROUTE: &str = "TLSRoute";
pub const KIND_HTTP_ROUTE: &str = "HTTPRoute";

/// Prefix of all labels and annotations that cert-manager does not have.
pub const OWN_PREFIX: &str = "certwright.dev/";
/// The groupName of webhook solvers that are answered in this process.
pub const OWN_GROUP: &str = "certwright.dev";

/// Beginning of the generated names of Pods, Services, Ingresses and HTTPRoutes that solve HTTP-01 challenges.
pub const HTTP01_SOLVER_NAME_PREFIX: &str = "cm-acme-http-solver-";

/// The Lease whose holder works, in the namespace `kube-system` as a rule. It is cert-manager's, so that the two never work
/// at the same time.
pub const LEASE: &str = "cert-manager-controller";

/// Beginning of the names of the Leases of the further shares, where several replicas work at once; a number follows.
pub const SHARD_LEASE_PREFIX: &str = "cert-manager-controller-shard-";

/// Field managers of writes.
pub mod field_manager {
    /// Writes target Secrets. Ownership of single labels and keys is read back from it.
    pub const ISSUING: &str = "cert-manager-certificates-issuing";
    /// Writes CA bundles into the objects of others.
    pub const CA_INJECTOR: &str = "cert-manager-cainjector";
    /// Writes Certificates that are made from Ingresses.
    pub const INGRESS_SHIM: &str = "cert-manager-ingress-shim";
    /// Writes Certificates that are made from Gateways.
    pub const GATEWAY_SHIM: &str = "cert-manager-gateway-shim";
    /// Writes Certificates that are made from ListenerSets.
    pub const LISTENER_SET_SHIM: &str = "cert-manager-listenerset";
    /// Writes everything else.
    pub const CERTWRIGHT: &str = "certwright";
}

/// Label keys, and the values that go with them.
pub mod label {
    /// Marks Secrets whose content is cached.
    pub const FAO: &str = "controller.cert-manager.io/fao";
    /// Marks Secrets that keep the key of an issuance under way.
    pub const NEXT_PRIVATE_KEY: &str = "cert-manager.io/next-private-key";
    /// Says who made an account key Secret.
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// Value of [`MANAGED_BY`].
    pub const MANAGED_BY_CERT_MANAGER: &str = "cert-manager";
    /// Value of the labels that only mark.
    pub const TRUE: &str = "true";

    /// On HTTP-01 solver objects: Adler-32 checksum of the name, in decimal.
    pub const HTTP_DOMAIN: &str = "acme.cert-manager.io/http-domain";
    /// On HTTP-01 solver objects: Adler-32 checksum of the token, in decimal.
    pub const HTTP_TOKEN: &str = "acme.cert-manager.io/http-token";
    /// Marks HTTP-01 solver objects.
    pub const HTTP01_SOLVER: &str = "acme.cert-manager.io/http01-solver";

    /// On a Namespace: `true` turns validation off.
    pub const DISABLE_VALIDATION: &str = "cert-manager.io/disable-validation";
    /// Left out when labels of an Ingress or Gateway are copied.
    pub const APPLYSET_PART_OF: &str = "applyset.kubernetes.io/part-of";
}

/// Annotation keys.
pub mod annotation {
    /// On target Secrets and CertificateRequests: name of the Certificate.
    pub const CERTIFICATE_NAME: &str = "cert-manager.io/certificate-name";
    /// On target Secrets: the issuer, word for word as in the CertificateRequest.
    pub const ISSUER_NAME: &str = "cert-manager.io/issuer-name";
    /// On target Secrets, and on Ingresses and Gateways: kind of the issuer.
    pub const ISSUER_KIND: &str = "cert-manager.io/issuer-kind";
    /// On target Secrets, and on Ingresses and Gateways: group of the issuer.
    pub const ISSUER_GROUP: &str = "cert-manager.io/issuer-group";

    /// On target Secrets always, possibly empty; on Ingresses and Gateways a wish.
    pub const COMMON_NAME: &str = "cert-manager.io/common-name";
    /// DNS names, comma separated; see [`COMMON_NAME`].
    pub const ALT_NAMES: &str = "cert-manager.io/alt-names";
    /// IP addresses, comma separated; see [`COMMON_NAME`].
    pub const IP_SANS: &str = "cert-manager.io/ip-sans";
    /// URIs, comma separated; see [`COMMON_NAME`].
    pub const URI_SANS: &str = "cert-manager.io/uri-sans";
    /// On target Secrets only if not empty, as all that follow up to the serial number.
    pub const EMAIL_SANS: &str = "cert-manager.io/email-sans";
    pub const SUBJECT_ORGANIZATIONS: &str = "cert-manager.io/subject-organizations";
    pub const SUBJECT_ORGANIZATIONAL_UNITS: &str = "cert-manager.io/subject-organizationalunits";
    pub const SUBJECT_COUNTRIES: &str = "cert-manager.io/subject-countries";
    pub const SUBJECT_PROVINCES: &str = "cert-manager.io/subject-provinces";
    pub const SUBJECT_LOCALITIES: &str = "cert-manager.io/subject-localities";
    pub const SUBJECT_STREET_ADDRESSES: &str = "cert-manager.io/subject-streetaddresses";
    pub const SUBJECT_POSTAL_CODES: &str = "cert-manager.io/subject-postalcodes";
    pub const SUBJECT_SERIAL_NUMBER: &str = "cert-manager.io/subject-serialnumber";

    /// On CertificateRequests: number of the issuance, in decimal.
    pub const CERTIFICATE_REVISION: &str = "cert-manager.io/certificate-revision";
    /// On CertificateRequests: Secret with the key that signed the request.
    pub const PRIVATE_KEY_SECRET_NAME: &str = "cert-manager.io/private-key-secret-name";
    /// On Certificates: `true` asks for a stopgap certificate until the real one is there.
    pub const ISSUE_TEMPORARY_CERTIFICATE: &str = "cert-manager.io/issue-temporary-certificate";
    /// On Secrets: `true` allows their CA to be injected elsewhere; the one key of the group allowed in a template.
    pub const ALLOW_DIRECT_INJECTION: &str = "cert-manager.io/allow-direct-injection";
    /// On webhook configurations, APIServices and definitions: the Secret whose CA is injected, as `NAMESPACE/NAME`.
    pub const INJECT_CA_FROM_SECRET: &str = "cert-manager.io/inject-ca-from-secret";
    /// On the same: the Certificate whose CA is injected, as `NAMESPACE/NAME`.
    pub const INJECT_CA_FROM: &str = "cert-manager.io/inject-ca-from";
    /// On the same, `true`: the CA of the API server is injected.
    pub const INJECT_APISERVER_CA: &str = "cert-manager.io/inject-apiserver-ca";

    /// On Ingresses and Gateways: name of an Issuer.
    pub const ISSUER: &str = "cert-manager.io/issuer";
    /// On Ingresses and Gateways: name of a ClusterIssuer.
    pub const CLUSTER_ISSUER: &str = "cert-manager.io/cluster-issuer";
    pub const DURATION: &str = "cert-manager.io/duration";
    pub const RENEW_BEFORE: &str = "cert-manager.io/renew-before";
    pub const RENEW_BEFORE_PERCENTAGE: &str = "cert-manager.io/renew-before-percentage";
    pub const USAGES: &str = "cert-manager.io/usages";
    pub const REVISION_HISTORY_LIMIT: &str = "cert-manager.io/revision-history-limit";
    pub const PRIVATE_KEY_ALGORITHM: &str = "cert-manager.io/private-key-algorithm";
    pub const PRIVATE_KEY_ENCODING: &str = "cert-manager.io/private-key-encoding";
    pub const PRIVATE_KEY_SIZE: &str = "cert-manager.io/private-key-size";
    pub const PRIVATE_KEY_ROTATION_POLICY: &str = "cert-manager.io/private-key-rotation-policy";
    pub const SECRET_TEMPLATE: &str = "cert-manager.io/secret-template";
    pub const IGNORE_TLS_LISTENERS: &str = "cert-manager.io/ignore-tls-listeners";
    /// On Ingresses: `true` asks for a certificate from the default issuer.
    pub const TLS_ACME: &str = "kubernetes.io/tls-acme";

    /// On Ingresses: `true` serves challenges from the Ingress itself.
    pub const HTTP01_EDIT_IN_PLACE: &str = "acme.cert-manager.io/http01-edit-in-place";
    pub const HTTP01_INGRESS_CLASS: &str = "acme.cert-manager.io/http01-ingress-class";
    pub const HTTP01_INGRESS_CLASS_NAME: &str = "acme.cert-manager.io/http01-ingress-ingressclassname";
    /// On Certificates, and copied down to Orders: takes the place of the solver's `name`. At most one of the three.
    pub const HTTP01_OVERRIDE_INGRESS_NAME: &str = "acme.cert-manager.io/http01-override-ingress-name";
    /// Takes the place of the solver's `class`, see [`HTTP01_OVERRIDE_INGRESS_NAME`].
    pub const HTTP01_OVERRIDE_INGRESS_CLASS: &str = "acme.cert-manager.io/http01-override-ingress-class";
    /// Takes the place of the solver's `ingressClassName`, see [`HTTP01_OVERRIDE_INGRESS_NAME`].
    pub const HTTP01_OVERRIDE_INGRESS_CLASS_NAME: &str =
        "acme.cert-manager.io/http01-override-ingress-ingressclassname";
    /// On Certificates, and copied down to Orders: a further parent of the solver's HTTPRoute.
    pub const HTTP01_PARENT_REF_NAME: &str = "acme.cert-manager.io/http01-parentrefname";
    pub const HTTP01_PARENT_REF_KIND: &str = "acme.cert-manager.io/http01-parentrefkind";
    pub const HTTP01_PARENT_REF_NAMESPACE: &str = "acme.cert-manager.io/http01-parentrefnamespace";
    pub const HTTP01_PARENT_REF_FALLBACK: &str = "acme.cert-manager.io/http01-parentreffallback";

    /// On a Certificate: `Delete` or `Orphan`, what becomes of the Secret when the Certificate is deleted.
    pub const SECRET_POLICY: &str = "certwright.dev/secret-policy";
    /// On a Certificate: a time (RFC 3339); a certificate that was issued before is renewed then.
    pub const RENEW_AT: &str = "certwright.dev/renew-at";
    /// On a Certificate: how many certificates may be issued for it within 24 hours.
    pub const MAX_ISSUANCES_PER_DAY: &str = "certwright.dev/max-issuances-per-day";
    /// On a Certificate: the spare issuers, in the order in which they are asked when the one of the spec does not sign,
    /// such as `ClusterIssuer/zerossl, Issuer/own`.
    pub const FALLBACK_ISSUERS: &str = "certwright.dev/fallback-issuers";
    /// On a Certificate: how long an issuer is waited for before the next one is asked, such as `30m`.
    pub const FALLBACK_AFTER: &str = "certwright.dev/fallback-after";
    /// On the Lease of the first share: into how many shares the work is divided; `0` while that is being changed.
    pub const SHARDS: &str = "certwright.dev/shards";
    /// On the same Lease: which holder says that. Without effect if another one has it.
    pub const SHARDS_SAID_BY: &str = "certwright.dev/shards-said-by";
    /// On the Lease of a share: the replica that asks its holder for it.
    pub const WANTED_BY: &str = "certwright.dev/wanted-by";
    /// On a Certificate: why the certificate in its Secret is to be revoked now, such as `keyCompromise`. Each value is
    /// fulfilled once; after a colon may follow anything.
    pub const REVOKE: &str = "certwright.dev/revoke";
    /// On a Certificate: why its certificate is revoked when it is deleted.
    pub const REVOKE_ON_DELETE: &str = "certwright.dev/revoke-on-delete";
    /// On a target Secret: the value of [`REVOKE`] that was fulfilled, and the serial number of the certificate.
    pub const REVOKED: &str = "certwright.dev/revoked";
    /// On an issuer: `off`, `warn` or `refuse`, what is done about CAA records that forbid its CA to issue.
    pub const CAA: &str = "certwright.dev/caa";
    /// On a ClusterIssuer: the namespaces that it serves, separated by commas; `*` stands for any characters.
    pub const ALLOWED_NAMESPACES: &str = "certwright.dev/allowed-namespaces";
    /// On an issuer: the DNS names, IP addresses and networks that it certifies, separated by commas. `*.example.com` are those
    /// with one label more, `.example.com` all below it.
    pub const ALLOWED_NAMES: &str = "certwright.dev/allowed-names";
    /// On a CertificateRequest: when the requests before it were made, as far as that is less than a day ago.
    pub const RECENT_ISSUANCES: &str = "certwright.dev/recent-issuances";
    /// On a CertificateRequest and its Order: when the certificate ends that this one replaces (RFC 3339).
    pub const EXPIRES: &str = "certwright.dev/expires";
    /// On an issuer: `authoritative`, `recursive`, `both` or `none`, which DNS servers must have a TXT record before the CA looks.
    pub const DNS01_VERIFICATION: &str = "certwright.dev/dns01-verification";
    /// On an issuer: how many orders its account may have created in which time, such as `300/3h`.
    pub const NEW_ORDERS: &str = "certwright.dev/new-orders";
    /// On a CertificateRequest: identifier of the certificate that the requested one replaces (RFC 9773 section 4.1).
    pub const REPLACES: &str = "certwright.dev/replaces";
    /// On CertificateRequests and Orders, `true`: the CA wants the renewal sooner than it would come by itself, or the time
    /// that it suggested has passed. Such Orders go before others.
    pub const URGENT: &str = "certwright.dev/urgent";
    /// On a Certificate, and copied down to its CertificateRequests: the profile to order, in place of the issuer's.
    pub const PROFILE: &str = "certwright.dev/profile";
    /// On an issuer: another value than before asks for another account key (RFC 8555 section 7.3.5).
    pub const ROLL_ACCOUNT_KEY: &str = "certwright.dev/roll-account-key";
    /// On an account key's Secret: the value of [`ROLL_ACCOUNT_KEY`] that was last regarded.
    pub const ACCOUNT_KEY_ROLLED: &str = "certwright.dev/account-key-rolled";
    /// On an account key's Secret: the URL of the account that the next key in it is for.
    pub const ACCOUNT_KEY_ROLLING: &str = "certwright.dev/account-key-rolling";
    /// On an Issuer or ClusterIssuer: which of its solvers answer by TLS-ALPN-01, `true` or a list such as `0,2`.
    pub const TLS_ALPN_01: &str = "certwright.dev/tls-alpn-01";
    /// On an Issuer or ClusterIssuer: the external id with which its Route 53 solvers take on their `role`.
    pub const AWS_EXTERNAL_ID: &str = "certwright.dev/aws-external-id";
    /// On an Issuer or ClusterIssuer: who answers HTTP-01 challenges, `pod` or `controller`. On a Challenge: the same, as it was
    /// when the Challenge was created.
    pub const HTTP01_SOLVER: &str = "certwright.dev/http01-solver";
    /// On a Challenge that the controller answers: which route of its Order leads the CA's question there. Those with the same value
    /// share an Ingress or HTTPRoute, a Service and an EndpointSlice.
    pub const HTTP01_ROUTE: &str = "certwright.dev/http01-route";
    /// In the `ingressTemplate` of a solver: the type of its paths, one of [`path_type`](super::path_type).
    pub const HTTP01_PATH_TYPE: &str = "certwright.dev/http01-path-type";
    /// On a Challenge: its type at the CA, if that is none of those that `spec.type` can say.
    pub const CHALLENGE_TYPE: &str = "certwright.dev/challenge-type";
    /// On a Challenge whose TXT record is not, or not only, at the challenge's own name: where it is or may be, as
    /// `NAME ZONE, NAME ZONE`.
    pub const DNS01_RECORD: &str = "certwright.dev/dns01-record";
    /// On a target Secret: what its keystores were made from.
    pub const KEYSTORES: &str = "certwright.dev/keystores";
    /// On a target Secret: the value of [`RENEW_AT`] that is done with.
    pub const RENEWED_AT: &str = "certwright.dev/renewed-at";

    /// On solver Pods, `false`: a sidecar would catch the CA's request.
    pub const ISTIO_INJECT: &str = "sidecar.istio.io/inject";
    /// On solver Pods, `true`.
    pub const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
    /// On solver Services, `NONE`.
    pub const ISTIO_AUTH: &str = "auth.istio.io/8089";
    /// On solver Ingresses: everybody may ask.
    pub const NGINX_WHITELIST_SOURCE_RANGE: &str = "nginx.ingress.kubernetes.io/whitelist-source-range";
    /// On solver Ingresses: the class, for controllers that do not read `ingressClassName`.
    pub const INGRESS_CLASS: &str = "kubernetes.io/ingress.class";
}

/// Finalizers.
pub mod finalizer {
    /// On Challenges from the start of the work until the clean-up is done.
    pub const CHALLENGE: &str = "acme.cert-manager.io/finalizer";
    /// What old versions wrote; replaced when seen.
    pub const CHALLENGE_LEGACY: &str = "finalizer.acme.cert-manager.io";
    /// On Certificates whose certificate is to be revoked when they are deleted.
    pub const REVOKE: &str = "certwright.dev/revoke";
}

/// Condition types and statuses.
pub mod condition {
    /// On Certificates, CertificateRequests and issuers.
    pub const READY: &str = "Ready";
    /// On Certificates.
    pub const ISSUING: &str = "Issuing";
    /// On CertificateRequests.
    pub const APPROVED: &str = "Approved";
    /// On CertificateRequests.
    pub const DENIED: &str = "Denied";
    /// On CertificateRequests.
    pub const INVALID_REQUEST: &str = "InvalidRequest";

    pub const TRUE: &str = "True";
    pub const FALSE: &str = "False";
    pub const UNKNOWN: &str = "Unknown";
}

/// Reasons of conditions.
pub mod reason {
    /// Certificate Ready=True.
    pub const READY: &str = "Ready";

    // What the Certificate's checks find.
    pub const DOES_NOT_EXIST: &str = "DoesNotExist";
    pub const MISSING_DATA: &str = "MissingData";
    pub const INVALID_KEY_PAIR: &str = "InvalidKeyPair";
    /// The Secret's certificate, or the one that an issuer returned, cannot be used.
    pub const INVALID_CERTIFICATE: &str = "InvalidCertificate";
    pub const INCORRECT_ISSUER: &str = "IncorrectIssuer";
    pub const INCORRECT_CERTIFICATE: &str = "IncorrectCertificate";
    pub const SECRET_MISMATCH: &str = "SecretMismatch";
    pub const INVALID_CERTIFICATE_REQUEST: &str = "InvalidCertificateRequest";
    pub const REQUEST_CHANGED: &str = "RequestChanged";
    /// The certificate in the Secret was revoked because somebody asked for it. Our own.
    pub const REVOKED: &str = "Revoked";
    pub const RENEWING: &str = "Renewing";
    pub const EXPIRED: &str = "Expired";
    pub const WINDOW_ERROR: &str = "WindowError";
    /// Set by command line tools that ask for a renewal.
    pub const MANUALLY_TRIGGERED: &str = "ManuallyTriggered";

    /// The spec asks for something that no issuer could certify. Not one of cert-manager's reasons.
    pub const REFUSED_BY_API_SERVER: &str = "RefusedByAPIServer";
    pub const TOO_MANY_ISSUANCES: &str = "TooManyIssuances";
    pub const SECRET_OF_ANOTHER: &str = "SecretOfAnother";
    pub const INVALID_SPEC: &str = "InvalidSpec";

    // What the checks of an issued Secret find.
    pub const SECRET_MANAGED_METADATA_MISMATCH: &str = "SecretManagedMetadataMismatch";
    pub const SECRET_TEMPLATE_MISMATCH: &str = "SecretTemplateMismatch";
    pub const ADDITIONAL_OUTPUT_FORMATS_MISMATCH: &str = "AdditionalOutputFormatsMismatch";
    pub const SECRET_OWNER_REF_MISMATCH: &str = "SecretOwnerRefMismatch";
    pub const MANAGED_FIELDS_PARSE_ERROR: &str = "ManagedFieldsParseError";

    // CertificateRequest Ready.
    pub const PENDING: &str = "Pending";
    pub const FAILED: &str = "Failed";
    pub const DENIED: &str = "Denied";
    pub const ISSUED: &str = "Issued";
    /// CertificateRequest Approved, set by the built-in approver.
    pub const APPROVED_BY_US: &str = "cert-manager.io";

    // Issuer Ready.
    pub const ACME_ACCOUNT_REGISTERED: &str = "ACMEAccountRegistered";
    pub const INVALID_CONFIG: &str = "InvalidConfig";
    pub const ERR_VERIFY_ACME_ACCOUNT: &str = "ErrVerifyACMEAccount";
    pub const ERR_REGISTER_ACME_ACCOUNT: &str = "ErrRegisterACMEAccount";
    pub const ERR_UPDATE_ACME_ACCOUNT: &str = "ErrUpdateACMEAccount";
    pub const INVALID_URL: &str = "InvalidURL";
    pub const INVALID_SOLVER: &str = "InvalidSolver";
    pub const KEY_PAIR_VERIFIED: &str = "KeyPairVerified";
    pub const ERR_GET_KEY_PAIR: &str = "ErrGetKeyPair";
    pub const ERR_INVALID_KEY_PAIR: &str = "ErrInvalidKeyPair";
    pub const IS_READY: &str = "IsReady";
    /// The issuer is of a type that certwright does not serve. Not one of cert-manager's reasons.
    pub const UNSUPPORTED: &str = "Unsupported";
}

/// Reasons of events.
pub mod event {
    // Certificate.
    pub const ISSUING: &str = "Issuing";
    pub const GENERATED: &str = "Generated";
    pub const REUSED: &str = "Reused";
    pub const DELETED: &str = "Deleted";
    pub const DECODE_FAILED: &str = "DecodeFailed";
    pub const CANNOT_REGENERATE_KEY: &str = "CannotRegenerateKey";
    pub const REQUESTED: &str = "Requested";
    pub const REQUEST_FAILED: &str = "RequestFailed";
    pub const WINDOW_ERROR: &str = "WindowError";
    pub const ARI_ERROR: &str = "ARIError";
    pub const KEYSTORE_PASSWORD_SECRET_NOT_FOUND: &str = "KeystorePasswordSecretNotFound";
    pub const FALLBACK_ISSUER: &str = "FallbackIssuer";
    pub const REVOKED: &str = "Revoked";
    pub const REVOCATION_FAILED: &str = "RevocationFailed";
    pub const CAA: &str = "CAA";
    pub const NOT_PUT_RIGHT: &str = "SecretNotPutRight";
    /// Nobody has approved or answered the CertificateRequest for some minutes. Not one of cert-manager's reasons.
    pub const UNANSWERED: &str = "RequestUnanswered";

    // All kinds. Not among cert-manager's.
    pub const REFUSED_BY_API_SERVER: &str = "RefusedByAPIServer";

    // CertificateRequest, for all issuers.
    pub const NOT_ALLOWED: &str = "NotAllowed";
    pub const APPROVED: &str = "cert-manager.io";
    pub const WAITING_FOR_APPROVAL: &str = "WaitingForApproval";
    pub const ISSUER_NOT_FOUND: &str = "IssuerNotFound";
    pub const ISSUER_TYPE_MISSING: &str = "IssuerTypeMissing";
    pub const ISSUER_NOT_READY: &str = "IssuerNotReady";
    pub const DECODE_ERROR: &str = "DecodeError";
    pub const CERTIFICATE_ISSUED: &str = "CertificateIssued";

    // CertificateRequest, for ACME issuers.
    pub const ORDER_CREATED: &str = "OrderCreated";
    pub const ORDER_PENDING: &str = "OrderPending";
    pub const ORDER_GET_ERROR: &str = "OrderGetError";
    pub const ORDER_CREATING_ERROR: &str = "OrderCreatingError";
    pub const ORDER_BUILDING_ERROR: &str = "OrderBuildingError";
    pub const ORDER_FAILED: &str = "OrderFailed";
    pub const INVALID_ORDER: &str = "InvalidOrder";
    pub const REQUEST_PARSING_ERROR: &str = "RequestParsingError";

    // CertificateRequest, for CA and self-signed issuers.
    pub const SECRET_MISSING: &str = "SecretMissing";
    pub const SECRET_INVALID_DATA: &str = "SecretInvalidData";
    pub const SECRET_GET_ERROR: &str = "SecretGetError";
    pub const SIGNING_ERROR: &str = "SigningError";
    pub const MISSING_SECRET: &str = "MissingSecret";
    pub const MISSING_ANNOTATION: &str = "MissingAnnotation";
    pub const ERROR_PARSING_KEY: &str = "ErrorParsingKey";
    pub const ERROR_GETTING_SECRET: &str = "ErrorGettingSecret";
    pub const ERROR_GENERATING: &str = "ErrorGenerating";
    pub const ERROR_PUBLIC_KEY: &str = "ErrorPublicKey";
    pub const ERROR_KEY_MATCH: &str = "ErrorKeyMatch";
    pub const ERROR_SIGNING: &str = "ErrorSigning";
    pub const BAD_CONFIG: &str = "BadConfig";

    // Issuer and ClusterIssuer; further reasons are those of the condition.
    pub const ERR_INIT_ISSUER: &str = "ErrInitIssuer";
    // Not among cert-manager's.
    pub const AGREED_TO_TERMS: &str = "AgreedToTerms";
    pub const ACCOUNT_KEY_NOT_CHANGED: &str = "AccountKeyNotChanged";

    // Webhook configurations, APIServices and definitions. Not among cert-manager's.
    pub const CA_NOT_INJECTED: &str = "CANotInjected";

    // Order.
    pub const CREATED: &str = "Created";
    pub const COMPLETE: &str = "Complete";
    pub const SOLVER: &str = "Solver";
    /// None of the chains that the CA offers is the preferred one. Not one of cert-manager's reasons.
    pub const PREFERRED_CHAIN_NOT_FOUND: &str = "PreferredChainNotFound";

    // Challenge.
    pub const STARTED: &str = "Started";
    pub const PRESENTED: &str = "Presented";
    pub const DOMAIN_VERIFIED: &str = "DomainVerified";
    pub const PRESENT_ERROR: &str = "PresentError";
    pub const CLEAN_UP_ERROR: &str = "CleanUpError";
    pub const FAILED: &str = "Failed";

    // Ingress and Gateway.
    pub const CREATE_CERTIFICATE: &str = "CreateCertificate";
    pub const UPDATE_CERTIFICATE: &str = "UpdateCertificate";
    pub const DELETE_CERTIFICATE: &str = "DeleteCertificate";
}

/// States of Orders, Challenges and authorizations: those of RFC 8555 section 7.1.6, and one of our own.
pub mod state {
    pub const VALID: &str = "valid";
    pub const READY: &str = "ready";
    pub const PENDING: &str = "pending";
    pub const PROCESSING: &str = "processing";
    pub const INVALID: &str = "invalid";
    pub const EXPIRED: &str = "expired";
    /// Failed without the server's doing; never sent by a server.
    pub const ERRORED: &str = "errored";

    /// Whether nothing more will happen: a success or a failure.
    pub fn is_final(state: &str) -> bool {
        state == VALID || is_failure(state)
    }

    /// Whether the Order or Challenge has failed.
    pub fn is_failure(state: &str) -> bool {
        [INVALID, EXPIRED, ERRORED].contains(&state)
    }
}

/// The values of [`annotation::HTTP01_SOLVER`].
pub mod http01_solver {
    pub const POD: &str = "pod";
    pub const CONTROLLER: &str = "controller";
}

/// How an Ingress compares a path (networking.k8s.io/v1).
pub mod path_type {
    pub const EXACT: &str = "Exact";
    pub const PREFIX: &str = "Prefix";
    pub const IMPLEMENTATION_SPECIFIC: &str = "ImplementationSpecific";
}

/// Types of Challenges as Kubernetes objects spell them, and as ACME servers do.
pub mod challenge_type {
    pub const HTTP01: &str = "HTTP-01";
    pub const DNS01: &str = "DNS-01";
    pub const ACME_HTTP01: &str = "http-01";
    pub const ACME_DNS01: &str = "dns-01";
    /// Kubernetes objects have no word for it, see [`super::annotation::CHALLENGE_TYPE`].
    pub const ACME_TLS_ALPN01: &str = "tls-alpn-01";
}

/// Keys of the data of Secrets.
pub mod secret_key {
    pub const TLS_CRT: &str = "tls.crt";
    pub const TLS_KEY: &str = "tls.key";
    pub const CA_CRT: &str = "ca.crt";
    pub const KEY_DER: &str = "key.der";
    pub const COMBINED_PEM: &str = "tls-combined.pem";
    pub const JKS_KEYSTORE: &str = "keystore.jks";
    pub const JKS_TRUSTSTORE: &str = "truststore.jks";
    pub const PKCS12_KEYSTORE: &str = "keystore.p12";
    pub const PKCS12_TRUSTSTORE: &str = "truststore.p12";
}
