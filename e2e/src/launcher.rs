//! Starting the lasting processes of a testbed, each written down before the next one starts.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::packages::require_program;
use crate::process::Process;
use crate::state::{Network, ProcessRecord, State};

/// Takes the machine's HTTP proxies out of the command's environment: from inside a testbed they cannot be reached.
pub fn without_proxies(command: &mut Command) {
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
}

/// A testbed being started, from within its network namespace.
pub struct Launcher {
    pub state: State,
    started: Vec<Process>,
}

impl Launcher {
    pub fn new(state: State) -> Self {
        Self { state, started: Vec::new() }
    }

    /// A command that runs `program` in a session of its own, so that neither a closed terminal nor ctrl-c reaches it.
    pub fn command(program: &Path) -> Result<Command> {
        let mut command = Command::new(require_program("setsid")?);
        command.arg(program);
        without_proxies(&mut command);
        Ok(command)
    }

    /// Starts `command` (from [`Launcher::command`]) with the log `logs/NAME.log`, and writes it down.
    pub fn start(&mut self, name: &str, command: Command) -> Result<&mut Process> {
        let log = self.state.logs().join(format!("{name}.log"));
        let mut process = Process::start(name, command, &log)?;
        let identity = process.identity()?;
        if self.state.network == Network::Pending {
            self.state.network = Network::OfProcess(identity);
        }
        self.state.processes.push(ProcessRecord { name: name.to_owned(), identity, log });
        self.state.save()?;
        Ok(self.started.push_mut(process))
    }

    /// Everything is ready: the processes stay. Dropping the launcher before ends them.
    pub fn finish(mut self) -> Result<State> {
        for process in &mut self.started {
            process.check()?;
        }
        self.state.ready = true;
        self.state.save()?;
        self.started.drain(..).for_each(Process::keep);
        Ok(self.state)
    }
}
