//! A cluster of two hundred Certificates as cert-manager leaves it is taken over.

use anyhow::Result;

use super::bar::{self, Measured};
use crate::Controller;
use crate::fixture::check::Seen;
use crate::fixture::take_over::Outcome;
use crate::fixture::{CERTIFICATES, Fixture};
use crate::testbed::Testbed;

/// Counts what went wrong: certificates issued again, orders that nobody needed, issuances left, and objects that
/// cert-manager would do something about.
pub(super) async fn measure(testbed: &Testbed) -> Result<Measured> {
    println!("\n==> taking over {CERTIFICATES} Certificates as cert-manager leaves them");
    let fixture = Fixture::lay_down(testbed).await?;
    let mark = testbed.mark()?;
    let _controller = Controller::start(testbed, &[]).await?;
    let outcome = Outcome::of(&fixture, mark).await?;
    let problems = Seen::read(&fixture.scene).await?.problems();
    println!(
        "re-issued {}, needless orders {}, account look-ups {}, left {}, not as cert-manager's {}, writes about \
         certificates at rest {}",
        outcome.reissued.len(),
        outcome.needless_orders,
        outcome.account_requests,
        outcome.left.len(),
        problems.len(),
        outcome.needless_writes.len()
    );
    let faults = [&outcome.reissued, &outcome.left, &problems, &outcome.needless_writes];
    faults.into_iter().flatten().for_each(|fault| println!("  {fault}"));
    let count = faults.map(Vec::len).iter().sum::<usize>() + outcome.needless_orders + outcome.account_requests;
    Ok(Measured::new(bar::INSTALL_TAKE_OVER, f64::from(u32::try_from(count)?)))
}
