//! Other people's programs on the counted interface: they were there first, they see every packet, and they are
//! still there when the product has gone.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use aya::programs::TcAttachType;
use portmeter_tests::agent::Agent;
use portmeter_tests::bpftool;
use portmeter_tests::count::{self, Count};
use portmeter_tests::foreign::{ForeignFilter, ForeignProgram};
use portmeter_tests::namespace::Namespace;
use portmeter_tests::needs;
use portmeter_tests::network::{Pair, SERVER_V4};
use portmeter_tests::traffic::udp;
use serde_json::Value;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("filters_and_qdiscs_stay", || filters_and_qdiscs_stay("auto")),
    ("filters_and_qdiscs_stay_beside_our_filters", || {
        filters_and_qdiscs_stay("clsact")
    }),
    ("tcx_programs_stay", tcx_programs_stay),
];

/// Datagrams of each phase; the server answers every one.
const DATAGRAMS: u64 = 40;

/// How the counted interface is set up by somebody else: a shaper and a mirror of all UDP that lets filters after it
/// have their turn.
const SETUP: [&str; 10] = [
    "ip link add mirror0 type veth peer name mirror1",
    // Where mirrored packets end. Without an address of its own nothing else passes there. Said before they are up:
    // one command for both brings them up first, and then they may have an address already.
    "ip link set mirror0 addrgenmode none",
    "ip link set mirror1 addrgenmode none",
    "ip link set mirror0 up",
    "ip link set mirror1 up",
    "tc qdisc add dev eth0 root handle 1: htb default 10",
    "tc class add dev eth0 parent 1: classid 1:10 htb rate 10gbit",
    "tc qdisc add dev eth0 clsact",
    "tc filter add dev eth0 ingress prio 3 protocol ip u32 match ip protocol 17 0xff action mirred egress mirror dev mirror0 continue",
    "tc filter add dev eth0 egress prio 3 protocol ip u32 match ip protocol 17 0xff action mirred egress mirror dev mirror0 continue",
];

fn filters_and_qdiscs_stay(hook: &str) -> Result<()> {
    let pair = Pair::new()?;
    SETUP.iter().try_for_each(|line| pair.server.run(line).map(drop))?;
    let program = ForeignProgram::compile()?;
    let mut neighbours = Neighbours {
        host: &pair.server,
        ingress: program.attach_filter(&pair.server, "eth0", "ingress")?,
        egress: program.attach_filter(&pair.server, "eth0", "egress")?,
        seen: 0,
    };
    let setup = neighbours.setup()?;
    send_and_check(&pair, &mut neighbours, "before the start")?;

    let mut agent = Agent::new(&pair.server)?.variable("PORTMETER_CAPTURE__HOOK", hook);
    agent.start()?;
    agent.rest().create_keys(1)?;
    send_and_check(&pair, &mut neighbours, "beside the running agent")?;
    agent.stop()?;
    send_and_check(&pair, &mut neighbours, "after the stop")?;

    let counted = count::of(&bpftool::counts(&agent)?, PORT);
    let bytes = 2 * DATAGRAMS * (28 + 100);
    let expected = Count {
        rx_bytes: bytes,
        rx_packets: 2 * DATAGRAMS,
        tx_bytes: bytes,
        tx_packets: 2 * DATAGRAMS,
    };
    ensure!(
        counted == expected,
        "the product counted {counted:?}, {expected:?} passed"
    );

    agent.uninstall()?;
    send_and_check(&pair, &mut neighbours, "after the uninstall")?;
    let left = neighbours.setup()?;
    ensure!(left == setup, "the setup has changed from\n{setup}\nto\n{left}");
    Ok(())
}

/// TCX programs older and younger than ours.
fn tcx_programs_stay() -> Result<()> {
    needs::kernel(6, 6, "TCX")?;
    let pair = Pair::new()?;
    let program = ForeignProgram::compile()?;
    let older = [
        program.attach_tcx(&pair.server, "eth0", TcAttachType::Ingress)?,
        program.attach_tcx(&pair.server, "eth0", TcAttachType::Egress)?,
    ];
    let mut agent = Agent::started(&pair.server)?;
    let younger = [
        program.attach_tcx(&pair.server, "eth0", TcAttachType::Ingress)?,
        program.attach_tcx(&pair.server, "eth0", TcAttachType::Egress)?,
    ];
    for (phases, phase) in (1..).zip(["running", "stopped", "uninstalled"]) {
        match phase {
            "stopped" => agent.stop()?,
            "uninstalled" => agent.uninstall().map(drop)?,
            _ => {}
        }
        send(&pair)?;
        for neighbour in older.iter().chain(&younger) {
            let seen = neighbour.seen()?;
            ensure!(
                seen == phases * DATAGRAMS,
                "agent {phase}: a neighbour has seen {seen} packets"
            );
        }
        if phase == "stopped" {
            let counted = count::of(&bpftool::counts(&agent)?, PORT);
            ensure!(
                counted.rx_packets == phases * DATAGRAMS && counted.tx_packets == phases * DATAGRAMS,
                "{counted:?}"
            );
        }
    }
    Ok(())
}

const PORT: u16 = 10_001;

/// What somebody else has set up, and how many packets it has seen.
struct Neighbours<'lab> {
    host: &'lab Namespace,
    ingress: ForeignFilter,
    egress: ForeignFilter,
    /// Packets that have passed in each direction.
    seen: u64,
}

impl Neighbours<'_> {
    /// The qdiscs, classes and filters as `tc` prints them, without their statistics.
    fn setup(&self) -> Result<String> {
        let shown = [
            self.host.run("tc qdisc show dev eth0")?,
            self.host.run("tc class show dev eth0")?,
            self.host.run("tc filter show dev eth0 ingress")?,
            self.host.run("tc filter show dev eth0 egress")?,
        ];
        Ok(shown.concat())
    }

    fn mirrored(&self, hook: &str) -> Result<u64> {
        let shown: Value = serde_json::from_str(&self.host.run(&format!("tc -j -s filter show dev eth0 {hook}"))?)?;
        let filters = shown.as_array().context("tc shows no list")?;
        let packets = filters
            .iter()
            .find_map(|filter| filter["options"]["actions"][0]["stats"]["packets"].as_u64());
        packets.with_context(|| format!("no mirror in {shown}"))
    }

    fn shaped(&self) -> Result<u64> {
        let shown: Value = serde_json::from_str(&self.host.run("tc -j -s qdisc show dev eth0")?)?;
        let qdiscs = shown.as_array().context("tc shows no list")?;
        let shaper = qdiscs.iter().find(|qdisc| qdisc["kind"] == "htb");
        shaper
            .and_then(|shaper| shaper["packets"].as_u64())
            .with_context(|| format!("no shaper in {shown}"))
    }
}

fn send_and_check(pair: &Pair, neighbours: &mut Neighbours<'_>, phase: &str) -> Result<()> {
    send(pair)?;
    neighbours.seen += DATAGRAMS;
    let wanted = neighbours.seen;
    let figures = [
        ("the filter at ingress", neighbours.ingress.seen()?),
        ("the filter at egress", neighbours.egress.seen()?),
        ("the mirror at ingress", neighbours.mirrored("ingress")?),
        ("the mirror at egress", neighbours.mirrored("egress")?),
    ];
    for (neighbour, seen) in figures {
        ensure!(
            seen == wanted,
            "{phase}: {neighbour} has seen {seen} packets of {wanted}"
        );
    }
    // The shaper sees ARP too.
    let shaped = neighbours.shaped()?;
    ensure!(
        shaped >= wanted,
        "{phase}: the shaper has seen {shaped} packets of {wanted}"
    );
    Ok(())
}

fn send(pair: &Pair) -> Result<()> {
    let sizes = [100; DATAGRAMS as usize];
    udp::echoed(
        &pair.server,
        &pair.client,
        SocketAddr::new(SERVER_V4.into(), PORT),
        &sizes,
    )
}
