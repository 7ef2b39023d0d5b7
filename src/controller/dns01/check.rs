//! Whether the CA will find the TXT record: one bounded look, which is taken beside the passes.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::SignedDuration;

use crate::{
    controller::step_error::{StepError, signed},
    decide::{
        backoff,
        propagation::{SILENT_WAITED_FOR, Tally, Verification, is_to_be_presented_again},
    },
    dns::{
        challenge_name::{aliases_of, zone_of},
        cname::{CnameError, follow_cnames},
        name::{NameError, challenge_record_name, shown},
        resolver::Resolver,
        silence::Silence,
        verify::{self, Sought, VerifyConfig, verify_txt, verify_txt_recursively},
        zone::ZoneError,
        zone_cache::ZoneCache,
    },
};

/// The CNAMEs of a name are not followed again within this time.
const ALIASES_KEPT: Duration = Duration::from_secs(10);

/// What helps if no server answers, which is likely due to a firewall.
const OTHER_WAY: &str = "if they cannot be reached from here, give the issuer the annotation \
                         certwright.dev/dns01-verification: recursive";

/// What all looks share.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) zones: Arc<ZoneCache>,
    pub(super) silence: Arc<Silence>,
    pub(super) config: VerifyConfig,
}

/// What one look is about.
pub(super) struct Question {
    pub(super) resolver: Arc<Resolver>,
    pub(super) verification: Verification,
    pub(super) dns_name: String,
    /// All of them are to be at the name.
    pub(super) values: Vec<String>,
    pub(super) since_presented: SignedDuration,
    pub(super) known: Propagation,
}

/// How far the record has come, as far as this process has seen. What was seen once is not asked for again.
#[derive(Clone, Debug, Default)]
pub struct Propagation {
    /// Where the CNAMEs of the challenge's name lead to, and when that was found.
    end: Option<(String, Instant)>,
    /// The servers at which it is.
    found_at: BTreeSet<String>,
    /// Whether a server answered the last look without it.
    is_lacking: bool,
    /// When it was presented again, and whether that is under way.
    presented_again: Option<Instant>,
    begins_anew: bool,
}

/// The outcome of one look.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) known: Propagation,
    /// What is missing, in one stable sentence; nothing if the CA will find the record.
    pub(super) missing: Option<String>,
}

impl Propagation {
    pub fn is_blank(&self) -> bool {
        let Self { end, found_at, is_lacking, presented_again, begins_anew } = self;
        end.is_none() && found_at.is_empty() && !is_lacking && presented_again.is_none() && !begins_anew
    }

    /// Nothing is known of a record that was presented just now, once more.
    pub(super) fn of_presented_again() -> Self {
        Self { presented_again: Some(Instant::now()), ..Self::default() }
    }

    pub(in crate::controller) fn is_to_be_presented_again(&self, since_presented: SignedDuration) -> bool {
        let since_again = self.presented_again.map(|at| signed(at.elapsed()));
        self.is_lacking && is_to_be_presented_again(since_presented, since_again)
    }

    /// Whether the record is to be presented again now, which has not been asked for yet.
    pub(super) fn begins_anew(&mut self) -> bool {
        !std::mem::replace(&mut self.begins_anew, true)
    }
}

impl Question {
    pub(super) async fn answer(mut self, tools: &Tools) -> Result<Look, StepError> {
        let name = self.end_of_aliases(tools).await?;
        let mut missing = None;
        if matches!(self.verification, Verification::Authoritative | Verification::Both) {
            missing = self.ask_authoritative(tools, &name).await?;
        }
        // A recursive nameserver that is asked too early remembers that there was nothing.
        if missing.is_none() && matches!(self.verification, Verification::Recursive | Verification::Both) {
            missing = self.ask_recursive(tools, &name).await?;
        }
        Ok(Look { known: self.known, missing })
    }

    /// The CA follows CNAMEs whoever wrote the record, so this does too.
    async fn end_of_aliases(&mut self, tools: &Tools) -> Result<String, StepError> {
        let former = self.known.end.take();
        if let Some((name, at)) = &former
            && at.elapsed() < ALIASES_KEPT
        {
            let name = name.clone();
            self.known.end = former;
            return Ok(name);
        }
        let asked = challenge_record_name(&self.dns_name);
        let chain = match self.verification {
            // Where only the resolvers are asked, the authoritative servers may be out of reach.
            Verification::Recursive => follow_cnames(&self.resolver, &asked).await,
            _ => aliases_of(&tools.zones, &self.resolver, &asked, tools.config.port).await,
        };
        let chain = chain.map_err(|error| of_aliases(&asked, &error))?;
        let name = chain.last().cloned().unwrap_or(asked);
        if former.is_some_and(|(former, _)| former != name) {
            self.known.found_at.clear();
        }
        self.known.end = Some((name.clone(), Instant::now()));
        Ok(name)
    }

    async fn ask_authoritative(&mut self, tools: &Tools, name: &str) -> Result<Option<String>, StepError> {
        let found = zone_of(&tools.zones, &self.resolver, name, tools.config.port).await;
        let zone = found.map_err(|error| of_zone(name, &error))?;
        let all = zone.nameservers.iter().map(|host| host.host.clone()).collect();
        let is_enough = |seen: &verify::Verification| self.is_enough(&all, seen);
        let seen = verify_txt(&zone, self.sought(name, &is_enough), tools.config, &tools.silence).await;
        let seen = seen.map_err(|error| unusable(name, &error))?;
        let missing = self.note(&all, &seen);
        let is_cut_off = seen.unheard() == all;
        Ok(missing.map(|missing| if is_cut_off { format!("{missing}; {OTHER_WAY}") } else { missing }))
    }

    async fn ask_recursive(&mut self, tools: &Tools, name: &str) -> Result<Option<String>, StepError> {
        let all = self.resolver.nameservers().iter().map(ToString::to_string).collect();
        let is_enough = |seen: &verify::Verification| self.is_enough(&all, seen);
        let sought = self.sought(name, &is_enough);
        let seen = verify_txt_recursively(&self.resolver, sought, tools.config, &tools.silence).await;
        let seen = seen.map_err(|error| unusable(name, &error))?;
        Ok(self.note(&all, &seen))
    }

    fn sought<'a>(&'a self, name: &'a str, is_enough: &'a verify::IsEnough<'a>) -> Sought<'a> {
        Sought { name, values: &self.values, found_at: &self.known.found_at, is_enough }
    }

    /// Keeps what was found, and says what is missing.
    fn note(&mut self, all: &BTreeSet<String>, seen: &verify::Verification) -> Option<String> {
        let is_enough = self.is_enough(all, seen);
        let may_do_without = self.tally(all, seen).may_do_without();
        self.known.found_at.extend(seen.found());
        self.known.is_lacking = !seen.lacking().is_empty();
        let missing = seen.missing_summary();
        if is_enough {
            if !missing.is_empty() {
                tracing::info!(dns_name = self.dns_name, missing, "going on without servers that do not answer");
            }
            return None;
        }
        let wait = backoff::in_words(SILENT_WAITED_FOR);
        let outlook =
            if may_do_without { format!("; waited for until {wait} after presenting") } else { String::new() };
        Some(format!("{missing}{outlook}"))
    }

    fn is_enough(&self, all: &BTreeSet<String>, seen: &verify::Verification) -> bool {
        self.tally(all, seen).is_enough(self.since_presented)
    }

    fn tally(&self, all: &BTreeSet<String>, seen: &verify::Verification) -> Tally {
        let found = all.intersection(&self.known.found_at).count() + seen.found().len();
        Tally { found, lacking: seen.lacking().len(), unheard: seen.unheard().len() }
    }
}

/// Why the zone of a name was not found. Only what is no DNS name at all is final.
fn of_zone(name: &str, error: &ZoneError) -> StepError {
    let message = format!("Failed to find the zone of {}: {error}", shown(name));
    if matches!(error, ZoneError::Name(_)) { StepError::is_final(message) } else { StepError::transient(message) }
}

/// The same for its CNAMEs.
fn of_aliases(name: &str, error: &CnameError) -> StepError {
    let message = format!("Failed to follow the CNAMEs of {}: {error}", shown(name));
    if matches!(error, CnameError::Name(_)) { StepError::is_final(message) } else { StepError::transient(message) }
}

fn unusable(name: &str, error: &NameError) -> StepError {
    StepError::is_final(format!("The name {} cannot be looked up: {error}", shown(name)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hickory_proto::op::Message;
    use hickory_proto::rr::rdata::{A, NS, SOA};
    use hickory_proto::rr::{Name, RData, Record, RecordType};
    use tokio::net::UdpSocket;

    use super::*;
    use crate::api::names::annotation;
    use crate::decide::TroubleClass;
    use crate::dns::verify::{Outcome, ServerResult};

    fn question(since_presented: i64) -> Question {
        Question {
            resolver: Arc::new(Resolver::from_nameservers(&["192.0.2.53".to_owned()]).unwrap()),
            verification: Verification::Authoritative,
            dns_name: "example.com".to_owned(),
            values: vec!["value".to_owned()],
            since_presented: SignedDuration::from_secs(since_presented),
            known: Propagation::default(),
        }
    }

    fn seen(results: &[(&str, Outcome)]) -> verify::Verification {
        let result = |(host, outcome): &(&str, Outcome)| ServerResult {
            host: (*host).to_owned(),
            address: None,
            outcome: outcome.clone(),
        };
        verify::Verification { servers: results.iter().map(result).collect() }
    }

    #[tokio::test]
    async fn a_name_that_is_too_long_is_final() {
        let dns_name = format!("{}example.com", "a23456789.".repeat(24));
        assert!(dns_name.len() <= 253, "a certificate can be for it");
        let tools =
            Tools { zones: Arc::new(ZoneCache::new(1)), silence: Arc::default(), config: VerifyConfig::default() };
        let Err(error) = (Question { dns_name, ..question(0) }).answer(&tools).await else { panic!() };
        assert!(matches!(error, StepError::Trouble { class: TroubleClass::Final, .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_zone_of_which_nobody_answers_is_told_with_the_way_out() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let resolver = Resolver::from_nameservers(&[socket.local_addr().unwrap().to_string()]).unwrap();
        let serve = async {
            let mut buffer = [0; 512];
            loop {
                let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
                let answer = example_zone(&Message::from_vec(&buffer[..length]).unwrap());
                socket.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
            }
        };
        // Nothing listens at port 1.
        let config = VerifyConfig { port: 1, ..VerifyConfig::default() };
        let tools = Tools { zones: Arc::new(ZoneCache::new(1)), silence: Arc::default(), config };
        let question = Question { resolver: Arc::new(resolver), ..question(100) };
        let look = tokio::select! { look = question.answer(&tools) => look.unwrap(), () = serve => unreachable!() };
        let missing = look.missing.unwrap();
        assert!(missing.starts_with("ns1.example.com (127.0.0.1) could not be reached over UDP"), "{missing}");
        assert!(missing.ends_with(OTHER_WAY) && OTHER_WAY.contains(annotation::DNS01_VERIFICATION), "{missing}");
        assert!(look.known.found_at.is_empty());
    }

    /// What a resolver says of the zone example.com, which has one server.
    fn example_zone(request: &Message) -> Message {
        let (zone, host) = (Name::from_ascii("example.com.").unwrap(), Name::from_ascii("ns1.example.com.").unwrap());
        let mut answer = request.clone().into_response();
        answer.edns = None;
        let query = request.queries[0].clone();
        let data = match query.query_type() {
            RecordType::SOA if *query.name() == zone => RData::SOA(SOA::new(host.clone(), host, 1, 1, 1, 1, 1)),
            RecordType::NS => RData::NS(NS(host)),
            RecordType::A => RData::A(A::new(127, 0, 0, 1)),
            _ => return answer,
        };
        answer.add_answer(Record::from_rdata(query.name().clone(), 60, data));
        answer
    }

    #[test]
    fn what_was_found_counts_in_later_looks() {
        let (missing, silent) = (Outcome::Missing { values_seen: 0 }, Outcome::Failed("gave no answer".to_owned()));
        let all = ["ns1.".to_owned(), "ns2.".to_owned()].into();
        let mut question = question(5);
        let first = question.note(&all, &seen(&[("ns1.", Outcome::Found), ("ns2.", missing)]));
        assert_eq!(first.unwrap(), "ns2 does not have the TXT record yet");
        let dead = question.note(&all, &seen(&[("ns2.", silent.clone())]));
        assert_eq!(dead.unwrap(), "ns2 gave no answer; waited for until 30 s after presenting");
        question.since_presented = SILENT_WAITED_FOR;
        assert_eq!(question.note(&all, &seen(&[("ns2.", silent.clone())])), None);
        question.known.found_at.clear();
        assert_eq!(
            question.note(&all, &seen(&[("ns1.", silent.clone()), ("ns2.", silent)])).unwrap(),
            "ns1 gave no answer; ns2 gave no answer"
        );
    }
}
