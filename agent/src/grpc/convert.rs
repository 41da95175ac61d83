//! Domain values to messages: pure conversion.

use chrono::{DateTime, Utc};
use portmeter_proto::v1;
use prost_types::Timestamp;
use tonic::Status;

use crate::network::InterfaceStatistics;
use crate::services::{ServiceError, Traffic};
use crate::store::Key;

pub(super) fn timestamp(time: DateTime<Utc>) -> Timestamp {
    let nanos = i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default();
    Timestamp {
        seconds: time.timestamp(),
        nanos,
    }
}

/// How many of something there are that a host has few of.
pub(super) fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

pub(super) fn key(key: &Key) -> v1::Key {
    v1::Key {
        id: key.id.0.to_string(),
        uuid: key.uuid.to_string(),
        name: key.name.clone(),
        created_at: Some(timestamp(key.created_at)),
        is_active: key.is_active,
        port: key.port.map(u32::from),
        alias: key.alias.clone(),
    }
}

/// `None` for a key without a port.
pub(super) fn port_assignment(key: &Key) -> Option<v1::PortAssignment> {
    Some(v1::PortAssignment {
        port: key.port?.into(),
        key_id: key.id.0.to_string(),
        uuid: key.uuid.to_string(),
        key_name: key.name.clone(),
        assigned_at: key.assigned_at.map(timestamp),
        is_active: key.is_active,
    })
}

pub(super) fn key_traffic(traffic: &Traffic, include_connections: bool) -> v1::KeyTraffic {
    let connection_details = if include_connections {
        traffic.connections.iter().map(connection).collect()
    } else {
        Vec::new()
    };
    v1::KeyTraffic {
        key: Some(key(&traffic.key)),
        traffic: Some(v1::Traffic {
            rx_bytes: traffic.shown.rx_bytes,
            tx_bytes: traffic.shown.tx_bytes,
            rx_packets: traffic.shown.rx_packets,
            tx_packets: traffic.shown.tx_packets,
            connections: traffic.active_connections,
            connections_opened: traffic.shown.connections_opened,
            rate_bytes_per_second: traffic.rate_bytes_per_second,
            connection_details,
        }),
    }
}

fn connection(connection: &crate::network::sockets::Connection) -> v1::Connection {
    v1::Connection {
        local: connection.local.to_string(),
        remote: connection.remote.to_string(),
        state: connection.state.to_owned(),
    }
}

pub(super) fn interface((name, statistics): (String, InterfaceStatistics)) -> v1::InterfaceTraffic {
    v1::InterfaceTraffic {
        name,
        rx_bytes: statistics.rx_bytes,
        tx_bytes: statistics.tx_bytes,
    }
}

impl From<ServiceError> for Status {
    fn from(error: ServiceError) -> Self {
        error.reason.status_with(error.message, &error.details)
    }
}
