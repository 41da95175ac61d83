//! The core's life and the agent's: each goes on without the other, and comes back with all keys.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use portmeter_tests::network::Pair;
use portmeter_tests::ordinary_user::every_thread_has;
use portmeter_tests::rest::Key;
use portmeter_tests::wait::patient;
use portmeter_tests::xray::{Client, Link, Site, Supervised, core_process_ids};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    (
        "a_killed_core_is_back_with_all_keys",
        a_killed_core_is_back_with_all_keys,
    ),
    ("a_core_has_nothing_of_its_agents", a_core_has_nothing_of_its_agents),
    ("a_core_outlives_its_agent", a_core_outlives_its_agent),
    ("after_both_were_killed_all_is_back", after_both_were_killed_all_is_back),
    (
        "a_core_ends_with_its_agent_where_it_is_to",
        a_core_ends_with_its_agent_where_it_is_to,
    ),
];

const KEY_COUNT: usize = 20;
const BACK_MAX: Duration = Duration::from_secs(2);
const BYTES_PER_SECOND: u64 = 1_000_000;
/// Longer than a story can take.
const DOWNLOAD_SECONDS: u64 = 300;

fn a_killed_core_is_back_with_all_keys() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    let keys = agent.rest().create_keys(KEY_COUNT)?;
    let client = Client::with_links(&pair.client, &links(&agent, &keys)?)?;
    all_work(&client)?;
    // The first time, and once more: a core that has run for a while is not one that fails to start.
    for _ in 0..2 {
        let killed = agent.core_process_id()?;
        let at = Instant::now();
        agent.kill_core()?;
        agent.wait_until_open(&keys)?;
        let took = at.elapsed();
        println!("back after {} ms", took.as_millis());
        ensure!(took <= patient(BACK_MAX), "back after {} ms", took.as_millis());
        ensure!(agent.core_process_id()? != killed, "the same process");
        all_work(&client)?;
    }
    // And it takes changes as the first one did.
    let key = agent.rest().create_key("later")?;
    Client::start(&pair.client, &agent.link(&key)?)?.works()
}

/// Neither its rights nor its settings, and not what its allocator does without either.
fn a_core_has_nothing_of_its_agents() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    let core = u32::try_from(agent.core_process_id()?)?;
    for (field, expected) in [("CapEff", 0), ("CapPrm", 0), ("CapAmb", 0), ("NoNewPrivs", 1)] {
        every_thread_has(core, field, expected)?;
    }
    every_thread_has(agent.process_id()?, "THP_enabled", 0)?;
    every_thread_has(core, "THP_enabled", 1)?;
    let variables = std::fs::read(format!("/proc/{core}/environ"))?;
    let variables = String::from_utf8_lossy(&variables);
    ensure!(!variables.contains("PORTMETER"), "{variables}");
    Ok(())
}

/// Killed or stopped: the core and what it carries go on, and the next agent goes on with that very core.
fn a_core_outlives_its_agent() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let mut agent = Supervised::started(&pair.server, &site)?;
    let key = agent.rest().create_key("customer")?;
    let client = Client::start(&pair.client, &agent.link(&key)?)?;
    let download = client.download(BYTES_PER_SECOND, DOWNLOAD_SECONDS)?;
    let core = agent.core_process_id()?;
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        agent.stop_with(signal)?;
        download.wait_for(BYTES_PER_SECOND / 2)?;
        client.works().context("a new connection without an agent")?;
        ensure!(agent.core_process_id()? == core, "another core after {signal}");

        agent.start()?;
        agent.wait_until_synchronized()?;
        ensure!(
            agent.core_process_id()? == core,
            "the core was not adopted after {signal}"
        );
        let later = agent.rest().create_key("later")?;
        Client::start(&pair.client, &agent.link(&later)?)?
            .works()
            .context("a key that an adopted core was given")?;
        agent.rest().delete_key(&later.id)?;
    }
    download.wait_for(BYTES_PER_SECOND / 2)?;
    ensure!(!download.has_ended(), "the download was broken off");
    // An adopted core is watched like one of its own.
    agent.kill_core()?;
    agent.wait_until_open(std::slice::from_ref(&key))?;
    client.works()
}

fn after_both_were_killed_all_is_back() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let mut agent = Supervised::started(&pair.server, &site)?;
    let keys = agent.rest().create_keys(KEY_COUNT)?;
    let client = Client::with_links(&pair.client, &links(&agent, &keys)?)?;
    // The last keys are hardly made: the file may not have them yet, the store has.
    agent.kill()?;
    agent.kill_core()?;
    ensure!(client.is_refused()?, "nobody is there");
    agent.start()?;
    agent.wait_until_open(&keys)?;
    agent.core_process_id()?;
    all_work(&client)?;
    agent.wait_until_synchronized()
}

fn a_core_ends_with_its_agent_where_it_is_to() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let mut agent = Supervised::new(&pair.server, &site)?;
    agent.change_variable("PORTMETER_XRAY__STOP_WITH_AGENT", "true");
    agent.start()?;
    let key = agent.rest().create_key("customer")?;
    let client = Client::start(&pair.client, &agent.link(&key)?)?;
    client.works()?;
    agent.stop()?;
    let left = core_process_ids(&pair.server)?;
    ensure!(left.is_empty(), "cores are left: {left:?}");
    agent.start()?;
    agent.wait_until_open(std::slice::from_ref(&key))?;
    client.works()
}

fn links(agent: &Supervised<'_>, keys: &[Key]) -> Result<Vec<Link>> {
    keys.iter().map(|key| agent.link(key)).collect()
}

fn all_work(client: &Client<'_>) -> Result<()> {
    (0..)
        .zip(client.tunnels())
        .try_for_each(|(number, tunnel)| tunnel.works().with_context(|| format!("key {number}")))
}
