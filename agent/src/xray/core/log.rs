//! The core's log: a file that it writes and that this agent follows into its own log.
//!
//! Not a pipe, since a core whose reader was killed would be killed by its next line. The file is opened for appending,
//! so that it can be emptied under the core's hands.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::lines::{Weight, tell, told};

/// The file beside the core's configuration.
pub const LOG_NAME: &str = "core.log";

/// How far it was followed, so that the next agent goes on where this one has stopped.
const POSITION_NAME: &str = "core.log.position";

/// It is emptied when it is larger than this and read to its end.
const LOG_BYTES_MAX: u64 = 1024 * 1024;

/// A longer line is told in pieces.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// How much of the end is looked at for the reason why a core has ended.
const REASON_BYTES_MAX: u64 = 64 * 1024;

/// How often it is looked at. It only sets how late a line is told.
const INTERVAL: Duration = Duration::from_millis(250);

/// Opens the log of a core for writing, for its owner alone.
pub(super) fn open(folder: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW);
    let file = options.open(folder.join(LOG_NAME))?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// How long the log is.
pub(super) fn length(folder: &Path) -> u64 {
    fs::metadata(folder.join(LOG_NAME)).map_or(0, |metadata| metadata.len())
}

/// What the core has said since the log was this long, as it may be told and without what it says of single
/// connections; of much, the end.
pub(super) fn since(folder: &Path, length: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(folder.join(LOG_NAME))?;
        let end = file.metadata()?.len();
        // Emptied since.
        let start = if end < length { 0 } else { length };
        file.seek(SeekFrom::Start(start.max(end.saturating_sub(REASON_BYTES_MAX))))?;
        let mut text = Vec::new();
        file.take(REASON_BYTES_MAX).read_to_end(&mut text)?;
        Ok(text)
    };
    let text = read().unwrap_or_default();
    let lines = String::from_utf8_lossy(&text);
    let lines = lines
        .lines()
        .filter_map(told)
        .filter(|(weight, _)| *weight != Weight::Detail);
    lines.map(|(_, line)| line + "\n").collect()
}

/// Follows the log for as long as it is kept.
pub(super) struct Follower {
    _end: mpsc::Sender<()>,
}

impl Follower {
    /// Begins where the last one has stopped.
    pub(super) fn start(folder: &Path) -> io::Result<Self> {
        let (end, ended) = mpsc::channel();
        let mut reader = Reader::of(folder);
        let follow = move || {
            loop {
                let is_last = ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Disconnected);
                if let Err(error) = reader.read(&mut |line| tell(&line)) {
                    tracing::debug!(%error, "the core's log cannot be followed");
                }
                if is_last {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("core-log".to_owned()).spawn(follow)?;
        Ok(Self { _end: end })
    }
}

/// Reads the log on from where it has stopped.
struct Reader {
    log: PathBuf,
    kept_position: PathBuf,
    position: u64,
    /// The beginning of a line whose end is not there yet.
    begun: Vec<u8>,
}

impl Reader {
    fn of(folder: &Path) -> Self {
        let kept_position = folder.join(POSITION_NAME);
        let position = fs::read_to_string(&kept_position)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        Self {
            log: folder.join(LOG_NAME),
            kept_position,
            position: position.unwrap_or(0),
            begun: Vec::new(),
        }
    }

    /// Hands on every line that is there by now, then empties a log that has become large.
    fn read(&mut self, hand_on: &mut impl FnMut(String)) -> io::Result<()> {
        let mut file = match File::open(&self.log) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result?,
        };
        let before = self.position;
        if file.metadata()?.len() < self.position {
            self.position = 0;
            self.begun.clear();
        }
        file.seek(SeekFrom::Start(self.position))?;
        let mut buffer = [0; 8192];
        loop {
            let bytes = file.read(&mut buffer)?;
            if bytes == 0 {
                break;
            }
            self.position += u64::try_from(bytes).unwrap_or(u64::MAX);
            self.split(&buffer[..bytes], hand_on);
        }
        if self.position > LOG_BYTES_MAX {
            OpenOptions::new().write(true).open(&self.log)?.set_len(0)?;
            self.position = 0;
        }
        if self.position != before {
            self.keep_position()?;
        }
        Ok(())
    }

    fn split(&mut self, bytes: &[u8], hand_on: &mut impl FnMut(String)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.begun.len() >= LINE_BYTES_MAX {
                hand_on(String::from_utf8_lossy(&std::mem::take(&mut self.begun)).into_owned());
            }
        }
    }

    /// A line that is only begun is read again by the next agent.
    fn keep_position(&self) -> io::Result<()> {
        let begun = u64::try_from(self.begun.len()).unwrap_or(0);
        let position = self.position.saturating_sub(begun);
        fs::write(&self.kept_position, format!("{position}\n"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn lines(reader: &mut Reader) -> Vec<String> {
        let mut lines = Vec::new();
        reader.read(&mut |line| lines.push(line)).unwrap();
        lines
    }

    #[test]
    fn lines_are_read_once_also_by_the_next_reader() {
        let folder = tempfile::tempdir().unwrap();
        let mut reader = Reader::of(folder.path());
        assert!(lines(&mut reader).is_empty());
        let mut log = open(folder.path()).unwrap();
        log.write_all(b"one\ntwo\nthr").unwrap();
        assert_eq!(lines(&mut reader), ["one\n", "two\n"]);
        assert!(lines(&mut reader).is_empty());
        log.write_all(b"ee\n").unwrap();
        assert_eq!(lines(&mut Reader::of(folder.path())), ["three\n"]);
        assert!(lines(&mut Reader::of(folder.path())).is_empty());
    }

    #[test]
    fn a_large_log_is_emptied_when_it_was_read_and_the_core_writes_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = open(folder.path()).unwrap();
        let line = [&[b'x'; 1_023][..], b"\n"].concat();
        for _ in 0..1_025 {
            log.write_all(&line).unwrap();
        }
        let mut reader = Reader::of(folder.path());
        assert_eq!(lines(&mut reader).len(), 1_025);
        assert_eq!(log.metadata().unwrap().len(), 0);
        log.write_all(b"after\n").unwrap();
        assert_eq!(log.metadata().unwrap().len(), 6);
        assert_eq!(lines(&mut reader), ["after\n"]);
        assert_eq!(since(folder.path(), 1_000), "after\n");
        assert_eq!(since(folder.path(), 2), "ter\n");
    }

    #[test]
    fn a_line_without_an_end_is_told_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path())
            .unwrap()
            .write_all(&[b'x'; 2 * LINE_BYTES_MAX + 5])
            .unwrap();
        let told: usize = lines(&mut Reader::of(folder.path())).iter().map(String::len).sum();
        assert!((LINE_BYTES_MAX..=2 * LINE_BYTES_MAX + 5).contains(&told));
    }

    #[test]
    fn the_log_is_its_owner_s_even_where_it_was_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOG_NAME);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let file = open(folder.path()).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
