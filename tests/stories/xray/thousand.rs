//! A thousand keys: all of them there after a start, and nothing done where nothing has to be.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use anyhow::{Result, ensure};
use portmeter_tests::network::Pair;
use portmeter_tests::xray::{Client, Site, Supervised};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[("a_thousand_keys_start_and_stay", a_thousand_keys_start_and_stay)];

const KEY_COUNT: usize = 1_000;

fn a_thousand_keys_start_and_stay() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let mut agent = Supervised::new(&pair.server, &site)?;
    agent.change_variable("PORTMETER_CAPTURE__PORTS", "10001-11000");
    agent.start()?;
    let keys = agent.rest().create_keys(KEY_COUNT)?;
    agent.stop()?;
    agent.kill_core()?;

    let started = Instant::now();
    agent.start()?;
    agent.wait_until_open(&keys)?;
    println!(
        "{KEY_COUNT} keys: all ports open {:.2} s after the start",
        started.elapsed().as_secs_f64()
    );
    agent.wait_until_synchronized()?;
    for key in [&keys[0], &keys[KEY_COUNT / 2], &keys[KEY_COUNT - 1]] {
        Client::start(&pair.client, &agent.link(key)?)?.works()?;
    }

    let before = (agent.core_process_id()?, file_state(&agent)?);
    let asked = Instant::now();
    for path in ["/api/system/sync-config", "/api/system/xray/sync-config"] {
        agent.rest().post(path, None)?.expect_success()?;
    }
    println!("two syncs of nothing: {:.2} s", asked.elapsed().as_secs_f64());
    let after = (agent.core_process_id()?, file_state(&agent)?);
    ensure!(after == before, "a sync of what was right did something");
    Ok(())
}

/// What would tell of a write, also of one of the same text.
fn file_state(agent: &Supervised<'_>) -> Result<(u64, i64, i64, Vec<u8>)> {
    let path = agent.core_configuration();
    let metadata = fs::metadata(&path)?;
    Ok((
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        fs::read(&path)?,
    ))
}
