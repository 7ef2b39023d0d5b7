//! Which record sets are to be changed, so that no value of others is touched.
//!
//! Route 53 keeps the values of a name either in one plain set, or in several sets with an identifier each; both at one name
//! it refuses. cert-manager writes a set for each value, others write a plain set. So we do as we find it:
//!
//! - Nothing there, or sets with identifiers: each value is a set of its own, in cert-manager's form, so that either of the
//!   two can clean up after the other, and nobody has to know the other values.
//! - A plain set there: it is deleted as it was read, and created with what is to be in it, in one batch. If somebody changed
//!   it in between, the deletion fails, and with it the batch.
//! - More values than Route 53 answers with from sets of their own, and nothing there: a plain set.

use std::collections::BTreeMap;

use super::super::{Action, Change, DEFAULT_TTL};
use super::wire::{RecordSet, ResourceRecord, ResourceRecords, SetAction, SetChange};

/// Of multivalue sets, so many are in an answer ("Multivalue answer routing" in the developer guide).
pub(super) const MOST_ANSWERED: usize = 8;

/// As cert-manager writes them: a set is only deleted by who knows its time to live.
const TTL: u32 = 10;

const TXT: &str = "TXT";

/// Why the changes cannot be made as things are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Others at this name have to be removed first.
    Full { name: String },
    /// The records at this name have another routing policy.
    Policy { name: String },
}

/// What is to become of one name.
#[derive(Debug, Default)]
struct Wish<'a> {
    add: Vec<&'a Change>,
    remove: Vec<&'a Change>,
}

/// The batch that does it if each value is a set of its own or not there yet, as nearly always. If things are otherwise, Route
/// 53 refuses the whole batch, also for a removal that is done already.
pub(super) fn blind(changes: &[Change]) -> Vec<SetChange> {
    let of = |wish: &Wish<'_>| {
        let removed = wish.remove.iter().map(|change| change_of(SetAction::Delete, own_set(change)));
        let added = wish.add.iter().map(|change| change_of(SetAction::Upsert, own_set(change)));
        removed.chain(added).collect::<Vec<_>>()
    };
    by_name(changes).values().flat_map(of).collect()
}

/// The batch for names whose sets are known. Empty if all is as it should be.
///
/// # Errors
///
/// There is no room, or none of our kind.
pub(super) fn after_reading(sets: &[RecordSet], changes: &[Change]) -> Result<Vec<SetChange>, Obstacle> {
    let mut batch = Vec::new();
    for (name, wish) in by_name(changes) {
        let here: Vec<&RecordSet> = sets.iter().filter(|set| set.kind == TXT && is_named(set, &name)).collect();
        match here.as_slice() {
            [plain] if is_plain(plain) => batch.extend(in_plain_set(plain, &wish)),
            [] if wish.add.len() > MOST_ANSWERED => batch.push(change_of(SetAction::Create, plain_set(&wish))),
            _ => batch.extend(in_own_sets(&name, &here, &wish)?),
        }
    }
    Ok(batch)
}

/// As Route 53 lists it: without the closing dot, in lower case.
pub(super) fn shown(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

pub(super) fn is_named(set: &RecordSet, name: &str) -> bool {
    shown(&set.name) == name
}

fn in_plain_set(plain: &RecordSet, wish: &Wish<'_>) -> Vec<SetChange> {
    let removed: Vec<String> = wish.remove.iter().map(|change| quoted(&change.record.value)).collect();
    let mut records = plain.resource_records.records.clone();
    records.retain(|record| !removed.contains(&record.value));
    for change in &wish.add {
        let record = ResourceRecord { value: quoted(&change.record.value) };
        if !records.contains(&record) {
            records.push(record);
        }
    }
    if records == plain.resource_records.records {
        return Vec::new();
    }
    let mut changes = vec![change_of(SetAction::Delete, plain.clone())];
    if !records.is_empty() {
        let set = RecordSet { resource_records: ResourceRecords { records }, ..plain.clone() };
        changes.push(change_of(SetAction::Create, set));
    }
    changes
}

fn in_own_sets(name: &str, here: &[&RecordSet], wish: &Wish<'_>) -> Result<Vec<SetChange>, Obstacle> {
    let mut changes = Vec::new();
    let mut count = here.len();
    for change in &wish.remove {
        for set in here.iter().filter(|set| is_own(set, &change.record.value)) {
            changes.push(change_of(SetAction::Delete, (*set).clone()));
            count -= 1;
        }
    }
    for change in &wish.add {
        if here.iter().any(|set| holds(set, &change.record.value)) {
            continue;
        }
        if here.iter().any(|set| set.multi_value_answer != Some(true)) {
            return Err(Obstacle::Policy { name: name.to_owned() });
        }
        if count >= MOST_ANSWERED {
            return Err(Obstacle::Full { name: name.to_owned() });
        }
        count += 1;
        changes.push(change_of(SetAction::Create, own_set(change)));
    }
    Ok(changes)
}

fn by_name(changes: &[Change]) -> BTreeMap<String, Wish<'_>> {
    let mut wishes: BTreeMap<String, Wish<'_>> = BTreeMap::new();
    for change in changes {
        let wish = wishes.entry(shown(&change.record.name)).or_default();
        let wish = match change.action {
            Action::Add => &mut wish.add,
            Action::Remove => &mut wish.remove,
        };
        if !wish.iter().any(|known| known.record.value == change.record.value) {
            wish.push(change);
        }
    }
    wishes
}

/// The set of one value, exactly in cert-manager's form.
fn own_set(change: &Change) -> RecordSet {
    let value = quoted(&change.record.value);
    RecordSet {
        name: shown(&change.record.name),
        kind: TXT.to_owned(),
        set_identifier: Some(value.clone()),
        multi_value_answer: Some(true),
        ttl: Some(ttl(change)),
        resource_records: ResourceRecords { records: vec![ResourceRecord { value }] },
        health_check_id: None,
    }
}

fn plain_set(wish: &Wish<'_>) -> RecordSet {
    let records = wish.add.iter().map(|change| ResourceRecord { value: quoted(&change.record.value) }).collect();
    let first = wish.add.first().map(|change| own_set(change)).unwrap_or_default();
    RecordSet { set_identifier: None, multi_value_answer: None, resource_records: ResourceRecords { records }, ..first }
}

/// Whether this is a set of values without a routing policy, and no alias.
fn is_plain(set: &RecordSet) -> bool {
    set.set_identifier.is_none() && !set.resource_records.records.is_empty()
}

/// Whether this is a set with this value and no other, which may be deleted.
fn is_own(set: &RecordSet, value: &str) -> bool {
    set.multi_value_answer == Some(true)
        && set.health_check_id.is_none()
        && set.resource_records.records.len() == 1
        && holds(set, value)
}

fn holds(set: &RecordSet, value: &str) -> bool {
    let value = quoted(value);
    set.resource_records.records.iter().any(|record| record.value == value)
}

fn change_of(action: SetAction, resource_record_set: RecordSet) -> SetChange {
    SetChange { action, resource_record_set }
}

fn ttl(change: &Change) -> u32 {
    if change.record.ttl == DEFAULT_TTL { TTL } else { change.record.ttl }
}

/// As it is written in zone files.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::super::super::TxtRecord;
    use super::*;

    const NAME: &str = "_acme-challenge.example.com";

    fn change(action: Action, value: &str) -> Change {
        let (zone, name) = ("example.com.".to_owned(), format!("{NAME}."));
        Change {
            action,
            record: TxtRecord { zone, name, domain: String::new(), value: value.to_owned(), ttl: DEFAULT_TTL },
        }
    }

    fn add(value: &str) -> Change {
        change(Action::Add, value)
    }

    fn remove(value: &str) -> Change {
        change(Action::Remove, value)
    }

    fn set(identifier: Option<&str>, ttl: u32, values: &[&str]) -> RecordSet {
        RecordSet {
            name: format!("{NAME}."),
            kind: TXT.to_owned(),
            set_identifier: identifier.map(str::to_owned),
            multi_value_answer: identifier.map(|_| true),
            ttl: Some(ttl),
            resource_records: ResourceRecords {
                records: values.iter().map(|value| ResourceRecord { value: quoted(value) }).collect(),
            },
            health_check_id: None,
        }
    }

    fn own(value: &str) -> RecordSet {
        set(Some(&quoted(value)), TTL, &[value])
    }

    /// Action, identifier and values of each change.
    fn told(changes: &[SetChange]) -> Vec<String> {
        let tell = |change: &SetChange| {
            let set = &change.resource_record_set;
            let values: Vec<&str> = set.resource_records.records.iter().map(|record| record.value.as_str()).collect();
            let identifier = set.set_identifier.as_deref().unwrap_or("plain");
            format!("{:?} {identifier} {} {}", change.action, set.ttl.unwrap_or_default(), values.join(","))
        };
        changes.iter().map(tell).collect()
    }

    fn planned(sets: &[RecordSet], changes: &[Change]) -> Vec<String> {
        told(&after_reading(sets, changes).expect("a plan"))
    }

    #[test]
    fn each_value_is_a_set_of_its_own() {
        let blind = told(&blind(&[add("a"), add("b"), add("a"), remove("c")]));
        let expected = [r#"Delete "c" 10 "c""#, r#"Upsert "a" 10 "a""#, r#"Upsert "b" 10 "b""#];
        assert_eq!(blind, expected);
        assert_eq!(planned(&[], &[add("a")]), [r#"Create "a" 10 "a""#]);
        assert_eq!(planned(&[own("a")], &[add("a"), add("b")]), [r#"Create "b" 10 "b""#]);
    }

    #[test]
    fn a_plain_set_of_others_is_exchanged_as_it_was_read() {
        let plain = set(None, 300, &["theirs"]);
        let exchanged = [r#"Delete plain 300 "theirs""#, r#"Create plain 300 "theirs","a""#];
        assert_eq!(planned(&[plain], &[add("a")]), exchanged);
        let both = set(None, 300, &["theirs", "a"]);
        assert_eq!(planned(std::slice::from_ref(&both), &[add("a")]), [""; 0]);
        let exchanged = [r#"Delete plain 300 "theirs","a""#, r#"Create plain 300 "theirs""#];
        assert_eq!(planned(&[both], &[remove("a")]), exchanged);
        assert_eq!(planned(&[set(None, 10, &["a"])], &[remove("a")]), [r#"Delete plain 10 "a""#]);
    }

    #[test]
    fn only_our_value_goes_whatever_its_time_to_live() {
        let sets = [own("theirs"), set(Some("\"a\""), 60, &["a"])];
        assert_eq!(planned(&sets, &[remove("a")]), [r#"Delete "a" 60 "a""#]);
        assert_eq!(planned(&sets, &[remove("b")]), [""; 0]);
        assert_eq!(planned(&[], &[remove("b")]), [""; 0]);
    }

    #[test]
    fn sets_with_more_to_them_are_left_alone() {
        let watched = RecordSet { health_check_id: Some("h".to_owned()), ..own("a") };
        assert_eq!(planned(&[watched], &[remove("a")]), [""; 0]);
        assert_eq!(planned(&[set(Some("x"), 10, &["a", "b"])], &[remove("a")]), [""; 0]);
        let weighted = RecordSet { multi_value_answer: None, ..own("theirs") };
        assert_eq!(planned(std::slice::from_ref(&weighted), &[remove("theirs")]), [""; 0]);
        for other in [weighted, set(None, 10, &[])] {
            assert_eq!(after_reading(&[other], &[add("a")]), Err(Obstacle::Policy { name: NAME.to_owned() }));
        }
    }

    #[test]
    fn more_than_an_answer_holds() {
        let values: Vec<String> = (0..9).map(|number| number.to_string()).collect();
        let changes: Vec<Change> = values.iter().map(|value| add(value)).collect();
        assert_eq!(planned(&[], &changes).len(), 1, "one plain set");
        let eight: Vec<RecordSet> = values[..8].iter().map(|value| own(value)).collect();
        let full = Err(Obstacle::Full { name: NAME.to_owned() });
        assert_eq!(after_reading(&eight, &[add("x")]), full);
        assert_eq!(planned(&eight, &[remove("0"), add("x")]).len(), 2);
    }

    #[test]
    fn other_names_and_types_have_no_part_in_it() {
        let other = RecordSet { name: "a.example.com.".to_owned(), ..own("a") };
        let address = RecordSet { kind: "A".to_owned(), ..set(None, 10, &["a"]) };
        assert_eq!(planned(&[other, address], &[remove("a")]), [""; 0]);
        let upper = RecordSet { name: format!("{}.", NAME.to_uppercase()), ..own("a") };
        assert_eq!(planned(&[upper], &[remove("a")]).len(), 1);
    }
}
