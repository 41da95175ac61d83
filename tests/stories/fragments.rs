//! Datagrams too long for the wire: every fragment is booked to the port of its datagram, which only the first one
//! names. What cannot be told is unattributed, and nothing is in two places.

use std::net::SocketAddr;
use std::thread;

use anyhow::{Result, ensure};
use portmeter_tests::agent::Agent;
use portmeter_tests::bpftool;
use portmeter_tests::capture::Capture;
use portmeter_tests::count::{self, Count};
use portmeter_tests::exactness;
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4};
use portmeter_tests::rest::Key;
use portmeter_tests::traffic::fragments::{Ends, take_turns};
use portmeter_tests::traffic::frames;
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
    ("a_number_used_again", a_number_used_again),
    ("of_a_port_that_is_not_tracked", of_a_port_that_is_not_tracked),
    ("thousands_under_way", thousands_under_way),
];

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

/// The next datagram of the same number may be another port's.
fn a_number_used_again() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let ports = ports(&agent.rest().create_keys(3)?);
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let ends = Ends::of(&pair)?;
    for family in 0..2 {
        for (size, &port) in [4_000, 6_000, 8_000].into_iter().zip(&ports) {
            frames::send(&pair.client, &ends.client, &ends.up(family, port, size, 7)?)?;
            frames::send(&pair.server, &ends.server, &ends.down(family, port, size, 7)?)?;
        }
    }
    let truth = capture.finish(SERVER_V4.into())?;
    let packets: Vec<u64> = ports.iter().map(|&port| count::of(&truth, port).rx_packets).collect();
    ensure!(packets == [6, 10, 12], "{packets:?} fragments of the three ports");
    exactness::all_faces_become_equal(&agent, &truth, &ports)?;
    nothing_is_unattributed(&agent)
}

/// They are nobody's, and that can be told.
fn of_a_port_that_is_not_tracked() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let ports = ports(&agent.rest().create_keys(1)?);
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let ends = Ends::of(&pair)?;
    let untracked = 80;
    for family in 0..2 {
        for (number, port) in (1..).zip([untracked, ports[0]]) {
            frames::send(&pair.client, &ends.client, &ends.up(family, port, 20_000, number)?)?;
            frames::send(&pair.server, &ends.server, &ends.down(family, port, 20_000, number)?)?;
        }
    }
    let truth = capture.finish(SERVER_V4.into())?;
    ensure!(
        count::of(&truth, untracked) == count::of(&truth, ports[0]),
        "both ports carried the same: {truth:?}"
    );
    exactness::all_faces_become_equal(&agent, &truth, &ports)?;
    ensure!(
        !bpftool::counts(&agent)?.contains_key(&untracked),
        "port {untracked} is not tracked, and yet it is counted"
    );
    nothing_is_unattributed(&agent)
}

/// The first fragments of 4,000 datagrams, and only then the rest of each.
fn thousands_under_way() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let ports = ports(&agent.rest().create_keys(4)?);
    let mut capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let ends = Ends::of(&pair)?;
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for number in 0..1_000 {
        let port = ports[usize::from(number) % ports.len()];
        for family in 0..2 {
            up.push(ends.up(family, port, 1_500, number)?);
            down.push(ends.down(family, port, 1_500, number)?);
        }
    }
    let (up, down) = (take_turns(up), take_turns(down));
    let (first_up, rest_up) = up.split_at(up.len() / 2);
    let (first_down, rest_down) = down.split_at(down.len() / 2);
    for (up, down) in [(first_up, first_down), (rest_up, rest_down)] {
        frames::send(&pair.client, &ends.client, up)?;
        frames::send(&pair.server, &ends.server, down)?;
    }
    let truth = capture.counts(SERVER_V4.into())?;
    let packets: u64 = ports.iter().map(|&port| count::of(&truth, port).rx_packets).sum();
    ensure!(packets == 4_000, "{packets} fragments passed");
    ensure!(capture.orphan_fragments().is_zero(), "{:?}", capture.orphan_fragments());
    exactness::all_faces_become_equal(&agent, &truth, &ports)?;
    nothing_is_unattributed(&agent)
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
