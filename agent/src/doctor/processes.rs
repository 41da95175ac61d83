//! Which program holds a socket.

use std::collections::BTreeMap;
use std::fs;

use crate::network::listeners::Listener;

/// A listener and the program behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) listener: Listener,
    /// The program's name; `None` when it may not be known or is gone.
    pub(super) program: Option<String>,
}

/// Finds the program of each listener.
pub(super) fn name(listeners: Vec<Listener>) -> Vec<Named> {
    let programs = programs_by_socket();
    let named = |listener: Listener| Named {
        program: programs.get(&listener.inode).cloned(),
        listener,
    };
    listeners.into_iter().map(named).collect()
}

/// Every socket that a process holds open, by its inode, with the program's file name (`proc_pid_fd(5)`). Processes of
/// others cannot be looked into without rights; they are passed over.
fn programs_by_socket() -> BTreeMap<u32, String> {
    let mut found = BTreeMap::new();
    let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if !process.file_name().to_str().is_some_and(is_process) {
            continue;
        }
        let descriptors = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let sockets =
            descriptors.filter_map(|descriptor| socket_inode(fs::read_link(descriptor.path()).ok()?.to_str()?));
        for inode in sockets {
            found.entry(inode).or_insert_with(|| program_name(&process.path()));
        }
    }
    found
}

fn socket_inode(target: &str) -> Option<u32> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The name of the program's file, which a process cannot choose as it can its own.
fn program_name(process: &std::path::Path) -> String {
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
    fn finds_this_very_program() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let named = name(listeners().unwrap());
        let ours = named.iter().find(|one| one.listener.address == address).unwrap();
        let program = std::env::current_exe().unwrap();
        assert_eq!(ours.program.as_deref(), program.file_name().unwrap().to_str());
    }
}
