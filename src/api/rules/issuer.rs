//! What makes sense in an Issuer or ClusterIssuer. Solvers in Challenges are copies, for which nothing is checked again.

use super::Rule;

/// `spec.acme`.
pub fn acme() -> [Rule; 3] {
    [
        Rule::new("self.server != ''", "must be specified").required().at(".server"),
        selector_name("privateKeySecretRef"),
        Rule::new(
            "!self.?skipTLSVerify.orValue(false) || size(self.?caBundle.orValue(b'')) == 0",
            "must not be set together with skipTLSVerify",
        )
        .forbidden()
        .at(".caBundle"),
    ]
}

/// `spec.acme.externalAccountBinding`.
pub fn external_account_binding() -> [Rule; 3] {
    [
        Rule::new("self.keyID != ''", "must be specified").required().at(".keyID"),
        selector_name("keySecretRef"),
        Rule::new("self.keySecretRef.?key.orValue('') != ''", "must be specified").required().at(".keySecretRef.key"),
    ]
}

/// `spec.ca`.
pub fn ca() -> [Rule; 1] {
    [Rule::new("self.secretName != ''", "must be specified").required().at(".secretName")]
}

/// `spec.acme.solvers[]`.
pub fn solver() -> [Rule; 1] {
    [Rule::new("has(self.http01) != has(self.dns01)", "exactly one of http01 and dns01 must be set")]
}

/// `solvers[].http01`.
pub fn http01() -> [Rule; 1] {
    [Rule::new(
        "has(self.ingress) != has(self.gatewayHTTPRoute)",
        "exactly one of ingress and gatewayHTTPRoute must be set",
    )]
}

/// `http01.ingress`. Writers in Go store empty texts too.
pub fn ingress() -> [Rule; 2] {
    [
        Rule::new(
            "[self.?class, self.?ingressClassName, self.?name].filter(text, text.orValue('') != '').size() < 2",
            "only one of class, ingressClassName and name may be set",
        )
        .forbidden(),
        service_type(),
    ]
}

/// `http01.gatewayHTTPRoute`.
pub fn gateway_route() -> [Rule; 1] {
    [service_type()]
}

fn service_type() -> Rule {
    Rule::new("self.?serviceType.orValue('') in ['', 'ClusterIP', 'NodePort']", "must be ClusterIP or NodePort")
        .at(".serviceType")
}

/// `solvers[].dns01`.
pub fn dns01() -> [Rule; 1] {
    let providers =
        ["acmeDNS", "akamai", "azureDNS", "cloudDNS", "cloudflare", "digitalocean", "rfc2136", "route53", "webhook"];
    let set = providers.map(|name| format!("has(self.{name})")).join(", ");
    [Rule::new(format!("[{set}].filter(set, set).size() == 1"), "exactly one provider must be set")]
}

/// `ingress.ingressClassName`.
pub fn ingress_class_name() -> [Rule; 1] {
    [Rule::new(
        "self.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$')",
        "must be the name of an IngressClass (RFC 1123 subdomain): lower case letters, digits, '-' and '.'",
    )]
}

/// `dns01.nameservers[]`.
pub fn nameserver() -> [Rule; 1] {
    [Rule::new(format!("self.matches('{NAMESERVER}')"), NAMESERVERS)]
}

/// `rfc2136.nameserver`, of which [`rfc2136`] says that it is not empty.
pub fn update_server() -> [Rule; 1] {
    [Rule::new(format!("self == '' || self.matches('{NAMESERVER}')"), NAMESERVERS)]
}

/// The shape of a name server: a host or an IPv4 address with or without port, an IPv6 address in brackets or without a port; before it
/// how it is asked, and behind it for what its certificate is; or an URL. Whether all of it makes sense is found out by the controller.
const NAMESERVER: &str = r"(?i)^\\s*(https://\\S+|(t(cp|ls)://)?([-\\w.]+(:\\d+)?|\\[[\\da-f:.]+\\](:\\d+)?|[\\da-f]*(:[\\da-f.]*){2,})(#\\S+)?)\\s*$";

const NAMESERVERS: &str = "must be a host or host:port (IPv6 addresses in brackets), also with tcp:// or tls:// before it, or an https:// URL";

/// `rfc2136.tsigAlgorithm`: the spellings of cert-manager, of name servers and of the wire.
pub fn tsig_algorithm() -> [Rule; 1] {
    [Rule::new(
        r"self.matches('(?i)^\\s*(hmac[-_]?(sha(1|224|256|384|512)|md5([.]sig-?alg[.]reg[.]int)?)[.]*)?\\s*$')",
        "must be HMACMD5, HMACSHA1, HMACSHA224, HMACSHA256, HMACSHA384 or HMACSHA512",
    )]
}

/// Of each provider, by its field of `dns01`.
pub fn providers() -> Vec<(&'static str, Vec<Rule>)> {
    vec![
        ("acmeDNS", [vec![text("self.host", ".host")], selector("accountSecretRef")].concat()),
        (
            "akamai",
            [
                vec![text("self.serviceConsumerDomain", ".serviceConsumerDomain")],
                selector("clientTokenSecretRef"),
                selector("clientSecretSecretRef"),
                selector("accessTokenSecretRef"),
            ]
            .concat(),
        ),
        ("azureDNS", azure()),
        ("cloudDNS", [vec![text("self.project", ".project")], optional_selector("serviceAccountSecretRef")].concat()),
        ("cloudflare", cloudflare()),
        ("digitalocean", selector("tokenSecretRef")),
        ("rfc2136", rfc2136()),
        ("route53", route53()),
        ("webhook", vec![text("self.solverName", ".solverName")]),
    ]
}

fn azure() -> Vec<Rule> {
    let signs_in =
        "(self.?clientID.orValue('') != '' || self.?tenantID.orValue('') != '' || has(self.clientSecretSecretRef))";
    let needs = |field: &str, place| {
        Rule::new(format!("!{signs_in} || {field}"), "must be set where clientID, clientSecretSecretRef or tenantID is")
            .required()
            .at(place)
    };
    let identity = |field: &str| format!("self.?managedIdentity.?{field}.orValue('')");
    let (client, resource, tenant) = (identity("clientID"), identity("resourceID"), identity("tenantID"));
    vec![
        text("self.subscriptionID", ".subscriptionID"),
        text("self.resourceGroupName", ".resourceGroupName"),
        needs("self.?clientID.orValue('') != ''", ".clientID"),
        needs("self.?tenantID.orValue('') != ''", ".tenantID"),
        needs("has(self.clientSecretSecretRef)", ".clientSecretSecretRef"),
        Rule::new(
            format!("!{signs_in} || !has(self.managedIdentity)"),
            "must not be set together with clientID, clientSecretSecretRef and tenantID",
        )
        .forbidden()
        .at(".managedIdentity"),
        Rule::new(format!("{client} == '' || {resource} == ''"), "clientID and resourceID are mutually exclusive")
            .forbidden()
            .at(".managedIdentity"),
        Rule::new(
            format!("{tenant} == '' || ({client} != '' && {resource} == '')"),
            "tenantID needs clientID, and cannot be used with resourceID",
        )
        .forbidden()
        .at(".managedIdentity"),
    ]
}

fn cloudflare() -> Vec<Rule> {
    let own = vec![
        Rule::new(
            "has(self.apiKeySecretRef) != has(self.apiTokenSecretRef)",
            "exactly one of apiKeySecretRef and apiTokenSecretRef must be set",
        ),
        Rule::new(
            "!has(self.apiKeySecretRef) || self.?email.orValue('') != ''",
            "must be specified where apiKeySecretRef is",
        )
        .required()
        .at(".email"),
    ];
    [own, optional_selector("apiKeySecretRef"), optional_selector("apiTokenSecretRef")].concat()
}

/// Writers in Go store a reference without a name where there is no key.
fn rfc2136() -> Vec<Rule> {
    let named = "self.?tsigSecretSecretRef.?name.orValue('') != ''";
    vec![
        text("self.nameserver", ".nameserver"),
        Rule::new(
            format!("(self.?tsigKeyName.orValue('') != '') == ({named})"),
            "tsigKeyName and tsigSecretSecretRef must be set together",
        )
        .at(".tsigKeyName"),
        selector_key("tsigSecretSecretRef", &format!("!({named}) || ")),
    ]
}

fn route53() -> Vec<Rule> {
    let own = vec![
        Rule::new(
            "self.?accessKeyID.orValue('') == '' || !has(self.accessKeyIDSecretRef)",
            "must not be set together with accessKeyID",
        )
        .forbidden()
        .at(".accessKeyIDSecretRef"),
    ];
    [own, optional_selector("accessKeyIDSecretRef")].concat()
}

/// A text that is there, and not empty.
fn text(field: &str, place: &'static str) -> Rule {
    Rule::new(format!("{field} != ''"), "must be specified").required().at(place)
}

/// A reference to an entry of a Secret: both parts are there.
fn selector(field: &'static str) -> Vec<Rule> {
    vec![selector_name(field), selector_key(field, "")]
}

/// The same, where the reference itself may be missing.
fn optional_selector(field: &'static str) -> Vec<Rule> {
    let unset = format!("!has(self.{field}) || ");
    vec![
        Rule::new(format!("{unset}self.{field}.name != ''"), "the name must be specified").required().at_field(field),
        selector_key(field, &unset),
    ]
}

fn selector_name(field: &'static str) -> Rule {
    Rule::new(format!("self.{field}.name != ''"), "the name must be specified").required().at_field(field)
}

fn selector_key(field: &'static str, unset: &str) -> Rule {
    let rule = format!("{unset}self.{field}.?key.orValue('') != ''");
    Rule::new(rule, "the key must be specified").required().at_field(field)
}
