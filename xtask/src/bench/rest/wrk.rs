//! The load generator: wrk, one thread, on the machine of the server under test.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::super::portmeter::API_KEY;
use super::super::statistics;

/// What wrk says of one measurement.
#[derive(Clone, Copy)]
pub(super) struct Figures {
    pub(super) requests_per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// What to ask, and how hard.
pub(super) struct Load<'a> {
    pub(super) address: &'a str,
    pub(super) path: &'a str,
    pub(super) connection_count: u32,
    pub(super) seconds: u32,
}

impl Load<'_> {
    /// Measures with `wrk`, which is the program's command, perhaps within a namespace. An error answer is an error.
    pub(super) fn run(&self, mut wrk: Command) -> Result<Figures> {
        let Self { address, path, .. } = self;
        wrk.args(["--threads", "1", "--latency"])
            .args(["--connections", &self.connection_count.to_string()])
            .args(["--duration", &format!("{}s", self.seconds)])
            .args(["--header", &format!("X-API-Key: {API_KEY}")])
            .arg(format!("http://{address}{path}"));
        let text = String::from_utf8(wrk.output().context("starting wrk")?.stdout)?;
        ensure!(
            !text.contains("Non-2xx") && !text.contains("Socket errors"),
            "{address}{path} answered with errors:\n{text}"
        );
        let value = |label: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(label));
            line.and_then(|line| line.split_whitespace().nth(1))
                .with_context(|| format!("wrk did not say {label}:\n{text}"))
        };
        Ok(Figures {
            requests_per_second: value("Requests/sec:")?.parse()?,
            p50_ms: milliseconds(value("50%")?)?,
            p99_ms: milliseconds(value("99%")?)?,
        })
    }
}

/// wrk writes `850.00us`, `1.20ms` or `1.05s`.
fn milliseconds(text: &str) -> Result<f64> {
    for (unit, factor) in [("us", 0.001), ("ms", 1.0), ("s", 1_000.0)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>()? * factor);
        }
    }
    bail!("wrk's time {text} has no known unit")
}

/// The median of each figure.
pub(super) fn median(figures: &[Figures]) -> Figures {
    let of = |pick: fn(&Figures) -> f64| {
        let values: Vec<f64> = figures.iter().map(pick).collect();
        statistics::median(&values)
    };
    Figures {
        requests_per_second: of(|one| one.requests_per_second),
        p50_ms: of(|one| one.p50_ms),
        p99_ms: of(|one| one.p99_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(milliseconds("850.00us").unwrap(), 0.85);
        assert_eq!(milliseconds("1.20ms").unwrap(), 1.2);
        assert_eq!(milliseconds("1.05s").unwrap(), 1050.0);
        assert!(milliseconds("1.05").is_err());
    }
}
