//! Checks the REALITY inbounds of a document and repairs what can be repaired.
//!
//! A wanted inbound is compared with what is wanted of it. Of others' inbounds nothing is known but what REALITY itself
//! needs: a required field that is not there is an error, a clock tolerance that shuts clients out is set.

use std::collections::HashMap;
use std::fmt;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Document;
use super::inbound::Inbound;
use super::reality::RealitySettings;
use super::render::inbound_object;
use crate::xray::wanted::{CoreSettings, Wanted, WantedInbound};

/// Below this a client needs several attempts even with its clock right: the core counts milliseconds, and who wrote
/// `600` meant seconds.
const MAX_TIME_DIFF_MS_MIN: u64 = 60_000;

/// What is compared of a wanted inbound: where it is, and what it is called.
const COMPARED: [(&str, &str); 11] = [
    ("/port", "port"),
    ("/listen", "listen"),
    ("/protocol", "protocol"),
    ("/settings/decryption", "decryption"),
    ("/streamSettings/network", "network"),
    ("/streamSettings/security", "security"),
    ("/streamSettings/realitySettings/dest", "dest"),
    ("/streamSettings/realitySettings/serverNames", "serverNames"),
    ("/streamSettings/realitySettings/privateKey", "privateKey"),
    ("/streamSettings/realitySettings/shortIds", "shortIds"),
    ("/streamSettings/realitySettings/xver", "xver"),
];

/// A REALITY inbound lacks what nothing here can fill in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the REALITY inbound {inbound} has no usable `{field}`; set it in the core's configuration")]
pub struct MissingField {
    /// Its tag in quotation marks, or its place where it has none.
    pub inbound: String,
    /// The field.
    pub field: &'static str,
}

/// Something that was repaired; displays as one sentence, which holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// A field was missing or differed from what is wanted.
    Field {
        /// The inbound's tag in quotation marks, or its place where it has none.
        inbound: String,
        /// The field.
        field: &'static str,
        /// Whether there was none.
        was_missing: bool,
    },
    /// `maxTimeDiff` was missing, switched off or too small.
    MaxTimeDiff {
        /// The inbound's tag in quotation marks, or its place where it has none.
        inbound: String,
        /// What it was, if it was a number.
        was_ms: Option<u64>,
        /// What it is now.
        now_ms: u64,
    },
    /// Nothing that has a name here, but the inbound was not as wanted.
    Rest {
        /// The inbound's tag in quotation marks.
        inbound: String,
    },
}

impl fmt::Display for Repair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field {
                inbound,
                field,
                was_missing,
            } => match was_missing {
                true => write!(formatter, "Inbound {inbound} had no `{field}`; it has the key's now."),
                false => write!(
                    formatter,
                    "Inbound {inbound} had a wrong `{field}`; it has the key's now."
                ),
            },
            Self::MaxTimeDiff {
                inbound,
                was_ms,
                now_ms,
            } => match was_ms {
                Some(was_ms) => write!(
                    formatter,
                    "Inbound {inbound} had `maxTimeDiff` {was_ms} ms; it is {now_ms} ms now."
                ),
                None => write!(
                    formatter,
                    "Inbound {inbound} had no `maxTimeDiff`; it is {now_ms} ms now."
                ),
            },
            Self::Rest { inbound } => {
                write!(
                    formatter,
                    "Inbound {inbound} had settings it should not have; they are gone now."
                )
            }
        }
    }
}

/// Checks every REALITY inbound and gives the repaired document, with a sentence for each repair.
///
/// Inbounds that are missing and inbounds of keys that are not wanted are left to [`render`](super::render()).
pub fn verify(document: &Document, wanted: &Wanted) -> Result<(Document, Vec<Repair>), MissingField> {
    let by_key: HashMap<Uuid, &WantedInbound> = wanted.inbounds.iter().map(|inbound| (inbound.uuid, inbound)).collect();
    let mut root = document.root.clone();
    let mut repairs = Vec::new();
    if let Some(Value::Array(inbounds)) = root.get_mut("inbounds") {
        for (index, value) in inbounds.iter_mut().enumerate() {
            let Value::Object(object) = value else { continue };
            let view = Inbound(object);
            let name = name(&view, index);
            match view.key() {
                Some(uuid) => {
                    if let Some(inbound) = by_key.get(&uuid) {
                        repair_own(object, &name, inbound, &wanted.settings, &mut repairs);
                    }
                }
                None => repair_foreign(object, &name, &wanted.settings, &mut repairs)?,
            }
        }
    }
    Ok((Document { root }, repairs))
}

/// What an inbound is called in a sentence: escaped, since others chose it.
fn name(inbound: &Inbound<'_>, index: usize) -> String {
    match inbound.tag() {
        "" => format!("number {}", index + 1),
        tag => format!("{tag:?}"),
    }
}

fn repair_own(
    object: &mut Map<String, Value>,
    name: &str,
    wanted: &WantedInbound,
    settings: &CoreSettings,
    repairs: &mut Vec<Repair>,
) {
    let right = Value::Object(inbound_object(settings, wanted, Some(Inbound(object))));
    let present = Value::Object(std::mem::take(object));
    let found = differences(&present, &right, name);
    if found.is_empty() && present != right {
        repairs.push(Repair::Rest {
            inbound: name.to_owned(),
        });
    }
    repairs.extend(found);
    if let Value::Object(right) = right {
        *object = right;
    }
}

fn differences(present: &Value, right: &Value, name: &str) -> Vec<Repair> {
    let mut found = Vec::new();
    let mut compare = |field: &'static str, present: Option<&Value>, right: Option<&Value>| {
        if present != right {
            found.push(Repair::Field {
                inbound: name.to_owned(),
                field,
                was_missing: present.is_none_or(Value::is_null),
            });
        }
    };
    for (pointer, field) in COMPARED {
        compare(field, present.pointer(pointer), right.pointer(pointer));
    }
    compare_clients(present, right, &mut compare);
    let max_time_diff = |value: &Value| value.pointer("/streamSettings/realitySettings/maxTimeDiff")?.as_u64();
    let (was_ms, now_ms) = (max_time_diff(present), max_time_diff(right).unwrap_or_default());
    if was_ms != Some(now_ms) {
        found.push(Repair::MaxTimeDiff {
            inbound: name.to_owned(),
            was_ms,
            now_ms,
        });
    }
    found
}

/// The flow has a name of its own: a wrong one is what shuts a customer out.
fn compare_clients(
    present: &Value,
    right: &Value,
    compare: &mut impl FnMut(&'static str, Option<&Value>, Option<&Value>),
) {
    const FLOW: &str = "/settings/clients/0/flow";
    compare("flow", present.pointer(FLOW), right.pointer(FLOW));
    let clients_but_flow = |value: &Value| {
        let mut clients = value.pointer("/settings/clients")?.clone();
        for client in clients.as_array_mut().into_iter().flatten().take(1) {
            if let Some(client) = client.as_object_mut() {
                client.shift_remove("flow");
            }
        }
        Some(clients)
    };
    compare(
        "clients",
        clients_but_flow(present).as_ref(),
        clients_but_flow(right).as_ref(),
    );
}

fn repair_foreign(
    object: &mut Map<String, Value>,
    name: &str,
    settings: &CoreSettings,
    repairs: &mut Vec<Repair>,
) -> Result<(), MissingField> {
    let view = Inbound(object);
    if !view.wants_reality() {
        return Ok(());
    }
    let empty = Map::new();
    let reality = RealitySettings(view.reality().unwrap_or(&empty));
    if let Some(field) = reality.missing_field() {
        return Err(MissingField {
            inbound: name.to_owned(),
            field,
        });
    }
    let was_ms = reality.max_time_diff_ms();
    let now_ms = settings.max_time_diff_ms;
    // What the operator configured is right, be it little or no check at all; a missing value is none.
    let effective_ms = was_ms.unwrap_or_default();
    if effective_ms >= MAX_TIME_DIFF_MS_MIN || effective_ms == now_ms {
        return Ok(());
    }
    let settings = object
        .get_mut("streamSettings")
        .and_then(|stream| stream.get_mut("realitySettings"));
    if let Some(Value::Object(reality)) = settings {
        reality.insert("maxTimeDiff".to_owned(), json!(now_ms));
        repairs.push(Repair::MaxTimeDiff {
            inbound: name.to_owned(),
            was_ms,
            now_ms,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
