//! What makes sense in a Certificate.

use super::Rule;

/// The grammar of Go's `time.ParseDuration`.
const DURATION: &str = "'^[-+]?(0|(([0-9]+([.][0-9]*)?|[.][0-9]+)(ns|us|\u{b5}s|\u{3bc}s|ms|s|m|h))+)$'";

/// The keys of labels.
const QUALIFIED_NAME: &str = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?\
    [A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";

/// The algorithm of the private key, with its default.
const ALGORITHM: &str = "self.?privateKey.?algorithm.orValue('RSA')";

/// Rules over several fields of the spec.
pub fn certificate() -> Vec<Rule> {
    let mut rules = vec![something_to_certify(), renewal_within_lifetime()];
    rules.extend([
        Rule::new(
            "!has(self.renewBefore) || !has(self.renewBeforePercentage)",
            "renewBefore and renewBeforePercentage are mutually exclusive",
        )
        .at(".renewBefore"),
        Rule::new(
            "self.?literalSubject.orValue('') == '' || self.?commonName.orValue('') == ''",
            "must not be set together with literalSubject",
        )
        .forbidden()
        .at(".commonName"),
        Rule::new(
            format!("self.?literalSubject.orValue('') == '' || !({SUBJECT})"),
            "must not be set together with literalSubject",
        )
        .forbidden()
        .at(".subject"),
        Rule::new("!has(self.nameConstraints) || self.?isCA.orValue(false)", "is allowed only where isCA is true")
            .forbidden()
            .at(".nameConstraints"),
    ]);
    rules.extend(signature_algorithms());
    rules
}

/// Whether any attribute of `subject` is set: writers in Go store empty ones too.
const SUBJECT: &str = "has(self.subject) && (size(self.subject.?organizations.orValue([])) > 0 \
    || size(self.subject.?countries.orValue([])) > 0 || size(self.subject.?organizationalUnits.orValue([])) > 0 \
    || size(self.subject.?localities.orValue([])) > 0 || size(self.subject.?provinces.orValue([])) > 0 \
    || size(self.subject.?streetAddresses.orValue([])) > 0 || size(self.subject.?postalCodes.orValue([])) > 0 \
    || self.subject.?serialNumber.orValue('') != '')";

fn something_to_certify() -> Rule {
    Rule::new(
        "self.?commonName.orValue('') != '' || size(self.?dnsNames.orValue([])) > 0 \
        || size(self.?ipAddresses.orValue([])) > 0 || size(self.?uris.orValue([])) > 0 \
        || size(self.?emailAddresses.orValue([])) > 0 || size(self.?otherNames.orValue([])) > 0 \
        || (has(self.literalSubject) \
        && self.literalSubject.matches('(?i)(^|[,;+]) *(CN|2[.]5[.]4[.]3) *= *[^ ,;+]'))",
        "at least one of commonName (also as CN in literalSubject), dnsNames, uris, emailAddresses, ipAddresses or \
         otherNames must be set",
    )
}

fn renewal_within_lifetime() -> Rule {
    let lifetime = "(has(self.duration) ? self.duration : '2160h')";
    Rule::new(
        format!(
            "!has(self.renewBefore) || !self.renewBefore.matches({DURATION}) || !{lifetime}.matches({DURATION}) \
             || duration(self.renewBefore) < duration({lifetime})"
        ),
        "must be less than duration, which is 2160h unless set",
    )
    .at(".renewBefore")
}

/// Of a signature algorithm that a later version adds, only the family of the known keys is asked for.
fn signature_algorithms() -> [Rule; 3] {
    let family = |algorithm: &str, allowed: &str, message| {
        Rule::new(
            format!(
                "!has(self.signatureAlgorithm) || {ALGORITHM} != '{algorithm}' || self.signatureAlgorithm in {allowed}"
            ),
            message,
        )
        .at(".signatureAlgorithm")
    };
    [
        family(
            "RSA",
            "['SHA256WithRSA', 'SHA384WithRSA', 'SHA512WithRSA']",
            "must be SHA256WithRSA, SHA384WithRSA or SHA512WithRSA for RSA keys (privateKey.algorithm)",
        ),
        family(
            "ECDSA",
            "['ECDSAWithSHA256', 'ECDSAWithSHA384', 'ECDSAWithSHA512']",
            "must be ECDSAWithSHA256, ECDSAWithSHA384 or ECDSAWithSHA512 for ECDSA keys (privateKey.algorithm)",
        ),
        family("Ed25519", "['PureEd25519']", "must be PureEd25519 for Ed25519 keys (privateKey.algorithm)"),
    ]
}

/// `secretName`: a name that a Secret can have.
pub fn secret_name() -> [Rule; 2] {
    [
        Rule::new("self != ''", "must be specified").required(),
        Rule::new(
            "self == '' || self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
            "must be a name for a Secret (RFC 1123 subdomain): lower case letters, digits, '-' and '.', at most 253, \
             with a letter or digit at both ends and beside each '.'",
        ),
    ]
}

/// `issuerRef.name`.
pub fn issuer_name() -> [Rule; 1] {
    [Rule::new("self != ''", "must be specified").required()]
}

/// `issuerRef`: the kinds of our own group are known.
pub fn issuer_reference() -> [Rule; 1] {
    [Rule::new(
        "!(self.?group.orValue('') in ['', 'cert-manager.io']) || self.?kind.orValue('') in ['', 'Issuer', 'ClusterIssuer']",
        "must be one of Issuer or ClusterIssuer for the group cert-manager.io",
    )
    .saying(
        "'must be one of Issuer or ClusterIssuer' + (self.?group.orValue('') == '' \
         ? ' (if the kind belongs to an external issuer, issuerRef.group is missing)' : '')",
    )
    .at(".kind")]
}

/// `commonName`: the limit of X.509 (ub-common-name) is applied to the bytes of UTF-8, like cert-manager does.
pub fn common_name() -> [Rule; 1] {
    [Rule::new("size(bytes(self)) <= 64", "must be 64 bytes of UTF-8 or less")]
}

/// `duration` of a Certificate.
pub fn duration() -> [Rule; 2] {
    [is_duration(), at_least("1h", "must be 1h or more")]
}

/// `renewBefore`.
pub fn renew_before() -> [Rule; 2] {
    [is_duration(), at_least("5m", "must be 5m or more")]
}

/// `solvers[].waitInsteadOfSelfCheck`.
pub fn wait() -> [Rule; 2] {
    [is_duration(), at_least("0s", "must not be negative")]
}

/// Any duration.
pub fn go_duration() -> [Rule; 1] {
    [is_duration()]
}

fn is_duration() -> Rule {
    Rule::new(
        format!("self.matches({DURATION})"),
        "must be a duration: numbers with the units h, m, s, ms, us or ns, such as 2160h or 1h30m",
    )
}

fn at_least(least: &str, message: &'static str) -> Rule {
    Rule::new(format!("!self.matches({DURATION}) || duration(self) >= duration('{least}')"), message)
}

/// `privateKey`: sizes by algorithm.
pub fn private_key() -> [Rule; 2] {
    let size_of = |algorithm: &str, allowed: &str| {
        format!("!has(self.size) || self.?algorithm.orValue('RSA') != '{algorithm}' || {allowed}")
    };
    [
        Rule::new(
            size_of("RSA", "self.size == 0 || (self.size >= 2048 && self.size <= 8192)"),
            "must be between 2048 and 8192 for RSA keys",
        )
        .at(".size"),
        Rule::new(size_of("ECDSA", "self.size in [0, 256, 384, 521]"), "must be 256, 384 or 521 for ECDSA keys")
            .at(".size"),
    ]
}

/// `emailAddresses[]`. The format of the schema has read it by RFC 5322, which allows more than an address.
pub fn bare_mail_address() -> [Rule; 1] {
    [Rule::new(
        "!self.matches('[\\\\s<>()\",;]')",
        "must be a bare mail address, such as admin@example.com, without a display name",
    )]
}

/// `ipAddresses[]`. Kubernetes has a function for this only since 1.31.
pub fn ip_address() -> [Rule; 1] {
    const BYTE: &str = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
    const GROUP: &str = "[0-9a-fA-F]{1,4}";
    let v4 = format!("({BYTE}[.]){{3}}{BYTE}");
    let tail = format!("({GROUP}:)*({GROUP}|{v4})");
    // The shape says that `::` is there once at most; how many groups there are is counted, an IPv4 tail as two.
    let v6 = format!("^({tail}|({GROUP}(:{GROUP})*)?::({tail})?)$");
    let groups = "self.split(':').filter(group, group != '').size() + (self.contains('.') ? 1 : 0)";
    [Rule::new(
        format!(
            "self.matches('^{v4}$') || (self.matches('{v6}') && [{groups}].all(n, self.contains('::') ? n < 8 : n == 8))"
        ),
        "must be an IP address, such as 192.0.2.1 or 2001:db8::1",
    )]
}

/// `otherNames[].oid`.
pub fn object_identifier() -> [Rule; 1] {
    [Rule::new(
        "self == '' || self.matches('^[0-9]+([.][0-9]+)+$')",
        "must be an object identifier in dotted numbers, such as 1.3.6.1.4.1.311.20.2.3",
    )]
}

/// `otherNames[]`.
pub fn other_name() -> [Rule; 2] {
    [
        Rule::new("self.?oid.orValue('') != ''", "must be specified").required().at(".oid"),
        Rule::new("self.?utf8Value.orValue('') != ''", "must be specified").required().at(".utf8Value"),
    ]
}

/// `secretTemplate.annotations`. The API server takes the keys of annotations without regard to case.
pub fn annotation_keys() -> [Rule; 2] {
    [
        Rule::new(
            format!("self.all(key, size(key) <= 317 && key.matches('(?i){QUALIFIED_NAME}'))"),
            "keys must be names of up to 63 letters, digits, '-', '_' and '.', with or without a DNS name and '/' before",
        ),
        Rule::new(
            "self.all(key, !key.startsWith('cert-manager.io/') || key == 'cert-manager.io/allow-direct-injection')",
            "keys must not begin with cert-manager.io/, except for cert-manager.io/allow-direct-injection",
        ),
    ]
}

/// `secretTemplate.labels`.
pub fn label_keys() -> [Rule; 1] {
    [Rule::new(
        format!("self.all(key, size(key) <= 317 && key.matches('{QUALIFIED_NAME}'))"),
        "keys must be names of up to 63 letters, digits, '-', '_' and '.', with or without a DNS name and '/' before",
    )]
}

/// `nameConstraints`.
pub fn name_constraints() -> [Rule; 1] {
    [Rule::new("has(self.permitted) || has(self.excluded)", "permitted or excluded must be set")]
}

/// `additionalOutputFormats`.
pub fn output_formats() -> [Rule; 1] {
    [Rule::new("self.all(one, self.exists_one(other, other.type == one.type))", "each type may be listed only once")]
}

/// `keystores.jks` and `keystores.pkcs12`: these say nothing of the value, which may be a password.
pub fn keystore() -> [Rule; 3] {
    let reference = "self.?passwordSecretRef.?name.orValue('') != ''";
    [
        Rule::new(
            format!("!has(self.password) || !({reference})"),
            "must not be set together with passwordSecretRef.name",
        )
        .forbidden()
        .at(".password"),
        Rule::new("!has(self.password) || self.password != ''", "must not be empty").forbidden().at(".password"),
        Rule::new(format!("has(self.password) || {reference}"), "password or passwordSecretRef.name must be set")
            .required()
            .at(".passwordSecretRef"),
    ]
}

/// `renewal`.
pub fn renewal() -> [Rule; 2] {
    [
        Rule::new("has(self.policy)", "must be RenewBefore or Disabled").required().at(".policy"),
        Rule::new(
            "self.?policy.orValue('') != 'Disabled' || size(self.?windows.orValue([])) == 0",
            "must not be set where policy is Disabled",
        )
        .forbidden()
        .at(".windows"),
    ]
}

/// `renewal.windows[].cron`: its shape; whether all numbers make sense is found out by the controller.
pub fn cron() -> [Rule; 1] {
    [Rule::new(
        r"self.matches('^\\s*(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|(\\S+\\s+){4}\\S+)\\s*$')",
        "must be a cron expression of five fields, such as 0 2 * * 6, or a word such as @daily",
    )]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use regex::Regex;

    use super::DURATION;
    use crate::api::GoDuration;
    use crate::api::duration::DurationError;

    #[test]
    fn the_grammar_of_durations_is_that_of_their_type() {
        let grammar = Regex::new(DURATION.trim_matches('\'')).unwrap();
        for text in [
            "0",
            "+0",
            "-0",
            "1h",
            "+1.5h30m0.25s",
            "-1ns",
            ".5s",
            "5.s",
            "1us2\u{b5}s3\u{3bc}s4ms",
            "",
            "-",
            "1",
            "h",
            ".s",
            "1d",
            "1h ",
            "1h30",
            "90 days",
            "--1s",
            "00",
            "0 1h",
            "1H",
            "\u{661}s",
            "1h\n",
        ] {
            let read = !matches!(GoDuration::from(text).to_duration(), Err(DurationError::Syntax { .. }));
            assert_eq!(grammar.is_match(text), read, "{text:?}");
        }
    }
}
