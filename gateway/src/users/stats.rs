//! `GET /api/users/stats`: what each user has moved in all, and when.
//!
//! Figures are those of the key since it was made or its history was last reset. Days are the ledger's and have no time of
//! day, so a user was first seen when the first of them began, in UTC, or the key was made.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::v1::{
    DomainUsage, KeyActivity, KeyHistory, ListDomainsRequest, ListHistoriesRequest, ListHistoriesResponse,
};
use prost_types::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::one_of_each_email;
use crate::answer::{self, Object};
use crate::calendar;
use crate::failure::{Failure, PanelFailure};
use crate::gateway::Gateway;
use crate::history::{KeyRow, total_bytes};
use crate::live::now::WINDOW_SECONDS;
use crate::moment::{Moment, Zulu};
use crate::query::Query;

/// Domains of each user.
const DOMAINS: u32 = 3;

/// What a user takes in both lists; see [`answer::json_of_size`].
const ROW_BYTES: usize = 448;

#[derive(Serialize, ToSchema)]
#[schema(as = UserStats)]
struct Stats<'a> {
    ok: bool,
    #[schema(value_type = BTreeMap<String, Short>)]
    stats: Object<&'a str, Short>,
    users: Vec<User<'a>>,
}

/// A user's figures as the oldest panels read them.
#[derive(Serialize, Clone, Copy, ToSchema)]
#[schema(as = UserFigures)]
struct Short {
    traffic: u64,
    conns: u64,
    #[serde(rename = "isOnline")]
    is_online: bool,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UserTotals)]
struct User<'a> {
    email: &'a str,
    #[schema(format = "uuid")]
    uuid: &'a str,
    alias: &'a str,
    total_traffic_bytes: u64,
    days_used: u32,
    is_online: bool,
    #[schema(required)]
    first_seen_at: Option<Zulu>,
    #[schema(required)]
    last_seen_at: Option<Zulu>,
    #[serde(rename = "top3Domains")]
    top_domains: Vec<Domain<'a>>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UserDomain)]
struct Domain<'a> {
    domain: &'a str,
    traffic_bytes: u64,
    share_pct: f64,
}

/// Shows what each user has moved in all, and when; of all users, or of the one with the uuid that is asked for.
#[utoipa::path(
    get,
    path = "/api/users/stats",
    params(("uuid" = Option<String>, Query, description = "Only the user with this uuid.")),
    responses((status = 200, body = Stats))
)]
pub(crate) async fn show(State(gateway): State<Gateway>, query: Query) -> Result<Response, PanelFailure> {
    let request = ListHistoriesRequest { include_activity: true };
    let histories = gateway.lists().histories(request).await?;
    let domains = domains(&gateway).await?;
    let uuid = query.text("uuid").filter(|uuid| !uuid.is_empty());
    let stats = Stats::of(&histories, &domains, uuid)?;
    let expected_bytes = (stats.users.len() + 1) * ROW_BYTES;
    Ok(answer::json_of_size(&stats, expected_bytes))
}

/// Each key's first domains; none where nobody records them.
async fn domains(gateway: &Gateway) -> Result<Vec<DomainUsage>, Failure> {
    let request = ListDomainsRequest {
        by_key: true,
        limit: DOMAINS,
        ..ListDomainsRequest::default()
    };
    Ok(gateway.domains().list_domains(request).await?.into_inner().domains)
}

impl<'a> Stats<'a> {
    fn of(
        histories: &'a ListHistoriesResponse,
        domains: &'a [DomainUsage],
        uuid: Option<&str>,
    ) -> Result<Self, Failure> {
        let read_at = Moment::of(histories.read_at.as_ref(), "read_at")?.unix_seconds();
        let mut by_key: HashMap<&str, Vec<&DomainUsage>> = HashMap::new();
        for usage in domains {
            by_key.entry(&usage.key_id).or_default().push(usage);
        }
        let (mut users, mut short) = (Vec::new(), HashMap::new());
        let is_wanted = |row: &KeyRow<'_>| uuid.is_none_or(|uuid| row.key.uuid.eq_ignore_ascii_case(uuid));
        let mut keys = Vec::new();
        for history in &histories.histories {
            let row = KeyRow::of(history)?;
            if !is_wanted(&row) {
                continue;
            }
            let domains = by_key.remove(row.key.id.as_str()).unwrap_or_default();
            let user = User::of(&row, history, read_at, &domains)?;
            let figures = Short {
                traffic: user.total_traffic_bytes,
                conns: row.total.connections_opened,
                is_online: user.is_online,
            };
            short.insert(row.key.uuid.as_str(), figures);
            keys.push(row.key);
            users.push(user);
        }
        let stats = one_of_each_email(&keys)
            .into_iter()
            .filter_map(|key| Some((key.name.as_str(), *short.get(key.uuid.as_str())?)));
        Ok(Self {
            ok: true,
            stats: Object(stats.collect()),
            users,
        })
    }
}

impl<'a> User<'a> {
    fn of(row: &KeyRow<'a>, history: &KeyHistory, read_at: i64, domains: &[&'a DomainUsage]) -> Result<Self, Failure> {
        let total = total_bytes(row.total);
        let last_seen = last_seen(row, read_at)?;
        let activity = history.activity.as_ref();
        let activity = activity.ok_or_else(|| Failure::incomplete("key_history.activity"))?;
        Ok(Self {
            email: &row.key.name,
            uuid: &row.key.uuid,
            alias: &row.key.alias,
            total_traffic_bytes: total,
            days_used: activity.active_days,
            is_online: last_seen.is_some_and(|seen| seen >= read_at - i64::from(WINDOW_SECONDS)),
            first_seen_at: first_seen(row, activity, last_seen)?.map(zulu).transpose()?,
            last_seen_at: last_seen.map(zulu).transpose()?,
            top_domains: domains.iter().map(|usage| Domain::of(usage, total)).collect(),
        })
    }
}

impl<'a> Domain<'a> {
    /// Its share of all that the user has moved, in percent with two decimals.
    fn of(usage: &'a DomainUsage, total: u64) -> Self {
        let share = match total {
            0 => 0.0,
            total => (usage.estimated_bytes as f64 / total as f64).min(1.0),
        };
        Self {
            domain: &usage.domain,
            traffic_bytes: usage.estimated_bytes,
            share_pct: (share * 10_000.0).round() / 100.0,
        }
    }
}

/// When a key last had a connection or a byte, in Unix seconds: now where it has a connection.
fn last_seen(row: &KeyRow<'_>, read_at: i64) -> Result<Option<i64>, Failure> {
    if row.is_connected {
        return Ok(Some(read_at));
    }
    let last_activity = Moment::optional(row.total.last_activity.as_ref(), "last_activity")?;
    Ok(last_activity.map(Moment::unix_seconds))
}

/// When the first day of use began, though not before the key was made, nor after it was last seen: the ledger's day may
/// begin earlier than UTC's.
fn first_seen(row: &KeyRow<'_>, activity: &KeyActivity, last_seen: Option<i64>) -> Result<Option<i64>, Failure> {
    if activity.first_active_day.is_empty() {
        return Ok(None);
    }
    let day = calendar::day(&activity.first_active_day).ok_or_else(|| Failure::incomplete("first_active_day"))?;
    let created_at = Moment::of(row.key.created_at.as_ref(), "key.created_at")?.unix_seconds();
    let began = day
        .and_time(chrono::NaiveTime::MIN)
        .and_utc()
        .timestamp()
        .max(created_at);
    Ok(Some(last_seen.map_or(began, |seen| began.min(seen))))
}

fn zulu(seconds: i64) -> Result<Zulu, Failure> {
    Ok(Moment::of(Some(&Timestamp { seconds, nanos: 0 }), "seen_at")?.zulu())
}

#[cfg(test)]
mod tests {
    use portmeter_proto::v1::{Key, Tally};
    use serde_json::{Value, json};

    use super::*;

    /// 2025-08-05T12:00:00Z.
    const READ_AT: i64 = 1_754_395_200;
    const DAY: i64 = 86_400;

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    /// A user made four days before; seen last so many seconds ago.
    fn history(number: u32, name: &str, seconds_ago: Option<i64>, first_active_day: &str) -> KeyHistory {
        KeyHistory {
            key: Some(Key {
                id: format!("id-{number}"),
                uuid: format!("uuid-{number}"),
                name: name.to_owned(),
                alias: format!("alias {number}"),
                created_at: at(READ_AT - 4 * DAY),
                ..Key::default()
            }),
            total: Some(Tally {
                rx_bytes: 900,
                tx_bytes: 100,
                connections_opened: u64::from(number) + 5,
                last_activity: seconds_ago.and_then(|seconds| at(READ_AT - seconds)),
                ..Tally::default()
            }),
            is_connected: false,
            activity: Some(KeyActivity {
                active_days: 2,
                first_active_day: first_active_day.to_owned(),
            }),
        }
    }

    fn stats(histories: Vec<KeyHistory>, domains: &[DomainUsage], uuid: Option<&str>) -> Value {
        let response = ListHistoriesResponse {
            histories,
            read_at: at(READ_AT),
            today: "2025-08-05".to_owned(),
        };
        serde_json::to_value(Stats::of(&response, domains, uuid).unwrap()).unwrap()
    }

    #[test]
    fn every_user_is_there_and_an_email_is_the_first_one() {
        let twins = vec![
            history(1, "twin", Some(300), "2025-08-03"),
            history(2, "twin", Some(301), ""),
            history(3, "quiet", None, ""),
        ];
        let all = stats(twins.clone(), &[], None);
        let expected = json!({
            "twin": {"traffic": 1_000, "conns": 6, "isOnline": true},
            "quiet": {"traffic": 1_000, "conns": 8, "isOnline": false},
        });
        assert_eq!(all["stats"], expected);
        let expected = json!({
            "email": "twin", "uuid": "uuid-1", "alias": "alias 1", "totalTrafficBytes": 1_000, "daysUsed": 2,
            "isOnline": true, "firstSeenAt": "2025-08-03T00:00:00Z", "lastSeenAt": "2025-08-05T11:55:00Z",
            "top3Domains": [],
        });
        assert_eq!(all["users"][0], expected);
        assert_eq!(all["users"][1]["isOnline"], false, "a second too long ago");
        let unseen = &all["users"][2];
        assert_eq!(
            (&unseen["firstSeenAt"], &unseen["lastSeenAt"]),
            (&Value::Null, &Value::Null)
        );

        let one = stats(twins.clone(), &[], Some("UUID-2"));
        assert_eq!(one["users"].as_array().unwrap().len(), 1);
        assert_eq!(
            one["stats"]["twin"]["conns"], 7,
            "the only one of this name that was asked for"
        );
        let nobody = stats(twins, &[], Some("nobody"));
        assert_eq!((&nobody["users"], &nobody["stats"]), (&json!([]), &json!({})));
    }

    #[test]
    fn the_first_moment_lies_between_the_keys_creation_and_the_last() {
        let first = |day: &str, seconds_ago| {
            let all = stats(vec![history(1, "a", Some(seconds_ago), day)], &[], None);
            all["users"][0]["firstSeenAt"].clone()
        };
        assert_eq!(first("2025-08-01", 0), "2025-08-01T12:00:00Z", "made at noon");
        assert_eq!(first("2025-08-05", 0), "2025-08-05T00:00:00Z");
        assert_eq!(
            first("2025-08-06", 0),
            "2025-08-05T12:00:00Z",
            "a day that begins earlier than UTC's"
        );
    }

    #[test]
    fn a_connected_user_is_seen_now() {
        let connected = KeyHistory {
            is_connected: true,
            ..history(1, "a", Some(4_000), "2025-08-03")
        };
        let user = stats(vec![connected], &[], None)["users"][0].clone();
        assert_eq!(
            (&user["isOnline"], &user["lastSeenAt"]),
            (&json!(true), &json!("2025-08-05T12:00:00Z"))
        );
    }

    #[test]
    fn domains_are_the_keys_own_with_their_share() {
        let usage = |key_id: &str, domain: &str, estimated_bytes| DomainUsage {
            domain: domain.to_owned(),
            key_id: key_id.to_owned(),
            connections: 1,
            estimated_bytes,
        };
        let domains = [
            usage("id-1", "a.example", 500),
            usage("id-1", "b.example", 3),
            usage("id-2", "c.example", 5_000),
        ];
        let users = vec![history(1, "a", None, ""), history(2, "b", None, "")];
        let all = stats(users, &domains, None);
        let expected = json!([
            {"domain": "a.example", "trafficBytes": 500, "sharePct": 50.0},
            {"domain": "b.example", "trafficBytes": 3, "sharePct": 0.3},
        ]);
        assert_eq!(all["users"][0]["top3Domains"], expected);
        assert_eq!(
            all["users"][1]["top3Domains"][0]["sharePct"], 100.0,
            "an estimate is no more than all"
        );
    }
}
