//! The tracked ports: nobody else's, and none that this host takes for its own connections.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;

use super::Finding;
use super::processes::Named;
use super::report::some_of;
use crate::config::{Config, PortSet};
use crate::network::listeners::Listener;

const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/// What is known about the ports.
pub(super) struct Facts<'a> {
    pub(super) tracked: &'a PortSet,
    /// Ports that keys have.
    pub(super) key_ports: &'a [u16],
    pub(super) ephemeral: Result<Ephemeral, String>,
    pub(super) listeners: Result<Vec<Named>, String>,
    /// The product's own listeners, by setting.
    pub(super) own: Vec<(&'static str, SocketAddr)>,
    pub(super) is_agent_running: bool,
    /// The core's binary, which is meant to listen on the keys' ports.
    pub(super) core: &'a Path,
    /// Its process, where that is known: the program may go by another name.
    pub(super) core_process: Option<u32>,
    /// Whether a core would be recognised. Whose program cannot be told may be one, where it would not.
    pub(super) is_core_known: bool,
}

/// Ports that the kernel gives to sockets that ask for any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ephemeral {
    range: RangeInclusive<u16>,
    reserved: BTreeSet<u16>,
    /// The text of the reserved ones, to be kept.
    reserved_text: String,
}

/// Reads this namespace's range and what is left out of it.
pub(super) fn read_ephemeral() -> Result<Ephemeral, String> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"));
    ephemeral(&read(RANGE)?, &read(RESERVED)?)
}

fn ephemeral(range: &str, reserved: &str) -> Result<Ephemeral, String> {
    let mut ends = range.split_whitespace().map(str::parse::<u16>);
    let (Some(Ok(first)), Some(Ok(last))) = (ends.next(), ends.next()) else {
        return Err(format!("{RANGE} holds no range: {range}"));
    };
    let reserved = reserved.trim();
    let ports = match reserved {
        "" => BTreeSet::new(),
        text => text
            .parse::<PortSet>()
            .map_err(|error| format!("{RESERVED}: {error}"))?
            .iter()
            .collect(),
    };
    Ok(Ephemeral {
        range: first..=last,
        reserved: ports,
        reserved_text: reserved.to_owned(),
    })
}

/// The addresses that the product itself listens on.
pub(super) fn own_listeners(config: &Config) -> Vec<(&'static str, SocketAddr)> {
    vec![
        ("http.listen", config.http.listen),
        ("grpc.listen", config.grpc.listen),
        ("metrics.listen", config.metrics.listen),
    ]
}

pub(super) fn check(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = vec![check_ephemeral(facts)];
    match &facts.listeners {
        Ok(listeners) => findings.extend([check_strangers(facts, listeners), check_own(facts, listeners)]),
        Err(why) => findings.push(Finding::warning(
            "listeners",
            format!("this host's sockets cannot be listed: {why}"),
            "use a kernel with CONFIG_INET_DIAG and CONFIG_INET_UDP_DIAG: keys are given ports by it too",
        )),
    }
    findings
}

fn check_ephemeral(facts: &Facts<'_>) -> Finding {
    let name = "ephemeral ports";
    let ephemeral = match &facts.ephemeral {
        Ok(ephemeral) => ephemeral,
        Err(why) => return Finding::warning(name, why.clone(), "mount /proc"),
    };
    let is_given = |port: &u16| ephemeral.range.contains(port) && !ephemeral.reserved.contains(port);
    let overlap: BTreeSet<u16> = facts.tracked.iter().filter(is_given).collect();
    let (first, last) = (ephemeral.range.start(), ephemeral.range.end());
    let Some(overlap) = PortSet::from_ports(overlap) else {
        return Finding::ok(
            name,
            format!("none of the tracked ports is given to this host's own connections ({first}-{last})"),
        );
    };
    let reserved = match ephemeral.reserved_text.as_str() {
        "" => overlap.to_string(),
        before => format!("{before},{overlap}"),
    };
    Finding::error(
        name,
        format!(
            "this host may use {overlap} for connections of its own ({first}-{last}), which would be booked to keys"
        ),
        format!("sysctl -w net.ipv4.ip_local_reserved_ports={reserved} (and keep it in /etc/sysctl.d)"),
    )
}

/// A stranger's traffic on a key's port is booked to the key; one on a free port only keeps the port from being given.
fn check_strangers(facts: &Facts<'_>, listeners: &[Named]) -> Finding {
    let name = "listeners";
    let core = facts.core.file_name().and_then(|name| name.to_str()).unwrap_or("xray");
    let is_stranger = |one: &&Named| {
        let is_core = one
            .program
            .as_deref()
            .is_some_and(|program| program == core || program == "xray");
        let is_core = is_core || (one.process_id.is_some() && one.process_id == facts.core_process);
        facts.tracked.contains(one.listener.address.port()) && !is_core
    };
    let mut strangers: Vec<&Named> = listeners.iter().filter(is_stranger).collect();
    strangers.sort_by_key(|one| (one.listener.address.port(), !one.listener.is_tcp));
    let has_key = |one: &&&Named| facts.key_ports.contains(&one.listener.address.port());
    let is_told = |one: &&&Named| facts.is_core_known || one.program.is_some();
    let on_keys: Vec<&Named> = strangers.iter().filter(has_key).filter(is_told).copied().collect();
    if !on_keys.is_empty() {
        return Finding::error(
            name,
            format!(
                "others than the core listen on ports of keys, whose figures are theirs: {}",
                described(&on_keys)
            ),
            "stop them or move them to other ports",
        );
    }
    if !strangers.is_empty() {
        return Finding::warning(
            name,
            format!(
                "others listen on tracked ports, which no key gets meanwhile: {}",
                described(&strangers)
            ),
            "move them, or take these ports out of `capture.ports`",
        );
    }
    Finding::ok(name, "nobody but the core listens on tracked ports")
}

/// While the agent is down its addresses must be free for the next start.
fn check_own(facts: &Facts<'_>, listeners: &[Named]) -> Finding {
    let name = "addresses";
    if facts.is_agent_running {
        return Finding::ok(name, "the agent has them");
    }
    let taken = facts.own.iter().find_map(|(setting, address)| {
        let holder = listeners.iter().find(|one| takes(&one.listener, *address))?;
        Some((setting, address, holder))
    });
    match taken {
        Some((setting, address, holder)) if holder.program.as_deref() == Some("portmeter") => Finding::warning(
            name,
            format!("`{setting}` is {address}, where a portmeter listens"),
            "nothing, if that is this agent's gateway; otherwise choose another address",
        ),
        Some((setting, address, holder)) => Finding::error(
            name,
            format!("`{setting}` is {address}, where {} listens", program(holder)),
            format!("stop it, or choose another `{setting}`"),
        ),
        None => Finding::ok(name, "free for the next start"),
    }
}

fn takes(listener: &Listener, address: SocketAddr) -> bool {
    let ip = listener.address.ip();
    listener.is_tcp
        && listener.address.port() == address.port()
        && (ip == address.ip() || ip.is_unspecified() || address.ip().is_unspecified())
}

fn described(listeners: &[&Named]) -> String {
    let mut texts: Vec<String> = listeners
        .iter()
        .map(|one| {
            let protocol = if one.listener.is_tcp { "tcp" } else { "udp" };
            format!("{} {protocol} ({})", one.listener.address.port(), program(one))
        })
        .collect();
    // One program may listen for IPv4 and IPv6 apart.
    texts.dedup();
    some_of(&texts)
}

fn program(named: &Named) -> &str {
    named.program.as_deref().unwrap_or("a program that is not shown")
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn listener(address: &str, is_tcp: bool, program: &str) -> Named {
        Named {
            listener: Listener {
                address: address.parse().unwrap(),
                is_tcp,
                inode: 1,
            },
            program: Some(program.to_owned()),
            process_id: Some(7),
        }
    }

    fn findings(tracked: &str, reserved: &str, listeners: Vec<Named>, is_agent_running: bool) -> Vec<Finding> {
        check(&Facts {
            tracked: &tracked.parse().unwrap(),
            key_ports: &[10_001],
            ephemeral: ephemeral("32768\t60999\n", reserved),
            listeners: Ok(listeners),
            own: vec![("http.listen", "127.0.0.1:8000".parse().unwrap())],
            is_agent_running,
            core: Path::new("/opt/core"),
            core_process: None,
            is_core_known: true,
        })
    }

    #[test]
    fn ports_of_the_ephemeral_range_can_be_reserved() {
        let overlap = |tracked: &str, reserved: &str| findings(tracked, reserved, Vec::new(), true).remove(0);
        assert_eq!(overlap("10001-10100", "\n").level, Level::Ok);
        let finding = overlap("32000-32770,40000", "8080\n");
        assert_eq!(finding.level, Level::Error);
        let remedy = finding.remedy.unwrap();
        assert!(
            remedy.starts_with("sysctl -w net.ipv4.ip_local_reserved_ports=8080,32768-32770,40000 "),
            "{remedy}"
        );
        assert_eq!(overlap("40000", "39000-41000\n").level, Level::Ok);
        assert!(ephemeral("nothing", "").is_err());
    }

    #[test]
    fn strangers_are_told_from_the_core() {
        let stranger = |port: u16, program: &str| {
            let listeners = vec![listener(&format!("0.0.0.0:{port}"), true, program)];
            findings("10001-10002", "", listeners, true).remove(1)
        };
        assert_eq!(stranger(10_001, "core").level, Level::Ok);
        assert_eq!(stranger(10_001, "xray").level, Level::Ok);
        assert_eq!(stranger(10_003, "nginx").level, Level::Ok);
        assert_eq!(stranger(10_002, "nginx").level, Level::Warning);
        let finding = stranger(10_001, "nginx");
        assert_eq!(finding.level, Level::Error);
        assert!(finding.found.contains("10001 tcp (nginx)"), "{}", finding.found);
    }

    #[test]
    fn a_core_by_another_name_is_told_by_its_process() {
        let level = |core_process, is_core_known, program: Option<&str>| {
            let named = Named {
                program: program.map(ToOwned::to_owned),
                ..listener("0.0.0.0:10001", true, "")
            };
            let facts = Facts {
                tracked: &"10001".parse().unwrap(),
                key_ports: &[10_001],
                ephemeral: ephemeral("32768\t60999\n", ""),
                listeners: Ok(Vec::new()),
                own: Vec::new(),
                is_agent_running: true,
                core: Path::new("/opt/core"),
                core_process,
                is_core_known,
            };
            check_strangers(&facts, &[named]).level
        };
        assert_eq!(level(Some(7), true, Some("python3")), Level::Ok);
        assert_eq!(level(Some(8), true, Some("python3")), Level::Error);
        assert_eq!(level(None, true, None), Level::Error);
        assert_eq!(level(None, false, None), Level::Warning, "it may be the core");
        assert_eq!(level(None, false, Some("nginx")), Level::Error);
    }

    #[test]
    fn the_next_start_finds_its_addresses_free() {
        let with = |address: &str, is_tcp, is_agent_running| {
            let listeners = vec![listener(address, is_tcp, "other")];
            findings("10001", "", listeners, is_agent_running).remove(2).level
        };
        let gateway = vec![listener("127.0.0.1:8000", true, "portmeter")];
        assert_eq!(findings("10001", "", gateway, false)[2].level, Level::Warning);
        assert_eq!(with("0.0.0.0:8000", true, false), Level::Error);
        assert_eq!(with("127.0.0.1:8000", true, false), Level::Error);
        assert_eq!(with("127.0.0.2:8000", true, false), Level::Ok);
        assert_eq!(with("127.0.0.1:8000", false, false), Level::Ok);
        assert_eq!(with("127.0.0.1:8000", true, true), Level::Ok);
    }
}
