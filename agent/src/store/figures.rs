//! How long commits took, and how many failed: for who watches the disk.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portmeter_metrics::{Durations, Recorded};

use super::StoreError;

/// Figures of the commits that book, since the store was opened.
#[derive(Debug, Default)]
pub struct CommitFigures {
    durations: Durations,
    failure_count: AtomicU64,
}

impl CommitFigures {
    /// Notes how one has ended. A change that was refused for what it is has not failed: it has nothing to do with the
    /// disk, and nothing was to be committed.
    pub(super) fn note(&self, ended: &Result<(), StoreError>, took: Duration) {
        match ended {
            Ok(()) => self.durations.record(took),
            Err(StoreError::Database(_)) => drop(self.failure_count.fetch_add(1, Ordering::Relaxed)),
            Err(_) => {}
        }
    }

    /// How long those took that went through.
    pub fn durations(&self) -> Recorded {
        self.durations.read()
    }

    /// How many SQLite could not make.
    pub fn failure_count(&self) -> u64 {
        self.failure_count.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_no_failure_of_the_disk() {
        let figures = CommitFigures::default();
        let took = Duration::from_millis(3);
        figures.note(&Ok(()), took);
        figures.note(&Err(StoreError::KeyNotFound), took);
        figures.note(&Err(StoreError::Database(rusqlite::Error::InvalidQuery)), took);
        assert_eq!((figures.durations().count(), figures.failure_count()), (1, 1));
        assert_eq!(figures.durations().sum_seconds(), 0.003);
    }
}
