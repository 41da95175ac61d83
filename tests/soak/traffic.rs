//! Traffic of a customer: through the core where there is one, between the hosts themselves where there is none, and
//! datagrams in any case.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use portmeter_tests::network::{SERVER_V4, SERVER_V6};
use portmeter_tests::rest::Key;
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::traffic::turnover::{self, Ending};
use portmeter_tests::traffic::udp;
use portmeter_tests::xray::{Client, Link, listening_ports};
use portmeter_tests::{rest::Rest, wait};

use crate::choices::Choices;
use crate::world::World;

const ENDINGS: [Ending; 4] = [
    Ending::ClientCloses,
    Ending::ClientResets,
    Ending::ServerCloses,
    Ending::ServerResets,
];

/// One of the server's addresses.
pub(crate) fn server_address(choices: &mut Choices, port: u16) -> SocketAddr {
    let address: &IpAddr = choices.one_of(&[IpAddr::V4(SERVER_V4), IpAddr::V6(SERVER_V6)]);
    SocketAddr::new(*address, port)
}

/// Datagrams to a port, each answered.
pub(crate) fn datagrams(world: &World<'_>, choices: &mut Choices, port: u16) -> Result<()> {
    let sizes: Vec<usize> = (0..choices.between(1..=150))
        .map(|_| choices.between(0..=udp::LARGEST_PAYLOAD))
        .collect();
    let address = server_address(choices, port);
    udp::echoed(&world.pair.server, &world.pair.client, address, &sizes)?;
    world.tally.add("exchanges of datagrams");
    Ok(())
}

/// One connection that carries much in both directions; a port that a core does not hold.
pub(crate) fn transfer(world: &World<'_>, choices: &mut Choices, port: u16) -> Result<()> {
    let address = server_address(choices, port);
    let (upload, download) = (choices.between(0..=500_000), choices.between(0..=1_500_000));
    let transfer = Transfer::new(address.ip(), port, upload, download);
    tcp::bulk_beside_others(&world.pair.server, &world.pair.client, &[transfer])?;
    world.tally.add("TCP transfers");
    Ok(())
}

/// Connections that come and go; a port that a core does not hold.
pub(crate) fn connections(world: &World<'_>, choices: &mut Choices, port: u16) -> Result<()> {
    let address = server_address(choices, port);
    let (count, ending) = (choices.between(1..=10), *choices.one_of(&ENDINGS));
    turnover::come_and_go(&world.pair.server, &world.pair.client, address, count, ending)?;
    world.tally.add("series of connections");
    Ok(())
}

/// A customer's app for a key. A key that was made while nobody was disturbed is open already, any other opens soon.
pub(crate) fn app<'lab>(world: &World<'lab>, rest: &Rest<'_>, key: &Key) -> Result<Client<'lab>> {
    let shown = world
        .agent
        .answered("a key's link", || rest.shown(&format!("/api/keys/{}/config", key.id)))?;
    let link = Link::parse(shown["vless_url"].as_str().unwrap_or_default())?;
    Client::start(&world.pair.client, &link)
}

/// Waits until the core listens on a port.
pub(crate) fn wait_until_open(world: &World<'_>, port: u16) -> Result<()> {
    wait::until(&format!("port {port} is open"), || {
        Ok(listening_ports(&world.pair.server)?.contains(&port))
    })
}

/// Fetches something through a key. It may fail while the core is killed, or is told of its keys by a new agent.
pub(crate) fn fetch(world: &World<'_>, choices: &mut Choices, app: &Client<'_>, port: u16) -> Result<()> {
    let (agent, core) = (world.agent.mark(), world.core.mark());
    let length = choices.between(1..=1_500_000) as u64;
    match app.fetch(length) {
        Ok(()) => world.tally.add("fetches through the core"),
        Err(_) if world.core.since(core) || world.agent.since(agent) => {
            world.tally.add("fetches that were broken off");
            world.core.wait_until_calm()?;
            world.agent.wait_until_calm()?;
            wait_until_open(world, port)?;
        }
        Err(error) => return Err(error.context(format!("a fetch through port {port}, and nobody disturbed it"))),
    }
    Ok(())
}
