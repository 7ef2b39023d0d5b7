//! The controller under test: the real binary as a process in the testbed.

use std::fs::File;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use crate::image::CERTWRIGHT;
use crate::install::install;
use crate::packages::require_program;
use crate::process::Process;
use crate::testbed::Testbed;
use crate::wait::{until, until_ready};

/// The environment variable that names the binary; without it, the one that Cargo built beside the running test.
pub const BINARY_VARIABLE: &str = "CERTWRIGHT_BIN";

const READY: Duration = Duration::from_mins(3);
const OTHERS: Duration = Duration::from_mins(30);
const PROBES: &str = "127.0.0.1:9403";

/// A running `certwright controller` with the rights of the user `certwright`. Dropping it kills it.
///
/// A controller watches the whole cluster, so a testbed has one at a time: a second test program waits for the first.
pub struct Controller {
    testbed: Testbed,
    process: Process,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    _only_one: File,
}

impl Controller {
    /// Installs what the controller needs, starts it with `arguments` besides the usual ones, and waits until its
    /// watches are filled.
    pub async fn start(testbed: &Testbed, arguments: &[&str]) -> Result<Self> {
        Self::start_in(testbed, arguments, &[]).await
    }

    /// [`Controller::start`] with these environment variables besides.
    pub async fn start_in(testbed: &Testbed, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        install(testbed).await?;
        let lock = only_one(testbed).await?;
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let environment: Vec<_> =
            environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let process = start_process(testbed, &arguments, &environment)?;
        let mut controller = Self { testbed: testbed.clone(), process, arguments, environment, _only_one: lock };
        controller.ready().await?;
        Ok(controller)
    }

    /// The controller that all tests of this process share; it ends with the process.
    pub async fn shared(testbed: &Testbed) -> Result<&'static Shared> {
        static SHARED: OnceCell<Shared> = OnceCell::const_new();
        SHARED.get_or_try_init(|| Shared::start(testbed)).await
    }

    /// Where its output goes; a restart appends.
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// The process number.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kills the process (SIGKILL).
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill().map(drop)
    }

    /// Starts the process again, after [`Controller::kill`], without waiting until it is ready.
    pub fn restart(&mut self) -> Result<()> {
        let command = command(&self.testbed, &self.arguments, &self.environment)?;
        self.process = Process::start("controller", command, self.process.log())?;
        Ok(())
    }

    /// Waits until the watches are filled; an error with the end of the log if the process ends.
    pub async fn ready(&mut self) -> Result<()> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let url = format!("http://{PROBES}/readyz");
        let look = async || client.get(&url).send().await?.error_for_status().map(drop);
        until_ready(&mut self.process, "the controller's watches", READY, look).await
    }
}

/// What tests need of the shared controller.
#[derive(Clone, Debug)]
pub struct Shared {
    pub log: PathBuf,
    pub process: u32,
}

impl Shared {
    async fn start(testbed: &Testbed) -> Result<Self> {
        install(testbed).await?;
        let sole = only_one(testbed).await?;
        let (process, log) = start_for_ever(testbed.clone())?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let look = async || {
            let answer = client.get(format!("http://{PROBES}/readyz")).send().await;
            let ready = answer.and_then(reqwest::Response::error_for_status).is_ok();
            Ok::<_, anyhow::Error>(ready.then_some(()))
        };
        let ready = until("the controller's watches", READY, look).await;
        ready.with_context(|| format!("the end of its log:\n{}", crate::process::tail(&log, 20)))?;
        // The lock is held until this process ends, as the controller is. Before, others would wait for it in vain.
        std::mem::forget(sole);
        Ok(Self { log, process })
    }
}

/// Starts a controller that is killed when this process ends, however it does. The kernel ties its life to the thread
/// that started it, and a test's thread ends too early.
fn start_for_ever(testbed: Testbed) -> Result<(u32, PathBuf)> {
    let (sender, receiver) = mpsc::channel();
    let keep = move || {
        let started = start_process(&testbed, &[], &[]);
        let told = started.as_ref().map(|process| (process.id(), process.log().to_owned()));
        let _ = sender.send(told.map_err(|error| anyhow!("{error:#}")));
        while started.is_ok() {
            std::thread::park();
        }
    };
    std::thread::Builder::new().name("controller".into()).spawn(keep)?;
    receiver.recv().context("the thread that starts the controller ended")?
}

fn start_process(testbed: &Testbed, arguments: &[String], environment: &[(String, String)]) -> Result<Process> {
    testbed.start("controller", command(testbed, arguments, environment)?)
}

fn command(testbed: &Testbed, arguments: &[String], environment: &[(String, String)]) -> Result<Command> {
    let mut command = bare_command(testbed, PROBES)?;
    // Nobody else is there, and one that is started after a kill need not wait until a Lease runs out.
    command.arg("--leader-elect=false");
    command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
    Ok(command)
}

/// `certwright controller` with what it needs in this testbed, and its probes at this address.
pub(crate) fn bare_command(testbed: &Testbed, probes: &str) -> Result<Command> {
    let mut command = subcommand(testbed, "controller")?;
    command.args(["--internal-healthz-listen-address", probes]);
    Ok(command)
}

/// A subcommand with the controller's flags, and what it needs in this testbed.
pub(crate) fn subcommand(testbed: &Testbed, name: &str) -> Result<Command> {
    let mut command = Command::new(require_program("setpriv")?);
    command.args(["--pdeathsig", "KILL"]).arg(binary()?).arg(name);
    command.arg("--kubeconfig").arg(&testbed.state.kubernetes()?.certwright_kubeconfig);
    // Where no node is, no image is needed, but its name is.
    command.env("CERTWRIGHT_IMAGE", CERTWRIGHT);
    // As the chart has it.
    command.env("MALLOC_ARENA_MAX", "1");
    command.env_remove("KUBECONFIG");
    Ok(command)
}

/// The certwright binary under test.
pub fn binary() -> Result<PathBuf> {
    if let Some(file) = std::env::var_os(BINARY_VARIABLE).filter(|value| !value.is_empty()) {
        return Ok(file.into());
    }
    let own = std::env::current_exe()?;
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join("certwright"));
    let Some(found) = beside.into_iter().find(|file| file.is_file()) else {
        bail!("there is no certwright beside {}: build it with `cargo build`, or set {BINARY_VARIABLE}", own.display());
    };
    Ok(found)
}

/// Holds off other test programs of the same testbed while this one runs a controller.
pub(crate) async fn only_one(testbed: &Testbed) -> Result<File> {
    let path = testbed.state.folder.join("controller.lock");
    let file = File::create(&path).with_context(|| format!("making {}", path.display()))?;
    let look = async || match file.try_lock() {
        Ok(()) => Ok(Some(())),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    };
    until("the controller of another test program in this testbed to end", OTHERS, look).await?;
    // One that ends together with its program may do so a moment later. It is called, for who listens there to try it out
    // shares the port with a child that another thread just starts.
    let probes: SocketAddr = PROBES.parse()?;
    let look = async || match TcpStream::connect(probes).await {
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(Some(())),
        Err(error) => Err(error),
    };
    until("the port of the probes to be free", READY, look).await?;
    Ok(file)
}
