//! What somebody may have meant who wrote a name that there is not.

/// How alike two names must be for one to be taken for a misspelling of the other; 1 is the same.
const LIKENESS: f64 = 0.8;

/// ` (did you mean X?)` with the most alike of the known names, or nothing if none is.
pub fn suggestion<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let folded = name.to_ascii_lowercase();
    let rated = known.into_iter().map(|other| (strsim::jaro_winkler(&folded, &other.to_ascii_lowercase()), other));
    let best = rated.filter(|(likeness, _)| *likeness > LIKENESS).max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.map(|(_, other)| format!(" (did you mean {other}?)")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::suggestion;

    #[test]
    fn the_most_alike_name_is_suggested() {
        let known = ["ACMEUseARI", "NameConstraints", "OtherNames"];
        assert_eq!(suggestion("NameConstraint", known), " (did you mean NameConstraints?)");
        assert_eq!(suggestion("acmeuseari", known), " (did you mean ACMEUseARI?)");
        assert_eq!(suggestion("Sharding", known), "");
        assert_eq!(suggestion("", known), "");
    }
}
