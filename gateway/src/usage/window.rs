//! Which days a page is about, and what was moved in them.
//!
//! A page shows some days and the same number of days before them; two weeks are read at least, for the sums of seven
//! days. Days in which nothing happened are zeros.

use std::collections::HashMap;

use chrono::NaiveDate;
use portmeter_proto::v1::Period;

use crate::calendar;
use crate::failure::Failure;
use crate::history::{tally_of, total_bytes};

/// The days that the fixed sums are over.
const WEEK_DAYS: usize = 7;

/// Consecutive days: those that are shown, and those before them that they are compared with.
#[derive(Debug)]
pub(super) struct Window {
    /// Oldest first, the shown ones at the end.
    read: Vec<NaiveDate>,
    shown: usize,
}

impl Window {
    /// The `days` days that end with `last`.
    pub(super) fn ending(last: NaiveDate, days: u32) -> Self {
        let read = calendar::days_until(last, (2 * days).max(2 * WEEK_DAYS as u32));
        Self {
            shown: (days as usize).min(read.len()),
            read,
        }
    }

    /// The days that are shown.
    pub(super) fn days(&self) -> &[NaiveDate] {
        &self.read[self.read.len() - self.shown..]
    }

    /// As many days before them.
    pub(super) fn previous_days(&self) -> &[NaiveDate] {
        self.previous(&self.read)
    }

    /// The first day of which figures are needed.
    pub(super) fn first_read(&self) -> NaiveDate {
        self.read.first().copied().unwrap_or_default()
    }

    /// The last day that is shown.
    pub(super) fn last(&self) -> NaiveDate {
        self.read.last().copied().unwrap_or_default()
    }

    fn position(&self, date: NaiveDate) -> Option<usize> {
        self.read.binary_search(&date).ok()
    }

    fn previous<'a, T>(&self, values: &'a [T]) -> &'a [T] {
        let end = values.len() - self.shown;
        &values[end.saturating_sub(self.shown)..end]
    }
}

/// A figure of each day that was read, oldest first.
#[derive(Debug, Clone)]
pub(super) struct Figure(Vec<u64>);

impl Figure {
    /// Those of the days that are shown.
    pub(super) fn shown(&self, window: &Window) -> &[u64] {
        &self.0[self.0.len() - window.shown..]
    }

    /// Those of as many days before.
    pub(super) fn previous(&self, window: &Window) -> &[u64] {
        window.previous(&self.0)
    }

    /// The sum of the newest seven days.
    pub(super) fn week(&self) -> u64 {
        sum(&self.0[self.0.len().saturating_sub(WEEK_DAYS)..])
    }

    /// The sum of the seven days before.
    pub(super) fn previous_week(&self) -> u64 {
        let end = self.0.len().saturating_sub(WEEK_DAYS);
        sum(&self.0[end.saturating_sub(WEEK_DAYS)..end])
    }

    /// The newest day and the one before.
    pub(super) fn last_two(&self) -> (u64, u64) {
        let mut newest = self.0.iter().rev().copied();
        (newest.next().unwrap_or_default(), newest.next().unwrap_or_default())
    }
}

/// What somebody moved, day by day.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) bytes: Figure,
    pub(super) connections: Figure,
    sessions: Figure,
}

impl Series {
    /// Nothing on any day.
    pub(super) fn nothing(window: &Window) -> Self {
        let zeros = || Figure(vec![0; window.read.len()]);
        Self {
            bytes: zeros(),
            connections: zeros(),
            sessions: zeros(),
        }
    }

    /// Whether there was a byte or a session on one of the shown days.
    pub(super) fn is_active(&self, window: &Window) -> bool {
        let (bytes, sessions) = (self.bytes.shown(window), self.sessions.shown(window));
        bytes.iter().chain(sessions).any(|value| *value > 0)
    }

    fn add(&mut self, window: &Window, day: &Period) -> Result<(), Failure> {
        if let Some(position) = window.position(date_of(day)?) {
            let tally = tally_of(day)?;
            self.bytes.0[position] = total_bytes(tally);
            self.connections.0[position] = tally.connections_opened;
            self.sessions.0[position] = tally.sessions;
        }
        Ok(())
    }
}

/// What the ledger knows of a window.
#[derive(Debug)]
pub(super) struct Ledger {
    window: Window,
    global: Series,
    by_key_id: HashMap<String, Series>,
}

impl Ledger {
    /// Nothing yet.
    pub(super) fn new(window: Window) -> Self {
        Self {
            global: Series::nothing(&window),
            by_key_id: HashMap::new(),
            window,
        }
    }

    /// Takes a day of one key.
    pub(super) fn add_user(&mut self, day: &Period) -> Result<(), Failure> {
        if !self.by_key_id.contains_key(&day.key_id) {
            let nothing = Series::nothing(&self.window);
            self.by_key_id.insert(day.key_id.clone(), nothing);
        }
        let series = self.by_key_id.get_mut(&day.key_id);
        series.map_or(Ok(()), |series| series.add(&self.window, day))
    }

    /// Takes a day of all keys together, inside the window or not.
    pub(super) fn add_global(&mut self, day: &Period) -> Result<(), Failure> {
        self.global.add(&self.window, day)
    }

    pub(super) fn window(&self) -> &Window {
        &self.window
    }

    pub(super) fn global(&self) -> &Series {
        &self.global
    }

    /// What a key moved; `None` where it has no day in the window.
    pub(super) fn user(&self, key_id: &str) -> Option<&Series> {
        self.by_key_id.get(key_id)
    }
}

fn date_of(day: &Period) -> Result<NaiveDate, Failure> {
    calendar::day(&day.start).ok_or_else(|| Failure::incomplete("period.start"))
}

/// The sum of some days.
pub(super) fn sum(values: &[u64]) -> u64 {
    values.iter().copied().fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{period, tally};

    fn window(last: &str, days: u32) -> Window {
        Window::ending(calendar::day(last).unwrap(), days)
    }

    fn texts(days: &[NaiveDate]) -> Vec<String> {
        days.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_window_and_as_many_days_before_it() {
        let window = window("2024-03-01", 2);
        assert_eq!(texts(window.days()), ["2024-02-29", "2024-03-01"]);
        assert_eq!(texts(window.previous_days()), ["2024-02-27", "2024-02-28"]);
        assert_eq!(
            window.first_read().to_string(),
            "2024-02-17",
            "two weeks are read at least"
        );
        assert_eq!(window.last().to_string(), "2024-03-01");
    }

    #[test]
    fn windows_of_any_length_are_whole() {
        for days in [1, 6, 7, 8, 31, 365] {
            let window = window("2025-08-05", days);
            assert_eq!(window.days().len(), days as usize);
            assert_eq!(window.previous_days().len(), days as usize);
            let all = [window.previous_days(), window.days()].concat();
            assert!(all.windows(2).all(|pair| pair[0].succ_opt() == Some(pair[1])), "{days}");
            assert_eq!(all.last(), Some(&window.last()));
        }
    }

    #[test]
    fn days_without_data_are_zeros_and_sums_are_of_seven_days() {
        let mut ledger = Ledger::new(window("2025-08-15", 3));
        for (day, bytes) in [
            ("2025-08-01", 1),
            ("2025-08-02", 10),
            ("2025-08-08", 100),
            ("2025-08-09", 1_000),
            ("2025-08-12", 10_000),
            ("2025-08-13", 100_000),
            ("2025-08-15", 1_000_000),
            ("2025-08-16", 10_000_000),
        ] {
            ledger.add_global(&period(day, tally(bytes, 0, 0, 0))).unwrap();
        }
        let (window, bytes) = (ledger.window(), &ledger.global().bytes);
        assert_eq!(bytes.shown(window), [100_000, 0, 1_000_000]);
        assert_eq!(bytes.previous(window), [0, 0, 10_000]);
        assert_eq!((bytes.week(), bytes.previous_week()), (1_111_000, 110));
        assert_eq!(bytes.last_two(), (1_000_000, 0));
    }

    #[test]
    fn a_user_is_active_with_a_byte_or_a_session_on_a_shown_day() {
        let mut ledger = Ledger::new(window("2025-08-15", 2));
        for (key_id, day, bytes, sessions) in [
            ("byte", "2025-08-14", 1, 0),
            ("session", "2025-08-15", 0, 1),
            ("before", "2025-08-13", 9, 9),
            ("held", "2025-08-15", 0, 0),
        ] {
            let mut period = period(day, tally(bytes, 0, 1, sessions));
            period.key_id = key_id.into();
            ledger.add_user(&period).unwrap();
        }
        let is_active = |key_id| ledger.user(key_id).map(|series| series.is_active(ledger.window()));
        assert_eq!(
            ["byte", "session", "before", "held", "nobody"].map(is_active),
            [Some(true), Some(true), Some(false), Some(false), None]
        );
    }

    #[test]
    fn a_day_that_is_none_is_a_failure() {
        let mut ledger = Ledger::new(window("2025-08-15", 2));
        assert!(ledger.add_global(&period("", tally(1, 1, 1, 1))).is_err());
    }
}
