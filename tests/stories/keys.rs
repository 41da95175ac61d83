//! Keys and their ports: one each, lowest free first, never shared, never another program's.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Barrier;
use std::thread;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use portmeter_tests::agent::Agent;
use portmeter_tests::namespace::Namespace;
use portmeter_tests::network::{Pair, SERVER_V4};
use portmeter_tests::rest::Answer;
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::{command, count};
use serde_json::{Value, json};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_hundred_and_no_more", a_hundred_and_no_more),
    ("made_at_the_same_instant", made_at_the_same_instant),
    (
        "ports_of_other_programs_are_skipped",
        ports_of_other_programs_are_skipped,
    ),
    ("no_free_port_is_left", no_free_port_is_left),
    ("the_configured_ports_are_the_limit", the_configured_ports_are_the_limit),
    ("keys_and_traffic_survive_restarts", keys_and_traffic_survive_restarts),
    (
        "the_command_line_makes_and_shows_keys",
        the_command_line_makes_and_shows_keys,
    ),
];

const LIMIT: usize = 100;

fn a_hundred_and_no_more() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::started(&host)?;
    let keys = agent.rest().create_keys(LIMIT)?;
    let ports: BTreeSet<u16> = keys.iter().map(|key| key.port).collect();
    ensure!(
        ports == (10_001..=10_100).collect(),
        "the ports of {LIMIT} keys are {ports:?}"
    );
    is_limit_error(&create(&agent)?, LIMIT)?;
    ensure!(agent.rest().keys()? == keys, "the refused key has left something");
    let table = agent.rest().get("/api/system/ports")?.expect_success()?;
    ensure!(
        table["used_ports"] == 100 && table["available_ports"] == 0 && table["max_ports"] == 100,
        "{table}"
    );

    // Deleting frees the port at once, and it is the lowest free one.
    for freed in [keys[41].clone(), keys[7].clone()] {
        agent.rest().delete_key(&freed.id)?;
        let successor = agent.rest().create_key("successor")?;
        ensure!(
            successor.port == freed.port,
            "port {} for a key that follows {freed:?}",
            successor.port
        );
        ensure!(
            successor.id != freed.id && successor.uuid != freed.uuid,
            "a new key has an old id"
        );
        is_limit_error(&create(&agent)?, LIMIT)?;
    }
    Ok(())
}

/// Sixteen callers at once, until there are more callers than ports.
fn made_at_the_same_instant() -> Result<()> {
    const CALLERS: usize = 16;
    let host = Namespace::new("server")?;
    let agent = Agent::started(&host)?;
    let mut answers = Vec::new();
    while answers.len() < LIMIT {
        let together = Barrier::new(CALLERS);
        let round: Vec<Answer> = thread::scope(|scope| {
            let call = || {
                together.wait();
                create(&agent)
            };
            let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(call)).collect();
            callers
                .into_iter()
                .map(|caller| caller.join().expect("a caller"))
                .collect::<Result<_>>()
        })?;
        answers.extend(round);
    }
    let (made, refused): (Vec<Answer>, Vec<Answer>) = answers.into_iter().partition(|answer| answer.status == 200);
    let ports: BTreeSet<u64> = made.iter().filter_map(|answer| answer.body["port"].as_u64()).collect();
    ensure!(made.len() == LIMIT, "{} keys were made", made.len());
    ensure!(ports.len() == LIMIT, "{} keys share {} ports", made.len(), ports.len());
    refused.iter().try_for_each(|answer| is_limit_error(answer, LIMIT))
}

/// Whatever holds it: TCP or UDP, IPv4 or IPv6, on one address or on all.
fn ports_of_other_programs_are_skipped() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::started(&host)?;
    let (v4, v6) = (Ipv4Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED);
    let tcp = host.enter(|| [TcpListener::bind((v4, 10_001)), TcpListener::bind((v6, 10_002))]);
    let udp = host.enter(|| [UdpSocket::bind((v4, 10_003)), UdpSocket::bind((v6, 10_005))]);
    ensure!(
        tcp.iter().all(Result::is_ok) && udp.iter().all(Result::is_ok),
        "holding the ports"
    );
    let given = |agent: &Agent<'_>| Ok::<u16, anyhow::Error>(agent.rest().create_key("customer")?.port);
    ensure!(given(&agent)? == 10_004, "10001, 10002 and 10003 are held by others");
    ensure!(given(&agent)? == 10_006, "10005 is held by another");
    drop((tcp, udp));
    let after = [
        given(&agent)?,
        given(&agent)?,
        given(&agent)?,
        given(&agent)?,
        given(&agent)?,
    ];
    ensure!(
        after == [10_001, 10_002, 10_003, 10_005, 10_007],
        "free again, lowest first: {after:?}"
    );
    Ok(())
}

fn no_free_port_is_left() -> Result<()> {
    let host = Namespace::new("server")?;
    let mut agent = Agent::new(&host)?.variable("PORTMETER_CAPTURE__PORTS", "20001-20002");
    agent.start()?;
    let holders = tcp::listen(
        &host,
        [20_001, 20_002].map(|port| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
    )?;
    let refused = create(&agent)?;
    ensure!(
        refused.status == 500 && refused.body == json!({"detail": "No available ports"}),
        "{refused:?}"
    );
    ensure!(agent.rest().keys()?.is_empty(), "the refused key has left something");
    drop(holders);
    ensure!(agent.rest().create_key("customer")?.port == 20_001, "free again");
    Ok(())
}

fn the_configured_ports_are_the_limit() -> Result<()> {
    let host = Namespace::new("server")?;
    let mut agent = Agent::new(&host)?.variable("PORTMETER_CAPTURE__PORTS", "20001-20003");
    agent.start()?;
    agent.rest().create_keys(3)?;
    is_limit_error(&create(&agent)?, 3)?;
    let table = agent.rest().get("/api/system/ports")?.expect_success()?;
    ensure!(
        table["max_ports"] == 3 && table["port_range"] == "20001-20003",
        "{table}"
    );
    Ok(())
}

fn keys_and_traffic_survive_restarts() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(3)?;
    agent.rest().delete_key(&keys[0].uuid)?;
    let transfers = [
        Transfer::new(SERVER_V4, keys[1].port, 70_000, 90_000),
        Transfer::new(SERVER_V4, keys[2].port, 1, 2),
    ];
    tcp::bulk(&pair.server, &pair.client, &transfers)?;
    let shown = (agent.rest().get("/api/keys")?, agent.rest().counts()?);
    ensure!(
        shown.1.len() == 2 && shown.1.values().all(|count| !count.is_zero()),
        "{shown:?}"
    );

    for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGINT] {
        agent.stop_with(signal)?;
        agent.start()?;
        let after = (agent.rest().get("/api/keys")?, agent.rest().counts()?);
        ensure!(after == shown, "before {signal}: {shown:?}, after it: {after:?}");
    }
    let grown = Transfer::new(SERVER_V4, keys[1].port, 1_000, 1_000);
    tcp::bulk(&pair.server, &pair.client, &[grown])?;
    let after = count::of(&agent.rest().counts()?, keys[1].port);
    ensure!(
        after.since(&count::of(&shown.1, keys[1].port)).rx_bytes > 1_000,
        "it goes on: {after:?}"
    );
    Ok(())
}

fn create(agent: &Agent<'_>) -> Result<Answer> {
    agent.rest().post("/api/keys", Some(json!({"name": "customer"})))
}

fn is_limit_error(answer: &Answer, limit: usize) -> Result<()> {
    let body = json!({ "detail": format!("Maximum number of keys ({limit}) reached") });
    ensure!(answer.status == 400 && answer.body == body, "{answer:?}");
    Ok(())
}

/// What REST says of a key, the command line says as well; to people it tells no secret.
fn the_command_line_makes_and_shows_keys() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::started(&host)?;
    let key = |words: &[&str]| {
        let mut command = agent.wrapped(&[&["key", "--instance", agent.instance()], words].concat());
        host.enter(|| command::output(&mut command))
    };
    let json = |words: &[&str]| -> Result<Value> { Ok(serde_json::from_str(&key(words)?)?) };

    let mut made = json(&["add", "Bob \"Müller\"", "--json"])?;
    // REST shows it to the panel alone.
    let alias = made.as_object_mut().and_then(|fields| fields.remove("alias"));
    ensure!(alias == Some(json!("")), "{alias:?}");
    ensure!(made["port"] == 10_001 && made["is_active"] == true, "{made}");
    let id = made["id"].as_str().context("an id")?.to_owned();
    let uuid = made["uuid"].as_str().context("a uuid")?.to_owned();
    let (id, uuid) = (id.as_str(), uuid.as_str());
    ensure!(
        made == agent.rest().get(&format!("/api/keys/{id}"))?.expect_success()?,
        "{made}"
    );
    made = json(&["alias", uuid, "Bob", "--json"])?;
    ensure!(made["alias"] == "Bob", "{made}");
    ensure!(
        json(&["list", "--json"])? == json!([made]),
        "the list has something else than {made}"
    );
    ensure!(
        json(&["show", uuid, "--json"])? == made,
        "the uuid finds something else than {made}"
    );

    let table = key(&["disable", id])?;
    ensure!(table.contains("10001  disabled") && table.contains(id), "{table}");
    ensure!(!table.contains(uuid), "the table tells the uuid: {table}");
    ensure!(key(&["enable", id])?.contains("10001  enabled"), "it stays disabled");
    let refused = key(&["link", "nobody"]).err().context("a link of nobody's")?;
    ensure!(!format!("{refused:#}").contains("panicked"), "{refused:#}");
    key(&["remove", id])?;
    ensure!(key(&["list", "--json"])? == "[]\n", "the key is still there");
    Ok(())
}
