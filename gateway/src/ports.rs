//! The routes of the port table: which key has which port.

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::v1::{CheckPortsRequest, ListPortsRequest, ListPortsResponse, PortAssignment, ResetPortsRequest};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{self, Object};
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::moment::Moment;

/// What an assignment takes in both maps together; see [`answer::json_of_size`].
const ROW_BYTES: usize = 512;

/// Shows which key has which port.
///
/// The outer `used_ports` is a count, the inner one the table by port; the inner `port_assignments` is the same table
/// by uuid.
#[utoipa::path(get, path = "/api/system/ports", responses((status = 200, body = PortList)))]
pub(crate) async fn list(State(gateway): State<Gateway>) -> Result<Response, Failure> {
    let ports = gateway.ports().list_ports(ListPortsRequest {}).await?.into_inner();
    let used_ports = u32::try_from(ports.assignments.len()).unwrap_or(u32::MAX);
    let answer = PortList {
        port_assignments: Tables::of(&ports)?,
        used_ports,
        available_ports: ports.max_ports.saturating_sub(used_ports),
        max_ports: ports.max_ports,
        port_range: &ports.port_range,
        timestamp: Moment::now().unix_seconds(),
    };
    Ok(answer::json_of_size(&answer, Tables::expected_bytes(&ports)))
}

#[derive(Serialize, ToSchema)]
struct PortList<'a> {
    port_assignments: Tables<'a>,
    used_ports: u32,
    available_ports: u32,
    max_ports: u32,
    port_range: &'a str,
    timestamp: i64,
}

/// Compares both tables of ports with each other and with the keys.
#[utoipa::path(get, path = "/api/system/ports/status", responses((status = 200, body = PortCheck)))]
pub(crate) async fn check(State(gateway): State<Gateway>) -> Result<Response, Failure> {
    let found = gateway.ports().check_ports(CheckPortsRequest {}).await?.into_inner();
    Ok(answer::json(&PortCheck {
        validation: PortValidation {
            valid: found.issues.is_empty(),
            issues: &found.issues,
            total_assignments: found.total_assignments,
            total_used_ports: found.total_used_ports,
        },
        timestamp: Moment::now().unix_seconds(),
    }))
}

#[derive(Serialize, ToSchema)]
struct PortCheck<'a> {
    validation: PortValidation<'a>,
    timestamp: i64,
}

#[derive(Serialize, ToSchema)]
struct PortValidation<'a> {
    valid: bool,
    issues: &'a [String],
    total_assignments: u32,
    total_used_ports: u32,
}

/// Gives every key its port anew, from the lowest.
#[utoipa::path(post, path = "/api/system/ports/reset", responses((status = 200, body = PortsReset)))]
pub(crate) async fn reset(State(gateway): State<Gateway>) -> Result<Response, Failure> {
    gateway.ports().reset_ports(ResetPortsRequest {}).await?;
    let timestamp = Moment::now().unix_seconds();
    Ok(answer::json(&PortsReset {
        message: "All ports reset successfully",
        status: "reset",
        timestamp,
    }))
}

#[derive(Serialize, ToSchema)]
struct PortsReset {
    message: &'static str,
    status: &'static str,
    timestamp: i64,
}

/// Which key has which port, by both.
#[derive(Serialize, ToSchema)]
#[schema(as = PortTables)]
pub(crate) struct Tables<'a> {
    #[schema(value_type = BTreeMap<String, ByPort>)]
    used_ports: Object<u32, ByPort<'a>>,
    #[schema(value_type = BTreeMap<String, ByUuid>)]
    port_assignments: Object<&'a str, ByUuid<'a>>,
    created_at: Moment,
    last_updated: Moment,
}

impl<'a> Tables<'a> {
    pub(crate) fn of(ports: &'a ListPortsResponse) -> Result<Self, Failure> {
        let rows = ports.assignments.iter();
        let by_port = rows.clone().map(|row| Ok((row.port, ByPort::of(row)?)));
        let by_uuid = rows.map(|row| Ok((row.uuid.as_str(), ByUuid::of(row)?)));
        Ok(Self {
            used_ports: Object(by_port.collect::<Result<_, Failure>>()?),
            port_assignments: Object(by_uuid.collect::<Result<_, Failure>>()?),
            created_at: Moment::of(ports.created_at.as_ref(), "created_at")?,
            last_updated: Moment::of(ports.last_updated.as_ref(), "last_updated")?,
        })
    }

    /// What an answer with these tables takes; see [`answer::json_of_size`].
    pub(crate) fn expected_bytes(ports: &ListPortsResponse) -> usize {
        (ports.assignments.len() + 1) * ROW_BYTES
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = PortOfKey)]
struct ByPort<'a> {
    #[schema(format = "uuid")]
    uuid: &'a str,
    #[schema(format = "uuid")]
    key_id: &'a str,
    key_name: &'a str,
    assigned_at: Moment,
    is_active: bool,
}

impl<'a> ByPort<'a> {
    fn of(row: &'a PortAssignment) -> Result<Self, Failure> {
        Ok(Self {
            uuid: &row.uuid,
            key_id: &row.key_id,
            key_name: &row.key_name,
            assigned_at: Moment::of(row.assigned_at.as_ref(), "assigned_at")?,
            is_active: row.is_active,
        })
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = PortAssignment)]
struct ByUuid<'a> {
    #[schema(maximum = 65_535)]
    port: u32,
    #[schema(format = "uuid")]
    key_id: &'a str,
    key_name: &'a str,
    assigned_at: Moment,
}

impl<'a> ByUuid<'a> {
    fn of(row: &'a PortAssignment) -> Result<Self, Failure> {
        Ok(Self {
            port: row.port,
            key_id: &row.key_id,
            key_name: &row.key_name,
            assigned_at: Moment::of(row.assigned_at.as_ref(), "assigned_at")?,
        })
    }
}
