//! The stand-in's what happened: twelve events, an hour and a bit of them, and more where a test wants.
//!
//! It keeps the promises of the .proto file about order, filters and pages; its pages are never longer than it is told.

use std::collections::{BTreeMap, HashMap};

use portmeter_proto::reason::Reason;
use portmeter_proto::v1::event_service_server::EventService;
use portmeter_proto::v1::get_event_statistics_response::{HourCount, ServiceCount, SeverityCount, TypeCount};
use portmeter_proto::v1::*;
use prost_types::Timestamp;
use tonic::codegen::tokio_stream::Pending;
use tonic::{Request, Response, Status};

use super::{Agent, NOW};

/// Events, oldest first.
pub(super) struct Events {
    all: Vec<Event>,
    /// How many pages were asked for.
    n_pages: usize,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            all: (1..=12).map(event).collect(),
            n_pages: 0,
        }
    }
}

/// Event `id`, of ten minutes before the next one: of every type in turn, and of every severity.
fn event(id: u64) -> Event {
    let number = i32::try_from(id).unwrap();
    let is_about_key = id.is_multiple_of(3);
    let details = [
        ("email", "key 1"),
        ("alias", "first"),
        ("enabled", "true"),
        ("result", "ok"),
    ];
    Event {
        id,
        occurred_at: Some(Timestamp {
            seconds: NOW.seconds - 600 * (12 - i64::from(number)),
            nanos: 5,
        }),
        r#type: 1 + (number - 1) % 10,
        severity: 1 + (number - 1) % 3,
        service: if id.is_multiple_of(2) { "xray" } else { "agent" }.to_owned(),
        action: format!("action {id}"),
        message: "something happened".to_owned(),
        actor: "operator".to_owned(),
        key_id: None,
        details: match is_about_key {
            true => details.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            false => HashMap::new(),
        },
    }
}

impl Agent {
    /// Has this many events from now on.
    pub(crate) fn set_event_count(&self, count: u64) {
        self.state().events.all = (1..=count).map(event).collect();
    }

    /// How many pages of events were asked for.
    pub(crate) fn n_event_pages(&self) -> usize {
        self.state().events.n_pages
    }
}

/// The newest first, from `since` on.
fn newest(all: &[Event], since: Option<&Timestamp>) -> Vec<Event> {
    let seconds = since.map_or(0, |since| since.seconds);
    let is_recent = |event: &&Event| event.occurred_at.is_some_and(|at| at.seconds >= seconds);
    all.iter().rev().filter(is_recent).cloned().collect()
}

fn counted<T: Ord>(events: &[Event], of: impl Fn(&Event) -> T) -> BTreeMap<T, u64> {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry(of(event)).or_insert(0) += 1;
    }
    counts
}

#[tonic::async_trait]
impl EventService for Agent {
    async fn list_events(&self, request: Request<ListEventsRequest>) -> Result<Response<ListEventsResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.call()?;
        state.events.n_pages += 1;
        let before: u64 = match request.page_token.as_str() {
            "" => u64::MAX,
            token => token
                .parse()
                .map_err(|_| Reason::InvalidArgument.status("page_token"))?,
        };
        let mut events = newest(&state.events.all, request.since.as_ref());
        events.retain(|event| {
            event.id < before
                && (request.r#type == 0 || request.r#type == event.r#type)
                && (request.severity == 0 || request.severity == event.severity)
                && (request.service.is_empty() || request.service == event.service)
        });
        let size = if request.page_size == 0 {
            100
        } else {
            request.page_size as usize
        };
        let has_more = events.len() > size;
        events.truncate(size);
        let next_page_token = match events.last() {
            Some(last) if has_more => last.id.to_string(),
            _ => String::new(),
        };
        Ok(Response::new(ListEventsResponse {
            events,
            next_page_token,
        }))
    }

    async fn get_event_statistics(
        &self,
        request: Request<GetEventStatisticsRequest>,
    ) -> Result<Response<GetEventStatisticsResponse>, Status> {
        let state = self.call()?;
        let events = newest(&state.events.all, request.get_ref().since.as_ref());
        let is = |event: &Event, severity: EventSeverity| event.severity() == severity;
        let hour_of = |event: &Event| event.occurred_at.map_or(0, |at| at.seconds - at.seconds % 3_600);
        let hour = |start: i64| {
            let of_hour: Vec<&Event> = events.iter().filter(|event| hour_of(event) == start).collect();
            let count = |severity| of_hour.iter().filter(|event| is(event, severity)).count() as u64;
            HourCount {
                start: Some(Timestamp {
                    seconds: start,
                    nanos: 0,
                }),
                count: of_hour.len() as u64,
                error_count: count(EventSeverity::Error),
                warning_count: count(EventSeverity::Warning),
            }
        };
        let types = counted(&events, |event| event.r#type);
        let severities = counted(&events, |event| event.severity);
        let services = counted(&events, |event| event.service.clone());
        let errors = events.iter().filter(|event| is(event, EventSeverity::Error));
        Ok(Response::new(GetEventStatisticsResponse {
            total: events.len() as u64,
            types: types
                .into_iter()
                .map(|(r#type, count)| TypeCount { r#type, count })
                .collect(),
            severities: severities
                .into_iter()
                .map(|(severity, count)| SeverityCount { severity, count })
                .collect(),
            services: services
                .into_iter()
                .map(|(service, count)| ServiceCount { service, count })
                .collect(),
            hours: counted(&events, hour_of).into_keys().map(hour).collect(),
            recent_errors: errors.take(10).cloned().collect(),
        }))
    }

    type WatchEventsStream = Pending<Result<WatchEventsResponse, Status>>;

    /// Nothing happens here; REST follows no events.
    async fn watch_events(&self, _: Request<WatchEventsRequest>) -> Result<Response<Self::WatchEventsStream>, Status> {
        Ok(Response::new(tonic::codegen::tokio_stream::pending()))
    }
}
