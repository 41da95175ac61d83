//! The README and the guides, followed to the letter on machines of their own: every command as it stands there, with the
//! folders, the user and the service that it names.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use portmeter_tests::agent;
use portmeter_tests::capture::Capture;
use portmeter_tests::count::{self, Count};
use portmeter_tests::machine::Machine;
use portmeter_tests::metrics::METRICS_ADDRESS;
use portmeter_tests::network::{CLIENT_V4, Pair, SERVER_ADDRESSES, SERVER_V4};
use portmeter_tests::rest::Rest;
use portmeter_tests::traffic::udp;
use portmeter_tests::xray::core_process_ids;
use portmeter_tests::{needs, page, wait};
use serde_json::{Value, json};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("an_hour_with_it", an_hour_with_it),
    ("upgrading", upgrading),
    ("from_the_old_server", from_the_old_server),
    ("to_another_host", to_another_host),
    ("restoring_a_backup", restoring_a_backup),
    ("turning_it_off", turning_it_off),
];

const README: &str = include_str!("../../README.md");
const UPGRADING: &str = include_str!("../../docs/guides/upgrading.md");
const FROM_THE_OLD_SERVER: &str = include_str!("../../docs/guides/from-the-old-server.md");
const TO_ANOTHER_HOST: &str = include_str!("../../docs/guides/to-another-host.md");
const RESTORING_A_BACKUP: &str = include_str!("../../docs/guides/restoring-a-backup.md");
const TURNING_IT_OFF: &str = include_str!("../../docs/guides/turning-it-off.md");

/// Where the sources lie on a machine.
const CHECKOUT: &str = "/root/portmeter";

/// The port of the first key.
const PORT: u16 = 10_001;

/// The begin of the README's command that starts the service, and of the one that waits for it.
const STARTING: [&str; 2] = ["systemctl enable --now", "until curl"];

fn an_hour_with_it() -> Result<()> {
    let pair = Pair::new()?;
    let machine = with_checkout(&pair)?;
    let blocks = page::blocks(README, "sh");
    let said = machine.follow(&blocks, CHECKOUT)?;
    let of = |part: &str| {
        let at = blocks.iter().position(|block| block.contains(part));
        let at = at.with_context(|| format!("the README has no {part}"))?;
        Ok::<_, anyhow::Error>(said[at].as_str())
    };
    let version = format!("portmeter {}\n", env!("CARGO_PKG_VERSION"));
    for (part, expected) in [
        ("cargo build", version.as_str()),
        ("check-config", "the configuration is good"),
        ("portmeter.service", "ready"),
        ("key add alice", "\"rx_bytes\": 102800"),
        ("systemctl stop", "\"rx_bytes\": 205600"),
        ("9435", "portmeter_port_receive_bytes_total{port=\"10001\"} 205600\n"),
        ("/var/backups", "can be restored"),
        ("key link", "vless://"),
        ("export", "key_id"),
    ] {
        ensure!(of(part)?.contains(expected), "no {expected} in\n{}", of(part)?);
    }
    let scraped = page::blocks(README, "yaml").concat();
    ensure!(scraped.contains(METRICS_ADDRESS), "{scraped}");
    Ok(())
}

/// There and back again under traffic, with the last backup restored on the way.
fn upgrading() -> Result<()> {
    let pair = Pair::new()?;
    let machine = set_up(&pair)?;
    machine.run("portmeter key add customer")?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let blocks = page::blocks(UPGRADING, "sh");
    for block in &blocks {
        carry(&pair)?;
        if block.contains("target/release") {
            let other = env::var_os(agent::OTHER_BINARY_VARIABLE).map(PathBuf::from);
            let other = other.filter(|path| path.is_file()).or_else(agent::binary);
            let place = machine.path(&format!("{CHECKOUT}/target/release/portmeter"));
            fs::copy(other.context("a binary")?, place)?;
        }
        let said = machine.follow(&[block], CHECKOUT)?.concat();
        if block.contains("build_info") {
            let line = format!("portmeter_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"));
            ensure!(said.contains(&line), "{said}");
        }
    }
    carry(&pair)?;
    let passed = count::of(&capture.finish(SERVER_V4.into())?, PORT);
    let shown = count::of(&rest(&machine, &pair)?.counts()?, PORT);
    ensure!(shown == passed, "{shown:?} is shown, {passed:?} has passed");
    machine.run("test -e /usr/local/bin/portmeter.new")?;
    Ok(())
}

/// With a server that holds a key's port until it is stopped, and a core's configuration that has what links need.
fn from_the_old_server() -> Result<()> {
    let pair = Pair::new()?;
    let machine = with_checkout(&pair)?;
    machine.follow(&set_up_blocks(false), CHECKOUT)?;
    let keys = install_old_server(&machine)?;
    machine.run("systemctl enable --now old-server xray")?;

    let blocks = page::blocks(FROM_THE_OLD_SERVER, "sh");
    let (back, there) = blocks.split_last().context("blocks")?;
    let said = machine.follow(there, "/root")?.concat();
    for key in &keys {
        for field in ["name", "id"] {
            let value = key[field].as_str().context("a text")?;
            ensure!(said.contains(value), "no {value} in\n{said}");
        }
    }
    let link = said
        .lines()
        .find(|line| line.starts_with("vless://"))
        .context("no link")?;
    let (uuid, public_key) = (keys[0]["uuid"].as_str().context("a uuid")?, "pbk=");
    ensure!(
        link.contains(uuid) && link.contains(":10001?") && link.contains(public_key) && link.contains("sid=0a1b2c3d"),
        "the link was another one: {link}"
    );
    ensure!(
        said.contains(&format!("\"total_keys\": {}", keys.len())) && !said.contains("\"total_traffic_bytes\": 0"),
        "{said}"
    );

    let folder = fixtures();
    for name in OLD_FILES {
        let kept = fs::read(machine.path(&format!("/opt/old-server/data/{name}")))?;
        ensure!(kept == fs::read(folder.join(name))?, "{name} was changed");
    }
    machine.follow(&[back], "/root")?;
    machine.run("systemctl is-active old-server")?;
    ensure!(
        !machine.path("/sys/fs/bpf/portmeter/default").exists(),
        "pins stay behind"
    );
    Ok(())
}

/// The figures come along to the byte, and go on there.
fn to_another_host() -> Result<()> {
    let pair = Pair::new()?;
    let old = set_up(&pair)?;
    let new = Machine::new(&pair.client)?;
    lay_checkout(&new)?;
    new.follow(&set_up_blocks(false), CHECKOUT)?;
    old.run("portmeter key add customer")?;
    carry(&pair)?;
    let at_old = count::of(&rest(&old, &pair)?.counts()?, PORT);
    ensure!(!at_old.is_zero(), "nothing was counted");
    let api_key = fs::read(old.path("/var/lib/portmeter/api.key"))?;

    let mut said = String::new();
    for (place, block) in page::blocks_with_place(TO_ANOTHER_HOST, "sh") {
        let machine = match place {
            "old-host" => &old,
            "new-host" => &new,
            other => anyhow::bail!("there is no {other}"),
        };
        said.push_str(&machine.follow(&[block], "/root")?.concat());
        if block.contains("scp") {
            old.deliver("new-host", &new)?;
        }
    }
    ensure!(
        said.contains("customer") && said.contains(&format!("\"total_traffic_bytes\": {}", at_old.bytes())),
        "{said}"
    );
    ensure!(
        fs::read(new.path("/var/lib/portmeter/api.key"))? == api_key,
        "another API key"
    );
    // The new host is the client of the network here.
    let at_new = Rest::new(&pair.client, agent::REST_ADDRESS, std::str::from_utf8(&api_key)?.trim());
    ensure!(count::of(&at_new.counts()?, PORT) == at_old, "{:?}", at_new.counts()?);
    udp::echoed(
        &pair.client,
        &pair.server,
        SocketAddr::new(CLIENT_V4.into(), PORT),
        &[72; 10],
    )?;
    let more = count::of(&at_new.counts()?, PORT).since(&at_old);
    let expected = Count {
        rx_bytes: 1_000,
        rx_packets: 10,
        tx_bytes: 1_000,
        tx_packets: 10,
    };
    ensure!(more == expected, "{more:?} instead of {expected:?}");
    Ok(())
}

fn restoring_a_backup() -> Result<()> {
    let pair = Pair::new()?;
    let machine = set_up(&pair)?;
    machine.run("portmeter key add early")?;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    carry(&pair)?;
    machine.follow(&[block(README, "/var/backups")?], CHECKOUT)?;
    machine.run("portmeter key add late")?;
    carry(&pair)?;
    let blocks = page::blocks(RESTORING_A_BACKUP, "sh");
    let mut listed = Vec::new();
    for block in &blocks {
        let said = machine.follow(&[block], "/root")?.concat();
        if block.contains("key list") {
            listed.push((said.contains("early"), said.contains("late")));
        }
    }
    ensure!(listed == [(true, false), (true, true)], "{listed:?}");
    let passed = count::of(&capture.finish(SERVER_V4.into())?, PORT);
    let shown = count::of(&rest(&machine, &pair)?.counts()?, PORT);
    ensure!(shown == passed, "{shown:?} is shown, {passed:?} has passed");
    Ok(())
}

/// Everything of the README, and then nothing of it any more: no file, no process, nothing in the kernel.
fn turning_it_off() -> Result<()> {
    let xray = needs::xray()?;
    let pair = Pair::new()?;
    let machine = with_checkout(&pair)?;
    // The user of the service gets to the core of the tests.
    machine.run("chmod o+x /root")?;
    machine.run(&format!("ln -s {} /usr/local/bin/xray", xray.display()))?;
    let before = machine.differences()?;
    machine.follow(&page::blocks(README, "sh"), CHECKOUT)?;
    machine.run(&format!(
        "rm -r {CHECKOUT}/target {CHECKOUT}/hours.parquet && portmeter key add customer >/dev/null"
    ))?;
    wait::until("a core runs", || Ok(core_process_ids(&pair.server)?.len() == 1)).with_context(|| {
        machine
            .run("cat /opt/stand-ins/run/portmeter.log; portmeter doctor || true")
            .unwrap_or_default()
    })?;

    let blocks = page::blocks(TURNING_IT_OFF, "sh");
    let said = machine.follow(&blocks, "/root")?;
    let (last, _) = said.split_last().context("blocks")?;
    // Other stories have programs in the kernel at the same time; whose they are, the pins say.
    let left: Vec<&str> = last.lines().filter(|line| !is_of_bpftool(line)).collect();
    ensure!(left.is_empty(), "this is left: {left:?}");
    ensure!(core_process_ids(&pair.server)?.is_empty(), "the core is left");
    let after = machine.differences()?;
    let traces: BTreeSet<_> = after.difference(&before).filter(|path| !is_of_useradd(path)).collect();
    ensure!(traces.is_empty(), "traces: {traces:#?}");
    Ok(())
}

/// `bpftool prog show` begins lines with a number, and continues them with a tab.
fn is_of_bpftool(line: &str) -> bool {
    line.starts_with('\t') || line.split_once(':').is_some_and(|(id, _)| id.parse::<u32>().is_ok())
}

/// What the tools that make users leave beside their files.
fn is_of_useradd(path: &std::path::Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    path.starts_with("/etc") && (name.ends_with('-') || name == ".pwd.lock")
}

/// A machine on the counted host of a network, with the sources and nothing else.
fn with_checkout(pair: &Pair) -> Result<Machine<'_>> {
    let machine = Machine::new(&pair.server)?;
    lay_checkout(&machine)?;
    Ok(machine)
}

fn lay_checkout(machine: &Machine<'_>) -> Result<()> {
    machine.write(&format!("{CHECKOUT}/Cargo.toml"), include_str!("../../Cargo.toml"))
}

/// The same with the README followed until the service runs.
fn set_up(pair: &Pair) -> Result<Machine<'_>> {
    let machine = with_checkout(pair)?;
    machine.follow(&set_up_blocks(true), CHECKOUT)?;
    machine.run("install -d -o portmeter -g portmeter -m 700 /var/backups/portmeter")?;
    Ok(machine)
}

/// The README's blocks up to the service; it is started, or not.
fn set_up_blocks(is_started: bool) -> Vec<&'static str> {
    let blocks = page::blocks(README, "sh");
    let service = blocks.iter().position(|block| block.contains(STARTING[0]));
    let mut blocks = blocks[..=service.unwrap_or_default()].to_vec();
    if !is_started && let Some(last) = blocks.last_mut() {
        let start = last.find(STARTING[0]).unwrap_or(last.len());
        *last = &last[..start];
    }
    blocks
}

/// The block of a page that has this in it.
fn block(page: &'static str, part: &str) -> Result<&'static str> {
    let mut blocks = page::blocks(page, "sh").into_iter();
    blocks
        .find(|block| block.contains(part))
        .with_context(|| format!("no block with {part}"))
}

/// Some traffic of the first key's port.
fn carry(pair: &Pair) -> Result<()> {
    let address = SocketAddr::new(SERVER_V4.into(), PORT);
    udp::echoed(&pair.server, &pair.client, address, &[100; 20])
}

/// The REST face with the key that the service has made.
fn rest<'lab>(machine: &Machine<'_>, pair: &'lab Pair) -> Result<Rest<'lab>> {
    let key = fs::read_to_string(machine.path("/var/lib/portmeter/api.key"))?;
    Ok(Rest::new(&pair.server, agent::REST_ADDRESS, key.trim()))
}

const OLD_FILES: [&str; 3] = ["keys.json", "ports.json", "traffic_history.json"];

fn fixtures() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/tests/fixtures"))
}

/// The old server's files, services of its name and of its core's, and the core's configuration; gives its keys.
fn install_old_server(machine: &Machine<'_>) -> Result<Vec<Value>> {
    for name in OLD_FILES {
        machine.write(
            &format!("/opt/old-server/data/{name}"),
            fs::read(fixtures().join(name))?,
        )?;
    }
    for (service, program) in [("old-server", "python3 -m http.server 10001"), ("xray", "sleep 1000")] {
        let unit = format!("[Service]\nExecStart=/usr/bin/env {program}\n");
        machine.write(&format!("/etc/systemd/system/{service}.service"), unit)?;
    }
    let keys: Value = serde_json::from_slice(&fs::read(fixtures().join("keys.json"))?)?;
    let keys = keys.as_array().context("a list of keys")?.clone();
    let inbound = json!({
        "port": keys[0]["port"],
        "protocol": "vless",
        "settings": {"clients": [{"id": keys[0]["uuid"], "email": keys[0]["name"]}], "decryption": "none"},
        "streamSettings": {"network": "tcp", "security": "reality", "realitySettings": {
            "dest": "www.microsoft.com:443",
            "serverNames": ["www.microsoft.com"],
            // Any 32 bytes are a key.
            "privateKey": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
            "shortIds": [keys[0]["short_id"]],
        }},
    });
    machine.write(
        "/usr/local/etc/xray/config.json",
        json!({"inbounds": [inbound]}).to_string(),
    )?;
    Ok(keys)
}
