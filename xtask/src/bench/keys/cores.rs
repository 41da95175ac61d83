//! The cores of a namespace: an agent leaves its own running.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::super::lab::Host;
use super::super::process::wait_until;
use crate::command;

/// As /proc/net/tcp has a socket that listens.
const LISTENING: &str = "0A";

/// All cores of one host; killed when dropped.
pub(super) struct Cores<'lab>(&'lab Host);

impl<'lab> Cores<'lab> {
    pub(super) fn of(host: &'lab Host) -> Self {
        Self(host)
    }

    /// Those that run.
    pub(super) fn process_ids(&self) -> Result<Vec<u32>> {
        self.0.inside(|| {
            let here = fs::read_link("/proc/thread-self/ns/net")?;
            let ids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
            let is_here = |id: &u32| fs::read_link(format!("/proc/{id}/ns/net")).is_ok_and(|its| its == here);
            Ok(ids.filter(|id| is_core(*id) && is_here(id)).collect())
        })
    }

    /// Ends them by SIGKILL and waits until they are gone.
    pub(super) fn kill(&self) -> Result<()> {
        let ids = self.process_ids()?;
        if !ids.is_empty() {
            let ids = ids.iter().map(u32::to_string);
            command::output(Command::new("kill").arg("-KILL").args(ids))?;
        }
        wait_until("killed cores are gone", || {
            self.process_ids().is_ok_and(|ids| ids.is_empty())
        })
    }
}

impl Drop for Cores<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("a core stays behind: {error:#}");
        }
    }
}

/// The TCP ports that anybody listens on in this thread's namespace.
pub(super) fn listening_ports() -> Result<BTreeSet<u16>> {
    let mut ports = BTreeSet::new();
    for table in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
        let text = fs::read_to_string(table).with_context(|| format!("reading {table}"))?;
        ports.extend(text.lines().skip(1).filter_map(listening_port));
    }
    Ok(ports)
}

fn listening_port(line: &str) -> Option<u16> {
    let mut columns = line.split_whitespace().skip(1);
    let (_, port) = columns.next()?.rsplit_once(':')?;
    (columns.nth(1)? == LISTENING).then(|| u16::from_str_radix(port, 16).ok())?
}

/// Told by its command line: `… run -c …/config.json`.
fn is_core(process: u32) -> bool {
    let words = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let words: Vec<&str> = words.split('\0').collect();
    words.contains(&"run") && !words.contains(&"-test") && words.iter().any(|word| word.ends_with("config.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_told_from_a_connection() {
        let line = |state| format!("   0: 0100007F:2711 00000000:0000 {state} 00000000:00000000");
        assert_eq!(listening_port(&line("0A")), Some(10_001));
        assert_eq!(listening_port(&line("01")), None);
        assert_eq!(listening_port(""), None);
    }
}
