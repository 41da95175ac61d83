//! What files of other programs ask for, before anybody has looked into the ledger.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::calendar::{Day, Month};
use crate::xray::reality::Identity;

/// What other programs know of some time. They count no packets and no opened connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bytes from the client.
    pub rx_bytes: u64,
    /// Bytes to the client.
    pub tx_bytes: u64,
    /// Most connections at one moment.
    pub max_connections: u64,
    /// How often there came to be connections.
    pub sessions: u64,
}

impl Figures {
    /// Adds what another time had; what no ledger holds is as much as one can.
    pub fn add(&mut self, other: &Self) {
        self.rx_bytes = self.rx_bytes.saturating_add(other.rx_bytes);
        self.tx_bytes = self.tx_bytes.saturating_add(other.tx_bytes);
        self.max_connections = self.max_connections.max(other.max_connections);
        self.sessions = self.sessions.saturating_add(other.sessions);
    }

    /// All of several times.
    pub fn sum<'a>(figures: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut sum = Self::default();
        for one in figures {
            sum.add(one);
        }
        sum
    }

    /// The higher of each figure.
    pub fn at_least(&self, other: &Self) -> Self {
        Self {
            rx_bytes: self.rx_bytes.max(other.rx_bytes),
            tx_bytes: self.tx_bytes.max(other.tx_bytes),
            max_connections: self.max_connections.max(other.max_connections),
            sessions: self.sessions.max(other.sessions),
        }
    }

    /// Bytes of both directions.
    pub fn total_bytes(&self) -> u64 {
        self.rx_bytes.saturating_add(self.tx_bytes)
    }
}

/// Everything that a set of files asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportPlan {
    /// Keys to be made, or found by their uuid.
    pub keys: Vec<ImportedKey>,
    /// What is to be booked.
    pub histories: Vec<ImportedHistory>,
    /// Inbounds of an Xray configuration whose clients become keys.
    pub inbounds: Vec<OldInbound>,
    /// What is left out.
    pub skipped: Vec<Skipped>,
}

/// A key of the old server, or a client of an Xray configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedKey {
    /// Its id, by which clients name it in paths; `None` where the file has none that can be kept.
    pub id: Option<Uuid>,
    /// Its VLESS uuid.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// Whether it is enabled.
    pub is_active: bool,
    /// When it was made; `None` where the file does not say.
    pub created_at: Option<DateTime<Utc>>,
    /// The port that it had.
    pub port: Option<u16>,
    /// Whether others had the same port: then none of them keeps it.
    pub shares_port: bool,
    /// The REALITY settings that its links have, as far as the files tell.
    pub identity: Option<Identity>,
}

/// An inbound that others than Portmeter have written, and whose clients become keys with inbounds of their own. As long
/// as it is there, it lets in whoever had its links, also after the key was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldInbound {
    /// Its tag, or what it is called by without one.
    pub name: String,
    /// Its port, if it has one of its own.
    pub port: Option<u16>,
    /// The VLESS uuids of its clients.
    pub clients: Vec<Uuid>,
}

/// Whose history it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The key with this VLESS uuid. The old server keeps histories of keys that it has no more.
    Uuid(Uuid),
    /// The key with this id or uuid, which somebody has named: it has to be there.
    Named(Uuid),
}

/// What a source counted for one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedHistory {
    /// The key.
    pub owner: Owner,
    /// What the file calls it, for people.
    pub name: String,
    /// Who counted. What one source says again replaces what it said before, and is not added to it.
    pub source: String,
    /// Days in which something happened.
    pub days: BTreeMap<Day, Figures>,
    /// Months as the file states them; where it does not, they are the sums of their days.
    pub months: BTreeMap<Month, Figures>,
    /// Everything, what is older than the days and months included.
    pub total: Figures,
    /// When there last was traffic or a connection.
    pub last_activity: Option<DateTime<Utc>>,
}

/// Something that is not imported, or not as the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub file: String,
    /// What in it.
    pub what: String,
    /// Why.
    pub reason: String,
}
