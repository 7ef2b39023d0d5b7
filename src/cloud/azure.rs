//! Microsoft Azure: its clouds, who one is, and the requests for access tokens that follow from it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use reqwest::Url;

use super::token::{Body, CredentialError, TokenRequest, TokenSource};

/// The metadata service of virtual machines.
const USUAL_HOST: &str = "http://169.254.169.254";

/// Where one of Azure's clouds is. Addresses have no closing slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// Gives out tokens.
    pub login: &'static str,
    /// Takes requests; also the audience of tokens for it.
    pub resource_manager: &'static str,
}

impl Cloud {
    /// By the name that an issuer gives it, or the shorter one of Azure's command line; the public one without a name.
    pub fn named(name: &str) -> Option<Self> {
        let cloud = |login, resource_manager| Some(Self { login, resource_manager });
        match name.to_ascii_uppercase().as_str() {
            "" | "AZURECLOUD" | "AZUREPUBLICCLOUD" => {
                cloud("https://login.microsoftonline.com", "https://management.azure.com")
            }
            "AZURECHINACLOUD" => cloud("https://login.chinacloudapi.cn", "https://management.chinacloudapi.cn"),
            "AZUREUSGOVERNMENT" | "AZUREUSGOVERNMENTCLOUD" => {
                cloud("https://login.microsoftonline.us", "https://management.usgovcloudapi.net")
            }
            // Closed in 2021; what still names it gets an answer from the network.
            "AZUREGERMANCLOUD" => cloud("https://login.microsoftonline.de", "https://management.microsoftazure.de"),
            _ => None,
        }
    }
}

/// An application that signs in to Microsoft Entra ID.
pub struct Application {
    /// Where it signs in, without a closing slash.
    pub login: String,
    pub tenant: String,
    pub client: String,
    /// The address of the service that tokens are for.
    pub audience: String,
    pub proof: Proof,
}

/// By what an application proves that it is one.
pub enum Proof {
    /// A client secret.
    Secret(String),
    /// A file with a token of an identity provider that the application trusts, such as a cluster's (workload identity).
    File(PathBuf),
}

/// An identity that Azure gives to the machine.
#[derive(Clone, Debug)]
pub struct ManagedIdentity {
    host: String,
    audience: String,
    which: Which,
}

/// Which of the machine's identities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The only one.
    Only,
    /// By its client id.
    Client(String),
    /// By its resource id.
    Resource(String),
}

impl TokenSource for Application {
    fn service(&self) -> &'static str {
        "Microsoft Entra ID"
    }

    fn file(&self) -> Option<&Path> {
        match &self.proof {
            Proof::File(file) => Some(file),
            Proof::Secret(_) => None,
        }
    }

    fn request(&self, _: Timestamp, content: &str) -> Result<TokenRequest, CredentialError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        if self.tenant.is_empty() || !self.tenant.chars().all(is_plain) {
            return Err(CredentialError::Tenant(self.tenant.clone()));
        }
        let mut form = vec![
            ("grant_type", "client_credentials".to_owned()),
            ("client_id", self.client.clone()),
            ("scope", format!("{}/.default", self.audience)),
        ];
        match &self.proof {
            Proof::Secret(secret) => form.push(("client_secret", secret.clone())),
            Proof::File(_) => form.extend([
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned()),
                ("client_assertion", content.trim().to_owned()),
            ]),
        }
        let url = format!("{}/{}/oauth2/v2.0/token", self.login, self.tenant);
        Ok(TokenRequest { url, headers: Vec::new(), body: Body::Form(form) })
    }
}

impl ManagedIdentity {
    /// `host` is what `AZURE_POD_IDENTITY_AUTHORITY_HOST` says, a URL, if there is an agent before the metadata service.
    pub fn new(host: Option<&str>, audience: &str, which: Which) -> Self {
        let host = host.map(|host| host.trim_end_matches('/')).filter(|host| !host.is_empty());
        Self { host: host.unwrap_or(USUAL_HOST).to_owned(), audience: audience.to_owned(), which }
    }
}

impl TokenSource for ManagedIdentity {
    fn service(&self) -> &'static str {
        "Azure's Instance Metadata Service"
    }

    fn is_local(&self) -> bool {
        true
    }

    fn request(&self, _: Timestamp, _: &str) -> Result<TokenRequest, CredentialError> {
        let resource = format!("{}/", self.audience);
        let mut query = vec![("api-version", "2018-02-01"), ("resource", &*resource)];
        match &self.which {
            Which::Only => {}
            Which::Client(id) => query.push(("client_id", id)),
            Which::Resource(id) => query.push(("msi_res_id", id)),
        }
        let url = Url::parse_with_params(&format!("{}/metadata/identity/oauth2/token", self.host), query);
        let url = url.map_err(|_| CredentialError::Missing("host"))?;
        Ok(TokenRequest { url: url.into(), headers: vec![("Metadata", "true".to_owned())], body: Body::None })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn application(tenant: &str, proof: Proof) -> Application {
        Application {
            login: "https://login.microsoftonline.com".to_owned(),
            tenant: tenant.to_owned(),
            client: "app".to_owned(),
            audience: "https://management.azure.com".to_owned(),
            proof,
        }
    }

    #[test]
    fn an_application_proves_itself() {
        let common = [
            ("grant_type", "client_credentials".to_owned()),
            ("client_id", "app".to_owned()),
            ("scope", "https://management.azure.com/.default".to_owned()),
        ];
        let with_secret = application("tenant", Proof::Secret("s".to_owned()));
        let request = with_secret.request(Timestamp::UNIX_EPOCH, "").unwrap();
        assert_eq!(request.url, "https://login.microsoftonline.com/tenant/oauth2/v2.0/token");
        let secret = [("client_secret", "s".to_owned())];
        assert!(request.body == Body::Form([&common[..], &secret].concat()));

        let with_file = application("tenant", Proof::File("/token".into()));
        assert_eq!(with_file.file(), Some(Path::new("/token")));
        let request = with_file.request(Timestamp::UNIX_EPOCH, "a.b.c\n").unwrap();
        let assertion = [
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned()),
            ("client_assertion", "a.b.c".to_owned()),
        ];
        assert!(request.body == Body::Form([&common[..], &assertion].concat()));
    }

    #[test]
    fn a_tenant_is_no_path() {
        for tenant in ["", "../other", "a/b", "a?b"] {
            assert!(application(tenant, Proof::Secret("s".to_owned())).request(Timestamp::UNIX_EPOCH, "").is_err());
        }
    }

    #[test]
    fn the_machine_is_asked_for_one_of_its_identities() {
        let url = |host: Option<&str>, which| {
            let identity = ManagedIdentity::new(host, "https://management.azure.com", which);
            let request = identity.request(Timestamp::UNIX_EPOCH, "").unwrap();
            assert_eq!(request.headers, [("Metadata", "true".to_owned())]);
            request.url
        };
        let usual = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fmanagement.azure.com%2F";
        assert_eq!(url(None, Which::Only), usual);
        assert_eq!(url(None, Which::Client("c".to_owned())), format!("{usual}&client_id=c"));
        assert_eq!(url(None, Which::Resource("/r/1".to_owned())), format!("{usual}&msi_res_id=%2Fr%2F1"));
        let agent = url(Some("http://127.0.0.1:2579/"), Which::Only);
        assert!(agent.starts_with("http://127.0.0.1:2579/metadata/identity/"), "{agent}");
    }

    #[test]
    fn all_of_cert_managers_clouds_are_known() {
        for name in ["", "AzurePublicCloud", "AzureChinaCloud", "AzureGermanCloud", "AzureUSGovernmentCloud"] {
            assert!(Cloud::named(name).is_some(), "{name}");
        }
        assert_eq!(Cloud::named("AzureMoonCloud"), None);
    }
}
