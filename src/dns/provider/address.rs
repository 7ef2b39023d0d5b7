//! Addresses below an API's base, with everything that comes from outside encoded.

use reqwest::Url;

/// `base` with these segments added to its path and this query. Neither can lead elsewhere.
pub fn address(base: &Url, segments: &[&str], query: &[(&str, &str)]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_stays_in_its_place() {
        let base = "https://api.example.com/v4/".parse().unwrap();
        let url = address(&base, &["zones", "a/../b?c"], &[("name", "x&y=z")]);
        assert_eq!(url.as_str(), "https://api.example.com/v4/zones/a%2F..%2Fb%3Fc?name=x%26y%3Dz");
        assert_eq!(address(&base, &["zones"], &[]).as_str(), "https://api.example.com/v4/zones");
    }
}
