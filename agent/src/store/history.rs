//! Answers about the past and the present as one: what is booked, read from one state of the database, and what was
//! sampled since, each byte once.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rusqlite::Transaction;

use super::commits;
use super::cycles::{self, CycleUsage};
use super::remembered::{Asked, BookedPeriod};
use super::series::{self, Granularity, MinuteTotal, Range, Together};
use super::snapshot::{Entry, HistoryId, Key, KeyId, Snapshot};
use super::{Store, StoreError};
use crate::calendar::{Calendar, Day, Minute};
use crate::ledger::{Pending, Tally, Unbooked};

/// The state after the last commit, and what this moment's reading adds to it.
pub struct State {
    /// The keys and their booked figures.
    pub snapshot: Arc<Snapshot>,
    /// What is not booked, by key in the snapshot's order.
    unbooked: Unbooked,
    /// When it was read.
    pub read_at: DateTime<Utc>,
}

/// Whose unbooked figures a reading needs. Only their ports are sampled for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Everybody,
    Key(KeyId),
    Nobody,
}

impl Whose {
    fn includes(self, id: KeyId) -> bool {
        match self {
            Self::Everybody => true,
            Self::Key(key) => key == id,
            Self::Nobody => false,
        }
    }
}

/// A key's totals.
#[derive(Debug, Clone)]
pub struct KeyHistory {
    /// The key.
    pub key: Arc<Key>,
    /// Since the key was made or its history last reset.
    pub total: Tally,
    /// Whether it has a connection now.
    pub is_connected: bool,
}

/// A key's totals, days and month.
#[derive(Debug, Clone)]
pub struct KeyHistoryWith {
    /// The totals.
    pub history: KeyHistory,
    /// The days that were asked for, oldest first.
    pub days: Vec<(i64, Tally)>,
    /// The month that was asked for.
    pub month: Tally,
    /// When all that was read.
    pub read_at: DateTime<Utc>,
}

/// Some rows of a longer list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Whether there are more.
    pub has_more: bool,
}

/// Where a page of [`Store::each_key_periods`] begins: after this row.
pub type PageStart = Option<(i64, HistoryId)>;

impl State {
    /// The keys with what is not booked of each.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Entry, &Pending)> {
        let pending = self.unbooked.ports.iter().map(|(pending, _)| pending);
        self.snapshot.entries.iter().zip(pending)
    }

    fn position(&self, id: KeyId) -> Option<usize> {
        self.snapshot.position(id)
    }

    fn history(&self, position: usize) -> Option<KeyHistory> {
        let entry = self.snapshot.entries.get(position)?;
        let (pending, is_connected) = self.unbooked.ports.get(position)?;
        let mut total = entry.figures.history_total();
        total.add(&pending.sum());
        Some(KeyHistory {
            key: Arc::clone(&entry.key),
            total,
            is_connected: *is_connected,
        })
    }

    /// One key's totals; `None` when there is no such key.
    pub fn key_history(&self, id: KeyId) -> Option<KeyHistory> {
        self.history(self.position(id)?)
    }

    /// Every key's totals, in creation order.
    pub fn histories(&self) -> Vec<KeyHistory> {
        (0..self.snapshot.entries.len())
            .filter_map(|position| self.history(position))
            .collect()
    }
}

impl Store {
    /// The present state, without the database.
    pub fn state(&self) -> State {
        loop {
            if let Some(state) = self.state_after(&self.snapshot(), Whose::Everybody) {
                return state;
            }
            // A commit came in between; the next look finds its snapshot.
            std::hint::spin_loop();
        }
    }

    fn state_after(&self, snapshot: &Arc<Snapshot>, whose: Whose) -> Option<State> {
        let read_at = self.clock.now();
        let included = |entry: &Entry| entry.key.port.filter(|_| whose.includes(entry.key.id));
        let ports = snapshot.entries.iter().map(included);
        let unbooked = self
            .samples
            .unbooked(snapshot.sequence, read_at, &*self.reader, ports)?;
        Some(State {
            snapshot: Arc::clone(snapshot),
            unbooked,
            read_at,
        })
    }

    /// Reads the database together with the present state, both after the same commit.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        whose: Whose,
        work: impl Fn(&Transaction<'_>, &State) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            loop {
                let result = store.readers.read(|transaction| {
                    let sequence = commits::last_sequence(transaction)?;
                    let snapshot = store.snapshot();
                    if snapshot.sequence != sequence {
                        return Ok(None);
                    }
                    let Some(state) = store.state_after(&snapshot, whose) else {
                        return Ok(None);
                    };
                    work(transaction, &state).map(Some)
                })?;
                match result {
                    Some(answer) => return Ok(answer),
                    // A commit is being published: its snapshot follows at once.
                    None => std::thread::yield_now(),
                }
            }
        });
        reading.await.map_err(|_| StoreError::Closed)?
    }

    /// Periods of one key in a range, oldest first. [`StoreError::KeyNotFound`] when there is no such key.
    pub async fn key_periods(
        self: &Arc<Self>,
        id: KeyId,
        granularity: Granularity,
        range: Range,
        limit: usize,
    ) -> Result<Page<(i64, Tally)>, StoreError> {
        let calendar = self.calendar;
        self.read(Whose::Key(id), move |transaction, state| {
            let position = state.position(id).ok_or(StoreError::KeyNotFound)?;
            let history = state.snapshot.entries[position].figures.history.id;
            let booked = series::of_history(transaction, granularity, history, range, limit.saturating_add(1))?;
            let (booked, has_more, covered) = page(booked, range, limit, |(period, _)| *period);
            let pending = &state.unbooked.ports[position].0;
            Ok(Page {
                rows: with_pending(booked, pending, &calendar, granularity, covered),
                has_more,
            })
        })
        .await
    }

    /// A key's totals together with its days and one month, all of one state.
    pub async fn key_history_with(
        self: &Arc<Self>,
        id: KeyId,
        days: Option<Range>,
        month: Option<i64>,
    ) -> Result<KeyHistoryWith, StoreError> {
        let calendar = self.calendar;
        self.read(Whose::Key(id), move |transaction, state| {
            let position = state.position(id).ok_or(StoreError::KeyNotFound)?;
            let periods = |granularity, range| {
                let history = state.snapshot.entries[position].figures.history.id;
                let rows = series::of_history(transaction, granularity, history, range, usize::MAX)?;
                let pending = &state.unbooked.ports[position].0;
                Ok::<_, StoreError>(with_pending(rows, pending, &calendar, granularity, range))
            };
            let one = |month| Range {
                first: month,
                last: month,
            };
            let months = month.map(|month| periods(Granularity::Month, one(month))).transpose()?;
            Ok(KeyHistoryWith {
                history: state.history(position).ok_or(StoreError::KeyNotFound)?,
                days: days
                    .map(|range| periods(Granularity::Day, range))
                    .transpose()?
                    .unwrap_or_default(),
                month: months.and_then(|months| Some(months.first()?.1)).unwrap_or_default(),
                read_at: state.read_at,
            })
        })
        .await
    }

    /// Periods of all keys together in a range, oldest first; deleted keys and what was before resets included.
    pub async fn all_periods(
        self: &Arc<Self>,
        granularity: Granularity,
        range: Range,
        limit: usize,
    ) -> Result<Page<(i64, Together)>, StoreError> {
        let calendar = self.calendar;
        self.read(Whose::Everybody, move |transaction, state| {
            let booked = series::of_all(transaction, granularity, range, limit.saturating_add(1))?;
            let (booked, has_more, covered) = page(booked, range, limit, |(period, _)| *period);
            let mut rows: BTreeMap<i64, Together> = booked.into_iter().collect();
            for (period, fresh) in unbooked_by_period(state, &calendar, granularity, covered) {
                let row = rows.entry(period).or_default();
                let active = series::active_keys(transaction, granularity, period)?;
                for (key, tally) in fresh {
                    row.tally.add(&tally);
                    let is_new = is_active(&tally) && !active.contains(&key.0.to_string());
                    row.active_keys += u64::from(is_new);
                }
            }
            Ok(Page {
                rows: rows.into_iter().collect(),
                has_more,
            })
        })
        .await
    }

    /// Periods of every key by itself in a range, by period, oldest first.
    pub async fn each_key_periods(
        self: &Arc<Self>,
        granularity: Granularity,
        range: Range,
        after: PageStart,
        limit: usize,
    ) -> Result<(Vec<(i64, KeyId, Tally)>, PageStart), StoreError> {
        let asked = Asked {
            granularity,
            range,
            after,
            limit,
        };
        let snapshot = self.snapshot();
        if let Some(booked) = self.remembered.get(snapshot.sequence, &asked)
            && let Some(state) = self.state_after(&snapshot, Whose::Everybody)
        {
            return Ok(each_key(&booked, &state, &self.calendar, &asked));
        }
        let store = Arc::clone(self);
        self.read(Whose::Everybody, move |transaction, state| {
            let booked = series::of_each(transaction, granularity, range, after, limit.saturating_add(1))?;
            let booked: Arc<[BookedPeriod]> = booked.into();
            store
                .remembered
                .keep(state.snapshot.sequence, asked, Arc::clone(&booked));
            Ok(each_key(&booked, state, &store.calendar, &asked))
        })
        .await
    }

    /// The minutes of all keys together in a range, for live views.
    pub async fn minute_totals(self: &Arc<Self>, range: Range) -> Result<BTreeMap<i64, MinuteTotal>, StoreError> {
        self.read(Whose::Everybody, move |transaction, state| {
            let mut totals: BTreeMap<i64, MinuteTotal> =
                series::minute_totals(transaction, range)?.into_iter().collect();
            for (_, pending) in state.entries() {
                for one in pending.minutes().iter().filter(|one| range.contains(one.minute.0)) {
                    totals.entry(one.minute.0).or_default().total_bytes += one.tally.traffic.total_bytes();
                }
            }
            for (minute, peak) in state
                .unbooked
                .peaks
                .iter()
                .filter(|(minute, _)| range.contains(minute.0))
            {
                let total = totals.entry(minute.0).or_default();
                total.max_connections = total.max_connections.max(peak.connections);
                total.max_online_keys = total.max_online_keys.max(peak.online_keys);
            }
            Ok(totals)
        })
        .await
    }

    /// What each key did over a range; keys that did nothing are left out.
    pub async fn tallies_over(
        self: &Arc<Self>,
        granularity: Granularity,
        range: Range,
    ) -> Result<Vec<(Arc<Key>, Tally)>, StoreError> {
        let calendar = self.calendar;
        self.read(Whose::Everybody, move |transaction, state| {
            let mut booked = series::by_history(transaction, granularity, range)?;
            let tallies = state.entries().filter_map(|(entry, pending)| {
                let mut tally = booked.remove(&entry.figures.history.id).unwrap_or_default();
                for one in pending.minutes() {
                    if range.contains(period_of(&calendar, granularity, one.minute)) {
                        tally.add(&one.tally);
                    }
                }
                (!tally.is_empty()).then(|| (Arc::clone(&entry.key), tally))
            });
            Ok(tallies.collect())
        })
        .await
    }

    /// A key and its billing cycles, newest first, the running one in front.
    pub async fn cycles(self: &Arc<Self>, id: KeyId, limit: usize) -> Result<(Arc<Key>, Vec<CycleUsage>), StoreError> {
        self.read(Whose::Key(id), move |transaction, state| {
            let position = state.position(id).ok_or(StoreError::KeyNotFound)?;
            let key = Arc::clone(&state.snapshot.entries[position].key);
            let mut cycles = cycles::of_key(transaction, id, limit)?;
            if let Some(cycle) = &key.cycle {
                let pending = state.unbooked.ports[position].0.minutes();
                let now = std::iter::once((cycle.cycle_at(state.read_at), Tally::default()));
                let fresh = pending
                    .iter()
                    .map(|one| (cycle.cycle_at(one.minute.start()), one.tally));
                for (span, tally) in now.chain(fresh) {
                    match cycles.iter_mut().find(|known| known.span.start == span.start) {
                        Some(known) => known.usage.add(&tally),
                        None => cycles.push(CycleUsage { span, usage: tally }),
                    }
                }
                cycles.sort_by_key(|cycle| std::cmp::Reverse(cycle.span.start));
                cycles.truncate(limit);
            }
            Ok((key, cycles))
        })
        .await
    }

    /// The newest day on which a key moved anything or was connected; `None` when there is none.
    pub async fn newest_day(self: &Arc<Self>) -> Result<Option<Day>, StoreError> {
        let calendar = self.calendar;
        self.read(Whose::Everybody, move |transaction, state| {
            let booked = series::newest(transaction, Granularity::Day)?;
            let minutes = state.entries().flat_map(|(_, pending)| pending.minutes());
            let fresh = minutes
                .map(|one| period_of(&calendar, Granularity::Day, one.minute))
                .max();
            let newest = booked.max(fresh);
            Ok(newest.and_then(|day| i32::try_from(day).ok()).map(Day))
        })
        .await
    }

    /// The oldest period that has a row.
    pub async fn oldest_period(self: &Arc<Self>, granularity: Granularity) -> Result<Option<i64>, StoreError> {
        self.read(Whose::Nobody, move |transaction, _| {
            Ok(series::oldest(transaction, granularity)?)
        })
        .await
    }
}

/// Booked rows with what is not booked of the same key, as far as it lies in the range.
fn with_pending(
    booked: Vec<(i64, Tally)>,
    pending: &Pending,
    calendar: &Calendar,
    granularity: Granularity,
    range: Range,
) -> Vec<(i64, Tally)> {
    let mut rows: BTreeMap<i64, Tally> = booked.into_iter().collect();
    for one in pending.minutes() {
        let period = period_of(calendar, granularity, one.minute);
        if range.contains(period) {
            rows.entry(period).or_default().add(&one.tally);
        }
    }
    rows.into_iter().collect()
}

/// What is not booked by period, of each key.
fn unbooked_by_period(
    state: &State,
    calendar: &Calendar,
    granularity: Granularity,
    range: Range,
) -> BTreeMap<i64, BTreeMap<KeyId, Tally>> {
    let mut by_period: BTreeMap<i64, BTreeMap<KeyId, Tally>> = BTreeMap::new();
    for (entry, pending) in state.entries() {
        for one in pending.minutes() {
            let period = period_of(calendar, granularity, one.minute);
            if range.contains(period) {
                let keys = by_period.entry(period).or_default();
                keys.entry(entry.key.id).or_default().add(&one.tally);
            }
        }
    }
    by_period
}

pub(super) fn is_active(tally: &Tally) -> bool {
    tally.sessions > 0 || tally.traffic.total_bytes() > 0
}

/// The period that a minute belongs to, as a number.
pub(super) fn period_of(calendar: &Calendar, granularity: Granularity, minute: Minute) -> i64 {
    let at = minute.start();
    match granularity {
        Granularity::Minute => minute.0,
        Granularity::Hour => calendar.hour(at).0,
        Granularity::Day => calendar.day(at).0.into(),
        Granularity::Month => calendar.month(at).0.into(),
    }
}

/// Cuts one row more than wanted off, and tells how far the page reaches.
fn page<T>(mut rows: Vec<T>, range: Range, limit: usize, period: impl Fn(&T) -> i64) -> (Vec<T>, bool, Range) {
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let last = match rows.last() {
        Some(row) if has_more => period(row),
        _ => range.last,
    };
    let covered = Range { last, ..range };
    (rows, has_more, covered)
}

/// A page of what was asked for: what is booked and what is not, of keys that are there.
fn each_key(
    booked: &[BookedPeriod],
    state: &State,
    calendar: &Calendar,
    asked: &Asked,
) -> (Vec<(i64, KeyId, Tally)>, PageStart) {
    let has_more = booked.len() > asked.limit;
    let booked = &booked[..booked.len().min(asked.limit)];
    let next = booked
        .last()
        .filter(|_| has_more)
        .map(|(period, history, _)| (*period, *history));
    let mut rows: BTreeMap<(i64, HistoryId), Tally> = booked
        .iter()
        .map(|(period, history, tally)| ((*period, *history), *tally))
        .collect();
    for (entry, pending) in state.entries() {
        for one in pending.minutes() {
            let period = period_of(calendar, asked.granularity, one.minute);
            let place = (period, entry.figures.history.id);
            let is_here = asked.after.is_none_or(|after| place > after) && next.is_none_or(|next| place <= next);
            if is_here && asked.range.contains(period) {
                rows.entry(place).or_default().add(&one.tally);
            }
        }
    }
    let keys = state.snapshot.keys_by_history();
    let rows = rows.into_iter().filter_map(|((period, history), tally)| {
        let position = *keys.get(&history)?;
        Some((period, state.snapshot.entries[position].key.id, tally))
    });
    (rows.collect(), next)
}
