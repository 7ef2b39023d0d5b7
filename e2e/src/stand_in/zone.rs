//! The TXT records of one zone of a stand-in, which are those of the testbed's DNS servers.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use crate::dns;
use crate::state::Dns;

/// One TXT record. Names are lower-case and without the closing dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Counts up within the zone.
    pub id: u64,
    pub name: String,
    /// Without quotes.
    pub value: String,
    /// In seconds.
    pub ttl: u32,
}

/// One zone. Every change is made on the testbed's primary DNS server before it is answered.
///
/// The zone may lie below one of the testbed's: to the DNS it is then a part of that.
pub struct Zone {
    apex: String,
    dns: Dns,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    records: Vec<Record>,
    last_id: u64,
}

impl Zone {
    /// An empty zone. `apex` is without the closing dot.
    pub fn new(dns: &Dns, apex: &str) -> Self {
        Self { apex: apex.to_owned(), dns: dns.clone(), held: Mutex::default() }
    }

    /// Without the closing dot.
    pub fn apex(&self) -> &str {
        &self.apex
    }

    /// A name relative to the zone, such as `_acme-challenge.www` or `@`, as an absolute one.
    pub fn absolute(&self, name: &str) -> String {
        if name == "@" { self.apex.clone() } else { format!("{name}.{}", self.apex) }
    }

    /// An absolute name as relative to the zone; none if it does not lie in it.
    pub fn relative(&self, name: &str) -> Option<String> {
        let name = name.trim_end_matches('.');
        if name == self.apex {
            return Some("@".to_owned());
        }
        name.strip_suffix(&self.apex)?.strip_suffix('.').map(str::to_owned)
    }

    /// Every record, oldest first.
    pub fn records(&self) -> Vec<Record> {
        self.lock().records.clone()
    }

    /// Whether there ever was a record, be it gone by now.
    pub fn was_written(&self) -> bool {
        self.lock().last_id > 0
    }

    /// The records at a name, oldest first.
    pub fn at(&self, name: &str) -> Vec<Record> {
        self.records().into_iter().filter(|record| record.name == plain(name)).collect()
    }

    /// The values at a name, in order.
    pub fn values(&self, name: &str) -> Vec<String> {
        let mut values: Vec<String> = self.at(name).into_iter().map(|record| record.value).collect();
        values.sort();
        values
    }

    /// Adds a record, next to one with the same value if there is one.
    pub fn add(&self, name: &str, value: &str, ttl: u32) -> Result<Record> {
        ensure!(self.relative(&plain(name)).is_some(), "{name} does not lie in {}", self.apex);
        let mut held = self.lock();
        dns::update(&self.dns, &[format!("add {}. {ttl} TXT {}", plain(name), quoted(value))])?;
        held.last_id += 1;
        let record = Record { id: held.last_id, name: plain(name), value: value.to_owned(), ttl };
        held.records.push(record.clone());
        Ok(record)
    }

    /// Removes a record; none if there is none of that id.
    pub fn remove(&self, id: u64) -> Result<Option<Record>> {
        let mut held = self.lock();
        let Some(record) = held.records.iter().find(|record| record.id == id).cloned() else { return Ok(None) };
        let is_same = |other: &&Record| other.name == record.name && other.value == record.value;
        if held.records.iter().filter(is_same).count() == 1 {
            dns::update(&self.dns, &[format!("delete {}. TXT {}", record.name, quoted(&record.value))])?;
        }
        held.records.retain(|other| other.id != id);
        Ok(Some(record))
    }

    /// Makes `values` the only ones at a name; no values remove the set.
    pub fn replace(&self, name: &str, values: &[String], ttl: u32) -> Result<()> {
        ensure!(self.relative(&plain(name)).is_some(), "{name} does not lie in {}", self.apex);
        let mut held = self.lock();
        let mut lines = vec![format!("delete {}. TXT", plain(name))];
        lines.extend(values.iter().map(|value| format!("add {}. {ttl} TXT {}", plain(name), quoted(value))));
        dns::update(&self.dns, &lines)?;
        held.records.retain(|record| record.name != plain(name));
        for value in values {
            held.last_id += 1;
            let record = Record { id: held.last_id, name: plain(name), value: value.clone(), ttl };
            held.records.push(record);
        }
        Ok(())
    }

    /// The records stay whole when a test fails elsewhere.
    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one character string in quotes says (RFC 1035 section 5.1), such as `"a\"b"`.
///
/// # Errors
///
/// Anything else, also several character strings.
pub fn unquoted(text: &str) -> Result<String> {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let inner = inner.with_context(|| format!("{text} is not in quotes"))?;
    let mut value = String::new();
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => value.push(letters.next().with_context(|| format!("{text} ends with a backslash"))?),
            '"' => anyhow::bail!("{text} is more than one character string"),
            other => value.push(other),
        }
    }
    Ok(value)
}

fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_taken_off_and_put_on() {
        for value in ["plain", "with \"quotes\"", "back\\slash", ""] {
            assert_eq!(unquoted(&quoted(value)).unwrap(), value);
        }
        for text in ["plain", "\"a\" \"b\"", "\"a\\\""] {
            assert!(unquoted(text).is_err(), "{text}");
        }
    }
}
