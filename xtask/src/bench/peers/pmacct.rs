//! pmacctd with its print plugin, which adds what it has counted to a file every minute.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::contender::{Contender, saved_at};
use super::traffic::PORT;
use super::truth::Layer;
use crate::bench::lab::{Host, INTERFACE};
use crate::bench::process::{Running, wait_for, wait_until};
use crate::command;

/// Its default.
const REFRESH: Duration = Duration::from_secs(60);
/// How late a refresh and what it prints may be.
const BLOCK_DELAY_MAX: Duration = Duration::from_secs(5);

/// pmacctd, and what it leaves when it is killed.
pub(super) struct Pmacct<'lab> {
    host: &'lab Host,
    folder: PathBuf,
    running: Option<Running>,
}

impl<'lab> Pmacct<'lab> {
    pub(super) fn new(host: &'lab Host, folder: &Path) -> Result<Self> {
        let folder = folder.join("pmacct");
        fs::create_dir_all(&folder)?;
        let pmacct = Self {
            host,
            folder,
            running: None,
        };
        fs::write(pmacct.configuration(), configuration(&pmacct.printed()))?;
        Ok(pmacct)
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("pmacctd.conf")
    }

    fn printed(&self) -> PathBuf {
        self.folder.join("received.json")
    }
}

impl Contender for Pmacct<'_> {
    fn title(&self) -> &'static str {
        "pmacct"
    }

    fn layer(&self) -> Layer {
        Layer::Packets
    }

    fn save_interval(&self) -> Duration {
        REFRESH
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.printed()]
    }

    fn start(&mut self) -> Result<()> {
        let log = self.folder.join("pmacctd.log");
        let mut pmacctd = self.host.command("pmacctd");
        pmacctd
            .arg("-f")
            .arg(self.configuration())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        self.running = Some(Running::start(&mut pmacctd)?);
        let listens = || {
            let sockets = command::output(self.host.command("cat").arg("/proc/net/packet"));
            sockets.is_ok_and(|sockets| sockets.lines().count() > 1)
        };
        wait_until("pmacctd listens", listens).with_context(|| format!("see {}", log.display()))
    }

    fn kill(&mut self) -> Result<()> {
        self.running.take().context("it does not run")?.kill()
    }

    /// Captured packets reach it in blocks, a second late, so one refresh may not be the last that has something to
    /// print. It is done when one has passed without.
    fn finish(&mut self, traffic_ended: SystemTime) -> Result<u64> {
        let is_done = || {
            let last = saved_at(self).map_or(traffic_ended, |saved| saved.max(traffic_ended));
            Ok((last.elapsed().unwrap_or_default() > REFRESH + BLOCK_DELAY_MAX).then_some(()))
        };
        wait_for("pmacct has nothing to print", 3 * REFRESH, is_done)?;
        self.running = None;
        received_bytes(&fs::read_to_string(self.printed())?)
    }
}

fn configuration(printed: &Path) -> String {
    format!(
        "daemonize: false\n\
         pcap_interface: {INTERFACE}\n\
         promisc: false\n\
         plugins: print[received]\n\
         aggregate[received]: dst_port\n\
         aggregate_filter[received]: dst port {PORT}\n\
         print_refresh_time[received]: {}\n\
         print_output[received]: json\n\
         print_output_file_append[received]: true\n\
         print_output_file[received]: {}\n",
        REFRESH.as_secs(),
        printed.display()
    )
}

/// The sum over all refreshes.
fn received_bytes(printed: &str) -> Result<u64> {
    let rows = printed.lines().map(serde_json::from_str::<Value>);
    let mut sum = 0;
    for row in rows {
        let row = row.context("pmacct has printed what is no JSON")?;
        ensure!(row["port_dst"] == PORT, "pmacct has printed another port: {row}");
        sum += row["bytes"].as_u64().context("pmacct has printed no bytes")?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refresh_counts() {
        let printed = "{\"event_type\": \"purge\", \"port_dst\": 10001, \"packets\": 2, \"bytes\": 2000}\n\
                       {\"event_type\": \"purge\", \"port_dst\": 10001, \"packets\": 1, \"bytes\": 1000}\n";
        assert_eq!(received_bytes(printed).unwrap(), 3000);
        assert!(received_bytes("{\"port_dst\": 1, \"bytes\": 1}").is_err());
        assert!(received_bytes("{").is_err());
    }
}
