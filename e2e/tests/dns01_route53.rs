//! DNS-01 by Route 53, as moto stands in for it, with every way to say who one is. These run inside a testbed, with controllers
//! of their own: `testbed run -- cargo test -p certwright-e2e --test dns01_route53 -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use certwright::api::{Certificate, ClusterIssuer, Issuer};
use certwright::cloud::aws::Credentials;
use certwright_e2e::moto::Moto;
use certwright_e2e::scene::{PATIENCE, is_ready};
use certwright_e2e::{Controller, Scene, Testbed};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

struct Bed {
    moto: Moto,
    scene: Scene,
    _controller: Controller,
}

async fn bed(prefix: &str, environment: &[(&str, &str)]) -> Bed {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let moto = Moto::start(&testbed).await.unwrap();
    bed_with(&testbed, moto, prefix, environment).await
}

async fn bed_with(testbed: &Testbed, moto: Moto, prefix: &str, environment: &[(&str, &str)]) -> Bed {
    let [route53, sts] = ["route53", "sts"].map(|service| format!("--dns01-provider-endpoints={service}={}", moto.url));
    let controller = Controller::start_in(testbed, &[&route53, &sts], environment).await.unwrap();
    let scene = Scene::new(testbed, controller.log(), prefix).await.unwrap();
    Bed { moto, scene, _controller: controller }
}

impl Bed {
    /// The spec of an ACME issuer whose only solver is Route 53.
    fn issuer_spec(&self, account: &str, route53: &Value) -> Value {
        let mut spec = self.scene.issuer_spec(account).unwrap();
        spec["acme"]["solvers"] = json!([{ "dns01": { "route53": route53 } }]);
        spec
    }

    async fn issuer(&self, name: &str, route53: Value) {
        let spec = self.issuer_spec(&format!("{name}-account"), &route53);
        self.scene.create::<Issuer>(name, spec).await.unwrap();
        self.scene.wait_ready::<Issuer>(name).await.unwrap();
    }

    /// An Issuer with these keys and whatever else.
    async fn issuer_with_keys(&self, name: &str, keys: &Credentials, more: Value) {
        self.scene.put_secret(name, "secret", &keys.secret_access_key).await.unwrap();
        let mut settings = json!({
            "accessKeyID": keys.access_key_id,
            "secretAccessKeySecretRef": { "name": name, "key": "secret" },
        });
        for (field, value) in more.as_object().unwrap() {
            settings[field] = value.clone();
        }
        self.issuer(name, settings).await;
    }

    /// Has a certificate issued, and waits until no record is left of it.
    async fn issue(&self, name: &str, issuer: &str) {
        let dns_name = self.scene.dns_name(name);
        self.scene.certificate(name, issuer, &[&dns_name, &format!("*.{dns_name}")]).await.unwrap();
        self.scene.issued(name).await.unwrap();
        self.clean(&format!("_acme-challenge.{dns_name}")).await;
    }

    async fn clean(&self, record: &str) {
        let look = async || {
            let records = self.moto.records().await?;
            let left = records.iter().any(|line| line.starts_with(record) && !line.contains("theirs"));
            Ok::<_, anyhow::Error>((!left).then_some(()))
        };
        certwright_e2e::wait::until("the records to go", PATIENCE, look).await.unwrap();
    }

    /// Waits until a challenge says this, and gives the whole of what it says.
    async fn told(&self, part: &str) -> String {
        let what = format!("a challenge to tell {part:?}");
        let seen = self.scene.see_challenge(&what, PATIENCE, |_, reason| reason.contains(part)).await.unwrap();
        seen.status.and_then(|status| status.reason).unwrap_or_default()
    }

    /// How many requests moto got that begin like this.
    fn requests(&self, start: &str) -> usize {
        self.moto.log().unwrap().matches(&format!("\"{start}")).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn access_keys() {
    let bed = bed("aws-keys", &[]).await;
    let keys = bed.moto.user("dns").await.unwrap();
    bed.issuer_with_keys("keys", &keys, json!({})).await;
    let theirs = format!("_acme-challenge.{}", bed.scene.dns_name("www"));
    bed.moto.put_plain(&theirs, "theirs").await.unwrap();
    bed.issue("www", "keys").await;
    assert!(bed.moto.records().await.unwrap().contains(&format!("{theirs} \"theirs\"")));

    // By the id of the zone, and with the id of the key in a Secret.
    bed.scene.put_secret("keys", "id", &format!("{}\n", keys.access_key_id)).await.unwrap();
    let settings = json!({
        "accessKeyIDSecretRef": { "name": "keys", "key": "id" },
        "secretAccessKeySecretRef": { "name": "keys", "key": "secret" },
        "hostedZoneID": bed.moto.zone,
        "region": "eu-central-1",
    });
    bed.issuer("zone-id", settings).await;
    let lists = bed.requests("GET /2013-04-01/hostedzonesbyname");
    bed.issue("zone", "zone-id").await;
    assert_eq!(bed.requests("GET /2013-04-01/hostedzonesbyname"), lists, "there is nothing to look for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_wrong_key_is_told_and_its_correction_seen() {
    let bed = bed("aws-wrong", &[]).await;
    let keys = bed.moto.user("dns").await.unwrap();
    let wrong = Credentials::lasting(&keys.access_key_id, "hunter2");
    bed.issuer_with_keys("keys", &wrong, json!({})).await;
    let dns_name = bed.scene.dns_name("www");
    bed.scene.certificate("www", "keys", &[&dns_name]).await.unwrap();
    let told = bed.told("Route 53 answered 403").await;
    assert!(
        told.contains("when asked to list the hosted zones: SignatureDoesNotMatch: the secret access key"),
        "{told}"
    );
    assert!(!told.contains("hunter2"), "{told}");
    bed.scene.put_secret("keys", "secret", &keys.secret_access_key).await.unwrap();
    bed.scene.wait_ready::<Certificate>("www").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_role_to_take_on() {
    let bed = bed("aws-role", &[]).await;
    let user = bed.moto.user_without_rights("nobody").await.unwrap();
    let role = bed.moto.role("open", None).await.unwrap();
    bed.issuer_with_keys("role", &user, json!({ "role": role })).await;
    bed.issue("www", "role").await;

    let role = bed.moto.role("guarded", Some("tenant-7")).await.unwrap();
    bed.issuer_with_keys("guarded", &user, json!({ "role": role })).await;
    // moto lets those in who name no id at all.
    let annotated = |id: &str| json!({ "metadata": { "annotations": { "certwright.dev/aws-external-id": id } } });
    bed.scene.patch::<Issuer>("guarded", annotated("tenant-6")).await.unwrap();
    let dns_name = bed.scene.dns_name("guarded");
    bed.scene.certificate("guarded", "guarded", &[&dns_name]).await.unwrap();
    bed.told("AWS STS does not give the role").await;
    bed.scene.patch::<Issuer>("guarded", annotated("tenant-7")).await.unwrap();
    bed.scene.wait_ready::<Certificate>("guarded").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_service_account_that_a_role_trusts() {
    let bed = bed("aws-account", &[]).await;
    let role = bed.moto.role("federated", None).await.unwrap();
    let settings = json!({ "role": role, "auth": { "kubernetes": { "serviceAccountRef": { "name": "default" } } } });
    let (roles, bindings): (Api<Role>, Api<RoleBinding>) = (bed.scene.api(), bed.scene.api());
    let rights = json!({
        "metadata": { "name": "tokens" },
        "rules": [{ "apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": ["default"], "verbs": ["create"] }],
    });
    let binding = json!({
        "metadata": { "name": "tokens" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tokens" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "certwright" }],
    });
    roles.create(&PostParams::default(), &serde_json::from_value(rights).unwrap()).await.unwrap();
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    bed.issuer("account", settings).await;
    bed.issue("www", "account").await;
    let claims = format!(
        r#"web identity: {{"aud": ["sts.amazonaws.com"], "sub": "system:serviceaccount:{}:default"}}"#,
        bed.scene.namespace
    );
    let log = bed.moto.log().unwrap();
    assert_eq!(log.matches(&claims).count(), 1, "{log}");
}

/// An agent like that of EKS Pod Identity, which gives out one session.
async fn agent([id, secret, token]: [String; 3]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let given = json!({
        "AccessKeyId": id, "SecretAccessKey": secret, "Token": token, "Expiration": "2124-05-25T11:45:17Z",
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..read]).to_lowercase();
            let known = request.starts_with("get /v1/credentials") && request.contains("authorization: pod-token");
            let (status, body) = if known { ("200 OK", given.to_string()) } else { ("401 No", String::new()) };
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn credentials_of_the_surroundings_are_for_cluster_issuers() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let moto = Moto::start(&testbed).await.unwrap();
    let role = moto.role("pod", None).await.unwrap();
    let agent = agent(moto.session(&role).await.unwrap()).await;
    let file = testbed.state.folder.join("pod-identity-token");
    std::fs::write(&file, "pod-token\n").unwrap();
    let url = format!("http://{agent}/v1/credentials");
    let environment = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.to_str().unwrap()),
        ("AWS_REGION", "eu-central-1"),
    ];
    let bed = bed_with(&testbed, moto, "aws-ambient", &environment).await;
    let name = bed.scene.namespace.clone();
    let issuer = json!({
        "apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": { "name": name },
        "spec": bed.issuer_spec(&name, &json!({})),
    });
    let issuers: Api<ClusterIssuer> = Api::all(bed.scene.client.clone());
    issuers.create(&PostParams::default(), &serde_json::from_value(issuer).unwrap()).await.unwrap();
    bed.scene.wait_in(issuers, &name, "being ready", PATIENCE, is_ready).await.unwrap();
    let dns_name = bed.scene.dns_name("www");
    bed.scene.certificate_of_cluster_issuer("www", &[&dns_name]).await.unwrap();
    bed.scene.issued("www").await.unwrap();

    bed.issuer("own", json!({})).await;
    bed.scene.certificate("own", "own", &[&bed.scene.dns_name("own")]).await.unwrap();
    bed.told("--issuer-ambient-credentials").await;
}
