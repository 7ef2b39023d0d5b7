//! Which certificates an Ingress wants: one for each entry of `spec.tls`.

use std::collections::BTreeMap;

use crate::api::{Source, SourceKind};

/// One certificate that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Where it stands, for messages.
    pub(super) path: String,
    pub(super) secret: String,
    pub(super) hosts: Vec<String>,
}

/// What is wanted, and what cannot be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Blocks {
    pub(super) blocks: Vec<Block>,
    pub(super) complaints: Vec<String>,
}

/// What an entry is called in messages.
pub(super) fn called(kind: SourceKind) -> &'static str {
    if kind == SourceKind::Ingress { "TLS block" } else { "listener block" }
}

/// An entry that cannot be is left out, and the others go on. Which of two entries with the same Secret is meant, nobody can say.
pub(super) fn of(ingress: &Source) -> Blocks {
    let mut found = Blocks::default();
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, block) in ingress.spec.tls.iter().enumerate() {
        places.entry(&block.secret_name).or_default().push(index);
    }
    for (index, block) in ingress.spec.tls.iter().enumerate() {
        let path = format!("spec.tls[{index}]");
        let others: Vec<_> = places[&*block.secret_name].iter().filter(|other| **other != index).collect();
        match missing(block.hosts.is_empty(), block.secret_name.is_empty()) {
            Some(field) => found.skip(&format!("{path}.{field}: Required value")),
            None if others.is_empty() => {
                let (secret, hosts) = (block.secret_name.clone(), block.hosts.clone());
                found.blocks.push(Block { path, secret, hosts });
            }
            // The first of them speaks for all.
            None if others.iter().all(|other| **other > index) => {
                let others: Vec<_> = others.iter().map(|other| format!("spec.tls[{other}].secretName")).collect();
                found.skip(&format!(
                    "{path}.secretName: Invalid value: {:?}: this secret name must only appear in a single TLS entry but is \
                     also used in {}",
                    block.secret_name,
                    others.join(", ")
                ));
            }
            None => {}
        }
    }
    found
}

fn missing(hosts: bool, secret: bool) -> Option<&'static str> {
    if hosts {
        Some("hosts")
    } else if secret {
        Some("secretName")
    } else {
        None
    }
}

impl Blocks {
    fn skip(&mut self, problem: &str) {
        self.complaints.push(format!("Skipped a {}: {problem}", called(SourceKind::Ingress)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decide::testing::object;

    #[test]
    fn what_cannot_be_is_told_and_the_others_go_on() {
        let found = of(&object(json!({ "spec": { "tls": [
            { "hosts": ["a.example.com", "192.0.2.1"], "secretName": "a" },
            { "secretName": "b" },
            { "hosts": ["c.example.com"] },
            { "hosts": ["d.example.com"], "secretName": "d" },
            { "hosts": ["e.example.com"], "secretName": "d" },
            { "hosts": ["f.example.com"] },
        ] } })));
        let secrets: Vec<_> = found.blocks.iter().map(|block| (&*block.path, &*block.secret)).collect();
        assert_eq!(secrets, [("spec.tls[0]", "a")]);
        assert_eq!(
            found.complaints,
            [
                "Skipped a TLS block: spec.tls[1].hosts: Required value",
                "Skipped a TLS block: spec.tls[2].secretName: Required value",
                "Skipped a TLS block: spec.tls[3].secretName: Invalid value: \"d\": this secret name must only appear in a \
                 single TLS entry but is also used in spec.tls[4].secretName",
                "Skipped a TLS block: spec.tls[5].secretName: Required value",
            ]
        );
    }
}
