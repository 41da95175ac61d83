//! `GET /api/live/top`: users by what they moved or held lately.

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::v1::{Key, ListTopRequest, ListTopResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::{CONNECTIONS, PERIOD_DEFAULT_SECONDS, PERIOD_MAX_SECONDS, Shown, TRAFFIC, scope_of, user_of};
use crate::answer;
use crate::failure::{Failure, PanelFailure};
use crate::gateway::Gateway;
use crate::query::Query;

/// How many users are listed where the caller does not say, and at most.
const LIMIT_DEFAULT: u32 = 10;
const LIMIT_MAX: u32 = 50;

/// Lists users by what they moved or held lately.
#[utoipa::path(
    get,
    path = "/api/live/top",
    params(
        ("metric" = inline(Option<TopMetric>), Query, description = "What counts; `traffic` by default."),
        (
            "period" = Option<u32>,
            Query,
            description = "How far back, in seconds; an hour by default.",
            minimum = 1,
            maximum = 31_622_400,
        ),
        ("limit" = Option<u32>, Query, description = "How many users; 10 by default.", minimum = 1, maximum = 50),
        ("scope" = Option<String>, Query, description = "`global`, or a user's email or uuid."),
    ),
    responses((status = 200, body = Top))
)]
pub(crate) async fn show(State(gateway): State<Gateway>, query: Query) -> Result<Response, PanelFailure> {
    let asked = Asked::of(&query)?;
    let user = user_of(&gateway, asked.scope).await?;
    let request = ListTopRequest {
        metric: asked.shown.metric.into(),
        period_seconds: asked.period_seconds,
        // One user can be anywhere in the list.
        limit: if user.is_some() { u32::MAX } else { asked.limit },
    };
    let top = gateway.history().list_top(request).await?.into_inner();
    Ok(answer::json(&Top::of(&asked, &top, user.as_ref())?))
}

/// What users are ordered by.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "the query is read by its words")]
enum TopMetric {
    Traffic,
    Conns,
}

/// What a caller asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked<'a> {
    shown: Shown,
    period_seconds: u32,
    limit: u32,
    scope: &'a str,
}

impl<'a> Asked<'a> {
    fn of(query: &'a Query) -> Result<Self, Failure> {
        Ok(Self {
            shown: query.choice("metric", &[TRAFFIC, CONNECTIONS].map(|shown| (shown.name, shown)))?,
            period_seconds: query.number("period", PERIOD_DEFAULT_SECONDS, 1..=PERIOD_MAX_SECONDS)?,
            limit: query.number("limit", LIMIT_DEFAULT, 1..=LIMIT_MAX)?,
            scope: scope_of(query),
        })
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = LiveTop)]
struct Top<'a> {
    ok: bool,
    top: Vec<Row<'a>>,
    meta: Meta<'a>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LiveTopRow)]
struct Row<'a> {
    user: &'a str,
    value: u64,
    pct: f64,
    #[serde(rename = "displayName")]
    display_name: &'a str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LiveTopMeta)]
struct Meta<'a> {
    metric: &'static str,
    period: u32,
    scope: &'a str,
}

impl<'a> Top<'a> {
    /// The rows of the list, or of `user` alone; shares are of all users together either way.
    fn of(asked: &Asked<'a>, listed: &'a ListTopResponse, user: Option<&Key>) -> Result<Self, Failure> {
        let mut top = Vec::new();
        for row in &listed.top {
            let key = row.key.as_ref().ok_or_else(|| Failure::incomplete("top.key"))?;
            if row.value > 0 && user.is_none_or(|user| user.id == key.id) {
                top.push(Row {
                    user: &key.name,
                    value: row.value,
                    pct: percent(row.value, listed.total),
                    display_name: &key.name,
                });
            }
        }
        Ok(Self {
            ok: true,
            top,
            meta: Meta {
                metric: asked.shown.name,
                period: asked.period_seconds,
                scope: asked.scope,
            },
        })
    }
}

/// The share of `total`, with two decimals.
fn percent(value: u64, total: u64) -> f64 {
    if total == 0 {
        return 0.0;
    }
    (value as f64 * 10_000.0 / total as f64).round() / 100.0
}

#[cfg(test)]
mod tests {
    use portmeter_proto::v1::TopKey;
    use serde_json::json;

    use super::*;
    use crate::testing::{json_of, key};

    fn listed() -> ListTopResponse {
        let row = |number, value| TopKey {
            key: Some(key(number)),
            value,
        };
        ListTopResponse {
            top: vec![row(3, 2000), row(1, 1000), row(2, 0)],
            total: 3000,
        }
    }

    #[test]
    fn a_query_has_defaults_and_limits() {
        let asked = |text: &str| {
            let query = Query::parse(text);
            let asked = Asked::of(&query).map_err(Failure::into_text)?;
            Ok((
                asked.shown.name,
                asked.period_seconds,
                asked.limit,
                asked.scope.to_owned(),
            ))
        };
        assert_eq!(asked(""), Ok(("traffic", 3_600, 10, "global".to_owned())));
        assert_eq!(
            asked("metric=conns&period=300&limit=50&scope=x"),
            Ok(("conns", 300, 50, "x".to_owned()))
        );
        for (text, name) in [
            ("metric=online_users", "metric"),
            ("period=0", "period"),
            ("period=x", "period"),
            ("limit=0", "limit"),
            ("limit=51", "limit"),
            ("limit=-1", "limit"),
            ("limit=", "limit"),
        ] {
            let told: Result<(&str, u32, u32, String), String> = asked(text);
            assert!(
                told.clone().unwrap_err().starts_with(&format!("{name}: ")),
                "{text}: {told:?}"
            );
        }
    }

    #[test]
    fn rows_with_their_shares() {
        let query = Query::parse("");
        let listed = listed();
        let body = json_of(&Top::of(&Asked::of(&query).unwrap(), &listed, None).unwrap());
        let expected = json!({
            "ok": true,
            "top": [
                {"user": "key 3", "value": 2000, "pct": 66.67, "displayName": "key 3"},
                {"user": "key 1", "value": 1000, "pct": 33.33, "displayName": "key 1"},
            ],
            "meta": {"metric": "traffic", "period": 3600, "scope": "global"},
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn one_user_alone() {
        let query = Query::parse("metric=conns&scope=key+1");
        let listed = listed();
        let body = json_of(&Top::of(&Asked::of(&query).unwrap(), &listed, Some(&key(1))).unwrap());
        let expected = json!({
            "ok": true,
            "top": [{"user": "key 1", "value": 1000, "pct": 33.33, "displayName": "key 1"}],
            "meta": {"metric": "conns", "period": 3600, "scope": "key 1"},
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_share_of_nothing_is_no_division() {
        assert_eq!((percent(0, 0), percent(1, 1), percent(1, 3)), (0.0, 100.0, 33.33));
    }
}
