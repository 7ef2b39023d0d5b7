//! What is in the Secret, and whose it is.

use super::*;

#[test]
fn what_the_secret_is_made_of() {
    let mut scene = Scene::new();
    scene.spec(|spec| {
        spec.secret_template = Some(object(json!({
            "labels": {"team": "a"}, "annotations": {"own.example/x": "1", "cert-manager.io/alt-names": "not mine"},
        })));
        spec.private_key.as_mut().unwrap().encoding = Some("PKCS8".into());
        spec.issuer_ref.kind = Some("ClusterIssuer".into());
    });
    scene.secret = Some(object(json!({"metadata": {"name": "web-tls"}, "type": "Opaque"})));
    scene.run();
    scene.answer();
    Arc::make_mut(&mut scene.requests[0]).status.as_mut().unwrap().ca = Some(k8s_openapi::ByteString(b"ca".to_vec()));
    let chain = scene.requests[0].status.clone().unwrap().certificate.unwrap();
    scene.run();
    let secret = scene.secret.unwrap();
    assert_eq!(secret.type_.as_deref(), Some("Opaque"), "a type cannot be changed");
    let data: Vec<_> = secret.data.iter().flatten().map(|(name, value)| (name.as_str(), value.0.clone())).collect();
    let key = pem(key(0)).into_bytes();
    assert_eq!(data, [("ca.crt", b"ca".to_vec()), ("tls.crt", chain.0), ("tls.key", key)]);
    assert!(secret.owner_references().is_empty());
    let labels = [("controller.cert-manager.io/fao", "true"), ("team", "a")];
    assert_eq!(secret.labels().iter().map(|(key, value)| (&**key, &**value)).collect::<Vec<_>>(), labels);
    let annotations: Vec<_> = secret.annotations().iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(
        annotations,
        [
            ("cert-manager.io/alt-names", "www.example.com"),
            ("cert-manager.io/certificate-name", "web"),
            ("cert-manager.io/common-name", ""),
            ("cert-manager.io/ip-sans", ""),
            ("cert-manager.io/issuer-group", ""),
            ("cert-manager.io/issuer-kind", "ClusterIssuer"),
            ("cert-manager.io/issuer-name", "le"),
            ("cert-manager.io/uri-sans", ""),
            ("own.example/x", "1"),
        ]
    );
}

#[test]
fn a_damaged_secret_is_replaced_and_the_reason_told() {
    type Damage = fn(&mut Scene);
    let cases: [(Damage, &str, &str); 12] = [
        (|s| s.secret = None, "DoesNotExist", "Secret does not exist"),
        (|s| s.secret.as_mut().unwrap().data = None, "MissingData", "does not contain any data"),
        (|s| s.data("tls.key").clear(), "MissingData", "does not contain a private key"),
        (|s| s.data("tls.crt").clear(), "MissingData", "does not contain a certificate"),
        (|s| *s.data("tls.key") = b"x".into(), "InvalidKeyPair", "contains invalid private key data"),
        (|s| *s.data("tls.crt") = b"x".into(), "InvalidCertificate", "contains an invalid certificate"),
        (
            |s| *s.data("tls.key") = pem(key(1)).into_bytes(),
            "InvalidKeyPair",
            "contains a private key that does not match the certificate",
        ),
        (
            |s| s.annotate(annotation::ISSUER_NAME, "other"),
            "IncorrectIssuer",
            "was previously issued by \"Issuer.cert-manager.io/other\"",
        ),
        (|s| s.annotate(annotation::CERTIFICATE_NAME, "other"), "IncorrectCertificate", "was issued for \"other\""),
        (
            |s| s.spec(|spec| spec.private_key.as_mut().unwrap().size = Some(384)),
            "SecretMismatch",
            "private key is not up to date for spec: [spec.privateKey.size]",
        ),
        (
            |s| {
                s.data("tls.crt").splice(.., chain(key(1), &["www.example.com"], 0, DAY).into_bytes());
                s.data("tls.key").splice(.., pem(key(1)).into_bytes());
            },
            "SecretMismatch",
            "private key that does not match the current CertificateRequest",
        ),
        (
            |s| s.spec(|spec| spec.usages = vec!["client auth".into()]),
            "RequestChanged",
            "not up to date: [spec.usages]",
        ),
    ];
    for (damage, reason, message) in cases {
        let mut scene = Scene::issued();
        damage(&mut scene);
        assert_eq!(scene.step(), ["WriteStatus", "Publish"], "{reason} {message}");
        for condition in &scene.status().conditions {
            assert_eq!(condition.reason.as_deref(), Some(reason), "{message}");
            assert!(condition.message.as_ref().unwrap().contains(message), "{condition:?}");
        }
        assert!(is_issuing(&scene.status()));
    }
}

#[test]
fn without_its_request_a_secret_is_compared_by_names_only() {
    let mut scene = Scene::issued();
    scene.requests.clear();
    scene.spec(|spec| spec.usages = vec!["client auth".into()]);
    assert!(!scene.run().0.contains(&"CreateNextKey".to_owned()));
    scene.spec(|spec| spec.dns_names = vec!["other.example.com".into()]);
    scene.step();
    let text = "Issuing certificate as Existing issued Secret is not up to date for spec: [spec.dnsNames]";
    assert_eq!(scene.conditions()[1], format!("Issuing=True SecretMismatch: {text}"));
}

/// As with cert-manager: else a CA would be asked about certificates that are none of its own.
#[test]
fn a_certificate_from_elsewhere_is_kept_without_a_word_of_who_issued_it() {
    let mut scene = Scene::issued();
    let bare = |scene: &mut Scene| {
        let metadata = &mut scene.secret.as_mut().unwrap().metadata;
        (metadata.annotations, metadata.labels, metadata.managed_fields) = (None, None, None);
    };
    bare(&mut scene);
    assert_eq!(scene.run().0, ["PutSecretRight"]);
    let issuer = |scene: &Scene| scene.secret.as_ref().unwrap().annotations().get(annotation::ISSUER_NAME).cloned();
    assert_eq!(issuer(&scene).as_deref(), Some("le"), "the request tells");

    bare(&mut scene);
    scene.requests.clear();
    assert_eq!(scene.run().0, ["PutSecretRight"]);
    assert_eq!(scene.secret.as_ref().unwrap().annotations()[annotation::CERTIFICATE_NAME], "web");
    assert_eq!((issuer(&scene), scene.status().revision), (None, Some(1)));
}

#[test]
fn another_secret_name_means_another_certificate() {
    let mut scene = Scene::issued();
    let former = scene.secret.take();
    scene.spec(|spec| spec.secret_name = "new-tls".into());
    scene.run();
    let status = scene.status();
    assert_eq!((status.not_after, status.renewal_time), (None, None), "dates are those of the Secret");
    scene.answer();
    scene.run();
    assert_eq!(scene.secret.as_ref().unwrap().name_any(), "new-tls");
    assert_eq!(scene.status().revision, Some(2));
    assert_eq!(former.unwrap().name_any(), "web-tls", "the former one is left alone");
}

#[test]
fn a_secret_name_that_changes_midway() {
    let mut scene = Scene::new();
    scene.run();
    scene.spec(|spec| spec.secret_name = "new-tls".into());
    scene.answer();
    assert!(!scene.run().0.contains(&"CreateRequest".to_owned()), "the request is still good");
    assert_eq!(scene.secret.as_ref().unwrap().name_any(), "new-tls");
}

#[test]
fn one_secret_has_one_owner() {
    let older = || {
        let mut older = certificate("zebra");
        older.metadata.creation_timestamp = Some(Time(at(-1)));
        Arc::new(older)
    };
    let twin = || Arc::new(certificate("alpha"));
    let mut first = Scene::new();
    first.rivals = vec![older()];
    assert_eq!(first.run(), (strings(&["WriteStatus", "Publish"]), None));
    assert_eq!(
        first.conditions(),
        ["Ready=False IncorrectCertificate: The Secret \"web-tls\" belongs to the Certificate \"zebra\", which names \
          it too; give this one its own spec.secretName"]
    );
    let mut same_age = Scene::new();
    same_age.rivals = vec![twin()];
    assert!(same_age.decide().steps.len() == 2, "by name then");

    let mut owner = Scene::issued();
    owner.rivals = vec![older(), twin()];
    assert_eq!(owner.run().0, [""; 0], "it was issued for this one");

    let mut overtaken = Scene::new();
    overtaken.run();
    overtaken.rivals = vec![older()];
    assert_eq!(overtaken.run().0, ["WriteStatus", "DeleteNextKey", "Publish"], "an issuance under way is left off");
    overtaken.rivals.clear();
    overtaken.run();
    assert!(is_issuing(&overtaken.status()), "until the other is gone");
}

#[test]
fn keys_do_not_show() {
    assert_eq!(format!("{:?}", NextKey::Reuse("secret".into())), "Reuse(…)");
    assert_eq!(format!("{:?}", HeldKey::new(key(0).clone(), now()).key), format!("{:?}", key(0)));
}
