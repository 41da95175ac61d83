//! What a contender has to be able to do: to be killed, to come back, and to show what it has counted.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Result;

use super::truth::Layer;

/// A program that counts on the server and saves now and then.
pub(super) trait Contender: Send {
    fn title(&self) -> &'static str;

    /// What its bytes are bytes of.
    fn layer(&self) -> Layer;

    /// How long it goes without saving, at most.
    fn save_interval(&self) -> Duration;

    /// The files that it saves to, and that nothing else changes.
    fn files(&self) -> Vec<PathBuf>;

    /// Starts it on what its files hold, and waits until it counts.
    fn start(&mut self) -> Result<()>;

    /// Ends it, with all of its processes, by SIGKILL.
    fn kill(&mut self) -> Result<()>;

    /// Lets it save what passed before `traffic_ended`, stops it in the ordinary way, and tells the received bytes that
    /// it shows in all.
    fn finish(&mut self, traffic_ended: SystemTime) -> Result<u64>;
}

/// When the last save was; `None` before the first.
pub(super) fn saved_at(contender: &dyn Contender) -> Option<SystemTime> {
    let modified = |file: PathBuf| fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
    contender.files().into_iter().filter_map(modified).max()
}
