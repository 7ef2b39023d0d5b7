//! Flags as programs in Go read them, so that the arguments of cert-manager's Deployment can be kept as they are.

use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgAction, Command, builder::ValueParser};

/// The same command, but of a flag that is given twice the last one counts, and a boolean flag may stand without a value, or
/// with one in any of the spellings of Go.
pub fn as_in_go(command: Command) -> Command {
    command.args_override_self(true).mut_args(|arg| if is_boolean(&arg) { boolean(arg) } else { arg })
}

/// Makes a flag boolean: `--flag`, `--flag=false`.
pub fn boolean(arg: Arg) -> Arg {
    let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
    let arg = arg.action(ArgAction::Set).num_args(0..=1).default_missing_value("true").value_parser(parse_bool);
    if is_switch { arg.default_value("false") } else { arg }
}

/// The arguments without flags of this command that stand there with nothing, as templates of charts leave them: `--flag=`, which is an
/// empty list in Go, or no file. Flags that have a default, or take any text, see to it themselves.
pub fn without_empty(command: &Command, arguments: &[OsString]) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut left = arguments.iter().peekable();
    while let Some(argument) = left.next() {
        let text = argument.to_str().and_then(|text| text.strip_prefix("--")).unwrap_or_default();
        match text.split_once('=') {
            Some((name, "")) if may_be_empty(command, name) => {}
            None if may_be_empty(command, text) && left.peek().is_some_and(|next| next.is_empty()) => drop(left.next()),
            _ => kept.push(argument.clone()),
        }
    }
    kept
}

fn may_be_empty(command: &Command, name: &str) -> bool {
    let Some(arg) = command.get_arguments().find(|arg| arg.get_long() == Some(name)) else { return false };
    let is_text = arg.get_value_parser().type_id() == ValueParser::string().type_id();
    let is_optional = match arg.get_action() {
        ArgAction::Append => true,
        ArgAction::Set => !is_text && !is_boolean(arg),
        _ => false,
    };
    is_optional && arg.get_default_values().iter().all(|default| **default == *OsStr::new(""))
}

/// A boolean in one of the spellings that Go takes.
///
/// # Errors
/// In words, if it is something else.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text.trim() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(format!("{other:?} is neither true nor false")),
    }
}

fn is_boolean(arg: &Arg) -> bool {
    match arg.get_action() {
        ArgAction::SetTrue => true,
        ArgAction::Set => arg.get_value_parser().type_id() == ValueParser::bool().type_id(),
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Vec<String>, clap::Error> {
        let command = Command::new("x")
            .arg(Arg::new("set").long("set").action(ArgAction::Set).value_parser(clap::value_parser!(bool)))
            .arg(Arg::new("switch").long("switch").action(ArgAction::SetTrue))
            .arg(Arg::new("level").short('v').long("v").value_parser(clap::value_parser!(u8)))
            .arg(Arg::new("list").long("list").action(ArgAction::Append).value_delimiter(','));
        let matches = as_in_go(command).try_get_matches_from([&["x"], arguments].concat())?;
        let list = matches.get_many::<String>("list").into_iter().flatten().cloned().collect::<Vec<_>>();
        Ok(vec![
            format!("{:?}", matches.get_one::<bool>("set")),
            format!("{:?}", matches.get_one::<bool>("switch")),
            format!("{:?}", matches.get_one::<u8>("level")),
            list.join("+"),
        ])
    }

    #[test]
    fn every_spelling_of_go_is_taken() {
        let nothing = ["None", "Some(false)", "None", ""];
        for (arguments, expected) in [
            (&[][..], nothing),
            (&["--set", "--switch=T"], ["Some(true)", "Some(true)", "None", ""]),
            (&["--set=0", "--switch"], ["Some(false)", "Some(true)", "None", ""]),
            (&["-v=2"], ["None", "Some(false)", "Some(2)", ""]),
            (&["-v", "3"], ["None", "Some(false)", "Some(3)", ""]),
            (&["-v4"], ["None", "Some(false)", "Some(4)", ""]),
            (&["--v=5"], ["None", "Some(false)", "Some(5)", ""]),
            (&["--v", "6", "--set=True", "--set=False", "--v=1"], ["Some(false)", "Some(false)", "Some(1)", ""]),
            (&["--list=a,b", "--list", "c"], ["None", "Some(false)", "None", "a+b+c"]),
        ] {
            assert_eq!(read(arguments).unwrap(), expected, "{arguments:?}");
        }
    }

    #[test]
    fn what_stands_there_with_nothing_is_left_out() {
        let path = clap::value_parser!(std::path::PathBuf);
        let command = Command::new("x")
            .arg(Arg::new("list").long("list").action(ArgAction::Append))
            .arg(Arg::new("full").long("full").action(ArgAction::Append).default_value("a"))
            .arg(Arg::new("file").long("file").value_parser(path))
            .arg(Arg::new("text").long("text"))
            .arg(Arg::new("set").long("set").action(ArgAction::Set).value_parser(clap::value_parser!(bool)));
        let kept = |arguments: &[&str]| -> Vec<String> {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            without_empty(&command, &arguments).into_iter().map(|argument| argument.into_string().unwrap()).collect()
        };
        assert_eq!(kept(&["x", "--list=", "--file=", "--file", "", "--list", ""]), ["x"]);
        let others =
            ["x", "--full=", "--text=", "--text", "", "--set=", "--list=a", "--file", "b", "--other=", "", "--list"];
        assert_eq!(kept(&others), others);
    }

    #[test]
    fn a_wrong_value_is_named_with_its_flag() {
        let refusal = read(&["--set=maybe"]).unwrap_err().to_string();
        assert!(refusal.contains("invalid value 'maybe' for '--set [<set>]'"), "{refusal}");
        assert!(refusal.contains("\"maybe\" is neither true nor false"), "{refusal}");
    }
}
