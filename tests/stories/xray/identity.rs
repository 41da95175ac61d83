//! What links carry, and who may fetch one: rotated with a grace, void with the key.

use anyhow::{Context, Result, ensure};
use portmeter_tests::command;
use portmeter_tests::network::Pair;
use portmeter_tests::rest::Key;
use portmeter_tests::xray::{Client, Site, Supervised};
use serde_json::json;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    (
        "a_rotated_short_id_goes_on_for_its_grace",
        a_rotated_short_id_goes_on_for_its_grace,
    ),
    ("a_subscription_is_its_keys", a_subscription_is_its_keys),
];

fn a_rotated_short_id_goes_on_for_its_grace() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    let key = agent.rest().create_key("customer")?;
    let old = agent.link(&key)?;
    let client = Client::start(&pair.client, &old)?;
    let download = client.download(1_000_000, 300)?;
    download.wait_for(500_000)?;

    rotate(&agent, &["--grace", "3600"])?;
    let new = agent.link(&key)?;
    ensure!(
        new.short_id != old.short_id && new.public_key == old.public_key,
        "{new:?} follows {old:?}"
    );
    Client::start(&pair.client, &new)?.works().context("the new link")?;
    client.works().context("the old link within its grace")?;

    rotate(&agent, &["--private-key"])?;
    let newest = agent.link(&key)?;
    ensure!(newest.public_key != new.public_key, "{newest:?} follows {new:?}");
    Client::start(&pair.client, &newest)?
        .works()
        .context("the newest link")?;
    ensure!(client.is_refused()?, "a link with the old private key works");
    download
        .wait_for(500_000)
        .context("a connection that stood before the rotations")?;
    ensure!(agent.synchronization()?["synchronized"] == true, "there is drift");
    Ok(())
}

fn a_subscription_is_its_keys() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    let key = agent.rest().create_key("customer")?;
    let first = subscription(&agent, &key)?.context("an enabled key has no subscription")?;
    let status = |path: &str| Ok::<u16, anyhow::Error>(agent.rest().get(path)?.status);
    ensure!(status(&first)? == 200);
    ensure!(status("/sub/00000000000000000000000000000000")? == 404);

    let kicked = agent.rest().post("/api/users/kick", Some(json!({"uuid": key.uuid})))?;
    kicked.expect_success()?;
    let second = subscription(&agent, &key)?.context("a kicked key has no subscription")?;
    ensure!(first != second, "a kick left the address as it was");
    ensure!((status(&first)?, status(&second)?) == (404, 200));

    let path = format!("/api/keys/{}", key.id);
    agent
        .rest()
        .patch(&path, json!({"is_active": false}))?
        .expect_success()?;
    ensure!(status(&second)? == 404, "a disabled key's subscription is answered");
    ensure!(subscription(&agent, &key)?.is_none());
    agent
        .rest()
        .patch(&path, json!({"is_active": true}))?
        .expect_success()?;
    let third = subscription(&agent, &key)?.context("an enabled key has no subscription")?;
    ensure!((status(&second)?, status(&third)?) == (404, 200));

    agent.rest().delete_key(&key.id)?;
    ensure!(status(&third)? == 404, "a deleted key's subscription is answered");
    for token in [&first, &second, &third].map(|path| path.trim_start_matches("/sub/")) {
        ensure!(!agent.read_log("stderr").contains(token), "a token is in the log");
    }
    Ok(())
}

fn rotate(agent: &Supervised<'_>, how: &[&str]) -> Result<()> {
    let mut rotate = agent.wrapped(&["reality", "rotate", "--instance", agent.instance()]);
    rotate.args(how);
    agent.host().enter(|| command::output(&mut rotate))?;
    Ok(())
}

/// The path of a key's subscription, while it has one.
fn subscription(agent: &Supervised<'_>, key: &Key) -> Result<Option<String>> {
    let shown = agent.rest().shown(&format!("/api/keys/{}/config", key.id))?;
    Ok(shown["subscription_path"].as_str().map(str::to_owned))
}
