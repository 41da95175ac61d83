//! The port routes: current counters by key, sizes with one decimal, times as whole Unix seconds.
//!
//! They are for enabled keys: one that is disabled is refused by name, and shows in the list as long as it has a
//! port. The fixed `source` is what clients of these routes know.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use portmeter_proto::v1::{
    GetKeyRequest, GetTrafficRequest, InterfaceTraffic, ListTrafficRequest, ResetTrafficRequest,
};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::{Interfaces, PortRow, ROW_BYTES, Sums};
use crate::answer::{self, Object};
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::keys::KeyBody;
use crate::moment::Moment;
use crate::request::KeyId;
use crate::size::Size1;

const SOURCE: &str = "port_monitor";

/// What one interface takes in a row.
const INTERFACE_BYTES: usize = 160;

/// Shows the current counters of every port that has a key, by the key's uuid, and the host as a whole.
///
/// The outer `ports_traffic` is the answer about all ports, the inner one its rows.
#[utoipa::path(get, path = "/api/traffic/ports/exact", responses((status = 200, body = ExactList)))]
pub(crate) async fn list(State(gateway): State<Gateway>) -> Result<Response, Failure> {
    let maker = gateway.clone();
    let made = gateway.shared().exact.get(move || made(maker.clone())).await?;
    Ok(answer::json_bytes(made))
}

async fn made(gateway: Gateway) -> Result<Bytes, Failure> {
    let request = ListTrafficRequest {
        include_connections: false,
    };
    let traffic = gateway.lists().traffic(request).await?;
    let timestamp = Moment::of(traffic.read_at.as_ref(), "read_at")?.unix_seconds();
    let interfaces = Interfaces(&traffic.interfaces);
    let rows = PortRow::all(&traffic.key_traffic)?;
    let sums = Sums::of(&rows);
    let answer = ExactList {
        ports_traffic: PortsTraffic {
            total_ports: rows.len(),
            ports_traffic: Object(
                rows.iter()
                    .map(|row| NamedRow::of(row, interfaces, timestamp))
                    .collect(),
            ),
            total_traffic: sums.total_bytes,
            total_connections: sums.total_connections,
            total_traffic_formatted: Size1::new(sums.total_bytes),
            timestamp,
        },
        system_summary: Summary::of(interfaces, rows.len(), timestamp),
        source: SOURCE,
        timestamp,
    };
    let row_bytes = ROW_BYTES + interfaces.0.len() * INTERFACE_BYTES;
    Ok(answer::list_to_bytes(&answer, (rows.len() + 1) * row_bytes))
}

#[derive(Serialize, ToSchema)]
struct ExactList<'a> {
    ports_traffic: PortsTraffic<'a>,
    system_summary: Summary<'a>,
    source: &'static str,
    timestamp: i64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ExactListRows)]
struct PortsTraffic<'a> {
    total_ports: usize,
    #[schema(value_type = BTreeMap<String, NamedRow>)]
    ports_traffic: Object<&'a str, NamedRow<'a>>,
    total_traffic: u64,
    total_connections: u64,
    total_traffic_formatted: Size1,
    timestamp: i64,
}

/// Shows the current counters of an enabled key's port.
#[utoipa::path(
    get,
    path = "/api/keys/{key_id}/traffic/port/exact",
    responses((status = 200, body = ExactOne), (status = 400, description = "The key is not active, or has no port."))
)]
pub(crate) async fn show(State(gateway): State<Gateway>, KeyId(key_id): KeyId) -> Result<Response, Failure> {
    let request = GetTrafficRequest {
        key_id,
        include_connections: false,
    };
    let traffic = gateway.traffic().get_traffic(request).await?.into_inner();
    let timestamp = Moment::of(traffic.read_at.as_ref(), "read_at")?.unix_seconds();
    let row = traffic
        .key_traffic
        .as_ref()
        .ok_or_else(|| Failure::incomplete("key_traffic"))?;
    let key = row.key.as_ref().ok_or_else(|| Failure::incomplete("key_traffic.key"))?;
    if !key.is_active {
        return Err(Failure::key_not_active());
    }
    let row = PortRow::of(row)?.ok_or_else(Failure::key_has_no_port)?;
    let answer = ExactOne {
        key: KeyBody::of(key)?,
        port_traffic: Row::of(&row, Interfaces(&traffic.interfaces), timestamp),
        source: SOURCE,
        timestamp,
    };
    Ok(answer::json_of_size(
        &answer,
        2 * ROW_BYTES + traffic.interfaces.len() * INTERFACE_BYTES,
    ))
}

#[derive(Serialize, ToSchema)]
struct ExactOne<'a> {
    key: KeyBody<'a>,
    port_traffic: Row<'a>,
    source: &'static str,
    timestamp: i64,
}

/// Sets an enabled key's current counters to zero; its history stays.
#[utoipa::path(
    post,
    path = "/api/keys/{key_id}/traffic/port/reset",
    responses((status = 200, body = PortReset), (status = 400, description = "The key is not active, or has no port."))
)]
pub(crate) async fn reset(State(gateway): State<Gateway>, KeyId(key_id): KeyId) -> Result<Response, Failure> {
    // A reset knows nothing of enabled and disabled; this route does, so it looks first.
    let request = GetKeyRequest { key_id: key_id.clone() };
    let key = gateway
        .keys()
        .get_key(request)
        .await?
        .into_inner()
        .key
        .ok_or_else(|| Failure::incomplete("key"))?;
    if !key.is_active {
        return Err(Failure::key_not_active());
    }
    gateway
        .traffic()
        .reset_traffic(ResetTrafficRequest { key_id: key.id })
        .await?;
    Ok(answer::json(&PortReset {
        message: "Port traffic stats reset successfully",
        key_id: &key_id,
        uuid: &key.uuid,
        port: key.port,
        source: SOURCE,
        timestamp: Moment::now().unix_seconds(),
    }))
}

/// Shows what the host's interfaces have carried since it was started.
#[utoipa::path(get, path = "/api/system/traffic/summary", responses((status = 200, body = HostSummary)))]
pub(crate) async fn summary(State(gateway): State<Gateway>) -> Result<Response, Failure> {
    let request = ListTrafficRequest {
        include_connections: false,
    };
    let traffic = gateway.lists().traffic(request).await?;
    let timestamp = Moment::of(traffic.read_at.as_ref(), "read_at")?.unix_seconds();
    let active_ports = PortRow::all(&traffic.key_traffic)?.len();
    let answer = HostSummary {
        summary: Summary::of(Interfaces(&traffic.interfaces), active_ports, timestamp),
        timestamp,
    };
    Ok(answer::json_of_size(
        &answer,
        ROW_BYTES + traffic.interfaces.len() * INTERFACE_BYTES,
    ))
}

#[derive(Serialize, ToSchema)]
struct HostSummary<'a> {
    summary: Summary<'a>,
    timestamp: i64,
}

#[derive(Serialize, ToSchema)]
struct PortReset<'a> {
    message: &'static str,
    key_id: &'a str,
    #[schema(format = "uuid")]
    uuid: &'a str,
    #[schema(required, maximum = 65_535)]
    port: Option<u32>,
    source: &'static str,
    timestamp: i64,
}

/// A row of the list.
#[derive(Serialize, ToSchema)]
#[schema(as = ExactNamedRow)]
struct NamedRow<'a> {
    #[schema(maximum = 65_535)]
    port: u32,
    key_name: &'a str,
    traffic: Row<'a>,
}

impl<'a> NamedRow<'a> {
    /// The row and the uuid that names it.
    fn of(row: &PortRow<'a>, interfaces: Interfaces<'a>, timestamp: i64) -> (&'a str, Self) {
        let traffic = Row::of(row, interfaces, timestamp);
        (
            &row.key.uuid,
            Self {
                port: row.port,
                key_name: &row.key.name,
                traffic,
            },
        )
    }
}

/// One port's counters.
#[derive(Serialize, ToSchema)]
#[schema(as = ExactRow)]
struct Row<'a> {
    #[schema(maximum = 65_535)]
    port: u32,
    connections: u64,
    total_bytes: u64,
    rx_bytes: u64,
    tx_bytes: u64,
    total_formatted: Size1,
    rx_formatted: Size1,
    tx_formatted: Size1,
    timestamp: i64,
    #[schema(format = "uuid")]
    uuid: &'a str,
    #[schema(value_type = BTreeMap<String, InterfaceRow>)]
    interface_traffic: ByInterface<'a>,
    total_interface_traffic: u64,
}

impl<'a> Row<'a> {
    fn of(row: &PortRow<'a>, interfaces: Interfaces<'a>, timestamp: i64) -> Self {
        let PortRow { port, key, traffic } = *row;
        Self {
            port,
            connections: traffic.connections,
            total_bytes: row.total_bytes(),
            rx_bytes: traffic.rx_bytes,
            tx_bytes: traffic.tx_bytes,
            total_formatted: Size1::new(row.total_bytes()),
            rx_formatted: Size1::new(traffic.rx_bytes),
            tx_formatted: Size1::new(traffic.tx_bytes),
            timestamp,
            uuid: &key.uuid,
            interface_traffic: ByInterface { interfaces, timestamp },
            total_interface_traffic: interfaces.total_bytes(),
        }
    }
}

/// The bytes of this host's interfaces by name. They are the host's, not the port's: every row shows the same.
struct ByInterface<'a> {
    interfaces: Interfaces<'a>,
    timestamp: i64,
}

/// One interface in a row.
#[derive(Serialize, ToSchema)]
#[schema(as = ExactInterface)]
struct InterfaceRow {
    rx_bytes: u64,
    tx_bytes: u64,
    total_bytes: u64,
    timestamp: i64,
}

impl Serialize for ByInterface<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.interfaces.0.iter().map(|interface| {
            let InterfaceTraffic {
                name,
                rx_bytes,
                tx_bytes,
            } = interface;
            let total_bytes = rx_bytes.saturating_add(*tx_bytes);
            (
                name,
                InterfaceRow {
                    rx_bytes: *rx_bytes,
                    tx_bytes: *tx_bytes,
                    total_bytes,
                    timestamp: self.timestamp,
                },
            )
        }))
    }
}

/// This host as a whole.
#[derive(Serialize, ToSchema)]
#[schema(as = SystemSummary)]
struct Summary<'a> {
    total_system_traffic: u64,
    total_system_traffic_formatted: Size1,
    active_ports: usize,
    #[schema(value_type = BTreeMap<String, InterfaceSummary>)]
    interface_summary: Object<&'a str, InterfaceSummary>,
    timestamp: i64,
}

#[derive(Serialize, ToSchema)]
struct InterfaceSummary {
    rx_bytes: u64,
    tx_bytes: u64,
    total_bytes: u64,
    rx_formatted: Size1,
    tx_formatted: Size1,
    total_formatted: Size1,
}

impl<'a> Summary<'a> {
    /// `active_ports` is the number of ports that have a key.
    fn of(interfaces: Interfaces<'a>, active_ports: usize, timestamp: i64) -> Self {
        let one = |interface: &'a InterfaceTraffic| {
            let InterfaceTraffic {
                name,
                rx_bytes,
                tx_bytes,
            } = interface;
            let total_bytes = rx_bytes.saturating_add(*tx_bytes);
            let summary = InterfaceSummary {
                rx_bytes: *rx_bytes,
                tx_bytes: *tx_bytes,
                total_bytes,
                rx_formatted: Size1::new(*rx_bytes),
                tx_formatted: Size1::new(*tx_bytes),
                total_formatted: Size1::new(total_bytes),
            };
            (name.as_str(), summary)
        };
        Self {
            total_system_traffic: interfaces.total_bytes(),
            total_system_traffic_formatted: Size1::new(interfaces.total_bytes()),
            active_ports,
            interface_summary: Object(interfaces.0.iter().map(one).collect()),
            timestamp,
        }
    }
}
