//! Periods as numbers, and as people write them.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, Utc};

/// The day of 1970-01-01 in chrono's count of days.
const EPOCH_DAYS: i32 = 719_163;

/// Minutes since 1970 in UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minute(pub i64);

impl Minute {
    /// The minute of a moment.
    pub fn of(at: DateTime<Utc>) -> Self {
        Self(at.timestamp().div_euclid(60))
    }

    /// When it begins.
    pub fn start(self) -> DateTime<Utc> {
        time(self.0.saturating_mul(60))
    }
}

impl fmt::Display for Minute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_time(formatter, self.start())
    }
}

/// The second since 1970 at which an hour of the ledger's zone begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub i64);

impl Hour {
    /// When it begins.
    pub fn start(self) -> DateTime<Utc> {
        time(self.0)
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_time(formatter, self.start())
    }
}

fn time(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap_or(if second < 0 {
        DateTime::<Utc>::MIN_UTC
    } else {
        DateTime::<Utc>::MAX_UTC
    })
}

fn write_time(formatter: &mut fmt::Formatter<'_>, at: DateTime<Utc>) -> fmt::Result {
    formatter.write_str(&at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// A text that is no period of the kind that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// No date.
    #[error("a date looks like 2026-03-29, between 1970-01-01 and 9999-12-31")]
    Date,
    /// No month.
    #[error("a month looks like 2026-03, between 1970-01 and 9999-12")]
    Month,
}

/// Days from 1970-01-01 to a calendar date.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

impl Day {
    /// The day of a date.
    pub fn of(date: NaiveDate) -> Self {
        Self(date.num_days_from_ce() - EPOCH_DAYS)
    }

    /// The date.
    pub fn date(self) -> NaiveDate {
        let date = self
            .0
            .checked_add(EPOCH_DAYS)
            .and_then(NaiveDate::from_num_days_from_ce_opt);
        date.unwrap_or(if self.0 < 0 { NaiveDate::MIN } else { NaiveDate::MAX })
    }

    /// This many days later.
    pub fn plus_days(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// Its month.
    pub fn month(self) -> Month {
        Month::of(self.date())
    }
}

impl fmt::Display for Day {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.date().format("%Y-%m-%d"))
    }
}

impl FromStr for Day {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let [year, month, day] = numbers(text, [4, 2, 2]).ok_or(PeriodError::Date)?;
        date(year, month, day).map(Self::of).ok_or(PeriodError::Date)
    }
}

/// Months from 1970-01 to a calendar month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(pub i32);

impl Month {
    /// The month of a date.
    pub fn of(date: NaiveDate) -> Self {
        let month = i32::try_from(date.month0()).unwrap_or_default();
        Self((date.year() - 1970) * 12 + month)
    }

    /// Its first day.
    pub fn first_day(self) -> Day {
        let year = 1970 + self.0.div_euclid(12);
        let month = self.0.rem_euclid(12).cast_unsigned() + 1;
        let first = NaiveDate::from_ymd_opt(year, month, 1);
        Day::of(first.unwrap_or(if self.0 < 0 { NaiveDate::MIN } else { NaiveDate::MAX }))
    }

    /// Its last day.
    pub fn last_day(self) -> Day {
        Self(self.0.saturating_add(1)).first_day().plus_days(-1)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.first_day().date().format("%Y-%m"))
    }
}

impl FromStr for Month {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let [year, month] = numbers(text, [4, 2]).ok_or(PeriodError::Month)?;
        date(year, month, 1).map(Self::of).ok_or(PeriodError::Month)
    }
}

fn date(year: u32, month: u32, day: u32) -> Option<NaiveDate> {
    let year = i32::try_from(year).ok().filter(|year| *year >= 1970)?;
    NaiveDate::from_ymd_opt(year, month, day)
}

/// Numbers with hyphens between them, each of exactly so many digits.
fn numbers<const N: usize>(text: &str, digits: [usize; N]) -> Option<[u32; N]> {
    let mut parts = text.split('-');
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_months_are_read_strictly() {
        for good in ["1970-01-01", "2024-02-29", "9999-12-31"] {
            assert_eq!(good.parse::<Day>().unwrap().to_string(), good);
            assert_eq!(good[..7].parse::<Month>().unwrap().to_string(), good[..7]);
        }
        let bad = [
            "",
            "2026-2-01",
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-04-31",
            "1969-12-31",
            "26-01-01",
            "2026-01-01 ",
            " 2026-01-01",
            "2026-01-01T00:00:00Z",
            "2026/01/01",
            "+026-01-01",
            "2026-01-01-01",
            "２０２６-01-01",
            "latest",
            "2026-01",
            "-2026-01-01",
        ];
        for bad in bad {
            assert_eq!(bad.parse::<Day>(), Err(PeriodError::Date), "{bad}");
        }
        for bad in [
            "",
            "2026",
            "2026-1",
            "2026-13",
            "2026-00",
            "1969-12",
            "2026-01-01",
            "2026-01 ",
            "now",
        ] {
            assert_eq!(bad.parse::<Month>(), Err(PeriodError::Month), "{bad}");
        }
    }

    #[test]
    fn numbers_count_from_1970() {
        assert_eq!("1970-01-01".parse(), Ok(Day(0)));
        assert_eq!("2000-03-01".parse(), Ok(Day(11_017)));
        assert_eq!("1970-01".parse(), Ok(Month(0)));
        assert_eq!("2026-11".parse(), Ok(Month(682)));
        assert_eq!(Day(-1).to_string(), "1969-12-31");
        assert_eq!(Month(-1).to_string(), "1969-12");
        let february: Month = "2024-02".parse().unwrap();
        assert_eq!(
            [february.first_day(), february.last_day()].map(|day| day.to_string()),
            ["2024-02-01", "2024-02-29"]
        );
        assert_eq!(february.last_day().plus_days(1).month(), Month(february.0 + 1));
    }

    /// A clock or a file can hold anything.
    #[test]
    fn numbers_out_of_any_calendar_do_no_harm() {
        for number in [i32::MIN, i32::MAX] {
            let _ = (Day(number).to_string(), Month(number).to_string(), Day(number).month());
            let _ = (Month(number).last_day(), Day(number).plus_days(number));
        }
        for number in [i64::MIN, i64::MAX] {
            let _ = (Minute(number).to_string(), Hour(number).to_string());
        }
    }
}
