//! Reading the page without Prometheus.

use std::collections::BTreeMap;

/// The value of each series, as `name{labels}`.
pub fn series(page: &str) -> BTreeMap<&str, f64> {
    let lines = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(series, value)| (series, value.parse().unwrap())).collect()
}

/// The sum of the series of a family that have this label.
pub fn sum(page: &str, family: &str, label: &str) -> f64 {
    let of_family = series(page).into_iter().filter(|(series, _)| {
        series.strip_prefix(family).is_some_and(|rest| rest.starts_with('{') && rest.contains(label))
    });
    of_family.map(|(_, value)| value).sum()
}
