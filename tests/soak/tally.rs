//! How often what happened: told in the end, and a soak in which something never happened has shown nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};

/// Counts by what was done.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<&'static str, u64>>);

impl Tally {
    /// Once more.
    pub(crate) fn add(&self, what: &'static str) {
        *self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(what)
            .or_default() += 1;
    }

    /// How often.
    pub(crate) fn of(&self, what: &str) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(what).copied().unwrap_or_default()
    }

    /// Fails unless each happened at least so often.
    pub(crate) fn require(&self, all: &[(&'static str, u64)]) -> Result<()> {
        for &(what, least) in all {
            let found = self.of(what);
            ensure!(found >= least, "{what}: {found}, and less than {least} shows nothing");
        }
        Ok(())
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            writeln!(formatter, "{count:>9}  {what}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_happened_is_required_in_vain() {
        let tally = Tally::default();
        tally.add("keys made");
        tally.add("keys made");
        tally.require(&[("keys made", 2)]).unwrap();
        assert!(tally.require(&[("keys made", 3)]).is_err());
        assert!(tally.require(&[("kills", 1)]).is_err());
        assert_eq!(tally.to_string(), "        2  keys made\n");
    }
}
