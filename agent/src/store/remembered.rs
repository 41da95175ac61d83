//! The rows of the last list of months that was read, for who asks for the same again before the next commit.
//!
//! Months change with commits and with nothing else: clean-up takes finer periods only. Panels ask for the present month
//! of every key again and again, and in between the database would be read for rows that are known. What is not booked
//! is not among them; it is added anew at each answer.

use std::sync::{Arc, Mutex};

use super::history::PageStart;
use super::series::{Granularity, Range};
use super::snapshot::HistoryId;
use crate::ledger::Tally;

/// Rows of more than this are not kept: a list of many months is asked for once.
const KEPT_ROWS_MAX: usize = 20_000;

/// A history's tally of one period.
pub(super) type BookedPeriod = (i64, HistoryId, Tally);

/// What a list is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) granularity: Granularity,
    pub(super) range: Range,
    pub(super) after: PageStart,
    pub(super) limit: usize,
}

/// See the file's header.
#[derive(Default)]
pub(super) struct Remembered(Mutex<Option<Rows>>);

struct Rows {
    /// The commit after which they were read.
    sequence: u64,
    asked: Asked,
    rows: Arc<[BookedPeriod]>,
}

impl Remembered {
    /// The rows that were asked for, where they are known as of this very commit.
    pub(super) fn get(&self, sequence: u64, asked: &Asked) -> Option<Arc<[BookedPeriod]>> {
        let kept = self.lock();
        let kept = kept.as_ref()?;
        (kept.sequence == sequence && kept.asked == *asked).then(|| Arc::clone(&kept.rows))
    }

    /// Keeps months that were read after a commit, in place of those before; other periods are not kept.
    pub(super) fn keep(&self, sequence: u64, asked: Asked, rows: Arc<[BookedPeriod]>) {
        if asked.granularity == Granularity::Month && rows.len() <= KEPT_ROWS_MAX {
            *self.lock() = Some(Rows { sequence, asked, rows });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Rows>> {
        self.0.lock().expect("nothing panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(month: i64) -> Asked {
        Asked {
            granularity: Granularity::Month,
            range: Range {
                first: month,
                last: month,
            },
            after: None,
            limit: 10,
        }
    }

    fn rows(count: i64) -> Arc<[BookedPeriod]> {
        (0..count)
            .map(|number| (7, HistoryId(number), Tally::default()))
            .collect()
    }

    #[test]
    fn only_the_very_same_of_the_very_same_commit_is_known() {
        let remembered = Remembered::default();
        assert!(remembered.get(1, &asked(7)).is_none());
        remembered.keep(1, asked(7), rows(3));
        assert_eq!(remembered.get(1, &asked(7)).unwrap(), rows(3));
        assert!(remembered.get(2, &asked(7)).is_none());
        assert!(remembered.get(1, &asked(8)).is_none());
        let next_page = Asked {
            after: Some((7, HistoryId(2))),
            ..asked(7)
        };
        assert!(remembered.get(1, &next_page).is_none());
    }

    #[test]
    fn days_are_not_kept() {
        let days = Asked {
            granularity: Granularity::Day,
            ..asked(7)
        };
        let remembered = Remembered::default();
        remembered.keep(1, days, rows(3));
        assert!(remembered.get(1, &days).is_none());
    }

    #[test]
    fn what_is_large_is_not_kept_and_what_was_known_stays() {
        let remembered = Remembered::default();
        remembered.keep(1, asked(7), rows(3));
        remembered.keep(1, asked(8), rows(20_001));
        assert!(remembered.get(1, &asked(8)).is_none());
        assert_eq!(remembered.get(1, &asked(7)).unwrap(), rows(3));
    }
}
