//! Link headers (RFC 8288), as far as ACME uses them.

use reqwest::{
    Url,
    header::{HeaderMap, LINK},
};

/// The targets of all links with relation `relation`, resolved against `base`. Not more than `limit` are returned.
pub(super) fn targets(headers: &HeaderMap, relation: &str, base: &str, limit: usize) -> Vec<String> {
    let Ok(base) = Url::parse(base) else { return Vec::new() };
    let values = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(links)
        .filter(|(_, parameters)| has_relation(parameters, relation))
        .filter_map(|(target, _)| base.join(target).ok())
        .map(String::from)
        .take(limit)
        .collect()
}

/// Splits `<target>; parameters, <target>; parameters`. A target ends at its closing bracket, so commas in it are safe.
fn links(value: &str) -> Vec<(&str, &str)> {
    let mut links = Vec::new();
    for part in value.split('<').skip(1) {
        if let Some((target, parameters)) = part.split_once('>') {
            links.push((target, parameters.trim_end().trim_end_matches(',')));
        }
    }
    links
}

fn has_relation(parameters: &str, relation: &str) -> bool {
    parameters.split(';').filter_map(|parameter| parameter.split_once('=')).any(|(name, value)| {
        let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
        name.trim().eq_ignore_ascii_case("rel") && relations.any(|known| known.eq_ignore_ascii_case(relation))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn found(values: &[&str], relation: &str) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(LINK, value.parse().unwrap());
        }
        targets(&headers, relation, "https://ca.example/acme/cert/1", 3)
    }

    #[test]
    fn links_are_found_in_one_header_and_in_several() {
        let one = [
            "<https://ca.example/dir>;rel=\"index\", </acme/cert/1/1>;rel=\"alternate\", <2>; title=\"x\"; rel=alternate",
        ];
        let several =
            ["<https://ca.example/dir>;rel=\"index\"", "</acme/cert/1/1>;rel=\"alternate\"", "<2>;REL=\"x Alternate\""];
        let expected = ["https://ca.example/acme/cert/1/1", "https://ca.example/acme/cert/2"];
        assert_eq!(found(&one, "alternate"), expected);
        assert_eq!(found(&several, "alternate"), expected);
        assert_eq!(found(&one, "index"), ["https://ca.example/dir"]);
    }

    #[test]
    fn broken_links_are_left_out_and_many_are_cut() {
        assert!(found(&["nothing", "<unclosed;rel=next", "<https://[>;rel=\"next\"", "<a>"], "next").is_empty());
        assert_eq!(found(&["<a>;rel=next"; 9], "next").len(), 3);
    }
}
