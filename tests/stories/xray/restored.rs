//! A saved configuration becomes the wanted state again, and a core that is away is caught up with.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context, Result, ensure};
use portmeter_tests::metrics::Scrape;
use portmeter_tests::network::Pair;
use portmeter_tests::xray::{Client, Site, Supervised};
use portmeter_tests::{needs, wait};
use serde_json::json;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    (
        "a_backup_brings_back_keys_and_keeps_the_others",
        a_backup_brings_back_keys_and_keeps_the_others,
    ),
    ("an_absent_core_is_caught_up_with", an_absent_core_is_caught_up_with),
];

fn a_backup_brings_back_keys_and_keeps_the_others() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    let lost = agent.rest().create_key("lost")?;
    let old_link = agent.link(&lost)?;
    agent.wait_until_synchronized()?;
    agent.rest().delete_key(&lost.id)?;
    let kept = agent.rest().create_key("kept")?;
    let kept_link = agent.link(&kept)?;
    agent.wait_until_synchronized()?;
    ensure!(kept.port == lost.port, "port {} is not used again", lost.port);

    let list = agent.rest().shown("/api/backups")?;
    let names = list["backups"].as_array().context("no backups")?.iter();
    let names: Vec<&str> = names.filter_map(|backup| backup["name"].as_str()).collect();
    let with_lost = |name: &&&str| {
        let preview = agent.rest().shown(&format!("/api/backups/{name}/preview"));
        preview.is_ok_and(|shown| shown["preview"]["users"][0]["id"] == lost.uuid.as_str())
    };
    let backup = *names.iter().find(with_lost).context("no backup has the lost key")?;
    let path = format!("/api/backups/{backup}/restore");

    let looked = agent.rest().post(&path, Some(json!({})))?.expect_success()?;
    ensure!(looked["preview"] == true, "{looked}");
    ensure!(agent.rest().keys()?.len() == 1, "a dry run has made keys");
    let restored = agent
        .rest()
        .post(&path, Some(json!({"preview": false})))?
        .expect_success()?;
    ensure!(
        restored["restored"] == true && restored["pre_restore_backup"].is_string(),
        "{restored}"
    );

    let keys = agent.rest().keys()?;
    let back = keys.iter().find(|key| key.uuid == lost.uuid).context("the lost key")?;
    ensure!(
        keys.iter().any(|key| key.uuid == kept.uuid),
        "a key that the backup lacks is gone"
    );
    ensure!(back.port != kept.port, "two keys share port {}", kept.port);
    let new_link = agent.link(back)?;
    ensure!(
        new_link.public_key == old_link.public_key && new_link.short_id == old_link.short_id,
        "{new_link:?}"
    );
    Client::start(&pair.client, &new_link)?.works()?;
    Client::start(&pair.client, &kept_link)?.works()?;
    ensure!(agent.synchronization()?["synchronized"] == true);
    Ok(())
}

fn an_absent_core_is_caught_up_with() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let mut agent = Supervised::new(&pair.server, &site)?;
    let binary = agent.home().join("xray");
    let real = needs::xray()?;
    fs::write(&binary, format!("#!/bin/sh\nexec {} \"$@\"\n", real.display()))?;
    let allow = |mode| fs::set_permissions(&binary, Permissions::from_mode(mode));
    allow(0o700)?;
    agent.change_variable(
        "PORTMETER_XRAY__BINARY",
        binary.to_str().context("a path that is no text")?,
    );
    agent.start()?;
    let gone = agent.rest().create_key("gone")?;
    let stays = agent.rest().create_key("stays")?;
    agent.wait_until_synchronized()?;

    allow(0o600)?;
    agent.kill_core()?;
    // Both answer as always; the core hears of them when it is back.
    agent.rest().delete_key(&gone.id)?;
    let made = agent.rest().create_key("made")?;
    let shown = agent.synchronization()?;
    ensure!(shown["synchronized"] == false, "{shown}");
    ensure!(shown["missing_in_config"] == json!([made.uuid]), "{shown}");
    let drift = || Scrape::of(agent.host(), "text/plain")?.value("portmeter_xray_drift");
    ensure!(drift()? > 0, "the metric shows no drift");

    allow(0o700)?;
    agent.wait_until_synchronized()?;
    ensure!(drift()? == 0, "the metric still shows drift");
    for key in [&stays, &made] {
        Client::start(&pair.client, &agent.link(key)?)?.works()?;
    }
    wait::until("the core is the only one", || Ok(agent.core_process_id().is_ok()))
}
