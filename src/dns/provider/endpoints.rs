//! Where the APIs of providers are: for private endpoints, gateways of one's own, and tests.

use std::collections::BTreeMap;
use std::str::FromStr;

use reqwest::Url;

use super::ProviderError;

/// The services whose address may be another than the vendor's.
pub const SERVICES: [&str; 9] = [
    "akamai",
    "azure-login",
    "azure-resource-manager",
    "cloudflare",
    "digitalocean",
    "google-dns",
    "google-token",
    "route53",
    "sts",
];

/// Addresses other than the vendors', by the names in [`SERVICES`]. Chosen by the operator alone: whoever names the address is
/// given the credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints(BTreeMap<String, Url>);

/// One address, written `SERVICE=URL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    service: String,
    url: Url,
}

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("{0:?} is not SERVICE=URL")]
    Form(String),
    #[error("{service:?} is not a service; use one of {}", SERVICES.join(", "))]
    Service { service: String },
    #[error("{0:?} is not a URL that begins with https:// or http://")]
    Url(String),
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let (service, url) = text.split_once('=').ok_or_else(|| EndpointError::Form(text.to_owned()))?;
        if !SERVICES.contains(&service) {
            return Err(EndpointError::Service { service: service.to_owned() });
        }
        let parsed = url.parse().ok().filter(|url: &Url| matches!(url.scheme(), "https" | "http") && url.has_host());
        Ok(Self { service: service.to_owned(), url: parsed.ok_or_else(|| EndpointError::Url(url.to_owned()))? })
    }
}

impl FromIterator<Endpoint> for Endpoints {
    fn from_iter<I: IntoIterator<Item = Endpoint>>(endpoints: I) -> Self {
        Self(endpoints.into_iter().map(|endpoint| (endpoint.service, endpoint.url)).collect())
    }
}

impl Endpoints {
    /// The address of a service without a closing slash: the operator's, else the vendor's.
    pub fn of(&self, service: &str, vendors: &str) -> String {
        let url = self.0.get(service).map_or(vendors, Url::as_str);
        url.trim_end_matches('/').to_owned()
    }

    /// The same as a URL to build on.
    ///
    /// # Errors
    ///
    /// `vendors` is no URL, which only happens if it comes from a setting.
    pub fn url(&self, service: &str, vendors: &str) -> Result<Url, ProviderError> {
        let address = self.of(service, vendors);
        let url = address.parse().ok().filter(|url: &Url| matches!(url.scheme(), "https" | "http") && url.has_host());
        let message = || format!("{address:?} is not a URL that begins with https:// or http://");
        url.ok_or_else(|| ProviderError::Refused { message: message(), source: None })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_operator_goes_before_the_vendors() {
        let endpoints: Endpoints =
            ["route53=http://127.0.0.1:5000/"].iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(endpoints.of("route53", "https://route53.amazonaws.com"), "http://127.0.0.1:5000");
        assert_eq!(endpoints.of("sts", "https://sts.amazonaws.com/"), "https://sts.amazonaws.com");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("route53", "is not SERVICE=URL"),
            ("route35=https://a.test", "use one of akamai, azure-login, "),
            ("route53=ftp://a.test", "begins with https://"),
            ("route53=a.test", "begins with https://"),
        ] {
            let message = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
