//! Whether Grafana's own kinds take every field of the dashboard. What its queries give is asked in `scraped`.

use std::io::Write;
use std::process::{Command, Stdio};

use certwright_e2e::helm::chart;
use certwright_e2e::wheel::GRAFANA;
use serde_json::{Value, json};

#[test]
#[ignore = "runs inside a testbed"]
fn the_dashboard_is_what_grafana_reads() {
    let file = std::fs::read_to_string(chart().join("files/dashboard.json")).unwrap();
    let mut dashboard: Value = serde_json::from_str(&file).unwrap();
    assert_eq!(not_taken(&dashboard), "");
    dashboard["panels"][1]["options"]["colour"] = json!("red");
    assert_eq!(not_taken(&dashboard), "dashboard.panels[1].options.colour\n");
}

/// The places of the fields that Grafana knows nothing of, one in each line.
fn not_taken(dashboard: &Value) -> String {
    let mut command = Command::new("python3");
    command.args(["-c", include_str!("dashboard.py")]).env("PYTHONPATH", GRAFANA.path().unwrap());
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(dashboard.to_string().as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}
