//! `cargo xtask soak`: a real agent under everything at once, for as long as one likes (`tests/soak`).
//!
//! `cargo xtask test` runs it for two minutes, `.ci/nightly` for ten.

use anyhow::Result;

use crate::test;

/// Options of `cargo xtask soak`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long it takes, after the builds
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    minutes: u32,
    /// The seed of an earlier soak, which does the same things in the same order
    #[arg(long)]
    seed: Option<u64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    test::run_soak(&words(arguments.minutes, arguments.seed))
}

/// What the program is told.
fn words(minutes: u32, seed: Option<u64>) -> Vec<String> {
    let mut words = vec!["--minutes".to_owned(), minutes.to_string()];
    if let Some(seed) = seed {
        words.extend(["--seed".to_owned(), seed.to_string()]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_passed_on_where_there_is_one() {
        assert_eq!(words(10, None), ["--minutes", "10"]);
        assert_eq!(words(2, Some(7)), ["--minutes", "2", "--seed", "7"]);
    }
}
