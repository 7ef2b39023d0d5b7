//! The flags that say which work is done, and how much of it at once.

use clap::Args;

use crate::cli::{
    feature_gates::{FeatureGate, FeatureGates},
    suggestion::suggestion,
};

/// Which work is done.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Work")]
pub(super) struct WorkArgs {
    /// Which of cert-manager's controllers work: "*" is all of them, a leading "-" leaves one out.
    /// certificaterequests-approver, which approves every CertificateRequest, ingress-shim, gateway-shim and
    /// listenerset can be left out here; other names of controllers are without effect.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "*",
        allow_hyphen_values = true,
        value_parser = controller
    )]
    pub(super) controllers: Vec<String>,
    /// How many objects are worked on at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 16)]
    pub(super) concurrent_workers: usize,
    /// Features by cert-manager's names, such as ACMEUseARI=false, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = FeatureGate::parse)]
    pub(super) feature_gates: Vec<FeatureGate>,
}

const APPROVER: &str = "certificaterequests-approver";

/// Those that make Certificates from Ingresses, Gateways and ListenerSets.
pub(super) const INGRESS_SHIM: &str = "ingress-shim";
pub(super) const GATEWAY_SHIM: &str = "gateway-shim";
pub(super) const LISTENER_SET_SHIM: &str = "listenerset";

/// Those that can be left out.
const OWN: [&str; 4] = [APPROVER, INGRESS_SHIM, GATEWAY_SHIM, LISTENER_SET_SHIM];

/// cert-manager's other controllers.
const OTHERS: [&str; 21] = [
    "issuers",
    "clusterissuers",
    "orders",
    "challenges",
    "certificates-trigger",
    "certificates-issuing",
    "certificates-key-manager",
    "certificates-request-manager",
    "certificates-readiness",
    "certificates-revision-manager",
    "certificates-metrics",
    "certificaterequests-issuer-acme",
    "certificaterequests-issuer-ca",
    "certificaterequests-issuer-selfsigned",
    "certificaterequests-issuer-vault",
    "certificaterequests-issuer-venafi",
    "certificatesigningrequests-issuer-acme",
    "certificatesigningrequests-issuer-ca",
    "certificatesigningrequests-issuer-selfsigned",
    "certificatesigningrequests-issuer-vault",
    "certificatesigningrequests-issuer-venafi",
];

impl WorkArgs {
    pub(super) fn features(&self) -> FeatureGates {
        FeatureGates::of(&self.feature_gates)
    }

    /// Whether the built-in approver works. What is without effect is told of.
    pub(super) fn approves(&self) -> bool {
        for name in self.controllers.iter().filter(|name| !name.is_empty() && *name != "*") {
            if !OWN.contains(&name.trim_start_matches('-')) {
                let own = OWN.join(", ");
                tracing::warn!(name, "this name in --controllers is without effect; only these can be left out: {own}");
            }
        }
        self.has(APPROVER)
    }

    /// Whether the list of `--controllers` has this one in it.
    pub(super) fn has(&self, controller: &str) -> bool {
        let named = |name: &str| self.controllers.iter().any(|entry| entry == name);
        !named(&format!("-{controller}")) && (named("*") || named(controller))
    }
}

/// One entry of `--controllers`.
fn controller(text: &str) -> Result<String, String> {
    let text = text.trim();
    let name = text.strip_prefix('-').unwrap_or(text);
    if text.is_empty() || text == "*" || OWN.contains(&name) || OTHERS.contains(&name) {
        return Ok(text.to_owned());
    }
    let known = OTHERS.into_iter().chain(OWN);
    Err(format!("there is no controller {name:?}{}", suggestion(name, known)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::read;

    #[test]
    fn the_approver_can_be_left_out() {
        let approves = |list: &str| read(&["--controllers", list]).unwrap().work.approves();
        assert!(read(&[]).unwrap().work.approves());
        assert!(approves("*"));
        assert!(approves("*, -ingress-shim"));
        assert!(approves("orders,certificaterequests-approver"));
        assert!(!approves("*,-certificaterequests-approver"));
        assert!(!approves("orders"));
    }

    #[test]
    fn a_misspelled_controller_is_refused() {
        let refusal = read(&["--controllers=*,-certificaterequest-approver"]).unwrap_err().to_string();
        assert!(refusal.contains("did you mean certificaterequests-approver?"), "{refusal}");
    }
}
