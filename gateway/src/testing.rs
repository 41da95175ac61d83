//! Messages of the agent for unit tests.

use portmeter_proto::v1::{Key, KeyHistory, Period, Tally};
use prost_types::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::moment::Moment;

/// 2025-08-05T12:00:00.25Z, when everything was read.
pub(crate) const READ_AT: Timestamp = Timestamp {
    seconds: 1_754_395_200,
    nanos: 250_000_000,
};

/// The same, as the gateway has it.
pub(crate) fn read_at() -> Moment {
    Moment::of(Some(&READ_AT), "read_at").unwrap()
}

/// This many seconds after [`READ_AT`].
pub(crate) fn later(seconds: i64) -> Timestamp {
    Timestamp {
        seconds: READ_AT.seconds + seconds,
        nanos: 0,
    }
}

/// Key `number`, of the first of August, named after its number like everything that it has.
pub(crate) fn key(number: u32) -> Key {
    Key {
        id: format!("id-{number}"),
        uuid: format!("uuid-{number}"),
        name: format!("key {number}"),
        created_at: Some(Timestamp {
            seconds: 1_754_006_400,
            nanos: 0,
        }),
        is_active: true,
        port: Some(10_000 + number),
        alias: String::new(),
    }
}

/// Figures that were last added to at noon.
pub(crate) fn tally(rx_bytes: u64, tx_bytes: u64, max_connections: u64, sessions: u64) -> Tally {
    Tally {
        rx_bytes,
        tx_bytes,
        max_connections,
        sessions,
        last_activity: Some(later(0)),
        ..Tally::default()
    }
}

/// The totals of key `number`.
pub(crate) fn history(number: u32, total: Tally, is_connected: bool) -> KeyHistory {
    KeyHistory {
        key: Some(key(number)),
        total: Some(total),
        is_connected,
        activity: None,
    }
}

/// A period that begins at `start`.
pub(crate) fn period(start: &str, tally: Tally) -> Period {
    Period {
        start: start.to_owned(),
        tally: Some(tally),
        ..Period::default()
    }
}

/// `body` as a client reads it.
pub(crate) fn json_of(body: &impl Serialize) -> Value {
    serde_json::from_str(&serde_json::to_string(body).unwrap()).unwrap()
}
