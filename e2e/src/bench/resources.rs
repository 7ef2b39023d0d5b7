//! What processes use: memory and processor time, as the kernel counts them.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cgroups;
use crate::node::control_group;
use crate::testbed::Testbed;

/// The unit of times in `/proc/PID/stat`, on every architecture that certwright is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Resident memory (VmRSS) of a process.
pub fn resident_mebibytes(process: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).context("the process is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes / 1024.0)
}

/// Processor time of several processes, from a moment on.
pub struct ProcessorTime {
    began: Instant,
    processes: BTreeMap<String, (u32, f64)>,
    /// Of the whole machine, if that is asked for.
    machine: Option<f64>,
}

impl ProcessorTime {
    /// Counts from now on: the controller, the API server with its etcd, and this program.
    pub fn begin(testbed: &Testbed, controller: u32) -> Result<Self> {
        let mut all = servers(testbed);
        all.retain(|name, _| ["etcd", "kube-apiserver"].contains(&name.as_str()));
        Self::of(all, controller, None)
    }

    /// The same for all servers of a testbed with a node, whose controller runs in a pod. What is left of the machine's time is
    /// that of short-lived programs, which start and stop pods, of the kernel, and of whatever else the machine does.
    pub fn begin_on_node(testbed: &Testbed) -> Result<Self> {
        let pods = cgroups::processes(&control_group(&testbed.state));
        // The one of a former rollout may still be about to end.
        let controllers = pods.iter().map(|process| process.pid).filter(|process| is_controller(*process));
        let controller = controllers.max().context("no controller in a pod")?;
        Self::of(servers(testbed), controller, Some(machine_seconds()?))
    }

    fn of(mut all: BTreeMap<String, u32>, controller: u32, machine: Option<f64>) -> Result<Self> {
        all.extend([("certwright".to_owned(), controller), ("this program".to_owned(), std::process::id())]);
        let used = |(name, process)| Ok((name, (process, processor_seconds(process)?)));
        let processes = all.into_iter().map(used).collect::<Result<_>>()?;
        Ok(Self { began: Instant::now(), processes, machine })
    }

    /// Prints what each used, and the time that passed.
    pub fn print(&self) -> Result<()> {
        let passed = self.began.elapsed().as_secs_f64();
        let mut used = Vec::new();
        for (name, (process, before)) in &self.processes {
            used.push((name.as_str(), processor_seconds(*process)? - before));
        }
        if let Some(before) = self.machine {
            let known: f64 = used.iter().map(|(_, seconds)| seconds).sum();
            used.push(("all else on this machine", machine_seconds()? - before - known));
        }
        let used: Vec<String> = used.iter().map(|(name, seconds)| format!("{name} {seconds:.1} s")).collect();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        println!("processor time within {passed:.1} s on {cores} cores: {}", used.join(", "));
        Ok(())
    }
}

/// The processes that the testbed was started with, by name.
fn servers(testbed: &Testbed) -> BTreeMap<String, u32> {
    testbed.state.processes.iter().map(|process| (process.name.clone(), process.identity.pid)).collect()
}

fn is_controller(process: u32) -> bool {
    let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    line.split(|&byte| byte == 0).nth(1) == Some(b"controller")
}

/// The time in which the processors of the machine were not idle, in seconds.
fn machine_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let times = stat.lines().next().context("/proc/stat is empty")?.split_whitespace().skip(1);
    let times = times.map(str::parse::<f64>).collect::<Result<Vec<_>, _>>()?;
    // user, nice, system, idle, iowait, irq, softirq; what comes after is another machine's, or counted already.
    let [user, nice, system, _, _, irq, softirq, ..] = times[..] else { bail!("too few fields in /proc/stat") };
    Ok((user + nice + system + irq + softirq) / TICKS_PER_SECOND)
}

/// User and system time of a process, in seconds.
fn processor_seconds(process: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).context("the process is gone")?;
    // The name in parentheses may hold spaces; after it come the fields from the third on.
    let fields = stat.rsplit_once(')').context("no name in /proc/PID/stat")?.1;
    let mut times = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    let (user, system) = times.next().zip(times.next()).context("too few fields in /proc/PID/stat")?;
    Ok((user? + system?) / TICKS_PER_SECOND)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_processor_time_and_memory() {
        let own = std::process::id();
        let before = processor_seconds(own).unwrap();
        let began = Instant::now();
        while began.elapsed().as_millis() < 60 {}
        let used = processor_seconds(own).unwrap() - before;
        assert!((0.02..30.0).contains(&used), "{used}");
        assert!(resident_mebibytes(own).unwrap() > 1.0);
    }
}
