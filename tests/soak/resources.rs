//! What an agent has at rest: memory, descriptors, threads, children, pins, programs.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use portmeter_tests::agent::Agent;
use portmeter_tests::{bpftool, snapshot};

/// How often it is looked at while it rests.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// How much more anonymous memory (heap and stacks) an agent may have in the end: what its allocator and SQLite keep for
/// each thread that has been busy differed by at most 5 MiB in soaks of ten minutes.
const MEMORY_NOISE_KIB: u64 = 10 * 1_024;

/// How many more threads: the runtime keeps as many for blocking calls as were ever made at the same time, for as long as
/// one of them is used every two seconds, whichever that is.
const THREADS_NOISE: usize = 4;

/// How many more descriptors: the ledger keeps as many readers, of two or three files each, as ever read at the same time.
const DESCRIPTORS_NOISE: usize = 6;

/// What an agent has at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resources {
    /// Resident memory of no file: the heap and the stacks.
    anonymous_kib: u64,
    /// All resident memory; told, and not judged: it depends on which pages of its files happen to be there.
    resident_kib: u64,
    descriptors: usize,
    threads: usize,
    /// Processes whose parent it is, those among them that nobody has waited for too.
    children: usize,
    /// Everything below its folder in the BPF file system.
    pins: BTreeSet<PathBuf>,
    /// Loaded programs that use its counters.
    programs: usize,
    /// What its data folder holds, by name; without what comes and goes with the ledger's writes.
    data: BTreeSet<PathBuf>,
}

impl Resources {
    /// The least that an agent is seen to have during `rest`: threads and descriptors of what is over go in that time.
    pub(crate) fn at_rest(agent: &Agent<'_>, rest: Duration) -> Result<Self> {
        let started = Instant::now();
        let mut least = Self::now(agent)?;
        while started.elapsed() < rest {
            thread::sleep(LOOK_INTERVAL);
            let now = Self::now(agent)?;
            least = Self {
                anonymous_kib: least.anonymous_kib.min(now.anonymous_kib),
                resident_kib: least.resident_kib.min(now.resident_kib),
                descriptors: least.descriptors.min(now.descriptors),
                threads: least.threads.min(now.threads),
                children: least.children.min(now.children),
                programs: least.programs.min(now.programs),
                ..now
            };
        }
        Ok(least)
    }

    fn now(agent: &Agent<'_>) -> Result<Self> {
        let process = Path::new("/proc").join(agent.process_id()?.to_string());
        let status = fs::read_to_string(process.join("status"))?;
        let counters = bpftool::map(&agent.pin_folder().join("maps/port_counters"))?;
        let counters = counters["id"].as_u64().context("the map's id")?;
        Ok(Self {
            anonymous_kib: field(&status, "RssAnon")?,
            resident_kib: field(&status, "VmRSS")?,
            descriptors: fs::read_dir(process.join("fd"))?.count(),
            threads: fs::read_dir(process.join("task"))?.count(),
            children: children(agent.process_id()?)?,
            pins: snapshot::paths_of(&agent.pin_folder())?.into_iter().collect(),
            programs: bpftool::programs_using(counters)?.len(),
            data: lasting_names(&agent.data_folder())?,
        })
    }

    /// What has grown since `earlier`, a sentence each.
    pub(crate) fn growth_since(&self, earlier: &Self) -> Vec<String> {
        let mut grown = Vec::new();
        if self.anonymous_kib > earlier.anonymous_kib + MEMORY_NOISE_KIB {
            let (was, is) = (earlier.anonymous_kib, self.anonymous_kib);
            grown.push(format!("memory of its own: {was} KiB before, {is} KiB now"));
        }
        for (what, was, is, noise) in [
            ("descriptors", earlier.descriptors, self.descriptors, DESCRIPTORS_NOISE),
            ("threads", earlier.threads, self.threads, THREADS_NOISE),
            ("child processes", earlier.children, self.children, 0),
            ("programs in the kernel", earlier.programs, self.programs, 0),
        ] {
            if is > was + noise {
                grown.push(format!("{what}: {was} before, {is} now"));
            }
        }
        for (what, was, is) in [
            ("pins", &earlier.pins, &self.pins),
            ("files of its data", &earlier.data, &self.data),
        ] {
            let more: Vec<_> = is.difference(was).collect();
            if !more.is_empty() {
                grown.push(format!("{what} that were not there before: {more:?}"));
            }
        }
        grown
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} KiB of its own ({} KiB resident), {} descriptors, {} threads, {} children, {} pins, {} programs",
            self.anonymous_kib,
            self.resident_kib,
            self.descriptors,
            self.threads,
            self.children,
            self.pins.len(),
            self.programs
        )
    }
}

/// A number in /proc/<id>/status.
fn field(status: &str, name: &str) -> Result<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("no {name} in {status}"))
}

/// Processes whose parent this one is.
fn children(process: u32) -> Result<usize> {
    let parent = |id: u32| -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        field(&status, "PPid").ok()
    };
    let ids = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(ids.filter(|id| parent(*id) == Some(process.into())).count())
}

/// Saved configurations of the core come with every change of a key, and have a limit of their own.
fn lasting_names(data_folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let backups = data_folder.join("xray/backups");
    let names = snapshot::paths_of(data_folder)?.into_iter();
    Ok(names.filter(|path| !path.starts_with(&backups)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources() -> Resources {
        Resources {
            anonymous_kib: 20_000,
            resident_kib: 40_000,
            descriptors: 60,
            threads: 8,
            children: 1,
            pins: ["maps/port_counters".into()].into(),
            programs: 6,
            data: ["ledger.db".into()].into(),
        }
    }

    #[test]
    fn what_has_grown_is_named() {
        let before = resources();
        assert!(resources().growth_since(&before).is_empty());
        let noise = Resources {
            anonymous_kib: before.anonymous_kib + MEMORY_NOISE_KIB,
            resident_kib: 90_000,
            descriptors: 60 + DESCRIPTORS_NOISE,
            threads: 8 + THREADS_NOISE,
            children: 0,
            ..resources()
        };
        assert!(noise.growth_since(&before).is_empty());
        let grown = Resources {
            anonymous_kib: before.anonymous_kib + MEMORY_NOISE_KIB + 1,
            descriptors: 61 + DESCRIPTORS_NOISE,
            threads: 9 + THREADS_NOISE,
            children: 2,
            pins: ["maps/port_counters".into(), "maps_next".into()].into(),
            programs: 7,
            data: ["ledger.db".into(), "ledger.db.tmp".into()].into(),
            ..resources()
        };
        let named = grown.growth_since(&before).join("\n");
        for what in [
            "memory",
            "descriptors: 60 before, 67 now",
            "threads",
            "child processes",
            "programs",
            "maps_next",
            "ledger.db.tmp",
        ] {
            assert!(named.contains(what), "no {what} in {named}");
        }
        assert_eq!(grown.growth_since(&before).len(), 7);
    }

    #[test]
    fn a_field_of_status_is_found_by_its_whole_name() {
        let status = "VmRSS:\t  1234 kB\nRssAnon:\t 99 kB\n";
        assert_eq!(field(status, "RssAnon").unwrap(), 99);
        assert!(field(status, "Rss").is_err());
    }
}
