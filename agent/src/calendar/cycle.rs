//! Billing cycles: when one begins and the next.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, Utc, Weekday};
use chrono_tz::Tz;

use super::period::{Day, Month};
use super::zone::Calendar;

/// A rule that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CycleError {
    /// No month has this day.
    #[error("a monthly cycle begins on a day from 1 to 31, not {0}")]
    MonthlyDay(u8),
    /// Too short or too long.
    #[error("a cycle has 1 to 366 days, not {0}")]
    Days(u16),
    /// A stored rule that this version cannot read.
    #[error("not a billing cycle")]
    Unreadable,
}

/// When cycles begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CycleRule {
    /// On this day of each month, 1 to 31; on the last one of months that have fewer.
    Monthly {
        /// The day.
        day: u8,
    },
    /// On this day of each week.
    Weekly {
        /// The day.
        weekday: Weekday,
    },
    /// Every so many days, 1 to 366, counted from a first one in both directions.
    EveryDays {
        /// How many.
        days: u16,
        /// A day on which a cycle begins.
        first: NaiveDate,
    },
}

impl CycleRule {
    /// Monthly from a day on.
    pub fn monthly(day: u8) -> Result<Self, CycleError> {
        if (1..=31).contains(&day) {
            Ok(Self::Monthly { day })
        } else {
            Err(CycleError::MonthlyDay(day))
        }
    }

    /// Every so many days.
    pub fn every_days(days: u16, first: NaiveDate) -> Result<Self, CycleError> {
        if (1..=366).contains(&days) {
            Ok(Self::EveryDays { days, first })
        } else {
            Err(CycleError::Days(days))
        }
    }

    /// The last day up to `day` on which a cycle begins.
    fn begin_until(self, day: Day) -> Day {
        match self {
            Self::Monthly { day: number } => {
                let this = begin_in(day.month(), number);
                if this <= day {
                    this
                } else {
                    begin_in(Month(day.month().0 - 1), number)
                }
            }
            Self::Weekly { weekday } => {
                let since = day.date().weekday().days_since(weekday);
                day.plus_days(-i32::try_from(since).unwrap_or_default())
            }
            Self::EveryDays { days, first } => day.plus_days(-(day.0 - Day::of(first).0).rem_euclid(i32::from(days))),
        }
    }

    /// The first day after a cycle's begin on which the next one begins.
    fn next_begin(self, begin: Day) -> Day {
        match self {
            Self::Monthly { day } => begin_in(Month(begin.month().0 + 1), day),
            Self::Weekly { .. } => begin.plus_days(7),
            Self::EveryDays { days, .. } => begin.plus_days(days.into()),
        }
    }
}

/// The day of a month on which its cycle begins.
fn begin_in(month: Month, number: u8) -> Day {
    let (first, last) = (month.first_day(), month.last_day());
    first.plus_days(i32::from(number) - 1).min(last)
}

/// As it is stored: `monthly:31`, `weekly:1` (Monday), `days:30:2026-01-05`.
impl fmt::Display for CycleRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Monthly { day } => write!(formatter, "monthly:{day}"),
            Self::Weekly { weekday } => write!(formatter, "weekly:{}", weekday.number_from_monday()),
            Self::EveryDays { days, first } => write!(formatter, "days:{days}:{}", Day::of(*first)),
        }
    }
}

impl FromStr for CycleRule {
    type Err = CycleError;

    fn from_str(text: &str) -> Result<Self, CycleError> {
        let (kind, rest) = text.split_once(':').ok_or(CycleError::Unreadable)?;
        let number = |text: &str| text.parse::<u16>().map_err(|_| CycleError::Unreadable);
        match kind {
            "monthly" => Self::monthly(u8::try_from(number(rest)?).map_err(|_| CycleError::Unreadable)?),
            "weekly" => {
                let index = number(rest)?.checked_sub(1).and_then(|index| u8::try_from(index).ok());
                let weekday = index.and_then(|index| Weekday::try_from(index).ok());
                Ok(Self::Weekly {
                    weekday: weekday.ok_or(CycleError::Unreadable)?,
                })
            }
            "days" => {
                let (days, first) = rest.split_once(':').ok_or(CycleError::Unreadable)?;
                let first: Day = first.parse().map_err(|_| CycleError::Unreadable)?;
                Self::every_days(number(days)?, first.date())
            }
            _ => Err(CycleError::Unreadable),
        }
    }
}

/// A rule in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BillingCycle {
    /// When cycles begin.
    pub rule: CycleRule,
    /// Whose days these are.
    pub zone: Tz,
}

/// From a cycle's first moment to the next one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CycleSpan {
    /// The first moment.
    pub start: DateTime<Utc>,
    /// The first moment of the next cycle.
    pub end: DateTime<Utc>,
}

impl BillingCycle {
    /// The cycle in which a moment is. Spans tile the time: they have no gaps and share no moment.
    pub fn cycle_at(&self, at: DateTime<Utc>) -> CycleSpan {
        let calendar = Calendar::new(self.zone);
        // A clock that is put back over midnight shows an earlier date than the day's begin: moments decide, not dates.
        let mut begin = self.rule.begin_until(calendar.day(at).plus_days(1));
        while calendar.day_start(begin) > at {
            begin = self.rule.begin_until(begin.plus_days(-1));
        }
        CycleSpan {
            start: calendar.day_start(begin),
            end: calendar.day_start(self.rule.next_begin(begin)),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use chrono_tz::TZ_VARIANTS;
    use proptest::prelude::*;

    use super::*;

    fn cycle(rule: &str, zone: &str) -> BillingCycle {
        BillingCycle {
            rule: rule.parse().unwrap(),
            zone: zone.parse().unwrap(),
        }
    }

    #[test]
    fn cycles_begin_where_the_rule_says() {
        let cases = [
            (
                "monthly:1",
                "UTC",
                "2026-02-15T12:00:00Z",
                "2026-02-01T00:00:00Z",
                "2026-03-01T00:00:00Z",
            ),
            (
                "monthly:31",
                "UTC",
                "2026-02-28T00:00:00Z",
                "2026-02-28T00:00:00Z",
                "2026-03-31T00:00:00Z",
            ),
            (
                "monthly:31",
                "UTC",
                "2026-02-27T23:59:59Z",
                "2026-01-31T00:00:00Z",
                "2026-02-28T00:00:00Z",
            ),
            (
                "monthly:30",
                "UTC",
                "2024-02-29T10:00:00Z",
                "2024-02-29T00:00:00Z",
                "2024-03-30T00:00:00Z",
            ),
            (
                "monthly:29",
                "UTC",
                "2026-03-01T00:00:00Z",
                "2026-02-28T00:00:00Z",
                "2026-03-29T00:00:00Z",
            ),
            (
                "monthly:15",
                "UTC",
                "2026-01-14T00:00:00Z",
                "2025-12-15T00:00:00Z",
                "2026-01-15T00:00:00Z",
            ),
            (
                "monthly:1",
                "Europe/Berlin",
                "2026-03-31T22:00:00Z",
                "2026-03-31T22:00:00Z",
                "2026-04-30T22:00:00Z",
            ),
            (
                "monthly:1",
                "Asia/Kolkata",
                "2026-03-31T18:29:59Z",
                "2026-02-28T18:30:00Z",
                "2026-03-31T18:30:00Z",
            ),
            (
                "weekly:1",
                "UTC",
                "2026-11-25T12:00:00Z",
                "2026-11-23T00:00:00Z",
                "2026-11-30T00:00:00Z",
            ),
            (
                "weekly:7",
                "UTC",
                "2026-11-22T00:00:00Z",
                "2026-11-22T00:00:00Z",
                "2026-11-29T00:00:00Z",
            ),
            (
                "weekly:1",
                "Europe/Berlin",
                "2026-03-25T00:00:00Z",
                "2026-03-22T23:00:00Z",
                "2026-03-29T22:00:00Z",
            ),
            (
                "days:1:2026-01-01",
                "Europe/Berlin",
                "2026-10-25T12:00:00Z",
                "2026-10-24T22:00:00Z",
                "2026-10-25T23:00:00Z",
            ),
            (
                "days:30:2026-01-05",
                "UTC",
                "2026-01-04T23:59:59Z",
                "2025-12-06T00:00:00Z",
                "2026-01-05T00:00:00Z",
            ),
            (
                "days:30:2026-01-05",
                "UTC",
                "2026-02-04T00:00:00Z",
                "2026-02-04T00:00:00Z",
                "2026-03-06T00:00:00Z",
            ),
        ];
        for (rule, zone, at, start, end) in cases {
            let span = cycle(rule, zone).cycle_at(at.parse().unwrap());
            let expected = CycleSpan {
                start: start.parse().unwrap(),
                end: end.parse().unwrap(),
            };
            assert_eq!(span, expected, "{rule} in {zone} at {at}");
        }
    }

    #[test]
    fn rules_that_cannot_be_are_refused() {
        let date = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
        assert_eq!(CycleRule::monthly(0), Err(CycleError::MonthlyDay(0)));
        assert_eq!(CycleRule::monthly(32), Err(CycleError::MonthlyDay(32)));
        assert_eq!(CycleRule::every_days(0, date), Err(CycleError::Days(0)));
        assert_eq!(CycleRule::every_days(367, date), Err(CycleError::Days(367)));
        for bad in [
            "",
            "monthly",
            "monthly:0",
            "monthly:300",
            "weekly:0",
            "weekly:8",
            "days:7",
            "days:0:2026-01-01",
            "x:1",
        ] {
            assert!(bad.parse::<CycleRule>().is_err(), "{bad}");
        }
    }

    fn rules() -> impl Strategy<Value = CycleRule> {
        let first = (0..40_000_i32).prop_map(|day| Day(day).date());
        prop_oneof![
            (1..=31_u8).prop_map(|day| CycleRule::Monthly { day }),
            (0..7_u8).prop_map(|index| CycleRule::Weekly {
                weekday: Weekday::try_from(index).unwrap()
            }),
            (1..=366_u16, first).prop_map(|(days, first)| CycleRule::EveryDays { days, first }),
        ]
    }

    proptest! {
        #[test]
        fn spans_tile_the_time(
            rule in rules(),
            zone in proptest::sample::select(TZ_VARIANTS.to_vec()),
            second in 631_152_000..2_840_140_800_i64,
        ) {
            let (cycle, at) = (BillingCycle { rule, zone }, DateTime::from_timestamp(second, 0).unwrap());
            let span = cycle.cycle_at(at);
            prop_assert!(span.start <= at && at < span.end, "{rule} {zone}: {at} is not in {span:?}");
            prop_assert_eq!(cycle.cycle_at(span.start), span);
            prop_assert_eq!(cycle.cycle_at(span.end - TimeDelta::seconds(1)), span);
            prop_assert_eq!(cycle.cycle_at(span.end).start, span.end);
            prop_assert_eq!(cycle.cycle_at(span.start - TimeDelta::seconds(1)).end, span.start);
        }

        #[test]
        fn rules_are_read_back_as_they_are_written(rule in rules()) {
            prop_assert_eq!(rule.to_string().parse(), Ok(rule));
        }
    }
}
