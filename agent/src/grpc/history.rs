//! Conversions of the history service: domain values to messages and back.

use chrono::{DateTime, NaiveDate, Utc, Weekday};
use portmeter_proto::v1;
use tonic::Status;

use super::convert;
use crate::calendar::{BillingCycle, CycleRule, Day};
use crate::ledger::Tally;
use crate::services::{HistoryService, Metric, Point, ServiceError};
use crate::store::{Activity, BookedKey, BookedMinute, CycleUsage, Granularity, Key, KeyHistory, KeyId, Together};

pub(super) fn tally(tally: &Tally) -> v1::Tally {
    v1::Tally {
        rx_bytes: tally.traffic.rx_bytes,
        tx_bytes: tally.traffic.tx_bytes,
        rx_packets: tally.traffic.rx_packets,
        tx_packets: tally.traffic.tx_packets,
        connections_opened: tally.traffic.connections_opened,
        max_connections: tally.max_connections,
        sessions: tally.sessions,
        last_activity: tally.last_activity.map(convert::timestamp),
    }
}

pub(super) fn key_history(history: &KeyHistory) -> v1::KeyHistory {
    v1::KeyHistory {
        key: Some(convert::key(&history.key)),
        total: Some(tally(&history.total)),
        is_connected: history.is_connected,
        activity: None,
    }
}

pub(super) fn used_key_history((history, activity): &(KeyHistory, Activity)) -> v1::KeyHistory {
    let day = |day| Day(i32::try_from(day).unwrap_or_default()).to_string();
    v1::KeyHistory {
        activity: Some(v1::KeyActivity {
            active_days: activity.active_days,
            first_active_day: activity.first_active_day.map(day).unwrap_or_default(),
        }),
        ..key_history(history)
    }
}

pub(super) fn granularity(wanted: i32) -> Result<Granularity, Status> {
    match v1::Granularity::try_from(wanted) {
        Ok(v1::Granularity::Minute) => Ok(Granularity::Minute),
        Ok(v1::Granularity::Hour) => Ok(Granularity::Hour),
        Ok(v1::Granularity::Day) => Ok(Granularity::Day),
        Ok(v1::Granularity::Month) => Ok(Granularity::Month),
        Ok(v1::Granularity::Unspecified) | Err(_) => {
            Err(invalid("granularity", "granularity must be minute, hour, day or month"))
        }
    }
}

pub(super) fn metric(wanted: i32) -> Result<Metric, Status> {
    match v1::Metric::try_from(wanted) {
        Ok(v1::Metric::Traffic) => Ok(Metric::Traffic),
        Ok(v1::Metric::Connections) => Ok(Metric::Connections),
        Ok(v1::Metric::OnlineKeys) => Ok(Metric::OnlineKeys),
        Ok(v1::Metric::Unspecified) | Err(_) => {
            Err(invalid("metric", "metric must be traffic, connections or online keys"))
        }
    }
}

pub(super) fn period(start: String, key_id: KeyId, figures: &Tally) -> v1::Period {
    v1::Period {
        start,
        key_id: key_id.0.to_string(),
        tally: Some(tally(figures)),
        active_keys: 0,
    }
}

pub(super) fn together((start, together): (String, Together)) -> v1::Period {
    v1::Period {
        start,
        key_id: String::new(),
        tally: Some(tally(&together.tally)),
        active_keys: together.active_keys,
    }
}

pub(super) fn point((start, value): Point) -> v1::SeriesPoint {
    v1::SeriesPoint {
        start: Some(convert::timestamp(start)),
        value,
    }
}

pub(super) fn top_key(key: &Key, value: u64) -> v1::TopKey {
    v1::TopKey {
        key: Some(convert::key(key)),
        value,
    }
}

pub(super) fn cycle(cycle: &CycleUsage) -> v1::Cycle {
    v1::Cycle {
        start: Some(convert::timestamp(cycle.span.start)),
        end: Some(convert::timestamp(cycle.span.end)),
        usage: Some(tally(&cycle.usage)),
    }
}

pub(super) fn cycle_rule(cycle: &BillingCycle) -> v1::CycleRule {
    use v1::cycle_rule::Rule;
    let (rule, first_date) = match cycle.rule {
        CycleRule::Monthly { day } => (Rule::MonthlyDay(day.into()), String::new()),
        CycleRule::Weekly { weekday } => (Rule::WeeklyDay(weekday.number_from_monday()), String::new()),
        CycleRule::EveryDays { days, first } => (Rule::EveryDays(days.into()), first.to_string()),
    };
    v1::CycleRule {
        rule: Some(rule),
        first_date,
        time_zone: cycle.zone.name().to_owned(),
    }
}

/// The cycle that a caller describes; `history` tells the ledger's zone and day where the caller does not.
pub(super) fn billing_cycle(rule: &v1::CycleRule, history: &HistoryService) -> Result<BillingCycle, Status> {
    use v1::cycle_rule::Rule;
    let zone = match rule.time_zone.as_str() {
        "" => history.zone(),
        name => name
            .parse()
            .map_err(|_| invalid("rule.time_zone", "time_zone must be an IANA zone such as Europe/Berlin"))?,
    };
    let rule = match rule.rule {
        Some(Rule::MonthlyDay(day)) => {
            let day = u8::try_from(day).unwrap_or_default();
            CycleRule::monthly(day).map_err(|error| invalid("rule.monthly_day", error.to_string()))?
        }
        Some(Rule::WeeklyDay(number)) => CycleRule::Weekly {
            weekday: weekday(number)
                .ok_or_else(|| invalid("rule.weekly_day", "weekly_day must be 1 (Monday) to 7 (Sunday)"))?,
        },
        Some(Rule::EveryDays(days)) => {
            let first = match rule.first_date.as_str() {
                "" => history.today(zone),
                date => date
                    .parse::<NaiveDate>()
                    .map_err(|_| invalid("rule.first_date", "first_date must be a date such as 2026-03-29"))?,
            };
            let days = u16::try_from(days).unwrap_or_default();
            CycleRule::every_days(days, first).map_err(|error| invalid("rule.every_days", error.to_string()))?
        }
        None => return Err(invalid("rule", "rule must name monthly_day, weekly_day or every_days")),
    };
    Ok(BillingCycle { rule, zone })
}

fn weekday(number: u32) -> Option<Weekday> {
    let days = [
        Weekday::Mon,
        Weekday::Tue,
        Weekday::Wed,
        Weekday::Thu,
        Weekday::Fri,
        Weekday::Sat,
        Weekday::Sun,
    ];
    days.into_iter().find(|day| day.number_from_monday() == number)
}

pub(super) fn booked_key(key: &BookedKey) -> v1::BookedKey {
    v1::BookedKey {
        key_id: key.key_id.to_string(),
        total: Some(tally(&key.total)),
        minutes: key.minutes.iter().map(booked_minute).collect(),
        is_deleted: key.is_deleted,
    }
}

fn booked_minute(minute: &BookedMinute) -> v1::BookedMinute {
    let start: DateTime<Utc> = minute.minute.start();
    v1::BookedMinute {
        start: Some(convert::timestamp(start)),
        history_id: minute.history.0.cast_unsigned(),
        tally: Some(tally(&minute.tally)),
    }
}

fn invalid(field: &'static str, message: impl Into<String>) -> Status {
    ServiceError::invalid(field, message).into()
}
