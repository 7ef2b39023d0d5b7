//! Each source against a stand-in for who gives the credentials out.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use tokio::net::TcpListener;

use super::*;

/// `METHOD PATH`, the header that matters, the body.
type Seen = Arc<Mutex<Vec<(String, String, String)>>>;

const GIVEN: &str = r#"{"Code": "Success", "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "secret", "Token": "session",
    "Expiration": "2124-05-25T11:45:17Z", "AccountId": "123456789012"}"#;

const ASSUMED: &str = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAEXAMPLE\
     </AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>session</SessionToken>\
     <Expiration>2124-05-25T11:45:17Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>\
     </AssumeRoleWithWebIdentityResponse>";

async fn answer(
    State(seen): State<Seen>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    let request = format!("{method} {}", uri.path());
    let names = ["authorization", "x-aws-ec2-metadata-token-ttl-seconds", "x-aws-ec2-metadata-token"];
    let header = names.iter().find_map(|name| headers.get(*name)).map(|value| value.to_str().unwrap().to_owned());
    let header = header.unwrap_or_default();
    let body = String::from_utf8(body.to_vec()).unwrap();
    seen.lock().unwrap().push((request.clone(), header.clone(), body));
    match (request.as_str(), header.as_str()) {
        ("PUT /latest/api/token", "60") => (StatusCode::OK, "imds-session"),
        ("GET /latest/meta-data/iam/security-credentials/", "imds-session") => (StatusCode::OK, "node-role\n"),
        ("GET /latest/meta-data/iam/security-credentials/node-role", "imds-session")
        | ("GET /v1/credentials", "pod-token") => (StatusCode::OK, GIVEN),
        ("POST /", "") => (StatusCode::OK, ASSUMED),
        _ => (StatusCode::UNAUTHORIZED, "no"),
    }
}

async fn stand_in() -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), Seen::default());
    let router = Router::new().fallback(answer).with_state(Arc::clone(&seen));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, seen)
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn load(environment: &Environment, sts: SocketAddr) -> Result<Credentials, CredentialsError> {
    let mut endpoint = Region::default().sts();
    endpoint.url = format!("http://{sts}");
    environment.source(Sts { http: Client::new(), endpoint })?.load().await
}

fn session() -> Credentials {
    Credentials {
        session_token: Some("session".to_owned()),
        end: Some("2124-05-25T11:45:17Z".parse().unwrap()),
        ..Credentials::lasting("ASIAEXAMPLE", "secret")
    }
}

#[tokio::test]
async fn keys_go_before_all_else() {
    let (address, seen) = stand_in().await;
    let mut variables = vec![
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret\n"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere"),
    ];
    let expected = Credentials::lasting("AKIDEXAMPLE", "secret");
    assert_eq!(load(&environment(&variables), address).await.unwrap(), expected);
    variables.push(("AWS_SESSION_TOKEN", "token"));
    let expected = Credentials { session_token: Some("token".to_owned()), ..expected };
    assert_eq!(load(&environment(&variables), address).await.unwrap(), expected);
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn iam_roles_for_service_accounts() {
    let (address, seen) = stand_in().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "a.b-c\n").unwrap();
    let environment = environment(&[
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/dns"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/"),
    ]);
    assert_eq!(load(&environment, address).await.unwrap(), session());
    let body = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fdns&\
                RoleSessionName=cert-manager&WebIdentityToken=a.b-c";
    assert_eq!(seen.lock().unwrap()[0].2, body);
}

#[tokio::test]
async fn half_of_what_a_role_needs_is_told() {
    let (address, _) = stand_in().await;
    let error = load(&environment(&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/token")]), address).await.unwrap_err();
    assert!(error.to_string().contains("but not AWS_ROLE_ARN"), "{error}");
}

#[tokio::test]
async fn eks_pod_identity() {
    let (address, seen) = stand_in().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "pod-token").unwrap();
    let url = format!("http://{address}/v1/credentials");
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file.to_str().unwrap()),
    ];
    assert_eq!(load(&environment(&variables), address).await.unwrap(), session());
    std::fs::write(&file, "an old token").unwrap();
    let error = load(&environment(&variables), address).await.unwrap_err();
    let message =
        "The agent that gives AWS credentials to containers answered 401 Unauthorized when asked for credentials";
    assert_eq!(error, CredentialsError::Refused(message.to_owned()));
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn the_instance_is_asked_last_and_with_a_session() {
    let (address, seen) = stand_in().await;
    let base = format!("http://{address}/");
    let mut variables = vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", base.as_str())];
    assert_eq!(load(&environment(&variables), address).await.unwrap(), session());
    assert_eq!(seen.lock().unwrap().len(), 3);
    variables.push(("AWS_EC2_METADATA_DISABLED", "true"));
    assert!(matches!(load(&environment(&variables), address).await, Err(CredentialsError::Refused(_))));
}

#[tokio::test]
async fn no_source_at_all_is_told() {
    let environment = environment(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")]);
    let error = load(&environment, "127.0.0.1:1".parse().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("names no other source of AWS credentials"), "{error}");
}

#[test]
fn regions_and_addresses() {
    let both =
        environment(&[("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "eu-west-1"), ("AWS_ENDPOINT_URL_STS", "http://a")]);
    assert_eq!(both.region().unwrap(), Region::new("eu-west-1").unwrap());
    assert_eq!(both.endpoint("STS").as_deref(), Some("http://a"));
    assert_eq!(both.endpoint("ROUTE_53"), None);
    assert!(environment(&[]).region().unwrap().is_none());
}
