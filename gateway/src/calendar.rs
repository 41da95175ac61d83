//! Days and months as callers write them: `2026-03-29` and `2026-03`, nothing else.
//!
//! Only what a calendar has is one of them: four digits of a year from 1 on, a month that exists, a day that this month
//! has. The ledger begins no earlier than 1970; [`since_ledgers_begin`] keeps what is asked of it within that.

use std::fmt;

use chrono::{Datelike as _, Days, NaiveDate};
use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// The first day that a ledger can know.
const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a date that exists");

/// A calendar day, or `None` where `text` is none.
pub(crate) fn day(text: &str) -> Option<NaiveDate> {
    let [year, month, day] = numbers(text, [4, 2, 2])?;
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day).filter(|_| year > 0)
}

/// `date`, or the first day that a ledger can know where that is later.
pub(crate) fn since_ledgers_begin(date: NaiveDate) -> NaiveDate {
    date.max(FIRST_DAY)
}

/// The `count` days that end with `last`, oldest first.
pub(crate) fn days_until(last: NaiveDate, count: u32) -> Vec<NaiveDate> {
    let before = |days: u32| last.checked_sub_days(Days::new(days.into()));
    (0..count).rev().filter_map(before).collect()
}

/// What every month looks like, and nothing else: the year 0 has none.
const MONTH_PATTERN: &str = "^([0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)-(0[1-9]|1[0-2])$";

/// A calendar month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Month(NaiveDate);

impl Month {
    /// A calendar month, or `None` where `text` is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let [year, month] = numbers(text, [4, 2])?;
        let first = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, 1);
        first.filter(|_| year > 0).map(Self)
    }

    /// The month of a day.
    pub(crate) fn of(date: NaiveDate) -> Self {
        Self(date.with_day(1).unwrap_or(date))
    }

    pub(crate) fn first_day(self) -> NaiveDate {
        self.0
    }
}

impl fmt::Display for Month {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

impl PartialSchema for Month {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("A month of the calendar."))
            .pattern(Some(MONTH_PATTERN))
            .examples(["2025-08"])
            .into()
    }
}

impl ToSchema for Month {}

impl Serialize for Month {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Numbers of so many digits each, with one `-` between.
fn numbers<const N: usize>(text: &str, widths: [usize; N]) -> Option<[u32; N]> {
    let mut parts = text.split('-');
    let mut numbers = [0; N];
    for (number, width) in numbers.iter_mut().zip(widths) {
        let part = parts.next()?;
        let is_number = part.len() == width && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = part.parse().ok().filter(|_| is_number)?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_day_is_one_that_the_calendar_has() {
        for text in ["2026-03-29", "2024-02-29", "0001-01-01", "9999-12-31"] {
            assert_eq!(day(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-01-00",
            "2026-04-31",
            "0000-01-01",
            "2026-3-29",
            "26-03-29",
            "2026-03-29 ",
            "2026-03-29T00:00:00",
            "2026/03/29",
            "20260329",
            "+026-03-29",
            "-2026-03-29",
            "12026-03-29",
            "2026-03",
            "2026-03-29-",
            "２０２６-03-29",
            "today",
        ] {
            assert_eq!(day(text), None, "{text}");
        }
    }

    #[test]
    fn a_month_is_one_that_the_calendar_has() {
        let month = Month::parse("2024-02").unwrap();
        assert_eq!(month.to_string(), "2024-02");
        assert_eq!(month.first_day().to_string(), "2024-02-01");
        assert_eq!(Month::of(day("2024-02-17").unwrap()), month);
        for text in [
            "",
            "2024",
            "2024-13",
            "2024-00",
            "2024-2",
            "2024-02-01",
            "0000-01",
            "24-02",
            "2024_02",
        ] {
            assert_eq!(Month::parse(text), None, "{text}");
        }
    }

    #[test]
    fn days_until_a_day_cross_months_and_leap_days() {
        let texts = |last: &str, count| -> Vec<String> {
            let days = days_until(day(last).unwrap(), count);
            days.iter().map(ToString::to_string).collect()
        };
        assert_eq!(texts("2024-03-01", 3), ["2024-02-28", "2024-02-29", "2024-03-01"]);
        assert_eq!(texts("2026-01-01", 2), ["2025-12-31", "2026-01-01"]);
        assert_eq!(texts("2026-01-01", 1), ["2026-01-01"]);
    }

    #[test]
    fn nothing_is_asked_of_a_ledger_before_1970() {
        let first = day("1970-01-01").unwrap();
        assert_eq!(since_ledgers_begin(day("0001-01-01").unwrap()), first);
        assert_eq!(
            since_ledgers_begin(day("2026-01-01").unwrap()),
            day("2026-01-01").unwrap()
        );
    }

    proptest! {
        /// A text of the right form is a day exactly when the calendar has it, and is written as it was read.
        #[test]
        fn days_are_the_calendars(year in 0_i32..10_000, month in 0_u32..15, of_month in 0_u32..35) {
            let text = format!("{year:04}-{month:02}-{of_month:02}");
            let exists = NaiveDate::from_ymd_opt(year, month, of_month).filter(|_| year > 0);
            prop_assert_eq!(day(&text), exists);
            prop_assert!(day(&text).is_none_or(|day| day.to_string() == text));
        }

        #[test]
        fn months_are_the_calendars(year in 0_i32..10_000, month in 0_u32..15) {
            let text = format!("{year:04}-{month:02}");
            let read = Month::parse(&text);
            prop_assert_eq!(read.is_some(), year > 0 && (1..=12).contains(&month));
            prop_assert!(read.is_none_or(|month| month.to_string() == text && month.first_day().day() == 1));
        }

        /// Nothing that is written in another way is taken for a day or a month.
        #[test]
        fn other_texts_are_neither(text in "[-0-9+TZ:. ]{0,14}|\\PC{0,12}") {
            let is_form = |widths: &[usize]| {
                let parts: Vec<&str> = text.split('-').collect();
                parts.iter().map(|part| part.len()).eq(widths.iter().copied())
                    && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
            };
            prop_assert!(day(&text).is_none() || is_form(&[4, 2, 2]));
            prop_assert!(Month::parse(&text).is_none() || is_form(&[4, 2]));
        }

        /// As many days as were asked for, each the day after the one before, the last one last.
        #[test]
        fn days_until_a_day_have_no_gap(offset in 0_u64..800_000, count in 1_u32..400) {
            let last = since_ledgers_begin(NaiveDate::MIN) + Days::new(offset);
            let days = days_until(last, count);
            prop_assert_eq!(days.len(), count as usize);
            prop_assert_eq!(days.last(), Some(&last));
            prop_assert!(days.windows(2).all(|pair| pair[0].succ_opt() == Some(pair[1])));
        }
    }
}
