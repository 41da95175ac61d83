//! The agent as an ordinary user, and what it may do: exactly what counting takes, whoever started it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::namespace::Namespace;
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4, SERVER_V6, cable, plug_in};
use portmeter_tests::ordinary_user::{self, COUNTING, LOW_PORTS, NAME, NUMBER, every_thread_has};
use portmeter_tests::traffic::background::Background;
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::traffic::{settle, udp};
use portmeter_tests::{bpftool, command, exactness, wait};

use crate::Story;
use crate::refusals::refused;

pub(crate) const STORIES: &[Story] = &[
    ("an_ordinary_user_counts_exactly", || {
        an_ordinary_user_counts_exactly("auto")
    }),
    ("an_ordinary_user_counts_by_filters", || {
        an_ordinary_user_counts_exactly("clsact")
    }),
    ("root_gives_up_every_other_right", root_gives_up_every_other_right),
    (
        "a_low_port_takes_a_right_for_a_moment",
        a_low_port_takes_a_right_for_a_moment,
    ),
    ("a_user_takes_over_from_root", a_user_takes_over_from_root),
    ("a_user_uninstalls", a_user_uninstalls),
];

/// The user with one more right: to bind low ports.
const WITH_LOW_PORTS: [&str; 6] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=-all,+bpf,+net_admin,+perfmon,+net_bind_service",
    "--ambient-caps=-all,+bpf,+net_admin,+perfmon,+net_bind_service",
];

/// A low address for REST.
const LOW_ADDRESS: &str = "127.0.0.1:80";

/// Start, traffic, a new interface, a stop and a start again: all of it without another right.
fn an_ordinary_user_counts_exactly(hook: &str) -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = ordinary_user::agent(&pair.server)?.variable("PORTMETER_CAPTURE__HOOK", hook);
    ordinary_user::prepare(&agent, NAME)?;
    agent.start()?;
    for set in ["CapPrm", "CapEff"] {
        every_thread_has(agent.process_id()?, set, COUNTING)?;
    }
    for set in ["CapInh", "CapAmb"] {
        every_thread_has(agent.process_id()?, set, 0)?;
    }
    let port = agent.rest().create_key("customer")?.port;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    send(&pair, port)?;
    cable((&pair.server, "eth1"), (&pair.client, "eth1"))?;
    plug_in(&pair.server, "eth1", &["10.79.0.1/24"])?;
    wait::until("eth1 is attached", || agent.grpc()?.is_attached("eth1"))?;
    send(&pair, port)?;
    agent.stop()?;
    send(&pair, port)?;
    agent.start()?;
    send(&pair, port)?;
    exactness::all_faces_equal(&agent, &capture.finish(SERVER_V4.into())?, &[port])
}

fn root_gives_up_every_other_right() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::started(&host)?;
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        every_thread_has(agent.process_id()?, set, COUNTING)?;
    }
    for (set, expected) in [("CapInh", 0), ("CapAmb", 0), ("NoNewPrivs", 1)] {
        every_thread_has(agent.process_id()?, set, expected)?;
    }
    Ok(())
}

/// The right is kept in reserve for a core to come, and is not in force.
fn a_low_port_takes_a_right_for_a_moment() -> Result<()> {
    let host = Namespace::new("server")?;
    let mut agent = ordinary_user::agent(&host)?.rest_at(LOW_ADDRESS);
    ordinary_user::prepare(&agent, NAME)?;
    let sentence = refused(&agent, &mut agent.command())?;
    ensure!(
        sentence.contains(LOW_ADDRESS) && sentence.contains("cap_net_bind_service"),
        "{sentence}"
    );
    agent.change_wrapper(&WITH_LOW_PORTS);
    agent.start()?;
    every_thread_has(agent.process_id()?, "CapEff", COUNTING)?;
    every_thread_has(agent.process_id()?, "CapPrm", COUNTING | LOW_PORTS)?;
    agent.stop()?;
    ordinary_user::prepare(&agent, "root")?;
    agent.change_wrapper(&[]);
    agent.start()?;
    every_thread_has(agent.process_id()?, "CapEff", COUNTING)?;
    every_thread_has(agent.process_id()?, "CapBnd", COUNTING | LOW_PORTS)
}

/// From root to the user and back, under traffic: the same counters, and every byte once.
fn a_user_takes_over_from_root() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    ordinary_user::make_reachable(&mut agent)?;
    let port = agent.rest().create_key("customer")?.port;
    let life = agent.grpc()?.state()?.map_life;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let stream = Background::tcp(&pair.server, &pair.client, SocketAddr::new(SERVER_V4.into(), port))?;
    for (user, number, wrapper) in [
        (NAME, NUMBER, ordinary_user::WITH_RIGHTS.as_slice()),
        ("root", 0, &[]),
        (NAME, NUMBER, &ordinary_user::WITH_RIGHTS),
    ] {
        stream.wait_for(300_000)?;
        agent.stop()?;
        ordinary_user::prepare(&agent, user)?;
        stream.wait_for(300_000)?;
        agent.change_wrapper(wrapper);
        agent.start()?;
        ensure!(agent.grpc()?.state()?.map_life == life, "{user} has begun anew");
        for folder in [agent.data_folder(), agent.pin_folder(), agent.run_folder()] {
            everything_belongs_to(number, &folder)?;
        }
    }
    stream.stop()?;
    settle::tcp_is_over(&pair.server, &pair.client)?;
    exactness::all_faces_equal(&agent, &capture.finish(SERVER_V4.into())?, &[port])
}

/// Programs and counters go, the data stays, and so do the folders that only root could make again.
fn a_user_uninstalls() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = ordinary_user::agent(&pair.server)?;
    ordinary_user::prepare(&agent, NAME)?;
    agent.start()?;
    let port = agent.rest().create_key("customer")?.port;
    send(&pair, port)?;
    let listed = command::output(&mut agent.wrapped(&["key", "list", "--instance", agent.instance()]))?;
    ensure!(listed.contains("customer"), "{listed}");
    let shown = agent.rest().counts()?;
    let counters = bpftool::map(&agent.pin_folder().join("maps/port_counters"))?["id"]
        .as_u64()
        .context("the map's id")?;
    agent.stop()?;
    pair.server
        .enter(|| command::output(&mut agent.portmeter(&["uninstall"])))?;
    wait::until("the programs are unloaded", || {
        Ok(bpftool::programs_using(counters)?.is_empty())
    })?;
    ensure!(!agent.pin_folder().join("maps").exists(), "pins stay behind");
    agent.start()?;
    exactness::equal("REST after an uninstall", &agent.rest().counts()?, &shown)?;
    // Root may do it for the user, and leaves nothing of its own in the way.
    agent.stop()?;
    agent.uninstall()?;
    everything_belongs_to(NUMBER, &agent.data_folder())?;
    ordinary_user::prepare(&agent, NAME)?;
    agent.start()?;
    exactness::equal("REST after root's uninstall", &agent.rest().counts()?, &shown)
}

fn send(pair: &Pair, port: u16) -> Result<()> {
    let transfer = Transfer::new(SERVER_V4, port, 40_000, 50_000);
    tcp::bulk(&pair.server, &pair.client, &[transfer])?;
    let address = SocketAddr::new(SERVER_V6.into(), port);
    udp::echoed(&pair.server, &pair.client, address, &[1, 1_000])
}

/// Asks another program than the product who owns what.
pub(crate) fn everything_belongs_to(user: u32, folder: &Path) -> Result<()> {
    let mut find = Command::new("find");
    find.arg(folder).args(["!", "-user", &user.to_string()]);
    let others = command::output(&mut find)?;
    ensure!(others.is_empty(), "not everything belongs to {user}: {others}");
    ensure!(
        fs::metadata(folder)?.mode() & 0o7777 == 0o700,
        "{} is not private",
        folder.display()
    );
    Ok(())
}
