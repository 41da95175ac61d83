//! Messages and keys for the tests of this room.

use portmeter_proto::v1::{Key, KeyTraffic, Traffic, WatchTrafficResponse};
use prost_types::Timestamp;

use super::model::Message;

/// A key with the port 10000 + `number`.
pub(super) fn key(number: u32, name: &str) -> Key {
    Key {
        id: format!("00000000-0000-4000-8000-{number:012}"),
        name: name.to_owned(),
        port: Some(10_000 + number),
        is_active: true,
        ..Key::default()
    }
}

/// What a key has moved, and how many connections it has.
pub(super) fn told(key: Key, rx_bytes: u64, tx_bytes: u64, connections: u64) -> KeyTraffic {
    KeyTraffic {
        key: Some(key),
        traffic: Some(Traffic {
            rx_bytes,
            tx_bytes,
            connections,
            ..Traffic::default()
        }),
    }
}

/// A message that was read so many milliseconds after 2025-08-05 12:00:00 UTC.
pub(super) fn traffic(milliseconds: i64, key_traffic: Vec<KeyTraffic>) -> Message {
    let nanos = i32::try_from(milliseconds % 1_000 * 1_000_000).unwrap_or_default();
    Message::Traffic(WatchTrafficResponse {
        key_traffic,
        read_at: Some(Timestamp {
            seconds: 1_754_395_200 + milliseconds / 1_000,
            nanos,
        }),
    })
}
