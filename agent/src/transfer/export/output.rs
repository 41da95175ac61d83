//! A file that is there as a whole or not at all.

use std::fs;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// A device, a pipe or a folder has the name.
    #[error("{} is no ordinary file: choose another name for the output, or leave --output out", .0.display())]
    NotAFile(PathBuf),
    /// The system refused.
    #[error("{} cannot be written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A file on its way. It is written beside its place and put there in the end; dropped before, it is gone.
pub struct OutputFile {
    path: PathBuf,
    temporary: NamedTempFile,
}

impl OutputFile {
    /// Begins a file that will be at `path`, readable for its owner alone. Nothing of that name is touched yet.
    pub fn begin(path: &Path) -> Result<Self, OutputError> {
        let failed = |source| OutputError::Io {
            path: path.to_owned(),
            source,
        };
        // Through links: what they lead to is replaced, not they.
        let path = match fs::canonicalize(path) {
            Ok(found) if !found.is_file() => return Err(OutputError::NotAFile(path.to_owned())),
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(failed(error)),
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let temporary = tempfile::Builder::new()
            .prefix(".portmeter-export-")
            .tempfile_in(folder)
            .map_err(failed)?;
        Ok(Self { path, temporary })
    }

    /// What to write to.
    pub fn sink(&self) -> Result<BufWriter<fs::File>, OutputError> {
        let file = self.temporary.as_file().try_clone();
        Ok(BufWriter::new(file.map_err(|source| self.failed(source))?))
    }

    /// Puts the file in its place, once it is on the disk.
    pub fn keep(self) -> Result<(), OutputError> {
        let synced = self.temporary.as_file().sync_all();
        synced.map_err(|source| self.failed(source))?;
        match self.temporary.persist(&self.path) {
            Ok(_) => Ok(()),
            Err(error) => Err(OutputError::Io {
                path: self.path,
                source: error.error,
            }),
        }
    }

    fn failed(&self, source: io::Error) -> OutputError {
        OutputError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("days.csv");
        fs::write(&path, "old").unwrap();
        let output = OutputFile::begin(&path).unwrap();
        let mut sink = output.sink().unwrap();
        sink.write_all(b"new").unwrap();
        sink.flush().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        output.keep().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["days.csv"]);
    }

    #[test]
    fn a_file_that_is_not_finished_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let output = OutputFile::begin(&folder.path().join("days.csv")).unwrap();
        output.sink().unwrap().write_all(b"half").unwrap();
        assert_eq!(names(folder.path()).len(), 1);
        drop(output);
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn what_a_link_leads_to_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink("target", &link).unwrap();
        OutputFile::begin(&link).unwrap().keep().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"");
        assert!(link.is_symlink());
    }

    #[test]
    fn devices_and_folders_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for path in [Path::new("/dev/null"), folder.path()] {
            assert!(matches!(OutputFile::begin(path), Err(OutputError::NotAFile(_))));
        }
        let missing = folder.path().join("missing/days.csv");
        assert!(matches!(OutputFile::begin(&missing), Err(OutputError::Io { .. })));
    }
}
