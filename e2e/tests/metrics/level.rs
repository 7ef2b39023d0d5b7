//! Another log level while the controller runs.

use std::time::Duration;

use certwright_e2e::scene::PATIENCE;
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Scene, Testbed};
use reqwest::{Client, StatusCode};

const URL: &str = "http://127.0.0.1:6060/debug/log-level";

async fn put(client: &Client, level: &'static str) -> (StatusCode, String) {
    let answer = client.put(URL).body(level).send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn the_level_changes_at_once_and_only_from_within() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let controller = Controller::start(&testbed, &["--enable-profiling"]).await.unwrap();
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
    let log = || std::fs::read_to_string(controller.log()).unwrap();
    assert_eq!(client.get(URL).send().await.unwrap().text().await.unwrap(), "info\n");
    let (status, said) = put(&client, "certwright=loudly").await;
    assert!(status == StatusCode::BAD_REQUEST && said.contains("certwright=loudly"), "{status} {said}");
    let oversized = client.put(URL).body("x".repeat(2000)).send().await.unwrap();
    assert_eq!(oversized.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(!log().contains(" DEBUG "));

    assert_eq!(put(&client, "info,certwright=debug").await.0, StatusCode::OK);
    assert_eq!(client.get(URL).send().await.unwrap().text().await.unwrap(), "info,certwright=debug\n");
    let scene = Scene::new(&testbed, controller.log(), "level").await.unwrap();
    scene.issuer("pebble").await.unwrap();
    let look = async || Ok::<_, String>(log().contains(" DEBUG ").then_some(()));
    until("a line of level debug", PATIENCE, look).await.unwrap();

    let from_outside = format!("http://{}:6060/debug/log-level", testbed.state.node_address);
    assert!(client.get(from_outside).send().await.is_err());
}
