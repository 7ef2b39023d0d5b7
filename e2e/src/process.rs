//! Processes: started with a log file, known by number and start time, ended by them and nothing else.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// A process number together with the time of its start, so that a number used again is never taken for the old process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub pid: u32,
    /// Clock ticks between the machine's start and the process's (field 22 of `/proc/PID/stat`).
    pub start_time: u64,
}

impl Identity {
    /// The identity of the running process `pid`; `None` when there is none, or only its corpse. One whose first thread has
    /// ended still runs while it has others.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the program's name in parentheses and may hold spaces and parentheses itself.
        let mut fields = stat.get(stat.rfind(')')? + 2..)?.split(' ');
        let status = fields.next()?;
        if (status == "Z" || status == "X") && !has_other_threads(pid) {
            return None;
        }
        Some(Self { pid, start_time: fields.nth(18)?.parse().ok()? })
    }

    /// Whether this very process still runs.
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends `signal` if this very process still runs; tells whether it did.
    pub fn signal(self, signal: Signal) -> bool {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return false };
        self.is_alive() && kill_process(pid, signal).is_ok()
    }
}

fn has_other_threads(pid: u32) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|threads| threads.count() > 1)
}

/// A child process with its output in a log file. Dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    kept: bool,
}

impl Process {
    /// Starts `command`, with its output appended to `log` and nothing to read.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let output = OpenOptions::new().create(true).append(true).open(log);
        let output = output.with_context(|| format!("opening the log {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child =
            command.spawn().with_context(|| format!("starting {name} ({})", command.get_program().display()))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned(), kept: false })
    }

    /// The process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Number and start time; an error when the process has ended already.
    pub fn identity(&mut self) -> Result<Identity> {
        match Identity::of(self.child.id()) {
            Some(identity) => Ok(identity),
            None => Err(self.check().err().unwrap_or_else(|| anyhow::anyhow!("{} is gone", self.name))),
        }
    }

    /// Where the output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Everything written to the log so far.
    pub fn read_log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }

    /// The exit status, when the process has ended.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// An error with the end of the log when the process has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                bail!(
                    "{} ended early with {status}; the end of {}:\n{}",
                    self.name,
                    self.log.display(),
                    tail(&self.log, 20)
                )
            }
        }
    }

    /// Kills the process at once (SIGKILL) and waits for its end.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        // An error means that it has ended by itself.
        let _ = self.child.kill();
        Ok(self.child.wait()?)
    }

    /// Asks the process to end (SIGTERM), and kills it when it has not after `patience`.
    pub fn stop(&mut self, patience: Duration) -> Result<ExitStatus> {
        if let Some(identity) = Identity::of(self.child.id()) {
            identity.signal(Signal::TERM);
        }
        let start = Instant::now();
        while start.elapsed() < patience {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill()
    }

    /// Lets the process live on after this value is gone.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.kept {
            let _ = self.kill();
        }
    }
}

/// The last `lines` lines of a log; of a very long one, at most the last 64 KiB are read.
pub fn tail(log: &Path, lines: usize) -> String {
    const MOST: u64 = 64 * 1024;
    let mut text = Vec::new();
    if let Ok(mut file) = File::open(log) {
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let _ = file.seek(SeekFrom::Start(length.saturating_sub(MOST)));
        let _ = file.take(MOST).read_to_end(&mut text);
    }
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn an_early_end_is_told_with_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut process =
            Process::start("poet", shell("echo so sad; exit 7"), &folder.path().join("poet.log")).unwrap();
        process.child.wait().unwrap();
        let error = process.check().unwrap_err().to_string();
        assert!(error.contains("poet ended early") && error.contains("so sad"), "{error}");
    }

    #[test]
    fn stop_kills_who_does_not_listen() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut process =
            Process::start("deaf", shell("trap '' TERM; echo ready; while :; do sleep 0.05; done"), &log).unwrap();
        while !process.read_log().unwrap().contains("ready") {
            std::thread::sleep(Duration::from_millis(5));
        }
        let identity = process.identity().unwrap();
        let status = process.stop(Duration::from_millis(100)).unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        assert!(!identity.is_alive());
    }

    #[test]
    fn dropping_ends_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start("sleeper", shell("exec sleep 60"), &folder.path().join("log")).unwrap();
        let identity = process.identity().unwrap();
        assert!(identity.is_alive());
        drop(process);
        assert!(!identity.is_alive());
    }

    #[test]
    fn a_number_used_again_is_another_process() {
        let myself = Identity::of(std::process::id()).unwrap();
        assert!(myself.is_alive());
        assert!(!Identity { start_time: myself.start_time + 1, ..myself }.is_alive());
    }

    #[test]
    fn tail_gives_the_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        std::fs::write(&log, "one\ntwo\nthree\n").unwrap();
        assert_eq!(tail(&log, 2), "two\nthree");
        assert_eq!(tail(&folder.path().join("none"), 2), "");
    }
}
