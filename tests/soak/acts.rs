//! The acts of a soak, and what has to hold after each.

use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portmeter_tests::metrics::Scrape;
use portmeter_tests::namespace::Namespace;
use portmeter_tests::network::Pair;
use portmeter_tests::witness::Witness;
use portmeter_tests::xray::{self, Site, core_process_ids};
use portmeter_tests::{bpftool, command, count, exactness, wait};

use crate::booked::{self, Expected};
use crate::curtain::Curtain;
use crate::customer::{Customer, Habit};
use crate::disturbances::Disturbances;
use crate::plan::{Plan, REST};
use crate::resources::Resources;
use crate::subject::Subject;
use crate::tally::Tally;
use crate::world::{PORTS, World};
use crate::{readers, storm};

/// Customers who stay, and customers who come and go.
const STAYING: usize = 2;
const COMING_AND_GOING: usize = 3;

/// Panels that read at the same time.
const PANELS: usize = 2;

/// What has to have happened at least so often in any soak of a minute or more, apart from the storm's blows.
const REQUIRED: [(&str, u64); 8] = [
    ("keys made", 5),
    ("keys deleted at rest", 1),
    ("keys deleted amid their traffic", 1),
    ("changes of a key", 3),
    ("comparisons of a key's figures", 20),
    ("REST requests of panels", 500),
    ("scrapes", 50),
    ("commands of an operator", 5),
];

/// A whole soak.
pub(crate) fn play(plan: &Plan, seed: u64, with_core: bool) -> Result<()> {
    let pair = Pair::new()?;
    let site = with_core.then(|| Site::beyond(&pair.server)).transpose()?;
    let witness = Witness::attach(&pair.client, "eth0")?;
    let mut subject = Subject::started(&pair.server, site.as_ref())?;
    let world = World {
        pair: &pair,
        witness: &witness,
        has_core: with_core,
        socket: subject.run_folder().join("agent.sock"),
        seed,
        agent: Disturbances::default(),
        core: Disturbances::default(),
        tally: Tally::default(),
        edges: std::sync::Mutex::default(),
    };
    let habits = [vec![Habit::Stays; STAYING], vec![Habit::ComesAndGoes; COMING_AND_GOING]].concat();
    let mut customers: Vec<_> = (1..)
        .zip(habits)
        .map(|(number, habit)| Customer::new(&world, number, habit))
        .collect();
    let result = play_all(plan, &world, &mut subject, &mut customers);
    print!("{}", world.tally);
    result
}

fn play_all<'lab>(
    plan: &Plan,
    world: &World<'lab>,
    subject: &mut Subject<'lab>,
    customers: &mut [Customer<'lab>],
) -> Result<()> {
    let own_build = subject.own_binary()?;
    act("warm-up", plan.warm_up, false, world, subject, customers)?;
    let first = at_rest("after the warm-up", subject)?;
    act("steady", plan.steady, false, world, subject, customers)?;
    let steady = at_rest("after the steady act", subject)?;
    act("storm", plan.storm, true, world, subject, customers)?;

    subject.stop()?;
    compare_ledger(world, subject, customers).context("after the storm")?;
    subject.change_program(own_build);
    subject.start()?;
    act("aftermath", plan.aftermath, false, world, subject, customers)?;
    let last = at_rest("after the aftermath", subject)?;

    subject.stop()?;
    compare_ledger(world, subject, customers).context("in the end")?;
    compare_in_all(world)?;
    let mut grown = Vec::new();
    for (since, later) in [("in one process", &steady), ("over restarts", &last)] {
        grown.extend(later.growth_since(&first).iter().map(|what| format!("{since}: {what}")));
    }
    ensure!(grown.is_empty(), "the agent has grown:\n{}", grown.join("\n"));
    world.tally.require(&REQUIRED)?;
    for blow in storm::blows(world.has_core) {
        world.tally.require(&[(blow.name(), 1)])?;
    }
    nothing_stays(subject)
}

/// One act with everybody in it, and the quiet after it, in which all that is shown is what has passed.
fn act<'lab>(
    name: &str,
    time: Duration,
    is_stormy: bool,
    world: &World<'lab>,
    subject: &mut Subject<'lab>,
    customers: &mut [Customer<'lab>],
) -> Result<()> {
    println!("== {name}: {} s", time.as_secs());
    let commands = operator_commands(subject);
    let curtain = Curtain::default();
    thread::scope(|scope| {
        let curtain = &curtain;
        let mut actors = Vec::new();
        for customer in &mut *customers {
            let name = customer.name().to_owned();
            actors.push((
                name,
                scope.spawn(move || curtain.acting(|curtain| customer.live(world, curtain))),
            ));
        }
        for number in 1..=PANELS {
            let panel = move || curtain.acting(|curtain| readers::panel(world, curtain, number));
            actors.push((format!("panel {number}"), scope.spawn(panel)));
        }
        type Actor = fn(&World<'_>, &Curtain) -> Result<()>;
        for (name, actor) in [
            ("Prometheus", readers::prometheus as Actor),
            ("follower", readers::follower),
            ("stranger", readers::stranger),
        ] {
            let acting = move || curtain.acting(|curtain| actor(world, curtain));
            actors.push((name.to_owned(), scope.spawn(acting)));
        }
        let operator = move || curtain.acting(|curtain| readers::operator(world, curtain, commands));
        actors.push(("operator".to_owned(), scope.spawn(operator)));

        let ended = curtain.acting(|curtain| match is_stormy {
            true => storm::rage(world, curtain, subject, time),
            false => {
                curtain.wait(time);
                Ok(())
            }
        });
        curtain.fall();
        let results: Vec<_> = actors
            .into_iter()
            .map(|(name, actor)| (name, actor.join().expect("an actor")))
            .collect();
        let failed: Vec<String> = [("storm".to_owned(), ended)]
            .into_iter()
            .chain(results)
            .filter_map(|(name, result)| Some(format!("{name}: {:#}", result.err()?)))
            .collect();
        ensure!(failed.is_empty(), "{}", failed.join("\n"));
        Ok(())
    })?;
    all_is_shown(world, subject)?;
    customers.iter().try_for_each(|customer| customer.look(world))
}

/// What an operator does beside a running agent.
fn operator_commands(subject: &Subject<'_>) -> Vec<Command> {
    let mut backup = subject.portmeter(&["backup", "--force"]);
    backup.arg(subject.home().join("backup"));
    let mut export = subject.portmeter(&["export", "--from", "2025-01-01", "--to", "2999-12-31"]);
    export.args(["--format", "csv"]);
    let list = subject.wrapped(&["key", "list", "--json", "--instance", subject.instance()]);
    vec![backup, list, export]
}

/// Every face shows what the witness has seen, and no connection is left.
fn all_is_shown(world: &World<'_>, subject: &Subject<'_>) -> Result<()> {
    let ports: Vec<u16> = PORTS.collect();
    xray::ports_are_quiet(&world.pair.server, &world.pair.client, &ports)?;
    let passed = world.witness.counts(&ports)?;
    exactness::equal("bpftool", &bpftool::counts(subject)?, &passed)?;
    let scrape = Scrape::of(&world.pair.server, "*/*")?;
    exactness::equal("Prometheus", &scrape.counts(&ports)?, &passed)?;
    wait::until("no connection is counted as open", || {
        let scrape = Scrape::of(&world.pair.server, "*/*")?;
        let active = ports.iter().map(|&port| Ok(scrape.connections(port)?.active));
        Ok(active.sum::<Result<u64>>()? == 0)
    })?;
    let corrections = subject.grpc()?.state()?.connection_corrections;
    ensure!(corrections == 0, "connections were corrected {corrections} times");
    Ok(())
}

/// What the agent has when nobody wants anything of it. Nobody but it and its core runs on its host.
fn at_rest(moment: &str, subject: &Subject<'_>) -> Result<Resources> {
    let resources = Resources::at_rest(subject, REST)?;
    println!("{moment}: {resources}");
    let on_host = command::output(Command::new("ip").args(["netns", "pids", subject.host().name()]))?;
    let cores = core_process_ids(subject.host())?;
    let agent = subject.process_id()?;
    let strays: Vec<&str> = on_host
        .lines()
        .map(str::trim)
        .filter(|id| *id != agent.to_string() && !cores.iter().any(|core| *id == core.to_string()))
        .collect();
    let cores_wanted = usize::from(subject.core().is_some());
    ensure!(
        strays.is_empty() && cores.len() == cores_wanted,
        "beside the agent run the cores {cores:?} and {strays:?}"
    );
    Ok(resources)
}

/// The ledger of the agent, which has stopped, holds what has passed.
fn compare_ledger(world: &World<'_>, subject: &Subject<'_>, customers: &[Customer<'_>]) -> Result<()> {
    let passed = world.witness.counts(&PORTS.collect::<Vec<_>>())?;
    let mut expected = Expected {
        passed,
        keys: Default::default(),
        gone: customers.iter().flat_map(|customer| customer.gone.clone()).collect(),
    };
    for customer in customers {
        if let Some((key, own)) = customer.holding(world)? {
            expected.keys.insert(key.id.clone(), own);
        }
    }
    booked::compare(&subject.data_folder(), &expected)
}

/// Told in the end; a soak without traffic has shown nothing.
fn compare_in_all(world: &World<'_>) -> Result<()> {
    let passed = world.witness.counts(&PORTS.collect::<Vec<_>>())?;
    let in_all = passed.values().fold(count::Count::default(), |sum, one| sum.and(one));
    let ports = passed.values().filter(|count| !count.is_zero()).count();
    println!("passed and booked at {ports} ports: {in_all:?}");
    ensure!(in_all.bytes() > 10_000_000, "too little has passed to show anything");
    Ok(())
}

/// Taken out of the kernel, it leaves nothing there.
fn nothing_stays(subject: &Subject<'_>) -> Result<()> {
    let counters = bpftool::map(&subject.pin_folder().join("maps/port_counters"))?;
    let id = counters["id"].as_u64().context("the map's id")?;
    subject.uninstall()?;
    ensure!(!subject.pin_folder().exists(), "pins stay behind");
    wait::until("the kernel has let go of every program", || {
        Ok(bpftool::programs_using(id)?.is_empty())
    })
}

/// Whether this machine can make the namespaces that a soak needs.
pub(crate) fn can_play() -> Result<()> {
    Namespace::new("probe")
        .map(drop)
        .context("there are no network namespaces")
}
