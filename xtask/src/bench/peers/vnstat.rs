//! vnStat's daemon with a database of its own. It counts interfaces, not ports, by the kernel's statistics of them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::Value;

use super::contender::Contender;
use super::truth::Layer;
use crate::bench::lab::{Host, INTERFACE};
use crate::bench::process::{Running, wait_for, wait_until};
use crate::command;

/// How much later than its interval the last save may come: what it saves it has read up to 20 s before.
const SAVE_DELAY_MAX: Duration = Duration::from_secs(60);

/// vnstatd, and what it leaves when it is killed.
pub(super) struct VnStat<'lab> {
    host: &'lab Host,
    folder: PathBuf,
    save_interval: Duration,
    running: Option<Running>,
}

/// What its database says of the interface.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    received_bytes: u64,
    /// When the interface was read, in unix seconds.
    updated: u64,
}

impl<'lab> VnStat<'lab> {
    pub(super) fn new(host: &'lab Host, folder: &Path, save_interval: Duration) -> Result<Self> {
        let folder = folder.join("vnstat");
        fs::create_dir_all(&folder)?;
        let vnstat = Self {
            host,
            folder,
            save_interval,
            running: None,
        };
        fs::write(vnstat.configuration(), configuration(&vnstat.folder, save_interval))?;
        Ok(vnstat)
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("vnstat.conf")
    }

    fn shown(&self) -> Result<Shown> {
        let mut vnstat = Command::new("vnstat");
        let printed = command::output(vnstat.arg("--config").arg(self.configuration()).arg("--json"))?;
        shown(&serde_json::from_str(&printed)?).with_context(|| format!("vnstat shows no {INTERFACE}"))
    }
}

impl Contender for VnStat<'_> {
    fn title(&self) -> &'static str {
        "vnStat"
    }

    fn layer(&self) -> Layer {
        Layer::Frames
    }

    fn save_interval(&self) -> Duration {
        self.save_interval
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.folder.join("vnstat.db")]
    }

    fn start(&mut self) -> Result<()> {
        let log = self.folder.join("vnstatd.log");
        let mut vnstatd = self.host.command("vnstatd");
        vnstatd
            .args(["--nodaemon", "--config"])
            .arg(self.configuration())
            .stdout(File::create(&log)?)
            .stderr(Stdio::inherit());
        self.running = Some(Running::start(&mut vnstatd)?);
        let monitors = || fs::read_to_string(&log).is_ok_and(|text| text.contains("Monitoring"));
        wait_until("vnstatd monitors", monitors).with_context(|| format!("see {}", log.display()))
    }

    fn kill(&mut self) -> Result<()> {
        self.running.take().context("it does not run")?.kill()
    }

    fn finish(&mut self, traffic_ended: SystemTime) -> Result<u64> {
        let ended = traffic_ended.duration_since(UNIX_EPOCH)?.as_secs();
        let patience = self.save_interval + SAVE_DELAY_MAX;
        wait_for("what vnStat read after the traffic is saved", patience, || {
            Ok((self.shown()?.updated > ended).then_some(()))
        })?;
        self.running = None;
        Ok(self.shown()?.received_bytes)
    }
}

fn configuration(folder: &Path, save_interval: Duration) -> String {
    // It logs to its output, and remains who it is.
    format!(
        "DatabaseDir \"{}\"\n\
         SaveInterval {}\n\
         UseLogging 0\n\
         DaemonUser \"\"\n\
         DaemonGroup \"\"\n",
        folder.display(),
        save_interval.as_secs() / 60
    )
}

fn shown(database: &Value) -> Option<Shown> {
    let interfaces = database["interfaces"].as_array()?;
    let interface = interfaces.iter().find(|interface| interface["name"] == INTERFACE)?;
    Some(Shown {
        received_bytes: interface["traffic"]["total"]["rx"].as_u64()?,
        updated: interface["updated"]["timestamp"].as_u64()?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_interfaces_total_is_found() {
        let interface = json!({"name": "eth0", "updated": {"timestamp": 7}, "traffic": {"total": {"rx": 12, "tx": 1}}});
        let found = shown(&json!({"interfaces": [{"name": "lo"}, interface]}));
        assert_eq!(
            found,
            Some(Shown {
                received_bytes: 12,
                updated: 7
            })
        );
        assert_eq!(shown(&json!({"interfaces": []})), None);
    }
}
