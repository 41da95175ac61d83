//! cgroup v2, from where connections are counted.

use std::io;
use std::path::PathBuf;

use super::Finding;

pub(super) fn check(mounted: &io::Result<Option<PathBuf>>, link: Option<&Result<u32, String>>) -> Vec<Finding> {
    let place = match mounted {
        Ok(Some(path)) => Finding::ok("cgroup", format!("cgroup v2 is mounted at {}", path.display())),
        Ok(None) => Finding::warning(
            "cgroup",
            "cgroup v2 is not mounted: active connections come from the socket tables, opened ones are not counted",
            "mount -t cgroup2 none /sys/fs/cgroup/unified (make the folder first), or boot with \
             systemd.unified_cgroup_hierarchy=1",
        ),
        Err(error) => Finding::warning(
            "cgroup",
            format!("it cannot be told whether cgroup v2 is mounted: {error}"),
            "mount /proc",
        ),
    };
    let program = match link {
        Some(Ok(0)) => Finding::error(
            "connections",
            "the pinned link has lost its program: opened connections are not counted",
            "restart the agent",
        ),
        Some(Ok(id)) => Finding::ok("connections", format!("counted by program {id}")),
        Some(Err(why)) => Finding::error(
            "connections",
            format!("the pinned link cannot be used: {why}"),
            "restart the agent, as root if this was not",
        ),
        None => Finding::warning(
            "connections",
            "no program counts them: active ones come from the socket tables",
            "start the agent where cgroup v2 is mounted",
        ),
    };
    vec![place, program]
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_missing_program_is_no_fault_and_a_broken_link_is() {
        let levels = |mounted: Option<PathBuf>, link: Option<Result<u32, String>>| -> Vec<Level> {
            check(&Ok(mounted), link.as_ref())
                .iter()
                .map(|finding| finding.level)
                .collect()
        };
        let place = || Some(PathBuf::from("/sys/fs/cgroup"));
        assert_eq!(levels(place(), Some(Ok(7))), [Level::Ok, Level::Ok]);
        assert_eq!(levels(place(), None), [Level::Ok, Level::Warning]);
        assert_eq!(levels(place(), Some(Ok(0))), [Level::Ok, Level::Error]);
        assert_eq!(levels(None, Some(Err("no".into()))), [Level::Warning, Level::Error]);
    }
}
