//! What importing changes, where the same source has been imported before: only the difference is booked.
//!
//! A source's days are replaced by what it says now. Wholes (months, the total) follow their parts and what the file
//! states of them, and are otherwise never lowered: files forget old days, and the old server's figures can be reset.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{Figures, ImportedHistory};
use crate::calendar::{Day, Month};

/// What a source has booked for a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Booked {
    /// By day.
    pub days: BTreeMap<Day, Figures>,
    /// By month, its days included.
    pub months: BTreeMap<Month, Figures>,
    /// In all, the months included.
    pub total: Figures,
}

/// What is added to a row, or taken from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// Bytes from the client.
    pub rx_bytes: i64,
    /// Bytes to the client.
    pub tx_bytes: i64,
    /// Sessions.
    pub sessions: i64,
    /// The row's highest number of connections is at least this.
    pub max_connections: u64,
}

impl Change {
    fn between(before: &Figures, after: &Figures) -> Self {
        // No figure exceeds an exbibyte, see `fields`.
        let difference = |before: u64, after: u64| after.cast_signed() - before.cast_signed();
        Self {
            rx_bytes: difference(before.rx_bytes, after.rx_bytes),
            tx_bytes: difference(before.tx_bytes, after.tx_bytes),
            sessions: difference(before.sessions, after.sessions),
            max_connections: after.max_connections,
        }
    }

    /// Whether it adds nothing.
    pub fn only_takes(&self) -> bool {
        let figures = [self.rx_bytes, self.tx_bytes, self.sessions];
        figures.iter().all(|figure| *figure <= 0) && figures.iter().any(|figure| *figure < 0)
    }

    /// What is taken, as figures.
    fn taken(&self) -> Figures {
        let taken = |change: i64| change.min(0).unsigned_abs();
        Figures {
            rx_bytes: taken(self.rx_bytes),
            tx_bytes: taken(self.tx_bytes),
            max_connections: 0,
            sessions: taken(self.sessions),
        }
    }
}

/// What an import changes for a key. Rows that stay as they are, are not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Of day rows.
    pub days: BTreeMap<Day, Change>,
    /// Of month rows.
    pub months: BTreeMap<Month, Change>,
    /// Of the total.
    pub total: Option<Change>,
}

impl Changes {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Gives what changes, and what will be booked then. A day is lowered only where `may_lower`.
pub(super) fn settle(before: &Booked, history: &ImportedHistory, may_lower: bool) -> (Changes, Booked) {
    let (mut changes, mut after) = (Changes::default(), before.clone());
    let mut taken_of_months = BTreeMap::<Month, Figures>::new();
    let mut months: BTreeSet<Month> = history.months.keys().copied().collect();
    for (day, stated) in &history.days {
        let known = before.days.get(day).copied().unwrap_or_default();
        let now = match may_lower {
            true => Figures {
                max_connections: stated.max_connections.max(known.max_connections),
                ..*stated
            },
            false => stated.at_least(&known),
        };
        months.insert(day.month());
        if now != known {
            let change = Change::between(&known, &now);
            taken_of_months.entry(day.month()).or_default().add(&change.taken());
            changes.days.insert(*day, change);
            after.days.insert(*day, now);
        }
    }
    let mut taken_of_total = Figures::default();
    for month in months {
        let known = before.months.get(&month).copied().unwrap_or_default();
        let taken = taken_of_months.remove(&month).unwrap_or_default();
        let days = Figures::sum(
            after
                .days
                .range(month.first_day()..=month.last_day())
                .map(|(_, day)| day),
        );
        let stated = history.months.get(&month).copied().unwrap_or_default();
        let now = whole(&known, &taken, &days, &stated);
        if now != known {
            let change = Change::between(&known, &now);
            taken_of_total.add(&change.taken());
            changes.months.insert(month, change);
            after.months.insert(month, now);
        }
    }
    let months = Figures::sum(after.months.values());
    after.total = whole(&before.total, &taken_of_total, &months, &history.total);
    if after.total != before.total {
        changes.total = Some(Change::between(&before.total, &after.total));
    }
    (changes, after)
}

/// A whole that was `before`, of whose parts some was taken, that has these parts now and is stated to be so much.
fn whole(before: &Figures, taken: &Figures, parts: &Figures, stated: &Figures) -> Figures {
    let left = Figures {
        rx_bytes: before.rx_bytes.saturating_sub(taken.rx_bytes),
        tx_bytes: before.tx_bytes.saturating_sub(taken.tx_bytes),
        max_connections: before.max_connections,
        sessions: before.sessions.saturating_sub(taken.sessions),
    };
    left.at_least(parts).at_least(stated)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::super::plan::Owner;
    use super::*;

    fn rx(rx_bytes: u64) -> Figures {
        Figures {
            rx_bytes,
            ..Figures::default()
        }
    }

    fn history(days: &[(&str, u64)], months: &[(&str, u64)], total: u64) -> ImportedHistory {
        ImportedHistory {
            owner: Owner::Uuid(Uuid::nil()),
            name: String::new(),
            source: String::new(),
            days: days
                .iter()
                .map(|(day, bytes)| (day.parse().unwrap(), rx(*bytes)))
                .collect(),
            months: months
                .iter()
                .map(|(month, bytes)| (month.parse().unwrap(), rx(*bytes)))
                .collect(),
            total: rx(total),
            last_activity: None,
        }
    }

    /// Days, months and total that are booked, in rx bytes.
    fn booked(booked: &Booked) -> (Vec<u64>, Vec<u64>, u64) {
        (
            booked.days.values().map(|day| day.rx_bytes).collect(),
            booked.months.values().map(|month| month.rx_bytes).collect(),
            booked.total.rx_bytes,
        )
    }

    #[test]
    fn what_is_older_than_the_days_is_in_the_total_alone() {
        let first = history(&[("2026-01-31", 5), ("2026-02-01", 7)], &[], 100);
        let (changes, after) = settle(&Booked::default(), &first, true);
        assert_eq!(booked(&after), (vec![5, 7], vec![5, 7], 100));
        assert_eq!(changes.total.unwrap().rx_bytes, 100);
    }

    #[test]
    fn again_is_nothing_and_more_is_the_difference() {
        let first = history(&[("2026-01-31", 5), ("2026-02-01", 7)], &[], 12);
        let (_, after) = settle(&Booked::default(), &first, true);
        let (changes, again) = settle(&after, &first, true);
        assert!(changes.is_empty(), "{changes:?}");
        assert_eq!(again, after);
        // The old server went on, and has forgotten January meanwhile.
        let later = history(&[("2026-02-01", 9), ("2026-02-02", 1)], &[], 15);
        let (changes, after) = settle(&after, &later, true);
        assert_eq!(booked(&after), (vec![5, 9, 1], vec![5, 10], 15));
        let days: Vec<_> = changes.days.values().map(|change| change.rx_bytes).collect();
        let months: Vec<_> = changes.months.values().map(|change| change.rx_bytes).collect();
        assert_eq!(
            (days, months, changes.total.unwrap().rx_bytes),
            (vec![2, 1], vec![3], 3)
        );
    }

    #[test]
    fn a_corrected_day_lowers_its_month_and_the_total() {
        let (_, before) = settle(&Booked::default(), &history(&[("2026-01-31", 50)], &[], 80), true);
        let corrected = history(&[("2026-01-31", 20)], &[], 0);
        assert_eq!(booked(&settle(&before, &corrected, true).1), (vec![20], vec![20], 50));
        // Not after a reset: what was imported before is hidden, and cannot be taken from what is shown.
        assert!(settle(&before, &corrected, false).0.is_empty());
    }

    /// A file with fewer periods than the last one, then one with more: what was booked to the whole finds its day.
    #[test]
    fn days_that_come_later_are_within_what_was_booked() {
        let (_, before) = settle(&Booked::default(), &history(&[], &[("2026-01", 40)], 100), true);
        let (changes, after) = settle(&before, &history(&[("2026-01-03", 30)], &[("2026-01", 40)], 100), true);
        assert_eq!(booked(&after), (vec![30], vec![40], 100));
        assert!(changes.months.is_empty() && changes.total.is_none(), "{changes:?}");
        let (_, after) = settle(&after, &history(&[("2025-12-31", 60)], &[], 100), true);
        assert_eq!(booked(&after), (vec![60, 30], vec![60, 40], 100));
    }

    fn figures() -> impl Strategy<Value = Figures> {
        (0_u64..1_000, 0_u64..1_000, 0_u64..9, 0_u64..9).prop_map(|(rx_bytes, tx_bytes, max_connections, sessions)| {
            Figures {
                rx_bytes,
                tx_bytes,
                max_connections,
                sessions,
            }
        })
    }

    fn histories() -> impl Strategy<Value = ImportedHistory> {
        let days = prop::collection::btree_map((0..90).prop_map(Day), figures(), 0..20);
        let months = prop::collection::btree_map((0..3).prop_map(Month), figures(), 0..3);
        (days, months, figures()).prop_map(|(days, months, total)| ImportedHistory {
            days,
            months,
            total,
            ..history(&[], &[], 0)
        })
    }

    fn apply(rows: &mut Figures, change: &Change) {
        rows.rx_bytes = rows.rx_bytes.checked_add_signed(change.rx_bytes).unwrap();
        rows.tx_bytes = rows.tx_bytes.checked_add_signed(change.tx_bytes).unwrap();
        rows.sessions = rows.sessions.checked_add_signed(change.sessions).unwrap();
        rows.max_connections = rows.max_connections.max(change.max_connections);
    }

    proptest! {
        /// Whatever files come in whatever order: rows that take every change end as what is booked, no row goes below
        /// zero, wholes hold their parts, and the last file again is nothing.
        #[test]
        fn changes_lead_to_what_is_booked(files in prop::collection::vec((histories(), any::<bool>()), 1..6)) {
            let (mut now, mut rows) = (Booked::default(), Booked::default());
            for (file, may_lower) in &files {
                let (changes, after) = settle(&now, file, *may_lower);
                for (day, change) in &changes.days {
                    apply(rows.days.entry(*day).or_default(), change);
                }
                for (month, change) in &changes.months {
                    apply(rows.months.entry(*month).or_default(), change);
                }
                if let Some(change) = &changes.total {
                    apply(&mut rows.total, change);
                }
                prop_assert_eq!(&rows, &after);
                prop_assert!(settle(&after, file, *may_lower).0.is_empty());
                let months = Figures::sum(after.months.values());
                prop_assert_eq!(after.total.at_least(&months), after.total);
                for (month, figures) in &after.months {
                    let days = after.days.range(month.first_day()..=month.last_day());
                    let days = Figures::sum(days.map(|(_, day)| day));
                    prop_assert_eq!(figures.at_least(&days), *figures);
                }
                now = after;
            }
        }
    }
}
