//! Reads a log on from where it was left, by whichever agent.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

/// How much is read at once.
const PIECE_BYTES: u64 = 1024 * 1024;

/// The agent's own file is emptied when it is larger than this and read to its end.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How far a file was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which file it was.
    pub inode: u64,
    /// Up to where, in bytes; a line's beginning.
    pub position_bytes: u64,
}

/// Follows one path.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    is_ours: bool,
    /// The file that is read; one that was renamed is read to its end before the next.
    file: Option<File>,
    place: Option<Place>,
}

impl Follower {
    /// Goes on at `place`. Without one, an operator's file is followed from its end: what stands there was written
    /// before anybody asked for it.
    pub fn new(path: PathBuf, is_ours: bool, place: Option<Place>) -> Self {
        Self {
            path,
            is_ours,
            file: None,
            place,
        }
    }

    /// The next whole lines, of at most a megabyte, and the place after them; `None` when there are none by now. They
    /// come again until [`Self::advance`] is told that they are kept.
    pub fn next_piece(&mut self) -> io::Result<Option<(String, Place)>> {
        loop {
            let Some((mut file, place)) = self.open()? else {
                return Ok(None);
            };
            let mut text = Vec::new();
            file.seek(SeekFrom::Start(place.position_bytes))?;
            (&mut file).take(PIECE_BYTES).read_to_end(&mut text)?;
            let whole = whole_lines(&text);
            if whole > 0 {
                text.truncate(whole);
                let after = Place {
                    position_bytes: place.position_bytes + whole as u64,
                    ..place
                };
                self.file = Some(file);
                return Ok(Some((String::from_utf8_lossy(&text).into_owned(), after)));
            }
            let is_replaced = match self.named()? {
                Some(metadata) => metadata.ino() != place.inode,
                None => false,
            };
            if !is_replaced {
                self.file = Some(file);
                return Ok(None);
            }
            // It was renamed and is read to its end: the one that has its name now comes next, as a whole.
            self.place = None;
            let Some(next) = self.open_named()? else {
                return Ok(None);
            };
            self.place = Some(Place {
                inode: next.metadata()?.ino(),
                position_bytes: 0,
            });
            self.file = Some(next);
        }
    }

    /// What was read up to `place` is kept. The agent's own file is emptied when it is large and nothing else is in it.
    pub fn advance(&mut self, place: Place) -> io::Result<()> {
        self.place = Some(place);
        if !self.is_ours || place.position_bytes < FILE_BYTES_MAX {
            return Ok(());
        }
        let Some(file) = &self.file else { return Ok(()) };
        // The core appends, so it goes on at the new end.
        if file.metadata()?.len() == place.position_bytes {
            file.set_len(0)?;
            self.place = Some(Place {
                position_bytes: 0,
                ..place
            });
        }
        Ok(())
    }

    /// The file to read and where to begin; `None` where there is none.
    fn open(&mut self) -> io::Result<Option<(File, Place)>> {
        let file = match self.file.take() {
            Some(file) => file,
            None => match self.open_named()? {
                Some(file) => file,
                None => return Ok(None),
            },
        };
        let metadata = file.metadata()?;
        let beginning = Place {
            inode: metadata.ino(),
            position_bytes: 0,
        };
        let place = match self.place {
            // Shorter than what was read: emptied since.
            Some(place) if place.inode == metadata.ino() && place.position_bytes <= metadata.len() => place,
            Some(_) => beginning,
            None if self.is_ours => beginning,
            None => Place {
                position_bytes: metadata.len(),
                ..beginning
            },
        };
        self.place = Some(place);
        Ok(Some((file, place)))
    }

    fn open_named(&self) -> io::Result<Option<File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(self.is_ours);
        if self.is_ours {
            options.custom_flags(nix::libc::O_NOFOLLOW);
        }
        match options.open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }

    fn named(&self) -> io::Result<Option<Metadata>> {
        match std::fs::metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            found => found.map(Some),
        }
    }
}

/// How many bytes the whole lines take. A line that is longer than a piece is no line of the core's: its part goes.
fn whole_lines(text: &[u8]) -> usize {
    let newline = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    if newline == 0 && text.len() as u64 == PIECE_BYTES {
        text.len()
    } else {
        newline
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use super::*;

    fn append(path: &Path, text: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Everything that there is by now, kept at once.
    fn read(follower: &mut Follower) -> String {
        let mut all = String::new();
        while let Some((text, place)) = follower.next_piece().unwrap() {
            all += &text;
            follower.advance(place).unwrap();
        }
        all
    }

    fn ours(path: &Path, place: Option<Place>) -> Follower {
        Follower::new(path.to_owned(), true, place)
    }

    #[test]
    fn lines_come_once_and_whole_also_to_the_next_agent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut follower = ours(&path, None);
        assert_eq!(read(&mut follower), "");
        append(&path, "one\ntwo\nthr");
        assert_eq!(read(&mut follower), "one\ntwo\n");
        assert_eq!(read(&mut follower), "");
        append(&path, "ee\n");
        let mut next = ours(&path, follower.place);
        assert_eq!(read(&mut next), "three\n");
    }

    #[test]
    fn what_was_not_kept_comes_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        append(&path, "one\n");
        let mut follower = ours(&path, None);
        let (first, _) = follower.next_piece().unwrap().unwrap();
        let (second, _) = follower.next_piece().unwrap().unwrap();
        assert_eq!((first.as_str(), second.as_str()), ("one\n", "one\n"));
    }

    #[test]
    fn an_operators_file_is_followed_from_its_end_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        append(&path, &"before\n".repeat(1_000_000));
        let mut follower = Follower::new(path.clone(), false, None);
        assert_eq!(read(&mut follower), "");
        append(&path, "after\n");
        assert_eq!(read(&mut follower), "after\n");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 7_000_006);
    }

    #[test]
    fn a_file_that_is_rotated_is_read_to_its_end_and_then_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
        append(&path, "");
        let mut follower = Follower::new(path.clone(), false, None);
        assert_eq!(read(&mut follower), "");
        append(&path, "one\n");
        assert_eq!(read(&mut follower), "one\n");
        std::fs::rename(&path, &old).unwrap();
        append(&old, "two\n");
        assert_eq!(read(&mut follower), "two\n");
        append(&path, "three\n");
        append(&old, "late\n");
        assert_eq!(read(&mut follower), "late\nthree\n");
    }

    #[test]
    fn a_file_that_was_emptied_is_read_from_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        append(&path, "one\ntwo\n");
        let mut follower = ours(&path, None);
        assert_eq!(read(&mut follower), "one\ntwo\n");
        std::fs::write(&path, "3\n").unwrap();
        assert_eq!(read(&mut follower), "3\n");
    }

    #[test]
    fn a_large_file_is_emptied_once_it_is_read_and_the_core_writes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut core = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        let line = "x".repeat(1_023) + "\n";
        core.write_all(line.repeat(5_000).as_bytes()).unwrap();
        let mut follower = ours(&path, None);
        assert_eq!(read(&mut follower).len(), 5_000 * 1_024);
        assert_eq!(core.metadata().unwrap().len(), 0);
        core.write_all(b"after\n").unwrap();
        assert_eq!(read(&mut follower), "after\n");
    }

    #[test]
    fn a_line_without_an_end_does_not_stop_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        append(&path, &("x".repeat(3 * 1024 * 1024) + "\nafter\n"));
        assert!(read(&mut ours(&path, None)).ends_with("\nafter\n"));
    }
}
