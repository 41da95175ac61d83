//! `GET /api/live/series`: evenly spaced points up to now.

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::v1::{ListSeriesRequest, SeriesPoint};
use serde::Serialize;
use utoipa::ToSchema;

use super::{CONNECTIONS, ONLINE_USERS, PERIOD_DEFAULT_SECONDS, PERIOD_MAX_SECONDS, Shown, TRAFFIC};
use super::{scope_of, user_of};
use crate::answer;
use crate::failure::{Failure, PanelFailure};
use crate::gateway::Gateway;
use crate::moment::{Moment, Zulu};
use crate::query::Query;

/// Seconds from point to point where the caller does not say.
const GRANULARITY_DEFAULT_SECONDS: u32 = 60;

/// Most points in an answer.
const POINTS_MAX: u32 = 1_440;

/// What a point takes; see [`crate::answer::json_of_size`].
const POINT_BYTES: usize = 96;

/// Shows evenly spaced points up to now, at most 1,440.
#[utoipa::path(
    get,
    path = "/api/live/series",
    params(
        ("metric" = inline(Option<SeriesMetric>), Query, description = "What is shown; `traffic` by default."),
        (
            "period" = Option<u32>,
            Query,
            description = "How far back, in seconds; an hour by default.",
            minimum = 1,
            maximum = 31_622_400,
        ),
        (
            "granularity" = Option<u32>,
            Query,
            description = "Seconds from point to point, no more than the period; 60 by default.",
            minimum = 1,
            maximum = 31_622_400,
        ),
        (
            "gran" = Option<u32>,
            Query,
            description = "Another name of `granularity`, which goes before it.",
            minimum = 1,
            maximum = 31_622_400,
        ),
        ("scope" = Option<String>, Query, description = "`global`, or a user's email or uuid."),
    ),
    responses((status = 200, body = Series))
)]
pub(crate) async fn show(State(gateway): State<Gateway>, query: Query) -> Result<Response, PanelFailure> {
    let asked = Asked::of(&query)?;
    let user = user_of(&gateway, asked.scope).await?;
    let request = ListSeriesRequest {
        key_id: user.map(|user| user.id).unwrap_or_default(),
        metric: asked.shown.metric.into(),
        period_seconds: asked.period_seconds,
        granularity_seconds: asked.granularity_seconds,
    };
    let points = gateway.history().list_series(request).await?.into_inner().points;
    let body = Series::of(&asked, &points)?;
    Ok(answer::json_of_size(&body, (points.len() + 2) * POINT_BYTES))
}

/// What points show.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "the query is read by its words")]
enum SeriesMetric {
    Traffic,
    Conns,
    OnlineUsers,
}

/// What a caller asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked<'a> {
    shown: Shown,
    period_seconds: u32,
    granularity_seconds: u32,
    scope: &'a str,
}

impl<'a> Asked<'a> {
    fn of(query: &'a Query) -> Result<Self, Failure> {
        let shown = query.choice(
            "metric",
            &[TRAFFIC, CONNECTIONS, ONLINE_USERS].map(|shown| (shown.name, shown)),
        )?;
        let period_seconds = query.number("period", PERIOD_DEFAULT_SECONDS, 1..=PERIOD_MAX_SECONDS)?;
        let range = 1..=PERIOD_MAX_SECONDS;
        let alias = query.number("gran", GRANULARITY_DEFAULT_SECONDS, range.clone());
        let granularity_seconds = match query.text("granularity") {
            Some(_) => query.number("granularity", GRANULARITY_DEFAULT_SECONDS, range),
            None => alias,
        }?;
        match period_seconds / granularity_seconds {
            0 => Err(Failure::bad_request(format!(
                "granularity: send no more than the period, which is {period_seconds} seconds"
            ))),
            1..=POINTS_MAX => Ok(Self {
                shown,
                period_seconds,
                granularity_seconds,
                scope: scope_of(query),
            }),
            points => Err(Failure::bad_request(format!(
                "granularity: {points} points are too many; send a larger one or a shorter period, for at most \
                 {POINTS_MAX} points"
            ))),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = LiveSeries)]
struct Series<'a> {
    ok: bool,
    series: Vec<Point>,
    meta: Meta<'a>,
    unit: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LivePoint)]
struct Point {
    time: Zulu,
    ts: Zulu,
    value: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LiveSeriesMeta)]
struct Meta<'a> {
    metric: &'static str,
    period: u32,
    granularity: u32,
    gran: u32,
    scope: &'a str,
}

impl<'a> Series<'a> {
    fn of(asked: &Asked<'a>, points: &[SeriesPoint]) -> Result<Self, Failure> {
        let point = |point: &SeriesPoint| {
            let start = Moment::of(point.start.as_ref(), "point.start")?.zulu();
            Ok(Point {
                time: start,
                ts: start,
                value: point.value,
            })
        };
        Ok(Self {
            ok: true,
            series: points.iter().map(point).collect::<Result<_, Failure>>()?,
            meta: Meta {
                metric: asked.shown.name,
                period: asked.period_seconds,
                granularity: asked.granularity_seconds,
                gran: asked.granularity_seconds,
                scope: asked.scope,
            },
            unit: asked.shown.unit,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{json_of, later};

    #[test]
    fn a_query_has_defaults_and_an_alias() {
        for (text, shown, period_seconds, granularity_seconds, scope) in [
            ("", TRAFFIC, 3_600, 60, "global"),
            ("metric=conns&period=600&granularity=10", CONNECTIONS, 600, 10, "global"),
            (
                "metric=online_users&gran=120&scope=global",
                ONLINE_USERS,
                3_600,
                120,
                "global",
            ),
            ("gran=10&granularity=20&scope=a%40b", TRAFFIC, 3_600, 20, "a@b"),
            ("period=86400&scope=", TRAFFIC, 86_400, 60, "global"),
            ("period=172800&granularity=120", TRAFFIC, 172_800, 120, "global"),
            ("gran=x&granularity=20", TRAFFIC, 3_600, 20, "global"),
        ] {
            let expected = Asked {
                shown,
                period_seconds,
                granularity_seconds,
                scope,
            };
            assert_eq!(Asked::of(&Query::parse(text)), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_query_is_told_by_its_name() {
        for (text, name) in [
            ("metric=bytes", "metric"),
            ("metric=", "metric"),
            ("period=0", "period"),
            ("period=-60", "period"),
            ("period=1h", "period"),
            ("period=31622401", "period"),
            ("granularity=0", "granularity"),
            ("granularity=1.5", "granularity"),
            ("gran=x", "gran"),
            ("period=60&granularity=61", "granularity"),
            ("period=1441&granularity=1", "granularity"),
            ("period=86460", "granularity"),
        ] {
            let told = Asked::of(&Query::parse(text)).unwrap_err().into_text();
            assert!(told.starts_with(&format!("{name}: ")), "{text}: {told}");
        }
    }

    #[test]
    fn points_by_their_start() {
        let point = |seconds, value| SeriesPoint {
            start: Some(later(seconds)),
            value,
        };
        let query = Query::parse("metric=conns&period=120&scope=key+1");
        let body = Series::of(&Asked::of(&query).unwrap(), &[point(-60, 0), point(0, 7)]).unwrap();
        let expected = json!({
            "ok": true,
            "series": [
                {"time": "2025-08-05T11:59:00Z", "ts": "2025-08-05T11:59:00Z", "value": 0},
                {"time": "2025-08-05T12:00:00Z", "ts": "2025-08-05T12:00:00Z", "value": 7},
            ],
            "meta": {"metric": "conns", "period": 120, "granularity": 60, "gran": 60, "scope": "key 1"},
            "unit": "count",
        });
        assert_eq!(json_of(&body), expected);
    }
}
