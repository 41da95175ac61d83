//! What one line of an export says.

use chrono::{DateTime, Utc};
use serde::Serialize;

/// A period of a key. Every format has these columns, under these names, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// `minute`, `hour`, `day` or `month`.
    pub granularity: &'static str,
    /// When the period begins: `2026-03-29T01:00:00Z` for minutes and hours, `2026-03-29` for days, `2026-03` for months.
    pub period_start: String,
    /// The key's id.
    pub key_id: String,
    /// The key's VLESS uuid.
    pub key_uuid: String,
    /// The key's name.
    pub key_name: String,
    /// The key's present port, if it has one.
    pub port: Option<u16>,
    /// Bytes from the client.
    pub rx_bytes: u64,
    /// Bytes to the client.
    pub tx_bytes: u64,
    /// Packets from the client.
    pub rx_packets: u64,
    /// Packets to the client.
    pub tx_packets: u64,
    /// Incoming TCP connections whose handshake was completed.
    pub connections_opened: u64,
    /// Most connections open at one moment.
    pub max_connections: u64,
    /// How often the key went from no connection to at least one.
    pub sessions: u64,
    /// The last sample with a connection or a byte.
    pub last_activity: Option<DateTime<Utc>>,
}

/// The columns' names.
pub const COLUMNS: [&str; 14] = [
    "granularity",
    "period_start",
    "key_id",
    "key_uuid",
    "key_name",
    "port",
    "rx_bytes",
    "tx_bytes",
    "rx_packets",
    "tx_packets",
    "connections_opened",
    "max_connections",
    "sessions",
    "last_activity",
];
