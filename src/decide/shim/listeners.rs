//! Which certificates a Gateway or a ListenerSet wants: one for each Secret that its listeners refer to, for all their hostnames.

use kube::ResourceExt;

use super::{
    blocks::{Block, Blocks, called},
    push_new,
};
use crate::api::{
    Source, SourceKind,
    names::annotation,
    source::{CertificateRef, Listener},
};

const PROTOCOLS: [&str; 2] = ["HTTPS", "TLS"];
const TERMINATE: &str = "Terminate";
const PASSTHROUGH: &str = "Passthrough";

/// A listener that cannot be is left out, and the others go on.
pub(super) fn of(source: &Source, extra_protocols: &[String]) -> Blocks {
    let mut found = Blocks::default();
    let ignored = source.annotations().get(annotation::IGNORE_TLS_LISTENERS).map_or("", String::as_str);
    let is_ignored = |listener: &Listener| ignored.split(',').any(|name| name.trim() == listener.name);
    for (index, listener) in source.spec.listeners.iter().enumerate() {
        if !has_certificate(listener, extra_protocols) || is_ignored(listener) {
            continue;
        }
        let path = format!("spec.listeners[{index}]");
        match secrets(listener, source.metadata.namespace.as_deref().unwrap_or_default()) {
            Ok(secrets) => secrets.iter().for_each(|secret| found.add(&path, secret, &listener.hostname)),
            Err(problem) => {
                let called = called(SourceKind::Gateway);
                found.complaints.push(format!("Skipped a {called}: {path}.{problem}"));
            }
        }
    }
    found
}

/// Whether the listener brings TLS to an end, as far as its protocol and mode say.
fn has_certificate(listener: &Listener, extra_protocols: &[String]) -> bool {
    let is_known = PROTOCOLS.contains(&&*listener.protocol) || extra_protocols.contains(&listener.protocol);
    let mode = listener.tls.as_ref().and_then(|tls| tls.mode.as_deref());
    is_known && mode != Some(PASSTHROUGH)
}

/// The Secrets of a listener, or what is wrong with it and where.
fn secrets<'a>(listener: &'a Listener, namespace: &str) -> Result<Vec<&'a str>, String> {
    if listener.hostname.is_empty() {
        return Err("hostname: Required value: the hostname cannot be empty".to_owned());
    }
    let Some(tls) = &listener.tls else {
        return Err("tls: Required value: the TLS block cannot be empty".to_owned());
    };
    match tls.mode.as_deref() {
        None => return Err("tls.mode: Required value: the mode field is required".to_owned()),
        Some(TERMINATE) => {}
        Some(mode) => return Err(format!("tls.mode: Unsupported value: {mode:?}: supported values: {TERMINATE:?}")),
    }
    if tls.certificate_refs.is_empty() {
        return Err("tls.certificateRefs: Required value: listener has no certificateRefs".to_owned());
    }
    for (index, reference) in tls.certificate_refs.iter().enumerate() {
        check(reference, namespace).map_err(|problem| format!("tls.certificateRefs[{index}].{problem}"))?;
    }
    Ok(tls.certificate_refs.iter().map(|reference| &*reference.name).collect())
}

fn check(reference: &CertificateRef, namespace: &str) -> Result<(), String> {
    match (reference.group.as_deref().unwrap_or_default(), reference.kind.as_deref().unwrap_or("Secret")) {
        ("" | "core", "Secret") => {}
        ("" | "core", kind) => {
            return Err(format!("kind: Unsupported value: {kind:?}: supported values: \"Secret\", \"\""));
        }
        (group, _) => return Err(format!("group: Unsupported value: {group:?}: supported values: \"core\", \"\"")),
    }
    match reference.namespace.as_deref() {
        Some(other) if other != namespace => Err(format!(
            "namespace: Invalid value: {other:?}: cross-namespace secret references are not allowed in listeners"
        )),
        _ => Ok(()),
    }
}

impl Blocks {
    fn add(&mut self, path: &str, secret: &str, host: &str) {
        match self.blocks.iter_mut().find(|block| block.secret == secret) {
            Some(block) => push_new(&mut block.hosts, host),
            None => self.blocks.push(Block {
                path: path.to_owned(),
                secret: secret.to_owned(),
                hosts: vec![host.to_owned()],
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::decide::testing::object;

    fn found(listeners: &Value) -> Blocks {
        let gateway = object(json!({
            "metadata": { "namespace": "shop", "annotations": { annotation::IGNORE_TLS_LISTENERS: "off, away" } },
            "spec": { "listeners": listeners },
        }));
        of(&gateway, &["example.com/QUIC".to_owned()])
    }

    fn listener(name: &str, host: &str, protocol: &str, tls: &Value) -> Value {
        json!({ "name": name, "hostname": host, "protocol": protocol, "tls": tls })
    }

    #[test]
    fn listeners_with_the_same_secret_share_a_certificate() {
        let tls = |names: &[&str]| {
            let refs: Vec<_> = names.iter().map(|name| json!({ "name": name, "namespace": "shop" })).collect();
            json!({ "mode": "Terminate", "certificateRefs": refs })
        };
        let found = found(&json!([
            listener("a", "a.example.com", "HTTPS", &tls(&["one"])),
            listener("b", "b.example.com", "TLS", &tls(&["one", "two"])),
            listener("c", "a.example.com", "example.com/QUIC", &tls(&["one"])),
            listener("d", "d.example.com", "HTTP", &tls(&["three"])),
            listener("off", "e.example.com", "HTTPS", &tls(&["three"])),
            listener("away", "e.example.com", "HTTPS", &tls(&["three"])),
            listener("f", "f.example.com", "TLS", &json!({ "mode": "Passthrough" })),
        ]));
        let wanted: Vec<_> = found.blocks.iter().map(|block| (&*block.secret, block.hosts.join(" "))).collect();
        assert_eq!(wanted, [("one", "a.example.com b.example.com".to_owned()), ("two", "b.example.com".to_owned())]);
        assert_eq!(found.complaints, Vec::<String>::new());
    }

    #[test]
    fn a_listener_that_cannot_be_is_told_of() {
        let one = json!([{ "name": "a" }]);
        for (host, tls, text) in [
            ("", json!({}), "hostname: Required value"),
            ("a", Value::Null, "tls: Required value"),
            ("a", json!({ "certificateRefs": one }), "tls.mode: Required value"),
            ("a", json!({ "mode": "Other", "certificateRefs": one }), "tls.mode: Unsupported value: \"Other\""),
            ("a", json!({ "mode": "Terminate" }), "tls.certificateRefs: Required value"),
            (
                "a",
                json!({ "mode": "Terminate", "certificateRefs": [{ "name": "a" }, { "name": "b", "namespace": "other" }] }),
                "tls.certificateRefs[1].namespace: Invalid value: \"other\"",
            ),
            (
                "a",
                json!({ "mode": "Terminate", "certificateRefs": [{ "name": "a", "kind": "ConfigMap" }] }),
                "tls.certificateRefs[0].kind: Unsupported value: \"ConfigMap\"",
            ),
            (
                "a",
                json!({ "mode": "Terminate", "certificateRefs": [{ "name": "a", "group": "example.com", "kind": "X" }] }),
                "tls.certificateRefs[0].group: Unsupported value: \"example.com\"",
            ),
        ] {
            let found = found(&json!([listener("x", host, "HTTPS", &tls)]));
            let text = format!("Skipped a listener block: spec.listeners[0].{text}");
            assert!(found.complaints.len() == 1 && found.complaints[0].starts_with(&text), "{:?}", found.complaints);
            assert_eq!(found.blocks, []);
        }
    }
}
