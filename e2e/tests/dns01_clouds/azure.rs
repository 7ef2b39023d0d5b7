//! Azure DNS.

#[path = "azure/vendor.rs"]
mod vendor;

use std::sync::Arc;

use certwright_e2e::Testbed;
use certwright_e2e::stand_in::{Answer, Failure, Zone};
use serde_json::{Value, json};

use self::vendor::{Azure, CLIENT, CLIENT_SECRET, FEDERATED_TOKEN, GROUP, SUBSCRIPTION, TENANT, TOKEN, failure};
use crate::stage::{FOREIGN, Stage, testbed};

const APEX: &str = "azure.certwright.test";
const SERVICES: [(&str, &str); 2] = [("azure-login", ""), ("azure-resource-manager", "")];

fn zones(testbed: &Testbed) -> (Arc<Zone>, Arc<Azure>) {
    let dns = testbed.state.dns().unwrap();
    let zone = Arc::new(Zone::new(dns, APEX));
    let vendor = Azure::new(vec![Arc::new(Zone::new(dns, "certwright.test")), zone.clone()]);
    (zone, Arc::new(vendor))
}

fn solver(more: &Value) -> Value {
    let mut settings = json!({ "subscriptionID": SUBSCRIPTION, "resourceGroupName": GROUP });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "azureDNS": settings })
}

fn with_secret(secret: &str) -> Value {
    let selector = json!({ "name": secret, "key": "secret" });
    solver(&json!({ "clientID": CLIENT, "tenantID": TENANT, "clientSecretSecretRef": selector }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn apex_and_wildcard_by_secret_and_by_managed_identity() {
    let testbed = testbed();
    let (zone, vendor) = zones(&testbed);
    let environment = |host: &str| vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", format!("http://{host}"))];
    let stage = Stage::new(&testbed, &SERVICES, vendor, environment).await;
    let wildcard = format!("*.{APEX}");
    let names = [APEX, &wildcard];
    zone.add(&format!("_acme-challenge.{APEX}"), FOREIGN, 300).unwrap();

    stage.scene.put_secret("login", "secret", CLIENT_SECRET).await.unwrap();
    stage.issuer("secret", with_secret("login")).await;
    stage.issue("secret", "secret", &names).await;
    stage.cleaned_up(&zone, APEX, &[FOREIGN]).await;
    stage.counts([("/oauth2/v2.0/token", 1)]);

    let identity = json!({ "hostedZoneName": APEX, "managedIdentity": { "clientID": CLIENT } });
    stage.issuer("managed", solver(&identity)).await;
    stage.issue("managed", "managed", &names).await;
    stage.cleaned_up(&zone, APEX, &[FOREIGN]).await;
    stage.counts([("/oauth2/v2.0/token", 1), ("GET /metadata/identity/", 1)]);
    stage.is_clean(&[TOKEN, CLIENT_SECRET]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn a_workload_identity_writes_to_a_private_zone() {
    let testbed = testbed();
    let (zone, vendor) = zones(&testbed);
    let file = testbed.state.folder.join("azure-token");
    std::fs::write(&file, format!("{FEDERATED_TOKEN}\n")).unwrap();
    let environment = |_: &str| {
        vec![
            ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap().to_owned()),
            ("AZURE_CLIENT_ID", CLIENT.to_owned()),
            ("AZURE_TENANT_ID", TENANT.to_owned()),
            ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/".to_owned()),
        ]
    };
    let stage = Stage::new(&testbed, &SERVICES, vendor, environment).await;
    let name = format!("private.{APEX}");
    stage.issuer("workload", solver(&json!({ "zoneType": "AzurePrivateZone" }))).await;
    stage.issue("workload", "workload", &[&name]).await;
    stage.cleaned_up(&zone, &name, &[]).await;
    stage.counts([("PUT", 1), ("/privateDnsZones/", 3), ("/dnsZones", 0)]);
    stage.is_clean(&[TOKEN, FEDERATED_TOKEN]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_fails_is_said_and_overcome() {
    let testbed = testbed();
    let (zone, vendor) = zones(&testbed);
    let stage = Stage::new(&testbed, &SERVICES, vendor, |_| Vec::new()).await;
    let name = format!("www.{APEX}");
    stage.scene.put_secret("login", "secret", "somebody else's").await.unwrap();
    stage.issuer("secret", with_secret("login")).await;
    stage.scene.certificate("wrong", "secret", &[&name]).await.unwrap();
    let refused = "Microsoft Entra ID answered 401 Unauthorized when asked to give an access token: invalid_client, \
                   AADSTS7000215: Invalid client secret provided.";
    stage.challenge_says(refused).await;
    stage.scene.put_secret("login", "secret", CLIENT_SECRET).await.unwrap();
    stage.issued("wrong", &[&name]).await;
    stage.cleaned_up(&zone, &name, &[]).await;

    let denied = failure(403, "AuthorizationFailed", "The client 'c' does not have authorization");
    stage.stand_in.fail_next(1, &Failure::Answer(denied));
    stage.scene.certificate("denied", "secret", &[&format!("a.{APEX}")]).await.unwrap();
    let doing = format!("when asked to change the TXT records of _acme-challenge.a.{APEX}");
    stage.challenge_says(&format!("Azure DNS answered 403 Forbidden {doing}: AuthorizationFailed, The client")).await;
    // A changed Secret is tried at once; what was put right elsewhere only after ten minutes.
    stage.scene.put_secret("login", "touched", "yes").await.unwrap();
    stage.issued("denied", &[&format!("a.{APEX}")]).await;

    let too_many = failure(429, "TooManyRequests", "throttled").with("retry-after", "8");
    stage.stand_in.fail_next(1, &Failure::Answer(too_many));
    stage.stand_in.fail_next(1, &Failure::Answer(Answer::page(502)));
    stage.issue("limited", "secret", &[&format!("b.{APEX}")]).await;
    stage.is_clean(&[TOKEN, CLIENT_SECRET]);
}
