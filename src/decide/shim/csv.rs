//! Lists in annotations: one line of comma-separated values (RFC 4180), where a value with a comma is in quotes.

/// The values of the line. As in Go's reader, a quote may stand only around a whole value, or doubled within one.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn values(line: &str) -> Result<Vec<String>, String> {
    let mut rest = line.trim_end_matches(['\r', '\n']);
    let mut values = Vec::new();
    if rest.is_empty() {
        return Ok(values);
    }
    loop {
        let (value, after) = match rest.strip_prefix('"') {
            Some(quoted) => in_quotes(quoted)?,
            None => plain(rest)?,
        };
        values.push(value);
        if after.is_empty() {
            return Ok(values);
        }
        rest = after.strip_prefix(',').ok_or("there is something between a quote and the next comma")?;
    }
}

fn plain(text: &str) -> Result<(String, &str), String> {
    let (value, after) = text.split_at(text.find(',').unwrap_or(text.len()));
    if value.contains('"') {
        return Err("there is a quote within a value that is not in quotes".to_owned());
    }
    if value.contains('\n') {
        return Err("there is more than one line".to_owned());
    }
    Ok((value.to_owned(), after))
}

/// What follows the first quote; a doubled one stands for itself.
fn in_quotes(text: &str) -> Result<(String, &str), String> {
    let (mut value, mut rest) = (String::new(), text);
    loop {
        let Some((before, after)) = rest.split_once('"') else { return Err("a quote is not closed".to_owned()) };
        value.push_str(before);
        match after.strip_prefix('"') {
            Some(after) => {
                value.push('"');
                rest = after;
            }
            None => return Ok((value, after)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::values;
    use crate::decide::secret::comma_separated;

    #[test]
    fn a_line_is_read_as_go_reads_it() {
        for (line, expected) in [
            ("", &[][..]),
            ("a", &["a"]),
            ("a,b", &["a", "b"]),
            ("a, b", &["a", " b"]),
            ("\"Example, Inc.\",b", &["Example, Inc.", "b"]),
            ("\"say \"\"hi\"\"\"", &["say \"hi\""]),
            ("a,", &["a", ""]),
            ("\"\",b\n", &["", "b"]),
        ] {
            assert_eq!(values(line).unwrap(), expected, "{line}");
        }
        for line in ["a\"b", "\"a", "\"a\"b", "a\nb"] {
            assert!(values(line).is_err(), "{line}");
        }
    }

    proptest! {
        /// Secrets carry their lists in the same form.
        #[test]
        fn what_was_written_is_read_back(list in proptest::collection::vec("[ -~\n]{1,12}", 0..5)) {
            prop_assert_eq!(values(&comma_separated(&list)).unwrap(), list);
        }
    }
}
