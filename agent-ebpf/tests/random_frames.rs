//! A million random frames through the kernel programs and through the same parser on the host: the same counters, the
//! same fragments remembered, every frame handed on.
//!
//! Frames run in batches, and the maps are compared behind each; a batch that differs is run again frame by frame until
//! the one is found. They need root, as the tests in `kernel`. A million is run wherever no test may be left out;
//! elsewhere a tenth of it. `PORTMETER_RANDOM_FRAMES` and `PORTMETER_RANDOM_SEED` ask for other ones.

mod support;

use std::collections::BTreeMap;
use std::env;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Error, Result, ensure};
use portmeter_ebpf::layout::UnattributedReason;
use portmeter_ebpf::packet::{Direction, Link, Outcome};

use support::bench::{Bench, fits_a_test_run};
use support::corpus::corpus;
use support::drawn_frames::DrawnFrames;
use support::frame::Frame;
use support::recipe::{Extension, Recipe};
use support::rooted::{self, Test, may_leave_out};
use support::world::World;

const FRAMES: usize = 1_000_000;
/// Where nobody asked for everything.
const FRAMES_SHORT: usize = FRAMES / 10;
/// Of a hundred frames, those that go through the program at XDP, which is one of five.
const XDP_PERCENT: usize = 20;
/// So few that neither table of fragments comes near its end: the kernel's forgets then, and the host's does not.
const BATCH_FRAMES: usize = 2_000;
const SEED: u64 = 0x0070_6f72_746d_6574;
/// The kernel's test run takes no frame longer than a page less its own needs.
const FRAME_BYTES_MAX: usize = 3_000;
/// Hands the frame on to the network stack.
const XDP_PASS: i32 = 2;

const TESTS: [Test; 4] = [
    ("random frames at TC count as the host's parser says", || {
        random_frames(Hook::Tc, 100 - XDP_PERCENT)
    }),
    ("random frames at XDP count as the host's parser says", || {
        random_frames(Hook::Xdp, XDP_PERCENT)
    }),
    ("the fuzzer's corpus counts as the host's parser says", corpus_counts),
    ("headers beyond the first buffer count at XDP", long_frames_count_at_xdp),
];

fn main() -> ExitCode {
    rooted::run(&TESTS)
}

fn random_frames(hook: Hook, percent: usize) -> Result<()> {
    let default = if may_leave_out() { FRAMES_SHORT } else { FRAMES };
    let count = number("PORTMETER_RANDOM_FRAMES", default as u64)? as usize * percent / 100;
    let seed = number("PORTMETER_RANDOM_SEED", SEED)?;
    let mut comparison = Comparison::new(hook)?;
    let mut frames = DrawnFrames::new(seed)?;
    let started = Instant::now();
    let mut left = count;
    while left > 0 {
        let drawn = std::iter::repeat_with(|| frames.draw()).filter(|frame| hook.sees(frame));
        let taken = drawn.map(|frame| hook.adapt(frame)).filter(|frame| hook.takes(frame));
        let batch: Vec<_> = taken.take(left.min(BATCH_FRAMES)).collect();
        left -= batch.len();
        comparison
            .run_batch(&batch)
            .with_context(|| format!("PORTMETER_RANDOM_SEED={seed}"))?;
    }
    println!(
        "{hook:?}: {count} frames of seed {seed} in {:.1} s: {:?}",
        started.elapsed().as_secs_f64(),
        comparison.outcomes
    );
    comparison.saw_everything(count)
}

fn number(variable: &str, default: u64) -> Result<u64> {
    match env::var(variable) {
        Ok(value) => value
            .parse()
            .with_context(|| format!("{variable}={value} is not a number")),
        Err(_) => Ok(default),
    }
}

/// Each input is a batch of its own, so that nothing is remembered from one to the next, as in the fuzzer.
fn corpus_counts() -> Result<()> {
    for hook in [Hook::Tc, Hook::Xdp] {
        let mut comparison = Comparison::new(hook)?;
        for input in corpus()? {
            let frames = input.packets.into_iter().map(|packet| hook.adapt(packet.frame));
            let batch: Vec<_> = frames.filter(|frame| hook.takes(frame)).collect();
            comparison.run_batch(&batch).with_context(|| input.name)?;
        }
    }
    Ok(())
}

/// A frame of several buffers, whose transport header lies in a later one.
fn long_frames_count_at_xdp() -> Result<()> {
    let mut comparison = Comparison::new(Hook::Xdp)?;
    let recipe = Recipe {
        payload_bytes: 1_000,
        ..Recipe::plain_ipv6(&[Extension::HopByHop(255), Extension::DestinationOptions(255)])
    };
    let frame = Frame {
        direction: recipe.direction,
        link: recipe.link,
        gso_size_bytes: 0,
        bytes: recipe.bytes(),
    };
    ensure!(
        frame.classify(&World::default()) == recipe.outcome() && matches!(recipe.outcome(), Outcome::Counted { .. }),
        "the frame should count"
    );
    comparison.run_batch(&[frame])
}

/// Where the programs sit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hook {
    Tc,
    Xdp,
}

impl Hook {
    /// Whether a frame is one of those that come by here.
    fn sees(self, frame: &Frame) -> bool {
        self == Self::Tc || (frame.direction == Direction::Receive && frame.link == Link::Ethernet)
    }

    /// At XDP every frame is a received one, from a device with an Ethernet header, and not aggregated.
    fn adapt(self, frame: Frame) -> Frame {
        match self {
            Self::Tc => frame,
            Self::Xdp => Frame {
                direction: Direction::Receive,
                link: Link::Ethernet,
                gso_size_bytes: 0,
                ..frame
            },
        }
    }

    fn takes(self, frame: &Frame) -> bool {
        let is_short = frame.bytes.len() <= FRAME_BYTES_MAX;
        match self {
            Self::Tc => is_short && fits_a_test_run(&frame.bytes),
            Self::Xdp => is_short && frame.bytes.len() >= portmeter_ebpf::packet::ETHERNET_HEADER_BYTES,
        }
    }
}

/// Kernel and host side by side.
struct Comparison {
    hook: Hook,
    bench: Bench,
    world: World,
    /// How many frames came to what.
    outcomes: BTreeMap<&'static str, usize>,
}

impl Comparison {
    fn new(hook: Hook) -> Result<Self> {
        let mut bench = Bench::new()?;
        if hook == Hook::Xdp {
            bench.programs.load_xdp()?;
        }
        Ok(Self {
            hook,
            bench,
            world: World::default(),
            outcomes: BTreeMap::new(),
        })
    }

    fn run_batch(&mut self, frames: &[Frame]) -> Result<()> {
        self.forget_fragments()?;
        for frame in frames {
            let outcome = self.run(frame)?;
            *self.outcomes.entry(name(outcome)).or_default() += 1;
        }
        self.compare()
            .map_err(|difference| self.narrow_down(frames, difference))
    }

    fn run(&mut self, frame: &Frame) -> Result<Outcome> {
        let outcome = frame.classify(&self.world);
        self.bench.expect(outcome, frame.direction);
        self.hand_to_kernel(frame).with_context(|| describe(frame, outcome))?;
        Ok(outcome)
    }

    fn hand_to_kernel(&mut self, frame: &Frame) -> Result<()> {
        match self.hook {
            Hook::Tc => self
                .bench
                .run(&frame.bytes, frame.gso_size_bytes, frame.direction, frame.link),
            Hook::Xdp => {
                let verdict = self.bench.programs.run_xdp(&frame.bytes)?;
                ensure!(verdict == XDP_PASS, "the program returned {verdict}");
                Ok(())
            }
        }
    }

    fn compare(&self) -> Result<()> {
        self.bench.compare()?;
        let (kernel, host) = (self.bench.programs.fragments()?, self.world.fragments());
        ensure!(
            kernel == host,
            "the kernel remembers the fragments {kernel:?}, the host {host:?}"
        );
        Ok(())
    }

    /// Finds the frame of a batch after which kernel and host differ.
    fn narrow_down(&mut self, frames: &[Frame], difference: Error) -> Error {
        match self.run_one_by_one(frames) {
            Err(found) => found,
            Ok(()) => difference.context("frame by frame the same batch makes no difference"),
        }
    }

    fn run_one_by_one(&mut self, frames: &[Frame]) -> Result<()> {
        self.bench.accept()?;
        self.forget_fragments()?;
        for (index, frame) in frames.iter().enumerate() {
            let outcome = self.run(frame)?;
            self.compare()
                .with_context(|| format!("frame {index} of its batch, {}", describe(frame, outcome)))?;
        }
        Ok(())
    }

    fn forget_fragments(&mut self) -> Result<()> {
        self.world.forget_fragments();
        self.bench.programs.forget_fragments()
    }

    /// Frames that all come to the same would prove nothing.
    fn saw_everything(&self, count: usize) -> Result<()> {
        const NAMES: [&str; 6] = [
            "counted",
            "ignored",
            "forwarded",
            "fragment",
            "malformed",
            "header_chain",
        ];
        for name in NAMES {
            let seen = self.outcomes.get(name).copied().unwrap_or_default();
            ensure!(seen * 1_000 >= count, "only {seen} of {count} frames were {name}");
        }
        Ok(())
    }
}

fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ignored => "ignored",
        Outcome::Counted { .. } => "counted",
        Outcome::Unattributed { reason, .. } => UnattributedReason::name(reason),
    }
}

fn describe(frame: &Frame, outcome: Outcome) -> String {
    format!(
        "{:?}, {:?}, gso size {}, bytes {:02x?}: the host says {outcome:?}",
        frame.direction, frame.link, frame.gso_size_bytes, frame.bytes
    )
}
