//! What a soak does when: four acts, all with the same load, with the agent measured at rest in between.
//!
//! 1. *warm-up*: caches fill, threads start. What the agent has at rest afterwards is the measure.
//! 2. *steady*: more of the same in the same process. What has grown by then has leaked.
//! 3. *storm*: the agent and its core are stopped, killed and exchanged, again and again.
//! 4. *aftermath*: as the warm-up, in the last process of the storm, which is as old in the end as the first one was when it
//!    was measured. What it has more than that was left behind by those before it.

use std::time::Duration;

/// How long the agent is looked at between two acts: longer than threads without work stay, which is two seconds.
pub(crate) const REST: Duration = Duration::from_secs(6);

/// How often it is: after the warm-up, after the steady act, in the end.
const RESTS: u32 = 3;

/// Shares of the time that is left: the warm-up and the aftermath have one each, the two others two.
const SHARES: u32 = 6;

/// How long each act is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) warm_up: Duration,
    pub(crate) steady: Duration,
    /// At least: it goes on until everything has happened once.
    pub(crate) storm: Duration,
    pub(crate) aftermath: Duration,
}

impl Plan {
    /// The plan of a soak that takes so many minutes in all, at least one.
    pub(crate) fn of_minutes(minutes: u32) -> Self {
        let share = (Duration::from_secs(60) * minutes.max(1) - REST * RESTS) / SHARES;
        Self {
            warm_up: share,
            steady: share * 2,
            storm: share * 2,
            aftermath: share,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_and_rests_take_the_time_that_was_asked_for() {
        for minutes in [1, 2, 10, 600] {
            let plan = Plan::of_minutes(minutes);
            let acts = plan.warm_up + plan.steady + plan.storm + plan.aftermath;
            assert_eq!(acts + 3 * REST, Duration::from_secs(60) * minutes);
            assert_eq!(plan.warm_up, plan.aftermath);
            assert!(plan.warm_up >= Duration::from_secs(4));
        }
        assert_eq!(Plan::of_minutes(0), Plan::of_minutes(1));
    }
}
