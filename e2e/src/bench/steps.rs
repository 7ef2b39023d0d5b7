//! When certwright did what, from its own log (`certwright::controller=debug`): one line at the start of each step.

use anyhow::{Context, Result};
use jiff::Timestamp;

/// The log filter under which certwright logs its steps.
pub const LOG_FILTER: &str = "info,certwright::controller=debug";

/// One step of certwright's.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub at: Timestamp,
    /// What kind of object it is about: `challenge`, `order`, ….
    pub kind: String,
    /// The rest of the line, which names the object.
    pub key: String,
    /// Such as `Accept`.
    pub name: String,
}

/// The steps in a log, in order.
pub fn read(log: &str) -> Result<Vec<Step>> {
    log.lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Result<Step>> {
    let (head, key) = line.split_once(": step key=")?;
    let (key, name) = key.split_once(" step=")?;
    let kind = head.rsplit("::").next()?.to_owned();
    let at = head.split_whitespace().next()?.parse().context("reading the time of a line of certwright's log");
    let (key, name) = (key.to_owned(), name.trim().trim_matches('"').to_owned());
    Some(at.map(|at| Step { at, kind, key, name }))
}

/// Seconds from the first step `from` to the last step `to` after it, both of objects of `kind`; 0 if there is no such
/// later one.
pub fn between(steps: &[&Step], kind: &str, from: &str, to: &str) -> Result<f64> {
    let first = find(steps, kind, from)?;
    let last = steps.iter().rfind(|step| step.kind == kind && step.name == to && step.at > first);
    Ok(last.map_or(0.0, |last| seconds(first, last.at)))
}

/// When the first step `name` of an object of `kind` began.
pub fn find(steps: &[&Step], kind: &str, name: &str) -> Result<Timestamp> {
    let step = steps.iter().find(|step| step.kind == kind && step.name == name);
    Ok(step.with_context(|| format!("certwright's log tells of no step {name} of an {kind}"))?.at)
}

/// From `from` to `to` in seconds; negative if `to` is earlier.
pub fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_from_the_log() {
        let log = "2026-01-02T03:04:05.000001Z  INFO certwright::cli::controller: watching Certificates version=\"0.1.0\"\n\
            2026-01-02T03:04:05.100000Z DEBUG certwright::controller::challenge: step key=Challenge a/b-1 step=\"Accept\"\n\
            2026-01-02T03:04:05.300000Z DEBUG certwright::controller::challenge: step key=Challenge a/b-1 step=\"Read\"\n\
            2026-01-02T03:04:05.500000Z DEBUG certwright::controller::challenge: step key=Challenge a/b-1 step=\"Read\"\n";
        let steps = read(log).unwrap();
        assert_eq!(steps.len(), 3);
        assert_eq!((steps[0].kind.as_str(), steps[0].key.as_str()), ("challenge", "Challenge a/b-1"));
        let steps: Vec<&Step> = steps.iter().collect();
        assert!((between(&steps, "challenge", "Accept", "Read").unwrap() - 0.4).abs() < 1e-6);
        assert!(between(&steps, "order", "Finalize", "ReadOrder").is_err());
    }
}
