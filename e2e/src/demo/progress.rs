//! Telling how the issuance of Certificates goes, while it goes.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use certwright::api::{Certificate, CertificateRequest, Challenge, ClusterIssuer, Condition, Issuer, Order};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use tokio::time::{Instant, sleep};

/// Between two looks.
const STEP: Duration = Duration::from_millis(200);
/// When nothing changes for this long, what is waited for is said again.
const REMINDER: Duration = Duration::from_secs(5);

/// Prints every change of the issuers, Certificates, CertificateRequests, Orders and Challenges in `namespace` until all
/// Certificates are ready.
///
/// # Errors
/// When they are not after `patience`; the reasons are in the message.
pub async fn follow(client: &Client, namespace: &str, patience: Duration) -> Result<()> {
    let start = Instant::now();
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    let mut last = start;
    loop {
        let seen = look(client, namespace).await?;
        for (object, words) in seen.lines {
            if told.get(&object) != Some(&words) {
                println!("{:7.1} s  {object}: {words}", start.elapsed().as_secs_f32());
                told.insert(object, words);
                last = Instant::now();
            }
        }
        if seen.waiting.is_empty() {
            return Ok(());
        }
        if start.elapsed() > patience {
            bail!("not ready after {} s: {}", patience.as_secs(), seen.waiting.join("; "));
        }
        if last.elapsed() > REMINDER {
            println!("{:7.1} s  still waiting for {}", start.elapsed().as_secs_f32(), seen.waiting.join(", "));
            last = Instant::now();
        }
        sleep(STEP).await;
    }
}

struct Seen {
    /// Object and what it says.
    lines: Vec<(String, String)>,
    /// Certificates that are not ready.
    waiting: Vec<String>,
}

async fn look(client: &Client, namespace: &str) -> Result<Seen> {
    let all = ListParams::default();
    let mut lines = Vec::new();
    let mut waiting = Vec::new();
    for issuer in Api::<ClusterIssuer>::all(client.clone()).list(&all).await? {
        let status = issuer.status.clone().unwrap_or_default();
        push(&mut lines, "ClusterIssuer", &issuer, ready(&status.conditions));
    }
    for issuer in Api::<Issuer>::namespaced(client.clone(), namespace).list(&all).await? {
        let status = issuer.status.clone().unwrap_or_default();
        push(&mut lines, "Issuer", &issuer, ready(&status.conditions));
    }
    for certificate in Api::<Certificate>::namespaced(client.clone(), namespace).list(&all).await? {
        let status = certificate.status.clone().unwrap_or_default();
        if !status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.is_true()) {
            waiting.push(certificate.name_any());
        }
        push(&mut lines, "Certificate", &certificate, ready(&status.conditions));
    }
    for request in Api::<CertificateRequest>::namespaced(client.clone(), namespace).list(&all).await? {
        let status = request.status.clone().unwrap_or_default();
        push(&mut lines, "CertificateRequest", &request, ready(&status.conditions));
    }
    for order in Api::<Order>::namespaced(client.clone(), namespace).list(&all).await? {
        let status = order.status.clone().unwrap_or_default();
        push(&mut lines, "Order", &order, state(status.state, status.reason));
    }
    for challenge in Api::<Challenge>::namespaced(client.clone(), namespace).list(&all).await? {
        let status = challenge.status.clone().unwrap_or_default();
        let words = state(status.state, status.reason);
        let wildcard = if challenge.spec.wildcard { "*." } else { "" };
        let what = format!("{} for {wildcard}{}", challenge.spec.type_, challenge.spec.dns_name);
        push(&mut lines, "Challenge", &challenge, words.map(|words| format!("{what}: {words}")));
    }
    Ok(Seen { lines, waiting })
}

fn push(lines: &mut Vec<(String, String)>, kind: &str, object: &impl ResourceExt, words: Option<String>) {
    if let Some(words) = words {
        lines.push((format!("{kind} {}", object.name_any()), words));
    }
}

fn ready(conditions: &[Condition]) -> Option<String> {
    let condition = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    let message = condition.message.as_deref().unwrap_or_default();
    Some(if condition.is_true() { format!("ready. {message}") } else { format!("not ready yet. {message}") })
}

fn state(state: Option<String>, reason: Option<String>) -> Option<String> {
    let state = state?;
    Some(match reason.filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("{state}. {reason}"),
        None => state,
    })
}
