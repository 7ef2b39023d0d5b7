//! The file of `--config`: a ControllerConfiguration as cert-manager reads it. Each of its fields stands for a flag.

mod fields;

use std::{fs::File, io::Read as _, path::Path};

use serde_yaml::{Mapping, Value};

use self::fields::{FIELDS, Shape};
use super::suggestion::suggestion;

const API_VERSION: &str = "controller.config.cert-manager.io/v1alpha1";
const KIND: &str = "ControllerConfiguration";

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
pub fn read(path: &Path) -> Result<Vec<Setting>, String> {
    let in_file = |problem: String| format!("{}: {problem}", path.display());
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text))
        .map_err(|error| in_file(error.to_string()))?;
    if text.len() as u64 > LONGEST {
        return Err(in_file(format!("is longer than {LONGEST} bytes")));
    }
    parse(&text).map_err(in_file)
}

/// The flags that its fields stand for.
#[cfg(test)]
pub fn flags() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().map(|field| field.flag)
}

fn parse(text: &str) -> Result<Vec<Setting>, String> {
    let value: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    let Value::Mapping(mut root) = value else { return Err(format!("is no {KIND}")) };
    expect(&mut root, "apiVersion", API_VERSION)?;
    expect(&mut root, "kind", KIND)?;
    let mut settings = Vec::new();
    if let Some(own) = root.remove(OWN) {
        own_flags(own, &mut settings)?;
    }
    walk(&root, "", &mut settings)?;
    Ok(settings)
}

fn expect(root: &mut Mapping, field: &str, wanted: &str) -> Result<(), String> {
    match root.remove(field) {
        Some(Value::String(text)) if text == wanted => Ok(()),
        Some(other) => Err(format!("{field}: is {}, not {wanted}", shown(&other))),
        None => Err(format!("{field}: is missing; it has to be {wanted}")),
    }
}

fn walk(mapping: &Mapping, above: &str, settings: &mut Vec<Setting>) -> Result<(), String> {
    for (key, value) in mapping {
        let key = key.as_str().ok_or_else(|| format!("{}: is no name of a field", shown(key)))?;
        let path = if above.is_empty() { key.to_owned() } else { format!("{above}.{key}") };
        if value.is_null() {
            continue;
        }
        if let Some(field) = FIELDS.iter().find(|field| field.path == path) {
            let value = field.shape.text(value).map_err(|problem| format!("{path}: {problem}"))?;
            settings.extend(value.map(|value| Setting { path, flag: field.flag.to_owned(), value }));
        } else if is_group(&path) {
            let Value::Mapping(below) = value else {
                return Err(format!("{path}: is {}, but has to hold fields", shown(value)));
            };
            walk(below, &path, settings)?;
        } else {
            return Err(format!("{path}: there is no such field{}", suggestion(key, beside(above))));
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

fn is_group(path: &str) -> bool {
    FIELDS.iter().any(|field| field.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// The names of the fields in this group.
fn beside(above: &str) -> impl Iterator<Item = &'static str> {
    let inner = FIELDS.iter().filter_map(move |field| match above {
        "" => Some(field.path),
        _ => field.path.strip_prefix(above)?.strip_prefix('.'),
    });
    inner.map(|rest| rest.split('.').next().unwrap_or(rest))
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
        parse(&format!("{HEAD}{text}")).map(|settings| settings.iter().map(Setting::argument).collect())
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
            let refusal = parse(text).unwrap_err();
            assert!(refusal.contains(expected), "{text}: {refusal}");
        }
    }

    #[test]
    fn a_file_that_is_missing_or_too_long_is_told_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        assert!(read(&path).unwrap_err().contains("config.yaml: No such file"));
        std::fs::write(&path, " ".repeat(1 << 20) + " ").unwrap();
        assert!(read(&path).unwrap_err().ends_with("config.yaml: is longer than 1048576 bytes"));
    }
}
