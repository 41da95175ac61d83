//! What is told of the core as events: plain functions. Texts of the core itself come through its room, which takes the
//! secrets out; paths are for the log.

use super::file::FileError;
use crate::store::{EventKind, EventSeverity, NewEvent};
use crate::xray::core::CoreError;

/// The core has ended by itself.
pub(super) fn ended(reason: &str) -> NewEvent {
    health(EventSeverity::Error, "ended", format!("the core has ended: {reason}"))
}

/// The core was started; `has_ended` where it had ended by itself before.
pub(super) fn started(has_ended: bool) -> NewEvent {
    match has_ended {
        true => health(
            EventSeverity::Warning,
            "restart",
            "the core runs again: it was started after it had ended".to_owned(),
        ),
        false => xray(EventSeverity::Info, "start", "the core was started".to_owned()),
    }
}

/// A core was running already.
pub(super) fn adopted() -> NewEvent {
    xray(
        EventSeverity::Info,
        "adopt",
        "a running core was found and goes on".to_owned(),
    )
}

/// The core does not come up.
pub(super) fn not_started(error: &CoreError) -> NewEvent {
    let why = match error {
        CoreError::Binary(_) => "its binary cannot be run".to_owned(),
        CoreError::NoConfiguration(_) => "it has no configuration file".to_owned(),
        error => error.to_string(),
    };
    health(EventSeverity::Error, "start", format!("the core does not run: {why}"))
}

/// The core was restarted because there was no other way to tell it of a key.
pub(super) fn restarted_for_key() -> NewEvent {
    let message = "the core was restarted: it does not take a key over its API";
    xray(EventSeverity::Warning, "restart", message.to_owned())
}

/// The configuration file is not what is wanted.
pub(super) fn file_fails(error: &FileError) -> NewEvent {
    let message = format!("the configuration file does not follow the keys: {error}");
    xray(EventSeverity::Error, "write_config", message)
}

/// The configuration file is what is wanted again.
pub(super) fn file_follows() -> NewEvent {
    let message = "the configuration file follows the keys again";
    xray(EventSeverity::Info, "write_config", message.to_owned())
}

/// Keys and clients have differed for a while.
pub(super) fn drifts(count: usize) -> NewEvent {
    let message = format!("keys and the core's clients differ and go on to: {count}");
    xray(EventSeverity::Warning, "drift", message)
}

/// They are the same again.
pub(super) fn drifts_no_more() -> NewEvent {
    xray(
        EventSeverity::Info,
        "drift",
        "keys and the core's clients are the same again".to_owned(),
    )
}

/// The core does not take some keys.
pub(super) fn refuses(count: usize) -> NewEvent {
    xray(
        EventSeverity::Error,
        "refuse",
        format!("the core refuses keys: {count}"),
    )
}

/// The core takes every key again.
pub(super) fn refuses_no_more() -> NewEvent {
    xray(
        EventSeverity::Info,
        "refuse",
        "the core takes every key again".to_owned(),
    )
}

/// The core's API has been silent for a while.
pub(super) fn silent() -> NewEvent {
    health(EventSeverity::Error, "api", "the core's API does not answer".to_owned())
}

/// It answers again.
pub(super) fn answers() -> NewEvent {
    health(EventSeverity::Info, "api", "the core's API answers again".to_owned())
}

/// Connections of a port whose inbound is gone could not be ended.
pub(super) fn not_cut_off(port: u16, why: &str) -> NewEvent {
    let message = format!("connections of port {port} go on although its key is cut off: {why}");
    connection(EventSeverity::Error, port, message)
}

/// Some connections of such a port are still there.
pub(super) fn not_yet_cut_off(port: u16, left: usize) -> NewEvent {
    let message = format!("connections of port {port} that are not yet ended although its key is cut off: {left}");
    connection(EventSeverity::Warning, port, message)
}

fn connection(severity: EventSeverity, port: u16, message: String) -> NewEvent {
    NewEvent {
        kind: EventKind::Connection,
        severity,
        action: "cut_off",
        message,
        actor: "agent",
        details: vec![("port", port.to_string())],
        ..NewEvent::default()
    }
}

fn health(severity: EventSeverity, action: &'static str, message: String) -> NewEvent {
    NewEvent {
        kind: EventKind::ServiceHealth,
        ..xray(severity, action, message)
    }
}

fn xray(severity: EventSeverity, action: &'static str, message: String) -> NewEvent {
    NewEvent {
        kind: EventKind::Xray,
        severity,
        service: "xray",
        action,
        message,
        actor: "agent",
        ..NewEvent::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_is_told() {
        let error = CoreError::NoConfiguration("/etc/secret/config.json".into());
        let event = not_started(&error);
        assert!(!event.message.contains('/'), "{}", event.message);
        assert_eq!(
            (event.kind, event.severity),
            (EventKind::ServiceHealth, EventSeverity::Error)
        );
    }
}
