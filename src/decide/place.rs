//! Where a Challenge's TXT record was written, or may have been.
//!
//! Usually that follows from the Challenge alone: `_acme-challenge` at its name. Only a record at another name, at the end of
//! a chain of CNAMEs, has to be noted before it is written, because the chain may lead elsewhere when it comes to cleaning up.

use std::fmt;

/// So many places are noted at most; a chain that is changed more often within one Challenge leaves the first ones out.
const MOST_PLACES: usize = 4;

/// A name and the zone that it is written to, both with the closing dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub name: String,
    pub zone: String,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.name, self.zone)
    }
}

/// The places that the annotation tells of, in the order in which they were used.
pub fn noted(annotation: Option<&str>) -> Vec<Place> {
    annotation.unwrap_or_default().split(',').filter_map(place).take(MOST_PLACES).collect()
}

/// What the annotation has to say before `place` is written to; none if it need not change. `own` is the name at which the
/// record stands if nothing is noted.
pub fn to_note(noted: &[Place], own: &str, place: &Place) -> Option<String> {
    if noted.contains(place) || (noted.is_empty() && place.name == own) {
        return None;
    }
    let first = (noted.len() + 1).saturating_sub(MOST_PLACES);
    let places = noted[first.min(noted.len())..].iter().chain([place]);
    Some(places.map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

/// What anybody may have written there is taken only if it can be a place.
fn place(text: &str) -> Option<Place> {
    let mut words = text.split_whitespace();
    let (name, zone) = (words.next()?, words.next()?);
    let is_absolute = |word: &str| word.ends_with('.') && word.len() <= 255;
    let is_place = words.next().is_none() && is_absolute(name) && is_absolute(zone) && lies_in(name, zone);
    is_place.then(|| Place { name: name.to_owned(), zone: zone.to_owned() })
}

fn lies_in(name: &str, zone: &str) -> bool {
    name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "_acme-challenge.www.example.com.";

    fn at(name: &str, zone: &str) -> Place {
        Place { name: name.to_owned(), zone: zone.to_owned() }
    }

    #[test]
    fn the_own_name_need_not_be_noted() {
        assert_eq!(to_note(&[], OWN, &at(OWN, "example.com.")), None);
        assert_eq!(noted(None), []);
    }

    #[test]
    fn another_name_is_noted_once_and_read_again() {
        let (first, own) = (at("a.example.net.", "example.net."), at(OWN, "example.com."));
        let text = to_note(&[], OWN, &first);
        assert_eq!(text.as_deref(), Some("a.example.net. example.net."));
        let known = noted(text.as_deref());
        assert_eq!(known, std::slice::from_ref(&first));
        assert_eq!(to_note(&known, OWN, &first), None);
        // Once something is noted it tells of all places.
        let text = to_note(&known, OWN, &own);
        assert_eq!(noted(text.as_deref()), [first, own]);
    }

    #[test]
    fn the_oldest_place_makes_room() {
        let places: Vec<_> = (0..4).map(|number| at(&format!("{number}.example.net."), "example.net.")).collect();
        let last = at("last.example.net.", "example.net.");
        let known = noted(to_note(&places, OWN, &last).as_deref());
        assert_eq!(known, [&places[1..], &[last]].concat());
    }

    #[test]
    fn what_is_no_place_is_passed_over() {
        let long = format!("{}. example.net.", "a".repeat(300));
        for text in
            ["", "a.example.net.", "a b", "a.example.org. example.net.", "aexample.net. example.net.", "a. . c.", &long]
        {
            assert_eq!(noted(Some(text)), [], "{text}");
        }
        assert_eq!(noted(Some(" , a.example.net.  example.net. ,x")), [at("a.example.net.", "example.net.")]);
    }
}
