//! What happened: events listed in pages, counted, followed.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use portmeter_proto::reason::Reason;
use tokio::sync::watch;

use super::ServiceError;
use crate::store::{Event, EventFilter, EventStatistics, Store, StoreError};

/// Events in a page where the caller names no number, and at most.
const PAGE_SIZE: usize = 100;
const PAGE_SIZE_MAX: usize = 10_000;

/// Events that a follower reads at once.
const FOLLOWED_AT_ONCE: usize = 500;

/// The rules for events.
#[derive(Clone)]
pub struct EventService {
    store: Arc<Store>,
}

/// A page of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// The events, newest first.
    pub events: Vec<Event>,
    /// For the next page; empty when this was the last.
    pub next_page_token: String,
}

impl EventService {
    /// The service over a store.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Events that fit, newest first; `page_size` 0 is the usual one, and `page_token` what the page before gave.
    pub async fn list(&self, filter: EventFilter, page_size: u32, page_token: &str) -> Result<EventPage, ServiceError> {
        let limit = match page_size as usize {
            0 => PAGE_SIZE,
            size => size.min(PAGE_SIZE_MAX),
        };
        let before = before_of(page_token, &filter)?;
        let page = self.store.events(filter.clone(), before, limit).await?;
        let last = page.rows.last().filter(|_| page.has_more);
        Ok(EventPage {
            next_page_token: last.map(|event| token(event.id, &filter)).unwrap_or_default(),
            events: page.rows,
        })
    }

    /// How many events there were since a time, or of all that are kept.
    pub async fn statistics(&self, since: Option<DateTime<Utc>>) -> Result<EventStatistics, ServiceError> {
        Ok(self.store.event_statistics(since).await?)
    }

    /// Follows the events after this one, or from now on.
    pub fn follow(&self, after_id: Option<u64>) -> Result<EventFollower, ServiceError> {
        let mut last_event = self.store.last_event();
        let last = *last_event.borrow_and_update();
        let after_id = after_id.unwrap_or(last);
        if after_id > last {
            return Err(ServiceError::new(
                Reason::InvalidArgument,
                format!("after_id is {after_id}, which no event has had"),
            ));
        }
        // What is there already is read first.
        last_event.mark_changed();
        Ok(EventFollower {
            store: Arc::clone(&self.store),
            last_event,
            after_id,
        })
    }
}

/// Somebody who follows the events: where they stand.
pub struct EventFollower {
    store: Arc<Store>,
    last_event: watch::Receiver<u64>,
    after_id: u64,
}

impl EventFollower {
    /// The next events, oldest first; waits until there are any. `None` when the store is closed.
    ///
    /// Each event is told after its commit, and the news of it is marked as seen before the events are read: one that is
    /// committed meanwhile is either read or news again.
    pub async fn next(&mut self) -> Result<Option<Vec<Event>>, ServiceError> {
        loop {
            if self.last_event.changed().await.is_err() {
                return Ok(None);
            }
            let events = match self.store.events_after(self.after_id, FOLLOWED_AT_ONCE).await {
                Err(StoreError::Closed) => return Ok(None),
                events => events?,
            };
            let Some(last) = events.last() else { continue };
            self.after_id = last.id;
            if events.len() == FOLLOWED_AT_ONCE {
                self.last_event.mark_changed();
            }
            return Ok(Some(events));
        }
    }
}

/// Where a page ended, and of which list it was.
fn token(last_id: u64, filter: &EventFilter) -> String {
    format!("{last_id}.{:016x}", digest(filter))
}

/// The id that a page begins below.
fn before_of(page_token: &str, filter: &EventFilter) -> Result<Option<u64>, ServiceError> {
    if page_token.is_empty() {
        return Ok(None);
    }
    let id = page_token.split_once('.').and_then(|(id, _)| id.parse().ok());
    match id {
        Some(id) if page_token == token(id, filter) => Ok(Some(id)),
        _ => Err(ServiceError::new(
            Reason::InvalidArgument,
            "page_token is not one that a list with these filters gave",
        )),
    }
}

/// Tells lists apart, within the time that somebody turns pages.
fn digest(filter: &EventFilter) -> u64 {
    let mut hasher = DefaultHasher::new();
    filter.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{EventKind, EventSeverity};

    #[test]
    fn a_token_is_good_for_its_own_list_alone() {
        let errors = EventFilter {
            severity: Some(EventSeverity::Error),
            ..EventFilter::default()
        };
        let users = EventFilter {
            kind: Some(EventKind::User),
            ..EventFilter::default()
        };
        assert_eq!(before_of("", &errors).unwrap(), None);
        let given = token(7, &errors);
        assert_eq!(before_of(&given, &errors).unwrap(), Some(7));
        for (bad, filter) in [
            (given.as_str(), &users),
            ("7", &errors),
            ("7.", &errors),
            (".", &errors),
            ("x.0", &errors),
            (&format!("+{given}"), &errors),
            (&format!("{given}0"), &errors),
        ] {
            assert_eq!(
                before_of(bad, filter).unwrap_err().reason,
                Reason::InvalidArgument,
                "{bad}"
            );
        }
    }
}
