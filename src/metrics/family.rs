//! Families of series as text (Prometheus text format 0.0.4).

use std::{fmt::Write, sync::Arc};

use jiff::Timestamp;

/// So many objects go into one piece of the page.
const AT_ONCE: usize = 256;

/// A family whose series are told by objects of one kind.
pub(super) struct Family<K: ?Sized + 'static> {
    pub(super) name: &'static str,
    /// `gauge` or `counter`.
    pub(super) type_: &'static str,
    pub(super) help: &'static str,
    pub(super) write: fn(&mut Samples<'_>, &K),
}

/// Takes the samples of one family.
pub(super) struct Samples<'a> {
    name: &'static str,
    text: &'a mut String,
}

impl Samples<'_> {
    pub(super) fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(self.name);
        for (index, (name, value)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(self.text, value);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, " {value}");
    }
}

impl<K: ?Sized> Family<K> {
    pub(super) const fn gauge(name: &'static str, help: &'static str, write: fn(&mut Samples<'_>, &K)) -> Self {
        Self { name, type_: "gauge", help, write }
    }

    pub(super) const fn counter(name: &'static str, help: &'static str, write: fn(&mut Samples<'_>, &K)) -> Self {
        Self { name, type_: "counter", help, write }
    }

    fn head(&self) -> String {
        format!("# HELP {} {}\n# TYPE {} {}\n", self.name, self.help, self.name, self.type_)
    }

    fn samples_of<'a>(&self, objects: impl IntoIterator<Item = &'a K>) -> String {
        let mut text = String::new();
        let mut samples = Samples { name: self.name, text: &mut text };
        for object in objects {
            (self.write)(&mut samples, object);
        }
        text
    }
}

/// The families of the objects of one kind, piece by piece.
pub(super) fn of_objects<K: Send + Sync>(
    families: &'static [Family<K>],
    objects: Vec<Arc<K>>,
) -> impl Iterator<Item = String> + Send {
    let objects: Arc<[Arc<K>]> = objects.into();
    families.iter().flat_map(move |family| {
        let objects = objects.clone();
        let pieces = (0..objects.len()).step_by(AT_ONCE).map(move |start| {
            let end = objects.len().min(start + AT_ONCE);
            family.samples_of(objects[start..end].iter().map(|object| &**object))
        });
        std::iter::once(family.head()).chain(pieces)
    })
}

/// The families of one thing.
pub(super) fn of_one<K: ?Sized>(families: &'static [Family<K>], thing: &K) -> String {
    families.iter().map(|family| family.head() + &family.samples_of([thing])).collect()
}

fn escape(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

/// A condition as series: one for each value that it can have.
pub(super) const CONDITION_VALUES: [&str; 3] = ["True", "False", "Unknown"];

/// Since the epoch.
pub(super) fn seconds(at: Timestamp) -> f64 {
    // Exact until long after the last time that there is.
    #[allow(clippy::cast_precision_loss)]
    let seconds = at.as_second() as f64;
    seconds
}

/// A number of things, far below what a double holds exactly.
pub(super) fn number(of: usize) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let number = of as f64;
    number
}

/// 1 or 0.
pub(super) fn truth(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILIES: [Family<str>; 1] = [Family::gauge("a_seconds", "Help.", |samples, text| {
        samples.add(&[("name", text), ("empty", "")], 1.5);
        samples.add(&[], 1_800_000_000.0);
    })];

    #[test]
    fn labels_are_escaped_and_numbers_whole() {
        let text = of_one(&FAMILIES, "a\\n\"b\nc é");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "# HELP a_seconds Help.",
                "# TYPE a_seconds gauge",
                r#"a_seconds{name="a\\n\"b\nc é",empty=""} 1.5"#,
                "a_seconds 1800000000",
            ]
        );
    }

    #[test]
    fn many_objects_come_in_pieces_and_none_is_left_out() {
        const NUMBERS: [Family<u32>; 2] = [
            Family::gauge("a", "A.", |samples, number| samples.add(&[("number", &number.to_string())], 0.0)),
            Family::counter("b", "B.", |samples, number| samples.add(&[], f64::from(*number))),
        ];
        let objects: Vec<Arc<u32>> = (0..1000).map(Arc::new).collect();
        let pieces: Vec<String> = of_objects(&NUMBERS, objects).collect();
        assert_eq!(pieces.len(), 2 * (1 + 4));
        assert_eq!(pieces.concat().lines().count(), 2 * (2 + 1000));
        assert_eq!(pieces[5], "# HELP b B.\n# TYPE b counter\n");
    }
}
