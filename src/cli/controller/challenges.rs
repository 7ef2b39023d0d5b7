//! The flags that say how many challenges are under way at once, of whichever type.

use clap::Args;

use crate::decide::schedule::DEFAULT_MOST;

/// How many challenges are under way at once.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Challenges")]
pub(super) struct ChallengeArgs {
    /// How many challenges are presented at once, in the whole cluster; each of the --shards has its part. One that takes
    /// longer than a minute stays presented, but does not count any more.
    #[arg(long, value_name = "NUMBER", default_value_t = DEFAULT_MOST, value_parser = at_least_one)]
    pub(super) max_concurrent_challenges: usize,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(0) => Err("with 0 nothing could ever be issued; the least is 1".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("not a whole number: {error}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::cli::controller::testing::read;

    #[test]
    fn sixty_unless_said_otherwise() {
        let most = |line: &[&str]| read(line).map(|args| args.challenges.max_concurrent_challenges);
        assert_eq!(most(&[]).unwrap(), 60);
        assert_eq!(most(&["--max-concurrent-challenges=5"]).unwrap(), 5);
        for wrong in ["0", "-1", "many"] {
            assert!(most(&[&format!("--max-concurrent-challenges={wrong}")]).is_err(), "{wrong}");
        }
    }
}
