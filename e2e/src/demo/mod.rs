//! `make demo`: certwright at work in a throwaway cluster, or in the reader's own.

pub mod current;
pub mod examples;
pub mod place;
pub mod progress;
pub mod report;
pub mod throwaway;

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use examples::fill_in;
use place::{NAMESPACE, Place};

use crate::install::repository;

/// The demo's issuances take a few seconds; a slow machine may take longer.
const ISSUED: Duration = Duration::from_mins(3);

const HTTP01: &str = "examples/http01.yaml";
const DNS01: &str = "examples/dns01-rfc2136.yaml";
const OWN_CA: &str = "examples/own-ca.yaml";

/// Says which step comes.
pub fn step(text: &str) {
    println!("\n==> {text}");
}

/// Applies the examples for which the place has what they need, follows the issuance and prints what came of it.
async fn issue(place: &Place) -> Result<()> {
    place.kubectl.create_once(&["create", "namespace", NAMESPACE])?;
    let client = place.kubectl.client().await?;
    for (file, possible) in
        [(HTTP01, place.values.ingress_class.is_some()), (DNS01, place.values.name_server.is_some()), (OWN_CA, true)]
    {
        if possible {
            step(&format!("Applying {file}, with the values of this place filled in"));
            let text = fs::read_to_string(repository().join(file)).with_context(|| format!("reading {file}"))?;
            place.kubectl.run_with_input(&["apply", "-f", "-"], &fill_in(&text, &place.values)?)?;
        } else {
            step(&format!("Leaving out {file}: {}", place.why_not(file)));
        }
    }
    step("Waiting until every Certificate is ready (seconds since the first look in front)");
    progress::follow(&client, NAMESPACE, ISSUED).await?;
    step("Issued, as read back from the Secrets");
    report::print(&client, NAMESPACE).await
}
