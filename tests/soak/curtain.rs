//! When an act is over: after its time, or as soon as anybody in it fails.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;

/// Falls once, for everybody.
#[derive(Debug, Default)]
pub(crate) struct Curtain {
    has_fallen: Mutex<bool>,
    fell: Condvar,
}

impl Curtain {
    /// Ends the act.
    pub(crate) fn fall(&self) {
        *self.state() = true;
        self.fell.notify_all();
    }

    pub(crate) fn has_fallen(&self) -> bool {
        *self.state()
    }

    /// Lets so much time pass, less where the act ends.
    pub(crate) fn wait(&self, time: Duration) {
        let waited = self.fell.wait_timeout_while(self.state(), time, |fallen| !*fallen);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Acts. Whoever fails, by an error or a panic, ends the act for all.
    pub(crate) fn acting(&self, act: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        let falls = FallsWhenDropped(self);
        let result = act(self);
        if result.is_ok() {
            std::mem::forget(falls);
        }
        result
    }

    fn state(&self) -> MutexGuard<'_, bool> {
        self.has_fallen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct FallsWhenDropped<'all>(&'all Curtain);

impl Drop for FallsWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.fall();
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn whoever_fails_ends_the_act() {
        let curtain = Curtain::default();
        curtain.acting(|_| Ok(())).unwrap();
        assert!(!curtain.has_fallen());
        curtain.wait(Duration::ZERO);
        assert!(curtain.acting(|_| bail!("failed")).is_err());
        assert!(curtain.has_fallen());
        // Returns at once.
        curtain.wait(Duration::from_secs(1_000));
    }

    #[test]
    fn a_panic_does_too() {
        let curtain = Curtain::default();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            curtain.acting(|_| panic!("on purpose"))
        }));
        assert!(panicked.is_err() && curtain.has_fallen());
    }
}
