//! `--feature-gates`, as cert-manager has it: names with `true` or `false`, separated by commas.

use super::{pflag, suggestion::suggestion};

/// The gates that have an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureGates {
    /// Whether CAs are asked when to renew (RFC 9773).
    pub renewal_information: bool,
    /// Whether requests say by an extension whether they are for a CA.
    pub basic_constraints: bool,
    /// Whether Ingresses of solvers say that the path must match exactly.
    pub exact_path: bool,
    pub literal_subject: bool,
    pub name_constraints: bool,
    pub other_names: bool,
}

/// How far a feature is; [`ALL_ALPHA`] and [`ALL_BETA`] turn those of a stage on or off that are not named themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Alpha,
    Beta,
    /// Always on.
    Settled,
}

struct Gate {
    name: &'static str,
    stage: Stage,
    field: Option<fn(&mut FeatureGates) -> &mut bool>,
}

const ALL_ALPHA: &str = "AllAlpha";
const ALL_BETA: &str = "AllBeta";

/// Those of cert-manager, of its controller and its other programs. The stages are cert-manager's but for the first, which is
/// on here.
const GATES: &[Gate] = &[
    effective("ACMEUseARI", Stage::Beta, |gates| &mut gates.renewal_information),
    effective("UseCertificateRequestBasicConstraints", Stage::Alpha, |gates| &mut gates.basic_constraints),
    effective("ACMEHTTP01IngressPathTypeExact", Stage::Beta, |gates| &mut gates.exact_path),
    effective("LiteralCertificateSubject", Stage::Beta, |gates| &mut gates.literal_subject),
    effective("NameConstraints", Stage::Beta, |gates| &mut gates.name_constraints),
    effective("OtherNames", Stage::Beta, |gates| &mut gates.other_names),
    known("StableCertificateRequestName", Stage::Beta),
    known("SecretsFilteredCaching", Stage::Beta),
    known("ExperimentalCertificateSigningRequestControllers", Stage::Alpha),
    known("ExperimentalGatewayAPISupport", Stage::Beta),
    known("ListenerSets", Stage::Alpha),
    known("ServerSideApply", Stage::Alpha),
    known("ValidateCAA", Stage::Alpha),
    known("DisallowInsecureCSRUsageDefinition", Stage::Settled),
    known("AdditionalCertificateOutputFormats", Stage::Settled),
    known("UseDomainQualifiedFinalizer", Stage::Settled),
    known("DefaultPrivateKeyRotationPolicyAlways", Stage::Settled),
    known("CAInjectorMerging", Stage::Settled),
];

const fn effective(name: &'static str, stage: Stage, field: fn(&mut FeatureGates) -> &mut bool) -> Gate {
    Gate { name, stage, field: Some(field) }
}

const fn known(name: &'static str, stage: Stage) -> Gate {
    Gate { name, stage, field: None }
}

impl Default for FeatureGates {
    fn default() -> Self {
        Self {
            renewal_information: true,
            basic_constraints: false,
            exact_path: true,
            literal_subject: true,
            name_constraints: true,
            other_names: true,
        }
    }
}

impl FeatureGates {
    /// The last mention of a gate counts. Those without effect are told of.
    pub fn of(list: &[FeatureGate]) -> Self {
        let mut gates = Self::default();
        let mentioned =
            |name: &str| list.iter().rev().find(|mention| mention.name == name).map(|mention| mention.is_on);
        for gate in GATES {
            let of_stage = match gate.stage {
                Stage::Alpha => mentioned(ALL_ALPHA),
                Stage::Beta => mentioned(ALL_BETA),
                Stage::Settled => None,
            };
            let own = mentioned(gate.name);
            if let Some(is_on) = own
                && let Some(why) = gate.idle(is_on)
            {
                tracing::warn!(gate = gate.name, "this name in --feature-gates is without effect: {why}");
            }
            if let (Some(field), Some(is_on)) = (gate.field, own.or(of_stage)) {
                *field(&mut gates) = is_on;
            }
        }
        gates
    }
}

impl Gate {
    /// Why nothing comes of it, if so.
    fn idle(&self, is_on: bool) -> Option<&'static str> {
        match (self.stage, self.field) {
            (_, Some(_)) => None,
            (Stage::Settled, None) if is_on => Some("it is always on"),
            (Stage::Settled, None) => Some("it is always on, and cannot be turned off"),
            (_, None) => Some("certwright has no such choice"),
        }
    }
}

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureGate {
    name: String,
    is_on: bool,
}

impl FeatureGate {
    /// Reads `name=value`, the value in one of the spellings that Go takes for a boolean.
    ///
    /// # Errors
    /// In words, when it is something else, or a name that cert-manager does not have. Nothing at all is a gate without a name.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self { name: String::new(), is_on: false });
        }
        let (name, value) = text.split_once('=').ok_or("write it as NAME=true or NAME=false")?;
        let name = name.trim();
        let names = || GATES.iter().map(|gate| gate.name).chain([ALL_ALPHA, ALL_BETA]);
        if !names().any(|known| known == name) {
            return Err(format!("there is no feature gate {name:?}{}", suggestion(name, names())));
        }
        Ok(Self { name: name.to_owned(), is_on: pflag::parse_bool(value)? })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn gates(list: &[&str]) -> FeatureGates {
        FeatureGates::of(&list.iter().map(|text| FeatureGate::parse(text).unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn renewal_information_is_on_unless_it_is_turned_off() {
        assert!(gates(&[]).renewal_information);
        assert!(gates(&[""]).renewal_information);
        assert!(gates(&["ServerSideApply=true", "AllAlpha=false"]).renewal_information);
        assert!(gates(&["ACMEUseARI=false", "ACMEUseARI=true"]).renewal_information);
        for value in ["false", "F", "0", " False "] {
            assert!(!gates(&["NameConstraints=true", &format!("ACMEUseARI={value}")]).renewal_information);
        }
    }

    #[test]
    fn every_gate_rules_its_own_field() {
        let usual = FeatureGates::default();
        assert_eq!(
            gates(&["UseCertificateRequestBasicConstraints=true"]),
            FeatureGates { basic_constraints: true, ..usual }
        );
        assert_eq!(gates(&["ACMEHTTP01IngressPathTypeExact=false"]), FeatureGates { exact_path: false, ..usual });
        assert_eq!(gates(&["LiteralCertificateSubject=false"]), FeatureGates { literal_subject: false, ..usual });
        assert_eq!(gates(&["NameConstraints=false"]), FeatureGates { name_constraints: false, ..usual });
        assert_eq!(gates(&["OtherNames=false"]), FeatureGates { other_names: false, ..usual });
        assert_eq!(gates(&["UseDomainQualifiedFinalizer=false", "ValidateCAA=true"]), usual);
    }

    #[test]
    fn a_stage_rules_what_is_not_named_itself() {
        assert!(gates(&["AllAlpha=true"]).basic_constraints);
        assert!(!gates(&["UseCertificateRequestBasicConstraints=false", "AllAlpha=true"]).basic_constraints);
        let few = gates(&["AllBeta=false", "OtherNames=true"]);
        assert!(few.other_names && !few.name_constraints && !few.exact_path && !few.renewal_information);
    }

    #[test]
    fn other_spellings_and_names_are_refused() {
        for text in ["ACMEUseARI", "ACMEUseARI=", "ACMEUseARI=off", "ACMEUseARI=yes=true"] {
            assert!(FeatureGate::parse(text).is_err(), "{text}");
        }
        let refusal = FeatureGate::parse("OtherName=true").unwrap_err();
        assert_eq!(refusal, "there is no feature gate \"OtherName\" (did you mean OtherNames?)");
        assert_eq!(FeatureGate::parse("Quantum=true").unwrap_err(), "there is no feature gate \"Quantum\"");
    }
}
