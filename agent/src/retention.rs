//! How long periods are kept, and when it is safe to remove them.
//!
//! A clock that jumps far ahead must not cost anybody their history: rows are removed only after the clock has run
//! steadily for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::calendar::Calendar;
use crate::config::{EventsConfig, LedgerConfig, Live};
use crate::store::{FirstKept, Store};

/// How often is looked for periods that have had their time.
const INTERVAL: Duration = Duration::from_secs(60);

/// How long the clock must have run steadily.
const STEADY_TIME: Duration = Duration::from_secs(10 * 60);

/// How far the clock may be from where it should be and still be called steady: it is slewed, leap seconds come.
const STEADY_DEVIATION: TimeDelta = TimeDelta::seconds(60);

/// How long bookings can be followed, unless minutes are kept for a shorter time.
const FOLLOW_TIME: TimeDelta = TimeDelta::hours(48);

/// How long periods are kept. Months are kept for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Minutes.
    pub minutes: TimeDelta,
    /// Hours.
    pub hours: TimeDelta,
    /// Calendar days, today included.
    pub days: u32,
    /// Events.
    pub events: TimeDelta,
}

impl Retention {
    /// As configured.
    pub fn of(config: &LedgerConfig, events: &EventsConfig) -> Self {
        Self {
            minutes: TimeDelta::hours(config.minute_retention_hours.into()),
            hours: TimeDelta::days(config.hour_retention_days.into()),
            days: config.day_retention_days,
            events: TimeDelta::days(events.retention_days.into()),
        }
    }

    /// The first periods to be kept.
    pub fn first_kept(&self, calendar: &Calendar, now: DateTime<Utc>) -> FirstKept {
        FirstKept {
            minute: Some(calendar.minute(now - self.minutes)),
            hour: Some(calendar.hour(now - self.hours)),
            day: Some(first_of_newest_days(calendar, now, self.days)),
            commit: Some(calendar.minute(now - self.minutes.min(FOLLOW_TIME))),
            event: Some(now - self.events),
        }
    }
}

/// The first of the newest `days` calendar days, today included.
pub fn first_of_newest_days(calendar: &Calendar, now: DateTime<Utc>, days: u32) -> crate::calendar::Day {
    let back = i32::try_from(days.max(1) - 1).unwrap_or(i32::MAX);
    let today = calendar.day(now);
    crate::calendar::Day(today.0.saturating_sub(back))
}

/// Watches whether the clock runs steadily: whether it has gone as far as the time that has really passed.
#[derive(Debug)]
struct ClockWatch {
    wall: DateTime<Utc>,
    since: Instant,
}

impl ClockWatch {
    fn new(wall: DateTime<Utc>, now: Instant) -> Self {
        Self { wall, since: now }
    }

    /// Whether the clock has been steady for long enough; one that was set begins anew.
    fn is_steady(&mut self, wall: DateTime<Utc>, now: Instant) -> bool {
        let passed = now - self.since;
        let expected = self.wall + TimeDelta::from_std(passed).unwrap_or(TimeDelta::MAX);
        if (wall - expected).abs() > STEADY_DEVIATION {
            *self = Self::new(wall, now);
            return false;
        }
        passed >= STEADY_TIME
    }
}

/// Removes what has had its time by what is configured at each look, until `shutdown`.
pub async fn clean_up(store: Arc<Store>, live: Live, shutdown: CancellationToken) {
    let mut watch = ClockWatch::new(store.now(), Instant::now());
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let now = store.now();
        if !watch.is_steady(now, Instant::now()) {
            continue;
        }
        let config = live.now();
        let first_kept = Retention::of(&config.ledger, &config.events).first_kept(store.calendar(), now);
        if let Err(error) = store.clean_up(first_kept).await {
            tracing::warn!(%error, "old periods could not be removed; the next minute tries again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_is_not_believed_at_once() {
        let (start, wall) = (Instant::now(), DateTime::UNIX_EPOCH);
        let mut watch = ClockWatch::new(wall, start);
        let at = |minutes: u32| start + minutes * Duration::from_secs(60);
        let shows = |minutes: i64| wall + TimeDelta::minutes(minutes);
        assert!(!watch.is_steady(shows(5), at(5)));
        assert!(watch.is_steady(shows(11), at(11)));
        // Set ten years ahead.
        let years = 10 * 365 * 24 * 60;
        assert!(!watch.is_steady(shows(years + 12), at(12)));
        assert!(!watch.is_steady(shows(years + 13), at(13)));
        assert!(watch.is_steady(shows(years + 23), at(23)));
        // And back.
        assert!(!watch.is_steady(shows(24), at(24)));
        assert!(watch.is_steady(shows(35), at(35)));
    }

    #[test]
    fn the_newest_days_include_today() {
        let calendar = Calendar::new(chrono_tz::Europe::Berlin);
        let now = "2026-03-29T22:30:00Z".parse().unwrap();
        let first = |days| first_of_newest_days(&calendar, now, days).to_string();
        assert_eq!(
            [first(1), first(2), first(30)],
            ["2026-03-30", "2026-03-29", "2026-03-01"]
        );
    }
}
