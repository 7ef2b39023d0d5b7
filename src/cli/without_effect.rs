//! cert-manager's flags that mean nothing here: they are taken, so that its arguments and its configuration file can be kept,
//! and the log says why each of them that is given has no effect.

use clap::{Arg, ArgMatches, Command, parser::ValueSource};

use super::pflag;

/// One of cert-manager's flags.
struct Flag {
    /// Without dashes.
    name: &'static str,
    values: Values,
    why: &'static str,
}

/// What may follow a flag; wrong values are refused though nothing comes of right ones.
#[derive(Clone, Copy)]
enum Values {
    Boolean,
    Number,
    Text,
}

use Values::{Boolean, Number, Text};

const NO_THROTTLE: &str = "requests are not held back here: the API server's priority and fairness does that";
const LOGS_AT_ONCE: &str = "log lines go to standard error at once";

/// Those of the controller, besides those that all programs have.
const CONTROLLER: &[Flag] = &[
    Flag { name: "kube-api-qps", values: Number, why: NO_THROTTLE },
    Flag { name: "kube-api-burst", values: Number, why: NO_THROTTLE },
];

/// How programs in Go log.
const COMMON: &[Flag] = &[
    Flag {
        name: "vmodule",
        values: Text,
        why: "levels go by module: --log-level=info,certwright::acme=debug; the files of programs in Go are not here",
    },
    Flag { name: "log-flush-frequency", values: Text, why: LOGS_AT_ONCE },
    Flag { name: "log-text-split-stream", values: Boolean, why: LOGS_AT_ONCE },
    Flag { name: "log-text-info-buffer-size", values: Text, why: LOGS_AT_ONCE },
    Flag { name: "log-json-split-stream", values: Boolean, why: LOGS_AT_ONCE },
    Flag { name: "log-json-info-buffer-size", values: Text, why: LOGS_AT_ONCE },
];

/// Those of one program.
#[derive(Clone, Copy)]
pub struct WithoutEffect(&'static [Flag]);

pub const OF_CONTROLLER: WithoutEffect = WithoutEffect(CONTROLLER);
pub const OF_WEBHOOK: WithoutEffect = WithoutEffect(&[]);

impl WithoutEffect {
    /// The command with these flags too, which its help does not name.
    pub fn add(self, command: Command) -> Command {
        command.args(self.flags().map(Flag::arg))
    }

    /// A sentence for each of these flags that was given.
    pub fn notes(self, matches: &ArgMatches) -> Vec<String> {
        let is_given = |flag: &&Flag| matches.value_source(flag.name) == Some(ValueSource::CommandLine);
        self.flags().filter(is_given).map(|flag| format!("--{} is without effect: {}", flag.name, flag.why)).collect()
    }

    fn flags(self) -> impl Iterator<Item = &'static Flag> {
        COMMON.iter().chain(self.0)
    }
}

impl Flag {
    fn arg(&self) -> Arg {
        let arg = Arg::new(self.name).long(self.name).hide(true);
        match self.values {
            Boolean => pflag::boolean(arg).value_name("BOOL"),
            Number => arg.value_name("NUMBER").value_parser(clap::value_parser!(f64)).allow_hyphen_values(true),
            Text => arg.value_name("TEXT").allow_hyphen_values(true),
        }
    }
}
