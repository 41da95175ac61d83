//! The sections beside the inbounds: what Portmeter needs of them is seen to, what others wrote is kept.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Map, Value, json};

use super::{list, text};
use crate::xray::access_log;

/// Services of the core's API that Portmeter calls.
const SERVICES: [&str; 2] = ["HandlerService", "StatsService"];

/// The core's word for no access log.
const NOWHERE: &str = "none";

/// The core's statistics that are switched on at level 0, which is every key's.
const LEVEL_STATISTICS: [&str; 2] = ["statsUserUplink", "statsUserDownlink"];

/// And for all inbounds.
const SYSTEM_STATISTICS: [&str; 2] = ["statsInboundUplink", "statsInboundDownlink"];

/// Where nothing is said of logs, the core tells of warnings and keeps no record of what people visit. The agent's access
/// log is put where the operator has named no file, and taken out where it is not wanted any more.
pub(super) fn set_log(root: &mut Map<String, Value>, wanted: Option<&str>) {
    if is_absent(root, "log") {
        root.insert("log".to_owned(), json!({"loglevel": "warning", "access": NOWHERE}));
    }
    let Some(log) = object(root, "log") else { return };
    let present = text(log, "access");
    let is_operators = !present.is_empty() && present != NOWHERE && !access_log::is_ours(present);
    match wanted {
        Some(path) if !is_operators => drop(log.insert("access".to_owned(), json!(path))),
        None if access_log::is_ours(present) => drop(log.insert("access".to_owned(), json!(NOWHERE))),
        _ => {}
    }
}

/// The core's API listens where Portmeter looks for it and has the services it needs; others' services are kept.
pub(super) fn ensure_api(root: &mut Map<String, Value>, listen: SocketAddr) {
    let Some(api) = object(root, "api") else { return };
    if text(api, "tag").is_empty() {
        api.insert("tag".to_owned(), json!("api"));
    }
    api.insert("listen".to_owned(), json!(listen));
    let mut services = list(api, "services").to_vec();
    for service in SERVICES {
        // The core does not mind the case.
        let is_there = |value: &Value| value.as_str().is_some_and(|name| name.eq_ignore_ascii_case(service));
        if !services.iter().any(is_there) {
            services.push(json!(service));
        }
    }
    api.insert("services".to_owned(), Value::Array(services));
}

/// Switches statistics on where nothing is said about them.
pub(super) fn fill_statistics(root: &mut Map<String, Value>) {
    object(root, "stats");
    let Some(policy) = object(root, "policy") else { return };
    if let Some(level) = object(policy, "levels").and_then(|levels| object(levels, "0")) {
        fill_true(level, LEVEL_STATISTICS);
    }
    if let Some(system) = object(policy, "system") {
        fill_true(system, SYSTEM_STATISTICS);
    }
}

/// A core without an outbound carries nothing.
pub(super) fn fill_outbounds(root: &mut Map<String, Value>) {
    if list(root, "outbounds").is_empty() {
        let outbounds = json!([
            {"protocol": "freedom", "tag": "direct"},
            {"protocol": "blackhole", "tag": "blocked"},
        ]);
        root.insert("outbounds".to_owned(), outbounds);
    }
}

/// Keeps the older way to the core's API open for whoever uses it: an inbound that is routed to the API's tag.
///
/// A core whose API has a `listen` no longer answers under that tag and drops what is routed there, so an outbound of
/// that name passes it on.
pub(super) fn keep_legacy_door(root: &mut Map<String, Value>, listen: SocketAddr) {
    let tag = root
        .get("api")
        .and_then(Value::as_object)
        .map(|api| text(api, "tag").to_owned());
    let Some(tag) = tag.filter(|tag| is_routed_to(root, tag)) else {
        return;
    };
    let Some(Value::Array(outbounds)) = root.get_mut("outbounds") else {
        return;
    };
    let redirect = json!(reachable(listen));
    let present = outbounds.iter_mut().find(|outbound| outbound["tag"] == tag.as_str());
    match present {
        None => outbounds.push(json!({"protocol": "freedom", "tag": tag, "settings": {"redirect": redirect}})),
        // Anything else of that name is somebody's own arrangement.
        Some(outbound) => {
            if let Some(address) = outbound.pointer_mut("/settings/redirect") {
                *address = redirect;
            }
        }
    }
}

fn is_routed_to(root: &Map<String, Value>, tag: &str) -> bool {
    let routing = root.get("routing").and_then(Value::as_object);
    let rules = routing.map_or(&[][..], |routing| list(routing, "rules"));
    rules.iter().any(|rule| rule["outboundTag"] == tag)
}

/// Where to reach what listens on this address.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, listen.port())
}

/// The object of this name, made where there is none; `None` where something else has the name.
fn object<'a>(parent: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Map<String, Value>> {
    if is_absent(parent, name) {
        parent.insert(name.to_owned(), json!({}));
    }
    parent.get_mut(name)?.as_object_mut()
}

/// The core takes `null` for absent.
fn is_absent(object: &Map<String, Value>, name: &str) -> bool {
    object.get(name).is_none_or(Value::is_null)
}

fn fill_true<const COUNT: usize>(object: &mut Map<String, Value>, names: [&str; COUNT]) {
    for name in names {
        if is_absent(object, name) {
            object.insert(name.to_owned(), json!(true));
        }
    }
}
