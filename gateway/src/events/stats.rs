//! `GET /api/events/stats`: how many events there were, in the words of the reference and flat for the newer front end.

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::v1::get_event_statistics_response::HourCount;
use portmeter_proto::v1::{EventSeverity, GetEventStatisticsRequest, GetEventStatisticsResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Row, severity_word, since, type_word};
use crate::answer;
use crate::answer::Object;
use crate::failure::{Failure, PanelFailure};
use crate::gateway::Gateway;
use crate::moment::Moment;
use crate::query::Query;

/// Counts what happened by type, severity, service and hour; what did not happen is left out.
#[utoipa::path(
    get,
    path = "/api/events/stats",
    params(("hours" = Option<u32>, Query, minimum = 1, maximum = 87_600, description = "How far back, in hours; 24 by default.")),
    responses((status = 200, body = Answer))
)]
pub(crate) async fn show(State(gateway): State<Gateway>, query: Query) -> Result<Response, PanelFailure> {
    let request = GetEventStatisticsRequest {
        since: Some(since(&query, Moment::now())?),
    };
    let statistics = gateway.events().get_event_statistics(request).await?.into_inner();
    Ok(answer::json(&Answer::of(&statistics)?))
}

#[derive(Serialize, ToSchema)]
#[schema(as = EventStats)]
struct Answer<'a> {
    ok: bool,
    stats: Stats<'a>,
    total: u64,
    errors: u64,
    warnings: u64,
    info: u64,
    #[serde(rename = "byType")]
    #[schema(value_type = BTreeMap<String, u64>)]
    by_type: Counts<'static>,
    #[serde(rename = "recentCritical")]
    recent_critical: Vec<Row<'a>>,
    timeline: Vec<Hour>,
}

/// A number for each word.
type Counts<'a> = Object<&'a str, u64>;

#[derive(Serialize, ToSchema)]
#[schema(as = EventCounts)]
struct Stats<'a> {
    #[schema(value_type = BTreeMap<String, u64>)]
    by_type: Counts<'static>,
    #[schema(value_type = BTreeMap<String, u64>)]
    by_severity: Counts<'static>,
    #[schema(value_type = BTreeMap<String, u64>)]
    by_service: Counts<'a>,
    total: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = EventHour)]
struct Hour {
    /// Milliseconds since 1970.
    timestamp: i64,
    count: u64,
    errors: u64,
    warnings: u64,
}

impl<'a> Answer<'a> {
    fn of(found: &'a GetEventStatisticsResponse) -> Result<Self, Failure> {
        let of_severity = |wanted: EventSeverity| {
            let counts = found.severities.iter().filter(|count| count.severity() == wanted);
            counts.map(|count| count.count).sum()
        };
        let by_type = || -> Result<Counts<'static>, Failure> {
            let counts = found.types.iter();
            let named = counts.map(|count| Ok((type_word(count.r#type())?, count.count)));
            Ok(Object(named.collect::<Result<_, Failure>>()?))
        };
        let by_severity = found.severities.iter();
        let by_severity = by_severity.map(|count| Ok((severity_word(count.severity())?, count.count)));
        let by_service = found.services.iter();
        let by_service = by_service.map(|count| (count.service.as_str(), count.count));
        Ok(Self {
            ok: true,
            stats: Stats {
                by_type: by_type()?,
                by_severity: Object(by_severity.collect::<Result<_, Failure>>()?),
                by_service: Object(by_service.collect()),
                total: found.total,
            },
            total: found.total,
            errors: of_severity(EventSeverity::Error),
            warnings: of_severity(EventSeverity::Warning),
            info: of_severity(EventSeverity::Info),
            by_type: by_type()?,
            recent_critical: Row::all(&found.recent_errors)?,
            timeline: found.hours.iter().map(Hour::of).collect::<Result<_, _>>()?,
        })
    }
}

impl Hour {
    fn of(hour: &HourCount) -> Result<Self, Failure> {
        let start = Moment::of(hour.start.as_ref(), "hours.start")?;
        Ok(Self {
            timestamp: 1_000 * start.unix_seconds(),
            count: hour.count,
            errors: hour.error_count,
            warnings: hour.warning_count,
        })
    }
}

#[cfg(test)]
mod tests {
    use portmeter_proto::v1::get_event_statistics_response::{ServiceCount, SeverityCount, TypeCount};
    use portmeter_proto::v1::{Event, EventType};
    use serde_json::json;

    use super::*;
    use crate::testing::{READ_AT, json_of, later};

    #[test]
    fn numbers_stand_under_both_names() {
        let severity = |severity: EventSeverity, count| SeverityCount {
            severity: severity.into(),
            count,
        };
        let found = GetEventStatisticsResponse {
            total: 6,
            types: vec![TypeCount {
                r#type: EventType::User.into(),
                count: 6,
            }],
            severities: vec![
                severity(EventSeverity::Info, 3),
                severity(EventSeverity::Warning, 2),
                severity(EventSeverity::Error, 1),
            ],
            services: vec![ServiceCount {
                service: "agent".to_owned(),
                count: 6,
            }],
            hours: vec![HourCount {
                start: Some(later(0)),
                count: 6,
                error_count: 1,
                warning_count: 2,
            }],
            recent_errors: vec![Event {
                occurred_at: Some(READ_AT),
                r#type: EventType::User.into(),
                severity: EventSeverity::Error.into(),
                action: "take_back".to_owned(),
                ..Event::default()
            }],
        };
        let expected = json!({
            "ok": true,
            "stats": {
                "by_type": {"USER": 6}, "by_severity": {"INFO": 3, "WARN": 2, "ERROR": 1},
                "by_service": {"agent": 6}, "total": 6,
            },
            "total": 6, "errors": 1, "warnings": 2, "info": 3, "byType": {"USER": 6},
            "recentCritical": [
                {"ts": "2025-08-05T12:00:00Z", "type": "USER", "severity": "ERROR", "action": "take_back"},
            ],
            "timeline": [{"timestamp": 1_754_395_200_000_i64, "count": 6, "errors": 1, "warnings": 2}],
        });
        assert_eq!(json_of(&Answer::of(&found).unwrap()), expected);
    }

    #[test]
    fn nothing_is_zeros_and_empty_maps() {
        let body = json_of(&Answer::of(&GetEventStatisticsResponse::default()).unwrap());
        assert_eq!(
            body["stats"],
            json!({"by_type": {}, "by_severity": {}, "by_service": {}, "total": 0})
        );
        assert_eq!((&body["errors"], &body["timeline"]), (&json!(0), &json!([])));
    }
}
