//! How long a core that ended stays down before it is started again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// A core that lived this long was in order: what ended it is not what ended the one before.
const SOUND_LIFE: Duration = Duration::from_secs(60);

/// How many times in a row the core has ended early or has not come up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The core ended after it had lived this long, zero where it never came up: how long to wait.
    pub(super) fn after(&mut self, lived: Duration) -> Duration {
        self.failures = if lived >= SOUND_LIFE {
            1
        } else {
            self.failures.saturating_add(1)
        };
        delay(self.failures)
    }

    /// Whatever was wrong has been put right by hand.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// The wait after so many failures in a row: doubled each time, up to the longest.
fn delay(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST * (1 << doublings)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_half_a_minute_and_begins_anew_after_a_sound_life() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..11).map(|_| backoff.after(Duration::ZERO).as_millis()).collect();
        assert_eq!(
            waits,
            [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]
        );
        assert_eq!(backoff.after(SOUND_LIFE - Duration::from_millis(1)), LONGEST);
        assert_eq!(backoff.after(SOUND_LIFE), FIRST);
        assert_eq!(backoff.after(Duration::ZERO), 2 * FIRST);
        backoff.reset();
        assert_eq!(backoff.after(Duration::ZERO), FIRST);
        let mut worn = Backoff { failures: u32::MAX };
        assert_eq!(worn.after(Duration::ZERO), LONGEST);
    }
}
