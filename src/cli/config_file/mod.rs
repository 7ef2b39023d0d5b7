//! The file of `--config`: a ControllerConfiguration or WebhookConfiguration as cert-manager reads it. Each of its fields stands
//! for a flag.

mod fields;

use std::{fs::File, io::Read as _, path::Path};

use serde_yaml::{Mapping, Value};

use self::fields::{COMMON, CONTROLLER, Field, Shape, WEBHOOK};
use super::suggestion::suggestion;

/// What a program reads.
#[derive(Clone, Copy)]
pub struct FileKind {
    pub api_version: &'static str,
    pub kind: &'static str,
    fields: &'static [Field],
}

/// Of `certwright controller`.
pub const OF_CONTROLLER: FileKind = FileKind {
    api_version: "controller.config.cert-manager.io/v1alpha1",
    kind: "ControllerConfiguration",
    fields: CONTROLLER,
};

/// Of `certwright webhook`.
pub const OF_WEBHOOK: FileKind =
    FileKind { api_version: "webhook.config.cert-manager.io/v1alpha1", kind: "WebhookConfiguration", fields: WEBHOOK };

/// The key below which flags of certwright's own stand under their names. cert-manager would refuse it.
const OWN: &str = "certwright";

/// Bytes; more is no configuration.
const LONGEST: u64 = 1 << 20;

/// One field of the file that has a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Where it stands, as in `leaderElectionConfig.leaseDuration`.
    pub path: String,
    /// The name of the flag that it stands for, without dashes.
    pub flag: String,
    pub value: String,
}

impl Setting {
    /// As the command line has it.
    pub fn argument(&self) -> String {
        format!("--{}={}", self.flag, self.value)
    }
}

/// Reads the file.
///
/// # Errors
/// In words, beginning with the file's name, if it cannot be read, or names a field that there is not, or has a value of a
/// wrong type.
pub fn read(path: &Path, kind: FileKind) -> Result<Vec<Setting>, String> {
    let in_file = |problem: String| format!("{}: {problem}", path.display());
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text))
        .map_err(|error| in_file(error.to_string()))?;
    if text.len() as u64 > LONGEST {
        return Err(in_file(format!("is longer than {LONGEST} bytes")));
    }
    parse(&text, kind).map_err(in_file)
}

impl FileKind {
    fn fields(self) -> impl Iterator<Item = &'static Field> {
        COMMON.iter().chain(self.fields)
    }

    /// The flags that the fields stand for.
    #[cfg(test)]
    pub fn flags(self) -> impl Iterator<Item = &'static str> {
        self.fields().map(|field| field.flag)
    }

    fn field(self, path: &str) -> Option<&'static Field> {
        self.fields().find(|field| field.path == path)
    }

    fn is_group(self, path: &str) -> bool {
        self.fields().any(|field| field.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
    }

    /// The names of the fields in this group.
    fn beside(self, above: &str) -> impl Iterator<Item = &'static str> {
        let inner = self.fields().filter_map(move |field| match above {
            "" => Some(field.path),
            _ => field.path.strip_prefix(above)?.strip_prefix('.'),
        });
        inner.map(|rest| rest.split('.').next().unwrap_or(rest))
    }
}

fn parse(text: &str, kind: FileKind) -> Result<Vec<Setting>, String> {
    let value: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    let Value::Mapping(mut root) = value else { return Err(format!("is no {}", kind.kind)) };
    expect(&mut root, "apiVersion", kind.api_version)?;
    expect(&mut root, "kind", kind.kind)?;
    let mut settings = Vec::new();
    if let Some(own) = root.remove(OWN) {
        own_flags(own, &mut settings)?;
    }
    walk(kind, &root, "", &mut settings)?;
    Ok(settings)
}

fn expect(root: &mut Mapping, field: &str, wanted: &str) -> Result<(), String> {
    match root.remove(field) {
        Some(Value::String(text)) if text == wanted => Ok(()),
        Some(other) => Err(format!("{field}: is {}, not {wanted}", shown(&other))),
        None => Err(format!("{field}: is missing; it has to be {wanted}")),
    }
}

fn walk(kind: FileKind, mapping: &Mapping, above: &str, settings: &mut Vec<Setting>) -> Result<(), String> {
    for (key, value) in mapping {
        let key = key.as_str().ok_or_else(|| format!("{}: is no name of a field", shown(key)))?;
        let path = if above.is_empty() { key.to_owned() } else { format!("{above}.{key}") };
        if value.is_null() {
            continue;
        }
        if let Some(field) = kind.field(&path) {
            let value = field.shape.text(value).map_err(|problem| format!("{path}: {problem}"))?;
            settings.extend(value.map(|value| Setting { path, flag: field.flag.to_owned(), value }));
        } else if kind.is_group(&path) {
            let Value::Mapping(below) = value else {
                return Err(format!("{path}: is {}, but has to hold fields", shown(value)));
            };
            walk(kind, below, &path, settings)?;
        } else {
            return Err(format!("{path}: there is no such field{}", suggestion(key, kind.beside(above))));
        }
    }
    Ok(())
}

fn own_flags(value: Value, settings: &mut Vec<Setting>) -> Result<(), String> {
    let Value::Mapping(flags) = value else { return Err(format!("{OWN}: is {}, not flags", shown(&value))) };
    for (flag, value) in &flags {
        let flag = flag.as_str().ok_or_else(|| format!("{OWN}: {} is no name of a flag", shown(flag)))?;
        let path = format!("{OWN}.{flag}");
        if flag == "config" {
            return Err(format!("{path}: there is one file only"));
        }
        let shape = if value.is_sequence() { Shape::TextList } else { Shape::Any };
        let value = shape.text(value).map_err(|problem| format!("{path}: {problem}"))?;
        settings.extend(value.map(|value| Setting { path, flag: flag.to_owned(), value }));
    }
    Ok(())
}

/// A value for a message. Long ones are cut.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("{:?}", text.chars().take(100).collect::<String>()),
        Value::Sequence(_) => "a list".to_owned(),
        _ => "a group of fields".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: controller.config.cert-manager.io/v1alpha1\nkind: ControllerConfiguration\n";

    fn arguments(text: &str) -> Result<Vec<String>, String> {
        parse(&format!("{HEAD}{text}"), OF_CONTROLLER).map(|settings| settings.iter().map(Setting::argument).collect())
    }

    #[test]
    fn fields_become_flags() {
        for (text, expected) in [
            ("namespace: shop", "--namespace=shop"),
            ("kubernetesAPIQPS: 12.5", "--kube-api-qps=12.5"),
            ("numberOfConcurrentWorkers: 5", "--concurrent-workers=5"),
            ("enableCertificateOwnerRef: true", "--enable-certificate-owner-ref=true"),
            ("controllers: ['*', -ingress-shim]", "--controllers=*,-ingress-shim"),
            ("leaderElectionConfig: {leaseDuration: 15s}", "--leader-election-lease-duration=15s"),
            ("featureGates: {OtherNames: false, AllAlpha: true}", "--feature-gates=OtherNames=false,AllAlpha=true"),
            ("acmeHTTP01Config: {solverExtraLabels: {a.b/c: d}}", "--acme-http01-solver-extra-labels=a.b/c=d"),
            (
                "acmeDNS01Config: {recursiveNameservers: ['192.0.2.1:53', '192.0.2.2:53']}",
                "--dns01-recursive-nameservers=192.0.2.1:53,192.0.2.2:53",
            ),
            ("metricsTLSConfig: {dynamic: {dnsNames: [a, b]}}", "--metrics-dynamic-serving-dns-names=a,b"),
            ("logging: {verbosity: 4}", "--v=4"),
            ("logging: {vmodule: [{filePattern: x, verbosity: 2}]}", "--vmodule=x=2"),
            ("pemSizeLimitsConfig: {maxChainLength: 95000}", "--max-certificate-chain-length=95000"),
            ("certwright: {renewal-jitter: false}", "--renewal-jitter=false"),
            ("certwright: {dns01-provider-endpoints: [a=b, c=d]}", "--dns01-provider-endpoints=a=b,c=d"),
        ] {
            assert_eq!(arguments(text).unwrap(), [expected], "{text}");
        }
    }

    #[test]
    fn the_webhook_has_fields_of_its_own() {
        let head = HEAD.replace("controller.", "webhook.").replace("ControllerC", "WebhookC");
        let arguments = |text: &str| {
            let settings = parse(&format!("{head}{text}"), OF_WEBHOOK)?;
            Ok::<_, String>(settings.iter().map(Setting::argument).collect::<Vec<_>>())
        };
        for (text, expected) in [
            ("securePort: 10250", "--secure-port=10250"),
            ("tlsConfig: {dynamic: {dnsNames: [a, b]}}", "--dynamic-serving-dns-names=a,b"),
            ("metricsTLSConfig: {dynamic: {dnsNames: [a]}}", "--metrics-dynamic-serving-dns-names=a"),
            ("enableClientVerification: true", "--enable-client-verification=true"),
            ("clientCertificateSubjects: [a, b]", "--client-subject-names=a,b"),
        ] {
            assert_eq!(arguments(text).unwrap(), [expected], "{text}");
        }
        let refusal = arguments("numberOfConcurrentWorkers: 5").unwrap_err();
        assert!(refusal.starts_with("numberOfConcurrentWorkers: there is no such field"), "{refusal}");
        assert!(parse(HEAD, OF_WEBHOOK).unwrap_err().contains("not webhook.config.cert-manager.io/v1alpha1"));
    }

    /// As in cert-manager, where a field that is empty has its default.
    #[test]
    fn what_is_empty_is_not_set() {
        for text in ["", "namespace: ''", "namespace:", "controllers: []", "logging: {}", "featureGates: {}"] {
            assert_eq!(arguments(text).unwrap(), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, expected) in [
            ("nameSpace: shop", "nameSpace: there is no such field (did you mean namespace?)"),
            ("logging: {verbose: 4}", "logging.verbose: there is no such field (did you mean verbosity?)"),
            (
                "metricsTLSConfig: {filesystem: {certfile: x}}",
                "metricsTLSConfig.filesystem.certfile: there is no such field (did you mean certFile?)",
            ),
            ("leaderElectionConfig: true", "leaderElectionConfig: is true, but has to hold fields"),
            ("namespace: [shop]", "namespace: is a list, not text"),
            ("enablePprof: 'yes'", "enablePprof: is \"yes\", neither true nor false"),
            ("numberOfConcurrentWorkers: many", "numberOfConcurrentWorkers: is \"many\", not a number"),
            ("controllers: '*'", "controllers: is \"*\", not a list of texts"),
            ("controllers: [1]", "controllers: holds 1, which is no text"),
            ("featureGates: {OtherNames: maybe}", "featureGates: OtherNames is \"maybe\", neither true nor false"),
            (
                "acmeHTTP01Config: {solverExtraLabels: {a: 1}}",
                "acmeHTTP01Config.solverExtraLabels: a is 1, which is no text",
            ),
            ("certwright: {config: x}", "certwright.config: there is one file only"),
            ("namespace: a\nnamespace: b", "duplicate"),
        ] {
            let refusal = arguments(text).unwrap_err();
            assert!(refusal.contains(expected), "{text}: {refusal}");
        }
        for (text, expected) in [
            ("kind: ControllerConfiguration", "apiVersion: is missing; it has to be controller.config"),
            ("apiVersion: v1\nkind: ControllerConfiguration", "apiVersion: is \"v1\", not controller.config"),
            (
                &HEAD.replace("ControllerC", "WebhookC"),
                "kind: is \"WebhookConfiguration\", not ControllerConfiguration",
            ),
            ("- 1", "is no ControllerConfiguration"),
            ("", "is no ControllerConfiguration"),
        ] {
            let refusal = parse(text, OF_CONTROLLER).unwrap_err();
            assert!(refusal.contains(expected), "{text}: {refusal}");
        }
    }

    #[test]
    fn a_file_that_is_missing_or_too_long_is_told_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        assert!(read(&path, OF_CONTROLLER).unwrap_err().contains("config.yaml: No such file"));
        std::fs::write(&path, " ".repeat(1 << 20) + " ").unwrap();
        assert!(read(&path, OF_CONTROLLER).unwrap_err().ends_with("config.yaml: is longer than 1048576 bytes"));
    }
}
