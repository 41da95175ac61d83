//! What the rounds come to: medians for each contender, and the goal.

use std::time::Duration;

use crate::bench::statistics::{median, verdict};

/// What one contender lost in one round, and how much there was to lose; in bytes of its own layer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    /// Received in the whole round.
    pub(super) true_bytes: u64,
    /// Received, and not shown in the end.
    pub(super) lost_bytes: u64,
    /// Received between the last save and the kill.
    pub(super) since_save_bytes: u64,
    /// Received between the kill and when it counted again.
    pub(super) while_down_bytes: u64,
    pub(super) down: Duration,
}

impl Outcome {
    /// What was lost can have been missed while nothing ran; what is more than that was lost with the memory.
    fn missed_bytes(&self) -> u64 {
        self.lost_bytes.min(self.while_down_bytes)
    }

    fn lost_in_memory_bytes(&self) -> u64 {
        self.lost_bytes - self.missed_bytes()
    }
}

/// All rounds, by contender, in the order in which they were first added.
#[derive(Default)]
pub(super) struct Outcomes(Vec<(&'static str, Vec<Outcome>)>);

impl Outcomes {
    pub(super) fn add(&mut self, title: &'static str, outcome: Outcome) {
        match self.0.iter_mut().find(|(known, _)| *known == title) {
            Some((_, outcomes)) => outcomes.push(outcome),
            None => self.0.push((title, vec![outcome])),
        }
    }
}

/// One contender's round.
pub(super) fn line(round: usize, title: &str, one: &Outcome) {
    println!(
        "round {round}: {title:<10} lost {:>10} of {:>11} bytes, {:>10} in memory and {:>8} missed; down for {} ms",
        one.lost_bytes,
        one.true_bytes,
        one.lost_in_memory_bytes(),
        one.missed_bytes(),
        one.down.as_millis(),
    );
}

/// The medians.
pub(super) fn table(all: &Outcomes) {
    println!(
        "\n{:<10} {:>14} {:>12} {:>12} {:>12} {:>12}   goal",
        "bytes", "since save", "while down", "lost", "in memory", "missed"
    );
    for (title, outcomes) in &all.0 {
        let middle = |figure: fn(&Outcome) -> u64| {
            let figures: Vec<f64> = outcomes.iter().map(|outcome| figure(outcome) as f64).collect();
            median(&figures)
        };
        println!(
            "{title:<10} {:>14.0} {:>12.0} {:>12.0} {:>12.0} {:>12.0}   {}",
            middle(|one| one.since_save_bytes),
            middle(|one| one.while_down_bytes),
            middle(|one| one.lost_bytes),
            middle(|one| one.lost_in_memory_bytes()),
            middle(|one| one.missed_bytes()),
            goal(title, outcomes)
        );
    }
    println!("vnStat's are bytes of the interface, link headers included, the others' of the IP layer to the port");
}

/// Portmeter's is one of every round, not of their median.
fn goal(title: &str, outcomes: &[Outcome]) -> String {
    if title != super::portmeter::TITLE {
        return String::new();
    }
    let is_met = outcomes.iter().all(|outcome| outcome.lost_bytes == 0);
    format!("0 lost in every round {}", verdict(is_met))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(lost_bytes: u64) -> Outcome {
        Outcome {
            true_bytes: 100,
            lost_bytes,
            since_save_bytes: 10,
            while_down_bytes: 2,
            down: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_loss_is_first_what_passed_while_nothing_ran() {
        let split = |lost| (outcome(lost).missed_bytes(), outcome(lost).lost_in_memory_bytes());
        assert_eq!(split(12), (2, 10));
        assert_eq!(split(1), (1, 0));
        assert_eq!(split(0), (0, 0));
    }

    #[test]
    fn one_lossy_round_misses_the_goal() {
        assert!(goal("Portmeter", &[outcome(0), outcome(0)]).ends_with(" met"));
        assert!(goal("Portmeter", &[outcome(0), outcome(1), outcome(0)]).ends_with("NOT MET"));
        assert_eq!(goal("pmacct", &[outcome(1)]), "");
    }
}
