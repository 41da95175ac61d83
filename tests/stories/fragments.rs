//! Datagrams too long for the wire: every fragment is booked to the port of its datagram, which only the first one
//! names. What cannot be told is unattributed, and nothing is in two places.

use std::net::SocketAddr;
use std::thread;

use anyhow::{Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::count::{self, Count};
use portmeter_tests::exactness;
use portmeter_tests::network::{CLIENT_ADDRESSES, Pair, SERVER_ADDRESSES, SERVER_V4};
use portmeter_tests::rest::Key;
use portmeter_tests::traffic::fragments;
use portmeter_tests::traffic::frames::{self, LinkEnd};
use portmeter_tests::traffic::udp;
use portmeter_tests::wait;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("datagrams_of_every_size", datagrams_of_every_size),
    ("many_ports_at_once", many_ports_at_once),
    ("interleaved_by_hand", interleaved_by_hand),
    (
        "first_fragments_that_come_late_or_never",
        first_fragments_that_come_late_or_never,
    ),
    ("fragments_that_come_twice", fragments_that_come_twice),
];

const CLIENT_PORT: u16 = 40_000;

/// From 4 to 60 KB, each answered by one of the same size.
fn datagrams_of_every_size() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let ports = ports(&agent.rest().create_keys(2)?);
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let sizes: Vec<usize> = (4_000..=60_000).step_by(2_801).chain([4_096, 60_000]).collect();
    for &port in &ports {
        for address in SERVER_ADDRESSES {
            udp::echoed(&pair.server, &pair.client, SocketAddr::new(address, port), &sizes)?;
        }
    }
    let truth = capture.counts(SERVER_V4.into())?;
    ensure!(capture.orphan_fragments().is_zero(), "{:?}", capture.orphan_fragments());
    let passed = count::of(&truth, ports[0]);
    let payload_bytes = 2 * sizes.iter().sum::<usize>() as u64;
    ensure!(
        passed.rx_bytes > payload_bytes && passed.tx_bytes > payload_bytes,
        "less than {payload_bytes} passed: {passed:?}"
    );
    exactness::all_faces_become_equal(&agent, &truth, &ports)?;
    nothing_is_unattributed(&agent)
}

/// Ten ports over both families, all at the same time: their fragments mix as they come.
fn many_ports_at_once() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let ports = ports(&agent.rest().create_keys(10)?);
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    thread::scope(|scope| {
        let addresses = ports
            .iter()
            .flat_map(|&port| SERVER_ADDRESSES.map(|address| SocketAddr::new(address, port)));
        let echoes: Vec<_> = (0..)
            .zip(addresses)
            .map(|(number, address)| {
                let sizes: Vec<usize> = (0..20).map(|turn| 4_000 + number * 131 + turn * 2_000).collect();
                let (server, client) = (&pair.server, &pair.client);
                scope.spawn(move || udp::echoed(server, client, address, &sizes))
            })
            .collect();
        echoes
            .into_iter()
            .try_for_each(|echo| echo.join().expect("a thread of datagrams"))
    })?;
    let truth = capture.finish(SERVER_V4.into())?;
    exactness::all_faces_become_equal(&agent, &truth, &ports)?;
    nothing_is_unattributed(&agent)
}

/// The fragments of several ports' datagrams take turns, in both directions, and the first one of each goes first.
fn interleaved_by_hand() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let ports = ports(&agent.rest().create_keys(5)?);
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let ends = Ends::of(&pair)?;
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for (number, &port) in (1..).zip(&ports) {
        for family in 0..2 {
            let size = 4_000 + usize::from(number) * 3_000;
            up.push(ends.up(family, port, size, number)?);
            // The same numbers in the other direction are other datagrams.
            down.push(ends.down(family, port, size + 500, number)?);
        }
    }
    frames::send(&pair.client, &ends.client, &take_turns(up))?;
    frames::send(&pair.server, &ends.server, &take_turns(down))?;
    let truth = capture.finish(SERVER_V4.into())?;
    for &port in &ports {
        let passed = count::of(&truth, port);
        ensure!(passed.rx_packets >= 10 && passed.tx_packets >= 10, "{port}: {passed:?}");
    }
    exactness::all_faces_become_equal(&agent, &truth, &ports)?;
    nothing_is_unattributed(&agent)
}

/// What passes before the first fragment, or without one, belongs to no port that anybody could name.
fn first_fragments_that_come_late_or_never() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let ports = ports(&agent.rest().create_keys(1)?);
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let ends = Ends::of(&pair)?;
    for family in 0..2 {
        for (from_client, number) in [(true, 1), (false, 2)] {
            let datagram = |number| match from_client {
                true => ends.up(family, ports[0], 8_000, number),
                false => ends.down(family, ports[0], 8_000, number),
            };
            let mut late = datagram(number)?;
            // The second one, then the first, then the rest.
            late.swap(0, 1);
            let mut never = datagram(number + 100)?;
            never.remove(0);
            let frames = [late, never].concat();
            match from_client {
                true => frames::send(&pair.client, &ends.client, &frames)?,
                false => frames::send(&pair.server, &ends.server, &frames)?,
            }
        }
    }
    let truth = capture.counts(SERVER_V4.into())?;
    let orphans = capture.orphan_fragments();
    // Six fragments a datagram: one of the late one, five of the other, in two families.
    ensure!(orphans.rx_packets == 12 && orphans.tx_packets == 12, "{orphans:?}");
    exactness::all_faces_become_equal(&agent, &truth, &ports)?;
    unattributed_fragments_become(&agent, &orphans)
}

/// Repeated fragments have passed the wire, and are booked, as often as they come.
fn fragments_that_come_twice() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let ports = ports(&agent.rest().create_keys(1)?);
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let ends = Ends::of(&pair)?;
    for family in 0..2 {
        let twice = |frames: Vec<Vec<u8>>| frames.into_iter().flat_map(|frame| [frame.clone(), frame]);
        let up: Vec<_> = twice(ends.up(family, ports[0], 6_000, 1)?).collect();
        let down: Vec<_> = twice(ends.down(family, ports[0], 6_000, 1)?).collect();
        frames::send(&pair.client, &ends.client, &up)?;
        frames::send(&pair.server, &ends.server, &down)?;
    }
    let truth = capture.finish(SERVER_V4.into())?;
    let passed = count::of(&truth, ports[0]);
    // Five fragments, twice, in two families.
    ensure!(passed.rx_packets == 20 && passed.tx_packets == 20, "{passed:?}");
    exactness::all_faces_become_equal(&agent, &truth, &ports)?;
    nothing_is_unattributed(&agent)
}

/// Both ends of the cable.
struct Ends {
    server: LinkEnd,
    client: LinkEnd,
}

impl Ends {
    fn of(pair: &Pair) -> Result<Self> {
        Ok(Self {
            server: LinkEnd::of(&pair.server, "eth0")?,
            client: LinkEnd::of(&pair.client, "eth0")?,
        })
    }

    /// A datagram to a port of the server; `family` is 0 for IPv4 and 1 for IPv6.
    fn up(&self, family: usize, port: u16, size: usize, number: u16) -> Result<Vec<Vec<u8>>> {
        let (client, server) = self.addresses(family, port);
        fragments::datagram((&self.client, client), (&self.server, server), &vec![1; size], number)
    }

    /// A datagram from a port of the server.
    fn down(&self, family: usize, port: u16, size: usize, number: u16) -> Result<Vec<Vec<u8>>> {
        let (client, server) = self.addresses(family, port);
        fragments::datagram((&self.server, server), (&self.client, client), &vec![1; size], number)
    }

    fn addresses(&self, family: usize, port: u16) -> (SocketAddr, SocketAddr) {
        (
            SocketAddr::new(CLIENT_ADDRESSES[family], CLIENT_PORT),
            SocketAddr::new(SERVER_ADDRESSES[family], port),
        )
    }
}

/// One of each, then the next of each, until all are used up.
fn take_turns(lists: Vec<Vec<Vec<u8>>>) -> Vec<Vec<u8>> {
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut frames = Vec::new();
    loop {
        let before = frames.len();
        frames.extend(lists.iter_mut().filter_map(Iterator::next));
        if frames.len() == before {
            return frames;
        }
    }
}

fn nothing_is_unattributed(agent: &Agent<'_>) -> Result<()> {
    let unattributed = agent.grpc()?.state()?.unattributed;
    ensure!(unattributed.iter().all(|row| row.packets == 0), "{unattributed:?}");
    Ok(())
}

/// All of them, both directions together, under one reason.
fn unattributed_fragments_become(agent: &Agent<'_>, orphans: &Count) -> Result<()> {
    let (packets, bytes) = (
        orphans.rx_packets + orphans.tx_packets,
        orphans.rx_bytes + orphans.tx_bytes,
    );
    wait::until("the fragments are unattributed", || {
        Ok(agent.grpc()?.unattributed_packets("fragment")? >= packets)
    })?;
    let state = agent.grpc()?.state()?;
    for row in &state.unattributed {
        let expected = if row.reason == "fragment" {
            (packets, bytes)
        } else {
            (0, 0)
        };
        ensure!(
            (row.packets, row.bytes) == expected,
            "{}: {} packets, {} bytes; expected {expected:?}",
            row.reason,
            row.packets,
            row.bytes
        );
    }
    Ok(())
}

fn ports(keys: &[Key]) -> Vec<u16> {
    keys.iter().map(|key| key.port).collect()
}
