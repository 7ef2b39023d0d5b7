//! Update messages: several values in one, as far as they fit.

use hickory_proto::op::{Message, OpCode, Query};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::failure::UpdateError;
use crate::dns::name;
use crate::dns::provider::{Action, Change, TxtRecord};

/// The longest string in a TXT record (RFC 1035 section 3.3).
const MAX_STRING: usize = 255;

/// Room for the header and for the signature of a key whose name is not uncommonly long, in octets.
const FRAME: usize = 256;

/// What a record takes beside its name and its strings, in octets.
const RECORD_FRAME: usize = 16;

/// The changes of one zone in pieces whose messages have at most so many octets; a change that is longer by itself is a piece of
/// its own.
pub(super) fn pieces(changes: &[Change], most_octets: usize) -> Vec<&[Change]> {
    let frame = FRAME + changes.first().map_or(0, |change| change.record.zone.len());
    let (mut pieces, mut begin, mut length) = (Vec::new(), 0, frame);
    for (index, change) in changes.iter().enumerate() {
        let own = octets(&change.record);
        if index > begin && length + own > most_octets {
            pieces.push(&changes[begin..index]);
            (begin, length) = (index, frame);
        }
        length += own;
    }
    if begin < changes.len() {
        pieces.push(&changes[begin..]);
    }
    pieces
}

/// At most: names are not compressed.
fn octets(record: &TxtRecord) -> usize {
    record.name.len() + record.value.len() + record.value.len() / MAX_STRING + RECORD_FRAME
}

/// TXT records added to their sets (RFC 2136 section 2.5.1) or deleted from them (section 2.5.4), in this order and without
/// prerequisites: what is there already, or gone already, is no error.
pub(super) fn update_message(changes: &[Change]) -> Result<Message, UpdateError> {
    let mut message = Message::query();
    message.metadata.op_code = OpCode::Update;
    for (index, change) in changes.iter().enumerate() {
        let record = &change.record;
        let (zone, owner) = (name::parse(&record.zone)?, name::parse(&record.name)?);
        if !zone.zone_of(&owner) {
            let [name, zone] = [&record.name, &record.zone].map(|fqdn| name::shown(fqdn).to_owned());
            return Err(UpdateError::OutsideZone { name, zone });
        }
        if index == 0 {
            message.add_query(Query::query(zone, RecordType::SOA));
        }
        message.add_authority(update_record(owner, record, change.action));
    }
    Ok(message)
}

fn update_record(owner: Name, record: &TxtRecord, action: Action) -> Record {
    let strings = record.value.as_bytes().chunks(MAX_STRING).collect();
    let mut update = Record::from_rdata(owner, record.ttl, RData::TXT(TXT::from_bytes(strings)));
    if action == Action::Remove {
        update.ttl = 0;
        update.dns_class = DNSClass::NONE;
    }
    update
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn change(action: Action, value: &str) -> Change {
        let [zone, name] = ["example.com.", "_acme-challenge.a.example.com."].map(str::to_owned);
        let (domain, value) = ("a.example.com".to_owned(), value.to_owned());
        Change { action, record: TxtRecord { zone, name, domain, value, ttl: 60 } }
    }

    #[test]
    fn records_are_added_and_exactly_those_deleted() {
        let message = update_message(&[change(Action::Add, "one"), change(Action::Remove, "one")]).unwrap();
        assert!(message.answers.is_empty(), "no prerequisites");
        assert_eq!(message.queries.len(), 1, "one zone");
        let [added, deleted] = message.authorities.as_slice() else { panic!("{:?}", message.authorities) };
        assert_eq!((added.ttl, added.dns_class, added.record_type()), (60, DNSClass::IN, RecordType::TXT));
        assert_eq!((deleted.ttl, deleted.dns_class), (0, DNSClass::NONE));
        assert_eq!((&deleted.name, &deleted.data), (&added.name, &added.data));
    }

    #[test]
    fn a_long_value_is_cut_into_strings() {
        let message = update_message(&[change(Action::Add, &"x".repeat(300))]).unwrap();
        let RData::TXT(txt) = &message.authorities[0].data else { panic!("not a TXT record") };
        assert_eq!(txt.txt_data.iter().map(|string| string.len()).collect::<Vec<_>>(), [255, 45]);
    }

    #[test]
    fn a_name_outside_the_zone_is_never_sent() {
        let mut change = change(Action::Add, "value");
        change.record.zone = "example.net.".to_owned();
        let message = update_message(&[change]).unwrap_err().to_string();
        assert!(message.starts_with("_acme-challenge.a.example.com does not lie in the zone example.net"), "{message}");
    }

    #[test]
    fn pieces_hold_everything_in_order_and_fit() {
        let changes: Vec<_> = (0..50).map(|number| change(Action::Add, &format!("{number:043}"))).collect();
        for most in [1, 1232, 16_384] {
            let pieces = pieces(&changes, most);
            assert_eq!(pieces.concat(), changes, "{most}");
            for piece in pieces {
                let length = update_message(piece).unwrap().to_vec().unwrap().len();
                assert!(piece.len() == 1 || length + 200 < most, "{length} of {most}");
            }
        }
        assert_eq!(pieces(&changes, 1).len(), 50);
        assert_eq!(pieces(&changes, 16_384).len(), 1);
        assert!(pieces(&[], 1232).is_empty());
    }
}
