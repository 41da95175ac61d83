//! A key that is taken away ends at once, also for what is on its way; nobody else's does.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use portmeter_tests::network::Pair;
use portmeter_tests::rest::Key;
use portmeter_tests::wait::patient;
use portmeter_tests::xray::{Client, Download, Link, Site, Supervised};
use serde_json::json;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_deleted_key_ends_at_once", a_deleted_key_ends_at_once),
    (
        "a_kicked_key_works_with_its_new_link_only",
        a_kicked_key_works_with_its_new_link_only,
    ),
    (
        "a_disabled_key_comes_back_with_its_old_link",
        a_disabled_key_comes_back_with_its_old_link,
    ),
];

const BYTES_PER_SECOND: u64 = 1_000_000;
/// Longer than a story can take.
const DOWNLOAD_SECONDS: u64 = 300;
/// From the call to the end of the key's last connection.
const CUT_MAX: Duration = Duration::from_secs(1);

fn a_deleted_key_ends_at_once() -> Result<()> {
    beside_another_key(|pair, agent| {
        let key = agent.rest().create_key("customer")?;
        let old_link = agent.link(&key)?;
        let client = Client::start(&pair.client, &old_link)?;
        is_cut_by(&client, || agent.rest().delete_key(&key.id))?;
        ensure!(client.is_refused()?, "the client of a deleted key came back");

        // Not with the next owner of its port either, whose inbound differs in the uuid alone.
        let successor = agent.rest().create_key("successor")?;
        ensure!(successor.port == key.port, "port {} is not used again", key.port);
        ensure!(client.is_refused()?, "the client of a deleted key uses its successor's");
        Client::start(&pair.client, &agent.link(&successor)?)?.works()
    })
}

fn a_kicked_key_works_with_its_new_link_only() -> Result<()> {
    beside_another_key(|pair, agent| {
        let key = agent.rest().create_key("customer")?;
        let old_link = agent.link(&key)?;
        let client = Client::start(&pair.client, &old_link)?;
        let mut new_uuid = String::new();
        is_cut_by(&client, || {
            let kick = agent.rest().post("/api/users/kick", Some(json!({"uuid": key.uuid})))?;
            let kicked = kick.expect_success()?;
            let uuid = kicked["new_uuid"].as_str().context("no new_uuid")?;
            uuid.clone_into(&mut new_uuid);
            Ok(())
        })?;
        ensure!(client.is_refused()?, "the old link works");
        let new_link = agent.link(&key)?;
        let expected = Link {
            uuid: new_uuid,
            ..old_link.clone()
        };
        ensure!(
            new_link == expected && new_link.uuid != old_link.uuid,
            "{new_link:?} follows {old_link:?}"
        );
        Client::start(&pair.client, &new_link)?.works()?;
        ensure!(client.is_refused()?, "the old link works beside the new one");
        Ok(())
    })
}

fn a_disabled_key_comes_back_with_its_old_link() -> Result<()> {
    beside_another_key(|pair, agent| {
        let key = agent.rest().create_key("customer")?;
        let link = agent.link(&key)?;
        let client = Client::start(&pair.client, &link)?;
        is_cut_by(&client, || set_active(agent, &key, false))?;
        ensure!(client.is_refused()?, "a disabled key works");
        // It keeps its port: nobody else is given it meanwhile.
        let other = agent.rest().create_key("other")?;
        ensure!(other.port != key.port, "the port of a disabled key was given away");
        ensure!(client.is_refused()?, "a disabled key works");

        set_active(agent, &key, true)?;
        client.works().context("the same client after the key was enabled")?;
        ensure!(agent.link(&key)? == link, "the link has changed");
        Ok(())
    })
}

/// Does `work` while somebody else's download goes on, over its one connection.
fn beside_another_key(work: impl FnOnce(&Pair, &Supervised<'_>) -> Result<()>) -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    let bystander = agent.rest().create_key("bystander")?;
    let client = Client::start(&pair.client, &agent.link(&bystander)?)?;
    let download = begin(&client)?;
    work(&pair, &agent)?;
    download
        .wait_for(BYTES_PER_SECOND / 2)
        .context("the bystander's download")?;
    ensure!(
        agent.rest().connections_of(&bystander.id)?.opened == 1,
        "the bystander had to connect again"
    );
    Ok(())
}

/// Fails unless a download of `client` ends within a second of `call`.
fn is_cut_by(client: &Client<'_>, call: impl FnOnce() -> Result<()>) -> Result<()> {
    let download = begin(client)?;
    let called = Instant::now();
    call()?;
    let arrivals = download.finish()?;
    let took = arrivals.ended_at().context("it has not ended")?.duration_since(called);
    println!("cut off {} ms after the call", took.as_millis());
    ensure!(!arrivals.is_whole(), "the download was through before the call");
    ensure!(took <= patient(CUT_MAX), "it went on for {} ms", took.as_millis());
    Ok(())
}

fn begin(client: &Client<'_>) -> Result<Download> {
    let download = client.download(BYTES_PER_SECOND, DOWNLOAD_SECONDS)?;
    download.wait_for(BYTES_PER_SECOND / 2)?;
    Ok(download)
}

fn set_active(agent: &Supervised<'_>, key: &Key, is_active: bool) -> Result<()> {
    let path = format!("/api/keys/{}", key.id);
    let shown = agent
        .rest()
        .patch(&path, json!({ "is_active": is_active }))?
        .expect_success()?;
    ensure!(shown["is_active"] == is_active, "{shown}");
    Ok(())
}
