//! Certificates are issued.

use crate::scene;

#[tokio::test]
#[ignore = "runs inside a testbed"]
async fn one_name_by_dns01() {
    let scene = scene("one").await;
    scene.issuer("pebble").await.unwrap();
    let name = scene.dns_name("www");
    scene.certificate("www", "pebble", &[&name]).await.unwrap();
    let issued = scene.issued("www").await.unwrap();
    assert_eq!(issued.leaf().names.dns_names, [name]);
}
