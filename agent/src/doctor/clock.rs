//! The clock, which decides to which minute, day and month a byte is booked.

use chrono::{DateTime, Datelike, TimeDelta, Utc};

use super::Finding;
use super::store::Ledger;
use crate::kernel::inspect::{PinnedMaps, is_clock_synchronised};

/// This program was not there before; a clock that shows less was never set.
const EARLIEST_YEAR: i32 = 2025;
/// Whatever shows more is no clock.
const LATEST_YEAR: i32 = 2100;

/// How far ahead of the clock a time of the past may lie: clocks are steered a little.
const TOLERANCE: TimeDelta = TimeDelta::minutes(1);

pub(super) struct Facts {
    now: DateTime<Utc>,
    /// What the kernel says, or why it says nothing.
    is_synchronised: Result<bool, String>,
    /// Times that were noted by this clock in the past, and what was noted.
    past: Vec<(&'static str, DateTime<Utc>)>,
}

pub(super) fn gather(ledger: &Ledger, maps: &PinnedMaps) -> Facts {
    let written = ledger
        .facts
        .as_ref()
        .ok()
        .and_then(|facts| facts.as_ref()?.last_written_at);
    let made = maps.life.as_ref().ok().map(|life| life.created_at_unix_seconds);
    let made = made.and_then(|seconds| DateTime::from_timestamp(i64::try_from(seconds).ok()?, 0));
    Facts {
        now: Utc::now(),
        is_synchronised: is_clock_synchronised().map_err(|error| error.to_string()),
        past: [("the ledger was last written", written), ("the maps were made", made)]
            .into_iter()
            .filter_map(|(what, time)| Some((what, time?)))
            .collect(),
    }
}

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    vec![time(facts), synchronisation(facts)]
}

fn time(facts: &Facts) -> Finding {
    let name = "clock";
    let now = facts.now.format("%F %T UTC");
    let remedy = "set the clock, best by a time service such as systemd-timesyncd or chrony";
    if !(EARLIEST_YEAR..=LATEST_YEAR).contains(&facts.now.year()) {
        return Finding::error(name, format!("it shows {now}, which cannot be"), remedy);
    }
    match facts.past.iter().find(|(_, time)| *time > facts.now + TOLERANCE) {
        Some((what, time)) => Finding::error(
            name,
            format!("it shows {now}, but {what} at {}", time.format("%F %T UTC")),
            remedy,
        ),
        None => Finding::ok(name, format!("it shows {now}")),
    }
}

fn synchronisation(facts: &Facts) -> Finding {
    let name = "synchronisation";
    match &facts.is_synchronised {
        Ok(true) => Finding::ok(name, "the clock follows a reference"),
        Ok(false) => Finding::warning(
            name,
            "the clock follows no reference: days and months may begin early or late",
            "run a time service such as systemd-timesyncd or chrony; in a container, on the host",
        ),
        Err(why) => Finding::warning(name, format!("the kernel does not tell: {why}"), "see `timedatectl`"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn levels(now: &str, is_synchronised: bool, past: &str) -> Vec<Level> {
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let facts = Facts {
            now: time(now),
            is_synchronised: Ok(is_synchronised),
            past: vec![("something was", time(past))],
        };
        check(&facts).iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn the_past_lies_in_the_past() {
        let past = "2026-05-01T00:00:00Z";
        assert_eq!(levels("2026-05-02T00:00:00Z", true, past), [Level::Ok, Level::Ok]);
        assert_eq!(levels("2026-04-30T23:59:30Z", true, past), [Level::Ok, Level::Ok]);
        assert_eq!(levels("2026-04-30T23:00:00Z", true, past)[0], Level::Error);
        assert_eq!(
            levels("1970-01-01T00:10:00Z", false, "1970-01-01T00:00:00Z"),
            [Level::Error, Level::Warning]
        );
    }
}
