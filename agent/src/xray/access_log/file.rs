//! The agent's own access log: where it is, and that it is its owner's alone.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Its name, which nobody else gives a file: a configuration that names one was told to by an agent.
pub const FILE_NAME: &str = "portmeter-access.log";

/// How often what is not wanted any more is emptied.
const EMPTYING_INTERVAL: Duration = Duration::from_secs(60);

/// Where it is in a data folder.
pub fn path_in(data_folder: &Path) -> PathBuf {
    data_folder.join("xray").join(FILE_NAME)
}

/// Whether a configuration's `log.access` is an agent's file and not the operator's.
pub fn is_ours(access: &str) -> bool {
    Path::new(access).file_name().is_some_and(|name| name == FILE_NAME)
}

/// Makes it, so that the core finds its folder and nobody else reads it.
pub fn make(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut options = OpenOptions::new();
    options
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW);
    options.open(path)?.set_permissions(Permissions::from_mode(0o600))
}

/// A core that was started while its log was wanted goes on writing until it is started again: what it writes is
/// thrown away unread. Ends at once where there is no such file.
pub async fn empty_leftover(path: PathBuf, shutdown: CancellationToken) {
    let mut ticks = interval(EMPTYING_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        match empty(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return shutdown.cancelled().await,
            Err(error) => tracing::warn!(%error, "the core's former access log cannot be emptied"),
        }
    }
}

fn empty(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).custom_flags(nix::libc::O_NOFOLLOW).open(path)?;
    file.set_len(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_this_name_is_an_agent_s() {
        assert!(is_ours("/var/lib/portmeter/xray/portmeter-access.log"));
        for access in ["", "none", "/var/log/xray/access.log", "/portmeter-access.log/x"] {
            assert!(!is_ours(access), "{access}");
        }
    }

    #[test]
    fn it_is_made_for_its_owner_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_in(folder.path());
        make(&path).unwrap();
        std::fs::write(&path, "kept\n").unwrap();
        make(&path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept\n");
        empty(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    }
}
