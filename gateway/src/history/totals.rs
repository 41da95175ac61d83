//! What keys moved since they were made or their history was reset.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use portmeter_proto::v1::{
    GetHistoryRequest, GetHistoryResponse, ListHistoriesRequest, ListHistoriesResponse, ResetHistoryRequest, Tally,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{DAY_BYTES, Figures, Identity, KeyRow, ROW_BYTES, Sizes, Sums, by_date, total_bytes};
use crate::answer::{self, Object};
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::moment::Moment;
use crate::request::KeyId;
use crate::size::Size2;

/// Shows what every key moved since it was made or its history was reset.
#[utoipa::path(get, path = "/api/traffic/history", responses((status = 200, body = AllKeys)))]
pub(crate) async fn list(State(gateway): State<Gateway>) -> Result<Response, Failure> {
    let maker = gateway.clone();
    let made = gateway.shared().totals.get(move || made(maker.clone())).await?;
    Ok(answer::json_bytes(made))
}

async fn made(gateway: Gateway) -> Result<Bytes, Failure> {
    let histories = gateway.lists().histories(ListHistoriesRequest::default()).await?;
    let expected_bytes = (histories.histories.len() + 1) * ROW_BYTES;
    Ok(answer::list_to_bytes(&AllKeys::of(&histories)?, expected_bytes))
}

/// Shows what a key moved since it was made or its history was reset, in all and by day.
#[utoipa::path(get, path = "/api/keys/{key_id}/traffic/history", responses((status = 200, body = OneKey)))]
pub(crate) async fn show(State(gateway): State<Gateway>, KeyId(key_id): KeyId) -> Result<Response, Failure> {
    let request = GetHistoryRequest {
        key_id,
        include_days: true,
        month: None,
    };
    let history = gateway.history().get_history(request).await?.into_inner();
    let expected_bytes = ROW_BYTES + history.days.len() * DAY_BYTES;
    Ok(answer::json_of_size(&OneKey::of(&history)?, expected_bytes))
}

/// Begins a key's history anew; its current counters stay.
#[utoipa::path(post, path = "/api/keys/{key_id}/traffic/history/reset", responses((status = 200, body = HistoryReset)))]
pub(crate) async fn reset(State(gateway): State<Gateway>, KeyId(key_id): KeyId) -> Result<Response, Failure> {
    let request = ResetHistoryRequest { key_id: key_id.clone() };
    gateway.history().reset_history(request).await?;
    Ok(answer::json(&HistoryReset {
        status: "success",
        message: "Traffic history reset successfully",
        key_id: &key_id,
        timestamp: Moment::now(),
    }))
}

#[derive(Serialize, ToSchema)]
struct HistoryReset<'a> {
    status: &'static str,
    message: &'static str,
    key_id: &'a str,
    timestamp: Moment,
}

#[derive(Serialize, ToSchema)]
#[schema(as = HistoryOfAllKeys)]
struct AllKeys<'a> {
    status: &'static str,
    data: AllKeysData<'a>,
    timestamp: Moment,
}

#[derive(Serialize, ToSchema)]
#[schema(as = HistoryOfAllKeysData)]
struct AllKeysData<'a> {
    total_keys: usize,
    active_keys: usize,
    total_traffic_bytes: u64,
    total_rx_bytes: u64,
    total_tx_bytes: u64,
    keys: Vec<Row<'a>>,
    total_traffic_formatted: Size2,
    total_rx_formatted: Size2,
    total_tx_formatted: Size2,
}

impl<'a> AllKeys<'a> {
    fn of(histories: &'a ListHistoriesResponse) -> Result<Self, Failure> {
        let rows = KeyRow::all(&histories.histories)?;
        let sums = Sums::of(rows.iter().map(|row| row.total));
        Ok(Self {
            status: "success",
            data: AllKeysData {
                total_keys: rows.len(),
                active_keys: rows.iter().filter(|row| row.is_connected).count(),
                total_traffic_bytes: sums.total_bytes(),
                total_rx_bytes: sums.rx_bytes,
                total_tx_bytes: sums.tx_bytes,
                keys: rows.iter().map(Row::of).collect::<Result<_, _>>()?,
                total_traffic_formatted: Size2::new(sums.total_bytes()),
                total_rx_formatted: Size2::new(sums.rx_bytes),
                total_tx_formatted: Size2::new(sums.tx_bytes),
            },
            timestamp: Moment::of(histories.read_at.as_ref(), "read_at")?,
        })
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = HistoryOfKey)]
struct OneKey<'a> {
    status: &'static str,
    data: OneKeyData<'a>,
    timestamp: Moment,
}

#[derive(Serialize, ToSchema)]
#[schema(as = HistoryOfKeyData)]
struct OneKeyData<'a> {
    #[serde(flatten)]
    row: Row<'a>,
    #[schema(value_type = BTreeMap<String, Figures>)]
    daily_stats: Object<&'a str, Figures>,
}

impl<'a> OneKey<'a> {
    fn of(history: &'a GetHistoryResponse) -> Result<Self, Failure> {
        let row = history.history.as_ref().ok_or_else(|| Failure::incomplete("history"))?;
        Ok(Self {
            status: "success",
            data: OneKeyData {
                row: Row::of(&KeyRow::of(row)?)?,
                daily_stats: Object(by_date(&history.days)?),
            },
            timestamp: Moment::of(history.read_at.as_ref(), "read_at")?,
        })
    }
}

/// One key.
#[derive(Serialize, ToSchema)]
#[schema(as = HistoryRow)]
struct Row<'a> {
    #[serde(flatten)]
    identity: Identity<'a>,
    total_traffic: TotalTraffic,
}

impl<'a> Row<'a> {
    fn of(row: &KeyRow<'a>) -> Result<Self, Failure> {
        Ok(Self {
            identity: Identity::of(row)?,
            total_traffic: TotalTraffic::of(row.total),
        })
    }
}

#[derive(Serialize, ToSchema)]
struct TotalTraffic {
    total_bytes: u64,
    rx_bytes: u64,
    tx_bytes: u64,
    total_connections: u64,
    #[serde(flatten)]
    sizes: Sizes,
}

impl TotalTraffic {
    fn of(total: &Tally) -> Self {
        Self {
            total_bytes: total_bytes(total),
            rx_bytes: total.rx_bytes,
            tx_bytes: total.tx_bytes,
            total_connections: total.max_connections,
            sizes: Sizes::of(total),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{READ_AT, history, json_of, period, tally};

    #[test]
    fn all_keys() {
        let histories = ListHistoriesResponse {
            histories: vec![
                history(1, tally(19_233_840, 19_233_842, 271, 5), true),
                history(2, Tally::default(), false),
            ],
            read_at: Some(READ_AT),
            today: "2025-08-05".into(),
        };
        let expected = json!({
            "status": "success",
            "data": {
                "total_keys": 2,
                "active_keys": 1,
                "total_traffic_bytes": 38_467_682,
                "total_rx_bytes": 19_233_840,
                "total_tx_bytes": 19_233_842,
                "keys": [
                    {
                        "key_uuid": "uuid-1",
                        "key_name": "key 1",
                        "port": 10001,
                        "created_at": "2025-08-01T00:00:00.000000",
                        "last_activity": "2025-08-05T12:00:00.000000",
                        "is_active": true,
                        "total_traffic": {
                            "total_bytes": 38_467_682,
                            "rx_bytes": 19_233_840,
                            "tx_bytes": 19_233_842,
                            "total_connections": 271,
                            "total_formatted": "36.69 MB",
                            "rx_formatted": "18.34 MB",
                            "tx_formatted": "18.34 MB",
                        },
                    },
                    {
                        "key_uuid": "uuid-2",
                        "key_name": "key 2",
                        "port": 10002,
                        "created_at": "2025-08-01T00:00:00.000000",
                        "last_activity": null,
                        "is_active": false,
                        "total_traffic": {
                            "total_bytes": 0,
                            "rx_bytes": 0,
                            "tx_bytes": 0,
                            "total_connections": 0,
                            "total_formatted": "0 B",
                            "rx_formatted": "0 B",
                            "tx_formatted": "0 B",
                        },
                    },
                ],
                "total_traffic_formatted": "36.69 MB",
                "total_rx_formatted": "18.34 MB",
                "total_tx_formatted": "18.34 MB",
            },
            "timestamp": "2025-08-05T12:00:00.250000",
        });
        assert_eq!(json_of(&AllKeys::of(&histories).unwrap()), expected);
    }

    #[test]
    fn one_key_with_its_days() {
        let history = GetHistoryResponse {
            history: Some(history(1, tally(1500, 36, 2, 2), false)),
            read_at: Some(READ_AT),
            today: "2025-08-05".into(),
            days: vec![
                period("2025-08-04", tally(1000, 24, 2, 1)),
                period("2025-08-05", tally(500, 12, 1, 1)),
            ],
            month: None,
        };
        let expected = json!({
            "status": "success",
            "data": {
                "key_uuid": "uuid-1",
                "key_name": "key 1",
                "port": 10001,
                "created_at": "2025-08-01T00:00:00.000000",
                "last_activity": "2025-08-05T12:00:00.000000",
                "is_active": false,
                "total_traffic": {
                    "total_bytes": 1536,
                    "rx_bytes": 1500,
                    "tx_bytes": 36,
                    "total_connections": 2,
                    "total_formatted": "1.50 KB",
                    "rx_formatted": "1.46 KB",
                    "tx_formatted": "36 B",
                },
                "daily_stats": {
                    "2025-08-04": {
                        "total_bytes": 1024, "rx_bytes": 1000, "tx_bytes": 24, "max_connections": 2, "sessions": 1,
                    },
                    "2025-08-05": {
                        "total_bytes": 512, "rx_bytes": 500, "tx_bytes": 12, "max_connections": 1, "sessions": 1,
                    },
                },
            },
            "timestamp": "2025-08-05T12:00:00.250000",
        });
        assert_eq!(json_of(&OneKey::of(&history).unwrap()), expected);
    }
}
