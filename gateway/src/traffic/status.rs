//! `GET /api/traffic/status`: whether counting works, and each enabled key in the words of both generations of clients.

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::v1::{Key, ListTrafficResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::legacy::{self, Counted};
use super::simple::{self, CONNECTION_BYTES, InterfaceSum};
use super::{Interfaces, ROW_BYTES};
use crate::answer;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::moment::Moment;

/// Shows whether counting works, and each enabled key in the words of both generations of clients.
#[utoipa::path(
    get,
    path = "/api/traffic/status",
    responses((status = 200, body = Status))
)]
pub(crate) async fn show(State(gateway): State<Gateway>) -> Result<Response, Failure> {
    let keys = legacy::keys(&gateway).await?;
    let traffic = legacy::list_traffic(&gateway, true).await?;
    let status = Status::of(&keys, &traffic)?;
    let n_connections: usize = traffic
        .key_traffic
        .iter()
        .filter_map(|row| row.traffic.as_ref())
        .map(|traffic| traffic.connection_details.len())
        .sum();
    let row_bytes = ROW_BYTES + legacy::ROW_BYTES;
    let expected_bytes = (status.active_keys + 1) * row_bytes + n_connections * CONNECTION_BYTES;
    Ok(answer::json_of_size(&status, expected_bytes))
}

#[derive(Serialize, ToSchema)]
#[schema(as = TrafficStatus)]
struct Status<'a> {
    total_keys: usize,
    active_keys: usize,
    precise_monitor_available: bool,
    simple_monitor_available: bool,
    traffic_stats: Vec<Row<'a>>,
}

/// One enabled key.
#[derive(Serialize, ToSchema)]
#[schema(as = TrafficStatusRow)]
struct Row<'a> {
    #[schema(format = "uuid")]
    key_id: &'a str,
    key_name: &'a str,
    #[schema(format = "uuid")]
    uuid: &'a str,
    has_traffic_data: bool,
    #[schema(required)]
    simple_traffic: Option<simple::Row<'a>>,
    exact_traffic: legacy::Row<'a>,
}

impl<'a> Status<'a> {
    /// Counters were read, so both monitors are there: an agent that cannot read them has no answer but an error.
    fn of(keys: &'a [Key], traffic: &'a ListTrafficResponse) -> Result<Self, Failure> {
        let read_at = Moment::of(traffic.read_at.as_ref(), "read_at")?;
        let interfaces = InterfaceSum::of(Interfaces(&traffic.interfaces), read_at);
        let counted = Counted::of(traffic)?;
        let row = |key: &'a Key| {
            let port_row = counted.port_row(key);
            Row {
                key_id: &key.id,
                key_name: &key.name,
                uuid: &key.uuid,
                has_traffic_data: port_row.is_some(),
                simple_traffic: port_row.map(|row| simple::Row::of(row, interfaces)),
                exact_traffic: counted.row(key),
            }
        };
        let rows: Vec<_> = keys.iter().filter(|key| key.is_active).map(row).collect();
        Ok(Self {
            total_keys: keys.len(),
            active_keys: rows.len(),
            precise_monitor_available: true,
            simple_monitor_available: true,
            traffic_stats: rows,
        })
    }
}

#[cfg(test)]
mod tests {
    use portmeter_proto::v1::{KeyTraffic, Traffic};
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{READ_AT, json_of, key};

    #[test]
    fn a_key_without_a_port_has_no_traffic_data() {
        let disabled = Key {
            is_active: false,
            ..key(3)
        };
        let keys = [key(1), Key { port: None, ..key(2) }, disabled];
        let traffic = ListTrafficResponse {
            key_traffic: vec![KeyTraffic {
                key: Some(key(1)),
                traffic: Some(Traffic {
                    rx_bytes: 1024,
                    ..Traffic::default()
                }),
            }],
            read_at: Some(READ_AT),
            interfaces: Vec::new(),
        };
        let status = json_of(&Status::of(&keys, &traffic).unwrap());
        assert_eq!((&status["total_keys"], &status["active_keys"]), (&json!(3), &json!(2)));
        let rows = status["traffic_stats"].as_array().unwrap();
        assert_eq!(rows[0]["has_traffic_data"], true);
        assert_eq!(rows[0]["simple_traffic"]["total_formatted"], "1.00 KB");
        assert_eq!(rows[0]["exact_traffic"]["total_bytes"], 1024);
        assert_eq!(
            (&rows[1]["has_traffic_data"], &rows[1]["simple_traffic"]),
            (&json!(false), &Value::Null)
        );
        assert_eq!(
            (&rows[1]["key_id"], &rows[1]["uuid"]),
            (&json!("id-2"), &json!("uuid-2"))
        );
    }
}
