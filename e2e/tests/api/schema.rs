//! The API server accepts and refuses what the schemas say, by way of plain `kubectl apply`.

use std::process::{Command, Output};

use certwright_e2e::Scene;
use certwright_e2e::install::repository;
use serde::Deserialize as _;
use serde_json::Value;

use crate::support::scene;

#[path = "../../../tests/docs/manifests.rs"]
mod manifests;
#[path = "../../../tests/docs/pages.rs"]
#[allow(dead_code)] // No more of it than the manifests need.
mod pages;

/// The documents of `tests/crds/FILE`, moved to the scene's namespace.
fn documents(scene: &Scene, file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(repository().join("tests/crds").join(file)).unwrap();
    let documents = serde_yaml::Deserializer::from_str(&text).map(|document| Value::deserialize(document).unwrap());
    moved(scene, documents)
}

fn moved(scene: &Scene, objects: impl Iterator<Item = Value>) -> Vec<Value> {
    objects
        .map(|mut object| {
            if object["kind"] == "ClusterIssuer" {
                let name = object["metadata"]["name"].as_str().unwrap().to_owned();
                object["metadata"]["name"] = format!("{}-{name}", scene.namespace).into();
            } else {
                object["metadata"]["namespace"] = scene.namespace.clone().into();
            }
            object
        })
        .collect()
}

fn kubectl(scene: &Scene, verb: &[&str], objects: &[Value]) -> Output {
    let file = std::env::temp_dir().join(format!("{}.json", scene.namespace));
    let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    std::fs::write(&file, list.to_string()).unwrap();
    let mut kubectl = Command::new(scene.testbed.state.program("kubectl"));
    kubectl.arg("--kubeconfig").arg(&scene.testbed.state.kubernetes().unwrap().admin_kubeconfig);
    let output = kubectl.args(verb).arg("-f").arg(&file).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    output
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn odd_but_sound_objects_are_accepted() {
    let scene = scene("accepted").await;
    for file in ["accepted.yaml", "full.yaml"] {
        let mut objects = documents(&scene, file);
        // `kubectl apply` does not write a status, and would take it for a difference; who makes a request is told by
        // the API server.
        for object in &mut objects {
            object.as_object_mut().unwrap().remove("status");
            let spec = object["spec"].as_object_mut().unwrap();
            spec.retain(|field, _| !["username", "uid", "groups", "extra"].contains(&field.as_str()));
        }
        let output = kubectl(&scene, &["apply", "--validate=false"], &objects);
        assert!(output.status.success(), "{file}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text.lines().filter(|line| line.ends_with(" created")).count(), objects.len(), "{text}");
        // Applied a second time, nothing changes: no default or lost field makes a difference. Only an empty image pull
        // secret gets its empty name again and again, as in a Pod.
        let again = kubectl(&scene, &["apply", "--validate=false"], &objects);
        let text = String::from_utf8_lossy(&again.stdout).into_owned();
        let changed: Vec<&str> = text.lines().filter(|line| !line.ends_with(" unchanged")).collect();
        assert!(changed.iter().all(|line| line.ends_with("-empty-parts configured")), "{changed:#?}");
        kubectl(&scene, &["delete", "--wait=false"], &objects);
    }
}

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn wrong_objects_are_refused_where_they_are_wrong() {
    let scene = scene("refused").await;
    let objects = documents(&scene, "refused.yaml");
    let is_about_status = |object: &&Value| place(object).starts_with("status");
    let in_status: Vec<Value> = objects.iter().filter(is_about_status).cloned().collect();
    let in_spec: Vec<Value> = objects.iter().filter(|object| !is_about_status(object)).cloned().collect();
    assert_all_refused(&in_spec, &kubectl(&scene, &["apply", "--validate=false"], &in_spec));

    // A status that comes with a new object is dropped; it is refused where it is written.
    let created = kubectl(&scene, &["apply", "--validate=false"], &in_status);
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let verb = ["replace", "--subresource=status", "--validate=false"];
    assert_all_refused(&in_status, &kubectl(&scene, &verb, &in_status));
}

fn assert_all_refused(objects: &[Value], output: &Output) {
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "accepted");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_refused = |object: &&Value| text.lines().any(|line| is_refusal_of(line, object));
    let accepted: Vec<_> =
        objects.iter().filter(|object| !is_refused(object)).map(|object| &object["metadata"]).collect();
    assert!(accepted.is_empty(), "not refused, or for another reason: {accepted:#?}\n{text}");
}

fn place(object: &Value) -> &str {
    object["metadata"]["annotations"]["refused-at"].as_str().unwrap()
}

/// Whether this line of kubectl's says that this object is wrong at the place that it is annotated with.
fn is_refusal_of(line: &str, object: &Value) -> bool {
    let name = object["metadata"]["name"].as_str().unwrap();
    line.contains(&format!("{name:?}")) && line.contains(place(object))
}

/// What is written to be copied.
#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn manifests_of_the_documentation_are_accepted() {
    let scene = scene("documented").await;
    let is_ours =
        |object: &Value| ["Certificate", "Issuer", "ClusterIssuer"].iter().any(|kind| object["kind"] == **kind);
    let objects = manifests::manifests().into_iter().map(|(_, object)| manifests::complete(object)).filter(is_ours);
    // Several pages have the same name for theirs.
    let named = objects.enumerate().map(|(number, mut object)| {
        object["metadata"]["name"] = format!("documented-{number}").into();
        object
    });
    let objects = moved(&scene, named);
    assert!(objects.len() > 20, "{}", objects.len());
    let output = kubectl(&scene, &["apply", "--dry-run=server", "--validate=strict"], &objects);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), objects.len());
}
