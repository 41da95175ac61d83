//! The ways in: who is let in where, and that all of them tell the same.

use std::net::SocketAddr;
use std::thread;

use anyhow::{Result, ensure};
use portmeter_tests::agent::{API_KEY, Agent, REST_ADDRESS};
use portmeter_tests::metrics::Scrape;
use portmeter_tests::network::{Pair, SERVER_V4, SERVER_V6, cable, plug_in};
use portmeter_tests::rest::{Key, Rest};
use portmeter_tests::traffic::background::Background;
use portmeter_tests::traffic::held::HeldConnections;
use portmeter_tests::wait;
use serde_json::json;
use tonic::Code;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("rest_asks_for_the_key", rest_asks_for_the_key),
    ("grpc_asks_for_the_key_over_tcp", grpc_asks_for_the_key_over_tcp),
    ("many_callers_at_once", many_callers_at_once),
    ("a_watch_follows_the_traffic", a_watch_follows_the_traffic),
    ("connections_are_those_not_closed", connections_are_those_not_closed),
];

fn rest_asks_for_the_key() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    let refused = json!({"detail": "Invalid API key. Use X-API-Key header with the correct key."});
    for api_key in ["", "another-key-for-the-stories"] {
        let stranger = Rest::new(&pair.server, REST_ADDRESS, api_key);
        for path in [
            "/api/keys",
            "/api/keys/nobody",
            "/api/traffic/simple",
            "/api/system/ports",
        ] {
            let answer = stranger.get(path)?;
            ensure!(answer.status == 401 && answer.body == refused, "{path}: {answer:?}");
        }
        let answer = stranger.delete(&format!("/api/keys/{}", key.id))?;
        ensure!(answer.status == 401, "{answer:?}");
        for path in ["/", "/api", "/api/", "/livez", "/readyz"] {
            ensure!(stranger.get(path)?.status == 200, "{path} is for everybody");
        }
    }
    ensure!(agent.rest().keys()? == [key], "a stranger has deleted a key");
    Ok(())
}

fn grpc_asks_for_the_key_over_tcp() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    for stranger in [None, Some("another-key-for-the-stories")] {
        let refused = agent.grpc_over_tcp(stranger)?.keys_refused_with();
        ensure!(
            refused == Some(Code::Unauthenticated),
            "{stranger:?} is answered with {refused:?}"
        );
    }
    for friend in [agent.grpc_over_tcp(Some(API_KEY))?, agent.grpc()?] {
        let keys = friend.keys()?;
        let told = keys.first().map(|told| (told.id.clone(), told.uuid.clone(), told.port));
        ensure!(
            keys.len() == 1 && told == Some((key.id.clone(), key.uuid.clone(), Some(key.port.into()))),
            "{keys:?}"
        );
    }
    Ok(())
}

/// Callers do not get in each other's way, nor in that of interfaces that come and go.
fn many_callers_at_once() -> Result<()> {
    const CALLS: usize = 25;
    const PATHS: [&str; 4] = [
        "/api/traffic/simple",
        "/api/traffic/ports/exact",
        "/api/keys",
        "/api/system/ports",
    ];
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    agent.rest().create_keys(3)?;
    let answered: Result<()> = thread::scope(|scope| {
        let call = |path| (0..CALLS).try_for_each(|_| agent.rest().get(path)?.expect_success().map(drop));
        let callers: Vec<_> = PATHS
            .into_iter()
            .chain(PATHS)
            .map(|path| scope.spawn(move || call(path)))
            .collect();
        for _ in 0..CALLS {
            pair.server.run("ip link add coming0 type veth peer name coming1")?;
            pair.server.run("ip link del coming0")?;
        }
        cable((&pair.server, "eth1"), (&pair.client, "eth1"))?;
        plug_in(&pair.server, "eth1", &["10.79.0.1/24"])?;
        callers
            .into_iter()
            .try_for_each(|caller| caller.join().expect("a caller"))
    });
    answered?;
    wait::until("the last interface is attached", || agent.grpc()?.is_attached("eth1"))
}

/// One message a second, each with more than the one before while traffic runs.
fn a_watch_follows_the_traffic() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    let flood = Background::flood(&pair.client, SocketAddr::new(SERVER_V4.into(), key.port))?;
    flood.wait_for(1)?;
    let messages = agent.grpc()?.watched(3)?;
    flood.stop()?;
    let figures: Vec<u64> = messages
        .iter()
        .flat_map(|message| &message.key_traffic)
        .filter_map(|row| Some(row.traffic.as_ref()?.rx_bytes))
        .collect();
    ensure!(
        figures.len() == 3 && figures.is_sorted_by(|before, after| before < after),
        "{figures:?}"
    );
    Ok(())
}

/// Completed connections count, accepted or not; a closed one counts no more. Every face shows the same.
fn connections_are_those_not_closed() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    let shown = || active_everywhere(&agent, &key);
    ensure!(shown()? == [0; 3], "before any: {:?}", shown()?);
    let v4 = HeldConnections::open(
        &pair.server,
        &pair.client,
        SocketAddr::new(SERVER_V4.into(), key.port),
        5,
    )?;
    let v6 = HeldConnections::open(
        &pair.server,
        &pair.client,
        SocketAddr::new(SERVER_V6.into(), key.port),
        2,
    )?;
    ensure!(shown()? == [7; 3], "of 7 connections {:?} are shown", shown()?);
    drop(v4);
    wait::until("five connections are closed", || Ok(shown()? == [2; 3]))?;
    drop(v6);
    wait::until("every connection is closed", || Ok(shown()? == [0; 3]))
}

/// The active connections of a key's port by REST, gRPC and metrics.
fn active_everywhere(agent: &Agent<'_>, key: &Key) -> Result<[u64; 3]> {
    Ok([
        agent.rest().connections_of(&key.id)?.active,
        agent.grpc()?.connections_of(&key.id)?.active,
        Scrape::of(agent.host(), "*/*")?.connections(key.port)?.active,
    ])
}
