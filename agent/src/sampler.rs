//! The agent's clock: samples every second for rates and minutes, books every few seconds into the ledger.
//!
//! Neither has to be on time for the figures to be right: counters are monotonic, a late sample covers a longer
//! interval and a failed booking is made up for by the next one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::Live;
use crate::counters::{ConnectionSource, CounterReader};
use crate::network::sockets;
use crate::outage::{Outage, Turn};
use crate::services::Rates;
use crate::state::AgentState;
use crate::store::{EventKind, EventSeverity, NewEvent, Store, StoreError};

/// How often the counters are sampled for rates and live views.
pub const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Takes a sample of every port, for rates and for the ledger.
pub struct Sampler {
    /// The counters.
    pub reader: Arc<dyn CounterReader>,
    /// Bytes per second of each port.
    pub rates: Arc<Rates>,
    /// The ledger, to which minute each byte belongs.
    pub store: Arc<Store>,
    /// Where it is noted how long samples take.
    pub state: Arc<AgentState>,
}

impl Sampler {
    /// Samples every second until `shutdown`. While the collector is paused only the rates go on, which nothing is booked
    /// from.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut ticks = interval(SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            match self.reader.connection_source() {
                _ if !self.store.snapshot().settings.is_collecting() => {
                    self.rates.sample(&*self.reader, Instant::now());
                }
                ConnectionSource::Kernel => self.sample(&|port| self.reader.active_connections(port)),
                ConnectionSource::SocketTables => {
                    let listed = listed_connections().await;
                    self.sample(&|port| Some(listed.as_ref()?.get(&port).copied().unwrap_or(0)));
                }
            }
        }
    }

    /// One sample. `connections` tells how many are open on a port, or `None` when that is not known.
    pub fn sample(&self, connections: &dyn Fn(u16) -> Option<u64>) {
        let began_at = Instant::now();
        self.rates.sample(&*self.reader, began_at);
        self.store
            .samples()
            .sample(self.store.now(), &*self.reader, connections);
        self.state.sample_durations.record(began_at.elapsed());
    }
}

/// Open connections by local port, from the socket tables; `None` when these cannot be read.
async fn listed_connections() -> Option<HashMap<u16, u64>> {
    let listed = tokio::task::spawn_blocking(sockets::connections_by_port).await.ok()?;
    listed
        .inspect_err(|error| tracing::warn!(%error, "the connections could not be read"))
        .ok()
}

/// Books as often as is configured until `shutdown`, unless the collector is paused; the last booking is made when the store
/// is closed.
pub async fn book(store: Arc<Store>, state: Arc<AgentState>, live: Live, shutdown: CancellationToken) {
    let mut changes = live.follow();
    let mut ticks = booking_interval(&live);
    let mut failure = BookingFailure::default();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = changes.changed() => {
                let next = booking_interval(&live);
                if next.period() != ticks.period() {
                    ticks = next;
                }
                continue;
            }
            () = shutdown.cancelled() => return,
        }
        let booked = store.book_by_clock().await;
        if let Err(error) = &booked {
            let source = std::error::Error::source(error)
                .map(ToString::to_string)
                .unwrap_or_default();
            tracing::error!(%error, source, "booking failed; nothing is lost, the next booking makes up for it");
        }
        state.set_ledger_writable(booked.is_ok());
        for event in failure.outcome(&booked, store.now(), Instant::now()) {
            if let Err(error) = store.append_event(event.clone()).await {
                tracing::debug!(%error, "a failed booking is told when there is a way to");
                failure.keep(event);
            }
        }
    }
}

fn booking_interval(live: &Live) -> Interval {
    let mut ticks = interval(Duration::from_secs(live.now().ledger.commit_interval_seconds));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// What is told of bookings that fail: once, and once when they go through again. The ledger that cannot be booked into
/// hardly takes the event, which then waits until it does.
#[derive(Debug, Default)]
struct BookingFailure {
    outage: Outage,
    since: DateTime<Utc>,
    untold: Vec<NewEvent>,
}

impl BookingFailure {
    fn outcome(&mut self, booked: &Result<(), StoreError>, at: DateTime<Utc>, now: Instant) -> Vec<NewEvent> {
        let event = |severity, action, message| NewEvent {
            kind: EventKind::AppError,
            severity,
            action,
            message,
            actor: "agent",
            ..NewEvent::default()
        };
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        match (self.outage.turn(booked.is_err(), now), booked) {
            (Some(Turn::Begins), Err(error)) => {
                self.since = at;
                let why = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
                let message = format!("from {} on nothing could be booked: {why}", time(at));
                vec![event(EventSeverity::Error, "book", message)]
            }
            (Some(Turn::Ends), _) => {
                let message = format!(
                    "what could not be booked since {} is booked; nothing is lost",
                    time(self.since)
                );
                let mut events = std::mem::take(&mut self.untold);
                events.push(event(EventSeverity::Info, "book", message));
                events
            }
            _ => Vec::new(),
        }
    }

    /// Keeps an event until the ledger takes it.
    fn keep(&mut self, event: NewEvent) {
        self.untold.push(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_once_and_late_where_it_must_be() {
        let (mut failure, now) = (BookingFailure::default(), Instant::now());
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let after = |failure: &mut BookingFailure, booked, time: &str| failure.outcome(&booked, at(time), now);
        assert!(after(&mut failure, Ok(()), "2026-05-01T11:59:55Z").is_empty());
        let begun = after(&mut failure, Err(StoreError::Closed), "2026-05-01T12:00:00Z");
        assert_eq!(begun.len(), 1);
        assert!(
            begun[0].message.starts_with("from 2026-05-01T12:00:00Z on nothing"),
            "{begun:?}"
        );
        failure.keep(begun[0].clone());
        assert!(after(&mut failure, Err(StoreError::Closed), "2026-05-01T12:00:05Z").is_empty());
        let over = after(&mut failure, Ok(()), "2026-05-01T12:00:10Z");
        let severities: Vec<EventSeverity> = over.iter().map(|event| event.severity).collect();
        assert_eq!(severities, [EventSeverity::Error, EventSeverity::Info]);
        assert!(over[1].message.contains("since 2026-05-01T12:00:00Z"), "{over:?}");
        assert!(after(&mut failure, Ok(()), "2026-05-01T12:00:15Z").is_empty());
    }
}
