//! How much the agent's log tells: what is set while it runs, otherwise what is configured.

use portmeter_daemon::log::{Log, LogLevel};

use crate::settings::{LOG_LEVEL, Stored};

/// The agent's log; a clone is the same one.
#[derive(Clone)]
pub struct Telemetry(Log);

impl Telemetry {
    /// Over the log that runs.
    pub fn new(log: Log) -> Self {
        Self(log)
    }

    /// Has the log tell what is wanted now.
    pub fn follow(&self, configured: &LogLevel, stored: &Stored) {
        self.0.set_level(&level(configured, stored));
    }
}

/// What is stored is one of the levels; one that is not, of another version, counts as none.
fn level(configured: &LogLevel, stored: &Stored) -> LogLevel {
    let set = stored.text(LOG_LEVEL).and_then(|level| level.parse().ok());
    set.unwrap_or_else(|| configured.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::settings::Value;

    #[test]
    fn what_is_set_wins_over_what_is_configured() {
        let configured: LogLevel = "warn".parse().unwrap();
        assert_eq!(level(&configured, &Stored::default()), configured);
        let stored = Stored {
            values: BTreeMap::from([(LOG_LEVEL, Value::from("debug"))]),
            ..Stored::default()
        };
        assert_eq!(level(&configured, &stored).to_string(), "debug");
    }
}
