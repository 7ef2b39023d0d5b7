//! TXT values as character strings in quotes (RFC 1035 section 5.1), which some APIs want and others only show.

/// A value in quotes.
pub fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The value of what an API shows: character strings in quotes, one after the other, or the bare value.
pub fn unquoted(shown: &str) -> String {
    let shown = shown.trim();
    if !shown.starts_with('"') {
        return shown.to_owned();
    }
    let (mut value, mut is_inside, mut letters) = (String::new(), false, shown.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '"' => is_inside = !is_inside,
            '\\' => value.extend(letters.next()),
            other if is_inside => value.push(other),
            _ => {}
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        for (shown, value) in [
            ("LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0", "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"),
            ("\"LoqXcYV8q5\"", "LoqXcYV8q5"),
            ("\"one \" \"two\"", "one two"),
            ("\"a \\\"b\\\" \\\\c\"", "a \"b\" \\c"),
            ("\"\"", ""),
            ("v=spf1 -all", "v=spf1 -all"),
        ] {
            assert_eq!(unquoted(shown), value, "{shown}");
        }
        assert_eq!(unquoted(&quoted("a \"b\" \\c")), "a \"b\" \\c");
    }
}
