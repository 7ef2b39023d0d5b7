//! Secrets that have nothing to do with certwright, as every real cluster is full of.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ObjectMeta, PostParams};

use crate::testbed::Testbed;

/// How many bytes each holds.
const SIZE: usize = 2000;
const AT_ONCE: usize = 50;
/// So many between two lines about how far it is.
const PROGRESS: usize = 4000;

/// Creates `count` of them in a namespace of their own.
pub async fn create(testbed: &Testbed, count: usize) -> Result<()> {
    let namespace = testbed.namespace("foreign").await?;
    println!("\n==> Creating {count} Secrets of {SIZE} bytes in {namespace}");
    let client = testbed.admin().await?;
    let secrets: Api<Secret> = Api::namespaced(client, &namespace);
    let (start, done) = (Instant::now(), AtomicUsize::new(0));
    let creations = (0..count).map(|number| {
        let (secrets, done, start) = (&secrets, &done, &start);
        async move {
            secrets.create(&PostParams::default(), &secret(number)).await?;
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if done.is_multiple_of(PROGRESS) {
                println!("{done:6} after {:.0} s", start.elapsed().as_secs_f64());
            }
            anyhow::Ok(())
        }
    });
    futures::stream::iter(creations).buffer_unordered(AT_ONCE).try_collect().await
}

fn secret(number: usize) -> Secret {
    let metadata = ObjectMeta { name: Some(format!("foreign-{number}")), ..ObjectMeta::default() };
    let content = number.to_le_bytes().into_iter().cycle().take(SIZE).collect();
    Secret { metadata, data: Some(BTreeMap::from([("data".into(), ByteString(content))])), ..Secret::default() }
}
