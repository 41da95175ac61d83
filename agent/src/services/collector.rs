//! What brings the kernel's counters into the ledger: how it is, paused, resumed, run by hand.
//!
//! Whether it runs is a setting, so that it is kept over restarts and changes in one transaction with what is booked. The
//! kernel counts all the same; a change of a key books that key's port, a stop of the agent books everything.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{ServiceError, SettingsService};
use crate::calendar::Day;
use crate::config::Live;
use crate::store::{EventKind, NewEvent, Store};

/// Why it does not run.
const PAUSED: &str =
    "The collector is paused; the kernel goes on counting, and what passes is booked when it is resumed.";

/// The rules for sampling and booking.
#[derive(Clone)]
pub struct CollectorService {
    store: Arc<Store>,
    settings: SettingsService,
    live: Live,
}

/// How the collector is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// Whether it samples and books by the clock.
    pub is_enabled: bool,
    /// Why not; empty where it does.
    pub disabled_reason: &'static str,
    /// The newest day with a figure.
    pub newest_day: Option<Day>,
    /// Days from that one to today; none where that day is ahead of the clock.
    pub lag_days: Option<u32>,
    /// When all ports were last sampled.
    pub last_sampled_at: Option<DateTime<Utc>>,
    /// When all of them were last booked.
    pub last_booked_at: Option<DateTime<Utc>>,
    /// How often it books.
    pub commit_interval_seconds: u64,
}

impl CollectorService {
    /// The service over the store, the settings and the configuration.
    pub fn new(store: Arc<Store>, settings: SettingsService, live: Live) -> Self {
        Self { store, settings, live }
    }

    /// How it is.
    pub async fn state(&self) -> Result<Collector, ServiceError> {
        let newest_day = self.store.newest_day().await?;
        let today = self.store.calendar().day(self.store.now());
        let snapshot = self.store.snapshot();
        let is_enabled = snapshot.settings.is_collecting();
        Ok(Collector {
            is_enabled,
            disabled_reason: if is_enabled { "" } else { PAUSED },
            newest_day,
            lag_days: newest_day.map(|newest| u32::try_from(today.0 - newest.0).unwrap_or(0)),
            last_sampled_at: self.store.samples().read_at(),
            last_booked_at: snapshot.all_booked_at,
            commit_interval_seconds: self.live.now().ledger.commit_interval_seconds,
        })
    }

    /// Pauses it or has it go on, and books what was counted until now.
    pub async fn set_enabled(&self, is_enabled: bool) -> Result<Collector, ServiceError> {
        self.settings.set_collecting(is_enabled).await?;
        self.state().await
    }

    /// Samples and books now, paused or not. Gives the bytes that were booked.
    pub async fn run(&self) -> Result<(Collector, u64), ServiceError> {
        let booked_bytes = self.store.run_collector(ran).await?;
        Ok((self.state().await?, booked_bytes))
    }
}

fn ran(booked_bytes: u64) -> NewEvent {
    NewEvent {
        kind: EventKind::Collector,
        service: "collector",
        action: "run_manual",
        message: format!("the collector was run: {booked_bytes} bytes were booked"),
        details: vec![("booked_bytes", booked_bytes.to_string())],
        ..NewEvent::default()
    }
}
