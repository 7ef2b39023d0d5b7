//! What is kept of a watched object. It lies in memory for as long as it exists, so what nothing here reads is let go, and so
//! is the room that readers of JSON leave at the end of each list.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::ObjectMeta;

use super::hub::Watched;
use crate::api::{Certificate, CertificateRequest, Order, names};

/// Leaves what is of use.
pub(super) fn what_is_read<K: Watched>(object: &mut K) {
    shrink(object.meta_mut());
    object.let_go();
}

/// Of who owns which field only what the target Secret's own manager owns is of use, and as text it needs little memory.
fn shrink(metadata: &mut ObjectMeta) {
    if let Some(entries) = &mut metadata.managed_fields {
        keep_own_note(entries);
    }
    metadata.owner_references.iter_mut().for_each(Vec::shrink_to_fit);
    metadata.finalizers.iter_mut().for_each(Vec::shrink_to_fit);
}

fn keep_own_note(managed_fields: &mut Vec<ManagedFieldsEntry>) {
    managed_fields.retain(|entry| entry.manager.as_deref() == Some(names::field_manager::ISSUING));
    managed_fields.shrink_to_fit();
    for fields in managed_fields.iter_mut().filter_map(|entry| entry.fields_v1.as_mut()) {
        if !fields.0.is_string() {
            fields.0 = serde_json::Value::String(fields.0.to_string());
        }
    }
}

pub(super) fn of_certificate(certificate: &mut Certificate) {
    certificate.spec.dns_names.shrink_to_fit();
    if let Some(status) = &mut certificate.status {
        status.conditions.shrink_to_fit();
    }
}

/// Who created the request is known to the API server, and asked by admission only.
pub(super) fn of_request(request: &mut CertificateRequest) {
    let spec = &mut request.spec;
    (spec.username, spec.uid) = (None, None);
    (spec.groups, spec.extra) = (Vec::new(), BTreeMap::new());
    if let Some(status) = &mut request.status {
        status.conditions.shrink_to_fit();
    }
}

pub(super) fn of_order(order: &mut Order) {
    order.spec.dns_names.shrink_to_fit();
    if let Some(status) = &mut order.status {
        status.authorizations.shrink_to_fit();
        for authorization in &mut status.authorizations {
            authorization.challenges.shrink_to_fit();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde::{Serialize, de::DeserializeOwned};
    use serde_json::{Value, json};

    use super::*;

    fn kept<K: Watched + Serialize + DeserializeOwned>(object: &Value) -> (K, Value) {
        let mut object: K = serde_json::from_value(object.clone()).unwrap();
        what_is_read(&mut object);
        let text = serde_json::to_value(&object).unwrap();
        (object, text)
    }

    fn metadata() -> Value {
        let entry =
            |manager: &str| json!({ "manager": manager, "fieldsType": "FieldsV1", "fieldsV1": { "f:data": {} } });
        json!({
            "name": "web",
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Certificate", "name": "web", "uid": "1" }],
            "managedFields": [entry("kubectl"), entry(names::field_manager::ISSUING)],
        })
    }

    #[test]
    fn of_who_owns_what_one_note_is_left_as_text() {
        let (secret, text) = kept::<k8s_openapi::api::core::v1::Secret>(&json!({ "metadata": metadata() }));
        let fields = &text["metadata"]["managedFields"];
        assert_eq!((fields.as_array().unwrap().len(), &fields[0]["fieldsV1"]), (1, &json!("{\"f:data\":{}}")));
        let again = serde_json::to_value(&secret).unwrap();
        assert_eq!(kept::<k8s_openapi::api::core::v1::Secret>(&again).1, text);
    }

    #[test]
    fn of_a_request_all_is_left_but_who_made_it() {
        let mut object = json!({
            "apiVersion": "cert-manager.io/v1", "kind": "CertificateRequest", "metadata": { "name": "web-1" },
            "spec": {
                "issuerRef": { "name": "ca" }, "request": "QQ==", "usages": ["server auth"], "username": "certwright",
                "uid": "2", "groups": ["system:authenticated"], "extra": { "id": ["3"] },
            },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }], "certificate": "Qg==" },
        });
        let (_, text) = kept::<CertificateRequest>(&object);
        for name in ["username", "uid", "groups", "extra"] {
            object["spec"].as_object_mut().unwrap().remove(name);
        }
        assert_eq!(text, object);
    }

    #[test]
    fn no_list_has_more_room_than_it_needs() {
        let (certificate, _) = kept::<Certificate>(&json!({
            "metadata": metadata(),
            "spec": { "secretName": "web", "issuerRef": { "name": "ca" }, "dnsNames": ["a.example"] },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
        }));
        let status = certificate.status.unwrap();
        assert_eq!((certificate.spec.dns_names.capacity(), status.conditions.capacity()), (1, 1));
        assert_eq!(certificate.metadata.owner_references.unwrap().capacity(), 1);
    }
}
