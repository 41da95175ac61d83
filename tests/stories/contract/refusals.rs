//! What every route must refuse, and in which order it looks: the key, the ids in the path, the query, the body.

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::network::Pair;
use serde_json::{Value, json};

use super::ask::Caller;
use super::promise::{Ask, Names, Promise, Refusal, promises};
use super::world::{World, with_world};
use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("every_route_refuses_what_it_must", every_route_refuses_what_it_must),
    ("strangers_and_wrong_ways", strangers_and_wrong_ways),
    ("a_damaged_file_is_told", a_damaged_file_is_told),
    ("without_a_core_to_restart", without_a_core_to_restart),
];

/// No key or a wrong one comes before everything; then an id that nobody has, before query and body.
const UNKNOWN_IDS: [&str; 7] = [
    "nobody",
    "00000000-0000-4000-8000-000000000000",
    "%ff",
    "%00",
    "a%2Fb",
    "%2e%2e",
    "%E2%82%AC",
];

/// What no route takes for a query or a body.
const BAD_QUERY: &str = "year_month=x&days=x&limit=x&days_to_keep=x&period=x&hours=x";
const BAD_BODY: &str = "{";

fn every_route_refuses_what_it_must() -> Result<()> {
    with_world(|world| {
        let faults = refused(&world.caller, "", &world.names(true)?)?;
        let carol = world.names(true)?.with("key_id", &world.carol.id);
        let disabled = refused(&world.caller, "disabled", &carol)?;
        told([faults, disabled].concat())
    })
}

fn strangers_and_wrong_ways() -> Result<()> {
    with_world(|world| {
        let mut faults = Vec::new();
        for route in &promises().routes {
            let found = [
                without_key(world, route)?,
                unknown_key(world, route)?,
                wrong_method(world, route)?,
            ];
            faults.extend(found.concat().iter().map(|fault| format!("{}: {fault}", route.name())));
        }
        faults.extend(unknown_paths(&world.caller)?);
        told(faults)
    })
}

/// Texts name no file, and what is damaged is in step with nothing.
fn a_damaged_file_is_told() -> Result<()> {
    with_world(|world| {
        let (agent, names) = (&world.agent, world.names(true)?);
        let good = agent.read_core_configuration()?;
        let mut without_inbounds = good.clone();
        without_inbounds["inbounds"] = json!([]);
        let mut incomplete = good.clone();
        let inbound = key_inbound(&mut incomplete)?;
        inbound["streamSettings"]["realitySettings"]["privateKey"] = json!("");
        // One that nobody here can fill in: it is not Portmeter's.
        inbound["tag"] = json!("somebody-else's");

        let mut faults = Vec::new();
        // Whether the keys' clients are all there is another question, and has an answer.
        for (situation, text, has_clients) in [
            ("damaged_file", "{".to_owned(), false),
            ("no_inbound", without_inbounds.to_string(), false),
            ("incomplete_reality", incomplete.to_string(), true),
        ] {
            std::fs::write(agent.core_configuration(), text)?;
            faults.extend(refused(&world.caller, situation, &names)?);
            let shown = agent.synchronization()?;
            ensure!(shown["synchronized"] == has_clients, "{situation}: {shown}");
        }
        agent.write_core_configuration(&good)?;
        agent.wait_until_synchronized()?;
        told(faults)
    })
}

fn without_a_core_to_restart() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let caller = Caller::new(&pair.server);
    let names = Names::default().with("new_name", "one too many");
    let unmanaged = refused(&caller, "nobody_runs_the_core", &names)?;
    agent.rest().create_keys(100)?;
    let full = refused(&caller, "every_port_taken", &names)?;
    ensure!(agent.rest().keys()?.len() == 100, "a refused key is there");
    told([unmanaged, full].concat())
}

fn told(faults: Vec<String>) -> Result<()> {
    ensure!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

/// Everything that is refused in a situation (where it is empty: in any).
fn refused(caller: &Caller<'_>, situation: &str, names: &Names) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut n_asked = 0;
    for route in &promises().routes {
        let is_meant = |refusal: &&Refusal| refusal.when.as_deref().unwrap_or_default() == situation;
        for refusal in route.errors.iter().filter(is_meant) {
            let ask = route.refused(refusal, names);
            let found = match body_of(caller, &ask) {
                Ok((status, body)) => refusal.faults(route, names, status, &body),
                Err(error) => vec![format!("{error:#}")],
            };
            faults.extend(found.iter().map(|fault| format!("{ask:?}: {fault}")));
            n_asked += 1;
        }
    }
    ensure!(n_asked > 0, "nothing is refused when {situation}");
    Ok(faults)
}

fn body_of(caller: &Caller<'_>, ask: &Ask) -> Result<(u16, Value)> {
    let answer = caller.send(ask)?;
    let body = answer.json()?;
    // A path would tell a stranger where things are.
    ensure!(!body.to_string().contains("/config.json"), "a path in {body}");
    Ok((answer.status, body))
}

/// Strangers learn nothing but that they are strangers; open routes take no notice of a key.
fn without_key(world: &World<'_>, route: &Promise) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let names = world.names(true)?;
    for api_key in [None, Some("wrong"), Some("a-key-for-the-storieS")] {
        let stranger = world.caller.with_key(api_key);
        if !route.needs_key() {
            let status = stranger.send(&route.ask(&names))?.status;
            if status != route.status {
                faults.push(format!("{status} with key {api_key:?}"));
            }
            continue;
        }
        let text = if route.is_panel() {
            "unauthorized"
        } else {
            "Invalid API key. Use X-API-Key header with the correct key."
        };
        let good = route.ask(&names);
        let unknown = route.ask(
            &names
                .clone()
                .with("key_id", "nobody")
                .with("file", "%2e%2e")
                .with("date", "x"),
        );
        for ask in [spoilt(&good), good, spoilt(&unknown)] {
            faults.extend(unlike(&stranger, &ask, 401, &route.error(401, text))?);
        }
    }
    Ok(faults)
}

/// An unknown key is told before what is wrong with query and body.
fn unknown_key(world: &World<'_>, route: &Promise) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for id in UNKNOWN_IDS.iter().filter(|_| route.has_key_id()) {
        let ask = route.ask(&world.names(true)?.with("key_id", id));
        for ask in [spoilt(&ask), ask] {
            faults.extend(unlike(&world.caller, &ask, 404, &route.error(404, "Key not found"))?);
        }
    }
    Ok(faults)
}

/// A method that a path does not have is told with and without a key.
fn wrong_method(world: &World<'_>, route: &Promise) -> Result<Vec<String>> {
    if route.method == "ANY" {
        return Ok(Vec::new());
    }
    let ask = route.ask_wrongly(&world.names(true)?);
    let refused = route.error(405, "Method Not Allowed");
    let with_key = unlike(&world.caller, &ask, 405, &refused)?;
    let without_key = unlike(&world.caller.with_key(None), &spoilt(&ask), 405, &refused)?;
    Ok([with_key, without_key].concat())
}

/// Paths that nobody has, in the body of the family that they would belong to.
fn unknown_paths(caller: &Caller<'_>) -> Result<Vec<String>> {
    let key = json!({"detail": "Not Found"});
    let panel = json!({"ok": false, "error": "Not found", "code": 404});
    let mut faults = Vec::new();
    for (path, body) in [
        ("/nothing", &key),
        ("/api/nothing", &key),
        ("/api/keys/", &key),
        ("/api/system/nothing", &key),
        ("/api/system/xray/nothing", &key),
        ("/api/users/nothing", &panel),
        ("/api/live/nothing", &panel),
        ("/api/collector", &panel),
        ("/api/backups/nothing/nothing", &panel),
        ("/api/tests", &panel),
    ] {
        for api_key in [None, Some(portmeter_tests::agent::API_KEY)] {
            let ask = Ask {
                method: "GET".to_owned(),
                target: path.to_owned(),
                body: String::new(),
            };
            faults.extend(unlike(&caller.with_key(api_key), &ask, 404, body)?);
        }
    }
    Ok(faults)
}

/// The same request with a bad query, and a bad body where it has one.
fn spoilt(ask: &Ask) -> Ask {
    let path = ask.target.split('?').next().unwrap_or_default();
    let body = if ask.body.is_empty() { "" } else { BAD_BODY };
    Ask {
        target: format!("{path}?{BAD_QUERY}"),
        body: body.to_owned(),
        ..ask.clone()
    }
}

/// What is wrong with an answer that has to be exactly this one.
fn unlike(caller: &Caller<'_>, ask: &Ask, status: u16, body: &Value) -> Result<Vec<String>> {
    let answer = caller.send(ask)?;
    let is_right = answer.status == status && answer.json().is_ok_and(|told| told == *body);
    Ok(if is_right {
        Vec::new()
    } else {
        vec![format!("{ask:?}: {answer:?} instead of {status} {body}")]
    })
}

fn key_inbound(configuration: &mut Value) -> Result<&mut Value> {
    let inbounds = configuration["inbounds"].as_array_mut().context("no inbounds")?;
    let mut inbounds = inbounds.iter_mut();
    let is_a_keys = |inbound: &&mut Value| inbound["tag"].as_str().is_some_and(|tag| tag.starts_with("inbound-"));
    inbounds.find(is_a_keys).context("no inbound of a key")
}
