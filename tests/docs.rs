//! The documentation says what the program does: links lead somewhere, manifests fit the definitions, and flags, annotations,
//! metrics, chart values and messages exist.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use certwright::api;
use regex::Regex;
use serde_json::{Value, json};

#[path = "docs/manifests.rs"]
mod manifests;
#[path = "docs/pages.rs"]
mod pages;
#[path = "crds/validator.rs"]
mod validator;
use manifests::{complete, manifests};
use pages::{Page, page, pages, read};
use validator::violations;

/// Flags of other programs that the text names.
const OF_OTHERS: [&str; 13] = [
    "--admission-control-config-file",
    "--flag",
    "--log-json-",
    "--log-text-",
    "--acme-http01-solver-resource-",
    "--no-hooks",
    "--raw",
    "--release",
    "--reset-then-reuse-values",
    "--reuse-values",
    "--set",
    "--take-ownership",
    "--wait",
];

#[test]
fn links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    for page in pages() {
        for found in link.captures_iter(&page.text) {
            let target = &found[1];
            if target.starts_with("http") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { page.path.clone() } else { page.path.parent().unwrap().join(file) };
            assert!(path.exists(), "{} leads to {target}", page.name());
            if !anchor.is_empty() {
                assert!(Page::at(path).anchors().contains(anchor), "{} leads to {target}", page.name());
            }
        }
    }
}

/// The chart takes the tag of its version.
#[test]
fn the_image_has_the_tag_of_this_version() {
    let image = Regex::new(r"registry\.example\.com/certwright:(\S+)").unwrap();
    let mut count = 0;
    for text in pages().into_iter().map(|page| page.text).chain([read("Dockerfile")]) {
        for found in image.captures_iter(&text) {
            assert_eq!(&found[1], env!("CARGO_PKG_VERSION"));
            count += 1;
        }
    }
    assert!(count > 2, "{count}");
}

#[test]
fn every_page_is_named_in_the_readme() {
    let (readme, providers) = (page("README.md").text, page("docs/providers.md").text);
    for page in pages() {
        let name = page.name();
        let of_provider = name.strip_prefix("docs/").filter(|name| name.starts_with("providers/"));
        let is_named = of_provider.is_some_and(|name| providers.contains(name)) || readme.contains(&name);
        assert!(is_named || !name.starts_with("docs/"), "nothing leads to {name}");
    }
}

#[test]
fn manifests_fit_the_definitions() {
    let schemas = api::crds().into_iter().map(|crd| {
        let schema = json!(crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema);
        (crd.spec.names.kind, schema)
    });
    let schemas: Vec<(String, Value)> = schemas.collect();
    let mut seen = BTreeSet::new();
    for (place, object) in manifests().into_iter().map(|(place, object)| (place, complete(object))) {
        let kind = object["kind"].as_str().unwrap_or_else(|| panic!("{place} begins with nothing that is known"));
        if let Some((_, schema)) = schemas.iter().find(|(known, _)| known == kind) {
            assert_eq!(violations(schema, &object), [""; 0], "{place}: {object}");
            seen.insert(kind.to_owned());
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["Certificate", "ClusterIssuer", "Issuer"]);
}

#[test]
fn configuration_files_are_read() {
    let files: Vec<_> =
        manifests().into_iter().filter(|(_, object)| object["kind"] == "ControllerConfiguration").collect();
    assert!(!files.is_empty());
    for (place, object) in files {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        fs::write(&file, object.to_string()).unwrap();
        let said = certwright(&["controller", "--kubeconfig=/nonexistent", "--config", file.to_str().unwrap()]);
        assert!(said.contains("cannot read the kubeconfig"), "{place}: {said}");
    }
}

#[test]
fn flags_exist() {
    let flag = Regex::new(r"(?:^|[^\w-])(--[a-z0-9][a-z0-9-]*)").unwrap();
    let helps =
        ["controller", "webhook", "wind-down", "issuer", "acmesolver"].map(|name| certwright(&[name, "--help"]));
    let mut known: BTreeSet<String> = OF_OTHERS.iter().map(|&name| name.to_owned()).collect();
    known.extend(helps.iter().flat_map(|help| flag.captures_iter(help).map(|found| found[1].to_owned())));
    for page in pages() {
        for found in flag.captures_iter(&page.prose()) {
            let name = found[1].to_owned();
            if !known.contains(&name) {
                // Not all are in the help.
                let said = certwright(&["controller", &name]);
                assert!(!said.contains("unexpected argument"), "{} names {name}: {said}", page.name());
                known.insert(name);
            }
        }
    }
}

#[test]
fn annotations_are_documented_and_exist() {
    let own = Regex::new(r"certwright\.dev/[a-z0-9-]+").unwrap();
    let all = |text: &str| own.find_iter(text).map(|found| found.as_str().to_owned()).collect::<BTreeSet<_>>();
    let known = all(&read("src/api/names.rs"));
    let documented = page("docs/annotations.md").text;
    for name in &known {
        assert!(all(&documented).contains(name) || name == certwright::api::names::finalizer::REVOKE, "{name}");
    }
    for page in pages() {
        let unknown: Vec<_> = all(&page.text).difference(&known).cloned().collect();
        assert_eq!(unknown, [""; 0], "{}", page.name());
    }
}

#[test]
fn metrics_are_documented_and_exist() {
    let metric = Regex::new(r"\b(?:certwright|certmanager)_[a-z0-9_]+[a-z0-9]").unwrap();
    let literal = Regex::new(r#""((?:certwright|certmanager)_[a-z0-9_]+[a-z0-9])""#).unwrap();
    let source = source();
    let known: BTreeSet<&str> = literal.captures_iter(&source).map(|found| found.get(1).unwrap().as_str()).collect();
    assert!(known.len() > 20, "{known:?}");
    let text = page("docs/metrics.md").text;
    for name in &known {
        assert!(metric.find_iter(&text).any(|found| found.as_str() == *name), "{name} is not in docs/metrics.md");
    }
    for found in metric.find_iter(&text).map(|found| found.as_str()) {
        let is_part = |known: &&str| found.strip_prefix(known).is_some_and(|rest| matches!(rest, "_bucket" | "_count"));
        let is_absent = found.starts_with("certmanager_http_venafi") || found.starts_with("certmanager_venafi");
        let is_prefix = found == "certwright_" || found == "certmanager_";
        assert!(known.contains(found) || known.iter().any(is_part) || is_absent || is_prefix, "there is no {found}");
    }
}

#[test]
fn values_of_the_chart_exist() {
    let schema: Value = serde_json::from_str(&read("charts/certwright/values.schema.json")).unwrap();
    let values: Value = serde_yaml::from_str(&read("charts/certwright/values.yaml")).unwrap();
    let path = Regex::new(r"^[a-z][A-Za-z0-9]*(\.[a-z][A-Za-z0-9]*)*$").unwrap();
    let mut count = 0;
    // Those of cert-manager's that have no effect are in no file.
    for (_, cells) in page("docs/helm.md").without("Values without effect").rows() {
        for name in spans(&cells[0]).into_iter().filter(|name| path.is_match(name)) {
            let in_values = name.split('.').try_fold(&values, |value, field| value.get(field));
            let in_schema = name.split('.').try_fold(&schema, |schema, field| schema["properties"].get(field));
            assert!(in_values.is_some() || in_schema.is_some(), "docs/helm.md names the value {name}");
            count += 1;
        }
    }
    assert!(count > 15, "{count}");
}

/// What depends on the case is written `…` in the first column; what follows a semicolon may come from elsewhere.
#[test]
fn messages_are_those_of_the_program() {
    let source = source();
    let mut count = 0;
    for (line, cells) in page("docs/troubleshooting.md").rows() {
        for message in spans(&cells[0]) {
            let is_of_others =
                ["kubectl ", "watchNamespaces", "status."].iter().any(|begin| message.starts_with(begin));
            for part in message.split(['…', ';']).map(|part| part.trim_matches([' ', ':', ',', '.', '(', ')'])) {
                let is_there = part.len() < 4 || source.contains(part);
                assert!(is_there || is_of_others, "docs/troubleshooting.md:{line}: nothing says {part:?}");
                count += 1;
            }
        }
    }
    assert!(count > 80, "{count}");
}

/// What the program says with these arguments, on both of its outputs.
fn certwright(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_certwright"));
    command.args(arguments).env_remove("KUBECONFIG").env_remove("RUST_LOG").env("HOME", "/nonexistent");
    let output = command.output().unwrap();
    [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat()
}

/// All of the program's source, texts that go over several lines in one, and their quotation marks as they are shown.
fn source() -> String {
    let broken = Regex::new(r"\\\n\s*").unwrap();
    let text = files_below(&pages::root().join("src"))
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect::<String>();
    broken.replace_all(&text, "").replace("\\\"", "\"")
}

/// What a cell of a table shows as it is: between backticks, or quotation marks.
fn spans(cell: &str) -> Vec<String> {
    let span = Regex::new(r#"`([^`]+)`|"([^"]+)""#).unwrap();
    let found = span.captures_iter(cell).map(|found| found.get(1).or(found.get(2)).unwrap().as_str().to_owned());
    found.collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
