//! Which zone a name lies in, asked of the server that takes the updates.

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::dns::name;

/// What the answer to a question for the SOA record tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The server is authoritative for this zone, which the name lies in.
    Zone(String),
    /// The name is an alias, so the zone is that of the name above, whatever follows in the answer.
    Above,
    /// It is not its zone, or it does not say.
    Unknown,
}

/// A question that only an authoritative server answers.
pub(super) fn question(name: &Name) -> Message {
    let mut message = Message::query();
    message.metadata.op_code = OpCode::Query;
    message.metadata.recursion_desired = false;
    message.add_query(Query::query(name.clone(), RecordType::SOA));
    message
}

/// The SOA record of the zone comes with every authoritative answer: as the answer, or beside that there is none (RFC 2308
/// section 3).
pub(super) fn judge(asked: &Name, answer: &Message) -> Verdict {
    let code = answer.metadata.response_code;
    if !answer.metadata.authoritative || !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Verdict::Unknown;
    }
    if answer.answers.iter().any(|record| matches!(record.data, RData::CNAME(_))) {
        return Verdict::Above;
    }
    let mut records = answer.answers.iter().chain(&answer.authorities);
    let apex = records.find(|record| matches!(record.data, RData::SOA(_)) && record.name.zone_of(asked));
    match apex {
        Some(record) if !record.name.is_root() => Verdict::Zone(name::to_fqdn(&record.name)),
        _ => Verdict::Unknown,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::{CNAME, SOA};

    use super::*;

    fn named(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn soa(owner: &str) -> Record {
        let data = SOA::new(named("ns."), named("root."), 1, 60, 60, 60, 60);
        Record::from_rdata(named(owner), 60, RData::SOA(data))
    }

    fn beside(record: Record) -> impl FnOnce(&mut Message) {
        move |answer| {
            answer.add_authority(record);
        }
    }

    fn judged(change: impl FnOnce(&mut Message)) -> Verdict {
        let mut answer = Message::response(1, OpCode::Query);
        answer.metadata.authoritative = true;
        change(&mut answer);
        judge(&named("_acme-challenge.www.example.com."), &answer)
    }

    #[test]
    fn the_zone_comes_with_every_authoritative_answer() {
        let zone = Verdict::Zone("example.com.".to_owned());
        assert_eq!(judged(beside(soa("example.com."))), zone);
        let missing = judged(|answer| {
            answer.metadata.response_code = ResponseCode::NXDomain;
            answer.add_authority(soa("Example.COM."));
        });
        assert_eq!(missing, zone);
        let apex = "_acme-challenge.www.example.com.";
        let own = judged(|answer| {
            answer.add_answer(soa(apex));
        });
        assert_eq!(own, Verdict::Zone(apex.to_owned()));
    }

    #[test]
    fn what_tells_nothing_is_not_believed() {
        assert_eq!(judged(|_| ()), Verdict::Unknown);
        assert_eq!(judged(beside(soa("example.net."))), Verdict::Unknown);
        assert_eq!(judged(beside(soa("."))), Verdict::Unknown);
        let referred = judged(|answer| {
            answer.metadata.authoritative = false;
            answer.add_authority(soa("example.com."));
        });
        assert_eq!(referred, Verdict::Unknown);
        let refused = judged(|answer| {
            answer.metadata.response_code = ResponseCode::Refused;
            answer.add_authority(soa("example.com."));
        });
        assert_eq!(refused, Verdict::Unknown);
    }

    #[test]
    fn the_zone_of_an_alias_is_not_that_of_its_target() {
        let alias = judged(|answer| {
            let target = RData::CNAME(CNAME(named("target.example.com.")));
            answer.add_answer(Record::from_rdata(named("_acme-challenge.www.example.com."), 60, target));
            answer.add_authority(soa("example.com."));
        });
        assert_eq!(alias, Verdict::Above);
    }
}
