//! Which program holds a socket.

use crate::network::holders::programs_by_socket;
use crate::network::listeners::Listener;

/// A listener and the program behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) listener: Listener,
    /// The program's name; `None` when it may not be known or is gone.
    pub(super) program: Option<String>,
    /// Its process, where that is known.
    pub(super) process_id: Option<u32>,
}

/// Finds the program of each listener.
pub(super) fn name(listeners: Vec<Listener>) -> Vec<Named> {
    let programs = programs_by_socket();
    let named = |listener: Listener| Named {
        program: programs.get(&listener.inode).map(|program| program.name.clone()),
        process_id: programs.get(&listener.inode).map(|program| program.process_id),
        listener,
    };
    listeners.into_iter().map(named).collect()
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
