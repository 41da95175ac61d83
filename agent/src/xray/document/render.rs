//! The wanted configuration: Portmeter's inbounds among whatever others wrote.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::inbound::Inbound;
use super::{Document, list, sections};
use crate::xray::reality::ShortId;
use crate::xray::wanted::{CoreSettings, Wanted, WantedInbound};

/// What Portmeter decides in its inbounds. Anything else there (`sniffing`) is the operator's and is kept.
const DECIDED: [&str; 6] = ["port", "listen", "protocol", "tag", "settings", "streamSettings"];

/// The configuration that brings a core to the wanted state.
///
/// With a `base`, everything in it that is not Portmeter's stays as it is and where it is. Portmeter's inbounds are
/// replaced in their places, appended in the order of `wanted` or taken out. Rendering over the result changes nothing.
pub fn render(base: Option<&Document>, wanted: &Wanted) -> Document {
    let mut root = base.map_or_else(Map::new, |base| base.root.clone());
    let inbounds = inbounds(list(&root, "inbounds"), wanted);
    sections::set_log(&mut root, wanted.settings.access_log.as_deref());
    sections::ensure_api(&mut root, wanted.settings.api_listen);
    sections::fill_statistics(&mut root);
    root.insert("inbounds".to_owned(), Value::Array(inbounds));
    sections::fill_outbounds(&mut root);
    sections::keep_legacy_door(&mut root, wanted.settings.api_listen);
    Document { root }
}

fn inbounds(present: &[Value], wanted: &Wanted) -> Vec<Value> {
    let by_key: HashMap<Uuid, &WantedInbound> = wanted.inbounds.iter().map(|inbound| (inbound.uuid, inbound)).collect();
    let mut written = HashSet::new();
    let mut inbounds = Vec::with_capacity(present.len() + wanted.inbounds.len());
    for value in present {
        let view = Inbound::of(value);
        match view.as_ref().and_then(Inbound::key) {
            None => inbounds.push(value.clone()),
            Some(uuid) => {
                // Of two with one tag, which the core would refuse, the first is replaced and the second goes.
                if let Some(inbound) = by_key.get(&uuid).filter(|_| written.insert(uuid)) {
                    inbounds.push(Value::Object(inbound_object(&wanted.settings, inbound, view)));
                }
            }
        }
    }
    for inbound in &wanted.inbounds {
        if written.insert(inbound.uuid) {
            inbounds.push(Value::Object(inbound_object(&wanted.settings, inbound, None)));
        }
    }
    inbounds
}

/// A key's inbound, with what the operator added to the `present` one.
pub(super) fn inbound_object(
    settings: &CoreSettings,
    wanted: &WantedInbound,
    present: Option<Inbound<'_>>,
) -> Map<String, Value> {
    let mut inbound = Map::new();
    let mut set = |name: &str, value: Value| inbound.insert(name.to_owned(), value);
    set("port", json!(wanted.port));
    if let Some(address) = settings.listen {
        set("listen", json!(address));
    }
    set("protocol", json!("vless"));
    set("tag", json!(wanted.tag()));
    set(
        "settings",
        json!({
            "clients": [{"id": wanted.uuid, "flow": settings.flow, "email": wanted.uuid}],
            "decryption": "none",
        }),
    );
    set("streamSettings", stream_settings(settings, wanted));
    let added = present.into_iter().flat_map(|present| present.0);
    inbound.extend(
        added
            .filter(|(name, _)| !DECIDED.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    inbound
}

fn stream_settings(settings: &CoreSettings, wanted: &WantedInbound) -> Value {
    let reality = &wanted.reality;
    let short_ids: Vec<&str> = reality.short_ids.iter().map(ShortId::as_str).collect();
    json!({
        "network": "tcp",
        "security": "reality",
        "realitySettings": {
            "show": false,
            "dest": reality.dest,
            "xver": 0,
            "serverNames": reality.server_names,
            "privateKey": reality.private_key.to_secret_text(),
            "shortIds": short_ids,
            "maxTimeDiff": settings.max_time_diff_ms,
        },
    })
}

#[cfg(test)]
mod tests;
