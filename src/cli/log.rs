//! Logging to standard error.

use std::sync::{Mutex, PoisonError};

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::suggestion::suggestion;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Json,
    Text,
}

/// What is logged, which can be changed while the program runs.
pub struct Level {
    now: Mutex<String>,
    replace: Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>,
}

impl Level {
    /// A level, or directives such as `info,certwright::acme=debug`.
    pub fn now(&self) -> String {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// # Errors
    /// What is wrong with the directives; then nothing changes.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        checked(filter)?;
        let parsed = EnvFilter::try_new(without_repetition(filter)).map_err(|error| error.to_string())?;
        (self.replace)(parsed)?;
        filter.clone_into(&mut now);
        Ok(())
    }
}

/// A level, or directives, of the command line.
///
/// # Errors
/// What is wrong with it, in words.
pub fn checked(filter: &str) -> Result<String, String> {
    let words = filter.split(',').map(str::trim).filter(|word| !word.contains(['=', '[', ':']));
    for word in words.filter(|word| !word.is_empty()) {
        // It would be taken for a module, and nothing of any other would be logged.
        if word.parse::<LevelFilter>().is_err() {
            return Err(format!("{word:?} is not one of the levels {}{}", LEVELS.join(", "), suggestion(word, LEVELS)));
        }
    }
    EnvFilter::try_new(filter).map_err(|error| format!("{filter:?} is no filter: {error}"))?;
    Ok(filter.to_owned())
}

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Starts logging. `filter` is a level, or directives such as `info,certwright::acme=debug`; `RUST_LOG` goes before it.
pub fn start(format: Format, filter: &str) -> Level {
    let (now, filter) = match EnvFilter::try_from_default_env() {
        Ok(given) => (given.to_string(), given),
        Err(_) => (filter.to_owned(), EnvFilter::new(without_repetition(filter))),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start, as in tests, keeps the first one's settings.
    let replace: Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync> = match format {
        Format::Json => {
            let builder = builder.json().with_filter_reloading();
            let handle = builder.reload_handle();
            let _ = builder.try_init();
            Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
        }
        Format::Text => {
            let builder = builder.with_ansi(false).with_filter_reloading();
            let handle = builder.reload_handle();
            let _ = builder.try_init();
            Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
        }
    };
    Level { now: Mutex::new(now), replace }
}

/// The libraries would tell of each refused try to watch and of each request that met nobody. We do so where it matters, and as
/// often as it is news. Whoever names them hears them.
fn without_repetition(filter: &str) -> String {
    format!("kube_client::client::builder=off,kube_runtime::watcher=error,{filter}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_a_filter_replaces_the_level() {
        let level = Level { now: Mutex::new("info".to_owned()), replace: Box::new(|_| Ok(())) };
        level.set("info,certwright::acme=debug").unwrap();
        assert_eq!(level.now(), "info,certwright::acme=debug");
        assert!(level.set("certwright=loudly").unwrap_err().contains("certwright=loudly"));
        assert_eq!(level.now(), "info,certwright::acme=debug");
    }

    #[test]
    fn a_misspelled_level_is_no_module() {
        for right in
            ["info", "WARN", "off", "3", "", "info,certwright::acme=debug", "certwright::acme", "kube=warn,error"]
        {
            assert_eq!(checked(right).as_deref(), Ok(right));
        }
        for (wrong, words) in [
            ("loud", "\"loud\" is not one of the levels error, warn, info, debug, trace"),
            ("certwright::acme=debug, inof", "(did you mean info?)"),
            ("certwright=loudly", "\"certwright=loudly\" is no filter"),
        ] {
            let refusal = checked(wrong).unwrap_err();
            assert!(refusal.contains(words), "{wrong}: {refusal}");
        }
    }

    #[test]
    fn what_is_said_twice_is_said_by_us() {
        let filter = |given: &str| EnvFilter::try_new(without_repetition(given)).unwrap().to_string();
        assert!(filter("info").contains("kube_runtime::watcher=error"));
        let named = filter("kube_runtime::watcher=debug,info");
        assert!(named.contains("kube_runtime::watcher=debug") && !named.contains("watcher=error"), "{named}");
    }
}
