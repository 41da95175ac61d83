//! Portmeter, committing as rarely as it can be told to, so that there is something to lose.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde_json::Value;

use super::contender::Contender;
use super::traffic::PORT;
use super::truth::Layer;
use crate::bench::lab::Host;
use crate::bench::portmeter::Portmeter;

pub(super) const TITLE: &str = "Portmeter";

const COMMIT_INTERVAL: Duration = Duration::from_secs(60);

/// The agent with one key.
pub(super) struct PortmeterPeer<'lab> {
    host: &'lab Host,
    data: PathBuf,
    running: Option<Portmeter<'lab>>,
}

impl<'lab> PortmeterPeer<'lab> {
    pub(super) fn new(host: &'lab Host, folder: &Path) -> Self {
        Self {
            host,
            data: folder.join("portmeter"),
            running: None,
        }
    }
}

impl Contender for PortmeterPeer<'_> {
    fn title(&self) -> &'static str {
        TITLE
    }

    fn layer(&self) -> Layer {
        Layer::Packets
    }

    fn save_interval(&self) -> Duration {
        COMMIT_INTERVAL
    }

    fn files(&self) -> Vec<PathBuf> {
        ["ledger.db", "ledger.db-wal"].map(|name| self.data.join(name)).to_vec()
    }

    fn start(&mut self) -> Result<()> {
        let seconds = COMMIT_INTERVAL.as_secs().to_string();
        let settings = [("PORTMETER_LEDGER__COMMIT_INTERVAL_SECONDS", seconds.as_str())];
        let portmeter = Portmeter::start(self.host, &self.data, &settings)?;
        portmeter.make_keys(1)?;
        self.running = Some(portmeter);
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        self.running.take().context("it does not run")?.kill()
    }

    /// Its programs and counters are removed with it, so that what it shows after one more start is the ledger's alone.
    fn finish(&mut self, _traffic_ended: SystemTime) -> Result<u64> {
        self.running = None;
        self.start()?;
        let portmeter = self.running.take().context("it does not run")?;
        received_bytes(&portmeter.get("/api/traffic/simple")?)
    }
}

fn received_bytes(answer: &str) -> Result<u64> {
    let answer: Value = serde_json::from_str(answer)?;
    answer["data"]["ports"][PORT.to_string()]["rx_bytes"]
        .as_u64()
        .with_context(|| format!("Portmeter shows no port {PORT}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_row_is_found() {
        let answer = r#"{"status": "success", "data": {"ports": {"10001": {"port": 10001, "rx_bytes": 12}}}}"#;
        assert_eq!(received_bytes(answer).unwrap(), 12);
        assert!(received_bytes(r#"{"status": "success", "data": {"ports": {}}}"#).is_err());
    }
}
