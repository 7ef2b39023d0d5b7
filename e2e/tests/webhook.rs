//! The optional webhook, as the chart registers it, with the rights that the chart gives it. These run inside a testbed:
//! `testbed run -- cargo test -p certwright-e2e --test webhook -- --include-ignored`.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::process::Command;
use std::time::Duration;

use certwright::api::{Certificate, CertificateRequest, Issuer};
use certwright_e2e::controller::binary;
use certwright_e2e::helm::{Helm, chart};
use certwright_e2e::kubernetes::read_kubeconfig;
use certwright_e2e::scene::{Kind, PATIENCE};
use certwright_e2e::wait::until;
use certwright_e2e::{Controller, Process, Scene, Testbed};
use futures::FutureExt as _;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt as _};
use serde::Deserialize as _;
use serde_json::{Value, json};

const PORT: u16 = 10250;
const HEALTH: u16 = 6080;
const METRICS: u16 = 9412;
/// Of the second process, which verifies clients.
const VERIFYING_PORT: u16 = 10251;
const VERIFYING_HEALTH: u16 = 6081;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn the_webhook_answers_and_heals() {
    let testbed = Testbed::from_env().unwrap().expect("run this inside `testbed run`");
    let controller = Controller::shared(&testbed).await.unwrap();
    let scene = Scene::new(&testbed, &controller.log, "admission").await.unwrap();
    let place = Place { name: format!("{}-webhook", scene.namespace), scene };
    // Registrations reach beyond the namespace, so that they must be gone whatever happens.
    let tried = AssertUnwindSafe(all(place.clone())).catch_unwind().await;
    place.clean_up().await;
    if let Err(panic) = tried {
        resume_unwind(panic);
    }
}

async fn all(place: Place) {
    place.install().await;
    let _process = place.start().await;
    place.answers().await;
    place.probe_passes().await;
    place.refuses_what_the_definitions_let_through().await;
    place.speaks_to_the_api_server_alone().await;
    place.leaves_out_namespaces().await;
    place.tells_what_it_did().await;
    place.verifies_clients().await;
    place.renews_its_certificate().await;
    place.answers().await;

    // An expired CA, one that is gone, and one that somebody broke: it heals, and so do the bundles.
    for spoil in [Spoil::Expire, Spoil::Delete, Spoil::Break] {
        place.spoil(spoil).await;
        place.answers().await;
        place.probe_passes().await;
    }
}

#[derive(Clone)]
struct Place {
    scene: Scene,
    name: String,
}

#[derive(Clone, Copy, Debug)]
enum Spoil {
    Expire,
    Delete,
    Break,
}

impl Place {
    /// What the chart has, but for the Deployment, and the endpoint that no controller makes here.
    async fn install(&self) {
        let namespace = &self.scene.namespace;
        let selector = json!({ "matchExpressions": [
            { "key": "kubernetes.io/metadata.name", "operator": "In", "values": [namespace, self.other()] },
            { "key": "cert-manager.io/disable-validation", "operator": "NotIn", "values": ["true"] },
        ]});
        let helm = Helm::of(&self.scene.testbed.state).unwrap();
        let (chart, selector) = (chart().display().to_string(), selector.to_string());
        let rendered = helm.run(&[
            "template",
            namespace,
            &chart,
            "--namespace",
            namespace,
            "--show-only=templates/webhook.yaml",
            &format!("--set=webhook.enabled=true,fullnameOverride={namespace}"),
            &format!("--set-json=webhook.validatingWebhookConfiguration.namespaceSelector={selector}"),
            &format!("--set-json=webhook.mutatingWebhookConfiguration.namespaceSelector={selector}"),
        ]);
        for object in objects(&rendered.unwrap()) {
            let types = object.types.clone().unwrap();
            if types.kind == "Deployment" {
                continue;
            }
            let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types).unwrap());
            let client = self.scene.client.clone();
            let api: Api<DynamicObject> = match object.namespace() {
                Some(namespace) => Api::namespaced_with(client, &namespace, &resource),
                None => Api::all_with(client, &resource),
            };
            api.patch(&object.name_any(), &PatchParams::apply("test"), &Patch::Apply(&object)).await.unwrap();
        }
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": { "name": self.name, "labels": { "kubernetes.io/service-name": self.name } },
            "addressType": "IPv4", "ports": [{ "name": "https", "port": PORT, "protocol": "TCP" }],
            "endpoints": [{ "addresses": [self.address().ip()], "conditions": { "ready": true } }],
        }))
        .unwrap();
        self.scene.api().create(&PostParams::default(), &slice).await.unwrap();
    }

    fn address(&self) -> SocketAddr {
        (self.scene.testbed.state.node_address, PORT).into()
    }

    fn other(&self) -> String {
        format!("{}-free", self.scene.namespace)
    }

    fn host(&self) -> String {
        format!("{}.{}.svc", self.name, self.scene.namespace)
    }

    fn secret(&self) -> String {
        format!("{}-ca", self.name)
    }

    /// The program as the pod would run it, with a certificate that does not live long.
    async fn start(&self) -> Process {
        let mut command = self.command(PORT, HEALTH, &format!("{}:{METRICS}", self.address().ip())).await;
        command.arg(format!("--dynamic-serving-ca-secret-namespace={}", self.scene.namespace));
        command.arg(format!("--dynamic-serving-ca-secret-name={}", self.secret()));
        command.arg(format!("--dynamic-serving-dns-names={}", self.host()));
        command.arg("--dynamic-serving-leaf-duration=30s");
        self.scene.testbed.start("webhook", command).unwrap()
    }

    async fn command(&self, port: u16, health: u16, metrics: &str) -> Command {
        let accounts: Api<ServiceAccount> = self.scene.api();
        let request = TokenRequest::default();
        let answer = accounts.create_token_request(&self.name, &PostParams::default(), &request).await.unwrap();
        let admin = &self.scene.testbed.state.kubernetes().unwrap().admin_kubeconfig;
        let mut kubeconfig = serde_json::to_value(read_kubeconfig(admin).unwrap()).unwrap();
        kubeconfig["users"][0]["user"] = json!({ "token": answer.status.unwrap().token });
        let file = self.scene.testbed.state.folder.join(format!("{}.kubeconfig", self.name));
        std::fs::write(&file, kubeconfig.to_string()).unwrap();
        let mut command = Command::new(binary().unwrap());
        command.arg("webhook").arg("--kubeconfig").arg(file).env_remove("KUBECONFIG");
        command.arg(format!("--secure-port={port}")).arg(format!("--healthz-port={health}"));
        command.arg(format!("--metrics-listen-address={metrics}"));
        command
    }

    /// Waits until the API server believes the webhook: it refuses what only the webhook refuses. Requests come to both
    /// registrations, whose bundles come one after the other.
    async fn answers(&self) {
        let spec = json!({ "secretName": "a", "issuerRef": { "name": "a" }, "literalSubject": "nonsense", "dnsNames": ["a.test"] });
        let look = async || {
            let said = self.refusal::<Certificate>(&self.scene.namespace, &spec).await;
            anyhow::ensure!(said.contains("spec.literalSubject: Invalid value: \"nonsense\": "), "{said}");
            let request = json!({ "issuerRef": { "name": "a" }, "request": "YQ==" });
            let said = self.refusal::<CertificateRequest>(&self.scene.namespace, &request).await;
            anyhow::ensure!(said.contains("denied the request: spec.request: Invalid value: \"a\""), "{said}");
            Ok::<_, anyhow::Error>(Some(()))
        };
        until("the webhook to answer", PATIENCE, look).await.unwrap();
        let health = format!("http://{}:{HEALTH}/healthz", self.address().ip());
        assert!(plain().get(health).send().await.unwrap().status().is_success());
    }

    /// As tools ask whether the API is ready: by the trial of something that makes sense, until it passes. The API server may
    /// have had its former answers over connections from before another CA.
    async fn probe_passes(&self) {
        let certificate = json!({ "secretName": "a", "issuerRef": { "name": "a" }, "dnsNames": ["a.test"] });
        let request = json!({ "issuerRef": { "name": "a" }, "request": signing_request() });
        let look = async || {
            let said = self.refusal::<Certificate>(&self.scene.namespace, &certificate).await;
            anyhow::ensure!(said.is_empty(), "{said}");
            let said = self.refusal::<CertificateRequest>(&self.scene.namespace, &request).await;
            anyhow::ensure!(said.is_empty(), "{said}");
            Ok::<_, anyhow::Error>(Some(()))
        };
        until("the trials to pass", PATIENCE, look).await.unwrap();
    }

    async fn refuses_what_the_definitions_let_through(&self) {
        let namespace = &self.scene.namespace;
        let request = json!({ "issuerRef": { "name": "a" }, "request": "YQ==" });
        let said = self.refusal::<CertificateRequest>(namespace, &request).await;
        assert!(
            said.contains("webhook.cert-manager.io\" denied the request: spec.request: Invalid value: \"a\""),
            "{said}"
        );
        let windows = json!([{ "cron": "61 * * * *", "windowDuration": "1h", "timezone": "Mars/Olympus" }]);
        let certificate = json!({
            "secretName": "a", "issuerRef": { "name": "a" }, "dnsNames": ["a.test"],
            "renewal": { "policy": "RenewBefore", "windows": windows },
        });
        let said = self.refusal::<Certificate>(namespace, &certificate).await;
        assert!(said.contains("[spec.renewal.windows[0].cron: Invalid value"), "{said}");
        assert!(said.contains("spec.renewal.windows[0].timezone: Invalid value: \"Mars/Olympus\""), "{said}");
        let issuer = json!({ "acme": { "server": "s", "privateKeySecretRef": { "name": "a" }, "caBundle": "YQ==" } });
        let said = self.refusal::<Issuer>(namespace, &issuer).await;
        assert!(said.contains("spec.acme.caBundle: Invalid value"), "{said}");

        // Of kinds that nobody serves nobody can be an approver.
        let unknown = json!({ "name": "a", "kind": "Unknown", "group": "nobody.test" });
        let spec = json!({ "issuerRef": unknown, "request": signing_request() });
        self.scene.create::<CertificateRequest>("unknown", spec).await.unwrap();
        let condition = json!({
            "type": "Approved", "status": "True", "reason": "Test", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z",
        });
        let patch = Patch::Merge(json!({ "status": { "conditions": [condition] } }));
        let requests = self.scene.api::<CertificateRequest>();
        let answer = requests.patch_status("unknown", &PatchParams::default(), &patch).await.unwrap_err();
        let said = message(answer);
        assert!(said.contains("spec.issuerRef: Forbidden: referenced signer resource does not exist"), "{said}");
    }

    async fn tells_what_it_did(&self) {
        let url = format!("http://{}:{METRICS}/metrics", self.address().ip());
        let page = plain().get(url).send().await.unwrap().text().await.unwrap();
        for series in [
            "controller_runtime_webhook_requests_total{webhook=\"/validate\",code=\"200\"} ",
            "controller_runtime_webhook_requests_total{webhook=\"/validate\",code=\"413\"} ",
            "controller_runtime_webhook_latency_seconds_count{webhook=\"/mutate\"} ",
            "certwright_webhook_refusals_total{resource=\"certificates\"} ",
            "certwright_build_info{",
        ] {
            assert!(page.contains(&format!("\n{series}")), "{series}\n{page}");
        }
    }

    /// With a certificate from files, and only for who has one of the right CA and name.
    async fn verifies_clients(&self) {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (own, other) = (Authority::new(), Authority::new());
        let (certificate, key) = own.certificate(&self.host());
        for (name, text) in [("tls.crt", &certificate), ("tls.key", &key), ("clients.crt", &own.pem())] {
            std::fs::write(path(name), text).unwrap();
        }
        let mut command = self.command(VERIFYING_PORT, VERIFYING_HEALTH, "0").await;
        for (flag, name) in
            [("tls-cert-file", "tls.crt"), ("tls-private-key-file", "tls.key"), ("client-ca-path", "clients.crt")]
        {
            command.arg(format!("--{flag}={}", path(name).display()));
        }
        command.args(["--enable-client-verification", "--client-subject-names=apiserver"]);
        let _process = self.scene.testbed.start("verifying-webhook", command).unwrap();
        let health = format!("http://{}:{VERIFYING_HEALTH}/healthz", self.address().ip());
        let look = async || plain().get(&health).send().await?.error_for_status().map(Some);
        until("the second webhook to be ready", PATIENCE, look).await.unwrap();

        let asked = async |identity: Option<(String, String)>| {
            let ca = reqwest::Certificate::from_pem(own.pem().as_bytes()).unwrap();
            let address = SocketAddr::from((self.address().ip(), VERIFYING_PORT));
            let mut client = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).resolve(&self.host(), address);
            if let Some((certificate, key)) = identity {
                client = client.identity(reqwest::Identity::from_pem((certificate + &key).as_bytes()).unwrap());
            }
            let url = format!("https://{}:{VERIFYING_PORT}/validate", self.host());
            client.build().unwrap().get(url).send().await.map(|answer| answer.status().as_u16())
        };
        assert_eq!(
            asked(Some(own.certificate("apiserver"))).await.unwrap(),
            404,
            "it is answered, that there is no GET"
        );
        assert!(asked(None).await.is_err());
        assert!(asked(Some(own.certificate("another"))).await.is_err());
        assert!(asked(Some(other.certificate("apiserver"))).await.is_err());
    }

    /// The certificate is replaced before it ends.
    async fn renews_its_certificate(&self) {
        let first = self.served().await.unwrap();
        let look = async || self.served().await.map(|served| (served != first).then_some(served));
        let second = until("the next certificate", PATIENCE, look).await.unwrap();
        let end = |der: &[u8]| certwright::pki::ParsedCertificate::from_der(der).unwrap().not_after;
        assert!(end(&second) > end(&first));
    }

    /// What is served at present, as DER.
    async fn served(&self) -> anyhow::Result<Vec<u8>> {
        let secret = self.scene.api::<Secret>().get(&self.secret()).await?;
        let ca = reqwest::Certificate::from_pem(&secret.data.unwrap()["ca.crt"].0)?;
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).tls_info(true);
        let client = client.resolve(&self.host(), self.address()).build()?;
        let answer = client.get(format!("https://{}:{PORT}/", self.host())).send().await?;
        let info = answer.extensions().get::<reqwest::tls::TlsInfo>().unwrap();
        Ok(info.peer_certificate().unwrap().to_vec())
    }

    /// What comes over the wire is bounded, and is an AdmissionReview.
    async fn speaks_to_the_api_server_alone(&self) {
        let secret = self.scene.api::<Secret>().get(&self.secret()).await.unwrap();
        let ca = reqwest::Certificate::from_pem(&secret.data.unwrap()["ca.crt"].0).unwrap();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).add_root_certificate(ca);
        let client = client.resolve(&self.host(), self.address()).build().unwrap();
        let url = |path: &str| format!("https://{}:{PORT}{path}", self.host());
        let post = async |path: &str, body: Vec<u8>| client.post(url(path)).body(body).send().await.unwrap();
        let resource = json!({ "group": "cert-manager.io", "version": "v1", "resource": "certificaterequests" });
        let user = json!({ "username": "jane", "groups": ["a"] });
        let object = json!({ "spec": { "username": "joe", "uid": "7" } });
        let request =
            json!({ "uid": "u", "resource": resource, "operation": "CREATE", "userInfo": user, "object": object });
        let answer = post("/mutate", json!({ "request": request }).to_string().into_bytes()).await;
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let (response, patch) = (&answer["response"], answer["response"]["patch"].as_str().unwrap());
        assert_eq!((&response["uid"], &response["allowed"]), (&json!("u"), &json!(true)), "{answer}");
        let patch: Value = {
            use base64::Engine as _;
            serde_json::from_slice(&base64::engine::general_purpose::STANDARD.decode(patch).unwrap()).unwrap()
        };
        let wanted = json!([
            { "op": "add", "path": "/spec/username", "value": "jane" }, { "op": "remove", "path": "/spec/uid" },
            { "op": "add", "path": "/spec/groups", "value": ["a"] },
        ]);
        assert_eq!(patch, wanted);
        assert_eq!(post("/validate", b"nonsense".to_vec()).await.status(), 400);
        assert_eq!(post("/other", Vec::new()).await.status(), 404);
        assert_eq!(client.get(url("/validate")).send().await.unwrap().status(), 404);
        assert_eq!(post("/validate", vec![b' '; certwright::admission::LONGEST_REVIEW + 1]).await.status(), 413);
    }

    async fn leaves_out_namespaces(&self) {
        let name = self.other();
        let namespace: Namespace = serde_json::from_value(json!({
            "metadata": { "name": name, "labels": { "cert-manager.io/disable-validation": "true" } },
        }))
        .unwrap();
        Api::all(self.scene.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        let request = json!({ "issuerRef": { "name": "a" }, "request": "YQ==" });
        assert_eq!(self.refusal::<CertificateRequest>(&name, &request).await, "");
    }

    async fn spoil(&self, spoil: Spoil) {
        let secrets = self.scene.api::<Secret>();
        let name = self.secret();
        match spoil {
            Spoil::Delete => drop(secrets.delete(&name, &DeleteParams::default()).await.unwrap()),
            Spoil::Break => {
                let change = json!({ "data": { "tls.key": "YQ==" } });
                secrets.patch(&name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
            }
            Spoil::Expire => {
                let (certificate, key) = expired();
                let change = json!({ "stringData": { "tls.crt": certificate, "ca.crt": certificate, "tls.key": key } });
                secrets.patch(&name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
            }
        }
        // It is another one, and usable.
        let look = async || {
            let held = secrets.get_opt(&name).await?;
            let usable = held
                .as_ref()
                .map(|held| certwright::decide::serving::usable(Some(held), jiff::Timestamp::now()).is_ok());
            anyhow::ensure!(usable == Some(true), "it is not usable");
            Ok::<_, anyhow::Error>(Some(()))
        };
        until(&format!("the CA to be made anew after {spoil:?}"), PATIENCE, look).await.unwrap();
    }

    /// Why the trial of an object is refused; empty if it is not.
    async fn refusal<K: Kind + Resource<Scope = NamespaceResourceScope>>(
        &self,
        namespace: &str,
        spec: &Value,
    ) -> String {
        let resource = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.scene.client.clone(), namespace, &resource);
        let object = DynamicObject::new("tried", &resource).data(json!({ "spec": spec }));
        let params = PostParams { dry_run: true, ..PostParams::default() };
        api.create(&params, &object).await.err().map(message).unwrap_or_default()
    }

    async fn clean_up(&self) {
        let (client, params) = (self.scene.client.clone(), DeleteParams::default());
        let _ = Api::<ValidatingWebhookConfiguration>::all(client.clone()).delete(&self.name, &params).await;
        let _ = Api::<MutatingWebhookConfiguration>::all(client).delete(&self.name, &params).await;
    }
}

fn objects(rendered: &str) -> Vec<DynamicObject> {
    serde_yaml::Deserializer::from_str(rendered).map(|document| DynamicObject::deserialize(document).unwrap()).collect()
}

fn message(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

fn plain() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap()
}

/// A signing request in base64.
fn signing_request() -> String {
    use base64::Engine as _;
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    base64::engine::general_purpose::STANDARD.encode(params.serialize_request(&key).unwrap().pem().unwrap())
}

/// A CA for servers and clients.
struct Authority(rcgen::CertifiedIssuer<'static, rcgen::KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for this name, and its key.
    fn certificate(&self, name: &str) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages =
            vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth, rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }
}

/// A CA whose time is over, and its key.
fn expired() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}
