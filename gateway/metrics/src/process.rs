//! The process itself, by the names that every Prometheus client library uses.

use std::fmt;
use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use crate::{Family, Page, Unit};

/// What is told of the process.
pub const PROCESS_FAMILIES: [&Family; 6] = [
    &CPU,
    &RESIDENT_MEMORY,
    &VIRTUAL_MEMORY,
    &OPEN_DESCRIPTORS,
    &MOST_DESCRIPTORS,
    &START_TIME,
];

const CPU: Family = Family::counter(
    "process_cpu",
    "CPU time that the process has used, in user and system mode",
)
.of(Unit::Seconds);
const RESIDENT_MEMORY: Family =
    Family::gauge("process_resident_memory", "Memory of the process that is in RAM").of(Unit::Bytes);
const VIRTUAL_MEMORY: Family = Family::gauge("process_virtual_memory", "Address space of the process").of(Unit::Bytes);
const OPEN_DESCRIPTORS: Family = Family::gauge("process_open_fds", "Open file descriptors of the process");
const MOST_DESCRIPTORS: Family = Family::gauge(
    "process_max_fds",
    "Most file descriptors that the process may have open",
);
const START_TIME: Family =
    Family::gauge("process_start_time", "When the process started, since 1970").of(Unit::Seconds);

/// The process at one moment. What the system does not show is `None`, and has no row.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Process {
    usage: Option<Usage>,
    open_descriptors: Option<u64>,
    most_descriptors: Option<u64>,
    start_time_seconds: Option<f64>,
}

impl Process {
    /// Reads this process.
    pub fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).ok();
        let usage = text("/proc/self/stat").and_then(|stat| Usage::parse(&stat, clock_ticks_per_second(), page_size()));
        let boot = text("/proc/stat").and_then(|stat| boot_time_seconds(&stat));
        Self {
            usage,
            // One of them is what the folder is read by.
            open_descriptors: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|entries| (entries.count() as u64).saturating_sub(1)),
            most_descriptors: getrlimit(Resource::Nofile).current,
            start_time_seconds: usage
                .zip(boot)
                .map(|(usage, boot)| boot + usage.started_seconds_after_boot),
        }
    }

    /// Writes [`PROCESS_FAMILIES`].
    pub fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        if let Some(usage) = &self.usage {
            page.figure(&CPU, usage.cpu_seconds)?;
            page.figure(&RESIDENT_MEMORY, usage.resident_bytes)?;
            page.figure(&VIRTUAL_MEMORY, usage.virtual_bytes)?;
        }
        for (family, figure) in [
            (&OPEN_DESCRIPTORS, self.open_descriptors),
            (&MOST_DESCRIPTORS, self.most_descriptors),
        ] {
            if let Some(figure) = figure {
                page.figure(family, figure)?;
            }
        }
        match self.start_time_seconds {
            Some(seconds) => page.figure(&START_TIME, seconds),
            None => Ok(()),
        }
    }
}

/// What `/proc/self/stat` tells (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq)]
struct Usage {
    cpu_seconds: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    started_seconds_after_boot: f64,
}

impl Usage {
    /// The name in parentheses may hold spaces and parentheses of its own, so fields are counted from the last one.
    fn parse(stat: &str, ticks_per_second: u64, page_bytes: usize) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        // The first field here is the third of the manual page.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |ticks: u64| ticks as f64 / ticks_per_second as f64;
        Some(Self {
            cpu_seconds: seconds(field(14)? + field(15)?),
            started_seconds_after_boot: seconds(field(22)?),
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page_bytes as u64,
        })
    }
}

fn boot_time_seconds(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn fields_are_counted_from_the_end_of_the_name() {
        let stat = "4711 (a) b (c) R 1 2 3 4 5 6 7 8 9 10 250 150 0 0 20 0 9 0 12345 1048576 256 rest";
        let usage = Usage::parse(stat, 100, 4096).unwrap();
        assert_eq!(
            usage,
            Usage {
                cpu_seconds: 4.0,
                resident_bytes: 1_048_576,
                virtual_bytes: 1_048_576,
                started_seconds_after_boot: 123.45,
            }
        );
        assert_eq!(Usage::parse("4711 (a) R 1", 100, 4096), None);
        assert_eq!(boot_time_seconds("cpu 1 2\nbtime 1700000000\n"), Some(1.7e9));
    }

    #[test]
    fn this_process_is_seen() {
        let process = Process::read();
        let usage = process.usage.unwrap();
        assert!(
            usage.resident_bytes > 100_000 && usage.virtual_bytes >= usage.resident_bytes,
            "{usage:?}"
        );
        assert!(process.open_descriptors.unwrap() >= 3 && process.open_descriptors <= process.most_descriptors);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - process.start_time_seconds.unwrap();
        // The kernel rounds the time of the boot to a second.
        assert!((-2.0..86_400.0).contains(&age), "{age}");
    }
}
