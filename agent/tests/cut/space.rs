//! A network namespace for one test, and what the system's own tools and tables say of it.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

/// Far above what is needed, so that a busy machine fails no test.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Whether nobody has asked for everything.
pub(crate) fn may_leave_out() -> bool {
    let is_set = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    !is_set("CI", "true") && !is_set("PORTMETER_REQUIRE_ROOT", "1")
}

/// Does `test` on a thread of its own in a network namespace of its own; both end with it.
pub(crate) fn inside_one_of_its_own(test: fn() -> Result<()>) -> Result<()> {
    let inside = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace")?;
        run("ip link set lo up")?;
        test()
    });
    inside.join().unwrap_or_else(|_| bail!("it panicked"))
}

/// Runs a command, given as one line without quotes; gives what it wrote.
pub(crate) fn run(line: &str) -> Result<String> {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    let output = command.args(words).output().with_context(|| line.to_owned())?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{line}: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The states of all that is at a local port, listeners apart, as `ss` names them; sorted.
pub(crate) fn states_at(port: u16) -> Result<Vec<String>> {
    let listed = run(&format!("ss --no-header --numeric --tcp --all sport = :{port}"))?;
    let states = listed.lines().filter_map(|line| line.split_whitespace().next());
    let mut states: Vec<String> = states.filter(|state| *state != "LISTEN").map(str::to_owned).collect();
    states.sort();
    Ok(states)
}

/// How much waits to be read by the connection at a local port.
pub(crate) fn queued_bytes(port: u16) -> Result<u64> {
    let listed = run(&format!("ss --no-header --numeric --tcp sport = :{port}"))?;
    Ok(listed
        .split_whitespace()
        .nth(1)
        .context("no such connection")?
        .parse()?)
}

/// How many resets this namespace has sent, by the kernel's own count.
pub(crate) fn resets_sent() -> Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/snmp")?;
    let mut rows = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (rows.next().unwrap_or_default(), rows.next().unwrap_or_default());
    let place = names
        .split(' ')
        .position(|name| name == "OutRsts")
        .context("no OutRsts")?;
    Ok(values.split(' ').nth(place).context("no value")?.parse()?)
}

/// Whether an end has been cut off rather than closed: by a reset, or by this host's own hand.
pub(crate) fn is_cut(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
    )
}

/// Lets nothing through to a port but the beginning of a connection.
pub(crate) fn drop_acknowledgements_to(port: u16) -> Result<()> {
    let rules = format!(
        "table inet half {{\nchain in {{\ntype filter hook input priority 0\n\
         tcp dport {port} tcp flags & (syn | ack) == ack drop\n}}\n}}\n"
    );
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
    nft.stdin
        .take()
        .context("nft takes no rules")?
        .write_all(rules.as_bytes())?;
    ensure!(nft.wait()?.success(), "nft refuses the rules");
    Ok(())
}

/// Waits until `condition` holds.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !condition()? {
        ensure!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}

/// Another host, that sends without end to the first who connects.
///
/// It listens at `port`, behind a cable to this namespace, and is gone with its client.
pub(crate) fn another_host_at(port: u16) -> Result<Ipv4Addr> {
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
    let (thread_told, thread_id) = mpsc::channel();
    let (cable_told, cable) = mpsc::channel();
    let (ready_told, ready) = mpsc::channel();
    let server = thread::spawn(move || -> Result<()> {
        unshare(CloneFlags::CLONE_NEWNET)?;
        thread_told.send(gettid())?;
        cable.recv()?;
        run("ip address add 192.0.2.2/24 dev cable1")?;
        run("ip link set cable1 up")?;
        let listener = TcpListener::bind((ADDRESS, port))?;
        ready_told.send(())?;
        let mut client = listener.accept()?.0;
        while client.write_all(&[0; 65_536]).is_ok() {}
        Ok(())
    });
    let prepare = || -> Result<()> {
        let peer = format!("peer name cable1 netns {}", thread_id.recv()?);
        run(&format!("ip link add cable0 type veth {peer}"))?;
        run("ip address add 192.0.2.1/24 dev cable0")?;
        run("ip link set cable0 up")?;
        cable_told.send(())?;
        Ok(ready.recv()?)
    };
    let prepared = prepare();
    if prepared.is_err() && server.is_finished() {
        server.join().unwrap_or_else(|_| bail!("it panicked"))?;
    }
    prepared.map(|()| ADDRESS)
}
