//! Nanoseconds per packet: the Rust classifier beside the same one in C and beside a program that does nothing.
//!
//! Run by `cargo xtask bench packet`, which compiles the C. All programs take turns within each round, so that a
//! machine whose speed drifts slows them alike; what counts is the ratio of medians. Both are loaded anew several
//! times, because where the kernel happens to put a program and its maps can be worth some nanoseconds. Time is taken
//! around the system call that runs a program many times over one packet: the kernel's own figure is rounded to whole
//! nanoseconds.

#[path = "../tests/support/mod.rs"]
mod support;

use std::env;
use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use portmeter_ebpf::layout::{PROGRAM_RX_ETHERNET, PortCounters};
use portmeter_ebpf::packet::Outcome;

use support::programs::{Programs, object_path};
use support::recipe::Recipe;
use support::world::{LOCAL_IPV4, LOCAL_IPV6, OTHER_PORT, TRACKED_SLOT};

/// Names the object compiled from `classifier.c`.
const C_OBJECT_VARIABLE: &str = "PORTMETER_BENCH_C_OBJECT";
/// The program in it that does nothing.
const EMPTY_PROGRAM: &str = "empty";

const LOADS: usize = 7;
const ROUNDS: usize = 15;
/// Runs of one program in one round: long enough that the system call itself does not show.
const RUNS: u32 = 100_000;

const RATIO_MAX: f64 = 1.03;
const UNMATCHED_COST_MAX_NS: f64 = 10.0;

/// One kind of packet and what the programs took for it, round by round.
struct Row {
    title: &'static str,
    recipe: Recipe,
    rust_ns: Vec<f64>,
    c_ns: Vec<f64>,
}

fn main() -> Result<()> {
    let c_object = env::var_os(C_OBJECT_VARIABLE)
        .with_context(|| format!("{C_OBJECT_VARIABLE} is not set: run `cargo xtask bench packet`"))?;
    let rust_object = fs::read(object_path()).context("reading the object")?;
    let c_object = fs::read(c_object).context("reading the object made from C")?;
    stay_on_this_cpu()?;

    let mut rows = rows();
    let mut empty_ns = Vec::new();
    for _ in 0..LOADS {
        let mut rust = load(&rust_object, &[PROGRAM_RX_ETHERNET])?;
        let mut c = load(&c_object, &[PROGRAM_RX_ETHERNET, EMPTY_PROGRAM])?;
        for _ in 0..ROUNDS {
            empty_ns.push(measure(&mut c, EMPTY_PROGRAM, &rows[0].recipe)?);
            for row in &mut rows {
                row.rust_ns.push(measure(&mut rust, PROGRAM_RX_ETHERNET, &row.recipe)?);
                row.c_ns.push(measure(&mut c, PROGRAM_RX_ETHERNET, &row.recipe)?);
            }
        }
        let (by_rust, by_c) = (counted(&rust)?, counted(&c)?);
        ensure!(
            by_rust == by_c,
            "the two classifiers counted differently: Rust {by_rust:?}, C {by_c:?}"
        );
    }
    report(&rows, median(&empty_ns));
    Ok(())
}

fn rows() -> Vec<Row> {
    let row = |title, recipe| Row {
        title,
        recipe,
        rust_ns: Vec::new(),
        c_ns: Vec::new(),
    };
    let plain = Recipe::plain();
    let ipv6 = Recipe::plain_ipv6(&[]);
    vec![
        row("IPv4 TCP, tracked port", plain.clone()),
        row(
            "IPv4 TCP, tracked port, aggregated",
            Recipe {
                payload_bytes: 3_000,
                gso_size_bytes: 1_448,
                ..plain.clone()
            },
        ),
        row("IPv6 TCP, tracked port", ipv6.clone()),
        row(
            "IPv4 TCP, other port",
            Recipe {
                local_port: OTHER_PORT,
                ..plain
            },
        ),
        row(
            "IPv6 TCP, other port",
            Recipe {
                local_port: OTHER_PORT,
                ..ipv6
            },
        ),
    ]
}

fn load(object: &[u8], program_names: &[&str]) -> Result<Programs> {
    let mut programs = Programs::load(object, program_names)?;
    programs.enter_world()?;
    // As on nearly every host: its addresses are among the few.
    programs.set_few_addresses(LOCAL_IPV4, LOCAL_IPV6)?;
    Ok(programs)
}

/// Nanoseconds of one run, on average over many.
fn measure(programs: &mut Programs, name: &str, recipe: &Recipe) -> Result<f64> {
    let bytes = recipe.bytes();
    let start = Instant::now();
    programs.run(name, &bytes, recipe.gso_size_bytes, RUNS)?;
    Ok(start.elapsed().as_secs_f64() * 1e9 / f64::from(RUNS))
}

fn counted(programs: &Programs) -> Result<PortCounters> {
    Ok(programs.port_counters()?[TRACKED_SLOT as usize])
}

fn stay_on_this_cpu() -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(nix::sched::sched_getcpu()?)?;
    sched_setaffinity(Pid::from_raw(0), &cpus).context("staying on one CPU")
}

fn report(rows: &[Row], empty_ns: f64) {
    println!(
        "BPF_PROG_TEST_RUN, receive, Ethernet; {LOADS} loads, {ROUNDS} interleaved rounds of {RUNS} runs each, medians in ns\n"
    );
    println!(
        "{:<36} {:>6} {:>6} {:>6} {:>11}   goal",
        "packet", "Rust", "C", "Rust/C", "above empty"
    );
    println!("{:<36} {empty_ns:>6.2}", "an empty program");
    for row in rows {
        let (rust_ns, c_ns) = (median(&row.rust_ns), median(&row.c_ns));
        let (ratio, cost_ns) = (rust_ns / c_ns, rust_ns - empty_ns);
        let goal = match row.recipe.outcome() {
            Outcome::Counted { .. } => format!("Rust/C <= {RATIO_MAX} {}", verdict(ratio <= RATIO_MAX)),
            _ => format!(
                "above empty <= {UNMATCHED_COST_MAX_NS} {}",
                verdict(cost_ns <= UNMATCHED_COST_MAX_NS)
            ),
        };
        println!(
            "{:<36} {rust_ns:>6.2} {c_ns:>6.2} {ratio:>6.3} {cost_ns:>11.2}   {goal}",
            row.title
        );
    }
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "NOT MET" }
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
