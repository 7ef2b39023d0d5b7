//! The command line, completed by the configuration file, as cert-manager has both.

use std::{ffi::OsString, path::PathBuf};

use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches, error::ErrorKind, parser::ValueSource};

use super::{
    Cli,
    config_file::{self, Setting},
    pflag, without_effect,
};

const CONTROLLER: &str = "controller";

/// The subcommands that have the controller's flags.
const WITH_ITS_FLAGS: [&str; 2] = [CONTROLLER, "wind-down"];

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
    let mut matches = command.clone().try_get_matches_from(arguments)?;
    if let Some((name, flags)) = with_flags(&matches) {
        let further = further(&command, flags)?;
        if !further.is_empty() {
            matches = command.clone().try_get_matches_from(with(name, further, arguments))?;
        }
    }
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let (super::Command::Controller(controller), Some(flags)) =
        (&mut cli.command, matches.subcommand_matches(CONTROLLER))
    {
        controller.notes = without_effect::notes(flags);
    }
    Ok(cli)
}

/// The subcommand, if it is one with the controller's flags, and what it was given.
fn with_flags(matches: &ArgMatches) -> Option<(&str, &ArgMatches)> {
    matches.subcommand().filter(|(name, _)| WITH_ITS_FLAGS.contains(name))
}

fn command() -> Command {
    WITH_ITS_FLAGS.into_iter().fold(Cli::command(), with_file_and_level)
}

/// Adds to a subcommand what the file and `-v` are given by.
fn with_file_and_level(command: Command, name: &str) -> Command {
    let config = Arg::new("config").long("config").value_name("FILE").value_parser(clap::value_parser!(PathBuf));
    let level = Arg::new("v").short('v').long("v").value_name("NUMBER").value_parser(clap::value_parser!(i32));
    command.mut_subcommand(name, |command| {
        let command = command
            .arg(config.help("File with a ControllerConfiguration (controller.config.cert-manager.io/v1alpha1)"))
            .arg(level.allow_negative_numbers(true).help(
                "How much is logged, as cert-manager has it: 0 is error, 1 warn, 2 and 3 info, 4 debug, 5 and above trace; \
                 --log-level goes before it",
            ))
            .after_help(AFTER_HELP);
        pflag::as_in_go(without_effect::add(command))
    })
}

/// The arguments that the file and `-v` stand for.
fn further(command: &Command, flags: &ArgMatches) -> Result<Vec<String>, clap::Error> {
    let is_given = |name: &str| is_given(subcommand(command), flags, name);
    let mut level = flags.get_one::<i32>("v").copied();
    let mut further = Vec::new();
    if let Some(path) = flags.get_one::<PathBuf>("config") {
        let settings = config_file::read(path).map_err(|problem| refusal(&problem))?;
        for setting in settings.iter().filter(|setting| !is_given(&setting.flag)) {
            check(command, setting)
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
fn with(name: &str, further: Vec<String>, arguments: &[OsString]) -> Vec<OsString> {
    let place = arguments.iter().position(|argument| argument == name).map_or(arguments.len(), |place| place + 1);
    let (before, after) = arguments.split_at(place);
    before.iter().cloned().chain(further.into_iter().map(Into::into)).chain(after.iter().cloned()).collect()
}

/// Whether the flag makes sense by itself, with this value.
fn check(command: &Command, setting: &Setting) -> Result<(), String> {
    let arguments = ["certwright".to_owned(), CONTROLLER.to_owned(), setting.argument()];
    command.clone().try_get_matches_from(arguments).map(drop).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        first.strip_prefix("error: ").unwrap_or(first).to_owned()
    })
}

fn is_given(command: &Command, flags: &ArgMatches, name: &str) -> bool {
    let arg = command.get_arguments().find(|arg| arg.get_long() == Some(name));
    arg.is_some_and(|arg| flags.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine))
}

fn level_of(verbosity: i32) -> &'static str {
    let index = usize::try_from(verbosity).unwrap_or_default();
    LEVELS.get(index).or(LEVELS.last()).copied().unwrap_or("info")
}

fn subcommand(command: &Command) -> &Command {
    command.find_subcommand(CONTROLLER).unwrap_or(command)
}

fn refusal(text: &str) -> clap::Error {
    clap::Error::raw(ErrorKind::ValueValidation, format!("{text}\n"))
}

#[cfg(test)]
#[path = "command_line_tests.rs"]
mod tests;
