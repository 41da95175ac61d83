//! Memory and the root file system's disk, read when they are asked for.

use std::io;

use nix::sys::statvfs::{Statvfs, statvfs};
use sysinfo::{MemoryRefreshKind, System};

/// The file system that is shown.
const ROOT: &str = "/";

/// The host's memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total_bytes: u64,
    /// What programs can still be given, caches that can be let go of included.
    pub available_bytes: u64,
}

impl Memory {
    /// What cannot be had.
    pub fn used_bytes(&self) -> u64 {
        self.total_bytes.saturating_sub(self.available_bytes)
    }
}

/// Reads the host's memory; `None` where the kernel does not tell it.
pub fn memory() -> Option<Memory> {
    let mut system = System::new().ok()?;
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let memory = Memory {
        total_bytes: system.total_memory(),
        available_bytes: system.available_memory(),
    };
    (memory.total_bytes > 0).then_some(memory)
}

/// A file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// All of it.
    pub total_bytes: u64,
    /// What is taken.
    pub used_bytes: u64,
    /// What programs without special rights can still write: some is set aside for root.
    pub free_bytes: u64,
}

/// Reads the root file system's.
pub fn disk() -> io::Result<Disk> {
    let statistics = statvfs(ROOT)?;
    Ok(of(&Blocks::from(&statistics)))
}

/// What the kernel tells of a file system.
struct Blocks {
    size_bytes: u64,
    total: u64,
    free: u64,
    available: u64,
}

impl From<&Statvfs> for Blocks {
    fn from(statistics: &Statvfs) -> Self {
        Self {
            size_bytes: statistics.fragment_size(),
            total: statistics.blocks(),
            free: statistics.blocks_free(),
            available: statistics.blocks_available(),
        }
    }
}

fn of(blocks: &Blocks) -> Disk {
    let bytes = |count: u64| count.saturating_mul(blocks.size_bytes);
    Disk {
        total_bytes: bytes(blocks.total),
        used_bytes: bytes(blocks.total.saturating_sub(blocks.free)),
        free_bytes: bytes(blocks.available),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_for_root_is_neither_used_nor_free() {
        let disk = of(&Blocks {
            size_bytes: 4096,
            total: 100,
            free: 40,
            available: 30,
        });
        let expected = Disk {
            total_bytes: 409_600,
            used_bytes: 245_760,
            free_bytes: 122_880,
        };
        assert_eq!(disk, expected);
        assert_eq!(
            of(&Blocks {
                size_bytes: 1,
                total: 1,
                free: 2,
                available: 2
            })
            .used_bytes,
            0
        );
    }

    #[test]
    fn memory_is_what_the_kernel_says() {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        let memory = memory().unwrap();
        assert_eq!(memory.total_bytes, kib * 1024);
        assert!((1..=memory.total_bytes).contains(&memory.available_bytes));
        assert_eq!(memory.used_bytes() + memory.available_bytes, memory.total_bytes);
    }

    #[test]
    fn the_root_file_system_has_a_size() {
        let disk = disk().unwrap();
        assert!(disk.total_bytes > 0 && disk.used_bytes <= disk.total_bytes, "{disk:?}");
    }
}
