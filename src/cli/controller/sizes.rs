//! The flags that say how much is read of what others have written.

use clap::{Args, builder::RangedU64ValueParser};

use super::ControllerError;
use crate::pki::pem::Limits;

/// How much is read at most. Longer ones are refused.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sizes")]
pub(in crate::cli) struct SizeArgs {
    /// The longest certificate or certificate request, in bytes of PEM.
    #[arg(long = "max-certificate-size", value_name = "BYTES", default_value_t = Limits::default().certificate, value_parser = size())]
    certificate_size: usize,
    /// The longest private key, in bytes of PEM.
    #[arg(long = "max-private-key-size", value_name = "BYTES", default_value_t = Limits::default().private_key, value_parser = size())]
    private_key_size: usize,
    /// The longest chain of certificates, in bytes of PEM.
    #[arg(long = "max-certificate-chain-length", value_name = "BYTES", default_value_t = Limits::default().chain, value_parser = size())]
    chain_length: usize,
    /// The longest bundle of trusted certificates, in bytes of PEM.
    #[arg(long = "max-certificate-bundle-size", value_name = "BYTES", default_value_t = Limits::default().bundle, value_parser = size())]
    bundle_size: usize,
}

/// Larger than anything that fits into an object of Kubernetes.
const MOST: u64 = 16 << 20;

fn size() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=MOST)
}

impl SizeArgs {
    pub(in crate::cli) fn limits(&self) -> Result<Limits, ControllerError> {
        let limits = Limits {
            private_key: self.private_key_size,
            certificate: self.certificate_size,
            chain: self.chain_length,
            bundle: self.bundle_size,
        };
        for (flag, value) in [("certificate-size", limits.certificate), ("certificate-chain-length", limits.chain)] {
            if value > limits.bundle {
                return Err(ControllerError::Sizes(flag, value, limits.bundle));
            }
        }
        Ok(limits)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{super::testing::read, *};

    #[test]
    fn a_bundle_holds_at_least_what_is_read_of_it() {
        let limits = |flags: &[&str]| read(flags).unwrap().sizes.limits();
        assert_eq!(limits(&[]).unwrap(), Limits::default());
        assert_eq!(limits(&["--max-private-key-size=1"]).unwrap(), Limits { private_key: 1, ..Limits::default() });
        assert_eq!(
            limits(&["--max-certificate-size=400000"]).unwrap_err().to_string(),
            "--max-certificate-size 400000 is more than --max-certificate-bundle-size, which is 330000"
        );
        for wrong in ["0", "-1", "1.5", "16777217"] {
            assert!(read(&[&format!("--max-private-key-size={wrong}")]).is_err(), "{wrong}");
        }
    }
}
