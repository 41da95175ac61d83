//! The panel's events: what happened, listed newest first and counted.
//!
//! [`list`] answers with the events themselves, [`stats`] with their numbers. The words for types and severities, and an
//! event as a row, are here. What is not known of an event is left out of its row.

use portmeter_proto::v1::{Event, EventSeverity, EventType};
use prost_types::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::failure::Failure;
use crate::moment::{Moment, Zulu};
use crate::query::Query;

pub(crate) mod list;
pub(crate) mod stats;

/// How far back events go where the caller does not say, and at most: ten years.
const HOURS_DEFAULT: u32 = 24;
const HOURS_MAX: u32 = 87_600;

/// What the panel calls the types.
const TYPES: [(EventType, &str); 10] = [
    (EventType::User, "USER"),
    (EventType::System, "SYSTEM"),
    (EventType::Settings, "SETTINGS"),
    (EventType::Xray, "XRAY"),
    (EventType::Connection, "CONNECTION"),
    (EventType::Collector, "COLLECTOR"),
    (EventType::ServiceHealth, "SERVICE_HEALTH"),
    (EventType::AppError, "APP_ERROR"),
    (EventType::Performance, "PERFORMANCE"),
    (EventType::Update, "UPDATE"),
];

/// What the panel calls the severities.
const SEVERITIES: [(EventSeverity, &str); 3] = [
    (EventSeverity::Info, "INFO"),
    (EventSeverity::Warning, "WARN"),
    (EventSeverity::Error, "ERROR"),
];

/// The types and severities, for the document.
#[derive(ToSchema)]
#[schema(as = EventType, rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(dead_code, reason = "answers are made of the words")]
enum TypeWord {
    User,
    System,
    Settings,
    Xray,
    Connection,
    Collector,
    ServiceHealth,
    AppError,
    Performance,
    Update,
}

#[derive(ToSchema)]
#[schema(as = EventSeverity, rename_all = "UPPERCASE")]
#[allow(dead_code, reason = "answers are made of the words")]
enum SeverityWord {
    Info,
    Warn,
    Error,
}

/// The moment from which on a caller wants events.
fn since(query: &Query, now: Moment) -> Result<Timestamp, Failure> {
    let hours = query.number("hours", HOURS_DEFAULT, 1..=HOURS_MAX)?;
    Ok(Timestamp {
        seconds: (now.unix_seconds() - 3_600 * i64::from(hours)).max(0),
        nanos: 0,
    })
}

fn type_word(wanted: EventType) -> Result<&'static str, Failure> {
    word(&TYPES, wanted, "event.type")
}

fn severity_word(wanted: EventSeverity) -> Result<&'static str, Failure> {
    word(&SEVERITIES, wanted, "event.severity")
}

fn word<T: Copy + PartialEq>(
    words: &[(T, &'static str)],
    wanted: T,
    what: &'static str,
) -> Result<&'static str, Failure> {
    let found = words.iter().find(|(value, _)| *value == wanted);
    found.map(|(_, word)| *word).ok_or_else(|| Failure::incomplete(what))
}

/// An event as the panel has it.
#[derive(Serialize, ToSchema)]
#[schema(as = PanelEvent)]
struct Row<'a> {
    ts: Zulu,
    #[serde(rename = "type")]
    #[schema(value_type = TypeWord)]
    event_type: &'static str,
    #[schema(value_type = SeverityWord)]
    severity: &'static str,
    action: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    service: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    alias: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    result: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn of(event: &'a Event) -> Result<Self, Failure> {
        let detail = |name: &str| event.details.get(name).map(String::as_str);
        Ok(Self {
            ts: Moment::of(event.occurred_at.as_ref(), "event.occurred_at")?.zulu(),
            event_type: type_word(event.r#type())?,
            severity: severity_word(event.severity())?,
            action: &event.action,
            service: &event.service,
            message: &event.message,
            email: detail("email"),
            alias: detail("alias"),
            enabled: detail("enabled").and_then(|text| text.parse().ok()),
            result: detail("result"),
        })
    }

    fn all(events: &'a [Event]) -> Result<Vec<Self>, Failure> {
        events.iter().map(Self::of).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{READ_AT, json_of, read_at};

    #[test]
    fn every_word_of_the_agent_has_one_here() {
        for number in 1..=10 {
            type_word(EventType::try_from(number).unwrap()).unwrap();
        }
        for number in 1..=3 {
            severity_word(EventSeverity::try_from(number).unwrap()).unwrap();
        }
        assert!(EventType::try_from(11).is_err() && EventSeverity::try_from(4).is_err());
        assert!(type_word(EventType::Unspecified).is_err());
        assert!(severity_word(EventSeverity::Unspecified).is_err());
    }

    #[test]
    fn hours_have_a_default_and_bounds() {
        let hours = |text: &str| {
            let since = since(&Query::parse(text), read_at()).map_err(Failure::into_text)?;
            Ok((READ_AT.seconds - since.seconds) / 3_600)
        };
        for (text, expected) in [("", 24), ("hours=1", 1), ("hours=87600", 87_600)] {
            assert_eq!(hours(text), Ok(expected), "{text}");
        }
        for text in ["hours=0", "hours=87601", "hours=-1", "hours=", "hours=1.5", "hours=x"] {
            let told: Result<i64, String> = hours(text);
            assert!(told.unwrap_err().starts_with("hours: "), "{text}");
        }
    }

    #[test]
    fn a_row_leaves_out_what_is_not_known() {
        let event = Event {
            id: 7,
            occurred_at: Some(READ_AT),
            r#type: EventType::User.into(),
            severity: EventSeverity::Warning.into(),
            action: "kick".to_owned(),
            ..Event::default()
        };
        let bare = json!({"ts": "2025-08-05T12:00:00Z", "type": "USER", "severity": "WARN", "action": "kick"});
        assert_eq!(json_of(&Row::of(&event).unwrap()), bare);

        let details = [
            ("email", "a"),
            ("alias", "b"),
            ("enabled", "false"),
            ("result", "ok"),
            ("port", "1"),
        ];
        let event = Event {
            service: "agent".to_owned(),
            message: "a key got a new uuid".to_owned(),
            details: details.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..event
        };
        let full = json!({
            "ts": "2025-08-05T12:00:00Z", "type": "USER", "severity": "WARN", "action": "kick", "service": "agent",
            "message": "a key got a new uuid", "email": "a", "alias": "b", "enabled": false, "result": "ok",
        });
        assert_eq!(json_of(&Row::of(&event).unwrap()), full);
    }
}
