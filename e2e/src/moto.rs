//! AWS as moto stands in for it: Route 53, IAM and STS, which verify signatures, rights and trust. moto serves no DNS, so its
//! hosted zone is copied into the testbed's DNS servers.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use certwright::cloud::aws::Credentials;
use certwright::cloud::aws::signature::{Scope, escaped, sign};
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;

use crate::process::Process;
use crate::state::Dns;
use crate::testbed::Testbed;
use crate::wait::until_ready;
use crate::{dns, port, wheel};

const SERVER: &str = include_str!("moto.py");
/// On a busy machine Python takes long to read all of it, and several tests start theirs at the same time.
const READY: Duration = Duration::from_mins(3);
const BETWEEN_COPIES: Duration = Duration::from_millis(100);

/// The rights that cert-manager's documentation asks for, which are all that certwright may need. moto knows no resources.
const RIGHTS: &str = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*", "Action":
    ["route53:GetChange", "route53:ChangeResourceRecordSets", "route53:ListResourceRecordSets",
     "route53:ListHostedZonesByName"]}]}"#;
const MAY_ASSUME: &str =
    r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*", "Action": "sts:AssumeRole"}]}"#;
const ALL_RIGHTS: &str =
    r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*", "Action": "*"}]}"#;

/// A moto of one's own, with one public hosted zone for the first of the testbed's zones. Dropping it ends it.
pub struct Moto {
    pub url: String,
    /// The id of the hosted zone.
    pub zone: String,
    process: Process,
    caller: Caller,
    copier: JoinHandle<()>,
}

/// Who signs requests to moto.
#[derive(Clone)]
struct Caller {
    http: Client,
    url: String,
    credentials: Credentials,
}

impl Moto {
    /// Starts it and makes the zone. Every request has to be signed after that.
    pub async fn start(testbed: &Testbed) -> Result<Self> {
        let address = port::for_a_program()?;
        let mut process = testbed.start("moto", command(address)?)?;
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(20)).build()?;
        let url = format!("http://{address}");
        let look = async || http.get(format!("{url}/moto-api/")).send().await?.error_for_status().map(drop);
        until_ready(&mut process, "moto", READY, look).await?;
        let nobody = Caller { http, url: url.clone(), credentials: Credentials::lasting("AKIANOBODY", "none") };
        let credentials = nobody.user("administrator", ALL_RIGHTS).await?;
        let caller = Caller { credentials, ..nobody };
        let dns = testbed.state.dns()?.clone();
        let name = dns.zones.first().context("the testbed has no zone")?.clone();
        let zone = caller.create_zone(&name).await?;
        caller.verify_signatures().await?;
        let copier = tokio::spawn(copy(caller.clone(), zone.clone(), dns));
        Ok(Self { url, zone, process, caller, copier })
    }

    /// A new user who may change the zone.
    pub async fn user(&self, name: &str) -> Result<Credentials> {
        self.caller.user(name, RIGHTS).await
    }

    /// A new user who may do nothing but take on roles.
    pub async fn user_without_rights(&self, name: &str) -> Result<Credentials> {
        self.caller.user(name, MAY_ASSUME).await
    }

    /// A new role that may change the zone, for everybody who names the external id if there is one. Gives its ARN.
    pub async fn role(&self, name: &str, external_id: Option<&str>) -> Result<String> {
        let condition =
            external_id.map(|id| format!(r#", "Condition": {{"StringEquals": {{"sts:ExternalId": "{id}"}}}}"#));
        let trust = format!(
            r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Principal": {{"AWS": "*"}},
                "Action": "sts:AssumeRole"{}}}]}}"#,
            condition.unwrap_or_default()
        );
        let parameters = [("RoleName", name), ("AssumeRolePolicyDocument", &trust)];
        let answer = self.caller.query("iam", "2010-05-08", "CreateRole", &parameters).await?;
        let parameters = [("RoleName", name), ("PolicyName", "dns"), ("PolicyDocument", RIGHTS)];
        self.caller.query("iam", "2010-05-08", "PutRolePolicy", &parameters).await?;
        element(&answer, "Arn")
    }

    /// What STS gives out for a role: access key id, secret access key and session token.
    pub async fn session(&self, role: &str) -> Result<[String; 3]> {
        let parameters = [("RoleArn", role), ("RoleSessionName", "test")];
        let answer = self.caller.query("sts", "2011-06-15", "AssumeRole", &parameters).await?;
        Ok([element(&answer, "AccessKeyId")?, element(&answer, "SecretAccessKey")?, element(&answer, "SessionToken")?])
    }

    /// The TXT records of the zone, as `NAME VALUE`.
    pub async fn records(&self) -> Result<BTreeSet<String>> {
        self.caller.records(&self.zone).await
    }

    /// Adds a plain set of TXT values, as somebody else would.
    pub async fn put_plain(&self, name: &str, value: &str) -> Result<()> {
        let body = format!(
            "<ChangeResourceRecordSetsRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeBatch><Changes>\
             <Change><Action>CREATE</Action><ResourceRecordSet><Name>{name}</Name><Type>TXT</Type><TTL>60</TTL>\
             <ResourceRecords><ResourceRecord><Value>\"{value}\"</Value></ResourceRecord></ResourceRecords>\
             </ResourceRecordSet></Change></Changes></ChangeBatch></ChangeResourceRecordSetsRequest>"
        );
        let path = format!("/2013-04-01/hostedzone/{}/rrset/", self.zone);
        self.caller.send("route53", Method::POST, &path, Some(("application/xml", body))).await.map(drop)
    }

    /// What it printed: a line for each request.
    pub fn log(&self) -> Result<String> {
        self.process.read_log()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.copier.abort();
    }
}

impl Caller {
    async fn user(&self, name: &str, rights: &str) -> Result<Credentials> {
        self.query("iam", "2010-05-08", "CreateUser", &[("UserName", name)]).await?;
        let parameters = [("UserName", name), ("PolicyName", "rights"), ("PolicyDocument", rights)];
        self.query("iam", "2010-05-08", "PutUserPolicy", &parameters).await?;
        let answer = self.query("iam", "2010-05-08", "CreateAccessKey", &[("UserName", name)]).await?;
        Ok(Credentials::lasting(&element(&answer, "AccessKeyId")?, &element(&answer, "SecretAccessKey")?))
    }

    async fn create_zone(&self, name: &str) -> Result<String> {
        let body = format!(
            "<CreateHostedZoneRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><Name>{name}</Name>\
             <CallerReference>testbed</CallerReference></CreateHostedZoneRequest>"
        );
        let path = "/2013-04-01/hostedzone";
        let answer = self.send("route53", Method::POST, path, Some(("application/xml", body))).await?;
        Ok(element(&answer, "Id")?.trim_start_matches("/hostedzone/").to_owned())
    }

    async fn verify_signatures(&self) -> Result<()> {
        let url = format!("{}/moto-api/reset-auth", self.url);
        self.http.post(url).body("0").send().await?.error_for_status()?;
        let impostor =
            Self { credentials: Credentials::lasting(&self.credentials.access_key_id, "wrong"), ..self.clone() };
        if impostor.send("route53", Method::GET, "/2013-04-01/hostedzonesbyname?maxitems=1", None).await.is_ok() {
            bail!("moto takes wrong signatures");
        }
        Ok(())
    }

    async fn records(&self, zone: &str) -> Result<BTreeSet<String>> {
        let text = self.send("route53", Method::GET, &format!("/2013-04-01/hostedzone/{zone}/rrset"), None).await?;
        let mut records = BTreeSet::new();
        for set in text.split("<ResourceRecordSet>").skip(1).filter(|set| set.contains("<Type>TXT</Type>")) {
            let name = element(set, "Name")?;
            for value in set.split("<Value>").skip(1) {
                let value = value.split('<').next().unwrap_or_default().replace("&quot;", "\"");
                records.insert(format!("{} {value}", name.trim_end_matches('.')));
            }
        }
        Ok(records)
    }

    /// An action of IAM or STS.
    async fn query(&self, service: &str, version: &str, action: &str, parameters: &[(&str, &str)]) -> Result<String> {
        let all = [("Action", action), ("Version", version)].into_iter().chain(parameters.iter().copied());
        let pairs: Vec<String> = all.map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        // moto writes the form anew before it verifies the signature, and writes spaces like this.
        let body = Some(("application/x-www-form-urlencoded", pairs.join("&").replace("%20", "+")));
        self.send(service, Method::POST, "/", body).await
    }

    async fn send(&self, service: &str, method: Method, path: &str, body: Option<(&str, String)>) -> Result<String> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some((kind, body)) = body {
            request = request.header(CONTENT_TYPE, kind).body(body);
        }
        let mut request = request.build()?;
        sign(&mut request, &self.credentials, Scope { region: "us-east-1", service }, Timestamp::now())?;
        let answer = self.http.execute(request).await?;
        let (status, text) = (answer.status(), answer.text().await?);
        if !status.is_success() {
            bail!("moto answers {status} to {path}: {text}");
        }
        Ok(text)
    }
}

/// Copies the TXT records of the hosted zone into the zone that is served, for ever.
async fn copy(caller: Caller, zone: String, dns: Dns) {
    let mut copied = BTreeSet::new();
    loop {
        if let Ok(records) = caller.records(&zone).await {
            let lines: Vec<String> = records
                .difference(&copied)
                .map(|record| line("add", record))
                .chain(copied.difference(&records).map(|record| line("delete", record)))
                .collect();
            let dns = dns.clone();
            match spawn_blocking(move || if lines.is_empty() { Ok(()) } else { dns::update(&dns, &lines) }).await {
                Ok(Ok(())) => copied = records,
                outcome => eprintln!("copying the hosted zone: {outcome:?}"),
            }
        }
        sleep(BETWEEN_COPIES).await;
    }
}

/// One of nsupdate's lines.
fn line(action: &str, record: &str) -> String {
    let (name, value) = record.split_once(' ').unwrap_or((record, "\"\""));
    let ttl = if action == "add" { " 10" } else { "" };
    format!("{action} {name}{ttl} TXT {value}")
}

fn command(address: SocketAddr) -> Result<Command> {
    let mut command = Command::new("python3");
    command.args(["-c", SERVER, &address.ip().to_string(), &address.port().to_string()]);
    // It looks for credentials of its own and for proxies.
    command
        .env("PYTHONPATH", wheel::MOTO.path()?)
        .env("AWS_ACCESS_KEY_ID", "none")
        .env("AWS_SECRET_ACCESS_KEY", "none");
    Ok(command)
}

/// The text of the first element of this name.
fn element(text: &str, name: &str) -> Result<String> {
    let (_, rest) = text.split_once(&format!("<{name}>")).with_context(|| format!("no {name} in {text}"))?;
    Ok(rest.split('<').next().unwrap_or_default().to_owned())
}
