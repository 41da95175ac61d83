//! What the doctor finds: nothing wrong with a healthy agent, and each fault by its name, with what helps.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::{PermissionsExt, chown};

use anyhow::{Result, ensure};
use aya::programs::TcAttachType;
use portmeter_tests::agent::Agent;
use portmeter_tests::doctor::Diagnosis;
use portmeter_tests::foreign::{ACCEPTS, COUNTS, ForeignProgram};
use portmeter_tests::namespace::Namespace;
use portmeter_tests::network::{Pair, cable, plug_in};
use portmeter_tests::{needs, snapshot, wait};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("a_healthy_agent", a_healthy_agent),
    ("a_healthy_agent_with_filters", a_healthy_agent_with_filters),
    ("a_healthy_agent_with_few_rights", a_healthy_agent_with_few_rights),
    ("an_agent_that_is_down", an_agent_that_is_down),
    ("a_program_ahead", a_program_ahead),
    ("a_filter_ahead", a_filter_ahead),
    ("ports_of_the_ephemeral_range", ports_of_the_ephemeral_range),
    ("strangers_on_tracked_ports", strangers_on_tracked_ports),
    ("an_interface_that_is_yet_to_come", an_interface_that_is_yet_to_come),
    ("a_damaged_ledger", a_damaged_ledger),
    ("another_ledger", another_ledger),
    ("a_map_that_lost_its_pin", a_map_that_lost_its_pin),
    ("pins_of_another_user", pins_of_another_user),
    ("a_read_only_bpffs", a_read_only_bpffs),
    ("an_ordinary_user", an_ordinary_user),
    ("a_bad_configuration", a_bad_configuration),
];

/// The user that owns nothing.
const NOBODY: u32 = 65_534;

fn a_healthy_agent() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    agent.rest().create_keys(2)?;
    // Answers when the core's configuration file has followed the keys.
    agent.rest().shown("/api/system/config-status")?;
    let files = |agent: &Agent<'_>| -> Result<_> {
        Ok([
            snapshot::paths_of(&agent.data_folder())?,
            snapshot::paths_of(&agent.pin_folder())?,
            snapshot::paths_of(&agent.run_folder())?,
        ])
    };
    let (before, life) = (files(&agent)?, agent.grpc()?.state()?.map_life);
    let diagnosis = Diagnosis::of(&agent)?;
    ensure!(diagnosis.is_healthy, "{}", diagnosis.text);
    for (name, part) in [
        ("rights", "may be loaded"),
        ("cutting off", "can be ended at once"),
        ("agent", "counts on 2 interface(s)"),
        ("interfaces", "eth0"),
        ("maps", &life),
        ("booking", "this ledger"),
        ("slots", "100 ports are counted"),
        ("unattributed", ""),
        ("programs eth0", "of this build: portmeter_rx"),
        ("order eth0", "first at ingress, last at egress"),
        ("ledger", "2 keys have a port"),
        ("disk", "MiB are free"),
        ("clock", "it shows"),
        ("ephemeral ports", "none of the tracked ports"),
        ("listeners", "nobody"),
    ] {
        diagnosis.expect(name, "ok", part)?;
    }
    ensure!(before == files(&agent)?, "the doctor has left or taken something");
    ensure!(
        agent.rest().is_ready() && agent.grpc()?.state()?.map_life == life,
        "the agent has noticed"
    );
    Ok(())
}

fn a_healthy_agent_with_filters() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?.variable("PORTMETER_CAPTURE__HOOK", "clsact");
    agent.start()?;
    let diagnosis = Diagnosis::of(&agent)?;
    ensure!(diagnosis.is_healthy, "{}", diagnosis.text);
    diagnosis.expect(
        "programs eth0",
        "ok",
        "of this build: portmeter_rx (filter of priority 1",
    )?;
    diagnosis.expect("order eth0", "ok", "first at ingress, last at egress")?;
    Ok(())
}

/// Without CAP_SYS_ADMIN the kernel tells no names of programs; all else is seen.
fn a_healthy_agent_with_few_rights() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?.through(&["setpriv", "--bounding-set", "-sys_admin"]);
    agent.start()?;
    let diagnosis = Diagnosis::of(&agent)?;
    ensure!(diagnosis.is_healthy, "{}", diagnosis.text);
    diagnosis.expect("loading", "ok", "takes the programs")?;
    diagnosis.expect("slots", "ok", "100 ports are counted")?;
    if needs::kernel(6, 6, "TCX").is_ok() {
        diagnosis.expect("programs eth0", "ok", "attached: TCX program")?;
    }
    diagnosis.expect("order eth0", "ok", "first at ingress, last at egress")?;
    Ok(())
}

/// Never started, stopped, killed: each is told apart.
fn an_agent_that_is_down() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?;
    let diagnosis = Diagnosis::of(&agent)?;
    ensure!(diagnosis.is_healthy, "{}", diagnosis.text);
    diagnosis.expect("agent", "warning", "does not run")?;
    diagnosis.expect("maps", "warning", "nothing is pinned")?;
    diagnosis.expect("ledger", "warning", "there is none")?;
    ensure!(
        !agent.data_folder().exists() && !agent.pin_folder().exists() && !agent.run_folder().exists(),
        "the doctor has made something"
    );

    agent.start()?;
    agent.stop()?;
    let files = snapshot::of(&agent.data_folder())?;
    let diagnosis = Diagnosis::of(&agent)?;
    ensure!(diagnosis.is_healthy, "{}", diagnosis.text);
    diagnosis.expect("agent", "warning", "go on counting")?;
    diagnosis.expect("programs eth0", "ok", "attached")?;
    diagnosis.expect("ledger", "ok", "is whole")?;
    ensure!(
        files == snapshot::of(&agent.data_folder())?,
        "the doctor has touched a ledger at rest"
    );
    {
        let _holder = pair.server.enter(|| TcpListener::bind("0.0.0.0:8000"))?;
        Diagnosis::of(&agent)?.expect("addresses", "error", "`http.listen` is 127.0.0.1:8000")?;
    }

    agent.start()?;
    agent.kill()?;
    let diagnosis = Diagnosis::of(&agent)?;
    ensure!(!diagnosis.is_healthy, "{}", diagnosis.text);
    diagnosis.expect("agent", "error", "ended without being stopped")?;
    diagnosis.expect("ledger", "ok", "is whole")?;
    Ok(())
}

/// Somebody's TCX program ahead of ours: one that hands on is no fault, one that accepts packets is.
fn a_program_ahead() -> Result<()> {
    needs::kernel(6, 6, "TCX")?;
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let program = ForeignProgram::compile()?;
    let _kind = program.attach_tcx_first(&pair.server, "eth0", TcAttachType::Ingress, COUNTS)?;
    let diagnosis = Diagnosis::of(&agent)?;
    ensure!(diagnosis.is_healthy, "{}", diagnosis.text);
    diagnosis.expect("order eth0", "ok", "count_seen")?;
    for (hook, name) in [
        (TcAttachType::Ingress, "at ingress"),
        (TcAttachType::Egress, "at egress"),
    ] {
        let _rude = program.attach_tcx_first(&pair.server, "eth0", hook, ACCEPTS)?;
        let diagnosis = Diagnosis::of(&agent)?;
        ensure!(!diagnosis.is_healthy, "{}", diagnosis.text);
        let remedy = diagnosis.expect("order eth0", "error", "accept_all")?;
        diagnosis.expect("order eth0", "error", name)?;
        ensure!(remedy.contains("TCX_NEXT"), "{remedy}");
        diagnosis.expect("order lo", "ok", "first at ingress")?;
    }
    // It is gone, and so is the finding.
    wait::until("the neighbour's program is off the hook", || {
        Ok(Diagnosis::of(&agent)?.is_healthy)
    })?;
    {
        let _xdp = program.attach_xdp(&pair.server, "eth0")?;
        let diagnosis = Diagnosis::of(&agent)?;
        ensure!(diagnosis.is_healthy, "{}", diagnosis.text);
        diagnosis.expect("order eth0", "warning", "pass_all (XDP program")?;
    }
    let _later = program.attach_tcx(&pair.server, "eth0", TcAttachType::Egress)?;
    Diagnosis::of(&agent)?.expect("order eth0", "ok", "after ours at egress")?;
    Ok(())
}

/// Somebody's filter has the first priority.
fn a_filter_ahead() -> Result<()> {
    let pair = Pair::new()?;
    for line in [
        "tc qdisc add dev eth0 clsact",
        "tc filter add dev eth0 ingress prio 1 protocol ip u32 match ip protocol 17 0xff flowid 1:1",
    ] {
        pair.server.run(line)?;
    }
    let mut agent = Agent::new(&pair.server)?.variable("PORTMETER_CAPTURE__HOOK", "clsact");
    agent.start()?;
    let diagnosis = Diagnosis::of(&agent)?;
    diagnosis.expect("order eth0", "warning", "a u32 filter of priority 1 at ingress")?;
    diagnosis.expect("programs eth0", "ok", "filter of priority 2")?;
    Ok(())
}

/// The remedy is a command; what it sets helps.
fn ports_of_the_ephemeral_range() -> Result<()> {
    let pair = Pair::new()?;
    pair.server.sysctl("net/ipv4/ip_local_port_range", "10050 20000")?;
    pair.server.sysctl("net/ipv4/ip_local_reserved_ports", "15000")?;
    let agent = Agent::started(&pair.server)?;
    let diagnosis = Diagnosis::of(&agent)?;
    ensure!(!diagnosis.is_healthy, "{}", diagnosis.text);
    let remedy = diagnosis.expect("ephemeral ports", "error", "10050-10100")?;
    let setting = remedy.strip_prefix("sysctl -w net.ipv4.ip_local_reserved_ports=");
    let ports = setting.and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    ensure!(ports == "15000,10050-10100", "{remedy}");
    pair.server.sysctl("net/ipv4/ip_local_reserved_ports", ports)?;
    let diagnosis = Diagnosis::of(&agent)?;
    ensure!(diagnosis.is_healthy, "{}", diagnosis.text);
    Ok(())
}

/// A listener on a free tracked port is worth a word; one on a key's port has that key's figures.
fn strangers_on_tracked_ports() -> Result<()> {
    let pair = Pair::new()?;
    let agent = Agent::started(&pair.server)?;
    let key = agent.rest().create_key("customer")?;
    let this = std::env::current_exe()?;
    let this = this.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let _tcp = pair.server.enter(|| TcpListener::bind("[::]:10050"))?;
    let diagnosis = Diagnosis::of(&agent)?;
    ensure!(diagnosis.is_healthy, "{}", diagnosis.text);
    diagnosis.expect("listeners", "warning", &format!("10050 tcp ({this})"))?;
    let _udp = pair.server.enter(|| UdpSocket::bind(("127.0.0.1", key.port)))?;
    let diagnosis = Diagnosis::of(&agent)?;
    ensure!(!diagnosis.is_healthy, "{}", diagnosis.text);
    diagnosis.expect("listeners", "error", &format!("{} udp ({this})", key.port))?;
    Ok(())
}

/// A named interface that is missing is a warning, which goes when the interface comes.
fn an_interface_that_is_yet_to_come() -> Result<()> {
    let pair = Pair::new()?;
    let mut agent = Agent::new(&pair.server)?;
    for name in ["eth0", "later0"] {
        agent = agent.argument("--interface").argument(name);
    }
    agent.start()?;
    let diagnosis = Diagnosis::of(&agent)?;
    ensure!(diagnosis.is_healthy, "{}", diagnosis.text);
    diagnosis.expect("interfaces", "warning", "there is no interface later0")?;
    cable((&pair.server, "later0"), (&pair.client, "later0"))?;
    plug_in(&pair.server, "later0", &["10.79.0.1/24"])?;
    wait::until("the new interface is counted", || agent.grpc()?.is_attached("later0"))?;
    let diagnosis = Diagnosis::of(&agent)?;
    ensure!(diagnosis.is_healthy, "{}", diagnosis.text);
    diagnosis.expect("interfaces", "ok", "later0")?;
    diagnosis.expect("programs later0", "ok", "of this build")?;
    let over = "no longer so: there is no interface later0";
    wait::until("the log says that the interface has come", || {
        Ok(agent.read_log("stderr").matches(over).count() == 1)
    })
}

fn a_damaged_ledger() -> Result<()> {
    let host = Namespace::new("server")?;
    let mut agent = Agent::started(&host)?;
    agent.stop()?;
    let path = agent.data_folder().join("ledger.db");
    let mut bytes = fs::read(&path)?;
    bytes[4_096..8_192].fill(0xff);
    fs::write(&path, &bytes)?;
    let diagnosis = Diagnosis::of(&agent)?;
    ensure!(!diagnosis.is_healthy, "{}", diagnosis.text);
    let remedy = diagnosis.expect("ledger", "error", "is damaged")?;
    ensure!(remedy.contains("backup"), "{remedy}");
    ensure!(fs::read(&path)? == bytes, "the doctor has touched a damaged ledger");
    Ok(())
}

fn another_ledger() -> Result<()> {
    let host = Namespace::new("server")?;
    let mut agent = Agent::started(&host)?;
    agent.change_data_folder("./elsewhere");
    let diagnosis = Diagnosis::of(&agent)?;
    ensure!(!diagnosis.is_healthy, "{}", diagnosis.text);
    diagnosis.expect("booking", "error", "not by the one in")?;
    Ok(())
}

fn a_map_that_lost_its_pin() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::started(&host)?;
    fs::remove_file(agent.pin_folder().join("maps/unattributed"))?;
    let diagnosis = Diagnosis::of(&agent)?;
    ensure!(!diagnosis.is_healthy, "{}", diagnosis.text);
    diagnosis.expect("maps", "error", "not pinned any more: unattributed")?;
    Ok(())
}

fn pins_of_another_user() -> Result<()> {
    let host = Namespace::new("server")?;
    let mut agent = Agent::started(&host)?;
    agent.stop()?;
    chown(agent.pin_folder(), Some(NOBODY), None)?;
    let diagnosis = Diagnosis::of(&agent)?;
    ensure!(!diagnosis.is_healthy, "{}", diagnosis.text);
    diagnosis.expect("bpffs", "error", &format!("belongs to user {NOBODY}"))?;
    Ok(())
}

/// Mounts a BPF file system that cannot be written, for the doctor alone.
const READ_ONLY_BPFFS: [&str; 6] = [
    "unshare",
    "--mount",
    "--propagation=private",
    "bash",
    "-c",
    "mount -t bpf -o ro bpf /sys/fs/bpf && exec \"$0\" \"$@\"",
];

fn a_read_only_bpffs() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::new(&host)?.through(&READ_ONLY_BPFFS);
    let diagnosis = Diagnosis::of(&agent)?;
    ensure!(!diagnosis.is_healthy, "{}", diagnosis.text);
    let remedy = diagnosis.expect("bpffs", "error", "read-only")?;
    ensure!(remedy == "mount -o remount,rw /sys/fs/bpf", "{remedy}");
    Ok(())
}

/// Somebody without rights learns what is missing, and what can be seen all the same.
fn an_ordinary_user() -> Result<()> {
    let host = Namespace::new("server")?;
    let agent = Agent::new(&host)?.through(&["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    fs::set_permissions(agent.home(), fs::Permissions::from_mode(0o777))?;
    let diagnosis = Diagnosis::of(&agent)?;
    ensure!(!diagnosis.is_healthy, "{}", diagnosis.text);
    diagnosis.expect("rights", "error", "missing CAP_")?;
    diagnosis.expect("interfaces", "ok", "lo")?;
    Ok(())
}

/// Settings that cannot be used are a finding like any other.
fn a_bad_configuration() -> Result<()> {
    let host = Namespace::new("server")?;
    for (ports, part) in [
        ("7990-8010", "`http.listen` uses port 8000"),
        ("9436", "`xray.api_listen` uses port 9436"),
        ("", "no port is given"),
        ("1-65536", "neither a port"),
        ("1-65535", "at most 32768"),
    ] {
        let agent = Agent::new(&host)?.variable("PORTMETER_CAPTURE__PORTS", ports);
        let diagnosis = Diagnosis::of(&agent)?;
        ensure!(!diagnosis.is_healthy, "{}", diagnosis.text);
        diagnosis.expect("configuration", "error", part)?;
    }
    Ok(())
}
