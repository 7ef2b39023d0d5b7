//! What a thousand issuances over HTTP-01 leave behind while the controller is killed at random times.

use anyhow::Result;

use super::bar::{HTTP01_LEFT_BEHIND, Measured};
use super::dns01::small;
use crate::controller::Controller;
use crate::nodeless::Nodeless;
use crate::random_kills::{RandomKills, run};
use crate::testbed::Testbed;

const PLAN: RandomKills = RandomKills { certificates: 1000, kills: 1000, ready: 0, seed: 1 };

/// Kills go on until all is issued.
pub async fn measure(testbed: &Testbed) -> Result<Measured> {
    println!(
        "\n==> {} Certificates over HTTP-01, a third with pods, while the controller is killed every few seconds; the test \
         plays kubelet and ingress controller, and nobody collects garbage",
        PLAN.certificates
    );
    let _nodeless = Nodeless::start(testbed).await?;
    let flags = Nodeless::flags(testbed);
    let mut controller = Controller::start(testbed, &flags.each_ref().map(String::as_str)).await?;
    let outcome = run(testbed, &mut controller, PLAN).await?;
    println!(
        "{} kills; {} ready, {} to be tried again later because nobody answered the CA; left behind: {:?}",
        outcome.kills, outcome.ready, outcome.failed, outcome.left
    );
    Ok(Measured::new(HTTP01_LEFT_BEHIND, small(outcome.left_behind())))
}
