//! Keys come and go, and nobody else notices.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portmeter_tests::network::Pair;
use portmeter_tests::wait::patient;
use portmeter_tests::xray::{Client, Site, Supervised, listening_ports};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[(
    "a_hundred_keys_come_and_go_beside_a_download",
    a_hundred_keys_come_and_go_beside_a_download,
)];

const KEY_COUNT: usize = 100;
const BYTES_PER_SECOND: u64 = 1_600_000;
/// Longer than the story can take; it is broken off at the end.
const DOWNLOAD_SECONDS: u64 = 300;
const DOWNLOAD_LEAST: Duration = Duration::from_secs(10);
const GAP_MAX: Duration = Duration::from_millis(100);

fn a_hundred_keys_come_and_go_beside_a_download() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    let undisturbed = agent.rest().create_key("undisturbed")?;
    let client = Client::start(&pair.client, &agent.link(&undisturbed)?)?;
    let download = client.download(BYTES_PER_SECOND, DOWNLOAD_SECONDS)?;
    download.wait_for(BYTES_PER_SECOND)?;
    let connections = agent.rest().connections_of(&undisturbed.id)?;
    let core = agent.core_process_id()?;

    for number in 0..KEY_COUNT {
        let key = agent.rest().create_key(&format!("guest {number}"))?;
        // No waiting here: the key works from the moment of the answer.
        ensure!(
            listening_ports(&pair.server)?.contains(&key.port),
            "key {number} was answered before port {} was open",
            key.port
        );
        // Starting a core is far more work than making a key, and not what is told here.
        Client::start_humbly(&pair.client, &agent.link(&key)?)?
            .works()
            .with_context(|| format!("key {number}"))?;
        agent.rest().delete_key(&key.id)?;
        ensure!(
            !listening_ports(&pair.server)?.contains(&key.port),
            "key {number} was deleted and port {} is open",
            key.port
        );
    }

    // Each of them passed through the file too, and that has caught up.
    agent.wait_until_synchronized()?;
    while download.so_far().duration() < DOWNLOAD_LEAST {
        download.wait_for(BYTES_PER_SECOND / 2)?;
    }
    let arrivals = download.so_far();
    let gap = arrivals.longest_gap();
    println!(
        "{KEY_COUNT} keys in {:.1} s, longest gap {} ms",
        arrivals.duration().as_secs_f64(),
        gap.as_millis()
    );
    ensure!(arrivals.ended_at().is_none(), "the download was broken off");
    ensure!(gap <= patient(GAP_MAX), "nothing arrived for {} ms", gap.as_millis());
    let after = agent.rest().connections_of(&undisturbed.id)?;
    ensure!(after == connections, "before: {connections:?}, after: {after:?}");
    ensure!(agent.core_process_id()? == core, "the core was replaced");
    Ok(())
}
