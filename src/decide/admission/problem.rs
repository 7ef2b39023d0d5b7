//! What is wrong with a field, in the form in which the API server says it of its own kinds.

use std::fmt::{self, Display};

use serde::Serialize;

/// A longer value is cut off in messages, in characters.
const LONGEST_VALUE: usize = 100;

/// One problem: `FIELD: TYPE: VALUE: DETAIL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem(String);

impl Problem {
    /// Something has to be there.
    pub fn required(path: impl Display, detail: &str) -> Self {
        Self(format!("{path}: Required value: {detail}"))
    }

    /// The value makes no sense. It is shown, so it must be no secret.
    pub fn invalid(path: impl Display, value: impl Serialize, detail: &str) -> Self {
        Self(format!("{path}: Invalid value: {}: {detail}", shown(value)))
    }

    /// The value is none of the known words.
    pub fn unsupported(path: impl Display, value: &str, known: &[&str]) -> Self {
        let known: Vec<String> = known.iter().map(|word| format!("{word:?}")).collect();
        Self(format!("{path}: Unsupported value: {}: supported values: {}", shown(value), known.join(", ")))
    }

    /// It may not be set, or not be changed.
    pub fn forbidden(path: impl Display, detail: &str) -> Self {
        Self(format!("{path}: Forbidden: {detail}"))
    }

    /// It is there more than once.
    pub fn duplicate(path: impl Display, value: &str) -> Self {
        Self(format!("{path}: Duplicate value: {}", shown(value)))
    }

    /// It is longer than so many bytes.
    pub fn too_long(path: impl Display, most: usize) -> Self {
        Self(format!("{path}: Too long: may not be more than {most} bytes"))
    }

    pub fn unreadable(error: &serde_json::Error) -> Self {
        Self(format!("the object cannot be read: {error}"))
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All problems in one message, each once.
pub fn sentence(problems: &[Problem]) -> String {
    let mut texts: Vec<&str> = Vec::new();
    for Problem(text) in problems {
        if !texts.contains(&text.as_str()) {
            texts.push(text);
        }
    }
    match &texts[..] {
        [only] => (*only).to_owned(),
        several => format!("[{}]", several.join(", ")),
    }
}

fn shown(value: impl Serialize) -> String {
    let text = serde_json::to_string(&value).unwrap_or_default();
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
