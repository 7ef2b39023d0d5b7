//! What CAs ask, and what leads their questions to whoever answers.

use std::net::IpAddr;

use super::objects::SolverOptions;
use super::path_type::PathType;
use crate::api::Challenge;

/// What the CA asks to prove one Challenge: a path of a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// DNS name or IP address.
    pub name: String,
    pub token: String,
}

impl Question {
    pub fn of(challenge: &Challenge) -> Self {
        Self { name: challenge.spec.dns_name.clone(), token: challenge.spec.token.clone() }
    }

    /// A host must be a name; without one a rule is for all hosts, and the server looks at the address itself.
    pub fn host(&self) -> Option<&str> {
        self.name.parse::<IpAddr>().is_err().then_some(&self.name)
    }

    pub fn path(&self) -> String {
        super::path(&self.token)
    }
}

/// Questions of one Order that the same route leads to the Service of the same name.
#[derive(Clone, Debug)]
pub struct Lead<'a> {
    /// One of the Challenges, which says how; in that all are equal.
    pub challenge: &'a Challenge,
    /// Name of the Service, and of the Ingress or HTTPRoute.
    pub name: &'a str,
    /// Sorted, each once.
    pub questions: Vec<Question>,
    /// How an Ingress is to compare the paths.
    pub path_type: PathType,
}

impl<'a> Lead<'a> {
    /// For one Challenge that has a route of its own.
    pub fn alone(challenge: &'a Challenge, name: &'a str, options: &SolverOptions) -> Self {
        let questions = vec![Question::of(challenge)];
        Self { challenge, name, questions, path_type: PathType::wanted(challenge, options) }
    }
}
