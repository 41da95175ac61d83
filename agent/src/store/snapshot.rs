//! The state after the last commit, immutable and shared: what answers are made from.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::calendar::BillingCycle;
use crate::counters::{Counter, CounterReader};
use crate::ledger::Tally;
use crate::settings::Stored;
use crate::xray::reality::Identity;
use crate::xray::subscription::SubscriptionToken;

/// Identifies a key in Portmeter; not its VLESS uuid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub Uuid);

/// A customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Identifies the key.
    pub id: KeyId,
    /// The VLESS user id; never equal to `id`.
    pub uuid: Uuid,
    /// Free text, not unique.
    pub name: String,
    /// What panels show beside the name; empty when there is none.
    pub alias: String,
    /// Whether the key is enabled.
    pub is_active: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Its port, unless the assignments were reset.
    pub port: Option<u16>,
    /// When it got its port.
    pub assigned_at: Option<DateTime<Utc>>,
    /// Its billing cycle.
    pub cycle: Option<BillingCycle>,
    /// The secret in its subscription's address; none while it is disabled.
    pub subscription_token: Option<SubscriptionToken>,
    /// What it has of a REALITY identity of its own.
    pub identity: Option<Arc<Identity>>,
}

/// Names a key's history: what is shown of it. A reset begins a new one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HistoryId(pub i64);

/// A key's history and where it stood when that began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    /// Its name.
    pub id: HistoryId,
    /// When the key was made or its history last reset.
    pub began_at: DateTime<Utc>,
    /// The key's life-long figures at that moment.
    pub baseline: Counter,
    /// The key's life-long sessions at that moment.
    pub baseline_sessions: u64,
    /// Most connections since.
    pub max_connections: u64,
    /// The last activity since.
    pub last_activity: Option<DateTime<Utc>>,
}

/// A key's place in the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// What was booked to the key in its life.
    pub booked: Tally,
    /// The port's counter up to which that is.
    pub checkpoint: Counter,
    /// The total at the last reset of the current figures.
    pub baseline: Counter,
    /// The part of it that is shown as history.
    pub history: History,
}

impl Figures {
    /// The key's total in its life, as fresh as `counter`.
    pub fn total(&self, counter: Counter) -> Counter {
        // A lower counter cannot be, see `Counter::since`; if it ever is, the answer stands still.
        self.booked.traffic + counter.since(self.checkpoint).unwrap_or_default()
    }

    /// Takes over what a booking adds.
    pub(super) fn book(&mut self, tally: &Tally) {
        self.booked.add(tally);
        self.history.max_connections = self.history.max_connections.max(tally.max_connections);
        self.history.last_activity = self.history.last_activity.max(tally.last_activity);
    }

    /// What was booked since the history began.
    pub fn history_total(&self) -> Tally {
        let history = &self.history;
        Tally {
            traffic: self.booked.traffic.since(history.baseline).unwrap_or_default(),
            max_connections: history.max_connections,
            sessions: self.booked.sessions.saturating_sub(history.baseline_sessions),
            last_activity: history.last_activity,
        }
    }

    /// The history that begins at this moment.
    pub(super) fn next_history(&self, id: HistoryId, began_at: DateTime<Utc>) -> History {
        History {
            id,
            began_at,
            baseline: self.booked.traffic,
            baseline_sessions: self.booked.sessions,
            max_connections: 0,
            last_activity: None,
        }
    }

    /// What is shown as current: booked + (counter − checkpoint) − baseline.
    pub fn shown(&self, counter: Counter) -> Counter {
        self.total(counter).since(self.baseline).unwrap_or_default()
    }
}

/// A key with its figures.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its place in the order of creation; no other key has it, now or later.
    pub position: i64,
    /// The key.
    pub key: Arc<Key>,
    /// Its figures at the last booking.
    pub figures: Figures,
}

impl Entry {
    /// What is shown as current, as fresh as the kernel.
    pub fn shown(&self, reader: &dyn CounterReader) -> Counter {
        match self.key.port {
            Some(port) => self.figures.shown(reader.read(port)),
            None => self.figures.shown(self.figures.checkpoint),
        }
    }
}

/// All keys in creation order.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The keys.
    pub entries: Vec<Entry>,
    /// The server's REALITY identity.
    pub identity: Arc<Identity>,
    /// What a restore has taken over of others' parts of the core's configuration, until it stands in the file.
    pub restored_document: Option<Arc<str>>,
    /// When the table of assignments was made and last changed.
    pub port_table: PortTableTimes,
    /// Changes with every change of a key or an assignment, and with nothing else.
    pub keys_revision: u64,
    /// The stored settings.
    pub settings: Arc<Stored>,
    /// When counters were last booked.
    pub booked_at: DateTime<Utc>,
    /// When all of them were; `None` before the first time since the start.
    pub all_booked_at: Option<DateTime<Utc>>,
    /// The commit that made this state.
    pub sequence: u64,
    /// Positions in `entries` by id; shared between snapshots while the keys stay the same.
    pub(super) by_id: Arc<HashMap<Uuid, usize>>,
    /// Positions in `entries` by uuid.
    pub(super) by_uuid: Arc<HashMap<Uuid, usize>>,
}

/// When the table of port assignments was made and last changed.
#[derive(Debug, Clone, Copy, Default)]
pub struct PortTableTimes {
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When an assignment last changed.
    pub last_updated: DateTime<Utc>,
}

impl Snapshot {
    /// The key with this id or, failing that, this uuid.
    pub fn find(&self, id_or_uuid: Uuid) -> Option<&Entry> {
        let position = self.by_id.get(&id_or_uuid).or_else(|| self.by_uuid.get(&id_or_uuid))?;
        self.entries.get(*position)
    }

    /// The key with this subscription token. Each comparison takes the same time, so that none is found by trying.
    pub fn find_subscription(&self, token: &SubscriptionToken) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.key.subscription_token.as_ref() == Some(token))
    }

    /// At most `limit` keys in creation order, after a position; and whether more follow.
    pub fn page(&self, after: i64, limit: usize) -> (&[Entry], bool) {
        let start = self.entries.partition_point(|entry| entry.position <= after);
        let rest = &self.entries[start..];
        (&rest[..rest.len().min(limit)], rest.len() > limit)
    }

    /// A key's place in `entries`.
    pub(super) fn position(&self, id: KeyId) -> Option<usize> {
        self.by_id.get(&id.0).copied()
    }

    /// Places in `entries` by the history that is shown.
    pub(super) fn keys_by_history(&self) -> HashMap<HistoryId, usize> {
        let histories = self.entries.iter().map(|entry| entry.figures.history.id);
        histories.zip(0..).collect()
    }

    /// Ports that keys have.
    pub fn assigned_ports(&self) -> BTreeSet<u16> {
        self.entries.iter().filter_map(|entry| entry.key.port).collect()
    }

    /// Notes that the keys have changed: makes the indexes anew and counts the revision.
    pub(super) fn keys_changed(&mut self) {
        self.keys_revision += 1;
        let by = |name: fn(&Key) -> Uuid| {
            Arc::new(
                self.entries
                    .iter()
                    .enumerate()
                    .map(|(at, entry)| (name(&entry.key), at))
                    .collect(),
            )
        };
        (self.by_id, self.by_uuid) = (by(|key| key.id.0), by(|key| key.uuid));
    }
}
