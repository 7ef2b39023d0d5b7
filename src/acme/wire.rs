//! Small helpers for what comes over the wire.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

/// Takes the default for a value of the wrong shape, so that one odd field does not spoil a whole document.
pub(super) fn lenient<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + DeserializeOwned,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// `text` with control characters replaced by spaces, cut after `limit` characters.
pub(super) fn one_line(text: &str, limit: usize) -> String {
    let mut characters = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut line: String = characters.by_ref().take(limit).collect();
    if characters.next().is_some() {
        line.push('…');
    }
    line
}
