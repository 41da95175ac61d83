//! Settings of links and inbounds with a real core: in force at once, and nobody's connection ends.

use anyhow::{Context, Result, ensure};
use portmeter_tests::network::{Pair, SERVER_V4};
use portmeter_tests::xray::{Client, SERVER_NAME, Site, Supervised};
use serde_json::{Value, json};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[("new_links_work_and_downloads_go_on", new_links_work_and_downloads_go_on)];

const OTHER_NAME: &str = "other.example.com";

fn new_links_work_and_downloads_go_on() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let mut agent = Supervised::started(&pair.server, &site)?;
    let key = agent.rest().create_key("customer")?;
    let old = agent.link(&key)?;
    let client = Client::start(&pair.client, &old)?;
    let download = client.download(1_000_000, 300)?;
    download.wait_for(500_000)?;
    let process_id = agent.core_process_id()?;

    let saved = save(
        &agent,
        json!({"xray": {"sni": OTHER_NAME, "flow": "", "fp": "firefox"}}),
    )?;
    ensure!(saved["restart_required"] == json!([]), "{saved:#}");
    let new = agent.link(&key)?;
    ensure!(
        new.server_name == OTHER_NAME && new.flow.is_empty() && new.host == SERVER_V4.to_string(),
        "{new:?}"
    );
    Client::start(&pair.client, &new)?.works().context("the new link")?;
    ensure!(client.is_refused()?, "an old link with another flow works");
    let reality = agent.rest().shown("/api/xray/reality")?;
    ensure!(
        reality.to_string().contains("firefox") && reality.to_string().contains(OTHER_NAME),
        "{reality}"
    );
    download.wait_for(500_000).context("a connection that stood before")?;

    // The configured name goes on being accepted.
    save(&agent, json!({"xray": {"flow": "xtls-rprx-vision"}}))?;
    client.works().context("the old link, its flow back")?;
    download.wait_for(500_000).context("a connection that stood before")?;
    ensure!(agent.core_process_id()? == process_id, "the core was restarted");
    agent.wait_until_synchronized()?;

    // The next agent and the next core have them as well.
    agent.kill()?;
    agent.start()?;
    ensure!(agent.link(&key)?.server_name == OTHER_NAME);
    agent.kill_core()?;
    agent.wait_until_open(std::slice::from_ref(&key))?;
    Client::start(&pair.client, &agent.link(&key)?)?.works()?;
    save(&agent, json!({"xray": {"sni": SERVER_NAME}}))?;
    ensure!(agent.link(&key)?.server_name == SERVER_NAME);
    Ok(())
}

fn save(agent: &Supervised<'_>, body: Value) -> Result<Value> {
    agent.rest().post("/api/settings", Some(body))?.expect_success()
}
