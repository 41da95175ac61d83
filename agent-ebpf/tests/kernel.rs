//! The kernel programs in the kernel: the same packets as the host's parser, and the same answers in the maps.
//!
//! They need root. Where that is missing they are reported as ignored with the reason, except in CI (`CI=true`) and
//! wherever `PORTMETER_REQUIRE_ROOT=1` asks for them: there they fail. `PORTMETER_BPF_OBJECT` names another object
//! than the committed one.

mod support;

use std::env;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Completion, Trial};
use nix::sched::{CloneFlags, unshare};
use portmeter_ebpf::layout::{PortCounters, UnattributedCounters, UnattributedReason};
use portmeter_ebpf::packet::{Direction, Link, Outcome, SlicePacket, WireSize, classify};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use support::odd_packets::odd_packets;
use support::programs::{PROGRAMS, Programs, SLOT_CAPACITY_UNDER_TEST, object_path, program_name};
use support::recipe::{Extension, Fragment, IpRecipe, Recipe, TransportRecipe, recipes};
use support::tap::Tap;
use support::world::{TRACKED_PORT, TRACKED_SLOT, World};

/// Hands the packet on to the next program, and in the end to the network stack (TCX_NEXT, TC_ACT_UNSPEC).
const HAND_ON: i32 = -1;
const ETHERNET_HEADER_BYTES: usize = 14;
const RANDOM_PACKETS: usize = 4_000;

type Test = (&'static str, fn() -> Result<()>);

const TESTS: [Test; 6] = [
    ("odd packets count as written down", odd_packets_count_as_written_down),
    (
        "random packets count as the host's parser says",
        random_packets_count_as_the_parser_says,
    ),
    (
        "changed packets count as the host's parser says",
        changed_packets_count_as_the_parser_says,
    ),
    (
        "fragments count as the host's parser says, one after the other",
        fragments_count_as_the_parser_says,
    ),
    ("headers beyond the directly accessible part count", split_packets_count),
    (
        "a slot outside the counters is told",
        slots_outside_the_counters_are_told,
    ),
];

fn main() -> ExitCode {
    let trials = TESTS.into_iter().map(|(name, test)| {
        Trial::ignorable_test(name, move || {
            match (nix::unistd::geteuid().is_root(), may_leave_out()) {
                (true, _) => test()
                    .map(|()| Completion::Completed)
                    .map_err(|error| format!("{error:#}").into()),
                (false, true) => Ok(Completion::ignored_with("it needs root: BPF programs")),
                (false, false) => Err("this test must not be left out here, and it needs root".into()),
            }
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn may_leave_out() -> bool {
    let is_set = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    !is_set("CI", "true") && !is_set("PORTMETER_REQUIRE_ROOT", "1")
}

fn odd_packets_count_as_written_down() -> Result<()> {
    let mut bench = Bench::new()?;
    for odd in odd_packets() {
        bench
            .check(&odd.bytes, odd.gso_size_bytes, odd.direction, odd.link, odd.outcome)
            .with_context(|| odd.name.to_owned())?;
    }
    Ok(())
}

fn random_packets_count_as_the_parser_says() -> Result<()> {
    let mut bench = Bench::new()?;
    let mut runner = TestRunner::deterministic();
    for _ in 0..RANDOM_PACKETS {
        let recipe = draw(&recipes(), &mut runner)?;
        bench
            .check(
                &recipe.bytes(),
                recipe.gso_size_bytes,
                recipe.direction,
                recipe.link,
                recipe.outcome(),
            )
            .with_context(|| format!("{recipe:?}"))?;
    }
    Ok(())
}

/// What is counted depends on the fragments before; kernel and host must remember the same.
fn fragments_count_as_the_parser_says() -> Result<()> {
    let (mut bench, world) = (Bench::new()?, World::default());
    let mut runner = TestRunner::deterministic();
    let fragment = (0..3u16, any::<bool>()).prop_map(|(offset, more)| Fragment { offset, more });
    let ip = (fragment, any::<bool>()).prop_map(|(fragment, is_ipv6)| match is_ipv6 {
        true => IpRecipe::V6 {
            extensions: vec![Extension::HopByHop(0), Extension::Fragment(fragment)],
        },
        false => IpRecipe::V4 {
            option_words: 1,
            fragment,
        },
    });
    let fragments = (recipes(), ip).prop_map(|(recipe, ip)| Recipe {
        ip,
        gso_size_bytes: 0,
        ..recipe
    });
    for _ in 0..RANDOM_PACKETS {
        let recipe = draw(&fragments, &mut runner)?;
        let bytes = recipe.bytes();
        let outcome = classify(&SlicePacket::new(&bytes, 0), &world, recipe.direction, recipe.link);
        bench
            .check_next(&bytes, 0, recipe.direction, recipe.link, outcome)
            .with_context(|| format!("{recipe:?}"))?;
    }
    Ok(())
}

fn changed_packets_count_as_the_parser_says() -> Result<()> {
    let mut bench = Bench::new()?;
    let mut runner = TestRunner::deterministic();
    let changes = prop::collection::vec((0..120usize, any::<u8>()), 1..4);
    let cut = prop_oneof![3 => Just(usize::MAX), 1 => 0..150usize];
    let changed = (recipes(), changes, cut);
    for _ in 0..RANDOM_PACKETS {
        let (recipe, changes, cut) = draw(&changed, &mut runner)?;
        let mut bytes = recipe.bytes();
        for (offset, value) in changes {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte = value;
            }
        }
        bytes.truncate(cut);
        let packet = SlicePacket::new(&bytes, recipe.gso_size_bytes);
        let outcome = classify(&packet, &World::default(), recipe.direction, recipe.link);
        bench
            .check(&bytes, recipe.gso_size_bytes, recipe.direction, recipe.link, outcome)
            .with_context(|| format!("{recipe:?} as {bytes:02x?}"))?;
    }
    Ok(())
}

/// Real packets on a device: with everything but the Ethernet header, or half of a header, out of direct reach.
fn split_packets_count() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("entering a network namespace")?;
    let mut tap = Tap::new("split0")?;
    let mut bench = Bench::new()?;
    bench
        .programs
        .attach_to_ingress(program_name(Direction::Receive, Link::Ethernet), "split0")?;
    let plain = Recipe {
        payload_bytes: 9_000,
        ..Recipe::plain()
    };
    let recipes = [
        plain.clone(),
        Recipe {
            transport: TransportRecipe::Udp,
            vlan_tags: vec![0x88a8, 0x8100],
            ..plain.clone()
        },
        Recipe {
            payload_bytes: 9_000,
            ..Recipe::plain_ipv6(&[Extension::HopByHop(3), Extension::Routing(0)])
        },
        Recipe {
            is_local: false,
            ..plain
        },
    ];
    for recipe in recipes {
        for direct_bytes in [14, 15, 16, 30, 34, 38, 50, 54, 60, 100, 1_000] {
            tap.receive(&recipe.bytes(), direct_bytes)?;
            bench.expect(recipe.outcome(), recipe.direction);
            bench
                .compare()
                .with_context(|| format!("{direct_bytes} bytes direct, {recipe:?}"))?;
        }
    }
    Ok(())
}

fn slots_outside_the_counters_are_told() -> Result<()> {
    let mut bench = Bench::new()?;
    bench.programs.track(TRACKED_PORT, SLOT_CAPACITY_UNDER_TEST)?;
    let plain = Recipe::plain();
    let Outcome::Counted { size, .. } = plain.outcome() else {
        unreachable!("the plain packet counts")
    };
    let missing = Outcome::Unattributed {
        reason: UnattributedReason::SlotMissing,
        size,
    };
    bench.check(&plain.bytes(), 0, plain.direction, plain.link, missing)
}

/// The programs, and what their maps must hold by now.
struct Bench {
    programs: Programs,
    port_counters: Vec<PortCounters>,
    unattributed: Vec<UnattributedCounters>,
}

impl Bench {
    fn new() -> Result<Self> {
        let path = object_path();
        let object = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let mut programs = Programs::load(&object, &PROGRAMS)?;
        programs.enter_world()?;
        Ok(Self {
            programs,
            port_counters: vec![PortCounters::default(); SLOT_CAPACITY_UNDER_TEST as usize],
            unattributed: vec![UnattributedCounters::default(); UnattributedReason::ALL.len()],
        })
    }

    /// Runs one packet through the program for it, as if it were the first: the maps change by the outcome and by
    /// nothing else.
    fn check(
        &mut self,
        bytes: &[u8],
        gso_size_bytes: u32,
        direction: Direction,
        link: Link,
        outcome: Outcome,
    ) -> Result<()> {
        self.programs.forget_fragments()?;
        self.check_next(bytes, gso_size_bytes, direction, link, outcome)
    }

    /// The same, with what is remembered of the packets before.
    fn check_next(
        &mut self,
        bytes: &[u8],
        gso_size_bytes: u32,
        direction: Direction,
        link: Link,
        outcome: Outcome,
    ) -> Result<()> {
        if !fits_a_test_run(bytes) {
            return Ok(());
        }
        let (verdict, _) = self
            .programs
            .run(program_name(direction, link), bytes, gso_size_bytes, 1)?;
        ensure!(verdict == HAND_ON, "the program returned {verdict}");
        self.expect(outcome, direction);
        self.compare().with_context(|| format!("expected {outcome:?}"))
    }

    fn expect(&mut self, outcome: Outcome, direction: Direction) {
        match outcome {
            Outcome::Ignored => {}
            Outcome::Counted { slot, port, size } => {
                let counters = &mut self.port_counters[slot as usize];
                add(counters, direction, size);
                counters.port = port.into();
            }
            Outcome::Unattributed { reason, size } => {
                let counters = &mut self.unattributed[reason as usize];
                counters.packets += size.packets;
                counters.bytes += size.bytes;
            }
        }
    }

    fn compare(&self) -> Result<()> {
        let port_counters = self.programs.port_counters()?;
        ensure!(
            port_counters == self.port_counters,
            "tracked slot {TRACKED_SLOT}: counted {:?}, expected {:?}",
            port_counters[TRACKED_SLOT as usize],
            self.port_counters[TRACKED_SLOT as usize]
        );
        let unattributed = self.programs.unattributed()?;
        ensure!(
            unattributed == self.unattributed,
            "unattributed: counted {unattributed:?}, expected {:?}",
            self.unattributed
        );
        Ok(())
    }
}

/// The kernel takes every packet of a test run for an Ethernet frame and refuses those that end within what their
/// EtherType announces. The parser's own tests have them.
fn fits_a_test_run(bytes: &[u8]) -> bool {
    let network_bytes = match bytes.get(12..ETHERNET_HEADER_BYTES) {
        Some([0x08, 0x00]) => 20,
        Some([0x86, 0xdd]) => 40,
        Some(_) => 0,
        None => return false,
    };
    bytes.len() >= ETHERNET_HEADER_BYTES + network_bytes
}

fn add(counters: &mut PortCounters, direction: Direction, size: WireSize) {
    let (bytes, packets) = match direction {
        Direction::Receive => (&mut counters.rx_bytes, &mut counters.rx_packets),
        Direction::Transmit => (&mut counters.tx_bytes, &mut counters.tx_packets),
    };
    *bytes += size.bytes;
    *packets += size.packets;
}

fn draw<T: std::fmt::Debug>(strategy: &impl Strategy<Value = T>, runner: &mut TestRunner) -> Result<T> {
    let tree = strategy
        .new_tree(runner)
        .map_err(|reason| anyhow::anyhow!("drawing a packet: {reason}"))?;
    Ok(tree.current())
}
