//! A string that must not reach logs or messages.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Text that travels through the API in the clear but must never be printed: passwords, challenge keys.
///
/// On the wire it is a plain string; `Debug` hides the content. There is no `Display`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Sensitive(String);

impl Sensitive {
    /// The content, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Sensitive {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_what_the_wire_shows() {
        let secret = Sensitive::from("hunter2");
        assert_eq!(format!("{secret:?}"), "\"<hidden>\"");
        assert_eq!(serde_json::json!(secret), serde_json::json!("hunter2"));
        assert_eq!(secret.expose(), "hunter2");
    }
}
