//! Who may approve or deny a CertificateRequest: those with the verb `approve` on the signer of its issuer.

use super::{Problem, User};
use crate::api::{CertificateRequest, names::GROUP};

/// The issuer that somebody approves or denies a request to, defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalAsked {
    pub namespace: String,
    pub name: String,
    pub kind: String,
    pub group: String,
}

impl ApprovalAsked {
    pub(super) fn of(request: &CertificateRequest) -> Self {
        let reference = &request.spec.issuer_ref;
        Self {
            namespace: request.metadata.namespace.clone().unwrap_or_default(),
            name: reference.name.clone(),
            kind: reference.kind_or_default().to_owned(),
            group: reference.group_or_default().to_owned(),
        }
    }

    /// How the kind is called in plural and whether it is namespaced, if it is one of our own.
    pub fn known(&self) -> Option<(&'static str, bool)> {
        match (self.group.as_str(), self.kind.as_str()) {
            (GROUP, "Issuer") => Some(("issuers", true)),
            (GROUP, "ClusterIssuer") => Some(("clusterissuers", false)),
            _ => None,
        }
    }
}

/// The names of signers of which one has to be allowed, in the order in which they are asked for.
pub fn signer_names(asked: &ApprovalAsked, plural: &str, is_namespaced: bool) -> [String; 2] {
    let resource = format!("{plural}.{}", asked.group);
    let own = if is_namespaced { format!("{}.{}", asked.namespace, asked.name) } else { asked.name.clone() };
    [format!("{resource}/*"), format!("{resource}/{own}")]
}

/// None of them is allowed.
pub fn forbidden_approval(asked: &ApprovalAsked, user: &User) -> Problem {
    let issuer = format!("{{{} {} {}}}", asked.name, asked.kind, asked.group);
    let detail = format!(
        "user {:?} does not have permissions to set approved/denied conditions for issuer {issuer}",
        user.username
    );
    Problem::forbidden("status.conditions", &detail)
}

/// The API server does not know the kind.
pub fn unknown_signer(asked: &ApprovalAsked) -> Problem {
    let detail = format!("referenced signer resource does not exist: {} in {}", asked.kind, asked.group);
    Problem::forbidden("spec.issuerRef", &detail)
}
