//! acme-dns.

#[path = "acme_dns/vendor.rs"]
mod vendor;

use std::sync::Arc;

use certwright_e2e::dns::update;
use certwright_e2e::stand_in::{Answer, Failure, Zone};
use serde_json::json;

use self::vendor::{AcmeDns, PASSWORD, SUBDOMAIN, USERNAME};
use crate::stage::{AGAIN, Stage, testbed};

const SECRET: &str = "acme-dns";

struct Delegated {
    stage: Stage,
    vendor: Arc<AcmeDns>,
}

impl Delegated {
    /// A stage whose account is for `domain` and what is below it.
    async fn new(domain: &str, zone: &str, password: &str) -> Self {
        let testbed = testbed();
        let vendor = Arc::new(AcmeDns::new(Zone::new(testbed.state.dns().unwrap(), zone)));
        let stage = Stage::without_endpoint(&testbed, "acme-dns", vendor.clone()).await;
        let stage = Self { stage, vendor };
        stage.put_account(domain, password).await;
        for (name, strategy) in [("none", "None"), ("follow", "Follow")] {
            let account = json!({ "name": SECRET, "key": "accounts.json" });
            let settings = json!({ "host": stage.stage.stand_in.url(), "accountSecretRef": account });
            stage.stage.issuer(name, json!({ "cnameStrategy": strategy, "acmeDNS": settings })).await;
        }
        stage
    }

    async fn put_account(&self, domain: &str, password: &str) {
        let account = json!({
            "username": USERNAME, "password": password, "subdomain": SUBDOMAIN, "fulldomain": self.vendor.full_domain(),
            "allowfrom": [],
        });
        let accounts = json!({ domain: account }).to_string();
        self.stage.scene.put_secret(SECRET, "accounts.json", &accounts).await.unwrap();
    }

    /// Has the challenges of a name answered elsewhere.
    fn delegate(&self, name: &str, target: &str) {
        let challenges = format!("_acme-challenge.{name}");
        let lines = [format!("delete {challenges}. CNAME"), format!("add {challenges}. 1 CNAME {target}.")];
        update(self.stage.scene.testbed.state.dns().unwrap(), &lines).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn three_values_share_the_two_places_of_an_account() {
    let apex = "acme-dns.certwright.test";
    let delegated = Delegated::new(apex, "auth.certwright.test", PASSWORD).await;
    let target = delegated.vendor.full_domain();
    let (wildcard, www) = (format!("*.{apex}"), format!("www.{apex}"));
    delegated.delegate(apex, &target);
    delegated.delegate(&www, &target);
    delegated.stage.issue("none", "none", &[apex, &wildcard, &www]).await;
    delegated.stage.no_challenge_is_left().await;
    delegated.stage.issue("follow", "follow", &[apex, &wildcard]).await;
    delegated.stage.no_challenge_is_left().await;
    delegated.stage.is_clean(&[PASSWORD]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs inside a testbed"]
async fn what_fails_is_said_and_overcome() {
    let apex = "acme-dns-fails.certwright.test";
    let delegated = Delegated::new(apex, "auth-fails.certwright.test", "not-the-password").await;
    let (stage, target) = (&delegated.stage, delegated.vendor.full_domain());

    stage.scene.certificate("wrong", "none", &[apex]).await.unwrap();
    stage
        .challenge_says(&format!("_acme-challenge.{apex} has no CNAME record: create one to {target}, for that is"))
        .await;
    delegated.delegate(apex, "elsewhere.certwright.test");
    stage
        .challenge_says(&format!("the CNAME record of _acme-challenge.{apex} leads to elsewhere.certwright.test, but"))
        .await;
    delegated.delegate(apex, &target);
    stage
        .challenge_says(&format!(
            "acme-dns answered 401 Unauthorized when asked to set the value for _acme-challenge.{apex}: forbidden"
        ))
        .await;
    delegated.put_account(apex, PASSWORD).await;
    stage.issued("wrong", &[apex]).await;

    let answered = |status: &str| format!("acme-dns answered {status} when asked to set the value for _acme-");
    let cases = [
        (Failure::Answer(Answer::page(502)), answered("502 Bad Gateway")),
        (Failure::Answer(Answer::empty(429).with("retry-after", "8")), answered("429 Too Many Requests")),
        (Failure::Cut, "acme-dns broke off when asked to set the value for _acme-".to_owned()),
    ];
    for (number, (failure, sentence)) in cases.iter().enumerate() {
        let (certificate, name) = (format!("case-{number}"), format!("case-{number}.{apex}"));
        delegated.delegate(&name, &target);
        stage.stand_in.fail_next(AGAIN, failure);
        stage.scene.certificate(&certificate, "none", &[&name]).await.unwrap();
        stage.challenge_says(sentence).await;
        stage.stand_in.recover();
        stage.issued(&certificate, &[&name]).await;
    }

    stage.scene.certificate("nobody", "none", &["www.other.test"]).await.unwrap();
    stage.challenge_says("there is no acme-dns account for www.other.test or a domain above it in the Secret").await;
    stage.is_clean(&[PASSWORD]);
}
