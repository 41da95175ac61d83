//! What clients were promised, put to the gateway over the stand-in agent: all 70 routes, and what each refuses.
//!
//! The stories put the same to a real agent. Errors that are the agent's doing are in `provoke`.

use crate::agent::Agent;
use crate::ask::{Answer, Client};
use crate::promise::{Ask, Names, Promise, promises};
use crate::route::three_keys;

/// A backup that the stand-in has.
const BACKUP: &str = "20250805_115900__create__config.json";

#[test]
fn there_are_seventy() {
    assert_eq!(promises().routes.len(), 70);
}

#[tokio::test]
async fn every_route_keeps_its_promise() {
    let promises = promises();
    let mut faults = Vec::new();
    for route in &promises.routes {
        for key_id in [|agent: &Agent| agent.key(1).id, |agent: &Agent| agent.key(1).uuid] {
            for ask in [Promise::ask, Promise::ask_with_more] {
                let (agent, client) = with_users();
                let names = names(&agent).with("key_id", &key_id(&agent));
                let answer = send(&client, &ask(route, &names)).await;
                if answer.status.as_u16() != route.status {
                    faults.push(format!("{}: {answer:?}", route.name()));
                    continue;
                }
                let found = promises.faults(route, &names, &answer.json());
                faults.extend(found.iter().map(|fault| format!("{}: {fault}", route.name())));
            }
        }
    }
    faults.dedup();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test]
async fn every_route_refuses_what_it_must() {
    let mut faults = Vec::new();
    for route in &promises().routes {
        for refusal in route.errors.iter().filter(|refusal| refusal.when.is_none()) {
            let (agent, client) = with_users();
            let names = names(&agent);
            let ask = route.refused(refusal, &names);
            let answer = send(&client, &ask).await;
            let found = refusal.faults(route, &names, answer.status.as_u16(), &answer.json());
            faults.extend(found.iter().map(|fault| format!("{}, {ask:?}: {fault}", route.name())));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// An agent with three keys, the first of which has a name that can be a user's.
fn with_users() -> (Agent, Client) {
    let (agent, client) = three_keys();
    agent.edit_key(1, |key| "alice@example.com".clone_into(&mut key.name));
    (agent, client)
}

/// Key 1 and what goes with it, and what nobody has yet.
fn names(agent: &Agent) -> Names {
    let (key, other) = (agent.key(1), agent.key(2));
    Names::default()
        .with("key_id", &key.id)
        .with("uuid", &key.uuid)
        .with("email", &key.name)
        .with("other_uuid", &other.uuid)
        .with("date", "2025-08-05")
        .with("file", BACKUP)
        .with("rest", "any/thing")
        .with("new_name", "a new key")
        .with("new_email", "new@example.com")
        .with("long_name", &"x".repeat(256))
        .with("long_email", &format!("{}@example.com", "x".repeat(256)))
}

async fn send(client: &Client, ask: &Ask) -> Answer {
    client.send(&ask.method, &ask.target, &ask.body).await
}
