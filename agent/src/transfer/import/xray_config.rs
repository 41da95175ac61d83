//! The configuration of an Xray core: the clients of its VLESS inbounds, who become keys.
//!
//! Most often there is one inbound that all of them share. A key has a port of its own, so only who was alone keeps the
//! inbound's; but each keeps what else its link has, the REALITY settings.

mod format;

use std::collections::HashSet;

use serde_json::Value;
use uuid::Uuid;

use self::format::{Client, Configuration, Inbound};
use super::error::ImportError;
use super::fields::FileName;
use super::json;
use super::plan::{ImportPlan, ImportedKey, OldInbound, Skipped};
use super::source::File;
use crate::xray::reality::Identity;
use crate::xray::wanted::uuid_of_tag;

/// The flow that keys have unless configured otherwise.
const USUAL_FLOW: &str = "xtls-rprx-vision";

/// Adds the clients of a configuration. Who is in the plan already, by `keys.json`, is given what the file lacks.
pub(super) fn read(file: &File<'_>, plan: &mut ImportPlan) -> Result<(), ImportError> {
    let configuration: Configuration = json::parse(file)?;
    let mut seen = HashSet::new();
    for (place, mut inbound) in configuration.inbounds.into_iter().enumerate() {
        let name = inbound.name(place);
        let clients = inbound.clients();
        if clients.is_empty() {
            continue;
        }
        if !inbound.is_vless() {
            let what = format!("{} client(s) of {name}", clients.len());
            skip(plan, file, what, "keys are VLESS, and this inbound is not");
            continue;
        }
        let uuids: Vec<Uuid> = clients.iter().filter_map(Client::uuid).collect();
        let clients = usable(file, &name, clients, &mut seen, plan);
        add(file, &name, &inbound, clients, plan);
        if !uuids.is_empty() && !inbound.is_portmeters() {
            plan.inbounds.push(OldInbound {
                name,
                port: inbound.port(),
                clients: uuids,
            });
        }
    }
    Ok(())
}

/// A client that becomes a key.
struct Usable {
    uuid: Uuid,
    name: String,
    has_usual_flow: bool,
}

fn usable(
    file: &File<'_>,
    inbound: &str,
    clients: Vec<Client>,
    seen: &mut HashSet<Uuid>,
    plan: &mut ImportPlan,
) -> Vec<Usable> {
    let mut usable = Vec::new();
    for (place, client) in clients.into_iter().enumerate() {
        let uuid = client.uuid();
        let email = client.email.unwrap_or_default();
        let email = email.trim();
        let whose = match email {
            "" => format!("client {place} of {inbound}"),
            email => format!("client {email} of {inbound}"),
        };
        // The id is a secret, and what it is instead is not repeated.
        let Some(uuid) = uuid else {
            skip(
                plan,
                file,
                whose,
                "its id is no uuid: make it a key and hand out the link",
            );
            continue;
        };
        if !seen.insert(uuid) {
            skip(
                plan,
                file,
                whose,
                "it is a client of another inbound, too, and a key has one port",
            );
            continue;
        }
        let name = FileName::new(email).map_or_else(|| uuid.to_string(), |name| name.0);
        if !email.is_empty() && name != email {
            skip(
                plan,
                file,
                format!("email of {uuid}"),
                "it is too long for a name: the uuid is its name",
            );
        }
        usable.push(Usable {
            uuid,
            name,
            has_usual_flow: client.flow.as_deref() == Some(USUAL_FLOW),
        });
    }
    usable
}

fn add(file: &File<'_>, name: &str, inbound: &Inbound, clients: Vec<Usable>, plan: &mut ImportPlan) {
    if clients.is_empty() {
        return;
    }
    let (port, identity) = (inbound.port(), inbound.identity());
    if identity.is_none() {
        let why = "it is no REALITY over TCP with a private key: its clients need the links of their new keys";
        skip(plan, file, format!("settings of {name}"), why);
    }
    let n_other_flows = clients.iter().filter(|client| !client.has_usual_flow).count();
    if n_other_flows > 0 {
        let what = format!("flow of {n_other_flows} client(s) of {name}");
        let why = format!("all keys have that of xray.flow: if it is {USUAL_FLOW}, hand out their new links");
        skip(plan, file, what, &why);
    }
    let shares_port = clients.len() > 1;
    for client in clients {
        let known = plan.keys.iter_mut().find(|key| key.uuid == client.uuid);
        match known {
            Some(key) => complete(key, port.filter(|_| !shares_port), identity.as_ref()),
            None => plan.keys.push(ImportedKey {
                id: None,
                uuid: client.uuid,
                name: client.name,
                is_active: true,
                created_at: None,
                port,
                shares_port,
                identity: identity.clone(),
            }),
        }
    }
}

/// Fills in what the old server's own files do not say; what they say goes first.
fn complete(key: &mut ImportedKey, port: Option<u16>, identity: Option<&Identity>) {
    key.port = key.port.or(port);
    let Some(identity) = identity else { return };
    let short_id = key.identity.take().and_then(|own| own.short_id);
    key.identity = Some(Identity {
        short_id: short_id.or_else(|| identity.short_id.clone()),
        ..identity.clone()
    });
}

/// Says of which keys the short id is known and the private key is not: their links do not work as they are.
pub(super) fn note_lone_short_ids(file: &File<'_>, plan: &mut ImportPlan) {
    let is_lone = |identity: &Identity| identity.short_id.is_some() && identity.private_key.is_none();
    let lone = plan
        .keys
        .iter()
        .filter(|key| key.identity.as_ref().is_some_and(is_lone));
    let n_lone = lone.count();
    if n_lone > 0 {
        let what = format!("REALITY key of {n_lone} key(s)");
        let why = "it is not in this file: import it together with the old server's Xray configuration, or hand out new links";
        skip(plan, file, what, why);
    }
}

fn skip(plan: &mut ImportPlan, file: &File<'_>, what: String, reason: &str) {
    plan.skipped.push(Skipped {
        file: file.name.to_owned(),
        what,
        reason: reason.to_owned(),
    });
}

/// A core's configuration without the inbounds that keys have taken the place of: the VLESS ones that Portmeter has not
/// written and that have one of these clients. `None` where there is none of them, or no list of inbounds at all.
pub fn without_inbounds(configuration: &Value, inbounds: &[OldInbound]) -> Option<Value> {
    let clients: HashSet<Uuid> = inbounds
        .iter()
        .flat_map(|inbound| inbound.clients.iter().copied())
        .collect();
    let is_replaced = |inbound: &Value| {
        let is_own = inbound["tag"].as_str().is_some_and(|tag| uuid_of_tag(tag).is_some());
        let is_vless = inbound["protocol"]
            .as_str()
            .is_some_and(|name| name.eq_ignore_ascii_case("vless"));
        let ids = inbound["settings"]["clients"].as_array().into_iter().flatten();
        let mut uuids = ids.filter_map(|client| Uuid::try_parse(client["id"].as_str()?.trim()).ok());
        !is_own && is_vless && uuids.any(|uuid| clients.contains(&uuid))
    };
    let listed = configuration.get("inbounds")?.as_array()?;
    let kept: Vec<Value> = listed.iter().filter(|inbound| !is_replaced(inbound)).cloned().collect();
    if kept.len() == listed.len() {
        return None;
    }
    let mut configuration = configuration.clone();
    configuration["inbounds"] = Value::Array(kept);
    Some(configuration)
}

#[cfg(test)]
mod tests;
