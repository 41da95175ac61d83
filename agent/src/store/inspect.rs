//! The ledger looked at from outside, beside an agent that may be writing: nothing is changed, locked or left behind.

use std::path::Path;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use uuid::Uuid;

use super::open::{self, OpenError};
use super::schema;

/// What a ledger says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerFacts {
    /// Names the ledger; `None` before its first opening has come to an end.
    pub id: Option<Uuid>,
    /// Its schema.
    pub schema_version: u32,
    /// The newest schema this build knows.
    pub known_schema_version: usize,
    /// When it was last written to, by the clock of that moment.
    pub last_written_at: Option<DateTime<Utc>>,
    /// Ports that keys have.
    pub key_ports: Vec<u16>,
}

/// Reads the ledger in `folder` and checks that it is whole; `None` when there is none.
pub fn inspect(folder: &Path) -> Result<Option<LedgerFacts>, OpenError> {
    let path = folder.join(open::FILE_NAME);
    match std::fs::metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        found => found.map_err(|source| OpenError::Io {
            path: path.clone(),
            source,
        })?,
    };
    open::check_header(&path)?;
    read(&path, is_at_rest(&path)).map(Some)
}

/// The same within the agent that works on it. Its files must not be opened but by SQLite there: closing one would take the
/// locks of the whole process with it (`sqlite.org/howtocorrupt.html`, 2.2), and anybody else would think it at rest.
pub fn inspect_own(folder: &Path) -> Result<LedgerFacts, OpenError> {
    read(&folder.join(open::FILE_NAME), false)
}

fn read(path: &Path, is_at_rest: bool) -> Result<LedgerFacts, OpenError> {
    let connection = open_read_only(path, is_at_rest)?;
    open::check_versions(&connection, path)?;
    open::check_integrity(&connection, path)?;
    let facts = facts(&connection, last_written_at(path));
    facts.map_err(|error| open::damaged_or(error, path))
}

/// The newer of the file's time and its write-ahead log's.
pub(super) fn last_written_at(path: &Path) -> Option<DateTime<Utc>> {
    let files = [path.to_owned(), open::beside(path, "-wal")];
    let times = files
        .iter()
        .filter_map(|file| std::fs::metadata(file).ok()?.modified().ok());
    times.max().map(DateTime::from)
}

/// Whether nobody works on a ledger: then its file alone holds all of it.
pub(super) fn is_at_rest(path: &Path) -> bool {
    !open::beside(path, "-wal").exists()
}

/// A ledger at rest is opened as one that nobody changes: otherwise SQLite would leave the files of a write-ahead log
/// beside it, owned by whoever asked. Where such a log is there, it is read too.
pub(super) fn open_read_only(path: &Path, is_at_rest: bool) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let name: String = path.to_string_lossy().chars().map(escaped).collect();
    let suffix = if is_at_rest { "?immutable=1" } else { "" };
    let connection = Connection::open_with_flags(format!("file:{name}{suffix}"), flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

/// What has a meaning in SQLite's file names (`sqlite.org/uri.html`).
fn escaped(character: char) -> String {
    match character {
        '%' => "%25".to_owned(),
        '?' => "%3f".to_owned(),
        '#' => "%23".to_owned(),
        other => other.to_string(),
    }
}

fn facts(connection: &Connection, last_written_at: Option<DateTime<Utc>>) -> rusqlite::Result<LedgerFacts> {
    let schema_version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let mut facts = LedgerFacts {
        id: None,
        schema_version,
        known_schema_version: schema::VERSION,
        last_written_at,
        key_ports: Vec::new(),
    };
    if schema_version == 0 {
        return Ok(facts);
    }
    let id: Option<String> = connection
        .query_row("SELECT id FROM ledger", [], |row| row.get(0))
        .optional()?;
    facts.id = id.and_then(|text| Uuid::parse_str(&text).ok());
    let mut statement = connection.prepare("SELECT port FROM port_assignments ORDER BY port")?;
    facts.key_ports = statement
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn reads_a_ledger_at_rest_and_leaves_nothing_beside_it() {
        let folder = tempfile::Builder::new().prefix("odd?name#%").tempdir().unwrap();
        assert_eq!(inspect(folder.path()).unwrap(), None);
        let (connection, id) = open::open(&folder.path().join(open::FILE_NAME)).unwrap();
        drop(connection);
        let found = inspect(folder.path()).unwrap().unwrap();
        assert_eq!((found.id, found.schema_version as usize), (Some(id), schema::VERSION));
        assert_eq!(names(folder.path()), [open::FILE_NAME]);
    }

    #[test]
    fn reads_beside_a_writer_what_only_the_log_holds() {
        let folder = tempfile::tempdir().unwrap();
        let (connection, id) = open::open(&folder.path().join(open::FILE_NAME)).unwrap();
        let key = "INSERT INTO keys (id, uuid, name, is_active, created_at_micros) VALUES ('a', 'b', 'c', 1, 0)";
        connection.execute(key, []).unwrap();
        let assignment = "INSERT INTO port_assignments (port, key_id, assigned_at_micros) VALUES (10007, 'a', 0)";
        connection.execute(assignment, []).unwrap();
        let before = names(folder.path());
        let found = inspect(folder.path()).unwrap().unwrap();
        assert_eq!((found.id, found.key_ports), (Some(id), vec![10_007]));
        assert_eq!(names(folder.path()), before);
        connection.execute("DELETE FROM keys", []).unwrap();
    }

    #[test]
    fn an_agent_that_looks_at_its_own_ledger_keeps_its_locks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(open::FILE_NAME);
        let (connection, id) = open::open(&path).unwrap();
        let locks = || {
            let own = format!(" {} ", std::process::id());
            let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap());
            let of_ledger = format!(":{inode} ");
            let all = std::fs::read_to_string("/proc/locks").unwrap();
            all.lines()
                .filter(|line| line.contains(&own) && line.contains(&of_ledger))
                .count()
        };
        assert!(locks() > 0, "the connection holds no lock that could be lost");
        assert_eq!(inspect_own(folder.path()).unwrap().id, Some(id));
        assert!(locks() > 0, "looking has taken the connection's locks away");
        drop(connection);
    }

    #[test]
    fn says_that_a_ledger_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(open::FILE_NAME);
        drop(open::open(&path).unwrap());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[4_096..8_192].fill(0xff);
        std::fs::write(&path, bytes).unwrap();
        let error = inspect(folder.path()).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    }
}
