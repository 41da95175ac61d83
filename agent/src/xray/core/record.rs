//! What is noted of a core that was started, so that the next agent finds it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::process::Identity;

/// The file beside the core's configuration.
pub const RECORD_NAME: &str = "core.json";

/// A core that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) process_id: u32,
    /// In clock ticks after boot.
    pub(super) start_ticks: u64,
    pub(super) boot_id: Uuid,
    pub(super) api_address: SocketAddr,
    pub(super) binary: PathBuf,
    pub(super) version: String,
}

impl Record {
    /// The process, unless the machine was started again since.
    pub(super) fn identity(&self, boot_id: Uuid) -> Option<Identity> {
        (self.boot_id == boot_id).then_some(Identity {
            process_id: self.process_id,
            start_ticks: self.start_ticks,
        })
    }
}

/// The record in a folder; one that cannot be read is none, since the core can be found without.
pub(super) fn read(folder: &Path) -> Option<Record> {
    let path = folder.join(RECORD_NAME);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        result => result,
    };
    let record = text.and_then(|text| serde_json::from_slice(&text).map_err(io::Error::from));
    record
        .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "the record of the core cannot be read"))
        .ok()
}

/// Replaces the record as one step.
pub(super) fn write(folder: &Path, record: &Record) -> io::Result<()> {
    let new = folder.join(format!("{RECORD_NAME}.new"));
    // One that a killed agent has left would keep its mode.
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    serde_json::to_writer_pretty(&mut file, record)?;
    file.write_all(b"\n")?;
    fs::rename(&new, folder.join(RECORD_NAME))
}

/// Takes the record away: there is no core any more.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_file(folder.join(RECORD_NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// This boot of the machine.
pub(super) fn boot_id() -> io::Result<Uuid> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Uuid::try_parse(text.trim()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_record_is_kept_for_its_owner_and_counts_in_its_boot_only() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), None);
        let boot = boot_id().unwrap();
        let record = Record {
            process_id: 7,
            start_ticks: 8,
            boot_id: boot,
            api_address: "127.0.0.1:9436".parse().unwrap(),
            binary: "/usr/bin/xray".into(),
            version: "Xray 26.10.10".to_owned(),
        };
        write(folder.path(), &record).unwrap();
        write(folder.path(), &record).unwrap();
        assert_eq!(read(folder.path()).as_ref(), Some(&record));
        let mode = fs::metadata(folder.path().join(RECORD_NAME))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            record.identity(boot),
            Some(Identity {
                process_id: 7,
                start_ticks: 8
            })
        );
        assert_eq!(record.identity(Uuid::new_v4()), None);
        fs::write(folder.path().join(RECORD_NAME), "{").unwrap();
        assert_eq!(read(folder.path()), None);
        remove(folder.path()).unwrap();
        remove(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
