//! A configuration file that somebody edited: what differs is shown, what is Portmeter's is repaired, the rest is kept.

use anyhow::{Context, Result, ensure};
use portmeter_tests::network::Pair;
use portmeter_tests::wait;
use portmeter_tests::xray::{Client, Site, Supervised};
use serde_json::{Value, json};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("drift_is_shown_and_repaired", drift_is_shown_and_repaired),
    (
        "verify_reality_repairs_what_keeps_clients_out",
        verify_reality_repairs_what_keeps_clients_out,
    ),
];

/// Makes something wrong in an inbound.
type Spoil = fn(&mut Value);

const STRANGER: &str = "0a0b0c0d-0102-4304-8506-0708090a0b0c";

fn drift_is_shown_and_repaired() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    let keys = agent.rest().create_keys(2)?;
    let clients = [
        Client::start(&pair.client, &agent.link(&keys[0])?)?,
        Client::start(&pair.client, &agent.link(&keys[1])?)?,
    ];
    agent.wait_until_synchronized()?;

    // One key's inbound is gone, one of a key that nobody has is there, and so are parts of the administrator's own.
    let mut edited = agent.read_core_configuration()?;
    let inbounds = inbounds(&mut edited)?;
    let position = position_of(inbounds, &keys[0].uuid)?;
    let mut strange = inbounds.remove(position);
    strange["tag"] = json!(format!("inbound-{STRANGER}"));
    strange["settings"]["clients"][0] = json!({"id": STRANGER, "email": STRANGER});
    let foreign = json!({"tag": "office", "listen": "127.0.0.1", "port": 18_080, "protocol": "socks"});
    inbounds.extend([strange, foreign.clone()]);
    let outbound = json!({"tag": "nowhere", "protocol": "blackhole"});
    edited["outbounds"]
        .as_array_mut()
        .context("no outbounds")?
        .push(outbound.clone());
    agent.write_core_configuration(&edited)?;

    wait::until("the drift is shown", || {
        let shown = agent.synchronization()?;
        Ok(shown["synchronized"] == false
            && shown["missing_in_config"] == json!([keys[0].uuid])
            && shown["extra_in_config"] == json!([STRANGER]))
    })?;
    let status = agent.rest().shown("/api/system/config-status")?;
    ensure!(
        status["synchronized"] == false && status["keys_json_count"] == 2 && status["config_json_count"] == 2,
        "{status}"
    );

    let answer = agent.rest().post("/api/system/sync-config", None)?.expect_success()?;
    ensure!(answer["status"] == "synced", "{answer}");
    let shown = agent.synchronization()?;
    ensure!(
        shown["synchronized"] == true && shown["total_keys"] == 2 && shown["total_config_clients"] == 2,
        "{shown}"
    );
    let status = agent.rest().shown("/api/system/config-status")?;
    ensure!(status["synchronized"] == true, "{status}");
    let mut repaired = agent.read_core_configuration()?;
    ensure!(
        repaired["outbounds"]
            .as_array()
            .is_some_and(|all| all.contains(&outbound)),
        "the foreign outbound is gone: {}",
        repaired["outbounds"]
    );
    let inbounds = self::inbounds(&mut repaired)?;
    ensure!(inbounds.contains(&foreign), "the foreign inbound is gone: {inbounds:?}");
    ensure!(
        position_of(inbounds, STRANGER).is_err(),
        "a key that nobody has is left"
    );
    for key in &keys {
        position_of(inbounds, &key.uuid)?;
    }
    clients.iter().try_for_each(|client| client.works())
}

/// The file is as before it was spoiled, to the last field, and the clients that were kept out get in.
fn verify_reality_repairs_what_keeps_clients_out() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    let spoil: [(&str, Spoil); 6] = [
        ("maxTimeDiff 0", |inbound| {
            reality(inbound)["maxTimeDiff"] = json!(0);
        }),
        ("maxTimeDiff 600", |inbound| {
            reality(inbound)["maxTimeDiff"] = json!(600);
        }),
        ("no maxTimeDiff", |inbound| {
            reality(inbound).as_object_mut().map(|all| all.remove("maxTimeDiff"));
        }),
        ("no flow", |inbound| {
            inbound["settings"]["clients"][0]["flow"] = json!("");
        }),
        ("another short id", |inbound| {
            reality(inbound)["shortIds"] = json!(["ffffffff"]);
        }),
        ("no server name", |inbound| {
            reality(inbound)["serverNames"] = json!([]);
        }),
    ];
    let keys = agent.rest().create_keys(spoil.len())?;
    agent.wait_until_synchronized()?;
    let before = agent.read_core_configuration()?;

    for ((what, spoil), key) in spoil.iter().zip(&keys) {
        let mut spoilt = before.clone();
        let inbounds = inbounds(&mut spoilt)?;
        let position = position_of(inbounds, &key.uuid)?;
        spoil(&mut inbounds[position]);
        ensure!(spoilt != before, "{what} is what it was");
        agent.write_core_configuration(&spoilt)?;
        let answer = agent.rest().post("/api/system/verify-reality", None)?;
        let answer = answer.expect_success().with_context(|| (*what).to_owned())?;
        ensure!(answer["status"] == "verified", "{what}: {answer}");
        let after = agent.read_core_configuration()?;
        ensure!(after == before, "{what}: not as it was: {after:#}");
    }
    // All at once, and a core that has just been started with what was repaired.
    let mut spoilt = before.clone();
    let inbounds = inbounds(&mut spoilt)?;
    for ((_, spoil), key) in spoil.iter().zip(&keys) {
        let position = position_of(inbounds, &key.uuid)?;
        spoil(&mut inbounds[position]);
    }
    agent.write_core_configuration(&spoilt)?;
    agent
        .rest()
        .post("/api/system/verify-reality", None)?
        .expect_success()?;
    ensure!(agent.read_core_configuration()? == before, "not as it was");
    agent.kill_core()?;
    agent.wait_until_open(&keys)?;
    for key in &keys {
        Client::start(&pair.client, &agent.link(key)?)?.works()?;
    }
    Ok(())
}

fn inbounds(configuration: &mut Value) -> Result<&mut Vec<Value>> {
    configuration["inbounds"].as_array_mut().context("no inbounds")
}

fn position_of(inbounds: &[Value], uuid: &str) -> Result<usize> {
    let tag = format!("inbound-{uuid}");
    let position = inbounds.iter().position(|inbound| inbound["tag"] == tag);
    position.with_context(|| format!("no {tag}"))
}

fn reality(inbound: &mut Value) -> &mut Value {
    &mut inbound["streamSettings"]["realitySettings"]
}
