//! A set of TXT records in PowerDNS's JSON, and what becomes of it.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::dns::provider::{Action, Change};

/// The longest string in a TXT record (RFC 1035 section 3.3), in bytes.
const LONGEST_STRING: usize = 255;

/// All records of one name and type.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RecordSet {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    ttl: u32,
    records: Vec<Record>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Record {
    /// As in a zone file: quoted strings.
    content: String,
    #[serde(default)]
    disabled: bool,
}

impl RecordSet {
    pub(super) fn is_txt_of(&self, name: &str) -> bool {
        self.kind == "TXT" && self.name.eq_ignore_ascii_case(name)
    }
}

/// What has to be written so that the changes of one name are made and all else stays; nothing if they are made already.
/// The time to live of others' records stays theirs; `ttl` goes before that of the changes.
pub(super) fn merged(name: &str, held: Option<&RecordSet>, changes: &[&Change], ttl: Option<u32>) -> Option<Value> {
    let before = held.map(|set| set.records.clone()).unwrap_or_default();
    let mut records = before.clone();
    let mut ttl = ttl;
    for Change { action, record } in changes {
        let is_there = records.iter().any(|held| !held.disabled && held.has(&record.value));
        if *action == Action::Add && is_there {
            continue;
        }
        records.retain(|held| !held.has(&record.value));
        if *action == Action::Add {
            records.push(Record { content: quoted(&record.value), disabled: false });
            ttl = ttl.or(Some(record.ttl));
        }
    }
    if records == before {
        return None;
    }
    if records.is_empty() {
        return Some(json!({ "name": name, "type": "TXT", "changetype": "DELETE" }));
    }
    let ttl = held.filter(|set| !set.records.is_empty()).map(|set| set.ttl).or(ttl);
    Some(json!({ "name": name, "type": "TXT", "ttl": ttl, "changetype": "REPLACE", "records": records }))
}

impl Record {
    fn has(&self, value: &str) -> bool {
        unquoted(&self.content) == value.as_bytes()
    }
}

/// As a zone file has it: strings in quotation marks.
fn quoted(value: &str) -> String {
    let string = |bytes: &[u8]| {
        let mut string = String::from("\"");
        for &byte in bytes {
            match byte {
                b'"' | b'\\' => string.extend(['\\', byte.into()]),
                b' '..=b'~' => string.push(byte.into()),
                _ => {
                    let _ = write!(string, "\\{byte:03}");
                }
            }
        }
        string + "\""
    };
    value.as_bytes().chunks(LONGEST_STRING).map(string).collect::<Vec<_>>().join(" ")
}

/// The bytes that a zone file's strings stand for, one after the other.
fn unquoted(content: &str) -> Vec<u8> {
    let (mut value, mut letters, mut is_inside) = (Vec::new(), content.bytes().peekable(), false);
    while let Some(letter) = letters.next() {
        match letter {
            b'"' => is_inside = !is_inside,
            b'\\' => value.extend(escaped(&mut letters)),
            b' ' | b'\t' if !is_inside => {}
            other => value.push(other),
        }
    }
    value
}

/// What follows a backslash: three digits, or the letter itself.
fn escaped(letters: &mut std::iter::Peekable<std::str::Bytes<'_>>) -> Option<u8> {
    let first = letters.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let mut number = u32::from(first - b'0');
    for _ in 0..2 {
        match letters.next_if(u8::is_ascii_digit) {
            Some(digit) => number = number * 10 + u32::from(digit - b'0'),
            None => break,
        }
    }
    u8::try_from(number).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dns::provider::TxtRecord;

    const NAME: &str = "_acme-challenge.example.org.";

    fn held(contents: &[&str]) -> RecordSet {
        let record = |content: &&str| Record { content: (*content).to_owned(), disabled: false };
        let records = contents.iter().map(record).collect();
        RecordSet { name: NAME.into(), kind: "TXT".into(), ttl: 300, records }
    }

    fn change(action: Action, value: &str) -> Change {
        let record = TxtRecord {
            zone: "example.org.".into(),
            name: NAME.into(),
            domain: "example.org".into(),
            value: value.into(),
            ttl: 60,
        };
        Change { action, record }
    }

    fn written(held: Option<&RecordSet>, changes: &[Change]) -> Option<Value> {
        merged(NAME, held, &changes.iter().collect::<Vec<_>>(), None)
    }

    #[test]
    fn values_come_and_go_one_by_one() {
        let add = written(None, &[change(Action::Add, "a"), change(Action::Add, "b")]).unwrap();
        let records = json!([{"content": "\"a\"", "disabled": false}, {"content": "\"b\"", "disabled": false}]);
        assert_eq!(add, json!({"name": NAME, "type": "TXT", "ttl": 60, "changetype": "REPLACE", "records": records}));
        let set = held(&["\"a\"", "\"v=spf1 -all\"", "\"b\""]);
        let rest = written(Some(&set), &[change(Action::Remove, "a"), change(Action::Add, "c")]).unwrap();
        let contents: Vec<&str> =
            rest["records"].as_array().unwrap().iter().map(|record| record["content"].as_str().unwrap()).collect();
        assert_eq!(contents, ["\"v=spf1 -all\"", "\"b\"", "\"c\""]);
        assert_eq!(rest["ttl"], 300);
        let last = written(Some(&held(&["\"a\""])), &[change(Action::Remove, "a")]).unwrap();
        assert_eq!(last, json!({"name": NAME, "type": "TXT", "changetype": "DELETE"}));
    }

    #[test]
    fn what_is_done_already_is_not_written() {
        let set = held(&["\"a\"", "other"]);
        assert_eq!(written(Some(&set), &[change(Action::Add, "a"), change(Action::Remove, "b")]), None);
        assert_eq!(written(None, &[change(Action::Remove, "a")]), None);
        let mut disabled = held(&["\"a\""]);
        disabled.records[0].disabled = true;
        let enabled = written(Some(&disabled), &[change(Action::Add, "a")]).unwrap();
        assert_eq!(enabled["records"], json!([{"content": "\"a\"", "disabled": false}]));
    }

    #[test]
    fn the_settings_time_to_live_goes_before_the_changes() {
        let change = change(Action::Add, "a");
        assert_eq!(merged(NAME, None, &[&change], Some(5)).unwrap()["ttl"], 5);
        assert_eq!(merged(NAME, Some(&held(&["\"b\""])), &[&change], Some(5)).unwrap()["ttl"], 300);
    }

    #[test]
    fn quoting_comes_back_as_it_was() {
        for value in ["a", "with \"marks\" and \\", "ümlaut", &"x".repeat(300), ""] {
            assert_eq!(unquoted(&quoted(value)), value.as_bytes(), "{value}");
        }
        assert_eq!(unquoted("\"a\" \"b\""), b"ab");
        assert_eq!(unquoted("bare"), b"bare");
    }
}
