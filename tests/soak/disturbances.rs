//! When something that is asked may be unable to answer: while it is stopped, killed and started, and at no other time.
//!
//! Every call that fails has to have met a disturbance between its begin and its end. One that has not found the product
//! failing by itself.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portmeter_tests::wait::patient;

/// How long a disturbance may last: a stop, a start, and a core that comes back.
const LONGEST: Duration = Duration::from_secs(60);

/// The disturbances of one program.
#[derive(Debug, Default)]
pub(crate) struct Disturbances {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    begun: u64,
    ended: u64,
}

impl State {
    fn is_calm(&self) -> bool {
        self.begun == self.ended
    }
}

/// A moment to look back to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    begun: u64,
    was_calm: bool,
}

/// A disturbance under way; over when dropped.
#[derive(Debug)]
pub(crate) struct Disturbance<'all>(&'all Disturbances);

impl Disturbances {
    /// Begins one.
    pub(crate) fn begin(&self) -> Disturbance<'_> {
        self.state().begun += 1;
        Disturbance(self)
    }

    /// This moment.
    pub(crate) fn mark(&self) -> Mark {
        let state = self.state();
        Mark {
            begun: state.begun,
            was_calm: state.is_calm(),
        }
    }

    /// Whether there was one at that moment or any time since.
    pub(crate) fn since(&self, mark: Mark) -> bool {
        !mark.was_calm || self.state().begun != mark.begun
    }

    /// Waits until there is none.
    pub(crate) fn wait_until_calm(&self) -> Result<()> {
        let (state, timeout) = self
            .changed
            .wait_timeout_while(self.state(), patient(LONGEST), |state| !state.is_calm())
            .unwrap_or_else(PoisonError::into_inner);
        drop(state);
        ensure!(!timeout.timed_out(), "a disturbance does not end");
        Ok(())
    }

    /// Asks until there is an answer. A call that fails without a disturbance is a failure; after one it is made again.
    pub(crate) fn answered<T>(&self, what: &str, mut call: impl FnMut() -> Result<T>) -> Result<T> {
        loop {
            let mark = self.mark();
            match call() {
                Ok(answer) => return Ok(answer),
                Err(_) if self.since(mark) => self.wait_until_calm()?,
                Err(error) => return Err(error).with_context(|| format!("{what}, and nobody disturbed it")),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Disturbance<'_> {
    fn drop(&mut self) {
        self.0.state().ended += 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_disturbance_is_seen_from_before_it_to_after_it() {
        let all = Disturbances::default();
        let before = all.mark();
        assert!(!all.since(before));
        let disturbance = all.begin();
        let meanwhile = all.mark();
        assert!(all.since(before) && all.since(meanwhile));
        drop(disturbance);
        let after = all.mark();
        assert!(all.since(before) && all.since(meanwhile) && !all.since(after));
        all.wait_until_calm().unwrap();
    }

    #[test]
    fn a_call_is_made_again_after_a_disturbance_and_only_then() {
        let all = Disturbances::default();
        let mut calls = 0;
        let answer = all.answered("a call", || {
            calls += 1;
            if calls == 1 {
                drop(all.begin());
                bail!("cut off");
            }
            Ok(calls)
        });
        assert_eq!(answer.unwrap(), 2);

        let mut calls = 0;
        let answer = all.answered("a call", || -> Result<()> {
            calls += 1;
            bail!("by itself")
        });
        assert!(format!("{:#}", answer.unwrap_err()).contains("nobody disturbed it"));
        assert_eq!(calls, 1);
    }
}
