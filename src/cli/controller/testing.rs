//! The command line of the controller alone, for the tests of its groups.

use clap::Parser;

use super::ControllerArgs;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    controller: ControllerArgs,
}

pub(super) fn read(flags: &[&str]) -> Result<ControllerArgs, clap::Error> {
    Command::try_parse_from([&["certwright"], flags].concat()).map(|command| command.controller)
}
