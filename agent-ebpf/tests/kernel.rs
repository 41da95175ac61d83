//! The kernel programs in the kernel: the same packets as the host's parser, and the same answers in the maps.
//!
//! They need root. Where that is missing they are reported as ignored with the reason, except in CI (`CI=true`) and
//! wherever `PORTMETER_REQUIRE_ROOT=1` asks for them: there they fail. `PORTMETER_BPF_OBJECT` names another object
//! than the committed one.

mod support;

use std::process::ExitCode;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use portmeter_ebpf::layout::UnattributedReason;
use portmeter_ebpf::packet::{Direction, Link, Outcome, SlicePacket, classify};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use support::bench::Bench;
use support::odd_packets::odd_packets;
use support::programs::{SLOT_CAPACITY_UNDER_TEST, program_name};
use support::recipe::{Extension, Fragment, IpRecipe, Recipe, TransportRecipe, recipes};
use support::rooted::{self, Test};
use support::tap::Tap;
use support::world::{TRACKED_PORT, World};

const RANDOM_PACKETS: usize = 4_000;

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
    rooted::run(&TESTS)
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

fn draw<T: std::fmt::Debug>(strategy: &impl Strategy<Value = T>, runner: &mut TestRunner) -> Result<T> {
    let tree = strategy
        .new_tree(runner)
        .map_err(|reason| anyhow::anyhow!("drawing a packet: {reason}"))?;
    Ok(tree.current())
}
