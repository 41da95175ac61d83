//! A service manager's part, played by the story: the socket that a service tells how it is (`sd_notify(3)`).

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Result, bail, ensure};
use tempfile::TempDir;

use crate::wait::patient;

/// How long a word may be waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The largest message that is taken.
const MESSAGE_BYTES_MAX: usize = 4096;

/// The socket, and what has come by it.
#[derive(Debug)]
pub struct ServiceManager {
    socket: UnixDatagram,
    path: PathBuf,
    _folder: TempDir,
}

/// One message: lines of `NAME=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice(Vec<(String, String)>);

impl Notice {
    /// The value under a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether it says so, for example `READY`.
    pub fn says(&self, name: &str) -> bool {
        self.get(name) == Some("1")
    }
}

impl ServiceManager {
    /// Listens where every user may send.
    pub fn listen() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
        socket.set_read_timeout(Some(patient(PATIENCE)))?;
        Ok(Self {
            socket,
            path,
            _folder: folder,
        })
    }

    /// What `NOTIFY_SOCKET` names.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next message.
    pub fn next_notice(&self) -> Result<Notice> {
        let mut buffer = [0; MESSAGE_BYTES_MAX];
        let length = match self.socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if is_late(&error) => bail!("the service has nothing more to say"),
            Err(error) => return Err(error.into()),
        };
        let text = String::from_utf8(buffer[..length].to_vec())?;
        let lines = text.lines().filter_map(|line| line.split_once('='));
        let notice = Notice(lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
        ensure!(!notice.0.is_empty(), "no message of sd_notify: {text:?}");
        Ok(notice)
    }

    /// The next message that says so; others before it are passed over.
    pub fn wait_for(&self, what: &str) -> Result<Notice> {
        self.wait_until(what, |notice| notice.says(what))
    }

    /// The next message of which `is_it` holds.
    pub fn wait_until(&self, what: &str, is_it: impl Fn(&Notice) -> bool) -> Result<Notice> {
        let mut passed = Vec::new();
        // A service that lives says so for ever.
        let deadline = Instant::now() + patient(PATIENCE);
        loop {
            match self.next_notice() {
                Ok(notice) if is_it(&notice) => return Ok(notice),
                Ok(_) if Instant::now() > deadline => bail!("waited for {what} in vain; this was said: {passed:?}"),
                Ok(notice) => passed.push(notice),
                Err(error) => return Err(error.context(format!("waiting for {what} after {passed:?}"))),
            }
        }
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
