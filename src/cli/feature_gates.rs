//! `--feature-gates`, as cert-manager has it: names with `true` or `false`, separated by commas.

/// Whether CAs are asked when to renew (RFC 9773).
const RENEWAL_INFORMATION: &str = "ACMEUseARI";

/// The gates that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureGates {
    pub renewal_information: bool,
}

impl FeatureGates {
    /// The last mention of a gate counts. Those that are not ours are told of, and without effect.
    pub fn of(list: &[FeatureGate]) -> Self {
        let mut gates = Self { renewal_information: true };
        for FeatureGate { name, is_on } in list.iter().filter(|gate| !gate.name.is_empty()) {
            if name == RENEWAL_INFORMATION {
                gates.renewal_information = *is_on;
            } else {
                tracing::warn!(
                    name,
                    "this name in --feature-gates is without effect; only {RENEWAL_INFORMATION} is known"
                );
            }
        }
        gates
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
    /// In words, when it is something else. Nothing at all is a gate without a name.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self { name: String::new(), is_on: false });
        }
        let (name, value) = text.split_once('=').ok_or("write it as NAME=true or NAME=false")?;
        let is_on = match value.trim() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            other => return Err(format!("{other:?} is neither true nor false")),
        };
        Ok(Self { name: name.trim().to_owned(), is_on })
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
    fn other_spellings_are_refused() {
        for text in ["ACMEUseARI", "ACMEUseARI=", "ACMEUseARI=off", "ACMEUseARI=yes=true"] {
            assert!(FeatureGate::parse(text).is_err(), "{text}");
        }
    }
}
