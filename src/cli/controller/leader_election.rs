//! The flags that say how replicas agree on who works.

use std::{fs, time::Duration};

use clap::{ArgAction, Args};
use jiff::SignedDuration;

use super::{ControllerError, durations::window};
use crate::{controller::Election, decide::lease::Timing};

/// How replicas agree on who works.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Several replicas")]
pub(super) struct LeaderElectionArgs {
    /// Whether this process works only while it holds the Lease cert-manager-controller. Without that nothing keeps it from
    /// working at the same time as another one, or as cert-manager.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    leader_elect: bool,
    /// Where the Lease lies. It has to be the same for all, cert-manager's too.
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system")]
    leader_election_namespace: String,
    /// How long the others wait before they take the place of one that does not renew its Lease.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = window)]
    leader_election_lease_duration: SignedDuration,
    /// How long one that cannot renew its Lease goes on working; shorter than the lease duration.
    #[arg(long, value_name = "DURATION", default_value = "40s", value_parser = window)]
    leader_election_renew_deadline: SignedDuration,
    /// How often a Lease is renewed.
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = window)]
    leader_election_retry_period: SignedDuration,
    /// Into how many shares the work is divided, so that as many replicas can work at once: each namespace belongs to one, with a
    /// Lease for each. All replicas should have the same number; while they differ, only those of one number work.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=32))]
    shards: u32,
    /// How long after its Lease ran out /livez calls a process dead that should have noticed.
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = window, hide = true)]
    internal_healthz_leader_election_timeout: SignedDuration,
    /// The name by which this process holds Leases, that of its pod; the host's name by default. No two processes that run at
    /// the same time may have the same.
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pod_name: Option<String>,
}

impl LeaderElectionArgs {
    /// None without an election.
    pub(super) fn election(&self) -> Result<Option<Election>, ControllerError> {
        self.timing().check().map_err(ControllerError::LeaderElection)?;
        if !self.leader_elect {
            let problem = "--shards needs --leader-elect".to_owned();
            return if self.shards == 1 { Ok(None) } else { Err(ControllerError::LeaderElection(problem)) };
        }
        let namespace = self.leader_election_namespace.clone();
        Ok(Some(Election { namespace, identity: self.identity()?, timing: self.timing(), shares: self.shards }))
    }

    /// How long after a Lease should have been given up the process is dead.
    pub(super) fn patience(&self) -> Duration {
        let patience = self.timing().margin().saturating_add(self.internal_healthz_leader_election_timeout);
        Duration::try_from(patience).unwrap_or_default()
    }

    /// How long it takes at most until a Lease can be had whose holder is gone.
    pub(super) fn longest_wait(&self) -> Duration {
        let wait = self.leader_election_lease_duration.saturating_add(self.leader_election_retry_period);
        Duration::try_from(wait).unwrap_or_default() + Duration::from_secs(10)
    }

    fn timing(&self) -> Timing {
        Timing {
            lease_duration: self.leader_election_lease_duration,
            renew_deadline: self.leader_election_renew_deadline,
            retry_period: self.leader_election_retry_period,
        }
    }

    /// As cert-manager has it.
    fn identity(&self) -> Result<String, ControllerError> {
        let given = self.pod_name.clone().filter(|name| !name.is_empty());
        let name = given.map_or_else(|| fs::read_to_string("/proc/sys/kernel/hostname"), Ok);
        let name = name.map_err(|error| {
            ControllerError::LeaderElection(format!("the host has no name that can be read ({error}); set --pod-name"))
        })?;
        Ok(format!("{}-external-cert-manager-controller", name.trim()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{super::testing::read, *};

    fn election(flags: &[&str]) -> Result<Option<Election>, String> {
        let args = read(flags).map_err(|error| error.to_string())?;
        args.leader_election.election().map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_cert_managers() {
        let election = election(&["--pod-name", "cert-manager-7c-x"]).unwrap().unwrap();
        assert_eq!(election.namespace, "kube-system");
        assert_eq!(election.identity, "cert-manager-7c-x-external-cert-manager-controller");
        let [duration, deadline, period] = [60, 40, 15].map(SignedDuration::from_secs);
        let timing = Timing { lease_duration: duration, renew_deadline: deadline, retry_period: period };
        assert_eq!(election.timing, timing);
        assert_eq!(read(&[]).unwrap().leader_election.patience(), Duration::from_secs(40));
    }

    #[test]
    fn it_can_be_turned_off_and_needs_a_margin() {
        assert!(election(&["--leader-elect=false"]).unwrap().is_none());
        assert!(election(&["--leader-elect=false", "--shards=2"]).unwrap_err().contains("--shards needs"));
        assert_eq!(election(&["--shards=3"]).unwrap().unwrap().shares, 3);
        assert!(election(&["--shards=0"]).is_err());
        assert!(election(&["--leader-elect"]).unwrap().is_some());
        assert!(election(&["--leader-elect=true"]).unwrap().is_some());
        let wrong = election(&["--leader-election-lease-duration=40s"]).unwrap_err();
        assert_eq!(
            wrong,
            "--leader-election-…: the lease duration must be longer than the renew deadline, and at least a second"
        );
    }

    #[test]
    fn the_host_gives_its_name_where_no_pod_does() {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let mut args = read(&[]).unwrap().leader_election;
        args.pod_name = Some(String::new());
        assert_eq!(args.identity().unwrap(), format!("{}-external-cert-manager-controller", host.trim()));
    }
}
