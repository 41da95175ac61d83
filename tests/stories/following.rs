//! Interfaces and addresses that come and go while the agent runs.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::bpftool;
use portmeter_tests::capture::Capture;
use portmeter_tests::namespace::Namespace;
use portmeter_tests::network::{Offloads, Pair, SERVER_ADDRESSES, cable, offloads, plug_in};
use portmeter_tests::traffic::tcp::{self, Transfer};
use portmeter_tests::traffic::udp;
use portmeter_tests::{count, exactness, wait};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("an_interface_comes_and_goes", an_interface_comes_and_goes),
    ("an_address_comes_and_goes", an_address_comes_and_goes),
    (
        "an_address_among_many_new_interfaces",
        an_address_among_many_new_interfaces,
    ),
];

const SECOND_SERVER: [&str; 2] = ["10.79.0.1", "fd79::1"];
const SECOND_CLIENT: [&str; 2] = ["10.79.0.2/24", "fd79::2/64"];

/// Twice under the same name: the second one is another interface.
fn an_interface_comes_and_goes() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let port = agent.rest().create_key("customer")?.port;
    let server = addresses(SECOND_SERVER)?;
    let mut passed = count::Count::default();
    for _ in 0..2 {
        cable((&pair.server, "eth1"), (&pair.client, "eth1"))?;
        for host in [&pair.server, &pair.client] {
            offloads(host, "eth1", Offloads::Off)?;
        }
        plug_in(&pair.client, "eth1", &SECOND_CLIENT)?;
        plug_in(
            &pair.server,
            "eth1",
            &SECOND_SERVER.map(subnet).each_ref().map(String::as_str),
        )?;
        wait::until("eth1 is attached", || agent.grpc()?.is_attached("eth1"))?;
        for address in server {
            wait::until("the address is known", || is_known(&agent, address))?;
        }

        let capture = Capture::start(&pair.client, "eth1", &server)?;
        let transfers = server.map(|address| Transfer::new(address, port, 60_000, 80_000));
        tcp::bulk(&pair.server, &pair.client, &transfers)?;
        let truth = count::of(&capture.finish(server[0])?, port);
        let shown = count::of(&agent.rest().counts()?, port);
        ensure!(
            shown.since(&passed) == truth,
            "{:?} was counted, {truth:?} passed",
            shown.since(&passed)
        );
        passed = shown;

        pair.server.run("ip link del eth1")?;
        wait::until("eth1 is no longer attached", || {
            Ok(!agent.grpc()?.is_attached("eth1")?)
        })?;
    }
    ensure!(agent.grpc()?.is_attached("eth0")?, "eth0 was there all the time");
    Ok(())
}

/// An address more on an interface that is attached already. When it has gone, its packets are no longer this host's.
fn an_address_comes_and_goes() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let port = agent.rest().create_key("customer")?.port;
    let added = addresses(["10.77.0.99", "fd77::99"])?;
    plug_in(&pair.server, "eth0", &["10.77.0.99/24", "fd77::99/64"])?;
    for address in added {
        wait::until("the address is known", || is_known(&agent, address))?;
    }
    let local: Vec<IpAddr> = SERVER_ADDRESSES.into_iter().chain(added).collect();
    let capture = Capture::start(&pair.client, "eth0", &local)?;
    for address in &local {
        udp::echoed(
            &pair.server,
            &pair.client,
            SocketAddr::new(*address, port),
            &[1, 10, 100],
        )?;
    }
    let truth = capture.finish(local[0])?;
    exactness::all_faces_equal(&agent, &truth, &[port])?;

    pair.server.run("ip address del 10.77.0.99/24 dev eth0")?;
    pair.server.run("ip address del fd77::99/64 dev eth0")?;
    for address in added {
        wait::until("the address is forgotten", || Ok(!is_known(&agent, address)?))?;
    }
    Ok(())
}

/// A hundred interfaces get their addresses at once, and one more address is added just behind them: it is known long
/// before all of them are attached.
fn an_address_among_many_new_interfaces() -> Result<()> {
    let pair = Pair::new()?;
    let numbers = 1..=100;
    let links = numbers
        .clone()
        .map(|number| format!("link add a{number} up type veth peer name b{number}\n"));
    batch(&pair.server, links.collect())?;
    let agent = Agent::started(&pair.server)?;
    let additions = numbers
        .clone()
        .map(|number| format!("address add 10.80.{number}.1/32 dev a{number}\n"));
    batch(&pair.server, additions.collect())?;
    plug_in(&pair.server, "eth0", &["10.77.0.99/24"])?;
    wait::within(Duration::from_secs(1), "the address is known", || {
        is_known(&agent, "10.77.0.99".parse()?)
    })?;
    for number in numbers {
        let name = format!("a{number}");
        wait::until(&format!("{name} is attached"), || agent.grpc()?.is_attached(&name))?;
    }
    Ok(())
}

/// Commands for `ip`, all in one go.
fn batch(host: &Namespace, commands: String) -> Result<()> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(commands.as_bytes())?;
    host.run(&format!("ip -batch {}", file.path().display()))?;
    Ok(())
}

/// Whether the kernel programs take an address for this host's.
fn is_known(agent: &Agent<'_>, address: IpAddr) -> Result<bool> {
    let maps = agent.pin_folder().join("maps");
    match address {
        IpAddr::V4(address) => bpftool::has_key(&maps.join("local_addresses_v4"), &address.octets()),
        IpAddr::V6(address) => bpftool::has_key(&maps.join("local_addresses_v6"), &address.octets()),
    }
}

fn addresses(texts: [&str; 2]) -> Result<[IpAddr; 2]> {
    Ok([texts[0].parse()?, texts[1].parse()?])
}

fn subnet(address: &str) -> String {
    format!("{address}/{}", if address.contains(':') { 64 } else { 24 })
}
