//! The bars and what is printed of them.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::state::Tier;

/// A promise with a number.
pub struct Bar {
    /// `GROUP.WHAT`.
    pub name: &'static str,
    pub unit: &'static str,
    pub limit: f64,
    /// On which side of the limit the value has to be.
    pub side: Side,
    pub tier: Tier,
}

/// Which values a limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Above,
    AtLeast,
    AtMost,
    Below,
}

impl Side {
    fn allows(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
            Self::AtMost => value <= limit,
            Self::Below => value < limit,
        }
    }
}

impl Bar {
    /// What comes before the dot of the name.
    pub fn group(&self) -> &'static str {
        self.name.split('.').next().unwrap_or_default()
    }
}

const fn bar(name: &'static str, unit: &'static str, side: Side, limit: f64, tier: Tier) -> Bar {
    Bar { name, unit, limit, side, tier }
}

/// The group of the bars about the first issuance and an idle controller.
pub const FIRST_LIGHT: &str = "first-light";
pub const DNS01_SECONDS: &str = "first-light.dns01-issuance-seconds";
pub const DNS01_WRITES: &str = "first-light.dns01-api-writes";
pub const IDLE_MEMORY: &str = "first-light.idle-memory-mib";
pub const HTTP01_SECONDS: &str = "first-light.http01-issuance-seconds";
pub const HTTP01_WAITING: &str = "first-light.http01-own-waiting-seconds";
pub const HTTP01_WRITES: &str = "first-light.http01-api-writes";

/// The group of the bars about Certificates as such; the issuer is a CA whose key lies in the cluster.
pub const CERTIFICATE: &str = "certificate";
pub const CA_ECDSA_PER_SECOND: &str = "certificate.ca-ecdsa-per-second";
pub const CA_RSA_PER_SECOND: &str = "certificate.ca-rsa-per-second";
pub const FIRST_WRITES: &str = "certificate.first-writes";
pub const RENEWAL_WRITES: &str = "certificate.renewal-writes";
pub const QUIET_WRITES: &str = "certificate.quiet-writes";
pub const FULL_IDLE_MEMORY: &str = "certificate.idle-memory-mib";
pub const IDLE_MEMORY_DIFFERENCE: &str = "certificate.idle-memory-difference-mib";
pub const COLD_START: &str = "certificate.cold-start-seconds";

/// The group of the bars about the dealings with a CA.
pub const ACME: &str = "acme";
pub const ACME_OVERHEAD: &str = "acme.own-overhead-milliseconds";
pub const ACME_PER_WINDOW: &str = "acme.new-orders-per-window";
pub const ACME_EARLY: &str = "acme.requests-before-retry-after";
pub const ACME_RECOVERY: &str = "acme.recovery-percent-of-shortest";

/// The group of the bars about DNS-01: the records of one zone, verified on all of its servers.
pub const DNS01: &str = "dns01";
pub const DNS01_APEX_AND_WILDCARD: &str = "dns01.apex-and-wildcard-seconds";
pub const DNS01_PER_SECOND: &str = "dns01.certificates-per-second";
pub const DNS01_UPDATES: &str = "dns01.updates";
pub const DNS01_LAGGING: &str = "dns01.lagging-secondary-seconds";
pub const DNS01_MEANWHILE: &str = "dns01.others-meanwhile-percent";

/// The group of the bars about HTTP-01.
pub const HTTP01: &str = "http01";
pub const HTTP01_PODLESS_SECONDS: &str = "http01.podless-seconds";
pub const HTTP01_FIFTY_NAMES: &str = "http01.fifty-names-seconds";
pub const HTTP01_PODLESS_PER_SECOND: &str = "http01.podless-per-second";
pub const HTTP01_PODS_PER_SECOND: &str = "http01.pods-per-second";

/// The group of the bars about installing, and about taking over from cert-manager.
pub const INSTALL: &str = "install";
pub const INSTALL_TAKE_OVER: &str = "install.take-over";
pub const INSTALL_CHART_BYTES: &str = "install.chart-bytes";
pub const INSTALL_CRDS_BYTES: &str = "install.crds-bytes";
pub const INSTALL_LARGEST_CRD_BYTES: &str = "install.largest-crd-bytes";
pub const INSTALL_IMAGE_BYTES: &str = "install.image-bytes";
pub const INSTALL_FIRST_CERTIFICATE: &str = "install.first-certificate-seconds";

/// Every bar.
pub const BARS: [Bar; 33] = [
    bar(DNS01_SECONDS, "s", Side::Below, 0.6, Tier::Api),
    bar(DNS01_WRITES, "writes", Side::AtMost, 24.0, Tier::Api),
    bar(IDLE_MEMORY, "MiB", Side::Below, 30.0, Tier::Api),
    bar(CA_ECDSA_PER_SECOND, "per-second", Side::AtLeast, 45.0, Tier::Api),
    bar(CA_RSA_PER_SECOND, "per-second", Side::Above, 13.0, Tier::Api),
    bar(FIRST_WRITES, "writes", Side::AtMost, 12.0, Tier::Api),
    bar(RENEWAL_WRITES, "writes", Side::AtMost, 11.0, Tier::Api),
    bar(QUIET_WRITES, "writes", Side::AtMost, 0.0, Tier::Api),
    bar(FULL_IDLE_MEMORY, "MiB", Side::Below, 40.0, Tier::Api),
    bar(IDLE_MEMORY_DIFFERENCE, "MiB", Side::AtMost, 2.0, Tier::Api),
    bar(COLD_START, "s", Side::Below, 1.0, Tier::Api),
    bar(ACME_OVERHEAD, "ms", Side::Below, 150.0, Tier::Api),
    bar(ACME_PER_WINDOW, "orders", Side::AtMost, 100.0, Tier::Api),
    bar(ACME_EARLY, "requests", Side::AtMost, 0.0, Tier::Api),
    bar(ACME_RECOVERY, "percent", Side::AtMost, 110.0, Tier::Api),
    bar(DNS01_APEX_AND_WILDCARD, "s", Side::AtMost, 0.8, Tier::Api),
    bar(DNS01_PER_SECOND, "per-second", Side::AtLeast, 15.0, Tier::Api),
    bar(DNS01_UPDATES, "updates", Side::Below, 200.0, Tier::Api),
    bar(DNS01_LAGGING, "s", Side::AtMost, 1.5, Tier::Api),
    bar(DNS01_MEANWHILE, "percent", Side::AtLeast, 80.0, Tier::Api),
    bar(HTTP01_SECONDS, "s", Side::Below, 4.0, Tier::Cluster),
    bar(HTTP01_WAITING, "s", Side::Below, 0.3, Tier::Cluster),
    bar(HTTP01_WRITES, "writes", Side::AtMost, 30.0, Tier::Cluster),
    bar(HTTP01_PODLESS_SECONDS, "s", Side::Below, 1.0, Tier::Cluster),
    bar(HTTP01_FIFTY_NAMES, "s", Side::Below, 6.0, Tier::Cluster),
    bar(HTTP01_PODLESS_PER_SECOND, "per-second", Side::AtLeast, 10.0, Tier::Cluster),
    bar(HTTP01_PODS_PER_SECOND, "per-second", Side::AtLeast, 4.0, Tier::Cluster),
    bar(INSTALL_TAKE_OVER, "faults", Side::AtMost, 0.0, Tier::Api),
    bar(INSTALL_CHART_BYTES, "bytes", Side::Below, 40_000.0, Tier::Api),
    bar(INSTALL_CRDS_BYTES, "bytes", Side::Below, 400_000.0, Tier::Api),
    bar(INSTALL_LARGEST_CRD_BYTES, "bytes", Side::Below, 128_000.0, Tier::Api),
    bar(INSTALL_IMAGE_BYTES, "bytes", Side::Below, 25_000_000.0, Tier::Api),
    bar(INSTALL_FIRST_CERTIFICATE, "s", Side::Below, 10.0, Tier::Cluster),
];

/// The bars of that name or group; all for an empty word.
///
/// # Errors
/// When there are none.
pub fn chosen(only: &str) -> Result<Vec<&'static Bar>> {
    let group = format!("{}.", only.trim_end_matches('.'));
    let is_meant = |bar: &&Bar| only.is_empty() || bar.name == only || bar.name.starts_with(&group);
    let bars: Vec<&Bar> = BARS.iter().filter(is_meant).collect();
    let names = BARS.map(|bar| bar.name).join(", ");
    ensure!(!bars.is_empty(), "no bar and no group of bars is called {only:?}; there are {names}");
    Ok(bars)
}

/// What was measured for a bar.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    pub name: String,
    pub value: f64,
}

impl Measured {
    pub fn new(name: &str, value: f64) -> Self {
        Self { name: name.to_owned(), value }
    }

    fn bar(&self) -> Result<&'static Bar> {
        BARS.iter().find(|bar| bar.name == self.name).with_context(|| format!("no bar is called {}", self.name))
    }

    /// Whether the value is within the bar.
    pub fn is_held(&self) -> Result<bool> {
        let bar = self.bar()?;
        Ok(bar.side.allows(self.value, bar.limit))
    }

    /// `bar NAME VALUE UNIT limit LIMIT held|missed`
    pub fn line(&self) -> Result<String> {
        let bar = self.bar()?;
        let digits =
            if ["bytes", "faults", "orders", "requests", "updates", "writes"].contains(&bar.unit) { 0 } else { 3 };
        let word = if self.is_held()? { "held" } else { "missed" };
        Ok(format!("bar {} {:.digits$} {} limit {} {word}", bar.name, self.value, bar.unit, bar.limit))
    }
}

/// Prints the fastest, the median and the slowest of `seconds`, and gives the median.
pub fn summarize(what: &str, seconds: &[f64]) -> Result<f64> {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (fastest, slowest) = sorted.first().zip(sorted.last()).context("nothing was measured")?;
    let median = median(&sorted);
    let count = sorted.len();
    println!("{what}: fastest {fastest:.3} s, median {median:.3} s, slowest {slowest:.3} s of {count}");
    Ok(median)
}

/// The middle of sorted values, or the mean of the two in the middle.
fn median(sorted: &[f64]) -> f64 {
    let (low, high) = ((sorted.len().saturating_sub(1)) / 2, sorted.len() / 2);
    f64::midpoint(sorted.get(low).copied().unwrap_or_default(), sorted.get(high).copied().unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(&[1.0, 2.0, 9.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[1.0, 2.0, 4.0, 9.0]) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn only_takes_a_name_or_a_group() {
        assert_eq!(chosen("").unwrap().len(), BARS.len());
        assert_eq!(chosen("first-light").unwrap().len(), 6);
        assert!(chosen(CERTIFICATE).unwrap().iter().all(|bar| bar.group() == CERTIFICATE));
        assert_eq!(chosen(DNS01_WRITES).unwrap().len(), 1);
        assert!(chosen("first").is_err());
    }

    #[test]
    fn a_line_can_be_read_by_a_program() {
        let line = |value| Measured::new(DNS01_WRITES, value).line().unwrap();
        assert_eq!(line(24.0), "bar first-light.dns01-api-writes 24 writes limit 24 held");
        assert_eq!(line(25.0), "bar first-light.dns01-api-writes 25 writes limit 24 missed");
        let line = |value| Measured::new(DNS01_SECONDS, value).line().unwrap();
        assert_eq!(line(0.6), "bar first-light.dns01-issuance-seconds 0.600 s limit 0.6 missed");
        assert_eq!(line(0.5), "bar first-light.dns01-issuance-seconds 0.500 s limit 0.6 held");
        let line = |value| Measured::new(CA_ECDSA_PER_SECOND, value).line().unwrap();
        assert_eq!(line(45.0), "bar certificate.ca-ecdsa-per-second 45.000 per-second limit 45 held");
        assert_eq!(line(44.9), "bar certificate.ca-ecdsa-per-second 44.900 per-second limit 45 missed");
        assert!(!Measured::new(CA_RSA_PER_SECOND, 13.0).is_held().unwrap());
    }
}
