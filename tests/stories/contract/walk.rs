//! Every route answers what was promised: status, fields, types, texts and formats, with real data behind them.

use anyhow::{Result, ensure};

use super::promise::{Names, Promise, Promises, promises};
use super::world::{World, with_world};
use crate::Story;

pub(crate) const STORIES: &[Story] = &[("every_route_keeps_its_promise", every_route_keeps_its_promise)];

fn every_route_keeps_its_promise() -> Result<()> {
    let promises = promises();
    ensure!(promises.routes.len() == 70, "{} routes", promises.routes.len());
    with_world(|world| {
        let mut faults = Vec::new();
        for route in &promises.routes {
            faults.extend(walk(world, &promises, route)?);
        }
        ensure!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
        Ok(())
    })
}

/// Asks by id and by uuid, as it is and with more than anybody knows.
fn walk(world: &World<'_>, promises: &Promises, route: &Promise) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for by_uuid in [false, true] {
        for with_more in [false, true] {
            let names = names_for(world, route, by_uuid)?;
            let ask = if with_more {
                route.ask_with_more(&names)
            } else {
                route.ask(&names)
            };
            let found = match world.asked(&ask) {
                Ok((status, body)) if status == route.status => promises.faults(route, &names, &body),
                Ok((status, body)) => vec![format!("status {status} instead of {}: {body}", route.status)],
                Err(error) => vec![format!("{error:#}")],
            };
            faults.extend(found.iter().map(|fault| format!("{}: {fault}", route.name())));
            world.mend(route)?;
        }
    }
    faults.dedup();
    Ok(faults)
}

/// Who is asked about: somebody who may be spoilt, where the call does that.
fn names_for(world: &World<'_>, route: &Promise, by_uuid: bool) -> Result<Names> {
    let names = world.names(route.method != "GET")?;
    let is_spoilt = route.method == "DELETE" && route.has_key_id()
        || ["/api/users/delete", "/api/users/kick"].contains(&route.path.as_str());
    let key = match route.method.as_str() {
        _ if is_spoilt => world.newcomer()?,
        "GET" => world.alice.clone(),
        _ => world.bob.clone(),
    };
    let key_id = if by_uuid { &key.uuid } else { &key.id };
    Ok(names
        .with("uuid", &key.uuid)
        .with("email", &key.name)
        .with("key_id", key_id))
}
