//! `GET /api/events`: what happened, newest first.

use axum::extract::State;
use axum::response::Response;
use portmeter_proto::v1::{Event, EventSeverity, EventType, ListEventsRequest};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Row, SEVERITIES, TYPES, since};
use crate::answer;
use crate::failure::{Failure, PanelFailure};
use crate::gateway::Gateway;
use crate::moment::Moment;
use crate::query::Query;

/// How many events are listed where the caller does not say, and at most.
const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 10_000;

/// Events in one answer of the agent.
const PAGE_SIZE: u32 = 1_000;

/// Room for a row, in bytes.
const ROW_BYTES: usize = 256;

/// Lists what happened, newest first. Filters are exact and all of them must fit; a word that no event has fits nothing.
#[utoipa::path(
    get,
    path = "/api/events",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 10_000, description = "How many at most; 100 by default."),
        ("hours" = Option<u32>, Query, minimum = 1, maximum = 87_600, description = "How far back, in hours; 24 by default."),
        ("type" = Option<String>, Query, description = "Only events of this type."),
        ("severity" = Option<String>, Query, description = "Only events of this severity."),
        ("service" = Option<String>, Query, description = "Only events of this service."),
    ),
    responses((status = 200, body = Answer))
)]
pub(crate) async fn show(State(gateway): State<Gateway>, query: Query) -> Result<Response, PanelFailure> {
    let asked = Asked::of(&query, Moment::now())?;
    let events = match asked.request {
        Some(request) => read(&gateway, request, asked.limit).await?,
        None => Vec::new(),
    };
    let body = Answer::of(&events)?;
    Ok(answer::json_of_size(&body, ROW_BYTES * (1 + events.len())))
}

/// What a caller asks for.
#[derive(Debug, PartialEq)]
struct Asked {
    limit: u32,
    /// `None` where nothing can fit.
    request: Option<ListEventsRequest>,
}

impl Asked {
    /// A filter without a value is none, and one with a word that no event has fits nothing.
    fn of(query: &Query, now: Moment) -> Result<Self, Failure> {
        let limit = query.number("limit", LIMIT_DEFAULT, 1..=LIMIT_MAX)?;
        let request = ListEventsRequest {
            since: Some(since(query, now)?),
            service: query.text("service").unwrap_or_default().to_owned(),
            ..ListEventsRequest::default()
        };
        let event_type = meaning(&TYPES, query.text("type"), EventType::Unspecified);
        let severity = meaning(&SEVERITIES, query.text("severity"), EventSeverity::Unspecified);
        Ok(Self {
            limit,
            request: event_type
                .zip(severity)
                .map(|(event_type, severity)| ListEventsRequest {
                    r#type: event_type.into(),
                    severity: severity.into(),
                    ..request
                }),
        })
    }
}

/// What a word means; `any` where there is none, and nothing where nobody knows it.
fn meaning<T: Copy>(words: &[(T, &str)], text: Option<&str>, any: T) -> Option<T> {
    match text {
        None | Some("") => Some(any),
        Some(text) => words.iter().find(|(_, word)| *word == text).map(|(value, _)| *value),
    }
}

/// Turns the agent's pages until there are enough.
async fn read(gateway: &Gateway, mut request: ListEventsRequest, limit: u32) -> Result<Vec<Event>, Failure> {
    let limit = limit as usize;
    let mut events = Vec::new();
    loop {
        let left = u32::try_from(limit - events.len()).unwrap_or(PAGE_SIZE);
        request.page_size = left.min(PAGE_SIZE);
        let page = gateway.events().list_events(request.clone()).await?.into_inner();
        let is_last = page.next_page_token.is_empty() || page.events.is_empty();
        events.extend(page.events);
        events.truncate(limit);
        if is_last || events.len() == limit {
            return Ok(events);
        }
        request.page_token = page.next_page_token;
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = EventList)]
struct Answer<'a> {
    ok: bool,
    total: usize,
    events: Vec<Row<'a>>,
}

impl<'a> Answer<'a> {
    fn of(events: &'a [Event]) -> Result<Self, Failure> {
        Ok(Self {
            ok: true,
            total: events.len(),
            events: Row::all(events)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::read_at;

    /// The limit, type, severity and service that are asked for.
    fn asked(text: &str) -> Result<Option<(u32, i32, i32, String)>, String> {
        let asked = Asked::of(&Query::parse(text), read_at()).map_err(Failure::into_text)?;
        let told = |request: ListEventsRequest| (asked.limit, request.r#type, request.severity, request.service);
        Ok(asked.request.map(told))
    }

    #[test]
    fn a_query_has_defaults_and_limits() {
        assert_eq!(asked(""), Ok(Some((100, 0, 0, String::new()))));
        let everything = asked("limit=10000&type=SERVICE_HEALTH&severity=WARN&service=xray&hours=1");
        assert_eq!(everything, Ok(Some((10_000, 7, 2, "xray".to_owned()))));
        for (text, name) in [
            ("limit=0", "limit"),
            ("limit=10001", "limit"),
            ("limit=", "limit"),
            ("hours=x", "hours"),
        ] {
            assert!(asked(text).unwrap_err().starts_with(&format!("{name}: ")), "{text}");
        }
    }

    #[test]
    fn a_word_that_no_event_has_fits_nothing() {
        for text in [
            "type=user",
            "type=Nothing",
            "severity=WARNING",
            "type=USER&severity=x",
            "type=USER%20",
        ] {
            assert_eq!(asked(text), Ok(None), "{text}");
        }
        assert_eq!(asked("type=&severity=&service="), asked(""));
    }
}
