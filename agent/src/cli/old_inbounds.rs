//! Takes inbounds that keys have taken the place of out of the core's configuration file: as long as they are there, they
//! let in whoever had their links, also after the key was deleted.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use chrono::Utc;
use tempfile::NamedTempFile;

use crate::transfer::import::{OldInbound, without_inbounds};

/// Returns where the file is kept as it was; `None` where it had none of them.
pub(super) fn take_out(file: &Path, inbounds: &[OldInbound]) -> Result<Option<PathBuf>> {
    if inbounds.is_empty() {
        return Ok(None);
    }
    let failed = || {
        format!(
            "the keys are imported, but the old inbounds cannot be taken out of {}, and would let deleted keys in: \
             remove them by hand, or make the file usable and import again",
            file.display()
        )
    };
    replace(file, inbounds).with_context(failed)
}

fn replace(file: &Path, inbounds: &[OldInbound]) -> Result<Option<PathBuf>> {
    let bytes = match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let configuration = serde_json::from_slice(&bytes)?;
    let Some(configuration) = without_inbounds(&configuration, inbounds) else {
        return Ok(None);
    };
    let text = serde_json::to_vec_pretty(&configuration)?;
    let metadata = fs::metadata(file)?;
    let kept = with_suffix(file, &format!(".before-import-{}", Utc::now().format("%Y%m%dT%H%M%SZ")));
    if kept.exists() {
        bail!("{} is there already", kept.display());
    }
    write(&kept, &bytes, &metadata)?;
    write(file, &text, &metadata)?;
    Ok(Some(kept))
}

/// Not one that ends in `.json`: a core that is given a folder reads all of those.
fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(suffix);
    PathBuf::from(name)
}

/// At once or not at all, with the owner and the rights that the file had.
fn write(file: &Path, bytes: &[u8], like: &Metadata) -> io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut new = NamedTempFile::new_in(folder)?;
    new.write_all(bytes)?;
    new.as_file().set_permissions(like.permissions())?;
    let made = new.as_file().metadata()?;
    if (made.uid(), made.gid()) != (like.uid(), like.gid()) {
        fchown(new.as_file(), Some(like.uid()), Some(like.gid()))?;
    }
    new.as_file().sync_all()?;
    new.persist(file)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    fn shared(uuid: Uuid) -> Value {
        json!({ "protocol": "vless", "port": 443, "settings": { "clients": [{ "id": uuid }] } })
    }

    fn inbounds(uuid: Uuid) -> Vec<OldInbound> {
        vec![OldInbound {
            name: "inbounds[0]".to_owned(),
            port: Some(443),
            clients: vec![uuid],
        }]
    }

    #[test]
    fn the_file_keeps_everything_else_and_is_kept_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (file, uuid) = (folder.path().join("config.json"), Uuid::new_v4());
        let old = json!({ "log": {}, "inbounds": [shared(uuid), shared(Uuid::nil())], "routing": { "rules": [] } });
        fs::write(&file, old.to_string()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();

        let kept = take_out(&file, &inbounds(uuid)).unwrap().unwrap();
        assert_eq!(fs::read(&kept).unwrap(), old.to_string().as_bytes());
        let new: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(
            new,
            json!({ "log": {}, "inbounds": [shared(Uuid::nil())], "routing": { "rules": [] } })
        );
        for path in [&file, &kept] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);

        // Importing again finds nothing left to do.
        assert_eq!(take_out(&file, &inbounds(uuid)).unwrap(), None);
    }

    #[test]
    fn a_file_that_is_none_is_said_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        assert_eq!(take_out(&file, &inbounds(Uuid::nil())).unwrap(), None);
        fs::write(&file, "{").unwrap();
        let error = take_out(&file, &inbounds(Uuid::nil())).unwrap_err();
        assert!(error.to_string().starts_with("the keys are imported, but"), "{error}");
        assert_eq!(take_out(&file, &[]).unwrap(), None);
        assert_eq!(fs::read(&file).unwrap(), b"{");
    }
}
