//! Events: what happened, appended in the transaction of what it tells of. They are read in `event_log`.

use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::{Connection, params};

use super::snapshot::KeyId;
use crate::ledger::Gap;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A key and its customer.
    User,
    /// The agent and its host.
    System,
    /// The settings.
    Settings,
    /// The core and its configuration.
    Xray,
    /// Connections that were cut off or could not be.
    Connection,
    /// Sampling and booking.
    Collector,
    /// A service that went down or came back.
    ServiceHealth,
    /// Something failed within the agent.
    AppError,
    /// Something took too long.
    Performance,
    /// The agent or the ledger was brought to a newer version.
    Update,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::User,
        Self::System,
        Self::Settings,
        Self::Xray,
        Self::Connection,
        Self::Collector,
        Self::ServiceHealth,
        Self::AppError,
        Self::Performance,
        Self::Update,
    ];

    /// The kind with this word in the table.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The word in the table.
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::System => "system",
            Self::Settings => "settings",
            Self::Xray => "xray",
            Self::Connection => "connection",
            Self::Collector => "collector",
            Self::ServiceHealth => "service_health",
            Self::AppError => "app_error",
            Self::Performance => "performance",
            Self::Update => "update",
        }
    }
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventSeverity {
    /// It is good to know.
    Info,
    /// Somebody should know.
    Warning,
    /// Something failed.
    Error,
}

impl EventSeverity {
    /// Every severity, the least first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Error];

    /// The severity with this word in the table.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.word() == word)
    }

    /// The word in the table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// An event to be appended. By default it is the agent's information about its system, asked for by the operator.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// What it is about.
    pub kind: EventKind,
    /// How much it matters.
    pub severity: EventSeverity,
    /// Whose doing it was: `agent`, `xray`.
    pub service: &'static str,
    /// What was done, for example `add`.
    pub action: &'static str,
    /// One sentence without a secret.
    pub message: String,
    /// Who asked for it: `operator` or `agent`.
    pub actor: &'static str,
    /// The key that it is about.
    pub key_id: Option<KeyId>,
    /// What else is known: `email`, `alias`, `enabled`, `result`. Without a secret.
    pub details: Vec<(&'static str, String)>,
}

impl Default for NewEvent {
    fn default() -> Self {
        Self {
            kind: EventKind::System,
            severity: EventSeverity::Info,
            service: "agent",
            action: "",
            message: String::new(),
            actor: "operator",
            key_id: None,
            details: Vec::new(),
        }
    }
}

pub(super) fn append(connection: &Connection, at: DateTime<Utc>, event: &NewEvent) -> rusqlite::Result<()> {
    let details: serde_json::Map<String, serde_json::Value> = event
        .details
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone().into()))
        .collect();
    connection
        .prepare_cached(
            "INSERT INTO events (at_micros, type, severity, service, action, message, actor, key_id, details)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            at.timestamp_micros(),
            event.kind.word(),
            event.severity.word(),
            event.service,
            event.action,
            event.message,
            event.actor,
            event.key_id.map(|id| id.0.to_string()),
            (!details.is_empty()).then(|| serde_json::Value::Object(details).to_string()),
        ])?;
    Ok(())
}

/// Appends several, in their order.
pub(super) fn append_all(connection: &Connection, at: DateTime<Utc>, events: &[NewEvent]) -> rusqlite::Result<()> {
    events.iter().try_for_each(|event| append(connection, at, event))
}

/// Tells that traffic passed while nobody read the counters: it is all there, but its minutes are not known.
pub(super) fn append_gap(connection: &Connection, gap: &Gap) -> rusqlite::Result<()> {
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let message = format!(
        "{} bytes on {} ports passed between {} and {} while nobody read the counters; they are booked to the minute of \
         the later time",
        gap.total_bytes,
        gap.ports,
        time(gap.from),
        time(gap.to)
    );
    let event = NewEvent {
        kind: EventKind::Collector,
        action: "gap",
        message,
        actor: "agent",
        ..NewEvent::default()
    };
    append(connection, gap.to, &event)
}
