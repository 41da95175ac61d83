//! A command in parts: each is announced, timed, and listed again at the end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The parts of one command that have run so far.
#[derive(Default)]
pub(crate) struct Parts {
    durations: Vec<(&'static str, Duration)>,
}

impl Parts {
    /// Runs the next part; its failure names it and ends the command.
    pub(crate) fn run(&mut self, name: &'static str, part: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("\n== {name}");
        let started = Instant::now();
        let result = part();
        self.durations.push((name, started.elapsed()));
        if result.is_err() {
            self.report();
        }
        result.with_context(|| format!("{name} failed"))
    }

    /// Prints how long each part took.
    pub(crate) fn report(&self) {
        println!();
        for (name, duration) in &self.durations {
            println!("{:>8.1} s  {name}", duration.as_secs_f64());
        }
    }
}
