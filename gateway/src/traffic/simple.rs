//! The simple routes: current counters by port, sizes with two decimals, times as floats inside and text outside.
//!
//! A disabled key answers here like any other; a key without a port has no row.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use portmeter_proto::v1::{Connection, GetTrafficRequest, ListTrafficRequest, ResetTrafficRequest};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::{Interfaces, PortRow, ROW_BYTES, Sums};
use crate::answer;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::keys::KeyBody;
use crate::moment::Moment;
use crate::request::KeyId;
use crate::size::Size2;

/// What one connection takes in a row's `connection_details`.
pub(super) const CONNECTION_BYTES: usize = 112;

/// Shows the current counters of every port that has a key.
#[utoipa::path(get, path = "/api/traffic/simple", responses((status = 200, body = SimpleList)))]
pub(crate) async fn list(State(gateway): State<Gateway>) -> Result<Response, Failure> {
    let maker = gateway.clone();
    let made = gateway.shared().simple.get(move || made(maker.clone())).await?;
    Ok(answer::json_bytes(made))
}

async fn made(gateway: Gateway) -> Result<Bytes, Failure> {
    let request = ListTrafficRequest {
        include_connections: true,
    };
    let traffic = gateway.lists().traffic(request).await?;
    let read_at = Moment::of(traffic.read_at.as_ref(), "read_at")?;
    let interfaces = InterfaceSum::of(Interfaces(&traffic.interfaces), read_at);
    let rows = PortRow::all(&traffic.key_traffic)?;
    let sums = Sums::of(&rows);
    let n_connections: usize = rows.iter().map(|row| row.traffic.connection_details.len()).sum();
    let answer = SimpleList {
        status: "success",
        data: SimpleData {
            ports: Rows {
                rows: &rows,
                interfaces,
            },
            total_connections: sums.total_connections,
            total_bytes: sums.total_bytes,
            timestamp: read_at.unix_seconds_float(),
        },
        timestamp: read_at,
    };
    Ok(answer::list_to_bytes(
        &answer,
        (rows.len() + 1) * ROW_BYTES + n_connections * CONNECTION_BYTES,
    ))
}

#[derive(Serialize, ToSchema)]
struct SimpleList<'a> {
    status: &'static str,
    data: SimpleData<'a>,
    timestamp: Moment,
}

#[derive(Serialize, ToSchema)]
struct SimpleData<'a> {
    #[schema(value_type = BTreeMap<String, Row>)]
    ports: Rows<'a>,
    total_connections: u64,
    total_bytes: u64,
    timestamp: f64,
}

/// The rows by their ports, each made when it is written: all of them together would be half as large as the answer.
struct Rows<'a> {
    rows: &'a [PortRow<'a>],
    interfaces: InterfaceSum,
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.rows.iter().map(|row| (row.port, Row::of(row, self.interfaces))))
    }
}

/// Shows the current counters of a key's port. A disabled key answers like any other.
#[utoipa::path(
    get,
    path = "/api/keys/{key_id}/traffic/simple",
    responses((status = 200, body = SimpleOne), (status = 400, description = "The key has no port."))
)]
pub(crate) async fn show(State(gateway): State<Gateway>, KeyId(key_id): KeyId) -> Result<Response, Failure> {
    let request = GetTrafficRequest {
        key_id,
        include_connections: true,
    };
    let traffic = gateway.traffic().get_traffic(request).await?.into_inner();
    let read_at = Moment::of(traffic.read_at.as_ref(), "read_at")?;
    let interfaces = InterfaceSum::of(Interfaces(&traffic.interfaces), read_at);
    let row = traffic
        .key_traffic
        .as_ref()
        .ok_or_else(|| Failure::incomplete("key_traffic"))?;
    let row = PortRow::of(row)?.ok_or_else(Failure::key_has_no_port)?;
    let answer = SimpleOne {
        status: "success",
        key: KeyBody::of(row.key)?,
        traffic: Row::of(&row, interfaces),
        timestamp: read_at,
    };
    Ok(answer::json_of_size(
        &answer,
        2 * ROW_BYTES + row.traffic.connection_details.len() * CONNECTION_BYTES,
    ))
}

#[derive(Serialize, ToSchema)]
struct SimpleOne<'a> {
    status: &'static str,
    key: KeyBody<'a>,
    traffic: Row<'a>,
    timestamp: Moment,
}

/// Sets a key's current counters to zero; its history stays.
#[utoipa::path(post, path = "/api/keys/{key_id}/traffic/simple/reset", responses((status = 200, body = SimpleReset)))]
pub(crate) async fn reset(State(gateway): State<Gateway>, KeyId(key_id): KeyId) -> Result<Response, Failure> {
    gateway
        .traffic()
        .reset_traffic(ResetTrafficRequest { key_id: key_id.clone() })
        .await?;
    Ok(answer::json(&SimpleReset {
        status: "success",
        message: "Traffic stats reset successfully",
        key_id: &key_id,
        timestamp: Moment::now(),
    }))
}

#[derive(Serialize, ToSchema)]
struct SimpleReset<'a> {
    status: &'static str,
    message: &'static str,
    key_id: &'a str,
    timestamp: Moment,
}

/// One port's counters.
#[derive(Serialize, ToSchema)]
#[schema(as = SimpleRow)]
pub(super) struct Row<'a> {
    #[schema(maximum = 65_535)]
    port: u32,
    connections: u64,
    total_bytes: u64,
    rx_bytes: u64,
    tx_bytes: u64,
    total_formatted: Size2,
    rx_formatted: Size2,
    tx_formatted: Size2,
    rx_packets: u64,
    tx_packets: u64,
    connections_opened: u64,
    traffic_rate: f64,
    #[schema(format = "uuid")]
    uuid: &'a str,
    key_name: &'a str,
    interface_traffic: InterfaceSum,
    #[serde(serialize_with = "connections")]
    #[schema(value_type = Vec<ConnectionRow>)]
    connection_details: &'a [Connection],
    timestamp: f64,
    source: &'static str,
    method: &'static str,
}

impl<'a> Row<'a> {
    pub(super) fn of(row: &PortRow<'a>, interface_traffic: InterfaceSum) -> Self {
        let PortRow { port, key, traffic } = *row;
        // JSON has no word for what is not a number.
        let rate = traffic.rate_bytes_per_second;
        Self {
            port,
            connections: traffic.connections,
            total_bytes: row.total_bytes(),
            rx_bytes: traffic.rx_bytes,
            tx_bytes: traffic.tx_bytes,
            total_formatted: Size2::new(row.total_bytes()),
            rx_formatted: Size2::new(traffic.rx_bytes),
            tx_formatted: Size2::new(traffic.tx_bytes),
            rx_packets: traffic.rx_packets,
            tx_packets: traffic.tx_packets,
            connections_opened: traffic.connections_opened,
            traffic_rate: if rate.is_finite() { rate } else { 0.0 },
            uuid: &key.uuid,
            key_name: &key.name,
            interface_traffic,
            connection_details: &traffic.connection_details,
            timestamp: interface_traffic.timestamp,
            source: "ebpf",
            method: "ebpf_port_counters",
        }
    }
}

/// The bytes of this host's interfaces together. They are the host's, not the port's: every row shows the same.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[schema(as = SimpleInterfaces)]
pub(super) struct InterfaceSum {
    rx_bytes: u64,
    tx_bytes: u64,
    total_bytes: u64,
    timestamp: f64,
}

impl InterfaceSum {
    pub(super) fn of(interfaces: Interfaces<'_>, read_at: Moment) -> Self {
        Self {
            rx_bytes: interfaces.rx_bytes(),
            tx_bytes: interfaces.tx_bytes(),
            total_bytes: interfaces.total_bytes(),
            timestamp: read_at.unix_seconds_float(),
        }
    }
}

fn connections<S: Serializer>(connections: &[Connection], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(connections.iter().map(|connection| ConnectionRow {
        local: &connection.local,
        remote: &connection.remote,
        state: &connection.state,
    }))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Connection)]
struct ConnectionRow<'a> {
    local: &'a str,
    remote: &'a str,
    state: &'a str,
}

#[cfg(test)]
mod tests {
    use portmeter_proto::v1::{Key, Traffic};

    use super::*;

    fn rate_as_json(rate_bytes_per_second: f64) -> String {
        let traffic = Traffic {
            rate_bytes_per_second,
            ..Traffic::default()
        };
        let row = PortRow {
            port: 10001,
            key: &Key::default(),
            traffic: &traffic,
        };
        let row = Row::of(&row, InterfaceSum::of(Interfaces(&[]), Moment::now()));
        serde_json::to_string(&row.traffic_rate).unwrap()
    }

    #[test]
    fn a_rate_is_always_a_number_with_a_fraction() {
        assert_eq!(rate_as_json(0.0), "0.0");
        assert_eq!(rate_as_json(1500.0), "1500.0");
        assert_eq!(rate_as_json(f64::NAN), "0.0");
        assert_eq!(rate_as_json(f64::INFINITY), "0.0");
    }
}
