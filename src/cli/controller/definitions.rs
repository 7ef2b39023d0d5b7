//! Waiting until the cluster serves what is to be watched.

use std::time::Duration;

use kube::{Api, Client, api::ListParams};

use crate::{
    api::{Certificate, Order},
    cluster::{Namespaces, with_causes},
};

/// Between two looks. What is installed in the same second is there after one or two.
const STEP: Duration = Duration::from_millis(500);
const LONGEST_STEP: Duration = Duration::from_secs(10);

/// Waits until Certificates and Orders are served and may be listed, and says meanwhile what is missing. The definitions are
/// often applied in the same moment as the controller; rights, or an API server that is away, come later as well.
pub(super) async fn wait(client: &Client, namespaces: &Namespaces) {
    let (mut step, mut told) = (STEP, String::new());
    while let Some(problem) = problem(client, namespaces).await {
        if told != problem {
            tracing::warn!("{problem}; waiting for it");
            told = problem;
        }
        tokio::time::sleep(step).await;
        step = (step * 3 / 2).min(LONGEST_STEP);
    }
}

/// Whether the API server says that it does not serve them; it may as well be away, or refuse to tell.
pub(super) async fn are_missing(client: &Client, namespaces: &Namespaces) -> bool {
    obstacle(client, namespaces).await.is_some_and(|error| is_not_served(&error))
}

async fn problem(client: &Client, namespaces: &Namespaces) -> Option<String> {
    obstacle(client, namespaces).await.map(|error| in_words(&error))
}

/// One question for each group tells whether the kinds are served at all.
async fn obstacle(client: &Client, namespaces: &Namespaces) -> Option<kube::Error> {
    let params = ListParams::default().limit(1);
    let certificates: Api<Certificate> = namespaces.any_api(client);
    let orders: Api<Order> = namespaces.any_api(client);
    let answers = tokio::join!(certificates.list_metadata(&params), orders.list_metadata(&params));
    answers.0.err().or(answers.1.err())
}

fn is_not_served(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// What is wrong and what to do.
fn in_words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 404 => format!(
            "the CustomResourceDefinitions are not installed ({}); install them with: certwright crds | kubectl apply -f -",
            status.message
        ),
        kube::Error::Api(status) if status.code == 403 => format!(
            "the controller may not do its work ({}); give it the rights of the chart or of deploy/rbac.yaml",
            status.message
        ),
        other => format!("cannot reach the Kubernetes API: {}", with_causes(other)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_problem_is_told_with_what_to_do() {
        let told = |code: u16| {
            let status = kube::core::Status { code, message: "no".into(), ..kube::core::Status::default() };
            in_words(&kube::Error::Api(Box::new(status)))
        };
        assert!(told(404).contains("certwright crds | kubectl apply -f -"), "{}", told(404));
        assert!(told(403).contains("deploy/rbac.yaml"), "{}", told(403));
        assert!(told(503).starts_with("cannot reach the Kubernetes API"), "{}", told(503));
    }
}
