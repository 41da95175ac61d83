//! A key's billing cycles: the rule, and what was moved in each cycle.
//!
//! These routes are this product's own; [`cycle_rule`](super::cycle_rule) is how they write a rule.

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::v1::{
    Cycle, GetKeyRequest, Key, ListCyclesRequest, ListCyclesResponse, UpdateCycleRequest, UpdateCycleResponse,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::cycle_rule::{RuleBody, rule_of};
use super::{Figures, ROW_BYTES, Sizes};
use crate::answer;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::moment::Moment;
use crate::openapi::bodies::CycleWanted;
use crate::query::Query;
use crate::request::{KeyId, OptionalFields};

/// How many cycles are listed where the caller does not say, and at most.
const LIMIT_DEFAULT: u32 = 12;
const LIMIT_MAX: u32 = 1_000;

/// Lists a key's billing cycles, newest first.
#[utoipa::path(
    get,
    path = "/api/keys/{key_id}/cycles",
    params(
        (
            "limit" = Option<u32>,
            Query,
            description = "How many are listed; 12 by default.",
            minimum = 1,
            maximum = 1_000,
        ),
    ),
    responses((status = 200, body = Cycles))
)]
pub(crate) async fn list(
    State(gateway): State<Gateway>,
    KeyId(key_id): KeyId,
    query: Query,
) -> Result<Response, Failure> {
    let limit = query.number("limit", LIMIT_DEFAULT, 1..=LIMIT_MAX);
    if limit.is_err() {
        must_exist(&gateway, key_id.clone()).await?;
    }
    let request = ListCyclesRequest { key_id, limit: limit? };
    let cycles = gateway.history().list_cycles(request).await?.into_inner();
    let expected_bytes = (cycles.cycles.len() + 1) * ROW_BYTES;
    Ok(answer::json_of_size(
        &Cycles::of(&cycles, Moment::now())?,
        expected_bytes,
    ))
}

/// Sets a key's billing cycle, or ends it: `null`, as the body or as its `rule`.
#[utoipa::path(
    put,
    path = "/api/keys/{key_id}/cycle",
    request_body(content = CycleWanted, description = "The rule, or null for no cycle."),
    responses((status = 200, body = Updated))
)]
pub(crate) async fn set(
    State(gateway): State<Gateway>,
    KeyId(key_id): KeyId,
    fields: Result<OptionalFields, Failure>,
) -> Result<Response, Failure> {
    let rule = fields.and_then(|OptionalFields(fields)| rule_of(fields.as_ref()));
    if rule.is_err() {
        must_exist(&gateway, key_id.clone()).await?;
    }
    let request = UpdateCycleRequest { key_id, rule: rule? };
    let updated = gateway.history().update_cycle(request).await?.into_inner();
    Ok(answer::json(&Updated::of(&updated, Moment::now())?))
}

/// A key that is not there is told before what is wrong with the rest of the request.
async fn must_exist(gateway: &Gateway, key_id: String) -> Result<(), Failure> {
    gateway.keys().get_key(GetKeyRequest { key_id }).await?;
    Ok(())
}

#[derive(Serialize, ToSchema)]
#[schema(as = CycleUpdated)]
struct Updated<'a> {
    status: &'static str,
    message: &'static str,
    data: UpdatedData<'a>,
    timestamp: Moment,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CycleUpdatedData)]
struct UpdatedData<'a> {
    #[schema(format = "uuid")]
    key_uuid: &'a str,
    key_name: &'a str,
    #[schema(required)]
    cycle: Option<RuleBody<'a>>,
}

impl<'a> Updated<'a> {
    fn of(updated: &'a UpdateCycleResponse, timestamp: Moment) -> Result<Self, Failure> {
        let key = key_of(updated.key.as_ref())?;
        Ok(Self {
            status: "success",
            message: match updated.rule {
                Some(_) => "Billing cycle set successfully",
                None => "Billing cycle ended successfully",
            },
            data: UpdatedData {
                key_uuid: &key.uuid,
                key_name: &key.name,
                cycle: updated.rule.as_ref().map(RuleBody::of).transpose()?,
            },
            timestamp,
        })
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = CycleList)]
struct Cycles<'a> {
    status: &'static str,
    data: CyclesData<'a>,
    timestamp: Moment,
}

#[derive(Serialize, ToSchema)]
#[schema(as = CycleListData)]
struct CyclesData<'a> {
    #[schema(format = "uuid")]
    key_uuid: &'a str,
    key_name: &'a str,
    #[schema(required)]
    cycle: Option<RuleBody<'a>>,
    cycles: Vec<CycleBody>,
}

impl<'a> Cycles<'a> {
    fn of(listed: &'a ListCyclesResponse, timestamp: Moment) -> Result<Self, Failure> {
        let key = key_of(listed.key.as_ref())?;
        // Where there is a rule, the running cycle is in front.
        let is_running = |position: usize| position == 0 && listed.rule.is_some();
        let cycles = listed.cycles.iter().enumerate();
        Ok(Self {
            status: "success",
            data: CyclesData {
                key_uuid: &key.uuid,
                key_name: &key.name,
                cycle: listed.rule.as_ref().map(RuleBody::of).transpose()?,
                cycles: cycles
                    .map(|(position, cycle)| CycleBody::of(cycle, is_running(position)))
                    .collect::<Result<_, _>>()?,
            },
            timestamp,
        })
    }
}

fn key_of(key: Option<&Key>) -> Result<&Key, Failure> {
    key.ok_or_else(|| Failure::incomplete("key"))
}

/// One cycle, from its start up to the start of the next one.
#[derive(Serialize, ToSchema)]
#[schema(as = Cycle)]
struct CycleBody {
    start: Moment,
    end: Moment,
    is_running: bool,
    #[serde(flatten)]
    figures: Figures,
    #[serde(flatten)]
    sizes: Sizes,
    connections_opened: u64,
    #[schema(required)]
    last_activity: Option<Moment>,
}

impl CycleBody {
    fn of(cycle: &Cycle, is_running: bool) -> Result<Self, Failure> {
        let usage = cycle.usage.as_ref().ok_or_else(|| Failure::incomplete("cycle.usage"))?;
        Ok(Self {
            start: Moment::of(cycle.start.as_ref(), "cycle.start")?,
            end: Moment::of(cycle.end.as_ref(), "cycle.end")?,
            is_running,
            figures: Figures::of(usage),
            sizes: Sizes::of(usage),
            connections_opened: usage.connections_opened,
            last_activity: Moment::optional(usage.last_activity.as_ref(), "cycle.usage.last_activity")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use portmeter_proto::v1::cycle_rule::Rule;
    use portmeter_proto::v1::{CycleRule, Tally};
    use serde_json::json;

    use super::*;
    use crate::testing::{json_of, key, later, read_at, tally};

    fn kept(rule: Rule, first_date: &str, time_zone: &str) -> CycleRule {
        CycleRule {
            rule: Some(rule),
            first_date: first_date.to_owned(),
            time_zone: time_zone.to_owned(),
        }
    }

    #[test]
    fn cycles_newest_first() {
        let usage = Tally {
            connections_opened: 9,
            ..tally(1000, 24, 3, 2)
        };
        let listed = ListCyclesResponse {
            key: Some(key(1)),
            rule: Some(kept(Rule::MonthlyDay(31), "", "Europe/Berlin")),
            cycles: vec![
                Cycle {
                    start: Some(later(-86_400)),
                    end: Some(later(86_400)),
                    usage: Some(usage),
                },
                Cycle {
                    start: Some(later(-172_800)),
                    end: Some(later(-86_400)),
                    usage: Some(Tally::default()),
                },
            ],
        };
        let expected = json!({
            "status": "success",
            "data": {
                "key_uuid": "uuid-1",
                "key_name": "key 1",
                "cycle": {
                    "rule": "monthly", "day": 31, "days": null, "first_date": null, "time_zone": "Europe/Berlin",
                },
                "cycles": [
                    {
                        "start": "2025-08-04T12:00:00.000000",
                        "end": "2025-08-06T12:00:00.000000",
                        "is_running": true,
                        "total_bytes": 1024,
                        "rx_bytes": 1000,
                        "tx_bytes": 24,
                        "max_connections": 3,
                        "sessions": 2,
                        "total_formatted": "1.00 KB",
                        "rx_formatted": "1000 B",
                        "tx_formatted": "24 B",
                        "connections_opened": 9,
                        "last_activity": "2025-08-05T12:00:00.000000",
                    },
                    {
                        "start": "2025-08-03T12:00:00.000000",
                        "end": "2025-08-04T12:00:00.000000",
                        "is_running": false,
                        "total_bytes": 0,
                        "rx_bytes": 0,
                        "tx_bytes": 0,
                        "max_connections": 0,
                        "sessions": 0,
                        "total_formatted": "0 B",
                        "rx_formatted": "0 B",
                        "tx_formatted": "0 B",
                        "connections_opened": 0,
                        "last_activity": null,
                    },
                ],
            },
            "timestamp": "2025-08-05T12:00:00.250000",
        });
        assert_eq!(json_of(&Cycles::of(&listed, read_at()).unwrap()), expected);

        // Without a rule none of them runs.
        let ended = ListCyclesResponse { rule: None, ..listed };
        let body = json_of(&Cycles::of(&ended, read_at()).unwrap());
        assert_eq!(
            (&body["data"]["cycle"], &body["data"]["cycles"][0]["is_running"]),
            (&json!(null), &json!(false))
        );
    }

    #[test]
    fn a_set_rule_is_shown_as_it_is_kept() {
        let cycle = |rule: Option<CycleRule>| {
            let updated = UpdateCycleResponse {
                key: Some(key(1)),
                rule,
            };
            json_of(&Updated::of(&updated, read_at()).unwrap())
        };
        assert_eq!(
            cycle(Some(kept(Rule::EveryDays(10), "2025-08-05", "UTC"))),
            json!({
                "status": "success",
                "message": "Billing cycle set successfully",
                "data": {
                    "key_uuid": "uuid-1",
                    "key_name": "key 1",
                    "cycle": {
                        "rule": "every_days", "day": null, "days": 10, "first_date": "2025-08-05", "time_zone": "UTC",
                    },
                },
                "timestamp": "2025-08-05T12:00:00.250000",
            })
        );
        let daily = cycle(Some(kept(Rule::EveryDays(1), "2025-08-05", "UTC")));
        assert_eq!(
            daily["data"]["cycle"],
            json!({"rule": "daily", "day": null, "days": null, "first_date": null, "time_zone": "UTC"})
        );
        let weekly = cycle(Some(kept(Rule::WeeklyDay(1), "", "UTC")));
        assert_eq!(
            (&weekly["data"]["cycle"]["rule"], &weekly["data"]["cycle"]["day"]),
            (&json!("weekly"), &json!(1))
        );
        let ended = cycle(None);
        assert_eq!(ended["message"], "Billing cycle ended successfully");
        assert_eq!(ended["data"]["cycle"], json!(null));
    }
}
