//! `GET /api/live/now`: who was active within the last five minutes.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::v1::{
    ListHistoriesRequest, ListHistoriesResponse, ListTopRequest, ListTopResponse, ListTrafficRequest,
    ListTrafficResponse, Metric,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer;
use crate::failure::{Failure, PanelFailure};
use crate::gateway::Gateway;
use crate::history::KeyRow;
use crate::moment::{Moment, Zulu};

/// How long somebody counts as active after the last byte or connection.
pub(crate) const WINDOW_SECONDS: u32 = 300;

/// Where the figures come from, in the words of the panel: counters, not log lines.
const SOURCE: &str = "stats";

/// What a user's row and name take; see [`crate::answer::json_of_size`].
const ROW_BYTES: usize = 224;

/// Shows who was active within the last five minutes.
#[utoipa::path(get, path = "/api/live/now", responses((status = 200, body = Now)))]
pub(crate) async fn show(State(gateway): State<Gateway>) -> Result<Response, PanelFailure> {
    let request = ListTopRequest {
        metric: Metric::Traffic.into(),
        period_seconds: WINDOW_SECONDS,
        limit: u32::MAX,
    };
    let top = gateway.history().list_top(request).await?.into_inner();
    let request = ListTrafficRequest {
        include_connections: false,
    };
    let traffic = gateway.lists().traffic(request).await?;
    // Last: who had a byte or a connection in the answers above is active in this one.
    let histories = gateway.lists().histories(ListHistoriesRequest::default()).await?;
    let now = Now::of(&histories, &traffic, &top)?;
    Ok(answer::json_of_size(&now, (now.users.len() + 2) * ROW_BYTES))
}

#[derive(Serialize, ToSchema)]
#[schema(as = LiveNow)]
struct Now {
    ok: bool,
    users: Vec<User>,
    total: Total,
    timestamp: Zulu,
    online: usize,
    source: &'static str,
    traffic_available: bool,
    meta: Meta,
    now: Flat,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LiveUser)]
struct User {
    email: String,
    last_seen: i64,
    #[schema(format = "uuid")]
    uuid: String,
    conns: u64,
    traffic: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LiveTotal)]
struct Total {
    users: usize,
    conns: u64,
    traffic: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LiveNowMeta)]
struct Meta {
    source: &'static str,
    #[serde(rename = "rollingWindowSec")]
    rolling_window_seconds: u32,
}

/// The same once more, as a newer front end reads it.
#[derive(Serialize, ToSchema)]
#[schema(as = LiveNowFlat)]
#[serde(rename_all = "camelCase")]
struct Flat {
    online_users: Vec<String>,
    online_users_count: usize,
    conns: u64,
    traffic_bytes: u64,
    traffic_available: bool,
}

impl Now {
    /// Of all keys those that are active, with their connections of this moment and their bytes of the window.
    fn of(
        histories: &ListHistoriesResponse,
        traffic: &ListTrafficResponse,
        top: &ListTopResponse,
    ) -> Result<Self, Failure> {
        let read_at = Moment::of(histories.read_at.as_ref(), "read_at")?;
        let connections: HashMap<&str, u64> = traffic
            .key_traffic
            .iter()
            .filter_map(|row| Some((row.key.as_ref()?.id.as_str(), row.traffic.as_ref()?.connections)))
            .collect();
        let bytes: HashMap<&str, u64> = top
            .top
            .iter()
            .filter_map(|row| Some((row.key.as_ref()?.id.as_str(), row.value)))
            .collect();
        let figure = |figures: &HashMap<&str, u64>, row: &KeyRow<'_>| {
            figures.get(row.key.id.as_str()).copied().unwrap_or_default()
        };
        let mut users = Vec::new();
        for row in KeyRow::all(&histories.histories)? {
            let conns = figure(&connections, &row);
            if let Some(last_seen) = last_seen(&row, conns, read_at)? {
                users.push(User {
                    email: row.key.name.clone(),
                    last_seen,
                    uuid: row.key.uuid.clone(),
                    conns,
                    traffic: figure(&bytes, &row),
                });
            }
        }
        Ok(Self::with(users, read_at))
    }

    fn with(users: Vec<User>, read_at: Moment) -> Self {
        let total = Total {
            users: users.len(),
            conns: users.iter().map(|user| user.conns).fold(0, u64::saturating_add),
            traffic: users.iter().map(|user| user.traffic).fold(0, u64::saturating_add),
        };
        Self {
            ok: true,
            timestamp: read_at.zulu(),
            online: users.len(),
            source: SOURCE,
            traffic_available: true,
            meta: Meta {
                source: SOURCE,
                rolling_window_seconds: WINDOW_SECONDS,
            },
            now: Flat {
                online_users: users.iter().map(|user| user.email.clone()).collect(),
                online_users_count: users.len(),
                conns: total.conns,
                traffic_bytes: total.traffic,
                traffic_available: true,
            },
            total,
            users,
        }
    }
}

/// When a key was last active, in Unix seconds, if that is within the window: now where it has a connection.
fn last_seen(row: &KeyRow<'_>, connections: u64, read_at: Moment) -> Result<Option<i64>, Failure> {
    if connections > 0 || row.is_connected {
        return Ok(Some(read_at.unix_seconds()));
    }
    let last_activity = Moment::optional(row.total.last_activity.as_ref(), "last_activity")?;
    let earliest = read_at.unix_seconds() - i64::from(WINDOW_SECONDS);
    Ok(last_activity
        .map(Moment::unix_seconds)
        .filter(|seconds| *seconds >= earliest))
}

#[cfg(test)]
mod tests {
    use portmeter_proto::v1::{KeyHistory, KeyTraffic, Tally, TopKey, Traffic};
    use serde_json::json;

    use super::*;
    use crate::testing::{READ_AT, history, json_of, key, later};

    fn seen(number: u32, seconds_ago: Option<i64>, is_connected: bool) -> KeyHistory {
        let total = Tally {
            last_activity: seconds_ago.map(|seconds| later(-seconds)),
            ..Tally::default()
        };
        history(number, total, is_connected)
    }

    fn connections(number: u32, connections: u64) -> KeyTraffic {
        KeyTraffic {
            key: Some(key(number)),
            traffic: Some(Traffic {
                connections,
                ..Traffic::default()
            }),
        }
    }

    fn moved(number: u32, value: u64) -> TopKey {
        TopKey {
            key: Some(key(number)),
            value,
        }
    }

    fn now(histories: Vec<KeyHistory>, key_traffic: Vec<KeyTraffic>, top: Vec<TopKey>) -> serde_json::Value {
        let histories = ListHistoriesResponse {
            histories,
            read_at: Some(READ_AT),
            today: "2025-08-05".into(),
        };
        let traffic = ListTrafficResponse {
            key_traffic,
            ..ListTrafficResponse::default()
        };
        json_of(&Now::of(&histories, &traffic, &ListTopResponse { top, total: 0 }).unwrap())
    }

    #[test]
    fn whoever_was_active_in_the_window_is_listed() {
        let body = now(
            vec![
                seen(1, Some(60), false),
                seen(2, None, false),
                seen(3, Some(400), true),
                seen(4, Some(300), false),
                seen(5, Some(301), false),
            ],
            vec![connections(1, 0), connections(3, 2)],
            vec![moved(3, 1500), moved(1, 36), moved(5, 9)],
        );
        let expected = json!({
            "ok": true,
            "users": [
                {"email": "key 1", "last_seen": 1_754_395_140, "uuid": "uuid-1", "conns": 0, "traffic": 36},
                {"email": "key 3", "last_seen": 1_754_395_200, "uuid": "uuid-3", "conns": 2, "traffic": 1500},
                {"email": "key 4", "last_seen": 1_754_394_900, "uuid": "uuid-4", "conns": 0, "traffic": 0},
            ],
            "total": {"users": 3, "conns": 2, "traffic": 1536},
            "timestamp": "2025-08-05T12:00:00Z",
            "online": 3,
            "source": "stats",
            "traffic_available": true,
            "meta": {"source": "stats", "rollingWindowSec": 300},
            "now": {
                "onlineUsers": ["key 1", "key 3", "key 4"],
                "onlineUsersCount": 3,
                "conns": 2,
                "trafficBytes": 1536,
                "trafficAvailable": true,
            },
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_connection_that_the_last_sample_has_not_seen_counts() {
        let body = now(vec![seen(1, None, false)], vec![connections(1, 1)], Vec::new());
        assert_eq!((&body["total"]["conns"], &body["online"]), (&json!(1), &json!(1)));
    }

    #[test]
    fn nobody_is_an_empty_list_and_zeros() {
        let body = now(vec![seen(1, None, false)], vec![connections(1, 0)], Vec::new());
        assert_eq!(body["users"], json!([]));
        assert_eq!(body["total"], json!({"users": 0, "conns": 0, "traffic": 0}));
        assert_eq!(body["now"]["onlineUsers"], json!([]));
    }
}
