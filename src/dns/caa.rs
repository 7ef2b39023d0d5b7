//! Which CAs a domain allows to issue for it: CAA records (RFC 8659), with the account and the way of validation that they
//! may name (RFC 8657).

use std::time::Duration;

use hickory_proto::rr::{Name, RData, RecordType, rdata::CAA};
use tokio::time::timeout;

use super::name::{self, NameError};
use super::resolver::{LookupError, Resolver};

/// For all names on the way up.
const SEARCH_LIMIT: Duration = Duration::from_secs(20);

/// A domain has a handful.
const MOST_RECORDS: usize = 100;

/// Tags that tell whom to write to, not who may issue.
const TAGS_WITHOUT_EFFECT: [&str; 4] = ["contactemail", "contactphone", "iodef", "issuemail"];

/// Why it is not known what a domain allows.
#[derive(Debug, thiserror::Error)]
pub enum CaaError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("cannot find the CAA records of {name}: it took more than {} s", SEARCH_LIMIT.as_secs())]
    TooSlow { name: String },
}

/// The records that are relevant for a domain (RFC 8659 section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaaRecords {
    /// The domain that has them: the one that was asked for, or one above it. Without the closing dot.
    pub owner: String,
    records: Vec<CAA>,
}

/// Who wants to issue what.
#[derive(Clone, Copy, Debug)]
pub struct Issuance<'a> {
    pub wildcard: bool,
    /// The names by which the CA recognises itself: `caaIdentities` of its directory (RFC 8555 section 7.1.1).
    pub identities: &'a [String],
    pub account_uri: &'a str,
    /// The way of validation, such as `dns-01`.
    pub method: Option<&'a str>,
}

/// Looks for the CAA records of a domain, and of those above it if it has none.
///
/// # Errors
/// When a look-up brings no answer: then a CA would not issue either.
pub async fn find_caa(resolver: &Resolver, domain: &str) -> Result<Option<CaaRecords>, CaaError> {
    let domain = name::parse(domain.strip_prefix("*.").unwrap_or(domain))?;
    let slow = CaaError::TooSlow { name: name::shown(&name::to_fqdn(&domain)).to_owned() };
    timeout(SEARCH_LIMIT, climb(resolver, domain)).await.unwrap_or(Err(slow))
}

async fn climb(resolver: &Resolver, domain: Name) -> Result<Option<CaaRecords>, CaaError> {
    let mut current = domain;
    while !current.is_root() {
        let fqdn = name::to_fqdn(&current);
        let reply = resolver.query(&fqdn, RecordType::CAA).await?;
        // The resolver follows CNAMEs, as a CA has to.
        let records = reply.message.answers.iter().filter_map(|record| match &record.data {
            RData::CAA(caa) => Some(caa.clone()),
            _ => None,
        });
        let records: Vec<CAA> = records.take(MOST_RECORDS).collect();
        if !records.is_empty() {
            return Ok(Some(CaaRecords { owner: name::shown(&fqdn).to_owned(), records }));
        }
        current = current.base_name();
    }
    Ok(None)
}

impl CaaRecords {
    /// Why the records forbid this, in words for people; nothing if they allow it.
    pub fn objection(&self, issuance: &Issuance<'_>) -> Option<String> {
        let owner = &self.owner;
        if let Some(unknown) = self.records.iter().find(|record| record.issuer_critical && !is_known(&record.tag)) {
            let tag: String = unknown.tag.chars().take(30).collect();
            return Some(format!(
                "the CAA records of {owner} have the critical tag {tag:?}, which no CA may pass over"
            ));
        }
        let of_tag =
            |tag: &str| self.records.iter().filter(|held| held.tag.eq_ignore_ascii_case(tag)).collect::<Vec<_>>();
        let for_wildcards = if issuance.wildcard { of_tag("issuewild") } else { Vec::new() };
        let rules = if for_wildcards.is_empty() { of_tag("issue") } else { for_wildcards };
        if rules.is_empty() || rules.iter().any(|rule| allows(rule, issuance)) {
            return None;
        }
        let allowed: Vec<_> = rules.iter().filter_map(|rule| shown(rule)).take(10).collect();
        let allowed = if allowed.is_empty() { "nobody".to_owned() } else { allowed.join(" or ") };
        Some(format!(
            "the CAA records of {owner} allow {allowed}, and the CA is {} with the account {}",
            issuance.identities.join(" or "),
            issuance.account_uri
        ))
    }
}

fn is_known(tag: &str) -> bool {
    ["issue", "issuewild"].iter().chain(&TAGS_WITHOUT_EFFECT).any(|known| tag.eq_ignore_ascii_case(known))
}

/// A rule that cannot be read allows nobody (RFC 8659 section 4.2).
fn allows(rule: &CAA, issuance: &Issuance<'_>) -> bool {
    let Ok((Some(issuer), parameters)) = rule.value_as_issue() else { return false };
    let issuer = name::to_fqdn(&issuer);
    let is_named =
        issuance.identities.iter().any(|own| name::shown(&issuer).eq_ignore_ascii_case(own.trim_end_matches('.')));
    is_named
        && parameters.iter().all(|parameter| match parameter.key().to_ascii_lowercase().as_str() {
            "accounturi" => parameter.value() == issuance.account_uri,
            "validationmethods" => issuance
                .method
                .is_none_or(|method| parameter.value().split(',').any(|allowed| allowed.trim() == method)),
            _ => true,
        })
}

/// A rule as it stands in the record, as far as it allows somebody.
fn shown(rule: &CAA) -> Option<String> {
    let (issuer, parameters) = rule.value_as_issue().ok()?;
    let issuer = name::shown(&name::to_fqdn(&issuer?)).to_owned();
    let parameters = parameters.iter().map(|parameter| format!("; {}={}", parameter.key(), parameter.value()));
    Some(parameters.fold(issuer, |text, parameter| text + &parameter).chars().take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "https://ca.example.net/acct/1";

    fn records(records: &[(bool, &str, &str)]) -> CaaRecords {
        let record = |&(issuer_critical, tag, value): &(bool, &str, &str)| {
            let mut record = CAA::new_issue(issuer_critical, None, Vec::new());
            record.tag = tag.to_owned();
            record.value = value.as_bytes().to_vec();
            record
        };
        CaaRecords { owner: "example.com".to_owned(), records: records.iter().map(record).collect() }
    }

    fn objection(held: &[(bool, &str, &str)], wildcard: bool) -> Option<String> {
        let identities = ["ca.example.net".to_owned()];
        let issuance = Issuance { wildcard, identities: &identities, account_uri: ACCOUNT, method: Some("dns-01") };
        records(held).objection(&issuance)
    }

    #[test]
    fn who_may_issue() {
        let allowed: [&[(bool, &str, &str)]; 8] = [
            &[(false, "issue", "ca.example.net")],
            &[(false, "ISSUE", "CA.Example.net")],
            &[(false, "issue", "other.example"), (false, "issue", "ca.example.net; policy=ev")],
            &[(false, "iodef", "mailto:security@example.com")],
            &[(false, "issuewild", ";")],
            &[(false, "future", "x"), (true, "issue", "ca.example.net")],
            &[(false, "issue", "ca.example.net; accounturi=https://ca.example.net/acct/1")],
            &[(false, "issue", "ca.example.net; validationmethods=http-01,dns-01")],
        ];
        for held in allowed {
            assert_eq!(objection(held, false), None, "{held:?}");
        }
        let forbidden: [&[(bool, &str, &str)]; 6] = [
            &[(false, "issue", ";")],
            &[(false, "issue", "other.example")],
            &[(false, "issue", "%%%")],
            &[(true, "future", "x"), (false, "issue", "ca.example.net")],
            &[(false, "issue", "ca.example.net; accounturi=https://ca.example.net/acct/2")],
            &[(false, "issue", "ca.example.net; validationmethods=http-01")],
        ];
        for held in forbidden {
            assert!(objection(held, false).is_some(), "{held:?}");
        }
    }

    #[test]
    fn wildcards_have_rules_of_their_own() {
        let held: &[(bool, &str, &str)] = &[(false, "issue", "ca.example.net"), (false, "issuewild", "other.example")];
        assert_eq!(objection(held, false), None);
        assert!(objection(held, true).is_some());
        assert_eq!(objection(&[(false, "issue", "ca.example.net")], true), None);
        assert_eq!(objection(&[(false, "issue", ";"), (false, "issuewild", "ca.example.net")], true), None);
    }

    #[test]
    fn the_objection_names_who_is_allowed() {
        let held: &[(bool, &str, &str)] =
            &[(false, "issue", "other.example; accounturi=https://other.example/1"), (false, "issue", "third.example")];
        assert_eq!(
            objection(held, false).unwrap_or_default(),
            "the CAA records of example.com allow other.example; accounturi=https://other.example/1 or third.example, and \
             the CA is ca.example.net with the account https://ca.example.net/acct/1"
        );
        let nobody = objection(&[(false, "issue", ";")], false).unwrap_or_default();
        assert!(nobody.starts_with("the CAA records of example.com allow nobody, and"), "{nobody}");
    }
}
