//! What may not change once it is written: CertificateRequests, their approval, and the status of Orders.

use super::Rule;

/// The conditions that tell what an approver decided.
const APPROVAL: &str = "['Approved', 'Denied']";

/// The spec of a CertificateRequest. Fields are compared by what they mean: other writers leave out `false` and empty
/// values, and write `2160h` as `2160h0m0s`. The whole is compared first, so that writing the status of an object that
/// somehow lacks a field is no error.
pub fn frozen_request_spec() -> [Rule; 1] {
    let mut terms: Vec<String> = [
        "self.request == oldSelf.request",
        "self.issuerRef.name == oldSelf.issuerRef.name",
        "(has(self.isCA) && self.isCA) == (has(oldSelf.isCA) && oldSelf.isCA)",
        "has(self.duration) == has(oldSelf.duration)",
        "(!has(self.duration) || self.duration == oldSelf.duration || duration(self.duration) == duration(oldSelf.duration))",
    ]
    .map(str::to_owned)
    .into();
    terms.extend(["issuerRef.kind", "issuerRef.group", "usages", "username", "uid", "groups", "extra"].map(unchanged));
    let rule = format!("self == oldSelf || ({})", terms.join(" && "));
    [Rule::new(rule, "cannot be changed; create another CertificateRequest").forbidden()]
}

/// Of a text, list or map: empty before and after, or the same.
pub(super) fn unchanged(field: &str) -> String {
    let empty = |object: &str| format!("(!has({object}.{field}) || size({object}.{field}) == 0)");
    format!("({} ? {} : has(oldSelf.{field}) && self.{field} == oldSelf.{field})", empty("self"), empty("oldSelf"))
}

/// A text, or bytes, of a status that stays once it is written.
pub fn frozen_text() -> [Rule; 1] {
    [Rule::new("size(oldSelf) == 0 || self == oldSelf", "cannot be changed once it is set").forbidden()]
}

/// `status.conditions` of a CertificateRequest. That each type is there once is said by the list's type.
pub fn conditions_of_requests() -> [Rule; 1] {
    [Rule::new(
        "!(self.exists(c, c.type == 'Approved') && self.exists(c, c.type == 'Denied'))",
        "Approved and Denied are mutually exclusive",
    )
    .forbidden()]
}

/// `status.conditions[]` of a CertificateRequest.
pub fn final_approval() -> [Rule; 2] {
    [
        Rule::new(
            format!("!(self.type in {APPROVAL}) || self.status == 'True'"),
            "must be True for the conditions Approved and Denied",
        )
        .at(".status"),
        Rule::new(
            format!("!(self.type in {APPROVAL}) || self == oldSelf"),
            "the conditions Approved and Denied cannot be changed once they are set",
        )
        .forbidden(),
    ]
}

/// A CertificateRequest as a whole: where the list or the status is taken away, no rule of theirs is asked.
pub fn kept_approval() -> [Rule; 1] {
    let holds = |object: &str, type_: &str| {
        let conditions = format!("{object}.status.conditions");
        format!("(has({object}.status) && has({conditions}) && {conditions}.exists(c, c.type == '{type_}'))")
    };
    let kept =
        ["Approved", "Denied"].map(|type_| format!("(!{} || {})", holds("oldSelf", type_), holds("self", type_)));
    [Rule::new(kept.join(" && "), "the conditions Approved and Denied cannot be removed once they are set")
        .forbidden()
        .at(".status.conditions")]
}

/// `status.authorizations` of an Order. Until all have been read their entries may still be filled in.
pub fn frozen_authorizations() -> [Rule; 1] {
    [Rule::new(
        "size(oldSelf) == 0 || (oldSelf.all(a, has(a.identifier)) ? self == oldSelf : size(self) == size(oldSelf))",
        "cannot be changed once they have been read",
    )
    .forbidden()]
}

/// The status of an Order: what was written may not be taken away.
pub fn kept_order_status() -> [Rule; 1] {
    let kept = ["url", "finalizeURL", "certificate", "authorizations"]
        .map(|field| format!("(has(self.{field}) || !has(oldSelf.{field}) || size(oldSelf.{field}) == 0)"));
    [Rule::new(
        kept.join(" && "),
        "url, finalizeURL, certificate and authorizations cannot be removed once they are set",
    )
    .forbidden()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::frozen_request_spec;
    use crate::api::CertificateRequest;
    use kube::CustomResourceExt as _;

    /// Fields are compared one by one, so none may be forgotten.
    #[test]
    fn every_field_of_a_request_is_frozen() {
        let crd = serde_json::json!(CertificateRequest::crd());
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        let [rule] = frozen_request_spec();
        let fields = spec.as_object().unwrap();
        assert!(fields.len() >= 9);
        for (field, schema) in fields {
            let paths: Vec<String> = match schema["properties"].as_object() {
                Some(inner) => inner.keys().map(|name| format!("{field}.{name}")).collect(),
                None => vec![field.clone()],
            };
            for path in paths {
                assert!(
                    rule.expression.contains(&format!("self.{path} == oldSelf.{path}")) || path == "isCA",
                    "{path}"
                );
            }
        }
    }
}
