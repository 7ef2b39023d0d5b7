use serde_json::{Value, json};

use super::*;
use crate::decide::testing::{DAY, at, chain, key, now, object, seconds_until};

/// The certificate of a CA, another one for another number, valid until so many seconds from now.
fn ca(number: usize, until: i64) -> String {
    let pem = chain(key(number), &["ca.test"], -DAY, until);
    ParsedCertificate::from_pem_chain(pem.as_bytes()).unwrap()[0].to_pem()
}

fn base64(pem: &str) -> String {
    STANDARD.encode(pem)
}

fn secret(annotations: &Value, ca: Option<&str>) -> Secret {
    let data = ca.map(|ca| json!({ CA_CERT: base64(ca) }));
    object(json!({ "metadata": { "namespace": "shop", "name": "ca", "annotations": annotations }, "data": data }))
}

fn from_secret() -> CaSource {
    CaSource::Secret { namespace: "shop".to_owned(), name: "ca".to_owned() }
}

fn api_service(bundle: Option<&str>) -> Value {
    json!({
        "metadata": { "name": "v1.a.test", "uid": "u", "resourceVersion": "7" },
        "spec": { "group": "a.test", "service": { "name": "a", "namespace": "shop" }, "caBundle": bundle },
    })
}

/// What is done for an object that asks for the CA in a Secret which allows it.
fn with_ca(target: InjectionTarget, object: &Value, ca: &str) -> Decision<InjectionStep> {
    let secret = secret(&json!({ annotation::ALLOW_DIRECT_INJECTION: "true" }), Some(ca));
    let ca = SeenCa::Secret { name: "shop/ca", secret: Some(&secret) };
    decide(&SeenTarget { target, object, source: &from_secret(), ca: &ca }, now())
}

fn applied(decision: &Decision<InjectionStep>) -> &Value {
    match &decision.steps[..] {
        [InjectionStep::Apply(part)] => part,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_bundle_gets_the_ca_and_then_nothing_more_is_done() {
    let ca = ca(0, DAY);
    let decision = with_ca(InjectionTarget::ApiService, &api_service(None), &ca);
    let wanted = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": { "name": "v1.a.test", "uid": "u", "resourceVersion": "7" },
        "spec": { "caBundle": base64(&ca) },
    });
    assert_eq!(*applied(&decision), wanted);
    let after = with_ca(InjectionTarget::ApiService, &api_service(Some(&base64(&ca))), &ca);
    assert_eq!(after, Decision::rest());
}

#[test]
fn a_former_ca_stays_until_it_expires() {
    let (former, expired, new) = (ca(0, 2 * DAY), ca(1, -1), ca(2, DAY));
    let present = base64(&format!("{expired}{former}{former}"));
    let decision = with_ca(InjectionTarget::ApiService, &api_service(Some(&present)), &new);
    let merged = base64(&format!("{former}{new}"));
    assert_eq!(applied(&decision)["spec"]["caBundle"], merged);
    assert_eq!(seconds_until(decision.wake), Some(2 * DAY));
    let rest = with_ca(InjectionTarget::ApiService, &api_service(Some(&merged)), &new);
    assert_eq!(rest, Decision::rest_until(at(2 * DAY)));
}

#[test]
fn a_bundle_that_cannot_be_read_is_replaced() {
    let new = ca(0, DAY);
    for odd in
        ["nonsense", &base64("nonsense"), &base64("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
    {
        let decision = with_ca(InjectionTarget::ApiService, &api_service(Some(odd)), &new);
        assert_eq!(applied(&decision)["spec"]["caBundle"], base64(&new));
    }
}

/// An empty bundle would make the API server trust every public CA.
#[test]
fn the_only_ca_is_injected_even_if_it_has_expired() {
    let expired = ca(0, -1);
    let decision = with_ca(InjectionTarget::ApiService, &api_service(None), &expired);
    assert_eq!(applied(&decision)["spec"]["caBundle"], base64(&expired));
    let after = with_ca(InjectionTarget::ApiService, &api_service(Some(&base64(&expired))), &expired);
    assert_eq!(after, Decision::rest());
}

#[test]
fn all_webhooks_of_a_configuration_are_written_together() {
    let (held, new) = (ca(0, DAY), ca(1, DAY));
    let configuration = json!({
        "metadata": { "name": "a", "uid": "u", "resourceVersion": "7" },
        "webhooks": [
            { "name": "one.a.test", "clientConfig": { "caBundle": base64(&new) } },
            { "name": "two.a.test", "clientConfig": { "caBundle": base64(&held) } },
            { "name": "three.a.test", "clientConfig": {} },
        ],
    });
    for target in [InjectionTarget::MutatingWebhookConfiguration, InjectionTarget::ValidatingWebhookConfiguration] {
        let decision = with_ca(target, &configuration, &new);
        let bundle = |name: &str, pem: &str| json!({ "name": name, "clientConfig": { "caBundle": base64(pem) } });
        let wanted = json!([
            bundle("one.a.test", &new),
            bundle("two.a.test", &format!("{held}{new}")),
            bundle("three.a.test", &new),
        ]);
        assert_eq!(applied(&decision)["webhooks"], wanted);
    }
}

#[test]
fn definitions_get_it_for_their_conversion_only() {
    let new = ca(0, DAY);
    let definition = |strategy: &str| {
        json!({
            "metadata": { "name": "a", "uid": "u", "resourceVersion": "7" },
            "spec": { "conversion": { "strategy": strategy, "webhook": { "clientConfig": {} } } },
        })
    };
    let target = InjectionTarget::CustomResourceDefinition;
    let decision = with_ca(target, &definition("Webhook"), &new);
    let wanted = json!({ "conversion": { "webhook": { "clientConfig": { "caBundle": base64(&new) } } } });
    assert_eq!(applied(&decision)["spec"], wanted);
    assert_eq!(with_ca(target, &definition("None"), &new), Decision::rest());
}

#[test]
fn an_api_that_the_api_server_serves_itself_needs_none() {
    let local = json!({ "metadata": {}, "spec": { "group": "a.test" } });
    assert_eq!(with_ca(InjectionTarget::ApiService, &local, &ca(0, DAY)), Decision::rest());
}

#[test]
fn why_nothing_is_injected() {
    let new = ca(0, DAY);
    let certificate = CaSource::Certificate { namespace: "shop".to_owned(), name: "web".to_owned() };
    let plain = secret(&json!({}), Some(&new));
    let allowed = |ca: Option<&str>| secret(&json!({ annotation::ALLOW_DIRECT_INJECTION: "true" }), ca);
    let (empty, odd) = (allowed(None), allowed(Some("nonsense")));
    let of_other = secret(&json!({ annotation::CERTIFICATE_NAME: "other" }), Some(&new));
    let seen = |secret| SeenCa::Secret { name: "shop/ca", secret };
    for (source, ca, text) in [
        (from_secret(), seen(None), "the Secret shop/ca does not exist"),
        (from_secret(), seen(Some(&plain)), "the Secret shop/ca does not allow it; give it the annotation"),
        (from_secret(), seen(Some(&empty)), "the Secret shop/ca has no ca.crt"),
        (from_secret(), seen(Some(&odd)), "the Secret shop/ca has an unusable ca.crt: "),
        (certificate.clone(), SeenCa::NoCertificate, "the Certificate shop/web does not exist"),
        (certificate, seen(Some(&of_other)), "the Secret shop/ca is not that of the Certificate web"),
        (CaSource::ApiServer, SeenCa::ApiServer(None), "the kubeconfig names no CA"),
        (CaSource::ApiServer, SeenCa::ApiServer(Some(b"x")), "the CA of the API server is unusable"),
        (CaSource::Unreadable("a/b"), SeenCa::Nothing, "the annotation a/b must be NAMESPACE/NAME"),
    ] {
        let object = api_service(None);
        let seen = SeenTarget { target: InjectionTarget::ApiService, object: &object, source: &source, ca: &ca };
        let decision = decide(&seen, now());
        let [InjectionStep::Tell(note)] = &decision.steps[..] else { panic!("{decision:?}") };
        assert!(note.warning && note.text.starts_with(text), "{}", note.text);
        assert_eq!(decision.wake, Wake::OnChange);
    }
}

#[test]
fn where_certificates_are_not_checked_no_ca_is_injected() {
    let mut service = api_service(None);
    service["spec"]["insecureSkipTLSVerify"] = true.into();
    let decision = with_ca(InjectionTarget::ApiService, &service, &ca(0, DAY));
    let [InjectionStep::Tell(note)] = &decision.steps[..] else { panic!("{decision:?}") };
    assert!(note.text.contains("insecureSkipTLSVerify"), "{}", note.text);
}

#[test]
fn the_ca_of_a_certificate_and_of_the_api_server() {
    let new = ca(0, DAY);
    let certificate = CaSource::Certificate { namespace: "shop".to_owned(), name: "web".to_owned() };
    let of_certificate = secret(&json!({ annotation::CERTIFICATE_NAME: "web" }), Some(&new));
    for (source, ca) in [
        (certificate, SeenCa::Secret { name: "shop/ca", secret: Some(&of_certificate) }),
        (CaSource::ApiServer, SeenCa::ApiServer(Some(new.as_bytes()))),
    ] {
        let object = api_service(None);
        let seen = SeenTarget { target: InjectionTarget::ApiService, object: &object, source: &source, ca: &ca };
        assert_eq!(applied(&decide(&seen, now()))["spec"]["caBundle"], base64(&new));
    }
}
