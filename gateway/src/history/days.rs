//! One calendar day of all keys together, and the clean-up of days.

use axum::extract::State;
use axum::response::Response;
use chrono::NaiveDate;
use portmeter_proto::v1::{CleanUpDaysRequest, Period};
use serde::Serialize;
use utoipa::ToSchema;

use super::periods::{self, Range};
use super::{tally_of, total_bytes};
use crate::answer;
use crate::calendar;
use crate::failure::Failure;
use crate::gateway::Gateway;
use crate::moment::Moment;
use crate::query::Query;
use crate::request::Segment;
use crate::size::Size2;

/// How many days a clean-up keeps where the caller does not say.
const DAYS_TO_KEEP_DEFAULT: u32 = 30;

/// More days than any ledger has; a larger number is a mistake.
const DAYS_TO_KEEP_MAX: u32 = 1_000_000;

/// Shows a calendar day of all keys together, deleted ones included.
#[utoipa::path(get, path = "/api/traffic/daily/{date}", responses((status = 200, body = Day)))]
pub(crate) async fn show(State(gateway): State<Gateway>, Segment(date): Segment) -> Result<Response, Failure> {
    let date = calendar::day(&date).ok_or_else(|| {
        Failure::bad_request("date: send a day of the calendar as YYYY-MM-DD, for example 2026-03-29")
    })?;
    let days = periods::list(&gateway, "", Range::days(date, date)).await?;
    Ok(answer::json(&Day::of(date, &days, Moment::now())?))
}

/// Removes the days before the newest ones; totals and months stay.
#[utoipa::path(
    post,
    path = "/api/traffic/history/cleanup",
    params(
        (
            "days_to_keep" = Option<u32>,
            Query,
            description = "How many days stay; 30 by default.",
            minimum = 1,
            maximum = 1_000_000,
        ),
    ),
    responses((status = 200, body = DaysCleanedUp))
)]
pub(crate) async fn clean_up(State(gateway): State<Gateway>, query: Query) -> Result<Response, Failure> {
    let days_to_keep = query.number("days_to_keep", DAYS_TO_KEEP_DEFAULT, 1..=DAYS_TO_KEEP_MAX)?;
    gateway
        .history()
        .clean_up_days(CleanUpDaysRequest { days_to_keep })
        .await?;
    Ok(answer::json(&DaysCleanedUp {
        status: "success",
        message: format!("Cleaned up traffic history older than {days_to_keep} days"),
        days_kept: days_to_keep,
        timestamp: Moment::now(),
    }))
}

#[derive(Serialize, ToSchema)]
struct DaysCleanedUp {
    status: &'static str,
    message: String,
    days_kept: u32,
    timestamp: Moment,
}

#[derive(Serialize, ToSchema)]
#[schema(as = DayAnswer)]
struct Day {
    status: &'static str,
    data: DayData,
    timestamp: Moment,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Day)]
struct DayData {
    date: NaiveDate,
    total_bytes: u64,
    total_connections: u64,
    active_keys: u64,
    total_sessions: u64,
    total_formatted: Size2,
}

impl Day {
    /// The day `date` of those in `days`, with zeros where it is not among them.
    fn of(date: NaiveDate, days: &[Period], timestamp: Moment) -> Result<Self, Failure> {
        let name = date.to_string();
        let found = days.iter().find(|day| day.start == name);
        let tally = found.map(tally_of).transpose()?.copied().unwrap_or_default();
        Ok(Self {
            status: "success",
            data: DayData {
                date,
                total_bytes: total_bytes(&tally),
                total_connections: tally.max_connections,
                active_keys: found.map_or(0, |day| day.active_keys),
                total_sessions: tally.sessions,
                total_formatted: Size2::new(total_bytes(&tally)),
            },
            timestamp,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{json_of, period, read_at, tally};

    fn day(name: &str, days: &[Period]) -> Value {
        json_of(&Day::of(calendar::day(name).unwrap(), days, read_at()).unwrap())
    }

    #[test]
    fn a_day_is_the_sum_of_its_keys() {
        let mut period = period("2025-08-05", tally(1000, 536, 12, 4));
        period.active_keys = 3;
        let expected = json!({
            "status": "success",
            "data": {
                "date": "2025-08-05",
                "total_bytes": 1536,
                "total_connections": 12,
                "active_keys": 3,
                "total_sessions": 4,
                "total_formatted": "1.50 KB",
            },
            "timestamp": "2025-08-05T12:00:00.250000",
        });
        assert_eq!(day("2025-08-05", &[period]), expected);
    }

    #[test]
    fn a_day_without_data_is_zeros() {
        let expected = json!({
            "status": "success",
            "data": {
                "date": "0001-01-01",
                "total_bytes": 0,
                "total_connections": 0,
                "active_keys": 0,
                "total_sessions": 0,
                "total_formatted": "0 B",
            },
            "timestamp": "2025-08-05T12:00:00.250000",
        });
        assert_eq!(day("0001-01-01", &[]), expected);
        assert_eq!(day("0001-01-01", &[period("2025-08-05", tally(1, 1, 1, 1))]), expected);
    }
}
