//! The spare issuers of a Certificate: who signs when the first issuer does not.

use jiff::SignedDuration;
use kube::ResourceExt;

use crate::api::{Certificate, GoDuration, IssuerReference, names::annotation};

/// More would never be reached.
const MOST_SPARES: usize = 5;

/// How long the first issuer is waited for while there is a certificate that can be used.
const PATIENCE: SignedDuration = SignedDuration::from_hours(1);

/// An issuer that a Certificate names beside its first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenSpare {
    pub reference: IssuerReference,
    /// Whether it is there and ready; what issuers of other groups are, nobody knows before they are asked.
    pub is_usable: bool,
}

/// What the annotations of a Certificate say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fallback {
    /// In the order in which they are used.
    pub spares: Vec<IssuerReference>,
    patience: Option<SignedDuration>,
    /// What is passed over, and why.
    pub problems: Vec<String>,
}

impl Fallback {
    pub fn of(certificate: &Certificate) -> Self {
        let mut fallback = Self::default();
        let told = |key: &str| certificate.annotations().get(key).filter(|text| !text.trim().is_empty());
        let texts = told(annotation::FALLBACK_ISSUERS).map(String::as_str).unwrap_or_default();
        for text in texts.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            fallback.add(text, &certificate.spec.issuer_ref);
        }
        if let Some(text) = told(annotation::FALLBACK_AFTER) {
            match GoDuration::from(text.as_str()).to_duration() {
                Ok(patience) if !patience.is_zero() && !patience.is_negative() => fallback.patience = Some(patience),
                _ => fallback.problems.push(format!(
                    "the annotation {} is ignored, because {text:?} is not a duration such as 30m",
                    annotation::FALLBACK_AFTER
                )),
            }
        }
        fallback
    }

    fn add(&mut self, text: &str, first: &IssuerReference) {
        let key = annotation::FALLBACK_ISSUERS;
        let Some(reference) = parse(text) else {
            return self.problems.push(format!(
                "{text:?} in the annotation {key} is ignored, because it is not like ClusterIssuer/name, Issuer/name or \
                 Kind.group/name"
            ));
        };
        let is_known = reference.same_as(first) || self.spares.iter().any(|known| known.same_as(&reference));
        if is_known {
            return;
        }
        if self.spares.len() == MOST_SPARES {
            return self
                .problems
                .push(format!("{text:?} in the annotation {key} is ignored: {MOST_SPARES} are enough"));
        }
        self.spares.push(reference);
    }

    /// How long an issuer is waited for that does not sign. Less if there is no certificate to live on, or not for long.
    pub fn patience(&self, is_urgent: bool) -> SignedDuration {
        const SHORT: SignedDuration = SignedDuration::from_mins(10);
        let patience = self.patience.unwrap_or(PATIENCE);
        if is_urgent { patience.min(SHORT) } else { patience }
    }
}

/// An issuer as the annotation, and messages, name it.
pub fn shown(reference: &IssuerReference) -> String {
    let (kind, name) = (reference.kind_or_default(), &reference.name);
    if reference.is_ours() {
        format!("{kind}/{name}")
    } else {
        format!("{kind}.{}/{name}", reference.group_or_default())
    }
}

/// Reads what [`shown`] writes.
pub fn parse(text: &str) -> Option<IssuerReference> {
    let (kind, name) = text.split_once('/')?;
    let (kind, group) = kind.split_once('.').map_or((kind, None), |(kind, group)| (kind, Some(group)));
    let is_name = |text: &str| {
        !text.is_empty() && text.len() < 254 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
    };
    let is_good = is_name(name) && is_name(kind) && group.is_none_or(is_name);
    is_good.then(|| IssuerReference {
        name: name.to_owned(),
        kind: Some(kind.to_owned()),
        group: group.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decide::testing::object;

    fn fallback(issuers: &str, after: &str) -> Fallback {
        Fallback::of(&object(json!({
            "metadata": {"name": "web", "annotations": {
                "certwright.dev/fallback-issuers": issuers, "certwright.dev/fallback-after": after,
            }},
            "spec": {"secretName": "web-tls", "issuerRef": {"name": "first", "kind": "ClusterIssuer"}},
        })))
    }

    #[test]
    fn issuers_are_named_by_kind_and_group() {
        let held = fallback("ClusterIssuer/zero, Issuer/own,Foo.example.com/x, ClusterIssuer/first, Issuer/own", "");
        let names: Vec<_> = held.spares.iter().map(shown).collect();
        assert_eq!(
            (names, held.problems),
            (["ClusterIssuer/zero", "Issuer/own", "Foo.example.com/x"].map(str::to_owned).to_vec(), vec![])
        );
        assert!(!held.spares[2].is_ours() && held.spares[0].is_ours());
        assert_eq!(fallback("", ""), Fallback::default());
    }

    #[test]
    fn what_makes_no_sense_is_told_of() {
        let held = fallback("zero, Issuer/, ClusterIssuer/good, Issuer/a b", "soon");
        assert_eq!(held.spares.len(), 1);
        assert_eq!(held.problems.len(), 4);
        assert!(held.problems[0].starts_with("\"zero\" in the annotation certwright.dev/fallback-issuers is ignored"));
        assert!(held.problems[3].contains("\"soon\" is not a duration"), "{:?}", held.problems);
        let many: Vec<_> = (0..9).map(|number| format!("Issuer/i{number}")).collect();
        assert_eq!(fallback(&many.join(","), "").spares.len(), MOST_SPARES);
    }

    #[test]
    fn patience_is_shorter_when_time_is_short() {
        let minutes =
            |after: &str| [false, true].map(|is_urgent| fallback("Issuer/a", after).patience(is_urgent).as_mins());
        assert_eq!(minutes(""), [60, 10]);
        assert_eq!(minutes("20m"), [20, 10]);
        assert_eq!(minutes("2m"), [2, 2]);
        assert_eq!(minutes("-2m"), [60, 10]);
    }
}
