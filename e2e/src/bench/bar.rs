//! The bars and what is printed of them.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::state::Tier;

/// A promise with a number.
pub struct Bar {
    /// `GROUP.WHAT`.
    pub name: &'static str,
    pub unit: &'static str,
    /// The value that must not be exceeded.
    pub limit: f64,
    /// Whether the limit itself is still within the bar.
    pub inclusive: bool,
    pub tier: Tier,
}

const fn bar(name: &'static str, unit: &'static str, limit: f64, inclusive: bool, tier: Tier) -> Bar {
    Bar { name, unit, limit, inclusive, tier }
}

pub const DNS01_SECONDS: &str = "first-light.dns01-issuance-seconds";
pub const DNS01_WRITES: &str = "first-light.dns01-api-writes";
pub const IDLE_MEMORY: &str = "first-light.idle-memory-mib";
pub const HTTP01_SECONDS: &str = "first-light.http01-issuance-seconds";
pub const HTTP01_WAITING: &str = "first-light.http01-own-waiting-seconds";
pub const HTTP01_WRITES: &str = "first-light.http01-api-writes";

/// Every bar.
pub const BARS: [Bar; 6] = [
    bar(DNS01_SECONDS, "s", 0.6, false, Tier::Api),
    bar(DNS01_WRITES, "writes", 24.0, true, Tier::Api),
    bar(IDLE_MEMORY, "MiB", 30.0, false, Tier::Api),
    bar(HTTP01_SECONDS, "s", 4.0, false, Tier::Cluster),
    bar(HTTP01_WAITING, "s", 0.3, false, Tier::Cluster),
    bar(HTTP01_WRITES, "writes", 30.0, true, Tier::Cluster),
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
        Ok(self.value < bar.limit || (bar.inclusive && self.value <= bar.limit))
    }

    /// `bar NAME VALUE UNIT limit LIMIT held|missed`
    pub fn line(&self) -> Result<String> {
        let bar = self.bar()?;
        let digits = if bar.inclusive { 0 } else { 3 };
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
        assert_eq!(chosen("first-light").unwrap().len(), BARS.len());
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
    }
}
