//! Where the API key comes from: the environment, a configured file, the service manager, or the first start.

use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use portmeter_proto::api_key::{ApiKey, InvalidApiKey};
use rand::Rng;
use rand::distr::Alphanumeric;

use crate::instance::Undo;
use crate::rights::name_of;

/// The environment variable that holds the key.
pub const VARIABLE: &str = "PORTMETER_API_KEY";

/// The file within the data folder where a key made at the first start is kept.
const FILE_NAME: &str = "api.key";

/// A made key's length: 40 characters of 62 are 238 bits.
const MADE_LENGTH: usize = 40;

/// Why there is no API key.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    /// The text cannot be a key.
    #[error("{origin}: {source}; make one with `openssl rand -hex 20`")]
    Invalid {
        /// Where the text comes from.
        origin: String,
        /// What is wrong.
        source: InvalidApiKey,
    },
    /// The file belongs to somebody else.
    #[error("the API key's file {} belongs to {owner} and cannot be read by this user: run as {owner}, or make it \
             readable for the user that the agent runs as", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: String,
    },
    /// The file cannot be read or made.
    #[error("the API key's file {} cannot be used: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Where a user finds the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In the environment.
    Environment,
    /// In this file.
    File(PathBuf),
}

/// The key that the operator gives: in the environment, in a configured file, or in a credential of the service manager's,
/// the first of them that there is. `None` where there is none.
pub fn given(
    environment: Option<&str>,
    configured_file: Option<&Path>,
    credential: Option<&Path>,
) -> Result<Option<(ApiKey, Origin)>, ApiKeyError> {
    if let Some(text) = environment {
        let origin = format!("the environment variable {VARIABLE}");
        let key = ApiKey::new(text).map_err(|source| ApiKeyError::Invalid { origin, source })?;
        return Ok(Some((key, Origin::Environment)));
    }
    configured_file
        .or(credential)
        .map(|path| Ok((read(path)?, Origin::File(path.to_owned()))))
        .transpose()
}

/// The key kept in the data folder, made at the first start with mode 0600.
pub fn kept_or_made(data_folder: &Path, undo: &mut Undo) -> Result<(ApiKey, Origin), ApiKeyError> {
    let path = data_folder.join(FILE_NAME);
    if !path.exists() {
        undo.watch_file(path.clone());
        make(&path).map_err(|source| ApiKeyError::File {
            path: path.clone(),
            source,
        })?;
    }
    Ok((read(&path)?, Origin::File(path)))
}

fn read(path: &Path) -> Result<ApiKey, ApiKeyError> {
    let text = std::fs::read_to_string(path).map_err(|source| unreadable(path, source))?;
    ApiKey::new(&text).map_err(|source| ApiKeyError::Invalid {
        origin: format!("the file {}", path.display()),
        source,
    })
}

/// Why a file cannot be read: another owner explains it best.
fn unreadable(path: &Path, source: io::Error) -> ApiKeyError {
    let path = path.to_owned();
    match std::fs::metadata(&path) {
        Ok(metadata) if source.kind() == io::ErrorKind::PermissionDenied && metadata.uid() != geteuid().as_raw() => {
            let owner = name_of(metadata.uid());
            ApiKeyError::Foreign { path, owner }
        }
        _ => ApiKeyError::File { path, source },
    }
}

/// Writes a new key whole or not at all: a start that is killed here must not leave an empty key behind.
fn make(path: &Path) -> io::Result<()> {
    let key: String = rand::rng()
        .sample_iter(&Alphanumeric)
        .take(MADE_LENGTH)
        .map(char::from)
        .collect();
    let temporary = path.with_extension("key.new");
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    writeln!(file, "{key}")?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn makes_a_key_once_and_keeps_it_private() {
        let folder = tempfile::tempdir().unwrap();
        let mut undo = Undo::default();
        let (first, origin) = kept_or_made(folder.path(), &mut undo).unwrap();
        let (second, _) = kept_or_made(folder.path(), &mut undo).unwrap();
        let path = folder.path().join("api.key");
        assert_eq!(origin, Origin::File(path.clone()));
        assert!(first.matches(second.expose().as_bytes()));
        assert_eq!(first.expose().len(), MADE_LENGTH);
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_configured_goes_before_what_the_service_manager_hands_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("key-of-the-{name}\n")).unwrap();
            path
        };
        let (configured, credential) = (file("configuration"), file("service-manager"));
        let key = |configured: Option<&Path>, credential: Option<&Path>| given(None, configured, credential).unwrap();
        let (_, origin) = key(Some(&*configured), Some(&*credential)).unwrap();
        assert_eq!(origin, Origin::File(configured));
        let (found, _) = key(None, Some(&*credential)).unwrap();
        assert!(found.matches(b"key-of-the-service-manager"));
        assert!(key(None, None).is_none());
    }

    #[test]
    fn never_shows_what_it_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "sécret-secret-secret").unwrap();
        for error in [
            given(Some("short"), None, None).unwrap_err(),
            given(None, Some(&path), None).unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(!text.contains("short") && !text.contains("cret"), "{text}");
        }
    }
}
