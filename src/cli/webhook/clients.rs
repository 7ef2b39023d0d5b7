//! The flags that say who may ask the webhook.

use std::{path::Path, sync::Arc};

use clap::Args;

use super::WebhookError;
use crate::tls::{Clients, Source, follow};

/// Who may ask: anybody who can reach it, unless these say otherwise.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Clients")]
pub(super) struct ClientArgs {
    /// Answer only clients that have a certificate of the CA in --client-ca-path. The API server has to be told to show one.
    #[arg(long, value_name = "BOOL", default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    enable_client_verification: bool,
    /// File with the certificates of the CAs of clients. It is read again when it changes.
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    client_ca_path: String,
    /// Of those clients, only those with one of these as common name or DNS name of their certificate, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    client_subject_names: Vec<String>,
}

impl ClientArgs {
    /// Begins to read the CA, if clients are verified.
    pub(super) fn start(&self) -> Result<Option<Arc<Clients>>, WebhookError> {
        let names: Vec<_> = self.client_subject_names.iter().filter(|name| !name.is_empty()).cloned().collect();
        if !self.enable_client_verification {
            if !self.client_ca_path.is_empty() || !names.is_empty() {
                let problem =
                    "--client-ca-path and --client-subject-names mean nothing without --enable-client-verification";
                return Err(WebhookError::Clients(problem.to_owned()));
            }
            return Ok(None);
        }
        if self.client_ca_path.is_empty() {
            let problem = "--enable-client-verification needs --client-ca-path too";
            return Err(WebhookError::Clients(problem.to_owned()));
        }
        let clients = Arc::new(Clients::new(names));
        let file = Source::bundle(Path::new(&self.client_ca_path));
        let (held, name) = (clients.clone(), self.client_ca_path.clone());
        let take = move |[bundle]: &[Vec<u8>; 1]| held.trust(bundle).map_err(|problem| format!("{name}: {problem}"));
        tokio::spawn(follow("the CA of the webhook's clients", [file], take));
        Ok(Some(clients))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        clients: ClientArgs,
    }

    fn started(flags: &[&str]) -> Result<bool, String> {
        let cli = Cli::try_parse_from([&["webhook"], flags].concat()).ok().unwrap();
        cli.clients.start().map(|clients| clients.is_some()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn flags_that_belong_together_are_told_of() {
        assert_eq!(started(&[]), Ok(false));
        assert_eq!(started(&["--enable-client-verification=true", "--client-ca-path=x"]), Ok(true));
        assert!(started(&["--enable-client-verification"]).unwrap_err().contains("needs --client-ca-path"));
        for flag in ["--client-ca-path=x", "--client-subject-names=a"] {
            assert!(started(&[flag]).unwrap_err().contains("without --enable-client-verification"), "{flag}");
        }
    }
}
