//! TXT record sets as Azure has them, and what makes one into another.

use serde_json::{Map, Value, json};

use crate::dns::provider::{Action, Change};

/// Public and private zones are different resources, which name the same things differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneType {
    Public,
    Private,
}

impl ZoneType {
    pub(super) fn resource(self) -> &'static str {
        match self {
            Self::Public => "dnsZones",
            Self::Private => "privateDnsZones",
        }
    }

    pub(super) fn api_version(self) -> &'static str {
        match self {
            Self::Public => "2018-05-01",
            Self::Private => "2018-09-01",
        }
    }

    fn ttl(self) -> &'static str {
        match self {
            Self::Public => "TTL",
            Self::Private => "ttl",
        }
    }

    fn records(self) -> &'static str {
        match self {
            Self::Public => "TXTRecords",
            Self::Private => "txtRecords",
        }
    }
}

/// What is there now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RecordSet {
    /// Changes with every write.
    etag: String,
    /// Time to live, in seconds.
    ttl: u64,
    /// Each in one or more pieces.
    values: Vec<Vec<String>>,
    /// Somebody's notes.
    metadata: Option<Value>,
}

impl RecordSet {
    pub(super) fn parse(value: &Value) -> Option<Self> {
        let properties = &value["properties"];
        let field = |name: &str, other: &str| properties.get(name).or_else(|| properties.get(other));
        let records = match field("TXTRecords", "txtRecords") {
            Some(records) => records.as_array()?.iter().map(pieces).collect::<Option<_>>()?,
            None => Vec::new(),
        };
        Some(Self {
            etag: value["etag"].as_str()?.to_owned(),
            ttl: field("TTL", "ttl")?.as_u64()?,
            values: records,
            metadata: properties.get("metadata").filter(|held| held.is_object()).cloned(),
        })
    }
}

fn pieces(record: &Value) -> Option<Vec<String>> {
    record["value"].as_array()?.iter().map(|piece| piece.as_str().map(str::to_owned)).collect()
}

/// What to do about a record set.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Nothing,
    /// Make it, unless it is there.
    Create(Value),
    /// Replace the one with this tag.
    Replace(String, Value),
    /// Delete the one with this tag.
    Delete(String),
}

/// The step that makes the changes, all at one name, to the set that is there now. Values of others stay, and so do the time
/// to live that somebody chose before and the notes.
pub(super) fn step(held: Option<&RecordSet>, changes: &[Change], zone_type: ZoneType) -> Step {
    let before = held.map(|held| held.values.clone()).unwrap_or_default();
    let mut after = before.clone();
    for change in changes {
        let is_it = |pieces: &Vec<String>| pieces.concat() == change.record.value;
        match change.action {
            Action::Add if after.iter().any(is_it) => {}
            Action::Add => after.push(vec![change.record.value.clone()]),
            Action::Remove => after.retain(|pieces| !is_it(pieces)),
        }
    }
    if after == before {
        return Step::Nothing;
    }
    let ttl = held.map(|held| held.ttl).or_else(|| changes.first().map(|change| change.record.ttl.into()));
    let mut properties = Map::new();
    properties.insert(zone_type.ttl().to_owned(), json!(ttl));
    properties.insert(zone_type.records().to_owned(), after.iter().map(|value| json!({ "value": value })).collect());
    if let Some(metadata) = held.and_then(|held| held.metadata.clone()) {
        properties.insert("metadata".to_owned(), metadata);
    }
    let body = json!({ "properties": properties });
    match held {
        None => Step::Create(body),
        Some(held) if after.is_empty() => Step::Delete(held.etag.clone()),
        Some(held) => Step::Replace(held.etag.clone(), body),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::dns::provider::testing::change;

    const NAME: &str = "_acme-challenge.a.test.";

    fn after(held: Option<&Value>, changes: &[(Action, &str)], zone_type: ZoneType) -> Step {
        let held = held.map(|held| RecordSet::parse(held).unwrap());
        let changes: Vec<Change> = changes.iter().map(|(action, value)| change(*action, NAME, value)).collect();
        step(held.as_ref(), &changes, zone_type)
    }

    fn public(ttl: u32, values: &[&[&str]]) -> Value {
        let records: Vec<Value> = values.iter().map(|value| json!({ "value": value })).collect();
        json!({ "properties": { "TTL": ttl, "TXTRecords": records } })
    }

    fn held(ttl: u32, values: &[&[&str]]) -> Value {
        let mut set = public(ttl, values);
        set["etag"] = json!("t1");
        set
    }

    #[test]
    fn values_come_and_go_one_by_one() {
        let after = |held: Option<&Value>, changes: &[(Action, &str)]| after(held, changes, ZoneType::Public);
        let (add, remove) = ([(Action::Add, "x")], [(Action::Remove, "x")]);
        let tag = "t1".to_owned();
        assert_eq!(after(None, &add), Step::Create(public(60, &[&["x"]])));
        assert_eq!(after(None, &remove), Step::Nothing);
        assert_eq!(after(Some(&held(60, &[&["x"]])), &add), Step::Nothing);
        assert_eq!(after(Some(&held(60, &[&["x"]])), &remove), Step::Delete(tag.clone()));
        let foreign = held(300, &[&["for", "eign"]]);
        assert_eq!(after(Some(&foreign), &remove), Step::Nothing);
        let both = public(300, &[&["for", "eign"], &["x"]]);
        assert_eq!(after(Some(&foreign), &add), Step::Replace(tag.clone(), both));
        let alone = public(300, &[&["for", "eign"]]);
        assert_eq!(after(Some(&held(300, &[&["for", "eign"], &["x"]])), &remove), Step::Replace(tag, alone));
        let two = [(Action::Add, "x"), (Action::Add, "y")];
        assert_eq!(after(None, &two), Step::Create(public(60, &[&["x"], &["y"]])));
    }

    #[test]
    fn notes_stay() {
        let mut set = held(60, &[&["foreign"]]);
        set["properties"]["metadata"] = json!({ "owner": "mail" });
        let Step::Replace(_, body) = after(Some(&set), &[(Action::Add, "x")], ZoneType::Public) else { panic!() };
        assert_eq!(body["properties"]["metadata"], json!({ "owner": "mail" }));
    }

    #[test]
    fn private_zones_name_things_differently() {
        let properties = json!({ "ttl": 10, "txtRecords": [{ "value": ["foreign"] }] });
        let set = json!({ "etag": "t1", "properties": properties });
        let Step::Replace(_, body) = after(Some(&set), &[(Action::Add, "x")], ZoneType::Private) else { panic!() };
        let wanted = json!({ "ttl": 10, "txtRecords": [{ "value": ["foreign"] }, { "value": ["x"] }] });
        assert_eq!(body["properties"], wanted);
    }

    #[test]
    fn what_is_no_record_set_is_none() {
        for value in [json!({}), json!({ "etag": "t" }), json!({ "etag": "t", "properties": { "TTL": "x" } })] {
            assert_eq!(RecordSet::parse(&value), None, "{value}");
        }
    }
}
