//! What is told of changes of keys and ports: plain functions from the change to its events.
//!
//! A key's uuid lets in whoever has it, so no event holds one; a key is told by its id and its name.

use super::events::{EventKind, EventSeverity, NewEvent};
use super::snapshot::Key;

/// A key was made.
pub(super) fn created(key: &Key) -> NewEvent {
    of_key(key, EventSeverity::Info, "add", format!("key {} was made", key.id.0))
}

/// A key was removed.
pub(super) fn deleted(key: &Key) -> NewEvent {
    let message = format!("key {} was removed", key.id.0);
    of_key(key, EventSeverity::Warning, "delete", message)
}

/// A key that had been made was removed again.
pub(super) fn creation_taken_back(key: &Key) -> NewEvent {
    let message = format!("key {} was taken back: the core does not take it", key.id.0);
    let mut event = of_key(key, EventSeverity::Error, "take_back", message);
    event.details.push(("result", "refused".to_owned()));
    event
}

/// A key is again what it was before a change.
pub(super) fn change_taken_back(key: &Key) -> NewEvent {
    let message = format!("a change of key {} was taken back: the core does not take it", key.id.0);
    let mut event = of_key(key, EventSeverity::Error, "take_back", message);
    event.details.push(("result", "refused".to_owned()));
    event
}

/// What is different of a key; nothing where nothing is.
pub(super) fn changes(before: &Key, after: &Key) -> Vec<NewEvent> {
    let mut events = Vec::new();
    let mut done = Vec::new();
    if before.name != after.name {
        done.push("renamed");
    }
    if before.is_active != after.is_active {
        done.push(if after.is_active { "enabled" } else { "disabled" });
    }
    if !done.is_empty() {
        let message = format!("key {} was {}", after.id.0, done.join(" and "));
        let mut event = of_key(after, EventSeverity::Info, "update", message);
        if before.name != after.name {
            event
                .details
                .extend(name_to_show(before).map(|name| ("email_before", name)));
        }
        events.push(event);
    }
    if before.alias != after.alias {
        let message = format!("key {} has another alias", after.id.0);
        events.push(of_key(after, EventSeverity::Info, "update_alias", message));
    }
    if before.uuid != after.uuid {
        let message = format!("key {} got a new uuid: its old link works no more", after.id.0);
        events.push(of_key(after, EventSeverity::Warning, "kick", message));
    }
    events
}

/// A key's current figures begin at zero.
pub(super) fn traffic_reset(key: &Key) -> NewEvent {
    let message = format!("the current figures of key {} were reset", key.id.0);
    of_key(key, EventSeverity::Info, "reset_traffic", message)
}

/// A key's history begins anew.
pub(super) fn history_reset(key: &Key) -> NewEvent {
    let message = format!("the history of key {} was reset", key.id.0);
    of_key(key, EventSeverity::Warning, "reset_history", message)
}

/// A key has another billing cycle, or none.
pub(super) fn cycle_set(key: &Key) -> NewEvent {
    let message = match &key.cycle {
        Some(_) => format!("key {} has another billing cycle", key.id.0),
        None => format!("key {} has no billing cycle any more", key.id.0),
    };
    let mut event = of_key(key, EventSeverity::Info, "set_cycle", message);
    let rule = key.cycle.as_ref().map(|cycle| ("cycle", cycle.rule.to_string()));
    event.details.extend(rule);
    event
}

/// Keys have lost their ports.
pub(super) fn ports_reset(count: usize) -> NewEvent {
    NewEvent {
        kind: EventKind::System,
        severity: EventSeverity::Warning,
        action: "reset_ports",
        message: format!("all port assignments were cleared: {count}"),
        ..NewEvent::default()
    }
}

/// Keys have got ports.
pub(super) fn ports_assigned(count: usize) -> NewEvent {
    NewEvent {
        kind: EventKind::System,
        action: "assign_ports",
        message: format!("keys without a port that got one: {count}"),
        ..NewEvent::default()
    }
}

fn of_key(key: &Key, severity: EventSeverity, action: &'static str, message: String) -> NewEvent {
    let mut details = Vec::new();
    details.extend(name_to_show(key).map(|name| ("email", name)));
    if !key.alias.is_empty() && !holds_uuid(&key.alias, key) {
        details.push(("alias", key.alias.clone()));
    }
    details.push(("enabled", key.is_active.to_string()));
    NewEvent {
        kind: EventKind::User,
        severity,
        action,
        message,
        key_id: Some(key.id),
        details,
        ..NewEvent::default()
    }
}

/// A key's name. One that was made for a client without a name is called by its uuid, which is nobody's to read.
fn name_to_show(key: &Key) -> Option<String> {
    (!holds_uuid(&key.name, key)).then(|| key.name.clone())
}

fn holds_uuid(text: &str, key: &Key) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains(&key.uuid.to_string()) || text.contains(&key.uuid.simple().to_string())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::store::KeyId;

    fn key() -> Key {
        Key {
            id: KeyId(Uuid::from_u128(1)),
            uuid: Uuid::from_u128(2),
            name: "alice".to_owned(),
            alias: "Al".to_owned(),
            is_active: true,
            created_at: DateTime::UNIX_EPOCH,
            port: Some(10_001),
            assigned_at: None,
            cycle: None,
            subscription_token: None,
            identity: None,
        }
    }

    fn told(events: &[NewEvent]) -> Vec<(&'static str, EventSeverity)> {
        events.iter().map(|event| (event.action, event.severity)).collect()
    }

    fn detail<'a>(event: &'a NewEvent, wanted: &str) -> Option<&'a str> {
        let found = event.details.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| value.as_str())
    }

    #[test]
    fn each_change_is_told_once_and_no_change_is_not() {
        assert!(changes(&key(), &key()).is_empty());
        let renamed = Key {
            name: "bob".to_owned(),
            is_active: false,
            ..key()
        };
        let events = changes(&key(), &renamed);
        assert_eq!(told(&events), [("update", EventSeverity::Info)]);
        assert!(events[0].message.ends_with("was renamed and disabled"));
        let details = ["email", "email_before", "enabled", "alias"].map(|name| detail(&events[0], name));
        assert_eq!(details, [Some("bob"), Some("alice"), Some("false"), Some("Al")]);

        let everything = Key {
            uuid: Uuid::from_u128(3),
            alias: String::new(),
            ..renamed
        };
        let events = changes(&key(), &everything);
        let expected = [
            ("update", EventSeverity::Info),
            ("update_alias", EventSeverity::Info),
            ("kick", EventSeverity::Warning),
        ];
        assert_eq!(told(&events), expected);
        assert_eq!(detail(&events[1], "alias"), None);
    }

    #[test]
    fn a_name_that_is_the_uuid_is_not_told() {
        let uuid = key().uuid;
        for name in [uuid.to_string().to_uppercase(), format!("x {}", uuid.simple())] {
            let named = Key { name, ..key() };
            let all = [created(&named), deleted(&named), creation_taken_back(&named)];
            for event in all
                .into_iter()
                .chain(changes(&named, &key()))
                .chain(changes(&key(), &named))
            {
                let text = format!("{event:?}").to_lowercase();
                assert!(!text.contains(&uuid.to_string()) && !text.contains(&uuid.simple().to_string()));
                assert_eq!(event.key_id, Some(named.id));
            }
        }
    }
}
