//! A string that must not reach logs or messages.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that travels through the API in the clear but must never be printed: passwords, challenge keys, settings
/// that may hold credentials.
///
/// On the wire it is what it wraps; `Debug` hides the content. There is no `Display`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Sensitive<T = String>(T);

impl<T> Sensitive<T> {
    /// The content, for the one place that needs it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl Sensitive<String> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> fmt::Debug for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"<hidden>\"")
    }
}

impl From<String> for Sensitive {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Sensitive {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<serde_json::Value> for Sensitive<serde_json::Value> {
    fn from(value: serde_json::Value) -> Self {
        Self(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_what_the_wire_shows() {
        let secret = Sensitive::<String>::from("hunter2");
        assert_eq!(format!("{secret:?}"), "\"<hidden>\"");
        assert_eq!(serde_json::json!(secret), serde_json::json!("hunter2"));
        assert_eq!(secret.expose(), "hunter2");
    }
}
