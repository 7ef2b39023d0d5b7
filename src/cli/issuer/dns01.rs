//! What is written into an issuer's solver for each DNS provider.

use clap::ValueEnum;

/// The names are those of the pages in `docs/providers/`; those of the API and of lego are understood too.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dns01 {
    /// acme-dns, a server for challenge records alone.
    #[value(name = "acme-dns", alias = "acmeDNS")]
    AcmeDns,
    /// Akamai Edge DNS.
    #[value(name = "akamai", alias = "edgedns")]
    Akamai,
    /// Azure DNS, as an application with a secret.
    #[value(name = "azure", aliases = ["azureDNS", "azuredns"])]
    Azure,
    /// Cloudflare, with an API token.
    #[value(name = "cloudflare")]
    Cloudflare,
    /// DigitalOcean.
    #[value(name = "digitalocean")]
    DigitalOcean,
    /// Google Cloud DNS, with the key of a service account.
    #[value(name = "google", aliases = ["cloudDNS", "gcloud"])]
    Google,
    /// HTTP requests to a service of your own.
    #[value(name = "httpreq")]
    HttpReq,
    /// The API of the PowerDNS Authoritative Server.
    #[value(name = "pdns")]
    PowerDns,
    /// Dynamic updates (RFC 2136), signed with TSIG.
    #[value(name = "rfc2136", alias = "dnsupdate")]
    Rfc2136,
    /// Amazon Route 53, with an access key.
    #[value(name = "route53")]
    Route53,
    /// A webhook made for cert-manager.
    #[value(name = "webhook")]
    Webhook,
}

impl Dns01 {
    /// The lines below `dns01:`, indented for their place in the manifest.
    pub(super) fn lines(self) -> impl Iterator<Item = String> {
        self.text().lines().map(|line| format!("          {line}"))
    }

    fn text(self) -> &'static str {
        match self {
            Self::AcmeDns => {
                "acmeDNS:
  host: FILL-IN  # such as https://auth.example.org
  # What /register answered, under the domain: see docs/providers/acme-dns.md
  accountSecretRef:
    name: acme-dns
    key: accounts.json"
            }
            Self::Akamai => {
                "akamai:
  serviceConsumerDomain: FILL-IN  # the host of the API client
  clientTokenSecretRef:
    name: akamai
    key: client-token
  clientSecretSecretRef:
    name: akamai
    key: client-secret
  accessTokenSecretRef:
    name: akamai
    key: access-token"
            }
            Self::Azure => {
                "azureDNS:
  subscriptionID: FILL-IN
  resourceGroupName: FILL-IN
  # Without these three, the identity of the controller's surroundings: see docs/providers/azure.md
  tenantID: FILL-IN
  clientID: FILL-IN
  clientSecretSecretRef:
    name: azure-dns
    key: client-secret"
            }
            Self::Cloudflare => {
                "cloudflare:
  # Permissions Zone / DNS / Edit and Zone / Zone / Read
  apiTokenSecretRef:
    name: cloudflare
    key: token"
            }
            Self::DigitalOcean => {
                "digitalocean:
  tokenSecretRef:
    name: digitalocean
    key: token"
            }
            Self::Google => {
                "cloudDNS:
  project: FILL-IN
  # Without it, the identity of the controller's surroundings: see docs/providers/google.md
  serviceAccountSecretRef:
    name: google-dns
    key: key.json"
            }
            Self::HttpReq => {
                "webhook:
  groupName: certwright.dev
  solverName: httpreq
  config:
    endpoint: FILL-IN  # to which /present and /cleanup are added
    username: FILL-IN
    passwordSecretRef:
      name: dns-hook
      key: password"
            }
            Self::PowerDns => {
                "webhook:
  groupName: certwright.dev
  solverName: pdns
  config:
    host: FILL-IN  # such as https://ns1.example.com:8081
    apiKeySecretRef:
      name: powerdns
      key: api-key"
            }
            Self::Rfc2136 => {
                "rfc2136:
  nameserver: FILL-IN  # address of the primary server, with :port if it is not 53
  # The TSIG key that may change the zone:
  tsigKeyName: FILL-IN
  tsigAlgorithm: HMACSHA256
  tsigSecretSecretRef:
    name: tsig
    key: secret"
            }
            Self::Route53 => {
                "route53:
  # Without the keys, the identity of the controller's surroundings: see docs/providers/route53.md
  accessKeyID: FILL-IN
  secretAccessKeySecretRef:
    name: aws
    key: secret-access-key"
            }
            Self::Webhook => {
                "webhook:
  groupName: FILL-IN  # as the webhook was installed
  solverName: FILL-IN  # as its manual says, and so is config
  config: {}"
            }
        }
    }
}
