//! Users of the panel are keys; and keys that are asked for over gRPC by who asks twice, or does not wait.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portmeter_proto::reason::Reason;
use portmeter_proto::v1::CreateKeyRequest;
use portmeter_tests::agent::Agent;
use portmeter_tests::bare_grpc::end_of_call;
use portmeter_tests::network::Pair;
use portmeter_tests::rest::Key;
use portmeter_tests::xray::{Client, Link, Site, Supervised, listening_ports};
use serde_json::{Value, json};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_user_of_the_panel_is_a_key", a_user_of_the_panel_is_a_key),
    ("a_request_makes_one_key", a_request_makes_one_key),
    ("a_deadline_is_told", a_deadline_is_told),
    (
        "who_goes_away_leaves_nothing_half_done",
        who_goes_away_leaves_nothing_half_done,
    ),
];

const EMAIL: &str = "user@example.com";
const BODY: u64 = 1_000_000;

/// Added, connected, counted, named and removed on the panel.
fn a_user_of_the_panel_is_a_key() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    let rest = agent.rest();
    let post = |path: &str, body: Value| rest.post(path, Some(body));
    let added = post("/api/users/add", json!({ "email": EMAIL }))?.expect_success()?;
    let key = one_key(&agent)?;
    ensure!(key.name == EMAIL && added["uuid"] == key.uuid, "{added} {key:?}");
    ensure!(
        listening_ports(&pair.server)?.contains(&key.port),
        "the core has it at once"
    );
    let again = post("/api/users/add", json!({ "email": EMAIL }))?;
    let expected = json!({"ok": false, "error": format!("User with email {EMAIL} already exists"), "code": 409});
    ensure!(again.status == 409 && again.body == expected, "{}", again.body);

    let unused = stats(&agent)?;
    ensure!(
        unused["daysUsed"] == 0 && unused["isOnline"] == false && unused["firstSeenAt"].is_null(),
        "{unused}"
    );
    let link = rest.shown(&format!("/api/users/link?email={}", EMAIL.replace('@', "%40")))?;
    let client = Client::start(&pair.client, &Link::parse(link["link"].as_str().context("no link")?)?)?;
    client.fetch(BODY)?;
    let used = stats(&agent)?;
    ensure!(
        used["totalTrafficBytes"].as_u64() > Some(BODY) && used["daysUsed"] == 1 && used["isOnline"] == true,
        "{used}"
    );
    let is_moment = |name: &str| used[name].as_str().is_some_and(|text| text.ends_with('Z'));
    ensure!(is_moment("firstSeenAt") && is_moment("lastSeenAt"), "{used}");

    let named = post("/api/users/update-alias", json!({"email": EMAIL, "alias": " Zoë "}))?.expect_success()?;
    ensure!(named == json!({"ok": true, "email": EMAIL, "alias": "Zoë"}), "{named}");
    let users = rest.shown("/api/users")?;
    let expected = json!([
        {"email": EMAIL, "uuid": key.uuid, "flow": "xtls-rprx-vision", "enabled": true, "alias": "Zoë"}
    ]);
    ensure!(users["users"] == expected, "{users}");
    client.fetch(BODY)?;

    post("/api/users/delete", json!({ "uuid": key.uuid }))?.expect_success()?;
    ensure!(
        rest.keys()?.is_empty() && stats_of_all(&agent)?["stats"] == json!({}),
        "it is gone"
    );
    ensure!(client.is_refused()?, "a deleted user gets in");
    Ok(())
}

/// However often it comes, before and after the agent was killed.
fn a_request_makes_one_key() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let request = |name: &str| CreateKeyRequest {
        name: name.to_owned(),
        request_id: "2b1f8a3e".to_owned(),
        is_name_unique: true,
    };
    let first = agent.grpc()?.create_key(request(EMAIL))?;
    ensure!(
        agent.grpc()?.create_key(request(EMAIL))? == first,
        "the second call made another key"
    );
    agent.kill()?;
    agent.start()?;
    let grpc = agent.grpc()?;
    ensure!(
        grpc.create_key(request(EMAIL))? == first,
        "the agent has forgotten the request"
    );
    let reused = grpc
        .create_key(request("other@example.com"))
        .err()
        .context("a reused id passes")?;
    ensure!(Reason::of(&reused) == Reason::RequestIdReused, "{reused:?}");
    let taken = CreateKeyRequest {
        request_id: String::new(),
        ..request(EMAIL)
    };
    let taken = grpc.create_key(taken).err().context("a taken name passes")?;
    ensure!(Reason::of(&taken) == Reason::KeyNameTaken, "{taken:?}");
    ensure!(agent.rest().keys()?.len() == 1, "one key");
    agent.rest().delete_key(&first.id)?;
    let deleted = grpc
        .create_key(request(EMAIL))
        .err()
        .context("a deleted key is made again")?;
    ensure!(Reason::of(&deleted) == Reason::KeyNotFound, "{deleted:?}");
    Ok(())
}

/// Asked by a client that has no clock of its own: the usual ones give up before the server can say anything.
fn a_deadline_is_told() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let socket = agent.run_folder().join("agent.sock");
    for (method, timeout, status) in [
        ("KeyService/ListKeys", "10S", "0"),
        ("KeyService/ListKeys", "1n", "4"),
        ("TrafficService/WatchTraffic", "300m", "4"),
    ] {
        let end = end_of_call(&socket, method, timeout)?;
        ensure!(end["grpc-status"] == status, "{method} within {timeout}: {end:?}");
    }
    Ok(())
}

/// Callers leave at all kinds of moments. Changes come one after the other, so once a later one is answered, each earlier
/// one is either not begun or complete: nothing is waited for, and the core has exactly the keys that there are.
fn who_goes_away_leaves_nothing_half_done() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    let grpc = agent.grpc()?;
    let patience = |number: u64| Duration::from_micros(200 + 300 * number);
    for number in 0..30 {
        grpc.create_key_and_leave(&format!("guest {number}"), patience(number));
    }
    let last = agent.rest().create_key("patient")?;
    let keys = agent.rest().keys()?;
    ensure!(
        keys.len() > 1,
        "everybody went away too early for this to show anything"
    );
    store_and_core_agree(&agent, &keys)?;

    for (number, key) in (0..).zip(keys.iter().filter(|key| key.id != last.id)) {
        grpc.delete_key_and_leave(&key.id, patience(number));
    }
    agent.rest().delete_key(&last.id)?;
    store_and_core_agree(&agent, &agent.rest().keys()?)?;
    agent.wait_until_synchronized()
}

fn store_and_core_agree(agent: &Supervised<'_>, keys: &[Key]) -> Result<()> {
    let configured = 10_001..=10_100;
    let wanted: BTreeSet<u16> = keys.iter().map(|key| key.port).collect();
    let listening = listening_ports(agent.host())?.into_iter();
    let open: BTreeSet<u16> = listening.filter(|port| configured.contains(port)).collect();
    ensure!(open == wanted, "the core listens on {open:?}, the keys have {wanted:?}");
    Ok(())
}

fn one_key(agent: &Supervised<'_>) -> Result<Key> {
    let mut keys = agent.rest().keys()?;
    ensure!(keys.len() == 1, "{keys:?}");
    keys.pop().context("a key")
}

fn stats_of_all(agent: &Supervised<'_>) -> Result<Value> {
    agent.rest().shown("/api/users/stats")
}

/// What is told of the only user, in both forms alike.
fn stats(agent: &Supervised<'_>) -> Result<Value> {
    let all = stats_of_all(agent)?;
    let (user, short) = (&all["users"][0], &all["stats"][EMAIL]);
    ensure!(
        short["traffic"] == user["totalTrafficBytes"] && short["isOnline"] == user["isOnline"],
        "{all:#}"
    );
    Ok(user.clone())
}
