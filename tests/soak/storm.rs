//! What is done to the agent and its core, at random moments.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use portmeter_tests::xray::Supervised;

use crate::choices::Choices;
use crate::curtain::Curtain;
use crate::subject::Subject;
use crate::world::World;

/// One thing that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    /// SIGTERM, and a start.
    Stop,
    /// SIGKILL, and a start.
    Kill,
    /// SIGKILL, a start that is killed on its way, and another one.
    KillTheStart,
    /// SIGTERM, and a start of another build.
    Upgrade,
    /// A restart that the agent is asked for over REST.
    BeginAnew,
    /// The core alone is killed.
    KillCore,
    /// Both are, the agent first.
    KillBoth,
}

/// What can be done to any agent, and to one with a core.
const ALONE: [Blow; 5] = [
    Blow::Stop,
    Blow::Kill,
    Blow::KillTheStart,
    Blow::Upgrade,
    Blow::BeginAnew,
];
const WITH_CORE: [Blow; 7] = [
    Blow::Stop,
    Blow::Kill,
    Blow::KillTheStart,
    Blow::Upgrade,
    Blow::BeginAnew,
    Blow::KillCore,
    Blow::KillBoth,
];

/// Pauses between two blows, and between the begin of a start and its end by SIGKILL.
const PAUSE_MILLISECONDS: std::ops::RangeInclusive<usize> = 200..=2_500;
const START_MILLISECONDS: std::ops::RangeInclusive<usize> = 1..=400;

impl Blow {
    /// As the tally has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stop => "stops of the agent",
            Self::Kill => "kills of the agent",
            Self::KillTheStart => "kills of a start",
            Self::Upgrade => "changes to another build",
            Self::BeginAnew => "restarts over REST",
            Self::KillCore => "kills of the core",
            Self::KillBoth => "kills of agent and core",
        }
    }
}

/// What is done where there is a core, or none.
pub(crate) fn blows(has_core: bool) -> &'static [Blow] {
    if has_core { &WITH_CORE } else { &ALONE }
}

/// Deals blows for so long, and until each was dealt once.
pub(crate) fn rage(world: &World<'_>, curtain: &Curtain, subject: &mut Subject<'_>, time: Duration) -> Result<()> {
    let mut choices = Choices::of(world.seed, "storm");
    let started = Instant::now();
    let all = blows(world.has_core);
    let mut first = choices.shuffled(all);
    let mut builds = [subject.other_binary()?, subject.own_binary()?].into_iter().cycle();
    while !curtain.has_fallen() && (started.elapsed() < time || !first.is_empty()) {
        let blow = first.pop().unwrap_or_else(|| *choices.one_of(all));
        deal(blow, world, curtain, subject, &mut choices, &mut builds).with_context(|| format!("{blow:?}"))?;
        world.tally.add(blow.name());
        let pause = choices.between(PAUSE_MILLISECONDS);
        curtain.wait(Duration::from_millis(pause as u64));
    }
    Ok(())
}

fn deal(
    blow: Blow,
    world: &World<'_>,
    curtain: &Curtain,
    subject: &mut Subject<'_>,
    choices: &mut Choices,
    builds: &mut impl Iterator<Item = PathBuf>,
) -> Result<()> {
    let _agent = (blow != Blow::KillCore).then(|| world.agent.begin());
    let _core = matches!(blow, Blow::KillCore | Blow::KillBoth).then(|| world.core.begin());
    match blow {
        Blow::Stop => {
            subject.stop()?;
            subject.start()
        }
        Blow::Kill => {
            subject.kill()?;
            subject.start()
        }
        Blow::KillTheStart => {
            subject.kill()?;
            subject.begin_start()?;
            curtain.wait(Duration::from_millis(choices.between(START_MILLISECONDS) as u64));
            subject.kill()?;
            subject.start()
        }
        Blow::Upgrade => {
            subject.stop()?;
            subject.change_program(builds.next().context("a build")?);
            subject.start()
        }
        Blow::BeginAnew => subject.begin_anew(),
        Blow::KillCore => {
            with_core(subject)?.kill_core()?;
            with_core(subject)?.wait_until_synchronized()
        }
        Blow::KillBoth => {
            subject.kill()?;
            with_core(subject)?.kill_core()?;
            subject.start()?;
            with_core(subject)?.wait_until_synchronized()
        }
    }
}

fn with_core<'all, 'lab>(subject: &'all Subject<'lab>) -> Result<&'all Supervised<'lab>> {
    subject.core().context("there is no core")
}
