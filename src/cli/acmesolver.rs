//! `certwright acmesolver`: answers one HTTP-01 or TLS-ALPN-01 challenge until it is told to stop.

use std::io;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

use crate::api::Sensitive;
use crate::api::names::challenge_type;
use crate::http01::SOLVER_PORT;
use crate::http01::server::{Answer, HostHeader, serve};
use crate::serve::listen_everywhere;
use crate::tls_alpn01::server as tls_alpn01;

/// The flags of cert-manager's acmesolver, and two more.
#[derive(Args)]
pub struct AcmeSolverArgs {
    /// How to answer.
    #[arg(long, value_enum, default_value = "http-01")]
    challenge_type: ChallengeType,
    /// Port to listen on.
    #[arg(long, default_value_t = SOLVER_PORT)]
    listen_port: u16,
    /// DNS name or IP address of the challenge.
    #[arg(long)]
    domain: String,
    /// Token of the challenge.
    #[arg(long)]
    token: String,
    /// Key authorization to answer with.
    // It stands in the Pod's spec and in the process list. That is no leak: it is what anybody on the Internet may fetch
    // from the name while the challenge runs, it holds a hash of the account's public key, and it is of no use to anyone
    // without the account's private key.
    #[arg(long)]
    key: String,
    /// Where requests have the name that they are for: Host, Forwarded (RFC 7239), or another header such as
    /// X-Forwarded-Host.
    #[arg(long, value_name = "HEADER", default_value_t)]
    host_header: HostHeader,
}

/// The types of challenges that a pod can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ChallengeType {
    #[value(name = challenge_type::ACME_HTTP01)]
    Http01,
    #[value(name = challenge_type::ACME_TLS_ALPN01)]
    TlsAlpn01,
}

/// Why the solver stopped or did not start.
#[derive(Debug, Error)]
pub enum AcmeSolverError {
    #[error("port {port} cannot be listened on; is another process using it?")]
    Listen { port: u16, source: io::Error },
    #[error(transparent)]
    Answer(#[from] tls_alpn01::AnswerError),
    #[error("the process cannot wait for signals to stop")]
    Signal(#[source] io::Error),
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(args: AcmeSolverArgs) -> Result<(), AcmeSolverError> {
    let port = args.listen_port;
    let listener = listen_everywhere(port).await.map_err(|source| AcmeSolverError::Listen { port, source })?;
    let mut terminate = signal(SignalKind::terminate()).map_err(AcmeSolverError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AcmeSolverError::Signal)?;
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tracing::info!(port, domain = args.domain, "serving the answer to one challenge");
    let (domain, key) = (args.domain, Sensitive::from(args.key));
    match args.challenge_type {
        ChallengeType::Http01 => {
            serve(listener, Answer { domain, token: args.token, key }, args.host_header, stop).await;
        }
        ChallengeType::TlsAlpn01 => {
            let settings = tls_alpn01::settings(&tls_alpn01::Answer { domain, key }, Timestamp::now())?;
            tls_alpn01::serve(listener, settings, stop).await;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: AcmeSolverArgs,
    }

    #[test]
    fn flags_are_those_of_the_pod() {
        let flags = ["", "--listen-port=8090", "--domain=2001:db8::7", "--token=-_a", "--key=-_a.-b"];
        let args = Cli::try_parse_from(flags).ok().unwrap().args;
        assert_eq!(args.listen_port, 8090);
        assert_eq!((args.domain.as_str(), args.token.as_str(), args.key.as_str()), ("2001:db8::7", "-_a", "-_a.-b"));
        let args = Cli::try_parse_from(["", "--domain=d", "--token=t", "--key=k"]).ok().unwrap().args;
        assert_eq!((args.listen_port, args.challenge_type), (8089, ChallengeType::Http01));
        assert_eq!(args.host_header, HostHeader::Host);
        let flags = ["", "--domain=d", "--token=t", "--key=k", "--host-header=forwarded"];
        assert_eq!(Cli::try_parse_from(flags).ok().unwrap().args.host_header, HostHeader::Forwarded);
        let flags = ["", "--domain=d", "--token=t", "--key=k", "--host-header=a b"];
        assert!(Cli::try_parse_from(flags).is_err());
        let over_tls = ["", "--challenge-type=tls-alpn-01", "--domain=d", "--token=t", "--key=k"];
        assert_eq!(Cli::try_parse_from(over_tls).ok().unwrap().args.challenge_type, ChallengeType::TlsAlpn01);
        assert!(Cli::try_parse_from(["", "--domain=d", "--token=t"]).is_err());
    }
}
