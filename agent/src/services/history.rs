//! History: what keys moved in the past, the present moment included.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::ServiceError;
use super::keys::find;
use super::periods::{self, parse_range};
use crate::calendar::{BillingCycle, Day, Minute, Month};
use crate::ledger::Tally;
use crate::retention::first_of_newest_days;
use crate::store::{
    Activity, Bookings, CycleUsage, EventKind, EventSeverity, FirstKept, Granularity, HistoryId, Key, KeyHistory,
    KeyHistoryWith, KeyId, MinuteTotal, NewEvent, PartStart, Range, Store, Together,
};

/// Rows in a page where the caller names no number, and at most.
const PAGE_SIZE: usize = 10_000;
const PAGE_SIZE_MAX: usize = 50_000;

/// How far back live views go: as far as hours are kept, of all keys together even by the minute.
const LIVE_PERIOD_MAX_SECONDS: u32 = 60 * 24 * 60 * 60;
/// How far back one key's are by the minute.
const MINUTES_PERIOD_SECONDS: u32 = 48 * 60 * 60;
/// Most points in a series.
const POINTS_MAX: u32 = 1_440;
/// How far back views finer than a minute go.
const RECENT_SECONDS: u32 = 60 * 60;
/// Top lists over more than this are counted by the hour.
const TOP_BY_MINUTE_SECONDS: u32 = 2 * 60 * 60;

/// The rules for history.
#[derive(Clone)]
pub struct HistoryService {
    store: Arc<Store>,
}

/// Which periods are asked for, as it comes from a caller.
#[derive(Debug, Clone, Copy)]
pub struct PeriodQuery<'a> {
    /// How long a period is.
    pub granularity: Granularity,
    /// The first one, as text; empty for the oldest.
    pub first: &'a str,
    /// The last one, as text; empty for the present one.
    pub last: &'a str,
    /// Rows in a page; 0 for the usual number.
    pub page_size: u32,
    /// What the page before gave; empty for the first page.
    pub page_token: &'a str,
}

/// A page of rows with each period as text.
#[derive(Debug, Clone)]
pub struct PeriodPage<T> {
    /// The rows.
    pub rows: Vec<(String, T)>,
    /// For the next page; empty when this was the last.
    pub next_page_token: String,
}

/// What a series or a top list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Bytes moved, both directions.
    Traffic,
    /// Most connections at one moment.
    Connections,
    /// Most keys with a connection at one moment.
    OnlineKeys,
}

/// A point of a series: when its time begins, and its value.
pub type Point = (DateTime<Utc>, u64);

impl HistoryService {
    /// The service over a store.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// One key's totals with its days and a month, read at one moment: `month` as text, the present one when empty. With a
    /// month its days alone are told.
    pub async fn get_with(
        &self,
        key_id: &str,
        include_days: bool,
        month: Option<&str>,
    ) -> Result<(KeyHistoryWith, Option<Month>), ServiceError> {
        let id = self.id(key_id)?;
        let month = match month {
            None => None,
            Some("") => Some(self.store.calendar().month(self.store.now())),
            Some(text) => Some(
                text.parse::<Month>()
                    .map_err(|error| ServiceError::invalid("month", format!("month: {error}")))?,
            ),
        };
        let days = match month {
            _ if !include_days => None,
            None => Some(Range {
                first: i64::MIN,
                last: i64::MAX,
            }),
            Some(month) => Some(Range {
                first: month.first_day().0.into(),
                last: month.last_day().0.into(),
            }),
        };
        let number = month.map(|month| month.0.into());
        let history = self.store.key_history_with(id, days, number).await?;
        Ok((history, month))
    }

    /// Every key's totals in creation order, and when they were read.
    pub fn list(&self) -> (Vec<KeyHistory>, DateTime<Utc>) {
        let state = self.store.state();
        (state.histories(), state.read_at)
    }

    /// The same with when each key was used, of those days that are kept.
    pub async fn list_with_activity(&self) -> Result<(Vec<(KeyHistory, Activity)>, DateTime<Utc>), ServiceError> {
        Ok(self.store.histories_with_activity().await?)
    }

    /// Periods of one key, oldest first.
    pub async fn key_periods(&self, key_id: &str, query: &PeriodQuery<'_>) -> Result<PeriodPage<Tally>, ServiceError> {
        let id = self.id(key_id)?;
        let (range, limit) = (self.page_range(query).await?, page_size(query.page_size));
        let page = self.store.key_periods(id, query.granularity, range, limit).await?;
        Ok(named(query.granularity, page.rows, page.has_more))
    }

    /// Periods of all keys together, oldest first.
    pub async fn all_periods(&self, query: &PeriodQuery<'_>) -> Result<PeriodPage<Together>, ServiceError> {
        let (range, limit) = (self.page_range(query).await?, page_size(query.page_size));
        let page = self.store.all_periods(query.granularity, range, limit).await?;
        Ok(named(query.granularity, page.rows, page.has_more))
    }

    /// Periods of every key by itself, by period, oldest first.
    pub async fn each_key_periods(&self, query: &PeriodQuery<'_>) -> Result<PeriodPage<(KeyId, Tally)>, ServiceError> {
        let range = self.range(query).await?;
        let after = periods::row_token(query.page_token)?;
        let limit = page_size(query.page_size);
        let (rows, next) = self
            .store
            .each_key_periods(query.granularity, range, after, limit)
            .await?;
        // Rows of one period follow each other: its text is made once.
        let mut last: Option<(i64, String)> = None;
        let mut text = |period| match &last {
            Some((same, text)) if *same == period => text.clone(),
            _ => last
                .insert((period, periods::text(query.granularity, period)))
                .1
                .clone(),
        };
        let rows = rows
            .into_iter()
            .map(|(period, key, tally)| (text(period), (key, tally)));
        Ok(PeriodPage {
            rows: rows.collect(),
            next_page_token: next
                .map(|(period, HistoryId(history))| format!("{period}.{history}"))
                .unwrap_or_default(),
        })
    }

    /// Hides everything up to now from a key's totals, days and months.
    pub async fn reset(&self, key_id: &str) -> Result<Key, ServiceError> {
        let key = self.store.reset_history(self.id(key_id)?).await?;
        tracing::info!(key_id = %key.id.0, "history reset");
        Ok(key)
    }

    /// Removes days outside the newest `days_to_keep`, today included; gives how many rows.
    pub async fn clean_up_days(&self, days_to_keep: u32) -> Result<u64, ServiceError> {
        if days_to_keep == 0 {
            return Err(ServiceError::invalid("days_to_keep", "days_to_keep must be at least 1"));
        }
        let first = first_of_newest_days(self.store.calendar(), self.store.now(), days_to_keep);
        let first_kept = FirstKept {
            day: Some(first),
            ..FirstKept::default()
        };
        let cleaned_up = self.store.clean_up(first_kept).await;
        // It is done in pieces: of one that failed the earlier ones are gone.
        self.store
            .note_event(clean_up_told(days_to_keep, cleaned_up.as_ref().ok()))
            .await;
        let removed = cleaned_up?;
        tracing::info!(days_to_keep, removed, "days cleaned up");
        Ok(removed)
    }

    /// Evenly spaced points up to now, oldest first, without gaps; of all keys together when `key_id` is empty.
    pub async fn series(
        &self,
        key_id: &str,
        metric: Metric,
        period_seconds: u32,
        granularity_seconds: u32,
    ) -> Result<Vec<Point>, ServiceError> {
        let count = points(period_seconds, granularity_seconds)?;
        let is_fine = !granularity_seconds.is_multiple_of(60);
        if key_id.is_empty() && is_fine {
            return self.recent_series(metric, count, granularity_seconds);
        }
        if is_fine {
            return Err(ServiceError::invalid(
                "granularity_seconds",
                "granularity must be a multiple of 60 seconds for one key",
            ));
        }
        let by_hour = !key_id.is_empty() && period_seconds > MINUTES_PERIOD_SECONDS;
        if by_hour && !granularity_seconds.is_multiple_of(3_600) {
            return Err(ServiceError::invalid(
                "granularity_seconds",
                "granularity must be a multiple of 3600 seconds for one key over more than 48 hours",
            ));
        }
        // The present minute or hour is the last one, as a whole.
        let now = self.store.now();
        let end = if by_hour {
            self.store.calendar().hour(now).0 + 3_600
        } else {
            (Minute::of(now).0 + 1) * 60
        };
        let mut series = empty_series(end, count, granularity_seconds);
        let first = end - i64::from(count) * i64::from(granularity_seconds);
        for (second, value) in self.values(key_id, metric, by_hour, first).await? {
            let point = usize::try_from((second - first) / i64::from(granularity_seconds)).unwrap_or(usize::MAX);
            if let Some((_, sum)) = series.get_mut(point) {
                gather(metric, sum, value);
            }
        }
        Ok(series)
    }

    /// What there was since a second, by the second at which each minute or hour began.
    async fn values(
        &self,
        key_id: &str,
        metric: Metric,
        by_hour: bool,
        first: i64,
    ) -> Result<Vec<(i64, u64)>, ServiceError> {
        let minutes = Range {
            first: first / 60,
            last: i64::MAX,
        };
        if key_id.is_empty() {
            let totals = self.store.minute_totals(minutes).await?;
            let value = |(minute, total): (&i64, &MinuteTotal)| (minute * 60, of_total(metric, total));
            return Ok(totals.iter().map(value).collect());
        }
        if metric == Metric::OnlineKeys {
            return Err(ServiceError::invalid(
                "metric",
                "online keys are counted over all keys together, not for one",
            ));
        }
        let id = self.id(key_id)?;
        let (granularity, range, unit) = if by_hour {
            (Granularity::Hour, Range { first, ..minutes }, 1)
        } else {
            (Granularity::Minute, minutes, 60)
        };
        let page = self.store.key_periods(id, granularity, range, usize::MAX).await?;
        let value = |(period, tally): &(i64, Tally)| (period * unit, of_tally(metric, tally));
        Ok(page.rows.iter().map(value).collect())
    }

    /// The same from the samples of the last hour.
    fn recent_series(&self, metric: Metric, count: u32, seconds_each: u32) -> Result<Vec<Point>, ServiceError> {
        if count * seconds_each > RECENT_SECONDS {
            return Err(ServiceError::invalid(
                "granularity_seconds",
                "a granularity that is no multiple of 60 seconds reaches back one hour at most",
            ));
        }
        let end = self.store.now().timestamp() + 1;
        let mut series = empty_series(end, count, seconds_each);
        let seconds_each = i64::from(seconds_each);
        let first = end - i64::from(count) * seconds_each;
        for moment in self.store.samples().recent(time(first)) {
            let value = match metric {
                Metric::Traffic => moment.total_bytes,
                Metric::Connections => moment.connections,
                Metric::OnlineKeys => moment.online_keys,
            };
            let point = usize::try_from((moment.at.timestamp() - first) / seconds_each).unwrap_or_default();
            if let Some((_, sum)) = series.get_mut(point) {
                gather(metric, sum, value);
            }
        }
        Ok(series)
    }

    /// Keys by what they moved or held over the last `period_seconds`, most first, at most `limit`; and all together.
    pub async fn top(
        &self,
        metric: Metric,
        period_seconds: u32,
        limit: usize,
    ) -> Result<(Vec<(Arc<Key>, u64)>, u64), ServiceError> {
        if metric == Metric::OnlineKeys {
            return Err(ServiceError::invalid(
                "metric",
                "a top list is by traffic or by connections",
            ));
        }
        if period_seconds == 0 {
            return Err(ServiceError::invalid(
                "period_seconds",
                "period must be at least 1 second",
            ));
        }
        let (store, now) = (&self.store, self.store.now());
        let from = now - TimeDelta::seconds(period_seconds.into());
        let (granularity, first) = if period_seconds <= TOP_BY_MINUTE_SECONDS {
            // The minute in which the time begins is left out: at most one is cut off, none is added.
            (Granularity::Minute, Minute::of(from).0 + 1)
        } else {
            (Granularity::Hour, store.calendar().hour(from).0)
        };
        let range = Range { first, last: i64::MAX };
        let tallies = store.tallies_over(granularity, range).await?;
        let mut top: Vec<(Arc<Key>, u64)> = tallies
            .into_iter()
            .map(|(key, tally)| (key, of_tally(metric, &tally)))
            .filter(|(_, value)| *value > 0)
            .collect();
        let total = top.iter().map(|(_, value)| value).sum();
        // Stable: of equals the older key comes first.
        top.sort_by_key(|(_, value)| std::cmp::Reverse(*value));
        top.truncate(limit);
        Ok((top, total))
    }

    /// A key and its billing cycles, newest first.
    pub async fn cycles(&self, key_id: &str, limit: usize) -> Result<(Arc<Key>, Vec<CycleUsage>), ServiceError> {
        Ok(self.store.cycles(self.id(key_id)?, limit).await?)
    }

    /// Sets a key's billing cycle, or ends it.
    pub async fn set_cycle(&self, key_id: &str, cycle: Option<BillingCycle>) -> Result<Key, ServiceError> {
        let key = self.store.set_cycle(self.id(key_id)?, cycle).await?;
        tracing::info!(key_id = %key.id.0, cycle = key.cycle.map(|cycle| cycle.rule.to_string()), "billing cycle set");
        Ok(key)
    }

    /// The ledger's calendar day of a moment.
    pub fn day(&self, at: DateTime<Utc>) -> Day {
        self.store.calendar().day(at)
    }

    /// The calendar day that it is in a zone.
    pub fn today(&self, zone: chrono_tz::Tz) -> chrono::NaiveDate {
        self.store.now().with_timezone(&zone).date_naive()
    }

    /// The ledger's zone.
    pub fn zone(&self) -> chrono_tz::Tz {
        self.store.calendar().zone()
    }

    /// What commits have changed after one of them, in parts.
    pub async fn bookings(&self, after: u64, part: Option<PartStart>) -> Result<Bookings, ServiceError> {
        Ok(self.store.bookings_after(after, part).await?)
    }

    /// Tells of each commit as it is made.
    pub fn committed(&self) -> tokio::sync::watch::Receiver<u64> {
        self.store.committed()
    }

    /// Every key's lifetime total after the last commit.
    pub async fn booking_snapshot(&self) -> Result<Bookings, ServiceError> {
        Ok(self.store.booking_snapshot().await?)
    }

    /// The id of the key with this id or uuid.
    pub fn id(&self, key_id: &str) -> Result<KeyId, ServiceError> {
        find(&self.store, key_id).map(|entry| entry.key.id)
    }

    /// The range that a query names, without regard to its page.
    async fn range(&self, query: &PeriodQuery<'_>) -> Result<Range, ServiceError> {
        let (calendar, now) = (self.store.calendar(), self.store.now());
        if query.first.is_empty() {
            // Oldest of all: a range that begins where there is something is walked through faster.
            let oldest = self.store.oldest_period(query.granularity).await?;
            let range = parse_range(calendar, query.granularity, now, "", query.last)?;
            let first = oldest.unwrap_or(range.last).min(range.last);
            return Ok(Range { first, ..range });
        }
        parse_range(calendar, query.granularity, now, query.first, query.last)
    }

    async fn page_range(&self, query: &PeriodQuery<'_>) -> Result<Range, ServiceError> {
        let range = self.range(query).await?;
        let next = periods::period_token(query.page_token)?;
        Ok(Range {
            first: next.unwrap_or(range.first).max(range.first),
            ..range
        })
    }
}

/// Points up to `end`, oldest first, all zero.
fn empty_series(end: i64, count: u32, seconds_each: u32) -> Vec<Point> {
    let start = |left: u32| time(end - i64::from(left) * i64::from(seconds_each));
    (1..=count).rev().map(|left| (start(left), 0)).collect()
}

fn time(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap_or_default()
}

fn named<T>(granularity: Granularity, rows: Vec<(i64, T)>, has_more: bool) -> PeriodPage<T> {
    let next = rows
        .last()
        .filter(|_| has_more)
        .map(|(period, _)| (period + 1).to_string());
    let rows = rows
        .into_iter()
        .map(|(period, row)| (periods::text(granularity, period), row));
    PeriodPage {
        rows: rows.collect(),
        next_page_token: next.unwrap_or_default(),
    }
}

fn page_size(wanted: u32) -> usize {
    match wanted as usize {
        0 => PAGE_SIZE,
        wanted => wanted.min(PAGE_SIZE_MAX),
    }
}

/// How many points a series has.
fn points(period_seconds: u32, granularity_seconds: u32) -> Result<u32, ServiceError> {
    if granularity_seconds == 0 {
        return Err(ServiceError::invalid(
            "granularity_seconds",
            "granularity must be at least 1 second",
        ));
    }
    if period_seconds < granularity_seconds {
        return Err(ServiceError::invalid(
            "period_seconds",
            format!("period is {period_seconds} seconds, which is less than one point of {granularity_seconds}"),
        ));
    }
    if period_seconds > LIVE_PERIOD_MAX_SECONDS {
        return Err(ServiceError::invalid(
            "period_seconds",
            format!("period must be at most {LIVE_PERIOD_MAX_SECONDS} seconds"),
        ));
    }
    match period_seconds / granularity_seconds {
        count if count <= POINTS_MAX => Ok(count),
        count => Err(ServiceError::invalid(
            "granularity_seconds",
            format!(
                "{period_seconds} seconds by {granularity_seconds} are {count} points; at most {POINTS_MAX} are given"
            ),
        )),
    }
}

/// Adds a value to a point: bytes add up, of numbers the highest stays.
fn gather(metric: Metric, point: &mut u64, value: u64) {
    *point = match metric {
        Metric::Traffic => *point + value,
        Metric::Connections | Metric::OnlineKeys => value.max(*point),
    };
}

fn of_total(metric: Metric, total: &MinuteTotal) -> u64 {
    match metric {
        Metric::Traffic => total.total_bytes,
        Metric::Connections => total.max_connections,
        Metric::OnlineKeys => total.max_online_keys,
    }
}

fn of_tally(metric: Metric, tally: &Tally) -> u64 {
    match metric {
        Metric::Traffic => tally.traffic.total_bytes(),
        Metric::Connections | Metric::OnlineKeys => tally.max_connections,
    }
}

/// What is told of a clean-up of days; `removed` is absent where it failed.
fn clean_up_told(days_to_keep: u32, removed: Option<&u64>) -> NewEvent {
    let days = format!("days outside the newest {days_to_keep}");
    let (severity, message) = match removed {
        Some(rows) => (EventSeverity::Info, format!("{days} were removed: {rows} rows")),
        None => (EventSeverity::Error, format!("{days} could not all be removed")),
    };
    NewEvent {
        kind: EventKind::Collector,
        severity,
        action: "clean_up",
        message,
        ..NewEvent::default()
    }
}
