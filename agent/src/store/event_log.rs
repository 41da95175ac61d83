//! The events read beside the writer: listed, counted, followed.
//!
//! An event's id is its place: ids ascend in the order of the commits, so who has read up to one has missed nothing
//! before it, and a page goes on below the last id of the page before.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params};
use tokio::sync::watch;
use uuid::Uuid;

use super::columns::unsigned;
use super::events::{EventKind, EventSeverity};
use super::history::Page;
use super::keys::time_from;
use super::snapshot::KeyId;
use super::{Store, StoreError};

/// Errors that statistics name.
const RECENT_ERRORS: usize = 10;

const HOUR_MICROS: i64 = 3_600_000_000;

/// An event as it was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Ascending in the order of happening; never used again.
    pub id: u64,
    /// When it was appended.
    pub at: DateTime<Utc>,
    /// What it is about.
    pub kind: EventKind,
    /// How much it matters.
    pub severity: EventSeverity,
    /// Whose doing it was.
    pub service: String,
    /// What was done.
    pub action: String,
    /// One sentence.
    pub message: String,
    /// Who asked for it.
    pub actor: String,
    /// The key that it is about, which may be gone.
    pub key_id: Option<KeyId>,
    /// What else is known, by name.
    pub details: BTreeMap<String, String>,
}

/// Which events are wanted: those that everything given fits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct EventFilter {
    /// Appended at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// About this.
    pub kind: Option<EventKind>,
    /// Mattering this much.
    pub severity: Option<EventSeverity>,
    /// Of this service.
    pub service: Option<String>,
    /// About this key.
    pub key_id: Option<KeyId>,
}

/// How many events there were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventStatistics {
    /// All of them.
    pub total: u64,
    /// By kind, in the order of the words; what did not happen is left out, here and in what follows.
    pub kinds: Vec<(EventKind, u64)>,
    /// By severity, the least first.
    pub severities: Vec<(EventSeverity, u64)>,
    /// By service, in the order of the names.
    pub services: Vec<(String, u64)>,
    /// By hour in UTC, oldest first.
    pub hours: Vec<EventHour>,
    /// The newest errors, newest first.
    pub recent_errors: Vec<Event>,
}

/// How many events an hour had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventHour {
    /// When it begins.
    pub start: DateTime<Utc>,
    /// All of them.
    pub count: u64,
    /// The errors among them.
    pub error_count: u64,
    /// The warnings among them.
    pub warning_count: u64,
}

impl Store {
    /// Events that fit, newest first, those below `before_id` where one is given.
    pub async fn events(
        &self,
        filter: EventFilter,
        before_id: Option<u64>,
        limit: usize,
    ) -> Result<Page<Event>, StoreError> {
        self.read_events(move |connection| page(connection, &filter, before_id, limit))
            .await
    }

    /// How many events there were since a time, or of all that are kept.
    pub async fn event_statistics(&self, since: Option<DateTime<Utc>>) -> Result<EventStatistics, StoreError> {
        self.read_events(move |connection| statistics(connection, since)).await
    }

    /// At most `limit` events with a higher id, oldest first.
    pub async fn events_after(&self, after_id: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.read_events(move |connection| after(connection, after_id, limit))
            .await
    }

    /// What was last told of a run of the agent: that it started or stopped, or that the ledger was restored between two.
    pub async fn last_run_event(&self) -> Result<Option<Event>, StoreError> {
        self.read_events(|connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM events WHERE type = 'system' AND action IN ('start', 'stop', 'restore_ledger')
                 ORDER BY id DESC LIMIT 1"
            );
            connection.query_row(&sql, [], event).optional()
        })
        .await
    }

    /// The id of the last event, and each new one after it was committed; 0 before the first.
    pub fn last_event(&self) -> watch::Receiver<u64> {
        self.last_event.clone()
    }

    async fn read_events<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = Arc::clone(&self.readers);
        let reading = tokio::task::spawn_blocking(move || readers.read(|transaction| Ok(work(transaction)?)));
        reading.await.map_err(|_| StoreError::Closed)?
    }
}

/// The last id that was given, also to an event that is gone; 0 before the first.
pub(super) fn last_id(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)")?
        .query_row([], |row| unsigned(row, 0))
}

const COLUMNS: &str = "id, at_micros, type, severity, service, action, message, actor, key_id, details";

fn page(
    connection: &Connection,
    filter: &EventFilter,
    before_id: Option<u64>,
    limit: usize,
) -> rusqlite::Result<Page<Event>> {
    // The clock may have been set back, so a later event can have an earlier time: the index gives where to stop looking,
    // and each event's own time decides.
    let sql = format!(
        "SELECT {COLUMNS} FROM events
         WHERE id < :before
           AND id >= CASE WHEN :since IS NULL THEN 0
                          ELSE ifnull((SELECT min(id) FROM events WHERE at_micros >= :since), :before) END
           AND (:since IS NULL OR at_micros >= :since)
           AND (:kind IS NULL OR type = :kind)
           AND (:severity IS NULL OR severity = :severity)
           AND (:service IS NULL OR service = :service)
           AND (:key_id IS NULL OR key_id = :key_id)
         ORDER BY id DESC LIMIT :limit"
    );
    let before = before_id.map_or(i64::MAX, |id| i64::try_from(id).unwrap_or(i64::MAX));
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(
        named_params! {
            ":before": before,
            ":since": filter.since.map(|since| since.timestamp_micros()),
            ":kind": filter.kind.map(EventKind::word),
            ":severity": filter.severity.map(EventSeverity::word),
            ":service": filter.service,
            ":key_id": filter.key_id.map(|id| id.0.to_string()),
            // One more tells whether there is a next page.
            ":limit": i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX),
        },
        event,
    )?;
    let mut rows: Vec<Event> = rows.collect::<rusqlite::Result<_>>()?;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    Ok(Page { rows, has_more })
}

fn after(connection: &Connection, after_id: u64, limit: usize) -> rusqlite::Result<Vec<Event>> {
    let sql = format!("SELECT {COLUMNS} FROM events WHERE id > ?1 ORDER BY id LIMIT ?2");
    let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
    connection
        .prepare_cached(&sql)?
        .query_map([number(after_id), number(limit as u64)], event)?
        .collect()
}

/// Events of one hour that are alike.
struct Group {
    hour: i64,
    kind: EventKind,
    severity: EventSeverity,
    service: String,
    count: u64,
}

fn statistics(connection: &Connection, since: Option<DateTime<Utc>>) -> rusqlite::Result<EventStatistics> {
    let mut statement = connection.prepare_cached(
        "SELECT at_micros / ?2, type, severity, service, count(*) FROM events WHERE at_micros >= ?1
         GROUP BY 1, type, severity, service",
    )?;
    let since_micros = since.map_or(i64::MIN, |since| since.timestamp_micros());
    let groups = statement.query_map([since_micros, HOUR_MICROS], |row| {
        Ok(Group {
            hour: row.get(0)?,
            kind: word(row, 1, EventKind::from_word)?,
            severity: word(row, 2, EventSeverity::from_word)?,
            service: row.get(3)?,
            count: unsigned(row, 4)?,
        })
    })?;
    let groups: Vec<Group> = groups.collect::<rusqlite::Result<_>>()?;
    let errors = EventFilter {
        since,
        severity: Some(EventSeverity::Error),
        ..EventFilter::default()
    };
    Ok(EventStatistics {
        recent_errors: page(connection, &errors, None, RECENT_ERRORS)?.rows,
        ..counted(&groups)
    })
}

/// The sums of the groups.
fn counted(groups: &[Group]) -> EventStatistics {
    let (mut kinds, mut severities) = (BTreeMap::new(), BTreeMap::new());
    let (mut services, mut hours) = (BTreeMap::new(), BTreeMap::new());
    for group in groups {
        *kinds.entry(group.kind.word()).or_insert(0) += group.count;
        *severities.entry(group.severity).or_insert(0) += group.count;
        *services.entry(group.service.clone()).or_insert(0) += group.count;
        let hour = hours.entry(group.hour).or_insert_with(|| EventHour {
            start: time_from(group.hour.saturating_mul(HOUR_MICROS)),
            count: 0,
            error_count: 0,
            warning_count: 0,
        });
        hour.count += group.count;
        match group.severity {
            EventSeverity::Info => {}
            EventSeverity::Warning => hour.warning_count += group.count,
            EventSeverity::Error => hour.error_count += group.count,
        }
    }
    let known = |(word, count)| Some((EventKind::from_word(word)?, count));
    EventStatistics {
        total: groups.iter().map(|group| group.count).sum(),
        kinds: kinds.into_iter().filter_map(known).collect(),
        severities: severities.into_iter().collect(),
        services: services.into_iter().collect(),
        hours: hours.into_values().collect(),
        recent_errors: Vec::new(),
    }
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let key_id: Option<String> = row.get(8)?;
    let details = match row.get::<_, Option<String>>(9)? {
        None => BTreeMap::new(),
        Some(text) => serde_json::from_str(&text)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(9, Type::Text, error.into()))?,
    };
    Ok(Event {
        id: unsigned(row, 0)?,
        at: time_from(row.get(1)?),
        kind: word(row, 2, EventKind::from_word)?,
        severity: word(row, 3, EventSeverity::from_word)?,
        service: row.get(4)?,
        action: row.get(5)?,
        message: row.get(6)?,
        actor: row.get(7)?,
        key_id: key_id.and_then(|text| Uuid::parse_str(&text).ok()).map(KeyId),
        details,
    })
}

fn word<T>(row: &Row<'_>, column: usize, meaning: impl Fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    let unknown = || format!("`{text}` is no word of an event");
    meaning(&text).ok_or_else(|| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::from(unknown())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_add_up_in_every_way() {
        let group = |hour, kind, severity, service: &str, count| Group {
            hour,
            kind,
            severity,
            service: service.to_owned(),
            count,
        };
        let groups = [
            group(11, EventKind::Xray, EventSeverity::Error, "xray", 1),
            group(10, EventKind::User, EventSeverity::Info, "agent", 3),
            group(10, EventKind::User, EventSeverity::Warning, "agent", 2),
            group(11, EventKind::User, EventSeverity::Info, "agent", 4),
        ];
        let found = counted(&groups);
        assert_eq!(found.total, 10);
        assert_eq!(found.kinds, [(EventKind::User, 9), (EventKind::Xray, 1)]);
        assert_eq!(
            found.severities,
            [
                (EventSeverity::Info, 7),
                (EventSeverity::Warning, 2),
                (EventSeverity::Error, 1)
            ]
        );
        assert_eq!(found.services, [("agent".to_owned(), 9), ("xray".to_owned(), 1)]);
        let hours: Vec<_> = found
            .hours
            .iter()
            .map(|hour| (hour.start.timestamp(), hour.count, hour.error_count, hour.warning_count))
            .collect();
        assert_eq!(hours, [(36_000, 5, 0, 2), (39_600, 5, 1, 0)]);
    }

    #[test]
    fn every_word_is_read_back() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::from_word(kind.word()), Some(kind));
        }
        for severity in EventSeverity::ALL {
            assert_eq!(EventSeverity::from_word(severity.word()), Some(severity));
        }
        assert_eq!(EventKind::from_word("USER"), None);
    }
}
