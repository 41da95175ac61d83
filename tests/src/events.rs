//! What happened, as both faces of the product tell it.

use anyhow::{Context, Result, ensure};
use portmeter_proto::v1::event_service_client::EventServiceClient;
use portmeter_proto::v1::{Event, ListEventsRequest, WatchEventsRequest, WatchEventsResponse};
use serde_json::Value;
use tonic::Streaming;

use crate::grpc::Grpc;
use crate::rest::Rest;

/// A type, an action and a severity, in the panel's words.
pub type Told = (String, String, String);

/// A row of an expectation.
pub type Row<'a> = (&'a str, &'a str, &'a str);

/// The events that a query gives, oldest first.
pub fn listed(rest: &Rest<'_>, query: &str) -> Result<Vec<Value>> {
    let body = rest.shown(&format!("/api/events?limit=10000&{query}"))?;
    let mut events = body["events"].as_array().context("events is no list")?.clone();
    ensure!(body["total"] == events.len(), "{body}");
    events.reverse();
    Ok(events)
}

/// What they tell.
pub fn told(events: &[Value]) -> Vec<Told> {
    let text = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let row = |event| (text(event, "type"), text(event, "action"), text(event, "severity"));
    events.iter().map(row).collect()
}

/// Checks that just this was told, in this order.
pub fn expect(found: &[Told], expected: &[Row<'_>]) -> Result<()> {
    let found: Vec<Row<'_>> = found
        .iter()
        .map(|(kind, action, severity)| (kind.as_str(), action.as_str(), severity.as_str()))
        .collect();
    ensure!(found == expected, "told: {found:#?}\nexpected: {expected:#?}");
    Ok(())
}

/// A stream of events.
#[derive(Debug)]
pub struct Watch<'a> {
    grpc: &'a Grpc,
    stream: Streaming<WatchEventsResponse>,
}

impl<'a> Watch<'a> {
    /// Follows the events after one, or from now on.
    pub fn start(grpc: &'a Grpc, after_id: Option<u64>) -> Result<Self> {
        let mut client = EventServiceClient::new(grpc.channel());
        let request = grpc.request(WatchEventsRequest { after_id });
        let stream = grpc.block_on(client.watch_events(request))?.into_inner();
        Ok(Self { grpc, stream })
    }

    /// The next event; `None` when the agent has ended the stream.
    pub fn next_event(&mut self) -> Result<Option<Event>> {
        let message = self.grpc.block_on(self.stream.message())?;
        message
            .map(|message| message.event.context("a message without an event"))
            .transpose()
    }

    /// So many.
    pub fn take(&mut self, count: usize) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next_event()?.context("the watch has ended")?);
        }
        Ok(events)
    }
}

/// Every event in pages of this size, oldest first.
pub fn in_pages(grpc: &Grpc, page_size: u32) -> Result<Vec<Event>> {
    let mut client = EventServiceClient::new(grpc.channel());
    let (mut events, mut request) = (Vec::new(), ListEventsRequest::default());
    request.page_size = page_size;
    loop {
        let page = grpc
            .block_on(client.list_events(grpc.request(request.clone())))?
            .into_inner();
        ensure!(
            page.events.len() <= page_size as usize,
            "a page of {}",
            page.events.len()
        );
        events.extend(page.events);
        if page.next_page_token.is_empty() {
            events.reverse();
            return Ok(events);
        }
        request.page_token = page.next_page_token;
    }
}
