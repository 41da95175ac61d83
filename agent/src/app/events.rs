//! What is told of the agent's own runs: that it has started and stopped, and that it is another version than before.

use crate::store::{Event, EventKind, EventSeverity, NewEvent, Store};

/// This build's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Tells that the agent has started.
pub(super) async fn note_start(store: &Store) {
    let before = store.last_run_event().await;
    let before = before.unwrap_or_else(|error| {
        tracing::warn!(%error, "how the run before ended cannot be read");
        None
    });
    for event in started(before.as_ref(), VERSION) {
        store.note_event(event).await;
    }
}

/// Tells that the agent stops; `is_asked_for` unless a part of it has ended by itself.
pub(super) async fn note_stop(store: &Store, is_asked_for: bool) {
    store.note_event(stopped(is_asked_for, VERSION)).await;
}

/// What a start tells, by the last event of the run before.
fn started(before: Option<&Event>, version: &str) -> Vec<NewEvent> {
    let mut events = Vec::new();
    let version_before = before.and_then(|event| event.details.get("version"));
    if let Some(old) = version_before.filter(|old| *old != version) {
        events.push(NewEvent {
            kind: EventKind::Update,
            action: "version",
            message: format!("Portmeter has version {version}, it had {old}"),
            actor: "agent",
            ..NewEvent::default()
        });
    }
    // A run that stops says so.
    let was_cut_short = before.is_some_and(|event| event.action == "start");
    let (severity, result, how) = match was_cut_short {
        true => (EventSeverity::Warning, "unclean", "; the run before was cut short"),
        false => (EventSeverity::Info, "ok", ""),
    };
    events.push(NewEvent {
        severity,
        action: "start",
        message: format!("the agent has started, version {version}{how}"),
        actor: "agent",
        details: vec![("result", result.to_owned()), ("version", version.to_owned())],
        ..NewEvent::default()
    });
    events
}

fn stopped(is_asked_for: bool, version: &str) -> NewEvent {
    let (severity, result, message) = match is_asked_for {
        true => (EventSeverity::Info, "ok", "the agent stops"),
        false => (
            EventSeverity::Error,
            "failed",
            "the agent stops: a part of it has ended by itself",
        ),
    };
    NewEvent {
        severity,
        action: "stop",
        message: message.to_owned(),
        actor: if is_asked_for { "operator" } else { "agent" },
        details: vec![("result", result.to_owned()), ("version", version.to_owned())],
        ..NewEvent::default()
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn event(action: &str, version: Option<&str>) -> Event {
        Event {
            id: 1,
            at: DateTime::UNIX_EPOCH,
            kind: EventKind::System,
            severity: EventSeverity::Info,
            service: "agent".to_owned(),
            action: action.to_owned(),
            message: String::new(),
            actor: "agent".to_owned(),
            key_id: None,
            details: version
                .map(|version| ("version".to_owned(), version.to_owned()))
                .into_iter()
                .collect(),
        }
    }

    fn told(before: Option<&Event>) -> Vec<(&'static str, EventSeverity)> {
        let events = started(before, "2.0.0");
        events.iter().map(|event| (event.action, event.severity)).collect()
    }

    #[test]
    fn a_start_knows_how_the_run_before_ended() {
        let (clean, cut_short) = (("start", EventSeverity::Info), ("start", EventSeverity::Warning));
        assert_eq!(told(None), [clean]);
        assert_eq!(told(Some(&event("stop", Some("2.0.0")))), [clean]);
        assert_eq!(told(Some(&event("start", Some("2.0.0")))), [cut_short]);
        assert_eq!(
            told(Some(&event("restore_ledger", None))),
            [clean],
            "a backup is of a running agent"
        );
    }

    #[test]
    fn another_version_is_told_before_the_start() {
        let update = ("version", EventSeverity::Info);
        assert_eq!(told(Some(&event("stop", Some("1.9.0"))))[0], update);
        assert_eq!(told(Some(&event("stop", Some("1.9.0")))).len(), 2);
    }
}
