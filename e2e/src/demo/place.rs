//! Where the demo happens.

use super::examples::Values;
use crate::kubectl::Kubectl;

/// The namespace of the demo's Certificates.
pub const NAMESPACE: &str = "certwright-demo";

/// A cluster that the demo may use.
pub struct Place {
    pub kubectl: Kubectl,
    /// What the examples leave to their reader.
    pub values: Values,
}

impl Place {
    /// Why an example cannot be tried here.
    pub fn why_not(&self, example: &str) -> &'static str {
        match (self.kubectl.is_local, example.contains("http01")) {
            (true, true) => "HTTP-01 needs a node for the solver pod and an ingress controller (cluster tier)",
            (true, false) => "there is no name server",
            (false, true) => "set DEMO_DOMAIN and DEMO_INGRESS_CLASS",
            (false, false) => "set DEMO_DOMAIN, DEMO_NAME_SERVER, DEMO_TSIG_NAME and DEMO_TSIG_SECRET",
        }
    }
}
