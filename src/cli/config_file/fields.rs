//! The fields of cert-manager's configuration files, and the flags of the same meaning.

use serde_yaml::Value;

use super::shown;

/// One field.
pub struct Field {
    /// As in `leaderElectionConfig.leaseDuration`.
    pub path: &'static str,
    /// Without dashes.
    pub flag: &'static str,
    pub shape: Shape,
}

/// Which values a field takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One text, number or boolean.
    Any,
    Boolean,
    /// Names with `true` or `false`.
    Gates,
    Number,
    /// Names with texts.
    Pairs,
    Text,
    TextList,
    /// Patterns with levels: the list of `logging.vmodule`.
    VModule,
}

use Shape::{Boolean, Gates, Number, Pairs, Text, TextList, VModule};

const fn field(path: &'static str, flag: &'static str, shape: Shape) -> Field {
    Field { path, flag, shape }
}

/// Of all programs. Durations are texts.
pub const COMMON: &[Field] = &[
    field("kubeConfig", "kubeconfig", Text),
    field("metricsListenAddress", "metrics-listen-address", Text),
    field("metricsTLSConfig.cipherSuites", "metrics-tls-cipher-suites", TextList),
    field("metricsTLSConfig.minTLSVersion", "metrics-tls-min-version", Text),
    field("metricsTLSConfig.filesystem.certFile", "metrics-tls-cert-file", Text),
    field("metricsTLSConfig.filesystem.keyFile", "metrics-tls-private-key-file", Text),
    field("metricsTLSConfig.dynamic.secretNamespace", "metrics-dynamic-serving-ca-secret-namespace", Text),
    field("metricsTLSConfig.dynamic.secretName", "metrics-dynamic-serving-ca-secret-name", Text),
    field("metricsTLSConfig.dynamic.dnsNames", "metrics-dynamic-serving-dns-names", TextList),
    field("metricsTLSConfig.dynamic.leafDuration", "metrics-dynamic-serving-leaf-duration", Text),
    field("enablePprof", "enable-profiling", Boolean),
    field("pprofAddress", "profiler-address", Text),
    field("logging.format", "logging-format", Text),
    field("logging.verbosity", "v", Number),
    field("logging.flushFrequency", "log-flush-frequency", Shape::Any),
    field("logging.vmodule", "vmodule", VModule),
    field("logging.options.text.splitStream", "log-text-split-stream", Boolean),
    field("logging.options.text.infoBufferSize", "log-text-info-buffer-size", Shape::Any),
    field("logging.options.json.splitStream", "log-json-split-stream", Boolean),
    field("logging.options.json.infoBufferSize", "log-json-info-buffer-size", Shape::Any),
    field("featureGates", "feature-gates", Gates),
    field("pemSizeLimitsConfig.maxCertificateSize", "max-certificate-size", Number),
    field("pemSizeLimitsConfig.maxPrivateKeySize", "max-private-key-size", Number),
    field("pemSizeLimitsConfig.maxChainLength", "max-certificate-chain-length", Number),
    field("pemSizeLimitsConfig.maxBundleSize", "max-certificate-bundle-size", Number),
];

/// Of a ControllerConfiguration besides.
pub const CONTROLLER: &[Field] = &[
    field("apiServerHost", "master", Text),
    field("kubernetesAPIQPS", "kube-api-qps", Number),
    field("kubernetesAPIBurst", "kube-api-burst", Number),
    field("namespace", "namespace", Text),
    field("clusterResourceNamespace", "cluster-resource-namespace", Text),
    field("leaderElectionConfig.enabled", "leader-elect", Boolean),
    field("leaderElectionConfig.namespace", "leader-election-namespace", Text),
    field("leaderElectionConfig.leaseDuration", "leader-election-lease-duration", Text),
    field("leaderElectionConfig.renewDeadline", "leader-election-renew-deadline", Text),
    field("leaderElectionConfig.retryPeriod", "leader-election-retry-period", Text),
    field("leaderElectionConfig.healthzTimeout", "internal-healthz-leader-election-timeout", Text),
    field("controllers", "controllers", TextList),
    field("issuerAmbientCredentials", "issuer-ambient-credentials", Boolean),
    field("clusterIssuerAmbientCredentials", "cluster-issuer-ambient-credentials", Boolean),
    field("enableCertificateOwnerRef", "enable-certificate-owner-ref", Boolean),
    field("enableGatewayAPI", "enable-gateway-api", Boolean),
    field("gatewayAPI.enabled", "enable-gateway-api", Boolean),
    field("gatewayAPI.enableListenerSet", "enable-gateway-api-listenerset", Boolean),
    field("gatewayAPI.extraProtocols", "gateway-api-extra-protocols", TextList),
    field("copiedAnnotationPrefixes", "copied-annotation-prefixes", TextList),
    field("numberOfConcurrentWorkers", "concurrent-workers", Number),
    field("maxConcurrentChallenges", "max-concurrent-challenges", Number),
    field("certificateRequestMinimumBackoffDuration", "certificate-request-minimum-backoff-duration", Text),
    field("certificateRequestMaximumBackoffDuration", "certificate-request-maximum-backoff-duration", Text),
    field("healthzListenAddress", "internal-healthz-listen-address", Text),
    field("ingressShimConfig.defaultIssuerName", "default-issuer-name", Text),
    field("ingressShimConfig.defaultIssuerKind", "default-issuer-kind", Text),
    field("ingressShimConfig.defaultIssuerGroup", "default-issuer-group", Text),
    field("ingressShimConfig.defaultAutoCertificateAnnotations", "auto-certificate-annotations", TextList),
    field("ingressShimConfig.extraCertificateAnnotations", "extra-certificate-annotations", TextList),
    field("acmeHTTP01Config.solverImage", "acme-http01-solver-image", Text),
    field("acmeHTTP01Config.solverResourceRequestCPU", "acme-http01-solver-resource-request-cpu", Text),
    field("acmeHTTP01Config.solverResourceRequestMemory", "acme-http01-solver-resource-request-memory", Text),
    field("acmeHTTP01Config.solverResourceLimitsCPU", "acme-http01-solver-resource-limits-cpu", Text),
    field("acmeHTTP01Config.solverResourceLimitsMemory", "acme-http01-solver-resource-limits-memory", Text),
    field("acmeHTTP01Config.solverRunAsNonRoot", "acme-http01-solver-run-as-non-root", Boolean),
    field("acmeHTTP01Config.solverRuntimeClassName", "acme-http01-solver-runtime-class-name", Text),
    field("acmeHTTP01Config.solverNameservers", "acme-http01-solver-nameservers", TextList),
    field("acmeHTTP01Config.solverExtraLabels", "acme-http01-solver-extra-labels", Pairs),
    field("acmeDNS01Config.recursiveNameservers", "dns01-recursive-nameservers", TextList),
    field("acmeDNS01Config.recursiveNameserversOnly", "dns01-recursive-nameservers-only", Boolean),
    field("acmeDNS01Config.checkRetryPeriod", "dns01-check-retry-period", Text),
];

/// Of a WebhookConfiguration besides.
pub const WEBHOOK: &[Field] = &[
    field("securePort", "secure-port", Number),
    field("healthzPort", "healthz-port", Number),
    field("apiServerHost", "api-server-host", Text),
    field("tlsConfig.cipherSuites", "tls-cipher-suites", TextList),
    field("tlsConfig.minTLSVersion", "tls-min-version", Text),
    field("tlsConfig.filesystem.certFile", "tls-cert-file", Text),
    field("tlsConfig.filesystem.keyFile", "tls-private-key-file", Text),
    field("tlsConfig.dynamic.secretNamespace", "dynamic-serving-ca-secret-namespace", Text),
    field("tlsConfig.dynamic.secretName", "dynamic-serving-ca-secret-name", Text),
    field("tlsConfig.dynamic.dnsNames", "dynamic-serving-dns-names", TextList),
    field("tlsConfig.dynamic.leafDuration", "dynamic-serving-leaf-duration", Text),
    field("enableClientVerification", "enable-client-verification", Boolean),
    field("clientCAPath", "client-ca-path", Text),
    field("clientCertificateSubjects", "client-subject-names", TextList),
];

impl Shape {
    /// The value as the flag takes it; `None` if it is empty, which is as if it were not there.
    ///
    /// # Errors
    /// In words, if the value is of another type.
    pub fn text(self, value: &Value) -> Result<Option<String>, String> {
        let wrong = |wanted: &str| format!("is {}, {wanted}", shown(value));
        let text = match (self, value) {
            (Boolean | Self::Any, Value::Bool(value)) => value.to_string(),
            (Number | Self::Any, Value::Number(number)) => number.to_string(),
            (Text | Self::Any, Value::String(text)) => text.clone(),
            (TextList, Value::Sequence(list)) => joined(list.iter().map(item))?,
            (VModule, Value::Sequence(list)) => joined(list.iter().map(pattern))?,
            (Gates, Value::Mapping(gates)) => joined(gates.iter().map(|(name, value)| match (name, value) {
                (Value::String(name), Value::Bool(value)) => Ok(format!("{name}={value}")),
                _ => Err(format!("{} is {}, neither true nor false", bare(name), shown(value))),
            }))?,
            (Pairs, Value::Mapping(pairs)) => joined(pairs.iter().map(|(key, value)| match (key, value) {
                (Value::String(key), Value::String(value)) => Ok(format!("{key}={value}")),
                _ => Err(format!("{} is {}, which is no text", bare(key), shown(value))),
            }))?,
            (Boolean, _) => return Err(wrong("neither true nor false")),
            (Number, _) => return Err(wrong("not a number")),
            (TextList, _) => return Err(wrong("not a list of texts")),
            (Gates | Pairs, _) => return Err(wrong("not names with values")),
            (VModule, _) => return Err(wrong("not a list of patterns")),
            (Text, _) => return Err(wrong("not text")),
            (Self::Any, _) => return Err(wrong("not one value")),
        };
        Ok((!text.is_empty()).then_some(text))
    }
}

fn joined(items: impl Iterator<Item = Result<String, String>>) -> Result<String, String> {
    Ok(items.collect::<Result<Vec<_>, _>>()?.join(","))
}

fn item(value: &Value) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("holds {}, which is no text", shown(value)))
}

fn pattern(value: &Value) -> Result<String, String> {
    let file = value.get("filePattern").and_then(Value::as_str);
    let level = value.get("verbosity").and_then(Value::as_u64);
    match (file, level) {
        (Some(file), Some(level)) => Ok(format!("{file}={level}")),
        _ => Err("holds something without filePattern and verbosity".to_owned()),
    }
}

fn bare(key: &Value) -> String {
    key.as_str().map_or_else(|| shown(key), str::to_owned)
}
