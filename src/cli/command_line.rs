//! The command line, completed by the configuration file, as cert-manager has both.

use std::{ffi::OsString, path::PathBuf};

use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches, error::ErrorKind, parser::ValueSource};

use super::{
    Cli,
    config_file::{self, FileKind, Setting},
    pflag,
    without_effect::{self, WithoutEffect},
};

/// A subcommand that has the flags of one of cert-manager's programs.
#[derive(Clone, Copy)]
struct Program {
    name: &'static str,
    file: FileKind,
    without_effect: WithoutEffect,
}

const PROGRAMS: [Program; 3] = [
    Program { name: "controller", file: config_file::OF_CONTROLLER, without_effect: without_effect::OF_CONTROLLER },
    Program { name: "webhook", file: config_file::OF_WEBHOOK, without_effect: without_effect::OF_WEBHOOK },
    Program { name: "wind-down", file: config_file::OF_CONTROLLER, without_effect: without_effect::OF_CONTROLLER },
];

/// The levels of cert-manager's `-v`; a higher one is the last.
const LEVELS: [&str; 6] = ["error", "warn", "info", "info", "debug", "trace"];

/// What is said below the list of flags.
const AFTER_HELP: &str = "The flags of cert-manager that mean nothing here are accepted, and the log says why they \
    have no effect. Of a flag that is given twice the last one counts; what the command line says goes before the file of --config.";

/// Reads the command line of this process; ends it with a message if that is wrong.
pub fn parse() -> Cli {
    read(&std::env::args_os().collect::<Vec<_>>()).unwrap_or_else(|error| error.exit())
}

/// The same for any command line, the program's name included.
pub fn read(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let command = command();
    let named = arguments.get(1).and_then(|name| command.find_subcommand(name));
    let arguments = &*named.map_or_else(|| arguments.to_vec(), |program| pflag::without_empty(program, arguments));
    let mut matches = command.clone().try_get_matches_from(arguments)?;
    let program = PROGRAMS.into_iter().find(|program| matches.subcommand_name() == Some(program.name));
    if let Some(program) = program
        && let Some(flags) = matches.subcommand_matches(program.name)
    {
        let further = program.further(&command, flags)?;
        if !further.is_empty() {
            matches = command.clone().try_get_matches_from(program.with(further, arguments))?;
        }
    }
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let Some(program) = program
        && let Some(flags) = matches.subcommand_matches(program.name)
    {
        let notes = program.without_effect.notes(flags);
        match &mut cli.command {
            super::Command::Controller(args) => args.notes = notes,
            super::Command::Webhook(args) => args.notes = notes,
            _ => {}
        }
    }
    Ok(cli)
}

fn command() -> Command {
    PROGRAMS.into_iter().fold(Cli::command(), |command, program| {
        command.mut_subcommand(program.name, |command| program.complete(command))
    })
}

impl Program {
    /// The subcommand with the flags that its arguments do not tell of.
    fn complete(self, command: Command) -> Command {
        let config = Arg::new("config").long("config").value_name("FILE").value_parser(clap::value_parser!(PathBuf));
        let level = Arg::new("v").short('v').long("v").value_name("NUMBER").value_parser(clap::value_parser!(i32));
        let FileKind { kind, api_version, .. } = self.file;
        let command = command
            .next_help_heading(None::<&str>)
            .arg(config.help(format!("File with a {kind} ({api_version})")))
            .arg(level.allow_negative_numbers(true).help(
                "How much is logged, as cert-manager has it: 0 is error, 1 warn, 2 and 3 info, 4 debug, 5 and above trace; \
                 --log-level goes before it",
            ))
            .after_help(AFTER_HELP);
        pflag::as_in_go(self.without_effect.add(command))
    }

    /// The arguments that the file and `-v` stand for.
    fn further(self, command: &Command, flags: &ArgMatches) -> Result<Vec<String>, clap::Error> {
        let is_given = |name: &str| is_given(self.subcommand(command), flags, name);
        let mut level = flags.get_one::<i32>("v").copied();
        let mut further = Vec::new();
        if let Some(path) = flags.get_one::<PathBuf>("config") {
            let settings = config_file::read(path, self.file).map_err(|problem| refusal(&problem))?;
            for setting in settings.iter().filter(|setting| !is_given(&setting.flag)) {
                self.check(command, setting)
                    .map_err(|problem| refusal(&format!("{}: {}: {problem}", path.display(), setting.path)))?;
                if setting.flag == "v" {
                    level = level.or(setting.value.parse().ok());
                }
                further.push(setting.argument());
            }
            let names_levels = settings.iter().any(|setting| setting.flag == "log-level");
            level = level.filter(|_| !names_levels || is_given("v"));
        }
        if let Some(level) = level.filter(|_| !is_given("log-level")) {
            further.push(format!("--log-level={}", level_of(level)));
        }
        Ok(further)
    }

    /// The arguments with these before those of the subcommand.
    fn with(self, further: Vec<String>, arguments: &[OsString]) -> Vec<OsString> {
        let place =
            arguments.iter().position(|argument| argument == self.name).map_or(arguments.len(), |place| place + 1);
        let (before, after) = arguments.split_at(place);
        before.iter().cloned().chain(further.into_iter().map(Into::into)).chain(after.iter().cloned()).collect()
    }

    /// Whether the flag makes sense by itself, with this value.
    fn check(self, command: &Command, setting: &Setting) -> Result<(), String> {
        let arguments = ["certwright".to_owned(), self.name.to_owned(), setting.argument()];
        command.clone().try_get_matches_from(arguments).map(drop).map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        })
    }

    fn subcommand(self, command: &Command) -> &Command {
        command.find_subcommand(self.name).unwrap_or(command)
    }
}

fn is_given(command: &Command, flags: &ArgMatches, name: &str) -> bool {
    let arg = command.get_arguments().find(|arg| arg.get_long() == Some(name));
    arg.is_some_and(|arg| flags.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine))
}

fn level_of(verbosity: i32) -> &'static str {
    let index = usize::try_from(verbosity).unwrap_or_default();
    LEVELS.get(index).or(LEVELS.last()).copied().unwrap_or("info")
}

fn refusal(text: &str) -> clap::Error {
    clap::Error::raw(ErrorKind::ValueValidation, format!("{text}\n"))
}

#[cfg(test)]
#[path = "command_line_tests.rs"]
mod tests;
