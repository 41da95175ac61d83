//! Which program holds a socket.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A running program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The process.
    pub process_id: u32,
    /// The name of its file.
    pub name: String,
}

/// Every socket that a process holds open, by its inode, with the program's file name (`proc_pid_fd(5)`). Processes of
/// others cannot be looked into without rights; they are passed over.
pub fn programs_by_socket() -> BTreeMap<u32, Program> {
    let mut found = BTreeMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process_id) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let descriptors = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let sockets =
            descriptors.filter_map(|descriptor| socket_inode(fs::read_link(descriptor.path()).ok()?.to_str()?));
        for inode in sockets {
            found.entry(inode).or_insert_with(|| Program {
                process_id,
                name: program_name(&process.path()),
            });
        }
    }
    found
}

fn socket_inode(target: &str) -> Option<u32> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The name of the program's file, which a process cannot choose as it can its own.
fn program_name(process: &Path) -> String {
    let file = fs::read_link(process.join("exe")).ok();
    let name = file.as_deref().and_then(|file| file.file_name()?.to_str());
    name.map_or_else(
        || {
            fs::read_to_string(process.join("comm"))
                .unwrap_or_default()
                .trim()
                .to_owned()
        },
        |name| name.trim_end_matches(" (deleted)").to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::listeners::listeners;

    #[test]
    fn finds_this_very_process() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listeners = listeners().unwrap();
        let ours = listeners.iter().find(|one| one.address == address).unwrap();
        assert_eq!(programs_by_socket()[&ours.inode].process_id, std::process::id());
    }
}
