//! `testbed`: real components for certwright's tests, in a network of their own.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use certwright_e2e::demo::{self, current::Current};
use certwright_e2e::lifecycle::{self, Options};
use certwright_e2e::pebble::PebbleOptions;
use certwright_e2e::{State, Tier, bench, catalogue, check, image, kubernetes, packages, relay};
use clap::{Args, Parser, Subcommand};

/// Starts real components for certwright's tests in a network namespace of their own, and runs commands among them.
#[derive(Parser)]
#[command(name = "testbed", version)]
struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Build or download the programs that a tier needs.
    Tools {
        #[arg(long, value_enum, default_value = "api")]
        tier: Tier,
    },
    /// Install the Debian packages that a tier needs (as root), or name them.
    Packages {
        #[arg(long, value_enum, default_value = "api")]
        tier: Tier,
        /// Those instead that only tests of the tier need.
        #[arg(long)]
        of_tests: bool,
    },
    /// Tell whether this machine can run a tier; exit code 3 with the reason when it cannot.
    Check {
        #[arg(long, value_enum, default_value = "api")]
        tier: Tier,
    },
    /// Make a container image of a static certwright and give it to a testbed of tier cluster, or keep it as a file.
    Image {
        /// The testbed's folder.
        #[arg(long, required_unless_present = "save")]
        dir: Option<PathBuf>,
        /// Write the image to an archive in this folder instead.
        #[arg(long, value_name = "FOLDER")]
        save: Option<PathBuf>,
        /// The static binary; given again, one for each architecture that the archive is to be for.
        #[arg(long, required = true)]
        binary: Vec<PathBuf>,
    },
    /// Start a testbed that stays until `down`.
    Up {
        #[command(flatten)]
        shape: Shape,
        /// The testbed's folder.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Run a command inside a testbed that is up.
    Exec {
        /// The testbed's folder.
        #[arg(long)]
        dir: PathBuf,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// End a testbed and remove what it left outside its folder.
    Down {
        /// The testbed's folder.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Start a testbed, run a command inside, end the testbed; the exit code is the command's.
    Run {
        #[command(flatten)]
        shape: Shape,
        /// The testbed's folder; kept when named here, else removed after success.
        #[arg(long)]
        dir: Option<PathBuf>,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Tell what runs in a testbed; exit code 1 unless all of it does.
    Status {
        /// The testbed's folder.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Print the path of a program that a testbed is made of, such as pebble.
    Which { program: String },
    /// Show certwright at work in a testbed that stays.
    Demo {
        #[arg(long, value_enum, default_value = "cluster")]
        tier: Tier,
        /// The testbed's folder; a former demo in it is ended.
        #[arg(long)]
        dir: PathBuf,
        /// The static certwright.
        #[arg(long)]
        binary: PathBuf,
    },
    /// Show certwright at work in a cluster that is there already.
    DemoCurrent(Box<Current>),
    /// Measure the bars that certwright is held to.
    Bench {
        /// Name or group of bars; all without it.
        #[arg(default_value = "")]
        only: String,
        /// The testbeds' folder.
        #[arg(long)]
        dir: PathBuf,
        /// The static certwright, built for release.
        #[arg(long)]
        binary: PathBuf,
    },
    #[command(hide = true)]
    BenchInside {
        #[arg(long)]
        only: String,
    },
    #[command(hide = true)]
    Relay {
        socket: PathBuf,
        #[arg(long)]
        port: Option<u16>,
    },
    #[command(hide = true)]
    UpInside {
        #[arg(long)]
        dir: PathBuf,
    },
    #[command(hide = true)]
    Guard {
        #[arg(long)]
        dir: PathBuf,
    },
}

/// What a testbed is to be.
#[derive(Args)]
struct Shape {
    #[arg(long, value_enum, default_value = "api")]
    tier: Tier,
    /// A name to tell testbeds apart; need not be unique.
    #[arg(long, default_value = "testbed")]
    name: String,
    /// Seconds in Pebble's Retry-After header for authorizations; 0 for no header.
    #[arg(long, default_value_t = 1)]
    retry_after_authorization: u32,
    /// Seconds in Pebble's Retry-After header for orders; 0 for no header.
    #[arg(long, default_value_t = 1)]
    retry_after_order: u32,
    /// Of 100 good nonces, Pebble refuses so many.
    #[arg(long, default_value_t = 5)]
    nonce_reject_percent: u8,
    /// A further environment variable for Pebble, such as PEBBLE_CHAIN_LENGTH=2; may be given again.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pebble_env: Vec<(String, String)>,
}

impl Shape {
    fn options(self) -> Options {
        let pebble = PebbleOptions {
            retry_after_authorization: self.retry_after_authorization,
            retry_after_order: self.retry_after_order,
            nonce_reject_percent: self.nonce_reject_percent,
            environment: self.pebble_env.into_iter().collect(),
            ..PebbleOptions::default()
        };
        Options { tier: self.tier, name: self.name, pebble }
    }
}

fn main() -> ExitCode {
    match act(Command::parse().action) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(action: Action) -> Result<ExitCode> {
    match action {
        Action::Tools { tier } => catalogue::ensure(tier)?,
        Action::Packages { tier, of_tests } => packages::install(tier, of_tests)?,
        Action::Check { tier } => {
            if let Err(reason) = check::check(tier, &std::env::temp_dir()) {
                eprintln!("tier {tier} cannot run here: {reason:#}");
                return Ok(ExitCode::from(3));
            }
            println!("tier {tier} can run here");
        }
        Action::Image { dir, save, binary } => {
            if let Some(dir) = dir {
                image::import_certwright(&State::load(&dir)?, binary.first().context("there is no binary")?)?;
                println!("{}", image::CERTWRIGHT);
            }
            if let Some(folder) = save {
                println!("{}", image::save_certwright(&folder, &binary)?.display());
            }
        }
        Action::Up { shape, dir } => {
            let state = lifecycle::up(&dir, &shape.options())?;
            println!("{}", State::file_in(&state.folder).display());
        }
        Action::Exec { dir, command } => lifecycle::exec(&dir, &command)?,
        Action::Down { dir } => lifecycle::down(&dir)?,
        Action::Run { shape, dir, command } => {
            return runtime()?.block_on(lifecycle::run(dir.as_deref(), &shape.options(), &command));
        }
        Action::Status { dir } => return status(&dir),
        Action::Which { program } => {
            let paths = catalogue::paths(Tier::Cluster)?;
            let found = paths.iter().find(|(name, _)| *name == program);
            println!("{}", found.with_context(|| format!("no program is called {program}"))?.1.display());
        }
        Action::Demo { tier, dir, binary } => runtime()?.block_on(demo::throwaway::run(&dir, tier, &binary))?,
        Action::DemoCurrent(current) => runtime()?.block_on(demo::current::run(*current))?,
        Action::Bench { only, dir, binary } => {
            let held = runtime()?.block_on(bench::run(&only, &dir, &binary))?;
            return Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Action::BenchInside { only } => runtime()?.block_on(bench::inside(&only))?,
        Action::Relay { socket, port: Some(port) } => runtime()?.block_on(relay::outside(port, &socket))?,
        Action::Relay { socket, port: None } => runtime()?.block_on(relay::inside(&socket, kubernetes::ADDRESS))?,
        Action::UpInside { dir } => runtime()?.block_on(lifecycle::up_inside(&dir))?,
        Action::Guard { dir } => lifecycle::guard(&dir)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn status(dir: &Path) -> Result<ExitCode> {
    if !State::file_in(dir).exists() {
        println!("down");
        return Ok(ExitCode::FAILURE);
    }
    let state = State::load(dir)?;
    let mut all = state.ready;
    println!("tier {}, {}", state.tier, if state.ready { "ready" } else { "not ready" });
    for record in &state.processes {
        let alive = record.identity.is_alive();
        all &= alive;
        println!("{:<26} {:>8} {}", record.name, record.identity.pid, if alive { "runs" } else { "has ended" });
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
