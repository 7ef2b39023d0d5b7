//! promtool on what the chart brings.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use certwright_e2e::packages::require_program;

use crate::prometheus::rules;
use crate::stage::Stage;

fn promtool(arguments: &[&str]) -> Command {
    let mut command = Command::new(require_program("promtool").unwrap());
    command.args(arguments);
    command
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
#[ignore = "runs inside a testbed"]
fn alerts_fire_when_they_should() {
    let file = rules().display().to_string();
    let checked = promtool(&["check", "rules", "--lint-fatal", &file]).output().unwrap();
    assert!(checked.status.success(), "{}", words(&checked));
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metrics/rules_test.yaml");
    let tested = promtool(&["test", "rules", &tests.display().to_string()]).output().unwrap();
    assert!(tested.status.success(), "{}", words(&tested));
    // Each alert has a case.
    let (alerts, tests) = (std::fs::read_to_string(file).unwrap(), std::fs::read_to_string(tests).unwrap());
    let names: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert!(
            tests.contains(&format!("alertname: {name}\n        exp_alerts:\n")),
            "nothing shows that {name} fires"
        );
    }
}

/// promtool has opinions about names; cert-manager's were there before them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn promtool_likes_our_own_names() {
    let stage = Stage::new("linted", &[]).await;
    let mut child = promtool(&["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), stage.page().await.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = words(&output);
    let about_ours: Vec<&str> = said.lines().filter(|line| !line.starts_with("certmanager_")).collect();
    assert!(about_ours.is_empty(), "{said}");
}
