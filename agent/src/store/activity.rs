//! When each key was used: days that are booked, and what was sampled since.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rusqlite::Transaction;

use super::history::{KeyHistory, Whose, is_active, period_of};
use super::series::{self, Granularity, Range};
use super::snapshot::HistoryId;
use super::{Store, StoreError};
use crate::calendar::Calendar;
use crate::ledger::Pending;

/// When a key was used since it was made or its history was last reset; of those days that are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Activity {
    /// Days with a session or a byte.
    pub active_days: u32,
    /// The first of them; `None` when there is none.
    pub first_active_day: Option<i64>,
}

/// What the day rows say.
struct Booked {
    by_history: HashMap<HistoryId, (u32, i64)>,
    /// Of the days that something unbooked belongs to, which ones are active already.
    active: HashSet<(HistoryId, i64)>,
}

impl Store {
    /// Every key's totals with its activity, in creation order, and when they were read.
    pub async fn histories_with_activity(
        self: &Arc<Self>,
    ) -> Result<(Vec<(KeyHistory, Activity)>, DateTime<Utc>), StoreError> {
        let calendar = self.calendar;
        self.read(Whose::Everybody, move |transaction, state| {
            let fresh: Vec<BTreeSet<i64>> = state
                .entries()
                .map(|(_, pending)| unbooked_days(pending, &calendar))
                .collect();
            let booked = booked(transaction, &fresh)?;
            let activities = state
                .entries()
                .zip(&fresh)
                .map(|((entry, _), days)| booked.with(entry.figures.history.id, days));
            Ok((state.histories().into_iter().zip(activities).collect(), state.read_at))
        })
        .await
    }
}

fn booked(transaction: &Transaction<'_>, fresh: &[BTreeSet<i64>]) -> Result<Booked, StoreError> {
    let days = || fresh.iter().flatten().copied();
    let range = days().min().zip(days().max());
    let range = range.map(|(first, last)| Range { first, last });
    Ok(Booked {
        by_history: series::active_days(transaction)?,
        active: range
            .map(|range| series::active_on(transaction, range))
            .transpose()?
            .unwrap_or_default(),
    })
}

impl Booked {
    /// The activity of a history that was also active on these days.
    fn with(&self, history: HistoryId, fresh: &BTreeSet<i64>) -> Activity {
        let booked = self.by_history.get(&history).copied();
        let new = || fresh.iter().filter(|day| !self.active.contains(&(history, **day)));
        let new_count = u32::try_from(new().count()).unwrap_or(u32::MAX);
        Activity {
            active_days: booked.map_or(0, |(count, _)| count).saturating_add(new_count),
            first_active_day: booked.map(|(_, first)| first).into_iter().chain(new().copied()).min(),
        }
    }
}

/// The days with a session or a byte that is not booked.
fn unbooked_days(pending: &Pending, calendar: &Calendar) -> BTreeSet<i64> {
    let active = pending.minutes().iter().filter(|one| is_active(&one.tally));
    active
        .map(|one| period_of(calendar, Granularity::Day, one.minute))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_counts_once_booked_or_not() {
        let history = HistoryId(7);
        let booked = Booked {
            by_history: HashMap::from([(history, (2, 10))]),
            active: HashSet::from([(history, 12), (HistoryId(8), 13)]),
        };
        let with = |id, days: &[i64]| {
            let activity = booked.with(id, &days.iter().copied().collect());
            (activity.active_days, activity.first_active_day)
        };
        assert_eq!(with(history, &[]), (2, Some(10)));
        assert_eq!(with(history, &[12]), (2, Some(10)));
        assert_eq!(with(history, &[12, 13]), (3, Some(10)));
        assert_eq!(with(history, &[9]), (3, Some(9)), "a clock that was set back");
        assert_eq!(with(HistoryId(9), &[]), (0, None));
        assert_eq!(with(HistoryId(9), &[13]), (1, Some(13)));
    }
}
