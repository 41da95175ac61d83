//! Connections, counted to the one: what the generator made is what every face shows as opened, and what the socket
//! tables list is what they show as active.

use std::net::{IpAddr, SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::bpftool;
use portmeter_tests::capture::Capture;
use portmeter_tests::cgroup::Cgroup;
use portmeter_tests::count::{self, Connections};
use portmeter_tests::metrics::Scrape;
use portmeter_tests::namespace::Namespace;
use portmeter_tests::network::{CLIENT_V4, Pair, SERVER_ADDRESSES, SERVER_V4, SERVER_V6};
use portmeter_tests::rest::Key;
use portmeter_tests::traffic::background::Background;
use portmeter_tests::traffic::frames::{self, LinkEnd};
use portmeter_tests::traffic::held::HeldConnections;
use portmeter_tests::traffic::settle;
use portmeter_tests::traffic::tcp;
use portmeter_tests::traffic::turnover::{self, Ending};
use portmeter_tests::{needs, wait};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("opened_and_closed", opened_and_closed),
    ("without_room_for_a_mark", without_room_for_a_mark),
    ("half_open", half_open),
    ("completed_by_a_cookie", completed_by_a_cookie),
    ("refused", refused),
    ("reset_by_the_server", reset_by_the_server),
    (
        "held_through_a_restart_and_an_upgrade",
        held_through_a_restart_and_an_upgrade,
    ),
    ("never_accepted_and_half_closed", never_accepted_and_half_closed),
    ("churn_with_a_start_midway", churn_with_a_start_midway),
    ("of_another_namespace", of_another_namespace),
    ("in_a_child_cgroup", in_a_child_cgroup),
];

/// 5,000, over both families, ended by either side.
fn opened_and_closed() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    for (address, ending, count) in [
        (IpAddr::V4(SERVER_V4), Ending::ClientCloses, 1_500),
        (SERVER_V4.into(), Ending::ServerCloses, 1_500),
        (SERVER_V6.into(), Ending::ClientCloses, 1_500),
        (SERVER_V6.into(), Ending::ClientResets, 500),
    ] {
        let address = SocketAddr::new(address, key.port);
        turnover::come_and_go(&pair.server, &pair.client, address, count, ending)?;
    }
    settle::tcp_is_over(&pair.server, &pair.client)?;
    every_face_shows(
        &agent,
        &key,
        Connections {
            opened: 5_000,
            active: 0,
        },
    )
}

/// Where a socket has no memory left for what the programs keep with it, its end is not told: it counts as opened, and
/// not as open for ever.
fn without_room_for_a_mark() -> Result<()> {
    needs::kernel(6, 7, "net.core.optmem_max of a namespace")?;
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    let address = SocketAddr::new(SERVER_V4.into(), key.port);
    pair.server.sysctl("net/core/optmem_max", "1")?;
    turnover::come_and_go(&pair.server, &pair.client, address, 100, Ending::ClientCloses)?;
    settle::tcp_is_over(&pair.server, &pair.client)?;
    every_face_shows(&agent, &key, Connections { opened: 100, active: 0 })
}

/// 2,000 of which only the first packet comes, from senders that never answer.
fn half_open() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    let address = SocketAddr::new(SERVER_V4.into(), key.port);
    let _listener = tcp::listen(&pair.server, [address])?.remove(0);
    // The answers leave for somewhere; the client, who is not those senders, drops them.
    pair.server.run(&format!("ip route add 10.80.0.0/16 via {CLIENT_V4}"))?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let (client, server) = (LinkEnd::of(&pair.client, "eth0")?, LinkEnd::of(&pair.server, "eth0")?);
    let requests: Vec<Vec<u8>> = (0..2_000_u16)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            let sender = SocketAddr::from(([10, 80, high, low], 20_000 + number));
            frames::tcp_syn((&client, sender), (&server, address))
        })
        .collect::<Result<_>>()?;
    frames::send(&pair.client, &client, &requests)?;

    let answered = capture.finish(SERVER_V4.into())?;
    let passed = count::of(&answered, key.port);
    ensure!(
        passed.rx_packets == 2_000 && passed.tx_packets > 0,
        "2000 requests, and answers: {passed:?}"
    );
    let listed = pair.server.run("ss -Hnt state syn-recv")?.lines().count();
    ensure!(listed > 0, "the server waits for nobody's answer");
    every_face_shows(&agent, &key, Connections::default())
}

/// Where the queue of half-open ones is full the server keeps nothing of a request, and knows its own cookie again.
fn completed_by_a_cookie() -> Result<()> {
    let pair = Pair::new()?;
    pair.server.sysctl("net/ipv4/tcp_syncookies", "2")?;
    let agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    for address in SERVER_ADDRESSES.map(|address| SocketAddr::new(address, key.port)) {
        turnover::come_and_go(&pair.server, &pair.client, address, 100, Ending::ClientCloses)?;
    }
    settle::tcp_is_over(&pair.server, &pair.client)?;
    every_face_shows(&agent, &key, Connections { opened: 200, active: 0 })
}

/// 500 to a tracked port where nobody listens.
fn refused() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    for number in 0..500 {
        let address = SocketAddr::new(SERVER_ADDRESSES[number % 2], key.port);
        let answer = pair.client.enter(|| TcpStream::connect(address));
        let kind = answer.map(drop).map_err(|error| error.kind());
        ensure!(kind == Err(std::io::ErrorKind::ConnectionRefused), "{kind:?}");
    }
    let rx_packets = agent.rest().count_of(&key.id)?.rx_packets;
    ensure!(rx_packets == 500, "{rx_packets} of 500 requests came");
    every_face_shows(&agent, &key, Connections::default())
}

fn reset_by_the_server() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    let address = SocketAddr::new(SERVER_V4.into(), key.port);
    turnover::come_and_go(&pair.server, &pair.client, address, 300, Ending::ServerResets)?;
    settle::tcp_is_over(&pair.server, &pair.client)?;
    every_face_shows(&agent, &key, Connections { opened: 300, active: 0 })
}

/// 200 stay open while the agent is stopped, killed, and replaced by another binary. None is opened anew, none lost.
fn held_through_a_restart_and_an_upgrade() -> Result<()> {
    const HELD: Connections = Connections {
        opened: 200,
        active: 200,
    };
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    let address = SocketAddr::new(SERVER_V4.into(), key.port);
    let held = HeldConnections::open(&pair.server, &pair.client, address, 200)?;
    every_face_shows(&agent, &key, HELD)?;
    agent.stop()?;
    agent.start()?;
    every_face_shows(&agent, &key, HELD)?;
    agent.kill()?;
    agent.start()?;
    every_face_shows(&agent, &key, HELD)?;
    agent.stop()?;
    agent.change_program(agent.other_binary()?);
    agent.start()?;
    every_face_shows(&agent, &key, HELD)?;
    agent.kill()?;
    drop(held);
    settle::tcp_is_over(&pair.server, &pair.client)?;
    agent.start()?;
    every_face_shows(&agent, &key, Connections { opened: 200, active: 0 })
}

/// A connection is there from its handshake to its very end, whatever the programs at its ends make of it.
fn never_accepted_and_half_closed() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(2)?;
    let address = |key: &Key| SocketAddr::new(SERVER_V6.into(), key.port);

    let listener = tcp::listen(&pair.server, [address(&keys[0])])?.remove(0);
    let waiting = HeldConnections::open_at(listener, &pair.client, 60, 0)?;
    let mut half = HeldConnections::open(&pair.server, &pair.client, address(&keys[1]), 41)?;
    every_face_shows(&agent, &keys[0], Connections { opened: 60, active: 60 })?;
    every_face_shows(&agent, &keys[1], Connections { opened: 41, active: 41 })?;

    half.half_close()?;
    every_face_shows(&agent, &keys[1], Connections { opened: 41, active: 41 })?;
    half.close_at_server(15);
    every_face_shows(&agent, &keys[1], Connections { opened: 41, active: 16 })?;

    // Nobody has accepted them, and now nobody will: the system resets them.
    drop(waiting);
    drop(half);
    every_face_shows(&agent, &keys[0], Connections { opened: 60, active: 0 })?;
    every_face_shows(&agent, &keys[1], Connections { opened: 41, active: 0 })
}

/// 100,000, and the first agent comes when some have been. What it saw opening and what it found open has closed in
/// the end, to the one.
fn churn_with_a_start_midway() -> Result<()> {
    const CYCLES: u64 = 100_000;
    let pair = Pair::new()?;
    let (first, second) = (
        SocketAddr::new(SERVER_V4.into(), 10_001),
        SocketAddr::new(SERVER_V6.into(), 10_001),
    );
    let held = HeldConnections::open(
        &pair.server,
        &pair.client,
        SocketAddr::new(SERVER_V4.into(), 10_002),
        50,
    )?;
    let churn = [
        Background::turnover(&pair.server, &pair.client, first)?,
        Background::turnover(&pair.server, &pair.client, second)?,
    ];
    let progress = || churn.iter().map(Background::progress).sum::<u64>();
    wait::until("connections come and go", || Ok(progress() > CYCLES / 10))?;
    let before = progress();
    let agent = Agent::started(&pair.server)?;
    let since = progress();
    wait::until("connections come and go", || Ok(progress() >= CYCLES))?;
    let made = churn.into_iter().map(Background::stop).sum::<Result<u64>>()?;
    settle::tcp_is_over_beside(&pair.server, &pair.client, 10_002)?;

    let seen = bpftool::connections(&agent, 10_001)?;
    ensure!(seen.active()? == 0, "all of them are closed: {seen:?}");
    // Those that were open when the programs came were found open; the ones just being made are in neither count.
    let (fewest, most) = (made - since, made - before + 2);
    ensure!(
        (fewest..=most).contains(&(seen.opened + seen.adopted)),
        "between {fewest} and {most} were made while the agent was there: {seen:?}"
    );
    let older = handed_over(50);
    let found = bpftool::connections(&agent, 10_002)?;
    ensure!(
        (found.opened, found.adopted, found.closed) == (0, older, 0),
        "50 were open all the time: {found:?}"
    );
    drop(held);
    wait::until("the held ones are closed", || {
        Ok(bpftool::connections(&agent, 10_002)?.closed == older)
    })?;
    ensure!(corrections(&pair.server)? == 0, "the count had to be corrected");
    Ok(())
}

/// The same port number on other hosts, one of them this host's peer: their sockets are not this agent's.
fn of_another_namespace() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    let theirs = SocketAddr::new(CLIENT_V4.into(), key.port);
    turnover::come_and_go(&pair.client, &pair.server, theirs, 100, Ending::ClientCloses)?;
    let stranger = Namespace::new("stranger")?;
    let own = SocketAddr::from(([127, 0, 0, 1], key.port));
    turnover::come_and_go(&stranger, &stranger, own, 100, Ending::ClientCloses)?;
    let held = HeldConnections::open(&pair.client, &pair.server, theirs, 10)?;
    every_face_shows(&agent, &key, Connections::default())?;

    // A start that finds them open leaves them alone too.
    let mut agent = agent;
    agent.stop()?;
    agent.start()?;
    every_face_shows(&agent, &key, Connections::default())?;
    drop(held);
    // And the programs do count here.
    let ours = SocketAddr::new(SERVER_V4.into(), key.port);
    turnover::come_and_go(&pair.server, &pair.client, ours, 7, Ending::ClientCloses)?;
    settle::tcp_is_over(&pair.server, &pair.client)?;
    every_face_shows(&agent, &key, Connections { opened: 7, active: 0 })
}

/// A service's sockets belong to the service's own group, which may be older or younger than the agent.
fn in_a_child_cgroup() -> Result<()> {
    let Some(group) = Cgroup::new()? else {
        println!("there is no cgroup2 tree to write to here, and so no child group");
        return Ok(());
    };
    let pair = Pair::new()?;
    let older = SocketAddr::new(SERVER_V4.into(), 10_001);
    let listener = group.enter(|| tcp::listen_here(&pair.server, older))?;
    let held = HeldConnections::open_at(listener, &pair.client, 20, 20)?;
    let agent = Agent::started(&pair.server)?;
    let found = bpftool::connections(&agent, 10_001)?;
    ensure!(
        (found.opened, found.adopted) == (0, handed_over(20)),
        "20 were there before: {found:?}"
    );

    let key = agent.rest().create_keys(2)?.remove(1);
    let younger = SocketAddr::new(SERVER_V6.into(), key.port);
    let group = Cgroup::new()?.context("a second group where there is one")?;
    let listener = group.enter(|| tcp::listen_here(&pair.server, younger))?;
    pair.client
        .enter(|| (0..80).try_for_each(|_| turnover::one(&listener, Ending::ClientCloses)))?;
    let kept = HeldConnections::open_at(listener, &pair.client, 30, 30)?;
    every_face_shows(
        &agent,
        &key,
        Connections {
            opened: 110,
            active: 30,
        },
    )?;
    drop((held, kept));
    every_face_shows(&agent, &key, Connections { opened: 110, active: 0 })?;
    wait::until("the older ones are closed", || {
        Ok(bpftool::connections(&agent, 10_001)?.closed == handed_over(20))
    })
}

/// How many of so many older connections the programs take over: none on kernels where the socket tables have to do.
fn handed_over(older: u64) -> u64 {
    match needs::kernel(6, 12, "older connections to take over") {
        Ok(()) => older,
        Err(_) => 0,
    }
}

/// Waits until the socket tables list as many active ones as there should be, and fails unless every face shows them
/// and what was opened.
fn every_face_shows(agent: &Agent<'_>, key: &Key, truth: Connections) -> Result<()> {
    wait::until(&format!("the socket tables list {}", truth.active), || {
        Ok(listed(agent.host(), key.port)? == truth.active)
    })?;
    let scrape = Scrape::of(agent.host(), "*/*")?;
    let kernel = bpftool::connections(agent, key.port)?;
    let in_kernel = Connections {
        opened: kernel.opened,
        active: kernel.active()?,
    };
    for (face, shown) in [
        ("bpftool", in_kernel),
        ("REST", agent.rest().connections_of(&key.id)?),
        ("gRPC", agent.grpc()?.connections_of(&key.id)?),
        ("a scrape", scrape.connections(key.port)?),
    ] {
        ensure!(
            shown == truth,
            "{face} shows {shown:?}, there were {truth:?}; {kernel:?}"
        );
    }
    ensure!(corrections(agent.host())? == 0, "the count had to be corrected");
    Ok(())
}

/// The connections at a port of `host` that are complete and not closed, as the socket tables have it.
fn listed(host: &Namespace, port: u16) -> Result<u64> {
    let states = "state connected exclude time-wait exclude syn-recv exclude syn-sent";
    let text = host.run(&format!("ss -Hnt {states} sport = :{port}"))?;
    Ok(text.lines().count() as u64)
}

fn corrections(host: &Namespace) -> Result<u64> {
    Scrape::of(host, "*/*")?.value("portmeter_connection_corrections_total")
}
