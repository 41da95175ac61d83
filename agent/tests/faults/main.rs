//! A thousand faults: the ledger is killed at every point between reading and commit, finds its disk full, slow or
//! locked, starts on lost maps, after a boot, beside another ledger; and afterwards holds what the counters show, less,
//! for lost maps only, what was not committed.
//!
//! Each life of the ledger is a process of its own, which a fault ends as `kill -9` ends an agent. The counters are a
//! file that outlives it, as the kernel's maps do. After each life the ledger's file is looked at from outside: what is
//! booked is what the checkpoints say, to the byte; at the end, it is what was counted.

mod counters;
mod life;
mod truth;

use std::env;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use life::{Mishap, Plan};
use truth::World;

const FAULTS: u32 = 1_000;

/// Where a process is killed or delayed; the names are the store's.
const POINTS: [&str; 5] = [
    "booking.read",
    "booking.port",
    "booking.booked",
    "booking.before_commit",
    "booking.committed",
];

fn main() -> ExitCode {
    if let Some(plan) = env::var_os(life::PLAN) {
        return life::live(&plan.to_string_lossy());
    }
    let seed = env::var("PORTMETER_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or(0x5eed);
    let trial = Trial::test("a_thousand_faults", move || {
        a_thousand_faults(seed).map_err(Failed::from)
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

fn a_thousand_faults(seed: u64) -> Result<(), String> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::new();
    for fault in 0..FAULTS {
        let plan = plan(&mut random);
        let told = |error: String| format!("fault {fault} of seed {seed}, {plan:?}: {error}");
        world.live(&plan).map_err(told)?;
        world.check().map_err(told)?;
    }
    world
        .finish()
        .map_err(|error| format!("at the end of seed {seed}: {error}"))?;
    println!("seed {seed}: {}", world.summary());
    Ok(())
}

fn plan(random: &mut StdRng) -> Plan {
    let point = *POINTS.choose(random).expect("there are points");
    let passes = random.random_range(1..6);
    let mishap = match random.random_range(0..12) {
        0..=5 => Mishap::KilledAt { point, passes },
        6 => Mishap::SlowDisk { point, passes },
        7 => Mishap::FullDisk,
        8 => Mishap::Locked,
        9 => Mishap::Stopped,
        10 => Mishap::LostMaps,
        _ => *[Mishap::Booted, Mishap::AnotherLedger]
            .choose(random)
            .expect("there are two"),
    };
    Plan {
        seed: random.random(),
        mishap,
    }
}
