//! The core's configuration file, kept at the wanted state: rendered over what others wrote, tried by the core itself,
//! saved, replaced.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use chrono::Utc;

use crate::xray::core::binary;
use crate::xray::document::{Document, DocumentError, render};
use crate::xray::files;
use crate::xray::wanted::Wanted;

/// Why the file is not what is wanted. Each text is one sentence without a path or a secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FileError {
    /// What stands there is no configuration.
    #[error("{0}")]
    Unreadable(String),
    /// The core refuses what it would be.
    #[error("the core refuses the configuration: {0}")]
    Refused(String),
    /// The system refused.
    #[error("{0}")]
    Io(String),
}

impl From<DocumentError> for FileError {
    fn from(error: DocumentError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<files::FileError> for FileError {
    /// The path is for the operator: it goes to the log, not to a caller.
    fn from(error: files::FileError) -> Self {
        tracing::error!(%error, source = %error.source, "the core's configuration file");
        Self::Io(error.source.to_string())
    }
}

/// The file, and who tries it.
#[derive(Debug)]
pub struct ConfigurationFile {
    path: PathBuf,
    binary: Option<PathBuf>,
    seen: Mutex<Option<Seen>>,
}

/// The clients of the file as it last stood.
#[derive(Debug, Clone)]
struct Seen {
    stamp: Stamp,
    clients: Arc<Vec<String>>,
}

/// By what a file is known to be the one that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    length_bytes: u64,
    inode: u64,
}

impl ConfigurationFile {
    /// The file at `path`, tried by `binary` where there is one.
    pub fn new(path: PathBuf, binary: Option<PathBuf>) -> Self {
        Self {
            path,
            binary,
            seen: Mutex::new(None),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what a killed agent left beside it.
    pub fn remove_left_behind(&self) {
        files::remove_left_behind(&self.path);
    }

    /// What it says; `None` where there is none.
    pub async fn read(&self) -> Result<Option<Document>, FileError> {
        let path = self.path.clone();
        blocking(move || match files::read(&path)? {
            None => Ok(None),
            Some(text) => Ok(Some(Document::parse(&text)?)),
        })
        .await
    }

    /// The clients of all its VLESS inbounds; none where it cannot be read. Reads it only where it has changed.
    pub fn client_uuids(&self) -> Arc<Vec<String>> {
        let stamp = self.stamp();
        let mut seen = self.seen.lock().expect("nothing panics while it holds this lock");
        match (&*seen, stamp) {
            (Some(known), Some(stamp)) if known.stamp == stamp => return Arc::clone(&known.clients),
            _ => {}
        }
        let text = files::read(&self.path).ok().flatten();
        let document = text.and_then(|text| Document::parse(&text).ok());
        let clients = Arc::new(document.map(|document| document.client_uuids()).unwrap_or_default());
        *seen = stamp.map(|stamp| Seen {
            stamp,
            clients: Arc::clone(&clients),
        });
        clients
    }

    /// Brings the file to what is wanted, over what others wrote in it or, where one is given, over `base`. Whether it
    /// was written: what is the same already is left alone, and what the core refuses never gets there.
    pub async fn bring_to(&self, wanted: &Wanted, base: Option<&str>, label: &'static str) -> Result<bool, FileError> {
        let present = {
            let path = self.path.clone();
            blocking(move || Ok(files::read(&path)?)).await?
        };
        let base = base.or(present.as_deref()).map(Document::parse).transpose()?;
        let text = render(base.as_ref(), wanted).to_text();
        self.replace(present.as_deref(), text, label).await
    }

    /// Puts a whole text in its place, if the core takes it.
    pub async fn replace(&self, present: Option<&str>, text: String, label: &'static str) -> Result<bool, FileError> {
        if present == Some(text.as_str()) {
            return Ok(false);
        }
        self.try_text(text.clone()).await?;
        let path = self.path.clone();
        let replaced = blocking(move || Ok(files::replace(&path, &text, label, Utc::now())?)).await?;
        Ok(replaced != files::Replaced::Unchanged)
    }

    /// Saves the file as it stands; the backup's name, or `None` where there is no file.
    pub async fn save(&self, label: &'static str) -> Result<Option<String>, FileError> {
        let path = self.path.clone();
        blocking(move || {
            let saved = files::save(&path, label, Utc::now());
            saved.map_err(|error| FileError::Io(error.to_string()))
        })
        .await
    }

    /// Has the core try a text, where there is a core to ask.
    pub async fn try_text(&self, text: String) -> Result<(), FileError> {
        let Some(binary) = &self.binary else {
            return Ok(());
        };
        let path = self.path.clone();
        let trial = blocking(move || Ok(files::Trial::write(&path, &text)?)).await?;
        let tried = binary::validate(binary, trial.path()).await;
        tried.map_err(FileError::Refused)
    }

    fn stamp(&self) -> Option<Stamp> {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = std::fs::metadata(&self.path).ok()?;
        Some(Stamp {
            modified: metadata.modified().ok()?,
            length_bytes: metadata.len(),
            inode: metadata.ino(),
        })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(FileError::Io(format!(
            "the configuration file's work ended early: {error}"
        )))
    })
}
