//! Periods and pages as callers write them.

use chrono::{DateTime, Utc};

use super::ServiceError;
use crate::calendar::{Calendar, Day, Hour, Minute, Month};
use crate::store::{Granularity, HistoryId, Range};

/// The range from `first` to `last`, both included; an empty `first` is the beginning of time, an empty `last` the
/// present period.
pub(super) fn parse_range(
    calendar: &Calendar,
    granularity: Granularity,
    now: DateTime<Utc>,
    first: &str,
    last: &str,
) -> Result<Range, ServiceError> {
    let parsed = |name: &'static str, text: &str| {
        parse(calendar, granularity, text)
            .map_err(|why| ServiceError::invalid(name, format!("{name} is \"{}\": {why}", shortened(text))))
    };
    let range = Range {
        first: if first.is_empty() {
            i64::MIN
        } else {
            parsed("first", first)?
        },
        last: if last.is_empty() {
            number(calendar, granularity, now)
        } else {
            parsed("last", last)?
        },
    };
    if range.first > range.last && !last.is_empty() {
        return Err(ServiceError::invalid(
            "first",
            format!("first ({first}) is after last ({last})"),
        ));
    }
    Ok(range)
}

/// What a caller wrote, for a sentence.
fn shortened(text: &str) -> String {
    text.chars().take(40).collect::<String>().escape_default().to_string()
}

fn parse(calendar: &Calendar, granularity: Granularity, text: &str) -> Result<i64, String> {
    match granularity {
        Granularity::Day => text
            .parse::<Day>()
            .map(|day| day.0.into())
            .map_err(|error| error.to_string()),
        Granularity::Month => text
            .parse::<Month>()
            .map(|month| month.0.into())
            .map_err(|error| error.to_string()),
        Granularity::Minute | Granularity::Hour => DateTime::parse_from_rfc3339(text)
            .map(|at| number(calendar, granularity, at.to_utc()))
            .map_err(|_| "a time looks like 2026-03-29T01:00:00Z".to_owned()),
    }
}

fn number(calendar: &Calendar, granularity: Granularity, at: DateTime<Utc>) -> i64 {
    match granularity {
        Granularity::Minute => calendar.minute(at).0,
        Granularity::Hour => calendar.hour(at).0,
        Granularity::Day => calendar.day(at).0.into(),
        Granularity::Month => calendar.month(at).0.into(),
    }
}

/// A period as callers read it.
pub(super) fn text(granularity: Granularity, period: i64) -> String {
    let small = i32::try_from(period).unwrap_or_default();
    match granularity {
        Granularity::Minute => Minute(period).to_string(),
        Granularity::Hour => Hour(period).to_string(),
        Granularity::Day => Day(small).to_string(),
        Granularity::Month => Month(small).to_string(),
    }
}

/// The period at which a page begins.
pub(super) fn period_token(token: &str) -> Result<Option<i64>, ServiceError> {
    if token.is_empty() {
        return Ok(None);
    }
    token.parse().map(Some).map_err(|_| bad_token())
}

/// The row after which a page begins.
pub(super) fn row_token(token: &str) -> Result<Option<(i64, HistoryId)>, ServiceError> {
    if token.is_empty() {
        return Ok(None);
    }
    let (period, history) = token.split_once('.').ok_or_else(bad_token)?;
    let number = |text: &str| text.parse().map_err(|_| bad_token());
    Ok(Some((number(period)?, HistoryId(number(history)?))))
}

fn bad_token() -> ServiceError {
    ServiceError::invalid(
        "page_token",
        "page_token is none that this service gives: begin again without one",
    )
}
