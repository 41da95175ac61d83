//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the process needs beside the connections of its listeners: the ledger, maps and links, the core's output.
const OTHER_FILES: u64 = 256;

/// Raises the soft limit on open files to the hard one, which takes no right. Programs that the process starts
/// inherit it.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::debug!(%error, "the limit on open files stays as it is");
    }
}

/// How many of `wanted` connections a listener can have with the present limit on open files. Two listeners share what
/// is left beside the process's own files.
pub fn connections_that_fit(wanted: usize) -> usize {
    fitting(wanted, getrlimit(Resource::Nofile).current)
}

fn fitting(wanted: usize, open_files_max: Option<u64>) -> usize {
    let Some(open_files_max) = open_files_max else {
        return wanted;
    };
    let room = open_files_max.saturating_sub(OTHER_FILES) / 2;
    wanted.min(usize::try_from(room).unwrap_or(usize::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_rest() {
        assert_eq!(fitting(512, None), 512);
        assert_eq!(fitting(512, Some(1 << 20)), 512);
        assert_eq!(fitting(512, Some(1024)), 384);
        assert_eq!(fitting(512, Some(10)), 1);
    }
}
