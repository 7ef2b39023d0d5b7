//! The Helm chart: what it renders, what it refuses, and what becomes of a release. These run inside a testbed:
//! `testbed run -- cargo test -p certwright-e2e --test chart -- --include-ignored`.
#![allow(clippy::unwrap_used)]

#[path = "chart/given.rs"]
mod given;
#[path = "chart/monitoring.rs"]
mod monitoring;
#[path = "chart/release.rs"]
mod release;
#[path = "chart/render.rs"]
mod render;
#[path = "chart/settled.rs"]
mod settled;
#[path = "chart/values.rs"]
mod values;
#[path = "chart/webhook.rs"]
mod webhook;

use certwright_e2e::Testbed;
use certwright_e2e::helm::{Helm, chart};
use serde::Deserialize as _;
use serde_json::Value;

fn testbed() -> Testbed {
    Testbed::from_env().unwrap().expect("run this inside `testbed run`")
}

fn helm() -> Helm {
    Helm::of(&testbed().state).unwrap()
}

/// What the chart renders for a release, in a namespace of the same name.
fn render(release: &str, options: &[&str]) -> String {
    let chart = chart().display().to_string();
    let mut arguments = vec!["template", release, &chart, "--namespace", release];
    arguments.extend(options);
    helm().run(&arguments).unwrap()
}

fn objects(rendered: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(rendered).map(|document| Value::deserialize(document).unwrap()).collect()
}

/// `Kind/name`.
fn name_of(object: &Value) -> String {
    format!("{}/{}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
}
