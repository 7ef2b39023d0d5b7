//! Credentials in the headers of requests.

use reqwest::header::HeaderValue;

use super::ProviderError;

/// A header that is neither logged nor kept in the tables of HTTP/2. `what` says what it carries, such as `the API token`.
///
/// # Errors
///
/// Letters that a header cannot carry, such as line ends.
pub fn secret_header(what: &str, text: &str) -> Result<HeaderValue, ProviderError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| ProviderError::Refused {
        message: format!("{what} has letters that a request cannot carry; store it as the provider shows it"),
        source: None,
    })?;
    value.set_sensitive(true);
    Ok(value)
}
