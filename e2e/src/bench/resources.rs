//! What processes use: memory and processor time, as the kernel counts them.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result};

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

/// Processor time of the controller, of the API server with its etcd, and of this program, from a moment on.
pub struct ProcessorTime {
    began: Instant,
    processes: BTreeMap<String, (u32, f64)>,
}

impl ProcessorTime {
    /// Counts from now on.
    pub fn begin(testbed: &Testbed, controller: u32) -> Result<Self> {
        let servers = testbed.state.processes.iter().map(|process| (process.name.clone(), process.identity.pid));
        let mut all: BTreeMap<String, u32> =
            servers.filter(|(name, _)| ["etcd", "kube-apiserver"].contains(&name.as_str())).collect();
        all.extend([("certwright".to_owned(), controller), ("this program".to_owned(), std::process::id())]);
        let used = |(name, process)| Ok((name, (process, processor_seconds(process)?)));
        Ok(Self { began: Instant::now(), processes: all.into_iter().map(used).collect::<Result<_>>()? })
    }

    /// Prints what each used, and the time that passed.
    pub fn print(&self) -> Result<()> {
        let passed = self.began.elapsed().as_secs_f64();
        let used = |(name, (process, before)): (&String, &(u32, f64))| {
            Ok(format!("{name} {:.1} s", processor_seconds(*process)? - before))
        };
        let used: Vec<String> = self.processes.iter().map(used).collect::<Result<_>>()?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        println!("processor time within {passed:.1} s on {cores} cores: {}", used.join(", "));
        Ok(())
    }
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
