//! The routes of the first clients: the same counters by key, in that generation's words.
//!
//! What they call uplink is what came from the client, downlink what went to it. They are for enabled keys: each has a
//! row, one without a port a row of zeros, and one that is disabled is refused by name. The fixed `source` and
//! `method` are what those clients know.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::v1::{
    GetKeyRequest, Key, ListKeysRequest, ListTrafficRequest, ListTrafficResponse, ResetTrafficRequest, Traffic,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{PortRow, Sums};
use crate::answer;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::keys::KeyBody;
use crate::moment::Moment;
use crate::request::KeyId;
use crate::size::{Megabytes, Size2};

const SOURCE: &str = "alternative_monitor";

const METHOD: &str = "network_distribution";

/// What one row takes; see [`answer::json_of_size`].
pub(super) const ROW_BYTES: usize = 544;

/// Shows the current counters of every enabled key, in the words of the first clients.
#[utoipa::path(
    get,
    path = "/api/traffic/exact",
    responses((status = 200, body = AllKeys))
)]
pub(crate) async fn list(State(gateway): State<Gateway>) -> Result<Response, Failure> {
    let keys = keys(&gateway).await?;
    let traffic = list_traffic(&gateway, false).await?;
    let answer = AllKeys::of(&keys, &traffic)?;
    let expected_bytes = (answer.traffic_stats.keys_stats.len() + 1) * ROW_BYTES;
    Ok(answer::json_of_size(&answer, expected_bytes))
}

/// Shows the current counters of an enabled key, in the words of the first clients.
#[utoipa::path(
    get,
    path = "/api/keys/{key_id}/traffic/exact",
    responses((status = 200, body = LegacyOne), (status = 400, description = "The key is not active."))
)]
pub(crate) async fn show(State(gateway): State<Gateway>, KeyId(key_id): KeyId) -> Result<Response, Failure> {
    let key = enabled_key(&gateway, key_id).await?;
    // A key's share takes the connections of all.
    let traffic = list_traffic(&gateway, false).await?;
    let answer = LegacyOne {
        key: KeyBody::of(&key)?,
        traffic_bytes: Counted::of(&traffic)?.row(&key),
        source: SOURCE,
    };
    Ok(answer::json_of_size(&answer, 2 * ROW_BYTES))
}

#[derive(Serialize, ToSchema)]
struct LegacyOne<'a> {
    key: KeyBody<'a>,
    traffic_bytes: Row<'a>,
    source: &'static str,
}

/// Sets an enabled key's current counters to zero; its history stays.
#[utoipa::path(
    post,
    path = "/api/keys/{key_id}/traffic/reset",
    responses((status = 200, body = LegacyReset), (status = 400, description = "The key is not active."))
)]
pub(crate) async fn reset(State(gateway): State<Gateway>, KeyId(key_id): KeyId) -> Result<Response, Failure> {
    // A reset knows nothing of enabled and disabled; this route does, so it looks first.
    let key = enabled_key(&gateway, key_id.clone()).await?;
    gateway
        .traffic()
        .reset_traffic(ResetTrafficRequest { key_id: key.id })
        .await?;
    Ok(answer::json(&LegacyReset {
        message: "Traffic stats reset successfully",
        key_id: &key_id,
        uuid: &key.uuid,
        source: SOURCE,
        status: "success",
        timestamp: Moment::now(),
    }))
}

#[derive(Serialize, ToSchema)]
struct LegacyReset<'a> {
    message: &'static str,
    key_id: &'a str,
    #[schema(format = "uuid")]
    uuid: &'a str,
    source: &'static str,
    status: &'static str,
    timestamp: Moment,
}

/// All keys in creation order.
pub(super) async fn keys(gateway: &Gateway) -> Result<Vec<Key>, Failure> {
    Ok(gateway
        .keys()
        .list_keys(ListKeysRequest::default())
        .await?
        .into_inner()
        .keys)
}

/// What is counted for every key that has a port.
pub(super) async fn list_traffic(gateway: &Gateway, include_connections: bool) -> Result<ListTrafficResponse, Failure> {
    let request = ListTrafficRequest { include_connections };
    Ok(gateway.lists().traffic(request).await?)
}

/// The key with this id or uuid, unless it is disabled.
async fn enabled_key(gateway: &Gateway, key_id: String) -> Result<Key, Failure> {
    let key = gateway.keys().get_key(GetKeyRequest { key_id }).await?.into_inner().key;
    let key = key.ok_or_else(|| Failure::incomplete("key"))?;
    if key.is_active {
        Ok(key)
    } else {
        Err(Failure::key_not_active())
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = LegacyList)]
struct AllKeys<'a> {
    total_keys: usize,
    active_keys: usize,
    traffic_stats: Statistics<'a>,
    total_traffic: Size2,
    source: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LegacyStatistics)]
struct Statistics<'a> {
    total_keys: usize,
    active_keys: usize,
    total_traffic: Size2,
    keys_stats: Vec<Row<'a>>,
    source: &'static str,
    timestamp: i64,
}

impl<'a> AllKeys<'a> {
    /// One row of each enabled key; `total_traffic` is what these rows add up to.
    fn of(keys: &'a [Key], traffic: &'a ListTrafficResponse) -> Result<Self, Failure> {
        let counted = Counted::of(traffic)?;
        let rows: Vec<_> = keys
            .iter()
            .filter(|key| key.is_active)
            .map(|key| counted.row(key))
            .collect();
        let total_bytes = rows.iter().map(|row| row.total_bytes).fold(0, u64::saturating_add);
        let (total_keys, active_keys, total_traffic) = (keys.len(), rows.len(), Size2::new(total_bytes));
        Ok(Self {
            total_keys,
            active_keys,
            traffic_stats: Statistics {
                total_keys,
                active_keys,
                total_traffic,
                keys_stats: rows,
                source: SOURCE,
                timestamp: counted.timestamp,
            },
            total_traffic,
            source: SOURCE,
        })
    }
}

/// What was counted, to be found by key.
pub(super) struct Counted<'a> {
    by_key_id: HashMap<&'a str, PortRow<'a>>,
    total_connections: u64,
    timestamp: i64,
}

impl<'a> Counted<'a> {
    pub(super) fn of(traffic: &'a ListTrafficResponse) -> Result<Self, Failure> {
        let rows = PortRow::all(&traffic.key_traffic)?;
        Ok(Self {
            total_connections: Sums::of(&rows).total_connections,
            by_key_id: rows.into_iter().map(|row| (row.key.id.as_str(), row)).collect(),
            timestamp: Moment::of(traffic.read_at.as_ref(), "read_at")?.unix_seconds(),
        })
    }

    /// What was counted for the key's port, unless it has none.
    pub(super) fn port_row(&self, key: &Key) -> Option<&PortRow<'a>> {
        self.by_key_id.get(key.id.as_str())
    }

    /// The key's row; zeros where it has no port.
    pub(super) fn row<'k>(&self, key: &'k Key) -> Row<'k> {
        let nothing = Traffic::default();
        let traffic = self.port_row(key).map_or(&nothing, |row| row.traffic);
        let total_bytes = traffic.rx_bytes.saturating_add(traffic.tx_bytes);
        Row {
            uuid: &key.uuid,
            total_bytes,
            total_formatted: Size2::new(total_bytes),
            total_mb: Megabytes::new(total_bytes),
            uplink_bytes: traffic.rx_bytes,
            downlink_bytes: traffic.tx_bytes,
            uplink_formatted: Size2::new(traffic.rx_bytes),
            downlink_formatted: Size2::new(traffic.tx_bytes),
            uplink_mb: Megabytes::new(traffic.rx_bytes),
            downlink_mb: Megabytes::new(traffic.tx_bytes),
            connections: traffic.connections,
            connection_ratio: percent(traffic.connections, self.total_connections),
            connections_count: traffic.connections,
            timestamp: self.timestamp,
            source: SOURCE,
            method: METHOD,
        }
    }
}

/// One key.
#[derive(Serialize, ToSchema)]
#[schema(as = LegacyRow)]
pub(super) struct Row<'a> {
    #[schema(format = "uuid")]
    uuid: &'a str,
    total_bytes: u64,
    total_formatted: Size2,
    #[schema(value_type = f64)]
    total_mb: Megabytes,
    uplink_bytes: u64,
    downlink_bytes: u64,
    uplink_formatted: Size2,
    downlink_formatted: Size2,
    #[schema(value_type = f64)]
    uplink_mb: Megabytes,
    #[schema(value_type = f64)]
    downlink_mb: Megabytes,
    connections: u64,
    connection_ratio: f64,
    connections_count: u64,
    timestamp: i64,
    source: &'static str,
    method: &'static str,
}

/// How many percent `part` is of `whole`, with two decimals; none of nothing.
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    (part as f64 / whole as f64 * 10_000.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use portmeter_proto::v1::KeyTraffic;
    use serde_json::json;

    use super::*;
    use crate::testing::{READ_AT, json_of, key};

    fn counted(number: u32, rx_bytes: u64, tx_bytes: u64, connections: u64) -> KeyTraffic {
        KeyTraffic {
            key: Some(key(number)),
            traffic: Some(Traffic {
                rx_bytes,
                tx_bytes,
                connections,
                ..Traffic::default()
            }),
        }
    }

    #[test]
    fn every_enabled_key_has_a_row() {
        let disabled = Key {
            is_active: false,
            ..key(2)
        };
        let without_port = Key { port: None, ..key(3) };
        let keys = [key(1), disabled.clone(), without_port];
        let traffic = ListTrafficResponse {
            key_traffic: vec![
                counted(1, 19_233_840, 19_233_842, 1),
                KeyTraffic {
                    key: Some(disabled),
                    ..counted(2, 5, 5, 2)
                },
            ],
            read_at: Some(READ_AT),
            interfaces: Vec::new(),
        };
        let answer = json_of(&AllKeys::of(&keys, &traffic).unwrap());
        let expected_row = json!({
            "uuid": "uuid-1",
            "total_bytes": 38_467_682, "total_formatted": "36.69 MB", "total_mb": 36.69,
            "uplink_bytes": 19_233_840, "uplink_formatted": "18.34 MB", "uplink_mb": 18.34,
            "downlink_bytes": 19_233_842, "downlink_formatted": "18.34 MB", "downlink_mb": 18.34,
            "connections": 1, "connection_ratio": 33.33, "connections_count": 1,
            "timestamp": 1_754_395_200,
            "source": "alternative_monitor", "method": "network_distribution",
        });
        let rows = answer["traffic_stats"]["keys_stats"].as_array().unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0], expected_row);
        assert_eq!(
            (&rows[1]["uuid"], &rows[1]["total_formatted"]),
            (&json!("uuid-3"), &json!("0 B"))
        );
        assert_eq!(
            (&rows[1]["total_mb"], &rows[1]["connection_ratio"]),
            (&json!(0.0), &json!(0.0))
        );
        for part in [&answer, &answer["traffic_stats"]] {
            assert_eq!((&part["total_keys"], &part["active_keys"]), (&json!(3), &json!(2)));
            assert_eq!(part["total_traffic"], "36.69 MB");
        }
    }

    #[test]
    fn a_share_has_two_decimals() {
        assert_eq!(percent(0, 0), 0.0);
        assert_eq!(percent(0, 7), 0.0);
        assert_eq!(percent(1, 3), 33.33);
        assert_eq!(percent(2, 3), 66.67);
        assert_eq!(percent(7, 7), 100.0);
    }
}
