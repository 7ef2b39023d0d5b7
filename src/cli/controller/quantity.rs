//! Amounts on the command line, as Kubernetes spells them: `100m`, `64Mi`.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Behind the number.
const UNITS: [&str; 16] = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// The API server would refuse a wrong one too, but only when the first solver pod is made.
pub(super) fn quantity(text: &str) -> Result<Quantity, String> {
    let end = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if number.parse::<f64>().is_ok() && (UNITS.contains(&unit) || is_exponent(unit)) {
        return Ok(Quantity(text.to_owned()));
    }
    Err(format!("{text:?} is not an amount, such as 100m or 0.1 (CPU), or 64Mi (memory)"))
}

fn is_exponent(unit: &str) -> bool {
    unit.strip_prefix(['e', 'E']).is_some_and(|exponent| exponent.parse::<i8>().is_ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{super::testing::read, *};

    #[test]
    fn amounts_are_spelled_as_in_pods() {
        for right in ["0", "100m", "0.1", "1.", "64Mi", "1E", "2Ei", "1e3", "12E-1", "500k"] {
            assert_eq!(quantity(right), Ok(Quantity(right.to_owned())));
        }
        for wrong in ["", "m", "lots", "-1", "64MB", "64mi", "1 Gi", "1.2.3", "1e", "."] {
            assert!(quantity(wrong).is_err(), "{wrong}");
        }
        let refusal = read(&["--acme-http01-solver-resource-limits-memory=64MB"]).unwrap_err().to_string();
        assert!(refusal.contains("such as 100m or 0.1 (CPU), or 64Mi (memory)"), "{refusal}");
    }
}
