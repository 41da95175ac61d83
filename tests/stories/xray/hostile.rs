//! Bad input and bad surroundings: a clear error each, the store and the running core as before.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use portmeter_tests::command;
use portmeter_tests::network::{Pair, SERVER_V4};
use portmeter_tests::traffic::tcp;
use portmeter_tests::xray::{Client, Site, Supervised};
use serde_json::{Value, json};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("names_are_text_and_nothing_else", names_are_text_and_nothing_else),
    ("a_core_that_cannot_be_run", a_core_that_cannot_be_run),
    ("a_folder_that_cannot_be_written", a_folder_that_cannot_be_written),
    ("a_core_that_refuses_a_key", a_core_that_refuses_a_key),
    ("ports_that_others_hold_are_skipped", ports_that_others_hold_are_skipped),
    (
        "a_key_is_not_enabled_onto_a_port_that_another_holds",
        a_key_is_not_enabled_onto_a_port_that_another_holds,
    ),
];

/// What would be seen if a name were taken for anything but text.
const NAMES: [&str; 8] = [
    r#"a", "is_active": false, "x": "\"#,
    "first line\nINJECTED second line\r\nINJECTED third",
    "\u{1b}[31mINJECTED\u{7}\u{8}\u{0}end",
    "a#b?c&security=none&d=%0a%23%",
    "ü ж 中 😀 \u{202e}",
    "</script><script>alert(1)</script>",
    "../../etc/passwd",
    "$(reboot) `reboot` ; reboot",
];

fn names_are_text_and_nothing_else() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    for too_long in ["x".repeat(10_000), "\n".repeat(10_000), "\"".repeat(256)] {
        let refused = agent.rest().post("/api/keys", Some(json!({ "name": too_long })))?;
        ensure!(
            refused.status == 400 && refused.body["detail"].is_string(),
            "{refused:?}"
        );
    }
    ensure!(agent.rest().keys()?.is_empty(), "a refused key has left something");

    for name in NAMES {
        let key = agent.rest().create_key(name)?;
        ensure!(key.name == name, "{name:?} became {:?}", key.name);
        // Parsing it is what checks that it is one line of printable characters.
        let link = agent.link(&key)?;
        ensure!(link.name == name && link.uuid == key.uuid, "{name:?}: {link:?}");
        Client::start(&pair.client, &link)?
            .works()
            .with_context(|| format!("the key {name:?}"))?;
    }
    ensure!(
        agent.rest().keys()?.iter().map(|key| key.name.as_str()).eq(NAMES),
        "the list of keys has other names"
    );
    agent.wait_until_synchronized()?;
    let configuration = agent.read_core_configuration()?;
    let vless = configuration["inbounds"].as_array().context("no inbounds")?;
    let vless = vless.iter().filter(|inbound| inbound["protocol"] == "vless");
    ensure!(vless.count() == NAMES.len(), "the file has other inbounds");
    for stream in ["stdout", "stderr"] {
        let log = agent.read_log(stream);
        let injected = log
            .lines()
            .find(|line| line.starts_with("INJECTED") || line.contains("\u{1b}[31mINJECTED"));
        ensure!(
            injected.is_none(),
            "a name was written to {stream} as it is: {injected:?}"
        );
    }
    Ok(())
}

/// It is not there, or is another program: the start is refused, and what was there before goes on.
fn a_core_that_cannot_be_run() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let folder = tempfile::tempdir()?;
    let other_program = folder.path().join("another-program");
    fs::write(&other_program, "#!/bin/sh\necho this is no core\n")?;
    fs::set_permissions(&other_program, fs::Permissions::from_mode(0o755))?;
    let mut agent = Supervised::started(&pair.server, &site)?;
    let key = agent.rest().create_key("customer")?;
    let link = agent.link(&key)?;
    let client = Client::start(&pair.client, &link)?;
    agent.stop()?;
    let (core, file) = (agent.core_process_id()?, agent.read_core_configuration()?);

    for binary in [folder.path().join("missing"), other_program] {
        let binary = binary.to_str().context("the path is no text")?;
        let mut start = agent.command();
        start.env("PORTMETER_XRAY__BINARY", binary);
        let refused = pair.server.enter(|| command::output_in_time(&mut start))?;
        let said = String::from_utf8_lossy(&refused.stderr);
        ensure!(
            !refused.status.success() && said.contains(binary) && said.contains("`xray.binary`"),
            "{}: {said}",
            refused.status
        );
        client.works()?;
    }
    ensure!(agent.read_core_configuration()? == file, "the file has changed");
    agent.start()?;
    ensure!(agent.rest().keys()? == [key.clone()], "the keys have changed");
    ensure!(
        agent.link(&key)? == link && agent.core_process_id()? == core,
        "not as it was"
    );
    client.works()
}

/// Keys still work at once; what cannot be done says so, and is done when it can be.
fn a_folder_that_cannot_be_written() -> Result<()> {
    const READ_ONLY: &str = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_str().context("the path is no text")?;
    let file = folder.path().join("config.json");
    let mut agent = Supervised::new(&pair.server, &site)?;
    agent.change_variable("PORTMETER_XRAY__CONFIG", &format!("{path}/config.json"));
    agent.start()?;
    let first = agent.rest().create_key("first")?;
    let client = Client::start(&pair.client, &agent.link(&first)?)?;
    client.works()?;
    agent.wait_until_synchronized()?;
    agent.stop()?;
    let before = fs::read(&file)?;

    // In a mount namespace of the agent's own; the core runs outside it.
    agent.change_wrapper(&["unshare", "--mount", "sh", "-c", READ_ONLY, path]);
    agent.start()?;
    let second = agent.rest().create_key("second")?;
    Client::start(&pair.client, &agent.link(&second)?)?.works()?;
    let refused = agent.rest().post("/api/system/sync-config", None)?;
    ensure!(
        refused.status == 500 && is_sentence(&refused.body["detail"]),
        "{refused:?}"
    );
    ensure!(fs::read(&file)? == before, "the file has changed");
    let shown = agent.synchronization()?;
    ensure!(
        shown["synchronized"] == false && shown["missing_in_config"] == json!([second.uuid]),
        "{shown}"
    );
    client.works()?;
    let left: Vec<_> = fs::read_dir(folder.path())?.collect::<Result<_, _>>()?;
    agent.stop()?;

    agent.change_wrapper(&[]);
    agent.start()?;
    agent.wait_until_synchronized()?;
    ensure!(
        fs::read(&file)? != before,
        "the file has not followed; there was {left:?}"
    );
    client.works()
}

/// The core itself would share such a port without a word.
fn ports_that_others_hold_are_skipped() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    let holders = tcp::listen(&pair.server, [10_001, 10_002].map(|port| (SERVER_V4, port).into()))?;
    let key = agent.rest().create_key("customer")?;
    ensure!(key.port == 10_003, "port {} with two held by others", key.port);
    Client::start(&pair.client, &agent.link(&key)?)?.works()?;

    drop(holders);
    Ok(())
}

/// A disabled key keeps its port, but cannot keep others from it: then it is not enabled onto theirs.
fn a_key_is_not_enabled_onto_a_port_that_another_holds() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let agent = Supervised::started(&pair.server, &site)?;
    let key = agent.rest().create_key("customer")?;
    let path = format!("/api/keys/{}", key.id);
    let set_active = |is_active: bool| agent.rest().patch(&path, json!({ "is_active": is_active }));
    set_active(false)?.expect_success()?;
    let holders = tcp::listen(&pair.server, [(SERVER_V4, key.port).into()])?;
    let refused = set_active(true)?;
    ensure!(
        refused.status == 500 && is_sentence(&refused.body["detail"]),
        "{refused:?}"
    );
    let shown = agent.rest().shown(&path)?;
    ensure!(shown["is_active"] == false, "{shown}");
    drop(holders);
    set_active(true)?.expect_success()?;
    Client::start(&pair.client, &agent.link(&key)?)?.works()
}

/// The core cannot listen where it is to, and says so: neither the key nor its port remains, and nobody else notices.
fn a_core_that_refuses_a_key() -> Result<()> {
    const ADDRESS: &str = "10.77.0.9";
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let set_address = |change: &str| pair.server.run(&format!("ip address {change} {ADDRESS}/24 dev eth0"));
    set_address("add")?;
    let mut agent = Supervised::new(&pair.server, &site)?;
    agent.change_variable("PORTMETER_XRAY__LISTEN", ADDRESS);
    agent.change_variable("PORTMETER_XRAY__SERVER_HOST", ADDRESS);
    agent.start()?;
    let first = agent.rest().create_key("first")?;
    let client = Client::start(&pair.client, &agent.link(&first)?)?;
    client.works()?;
    agent.wait_until_synchronized()?;
    let core = agent.core_process_id()?;

    set_address("del")?;
    let refused = agent.rest().post("/api/keys", Some(json!({"name": "second"})))?;
    ensure!(
        refused.status == 500 && is_sentence(&refused.body["detail"]),
        "{refused:?}"
    );
    ensure!(
        agent.rest().keys()? == std::slice::from_ref(&first),
        "the refused key has left something"
    );
    let table = agent.rest().shown("/api/system/ports")?;
    ensure!(table["used_ports"] == 1, "{table}");
    let shown = agent.synchronization()?;
    ensure!(shown["synchronized"] == true && shown["total_keys"] == 1, "{shown}");

    set_address("add")?;
    client.works().context("the key that was there before")?;
    let second = agent.rest().create_key("second")?;
    ensure!(second.port == first.port + 1, "port {} for the next key", second.port);
    Client::start(&pair.client, &agent.link(&second)?)?.works()?;
    ensure!(agent.core_process_id()? == core, "the core was replaced");
    Ok(())
}

/// More than a word, and no path and no list of errors that only a developer can read.
fn is_sentence(text: &Value) -> bool {
    text.as_str()
        .is_some_and(|text| text.contains(' ') && !text.contains('\n') && !text.contains("/tmp/"))
}
