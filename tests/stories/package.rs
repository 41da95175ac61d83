//! The Debian package, on machines with a systemd of their own: installed, upgraded under traffic, removed, purged; and its
//! units, as that systemd runs them.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portmeter_tests::agent::REST_ADDRESS;
use portmeter_tests::capture::Capture;
use portmeter_tests::count;
use portmeter_tests::exactness;
use portmeter_tests::network::{Pair, SERVER_ADDRESSES, SERVER_V4};
use portmeter_tests::ordinary_user::{COUNTING, every_thread_has};
use portmeter_tests::rest::Rest;
use portmeter_tests::systemd::Machine;
use portmeter_tests::traffic::background::Background;
use portmeter_tests::traffic::settle;
use portmeter_tests::xray::{Client, Link, SERVER_NAME, Site};
use portmeter_tests::{bpftool, needs, package, wait};

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("from_the_first_to_the_last_day", from_the_first_to_the_last_day),
    (
        "systemd_ends_what_hangs_and_reloads_what_is_good",
        systemd_ends_what_hangs_and_reloads_what_is_good,
    ),
    ("agent_and_gateway_are_two_services", agent_and_gateway_are_two_services),
    (
        "the_core_goes_on_without_the_service",
        the_core_goes_on_without_the_service,
    ),
];

const UNIT: &str = "portmeter.service";
const CONFIGURATION: &str = "/etc/portmeter/portmeter.toml";
const API_KEY_FILE: &str = "/etc/portmeter/api.key";
const LEDGER: &str = "/var/lib/portmeter/ledger.db";
const PINS: &str = "/sys/fs/bpf/portmeter/default";

/// A machine with the package, its service ready.
fn installed<'lab>(pair: &'lab Pair) -> Result<(Machine<'lab>, Rest<'lab>)> {
    let machine = Machine::boot(&pair.server)?;
    install(&machine, &needs::package()?)?;
    let rest = rest(&machine)?;
    ensure!(rest.is_ready(), "installed, started, and not ready");
    Ok((machine, rest))
}

fn install(machine: &Machine<'_>, package: &Path) -> Result<()> {
    fs::copy(package, machine.path("/tmp/portmeter.deb")).context("bringing the package to the machine")?;
    machine.run("dpkg --install /tmp/portmeter.deb")?;
    Ok(())
}

/// REST with the key that the package has made.
fn rest<'lab>(machine: &Machine<'lab>) -> Result<Rest<'lab>> {
    Ok(Rest::new(
        machine.host(),
        REST_ADDRESS,
        machine.read(API_KEY_FILE)?.trim(),
    ))
}

fn is_active(machine: &Machine<'_>, unit: &str) -> Result<bool> {
    Ok(machine.property(unit, "ActiveState")? == "active")
}

fn from_the_first_to_the_last_day() -> Result<()> {
    let pair = Pair::new()?;
    let (machine, rest) = installed(&pair)?;
    runs_as_its_unit_says(&machine)?;
    has_what_people_expect(&machine)?;
    let port = rest.create_key("customer")?.port;
    let capture = Capture::start(&pair.client, "eth0", &SERVER_ADDRESSES)?;
    let stream = Background::tcp(&pair.server, &pair.client, SocketAddr::new(SERVER_V4.into(), port))?;
    stream.wait_for(300_000)?;

    // An upgrade under traffic, beside an administrator's own settings.
    let edited = machine.read(CONFIGURATION)? + "\n# An administrator was here.\n";
    machine.write(CONFIGURATION, &edited)?;
    let counters = counters(&machine)?;
    let process = machine.main_process(UNIT)?;
    let folder = tempfile::tempdir()?;
    let later = package::later(&needs::package()?, folder.path())?;
    install(&machine, &later)?;
    ensure!(machine.run("dpkg-query --show --showformat=${Version} portmeter")? == package::version(&later)?);
    ensure!(
        rest.is_ready() && machine.main_process(UNIT)? != process,
        "the later one does not run"
    );
    ensure!(
        counters == self::counters(&machine)?,
        "the kernel's counters have begun anew"
    );
    ensure!(
        machine.read(CONFIGURATION)? == edited,
        "the administrator's settings are gone"
    );
    stream.wait_for(300_000)?;
    stream.stop()?;
    settle::tcp_is_over(&pair.server, &pair.client)?;
    let truth = capture.finish(SERVER_V4.into())?;
    exactness::equal("REST after an upgrade", &rest.counts()?, &count::only(&truth, [port]))?;

    // Removed: out of the kernel, and everything that was counted stays.
    machine.run("dpkg --remove portmeter")?;
    out_of_the_kernel(&machine, counters)?;
    for kept in [LEDGER, CONFIGURATION, API_KEY_FILE] {
        ensure!(machine.has(kept), "{kept} is gone with the program");
    }
    for gone in ["/usr/bin/portmeter", "/run/portmeter"] {
        ensure!(!machine.has(gone), "{gone} stays behind");
    }
    install(&machine, &later)?;
    exactness::equal(
        "REST after all was removed",
        &rest.counts()?,
        &count::only(&truth, [port]),
    )?;

    let counters = self::counters(&machine)?;
    machine.run("dpkg --purge portmeter")?;
    out_of_the_kernel(&machine, counters)?;
    without_a_trace(&machine)
}

/// The user, the rights and the filters that systemd has given the process are the unit's.
fn runs_as_its_unit_says(machine: &Machine<'_>) -> Result<()> {
    ensure!(
        is_active(machine, UNIT)? && machine.property(UNIT, "UnitFileState")? == "enabled",
        "not started"
    );
    let status = machine.property(UNIT, "StatusText")?;
    ensure!(status.starts_with("counting 100 ports on "), "{status}");
    let process = machine.main_process(UNIT)?;
    for (set, expected) in [
        ("CapEff", COUNTING),
        ("CapPrm", COUNTING),
        ("CapBnd", COUNTING),
        ("CapInh", 0),
        ("CapAmb", 0),
        ("NoNewPrivs", 1),
        ("Seccomp", 2),
    ] {
        every_thread_has(process, set, expected)?;
    }
    let user = machine.run("id --user portmeter")?;
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let owners = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .context("no owner")?;
    ensure!(
        owners.split_whitespace().all(|owner| owner == user.trim()),
        "{owners} is not {user}"
    );
    ensure!(user.trim() != "0", "portmeter is root");
    let files = machine.run(&format!(
        "stat --format=%U:%a {API_KEY_FILE} {LEDGER} /var/lib/portmeter"
    ))?;
    ensure!(files == "root:600\nportmeter:600\nportmeter:700\n", "{files}");
    ensure!(!machine.has("/var/lib/portmeter/api.key"), "a second key was made");
    Ok(())
}

fn has_what_people_expect(machine: &Machine<'_>) -> Result<()> {
    for page in [
        "man1/portmeter.1",
        "man1/portmeter-run.1",
        "man1/portmeter-key.1",
        "man5/portmeter.toml.5",
    ] {
        ensure!(machine.has(&format!("/usr/share/man/{page}.gz")), "no page {page}");
    }
    let completions = "/usr/share/bash-completion/completions/portmeter";
    machine.run(&format!("bash -n {completions}"))?;
    ensure!(
        machine.read(completions)?.contains("check-config"),
        "the completions complete nothing"
    );
    let version = machine.run("portmeter --version")?;
    let packaged = machine.run("dpkg-query --show --showformat=${Version} portmeter")?;
    let number = packaged.split('-').next().unwrap_or_default();
    ensure!(version == format!("portmeter {number}\n"), "{version} in {packaged}");
    let units = ["portmeter", "portmeter-agent", "portmeter-gateway"];
    let units = units.map(|unit| format!("/usr/lib/systemd/system/{unit}.service"));
    let checked = machine.run(&format!("systemd-analyze verify {}", units.join(" ")));
    checked.context("a unit is wrong")?;
    ensure!(machine.run("portmeter check-config")? == "the configuration is good\n");
    Ok(())
}

/// The id of the map that counts.
fn counters(machine: &Machine<'_>) -> Result<u64> {
    let pin = machine.path(&format!("{PINS}/maps/port_counters"));
    bpftool::map(&pin)?["id"].as_u64().context("the map's id")
}

fn out_of_the_kernel(machine: &Machine<'_>, counters: u64) -> Result<()> {
    wait::until("the programs are unloaded", || {
        Ok(bpftool::programs_using(counters)?.is_empty())
    })?;
    ensure!(!machine.has("/sys/fs/bpf/portmeter"), "pins stay behind");
    let running = machine.run("ps -eo args")?;
    ensure!(!running.contains("portmeter"), "{running}");
    Ok(())
}

/// Nothing of the package is left but what the package manager writes down of every package.
fn without_a_trace(machine: &Machine<'_>) -> Result<()> {
    let mut left: Vec<String> = machine.changes()?;
    // What is removed stands among the changes as a device without numbers; pages that were looked at are man's to forget.
    left.retain(|path| path.contains("portmeter") && machine.has(path) && !path.starts_with("var/cache/man/"));
    ensure!(left.is_empty(), "{left:#?} stay behind");
    let mut search = machine.command(&[
        "grep",
        "--recursive",
        "--files-with-matches",
        "portmeter",
        "/etc",
        "/run/systemd",
    ]);
    let found = String::from_utf8_lossy(&search.output()?.stdout).into_owned();
    // What those who make users keep of the files before, and what this machine calls itself.
    let is_of_the_system = |path: &&str| path.ends_with('-') || *path == "/run/systemd/container";
    let found: Vec<&str> = found.lines().filter(|path| !is_of_the_system(path)).collect();
    ensure!(found.is_empty(), "{found:?} speak of it");
    let units = machine.run("systemctl list-units --all --no-legend portmeter*")?;
    ensure!(units.is_empty(), "{units}");
    Ok(())
}

fn systemd_ends_what_hangs_and_reloads_what_is_good() -> Result<()> {
    let pair = Pair::new()?;
    let (machine, rest) = installed(&pair)?;
    let key = rest.create_key("customer")?;

    // A configuration that cannot be used: the reload says why, and the service goes on.
    machine.write(CONFIGURATION, "[http]\n\nlisten = \"nowhere\"\n")?;
    let process = machine.main_process(UNIT)?;
    let refused = machine.command(&["systemctl", "reload", UNIT]).output()?;
    ensure!(!refused.status.success(), "a broken configuration was reloaded");
    wait::until("the log says why", || {
        Ok(machine
            .log()
            .contains("/etc/portmeter/portmeter.toml, line 3: `http.listen`"))
    })?;
    ensure!(
        is_active(&machine, UNIT)? && rest.is_ready() && machine.main_process(UNIT)? == process,
        "it was ended"
    );

    // One that can: in force when the reload is over, in the same process.
    machine.write(CONFIGURATION, "[http]\npublic_url = \"https://reload.example\"\n")?;
    machine.run("systemctl reload portmeter.service")?;
    wait::until("the reload is in force", || {
        let shown = rest.shown(&format!("/api/keys/{}/config", key.id))?;
        Ok(shown.to_string().contains("https://reload.example/sub/"))
    })?;
    ensure!(
        is_active(&machine, UNIT)? && machine.main_process(UNIT)? == process,
        "it was started again"
    );

    // A process that is there and does nothing is ended and comes back with everything.
    machine.drop_in(UNIT, "WatchdogSec=3\nTimeoutAbortSec=1")?;
    machine.run("systemctl restart portmeter.service")?;
    let stream = Background::tcp(&pair.server, &pair.client, SocketAddr::new(SERVER_V4.into(), key.port))?;
    stream.wait_for(100_000)?;
    let hung = machine.main_process(UNIT)?;
    kill(Pid::from_raw(i32::try_from(hung)?), Signal::SIGSTOP)?;
    wait::until("the watchdog has started it again", || {
        Ok(machine.property(UNIT, "NRestarts")? == "1" && rest.is_ready())
    })?;
    ensure!(machine.main_process(UNIT)? != hung, "the same process");
    stream.wait_for(100_000)?;
    stream.stop()?;
    let counted = count::of(&rest.counts()?, key.port);
    ensure!(counted.bytes() > 200_000, "{counted:?}");

    machine.run("systemctl stop portmeter.service")?;
    ensure!(machine.property(UNIT, "Result")? == "success", "it has not ended well");
    Ok(())
}

fn agent_and_gateway_are_two_services() -> Result<()> {
    let pair = Pair::new()?;
    let (machine, rest) = installed(&pair)?;
    let key = rest.create_key("customer")?;
    machine.run("systemctl start portmeter-agent.service portmeter-gateway.service")?;
    ensure!(!is_active(&machine, UNIT)?, "the one service runs beside the two");
    wait::until("the gateway has found the agent", || Ok(rest.is_ready()))?;
    ensure!(rest.keys()? == [key], "{:?}", rest.keys()?);
    let (agent, gateway) = (
        machine.main_process("portmeter-agent.service")?,
        machine.main_process("portmeter-gateway.service")?,
    );
    for (process, rights) in [(agent, COUNTING), (gateway, 0)] {
        for (set, expected) in [
            ("CapEff", rights),
            ("CapBnd", rights),
            ("NoNewPrivs", 1),
            ("Seccomp", 2),
        ] {
            every_thread_has(process, set, expected)?;
        }
    }
    let owner = |process: u32| -> Result<String> {
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        Ok(status
            .lines()
            .find(|line| line.starts_with("Uid:"))
            .unwrap_or_default()
            .to_owned())
    };
    ensure!(owner(agent)? != owner(gateway)?, "both are one user");
    machine.run("systemctl reload portmeter-agent.service portmeter-gateway.service")?;
    machine.run("systemctl stop portmeter-agent.service")?;
    ensure!(rest.get("/api/keys")?.status == 503, "without its agent");
    machine.run("systemctl start portmeter.service")?;
    ensure!(
        rest.is_ready() && !is_active(&machine, "portmeter-gateway.service")?,
        "the two run beside the one"
    );
    Ok(())
}

/// The tests' core is a program of Python's, which makes code while it runs and tries a configuration in a namespace; a real
/// one does neither.
const FOR_THE_TESTS_CORE: &str = "MemoryDenyWriteExecute=no\nRestrictNamespaces=no";

fn the_core_goes_on_without_the_service() -> Result<()> {
    let pair = Pair::new()?;
    let site = Site::beyond(&pair.server)?;
    let (machine, rest) = installed(&pair)?;
    bring_core(&machine, &needs::xray()?)?;
    machine.drop_in(UNIT, FOR_THE_TESTS_CORE)?;
    let settings = format!(
        "[xray]\nmode = \"supervised\"\ndest = \"{}\"\nserver_names = [\"{SERVER_NAME}\"]\nserver_host = \"{SERVER_V4}\"\n",
        site.dest()
    );
    machine.write(CONFIGURATION, &settings)?;
    machine.run("systemctl restart portmeter.service")?;
    let key = rest.create_key("customer")?;
    let shown = rest.shown(&format!("/api/keys/{}/config", key.id))?;
    let link = Link::parse(shown["vless_url"].as_str().context("no link")?)?;
    let client = Client::start(&pair.client, &link)?;
    client.works()?;

    let core = core_of(&machine)?;
    machine.run("systemctl stop portmeter.service")?;
    client.works().context("while the service is stopped")?;
    machine.run("systemctl start portmeter.service")?;
    ensure!(core_of(&machine)? == core, "another core");
    client.works().context("when it is back")?;
    let folder = tempfile::tempdir()?;
    install(&machine, &package::later(&needs::package()?, folder.path())?)?;
    ensure!(core_of(&machine)? == core, "an upgrade has started another core");
    client.works().context("after an upgrade")?;

    machine.run("dpkg --remove portmeter")?;
    wait::until("the core is gone with the package", || Ok(core_of(&machine).is_err()))
}

/// Lays the tests' core where a service may look: homes are closed to it.
fn bring_core(machine: &Machine<'_>, executable: &Path) -> Result<()> {
    let above = |path: &Path| path.ancestors().nth(2).map(Path::to_owned).context("it lies nowhere");
    let environment = above(executable).context("the core")?;
    // The environment's interpreter is a link to one that may lie in a home.
    let interpreter = fs::canonicalize(environment.join("bin/python3")).context("the core's Python")?;
    let name = interpreter
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("python3");
    for (folder, place) in [(&environment, "/opt/xray"), (&above(&interpreter)?, "/opt/python")] {
        machine.run(&format!("mkdir --parents {place}"))?;
        machine.run(&format!("mount --bind {} {place}", folder.display()))?;
    }
    let packages = format!("/opt/xray/lib/{name}/site-packages");
    let script = format!(
        "#!/bin/sh\nexport LD_LIBRARY_PATH=/opt/python/lib PYTHONPATH={packages}\n\
         exec /opt/python/bin/{name} /opt/xray/bin/xray \"$@\"\n"
    );
    machine.write("/usr/local/bin/xray", &script)?;
    machine.run("chmod 0755 /usr/local/bin/xray")?;
    Ok(())
}

/// The one core that runs in the machine.
fn core_of(machine: &Machine<'_>) -> Result<u32> {
    let is_core = |process: &u32| {
        let words = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let words: Vec<&str> = words.split('\0').collect();
        words.contains(&"run") && words.contains(&"/var/lib/portmeter/xray/config.json") && !words.contains(&"-test")
    };
    let cores: Vec<u32> = machine.processes()?.into_iter().filter(is_core).collect();
    ensure!(cores.len() == 1, "the cores in the machine: {cores:?}");
    Ok(cores[0])
}
