//! `certwright wind-down`: what is to be done before certwright is uninstalled.

use std::{str::FromStr, sync::Arc, time::Duration};

use clap::Args;
use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use tokio::{sync::watch, task::JoinSet, time::timeout};

use super::{
    ControllerArgs, ControllerError, Signals, connect, definitions, durations::window, maker, wait_until_filled,
};
use crate::{
    cluster::{ApiError, Cluster, Hub, ObjectName, Recorder},
    controller::{self, AskedFor, Context, Contexts, Leadership, wind_down::WindDown},
    decide::shard::Share,
    pki::pem,
};

/// For each thing that the API server is asked before the work begins.
const LONGEST_START: Duration = Duration::from_secs(30);

/// For the first lists of all kinds.
const LONGEST_LISTS: Duration = Duration::from_mins(1);

/// For one call that is not made within a pass.
const LONGEST_CALL: Duration = Duration::from_secs(15);

/// For the events at the end.
const LONGEST_FAREWELL: Duration = Duration::from_secs(3);

/// The flags of the controller, with the same values, and two more.
#[derive(Args, Clone, Debug)]
pub struct WindDownArgs {
    /// The controller's Deployment, which is scaled to zero first. Without it the controller is to be stopped by other means.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    deployment: Option<DeploymentName>,
    /// How long cleaning up may take. What is left then is named in events.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = window)]
    clean_up_timeout: SignedDuration,
    #[command(flatten)]
    pub(in crate::cli) controller: ControllerArgs,
}

/// Where a Deployment lies, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DeploymentName(ObjectName);

impl FromStr for DeploymentName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
        let (namespace, name) = parts.ok_or("it is not of the form NAMESPACE/NAME")?;
        Ok(Self(ObjectName { namespace: namespace.to_owned(), name: name.to_owned() }))
    }
}

/// Why not everything was brought to its end.
#[derive(Debug, thiserror::Error)]
pub enum WindDownError {
    #[error(transparent)]
    Controller(#[from] ControllerError),
    #[error("cannot scale the Deployment {0} to zero, so its controller goes on working: {1}")]
    Scale(ObjectName, String),
    #[error("finalizers are left on Challenges or Certificates: {0}")]
    Left(#[from] ApiError),
    #[error("not all objects could be read within {0:?}, so nothing was taken back; try it again")]
    Unseen(Duration),
    #[error("it was told to stop before everything was taken back")]
    Interrupted,
}

/// Stops the controller, takes its place, cleans up, and gives everything back. What cannot be done within the time is named in
/// the log; that another controller works, or that the definitions are gone, leaves nothing to do.
pub async fn run(args: WindDownArgs) -> Result<(), WindDownError> {
    let mut signals = Signals::heeded().map_err(ControllerError::from)?;
    let flags = &args.controller;
    let _level = flags.serving.start_log();
    pem::set_limits(flags.sizes.limits()?);
    let leadership = Leadership::new(flags.leader_election.election()?);
    let (client, api_server_ca) = connect(flags.cluster.kubeconfig.as_ref(), flags.cluster.master.as_deref()).await?;
    if let Some(DeploymentName(deployment)) = &args.deployment {
        scale_to_zero(&client, deployment).await?;
    }
    let (recorder, sender) = Recorder::start(client.clone());
    let hub = Arc::new(Hub::of(flags.cluster.namespaces()));
    let cluster = Cluster::new(client.clone(), hub.clone(), recorder.clone());
    let filled = tokio::select! {
        filled = fill(&client, &hub, &recorder) => filled,
        () = signals.one() => return Err(WindDownError::Interrupted),
    };
    let Some(watches) = filled? else {
        tracing::warn!("the kinds of cert-manager.io are not served, so nothing is wound down");
        return Ok(());
    };
    let make = maker(flags, cluster.clone(), api_server_ca, (Contexts::default(), AskedFor::default()), true)?;
    let outcome = Box::pin(take_over(&args, &client, cluster, leadership, make, signals)).await;
    drop((watches, recorder));
    // The events that tell what is left.
    let _ = timeout(LONGEST_FAREWELL, sender).await;
    outcome
}

/// Takes the controller's place until nothing is left to do.
async fn take_over(
    args: &WindDownArgs,
    client: &Client,
    cluster: Cluster,
    mut leadership: Leadership,
    make: impl Fn(Share) -> Arc<Context>,
    mut signals: Signals,
) -> Result<(), WindDownError> {
    let (hub, shares) = (cluster.hub.clone(), leadership.shares());
    let wind_down = WindDown { cluster, held: leadership.held(), shares };
    let (stop, mut stopped) = watch::channel(false);
    leadership.contend(client);
    let workers = args.controller.work.concurrent_workers;
    let work = controller::run(hub, (workers, shares), leadership.assignment(), make, async move {
        let _ = stopped.changed().await;
    });
    let end = async {
        let outcome = tokio::select! {
            outcome = bring_to_an_end(args, &wind_down) => outcome,
            () = signals.one() => Err(WindDownError::Interrupted),
        };
        let _ = stop.send(true);
        outcome
    };
    let ((), outcome) = tokio::join!(work, end);
    leadership.resign().await;
    outcome
}

async fn bring_to_an_end(args: &WindDownArgs, wind_down: &WindDown) -> Result<(), WindDownError> {
    let held = wind_down.all_held(args.controller.leader_election.longest_wait()).await;
    if held < usize::try_from(wind_down.shares).unwrap_or(usize::MAX) {
        tracing::warn!(held, of = wind_down.shares, "another controller works, and goes on with its Challenges");
    }
    let limit = Duration::try_from(args.clean_up_timeout).unwrap_or_default();
    let left = wind_down.cleaned_up(limit).await;
    if left > 0 {
        tracing::warn!(left, "Challenges could not be cleaned up in time; events tell which, and they are let go");
    }
    wind_down.let_go().await?;
    if held > 0 {
        tracing::info!("nothing waits for a controller any more");
    }
    Ok(())
}

/// A Deployment that is gone already is well.
async fn scale_to_zero(client: &Client, name: &ObjectName) -> Result<(), WindDownError> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &name.namespace);
    let (params, patch) = (PatchParams::default(), Patch::Merge(serde_json::json!({ "spec": { "replicas": 0 } })));
    let failed = |problem: String| WindDownError::Scale(name.clone(), problem);
    match timeout(LONGEST_CALL, deployments.patch_scale(&name.name, &params, &patch)).await {
        Ok(Ok(_)) => tracing::info!(deployment = %name, "scaled to zero; waiting for its controller to end"),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
            tracing::info!(deployment = %name, "it is not there, so there is no controller to stop");
        }
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed("the API server does not answer".to_owned())),
    }
    Ok(())
}

/// Fills the stores; none if the kinds are not there.
///
/// # Errors
/// That too many objects, a slow or silent API server, or one that refuses, kept them from being seen: what holds them is still
/// there then.
async fn fill(client: &Client, hub: &Arc<Hub>, recorder: &Recorder) -> Result<Option<JoinSet<()>>, WindDownError> {
    let namespaces = &hub.namespaces;
    if timeout(LONGEST_START, definitions::wait(client, namespaces)).await.is_err() {
        let are_missing = timeout(LONGEST_CALL, definitions::are_missing(client, namespaces)).await.unwrap_or(false);
        return if are_missing { Ok(None) } else { Err(WindDownError::Unseen(LONGEST_START)) };
    }
    let (filling, mut filled) = watch::channel(0);
    let watches = hub.watch(client, recorder, &filling);
    match timeout(LONGEST_LISTS, wait_until_filled(&mut filled)).await {
        Ok(()) => Ok(Some(watches)),
        Err(_) => Err(WindDownError::Unseen(LONGEST_LISTS)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Nothing listens there.
    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_asked_for_is_not_taken_to_be_gone() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        let (recorder, _sender) = Recorder::start(client.clone());
        let outcome = fill(&client, &Arc::new(Hub::default()), &recorder).await;
        assert!(matches!(outcome, Err(WindDownError::Unseen(LONGEST_START))));
    }

    #[test]
    fn a_deployment_is_named_with_its_namespace() {
        let name = ObjectName { namespace: "certwright".to_owned(), name: "cw".to_owned() };
        assert_eq!("certwright/cw".parse(), Ok(DeploymentName(name)));
        for wrong in ["cw", "/cw", "certwright/", ""] {
            assert!(wrong.parse::<DeploymentName>().is_err(), "{wrong}");
        }
    }
}
