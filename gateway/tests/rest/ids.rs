//! The id in a path, on every route that has one: a key's id or its uuid, the id first, and nothing else.

use http::StatusCode;
use portmeter_gateway::route_lines;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::agent::Agent;
use crate::ask::{Answer, Client};
use crate::route::{Route, contract, three_keys};

/// Whole walks of the routes, which take some milliseconds each.
const WALKS: u32 = 32;

#[test]
fn no_route_with_an_id_is_left_out() {
    let served = route_lines().into_iter().filter(|line| line.path.contains("{key_id}"));
    assert_eq!(routes().len(), served.count());
    assert!(routes().len() >= 15, "{}", routes().len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: WALKS, ..ProptestConfig::default() })]

    /// Either id, however much of it is percent-encoded, with either case in the digits of the encoding.
    #[test]
    fn id_and_uuid_are_as_good(
        number in 0_usize..3,
        is_uuid in any::<bool>(),
        encoded in prop::collection::vec(0_u8..3, 36),
    ) {
        let id_of = move |agent: &Agent| {
            let key = agent.key(number);
            if is_uuid { key.uuid } else { key.id }
        };
        walk(|agent| encode(&id_of(agent), &encoded), |route, agent, answer| {
            prop_assert_eq!(answer.status.as_u16(), route.status, "{}: {:?}", route.name(), answer);
            // Where the id is told, it is as it was given.
            if let Some(told) = answer.text.starts_with('{').then(|| answer.json()).as_ref().and_then(|body| body.get("key_id")) {
                prop_assert_eq!(told, &json!(id_of(agent)), "{}", route.name());
            }
            Ok(())
        })?;
    }

    /// Any other text, one that is nearly an id among them, is nobody's key on every route.
    #[test]
    fn what_is_no_id_is_unknown_everywhere(text in nobodys_id()) {
        walk(|_| text.clone(), |route, _, answer| {
            prop_assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}: {:?}", route.name(), answer);
            prop_assert_eq!(answer.json(), json!({"detail": "Key not found"}), "{}", route.name());
            Ok(())
        })?;
    }
}

/// An id that is another key's uuid is that of the key whose id it is.
#[tokio::test]
async fn an_id_is_tried_before_a_uuid() {
    for route in routes() {
        let (agent, client) = three_keys();
        let (second, third) = (agent.key(1).id, agent.key(2).id);
        agent.edit_key(0, |key| key.uuid.clone_from(&second));
        let answer = route.ask(&client, &second).await;
        assert_eq!(answer.status.as_u16(), route.status, "{}: {answer:?}", route.name());
        if route.method == "DELETE" {
            let left = client.get("/api/keys").await.ok();
            let ids: Vec<_> = left.as_array().unwrap().iter().map(|key| key["id"].clone()).collect();
            assert_eq!(ids, [json!(agent.key(0).id), json!(third)]);
        }
        let shown = answer.text.starts_with('{').then(|| answer.json());
        if let Some(key) = shown.as_ref().and_then(|body| body.get("key")) {
            assert_eq!(key["id"], second, "{}", route.name());
        }
    }
}

fn routes() -> Vec<Route> {
    let routes = contract().routes.into_iter();
    routes.filter(|route| route.path.contains("{key_id}")).collect()
}

/// Asks every route about an id, each of an agent of its own.
fn walk(
    id: impl Fn(&Agent) -> String,
    is_right: impl Fn(&Route, &Agent, &Answer) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let runtime = Runtime::new().unwrap();
    for route in routes() {
        let (agent, client): (Agent, Client) = three_keys();
        let asked = id(&agent);
        let answer = runtime.block_on(route.ask(&client, &asked));
        is_right(&route, &agent, &answer)?;
    }
    Ok(())
}

/// Each character as it is, or as its code in lower or in upper case.
fn encode(id: &str, ways: &[u8]) -> String {
    let encode = |(byte, way): (u8, &u8)| match way {
        0 => char::from(byte).to_string(),
        1 => format!("%{byte:02x}"),
        _ => format!("%{byte:02X}"),
    };
    id.bytes().zip(ways.iter().cycle()).map(encode).collect()
}

/// What a path can hold in one segment and is no key's id: texts of every kind, ids that lack a character or have
/// one too many, and one of the right form.
fn nobodys_id() -> impl Strategy<Value = String> {
    let (agent, _) = three_keys();
    let (id, uuid) = (agent.key(1).id, agent.key(1).uuid);
    let ids = prop::sample::select(vec![id, uuid]);
    prop_oneof![
        2 => "[A-Za-z0-9._~!$&'()*+,;=:@-]{1,80}",
        2 => prop::collection::vec(any::<u8>(), 1..40)
            .prop_map(|bytes| bytes.iter().map(|byte| format!("%{byte:02X}")).collect()),
        1 => "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
        1 => (ids.clone(), 0_usize..36).prop_map(|(id, at)| {
            let mut id = id;
            id.remove(at);
            id
        }),
        1 => (ids.clone(), "%20|%00|%0A|x|%2F|%2E").prop_map(|(id, more)| format!("{id}{more}")),
        1 => (ids, "%20|%00|x|%2F").prop_map(|(id, more)| format!("{more}{id}")),
    ]
    // Dots alone are no segment to a client, which leaves them out or goes up by them.
    .prop_filter("a segment of its own", |text: &String| text != "." && text != "..")
}
