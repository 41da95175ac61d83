//! Maps that cannot go on: too few slots, an earlier layout, a later one, another ledger's, none at all. Whatever was
//! counted into the old ones is booked once, and nothing that passes during the move is lost or counted twice.

mod load;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::count::{self, Connections, Counts};
use portmeter_tests::layout_1::{self, MapLife};
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4, SERVER_V6};
use portmeter_tests::snapshot;
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::{bpftool, command, exactness, needs, wait};

use crate::Story;
use load::{Load, Moment};

pub(crate) const STORIES: &[Story] = &[
    ("more_ports_than_room", more_ports_than_room),
    ("from_layout_1", from_layout_1),
    ("killed_in_the_middle", killed_in_the_middle),
    ("uninstalled_in_the_middle", uninstalled_in_the_middle),
    ("a_later_layout_is_refused", a_later_layout_is_refused),
    ("under_another_ledger", under_another_ledger),
    ("pins_removed_by_hand", pins_removed_by_hand),
];

const PORTS: &str = "PORTMETER_CAPTURE__PORTS";

/// The first maps have 1,024 slots.
fn more_ports_than_room() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(4)?;
    let life = agent.grpc()?.state()?.map_life;
    let load = Load::start(&pair, &keys)?;
    load.wait()?;
    agent.stop()?;
    load.wait()?;
    agent.change_variable(PORTS, "10001-12000");
    agent.start()?;
    ensure!(agent.grpc()?.state()?.map_life != life, "the maps were not changed");
    load.wait()?;
    load.finish(&agent)?;
    there_is_one_set_of_maps(&agent)?;

    // A port that there was no room for before.
    let transfer = Transfer::new(SERVER_V4, 11_999, 10_000, 10_000);
    tcp::bulk(&pair.server, &pair.client, &[transfer])?;
    let seen = bpftool::connections(&agent, 11_999)?;
    ensure!(seen.opened == 1 && seen.active()? == 0, "{seen:?}");
    Ok(())
}

/// The programs of an earlier version are counting when this one comes.
fn from_layout_1() -> Result<()> {
    needs::kernel(6, 6, "TCX")?;
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(4)?;
    let life = MapLife::read(&agent.pin_folder().join("maps"))?;
    agent.stop()?;
    agent.uninstall()?;
    let own: Vec<IpAddr> = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        .into_iter()
        .chain(SERVER_ADDRESSES)
        .collect();
    layout_1::leave_behind(
        &pair.server,
        &agent.pin_folder(),
        life,
        &["lo", "eth0"],
        &own,
        10_001..=10_100,
    )?;

    let load = Load::start(&pair, &keys)?;
    load.wait()?;
    agent.start()?;
    let shown = agent.rest().counts()?;
    ensure!(
        count::of(&shown, keys[0].port).rx_bytes > 0,
        "what the earlier version counted is missing: {shown:?}"
    );
    load.wait()?;
    agent.kill()?;
    load.wait()?;
    agent.start()?;
    load.finish_where_none_was_opened(&agent)?;
    there_is_one_set_of_maps(&agent)
}

/// A move is cut short at several moments; the next start goes on with it.
fn killed_in_the_middle() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(4)?;
    let load = Load::start(&pair, &keys)?;
    let mut in_the_middle = 0;
    for (ports, moment) in [
        ("10001-11500", Moment::FolderMade),
        ("10001-15000", Moment::SuccessorsDescribed),
        ("10001-27000", Moment::AfterBytes(200_000)),
    ] {
        load.wait()?;
        agent.stop()?;
        agent.change_variable(PORTS, ports);
        agent.begin_start()?;
        load.wait_until(&agent, moment)?;
        agent.kill()?;
        in_the_middle += u32::from(successors(&agent).exists());
        load.wait()?;
        agent.start()?;
    }
    ensure!(in_the_middle > 0, "no kill came in time");
    load.wait()?;
    load.finish(&agent)?;
    there_is_one_set_of_maps(&agent)
}

/// Nobody goes on with the move: what both sets of maps hold is booked all the same.
fn uninstalled_in_the_middle() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(1)?;
    let transfer = [Transfer::new(SERVER_V4, keys[0].port, 70_000, 50_000)];
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    tcp::bulk(&pair.server, &pair.client, &transfer)?;
    agent.stop()?;
    tcp::bulk(&pair.server, &pair.client, &transfer)?;
    agent.change_variable(PORTS, "10001-12000");
    agent.begin_start()?;
    wait::until("the move begins", || {
        Ok(successors(&agent).join("connection_offsets").exists())
    })?;
    agent.kill()?;
    tcp::bulk(&pair.server, &pair.client, &transfer)?;
    let truth = count::only(&capture.finish(SERVER_V4.into())?, [keys[0].port]);
    agent.uninstall()?;
    ensure!(!agent.pin_folder().exists(), "pins stay behind");
    agent.start()?;
    equal(&agent, &truth)
}

/// Maps of a version to come are left alone, and a version that knows them finds them as they were.
fn a_later_layout_is_refused() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(4)?;
    let load = Load::start(&pair, &keys)?;
    load.wait()?;
    agent.stop()?;
    let maps = agent.pin_folder().join("maps");
    let life = MapLife::read(&maps)?;
    life.with_layout(9_999).write(&maps)?;
    // Traffic goes on, so the maps' contents change; the pins and what they name must not.
    let pins = || {
        anyhow::Ok((
            snapshot::paths_of(&agent.pin_folder())?,
            bpftool::map(&maps.join("port_slots"))?,
        ))
    };
    let before = pins()?;
    let output = pair.server.enter(|| command::output_in_time(&mut agent.command()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.status.success() && said.contains("layout 9999") && said.contains("run the version that made them"),
        "{said}"
    );
    let after = pins()?;
    ensure!(
        before == after,
        "a refused start has touched the pins: {before:?}, {after:?}"
    );
    ensure!(MapLife::read(&maps)? == life.with_layout(9_999), "or the maps");
    life.write(&maps)?;
    load.wait()?;
    agent.start()?;
    load.finish(&agent)
}

/// A ledger moves to new maps and books nothing of what the old ones hold, which is another ledger's.
fn under_another_ledger() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("of the first ledger")?;
    let transfer = [Transfer::new(SERVER_V4, key.port, 30_000, 50_000)];
    tcp::bulk(&pair.server, &pair.client, &transfer)?;
    agent.stop()?;
    agent.change_data_folder("other");
    agent.change_variable(PORTS, "10001-12000");
    agent.start()?;
    let second = agent.rest().create_key("of the second ledger")?;
    let shown = agent.rest().count_of(&second.id)?;
    ensure!(second.port == key.port && shown.is_zero(), "{second:?}: {shown:?}");
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    tcp::bulk(&pair.server, &pair.client, &transfer)?;
    let passed = count::of(&capture.finish(SERVER_V4.into())?, key.port);
    let shown = agent.rest().count_of(&second.id)?;
    ensure!(shown == passed, "{shown:?} is shown, {passed:?} passed");
    let connections = agent.rest().connections_of(&second.id)?;
    ensure!(connections == Connections { opened: 1, active: 0 }, "{connections:?}");
    Ok(())
}

/// New maps begin at zero; what was booked stays, and nobody takes the lower counters for a loss.
fn pins_removed_by_hand() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::started(&pair.server)?;
    let keys = agent.rest().create_keys(1)?;
    let ports = [keys[0].port];
    let life = agent.grpc()?.state()?.map_life;
    let transfer = [Transfer::new(SERVER_V6, ports[0], 70_000, 50_000)];
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    tcp::bulk(&pair.server, &pair.client, &transfer)?;
    agent.stop()?;
    fs::remove_dir_all(agent.pin_folder()).context("removing the pins")?;
    agent.start()?;
    ensure!(agent.grpc()?.state()?.map_life != life, "the old maps were not gone");
    tcp::bulk(&pair.server, &pair.client, &transfer)?;
    agent.kill()?;
    agent.start()?;
    let truth = count::only(&capture.finish(SERVER_V4.into())?, ports);
    equal(&agent, &truth)?;
    let connections = agent.rest().connections_of(&keys[0].id)?;
    ensure!(connections == Connections { opened: 2, active: 0 }, "{connections:?}");
    Ok(())
}

/// What the ledger's faces show; the kernel's own counters begin anew with each set of maps.
fn equal(agent: &Agent<'_>, truth: &Counts) -> Result<()> {
    let ports = || truth.keys().copied();
    exactness::equal("REST", &count::only(&agent.rest().counts()?, ports()), truth)?;
    exactness::equal("gRPC", &count::only(&agent.grpc()?.counts()?, ports()), truth)
}

fn successors(agent: &Agent<'_>) -> PathBuf {
    agent.pin_folder().join("maps_next")
}

fn there_is_one_set_of_maps(agent: &Agent<'_>) -> Result<()> {
    let left = successors(agent);
    ensure!(!left.exists(), "{} stays behind", left.display());
    ensure!(agent.pin_folder().join("maps/map_life").exists(), "there are no maps");
    Ok(())
}
