//! `portmeter events`: what happened, from a running agent.

use std::io::Write as _;

use anyhow::Result;
use chrono::SecondsFormat;
use portmeter_proto::v1::event_service_client::EventServiceClient;
use portmeter_proto::v1::{Event, EventSeverity, ListEventsRequest, WatchEventsRequest};
use serde_json::json;

use super::moment::moment;
use super::running_agent::{ANSWER_BYTES_MAX, RunningAgent, refusal};

/// Which agent, and how events are shown.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    agent: RunningAgent,
    /// How many of the newest events are shown, at most 10000
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    count: u32,
    /// Go on with each new event as it happens
    #[arg(long)]
    follow: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let mut client =
        EventServiceClient::new(arguments.agent.connect().await?).max_decoding_message_size(ANSWER_BYTES_MAX);
    // One at least, to know where to go on from.
    let request = ListEventsRequest {
        page_size: arguments.count.max(1),
        ..ListEventsRequest::default()
    };
    let listed = client.list_events(request).await.map_err(refusal)?.into_inner().events;
    let last_id = listed.first().map_or(0, |event| event.id);
    for event in listed.iter().take(arguments.count as usize).rev() {
        if !print(event, arguments.json) {
            return Ok(());
        }
    }
    if !arguments.follow {
        return Ok(());
    }
    let request = WatchEventsRequest {
        after_id: Some(last_id),
    };
    let mut stream = client.watch_events(request).await.map_err(refusal)?.into_inner();
    while let Some(message) = stream.message().await.map_err(refusal)? {
        if message.event.is_some_and(|event| !print(&event, arguments.json)) {
            break;
        }
    }
    Ok(())
}

/// Whether there is still somebody who reads: `| head` closes the pipe early.
fn print(event: &Event, is_json: bool) -> bool {
    let text = match is_json {
        true => as_json(event),
        false => as_line(event),
    };
    std::io::stdout().write_all(text.as_bytes()).is_ok()
}

fn as_line(event: &Event) -> String {
    // A message may quote anybody's text, which must not steer the terminal.
    let message = event.message.replace(char::is_control, " ");
    let (severity, event_type) = (severity(event), event_type(event));
    format!(
        "{}  {severity:<5}  {event_type:<14}  {:<14}  {message}\n",
        time(event),
        event.action
    )
}

fn as_json(event: &Event) -> String {
    let value = json!({
        "id": event.id,
        "ts": time(event),
        "type": event_type(event),
        "severity": severity(event),
        "service": event.service,
        "action": event.action,
        "message": event.message,
        "actor": event.actor,
        "key_id": event.key_id,
        "details": event.details,
    });
    format!("{value}\n")
}

fn time(event: &Event) -> String {
    let at = event.occurred_at.and_then(moment).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The words that REST has for both.
fn event_type(event: &Event) -> &'static str {
    let name = event.r#type().as_str_name();
    name.strip_prefix("EVENT_TYPE_").unwrap_or(name)
}

fn severity(event: &Event) -> &'static str {
    match event.severity() {
        EventSeverity::Unspecified => "-",
        EventSeverity::Info => "INFO",
        EventSeverity::Warning => "WARN",
        EventSeverity::Error => "ERROR",
    }
}

#[cfg(test)]
mod tests {
    use portmeter_proto::v1::EventType;
    use prost_types::Timestamp;

    use super::*;

    #[test]
    fn an_event_is_one_line_either_way() {
        let event = Event {
            id: 7,
            occurred_at: Some(Timestamp {
                seconds: 1_754_395_200,
                nanos: 9,
            }),
            r#type: EventType::ServiceHealth.into(),
            severity: EventSeverity::Warning.into(),
            service: "xray".to_owned(),
            action: "restart".to_owned(),
            message: "the core\u{1b}[2J\nruns again".to_owned(),
            actor: "agent".to_owned(),
            ..Event::default()
        };
        let line = "2025-08-05T12:00:00Z  WARN   SERVICE_HEALTH  restart         the core [2J runs again\n";
        assert_eq!(as_line(&event), line);
        let expected = json!({
            "id": 7, "ts": "2025-08-05T12:00:00Z", "type": "SERVICE_HEALTH", "severity": "WARN", "service": "xray",
            "action": "restart", "message": "the core\u{1b}[2J\nruns again", "actor": "agent", "key_id": null,
            "details": {},
        });
        let text = as_json(&event);
        assert_eq!(text.lines().count(), 1);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), expected);
    }
}
