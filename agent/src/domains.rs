//! Records which domains keys connect to: reads the core's access log on, counts, and books, once every commit interval.
//!
//! Nothing of it happens unless the operator has switched it on. A line counts for the day that it was written on, for
//! the key whose uuid it names; of the client nothing is kept.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Local, TimeDelta, Utc};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::calendar::{Calendar, Day};
use crate::retention::first_of_newest_days;
use crate::store::{Store, Visits};
use crate::xray::access_log::{self, Follower, Place};
use crate::xray::document::Document;
use crate::xray::files;

/// How far a line's time may be ahead of the agent's and still be believed.
const AHEAD_MAX: TimeDelta = TimeDelta::minutes(1);

/// Whether and how domains are recorded.
pub struct Recording {
    /// Where they are booked.
    pub store: Arc<Store>,
    /// Whether they are.
    pub is_enabled: bool,
    /// The core's configuration, which may name a file of the operator's.
    pub configuration: PathBuf,
    /// The agent's own file.
    pub own_file: PathBuf,
    /// How often the log is read.
    pub interval: Duration,
    /// Days that are kept, today included.
    pub retention_days: u32,
}

/// Records until `shutdown`; where nothing is to be recorded it sees to it that nothing is.
pub async fn run(recording: Recording, shutdown: CancellationToken) {
    if !recording.is_enabled {
        return access_log::empty_leftover(recording.own_file, shutdown).await;
    }
    match recording.follower().await {
        Some(follower) => recording.record(follower, shutdown).await,
        None => {
            tracing::warn!(
                "domains are not recorded: the core's configuration names no file in `log.access`; set one there and \
                 start the agent again"
            );
            shutdown.cancelled().await;
        }
    }
}

impl Recording {
    /// Follows the file that the configuration names, from where an earlier agent has left it.
    async fn follower(&self) -> Option<Follower> {
        let text = files::read(&self.configuration).ok().flatten()?;
        let document = Document::parse(&text).ok()?;
        let access = document.access_log();
        let path = PathBuf::from(access);
        if !path.is_absolute() {
            return None;
        }
        let place = self.store.domain_log_place().await.ok().flatten();
        Some(Follower::new(path, access_log::is_ours(access), place))
    }

    async fn record(&self, mut follower: Follower, shutdown: CancellationToken) {
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            // All that there is, a piece at a time; a long log does not hold up the end.
            loop {
                let (returned, piece) = match tokio::task::spawn_blocking(move || {
                    let piece = follower.next_piece();
                    (follower, piece)
                })
                .await
                {
                    Ok(read) => read,
                    Err(error) => return tracing::error!(%error, "the core's access log is no longer read"),
                };
                follower = returned;
                match piece {
                    Ok(Some((text, place))) if !shutdown.is_cancelled() => {
                        if let Err(error) = self.book(&text, place).await {
                            tracing::warn!(%error, "visited domains could not be booked; the next interval tries again");
                            break;
                        }
                        if let Err(error) = follower.advance(place) {
                            tracing::warn!(%error, "the core's access log could not be emptied");
                        }
                    }
                    Ok(_) => break,
                    Err(error) => {
                        tracing::warn!(%error, "the core's access log could not be read");
                        break;
                    }
                }
            }
        }
    }

    async fn book(&self, text: &str, place: Place) -> Result<(), crate::store::StoreError> {
        let (calendar, now) = (self.store.calendar(), self.store.now());
        let first_kept = first_of_newest_days(calendar, now, self.retention_days);
        let visits = visits(text, calendar, now);
        self.store.book_domains(visits, place, first_kept).await
    }
}

/// What lines come to.
fn visits(text: &str, calendar: &Calendar, now: DateTime<Utc>) -> Visits {
    let mut visits = Visits::new();
    for visit in text.lines().filter_map(access_log::visit) {
        let day = day_of(visit.at, calendar, now);
        *visits.entry((day, visit.uuid, visit.domain)).or_default() += 1;
    }
    visits
}

/// The day of a line's time, which is the host's; today where it has none, or one that is yet to come.
fn day_of(at: Option<chrono::NaiveDateTime>, calendar: &Calendar, now: DateTime<Utc>) -> Day {
    let at = at.and_then(|at| at.and_local_timezone(Local).earliest());
    let at = at.map(|at| at.to_utc()).filter(|at| *at <= now + AHEAD_MAX);
    calendar.day(at.unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

    fn line(at: DateTime<Utc>, domain: &str) -> String {
        let at = at.with_timezone(&Local).format("%Y/%m/%d %H:%M:%S%.6f");
        format!("{at} from 192.0.2.1:5 accepted tcp:{domain}:443 [inbound-{UUID} >> direct] email: {UUID}\n")
    }

    #[test]
    fn lines_count_for_their_day_key_and_domain() {
        let calendar = Calendar::new(chrono_tz::Tz::UTC);
        let now: DateTime<Utc> = "2026-03-29T00:00:05Z".parse().unwrap();
        let text = [
            line(now - TimeDelta::seconds(6), "a.example"),
            line(now, "A.example"),
            line(now, "a.example"),
            line(now, "b.example"),
            line(now + TimeDelta::days(400), "b.example"),
            "2026/03/29 00:00:05 [Warning] something else\n".to_owned(),
        ]
        .concat();
        let (today, uuid) = (calendar.day(now), UUID.parse().unwrap());
        let expected = [
            ((today.plus_days(-1), uuid, "a.example".to_owned()), 1),
            ((today, uuid, "a.example".to_owned()), 2),
            ((today, uuid, "b.example".to_owned()), 2),
        ];
        assert_eq!(visits(&text, &calendar, now), Visits::from(expected));
    }
}
