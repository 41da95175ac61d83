//! Whether somebody else is where the core is to listen.
//!
//! The core binds with SO_REUSEPORT: beside another core it would start without a word, and the two would share the
//! clients by chance. So this is found out before.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::process::command_line;
use crate::network::holders::{Program, programs_by_socket};
use crate::network::listeners::{Listener, listeners};
use crate::rights::with_low_ports;

/// Where the core is to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Its API.
    pub api: SocketAddr,
    /// The address of the keys' inbounds; `None` for all.
    pub listen: Option<IpAddr>,
    /// The keys' ports.
    pub ports: BTreeSet<u16>,
}

impl From<&crate::xray::wanted::Wanted> for Places {
    fn from(wanted: &crate::xray::wanted::Wanted) -> Self {
        Self {
            api: wanted.settings.api_listen,
            listen: wanted.settings.listen,
            ports: wanted.inbounds.iter().map(|inbound| inbound.port).collect(),
        }
    }
}

/// A listener, and who it is as far as that may be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The socket.
    pub listener: Listener,
    /// The program that holds it.
    pub program: Option<Program>,
    /// That program is an Xray, started as one or by a script of that name.
    pub is_xray: bool,
}

/// Somebody listens where the core is to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The port.
    pub port: u16,
    /// It is the API's.
    pub is_api: bool,
    /// Who holds it.
    pub program: Option<Program>,
    /// That is an Xray.
    pub is_xray: bool,
}

impl std::error::Error for Conflict {}

impl fmt::Display for Conflict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        let other = if self.is_api {
            "set `xray.api_listen` to another address"
        } else {
            "give the key another port"
        };
        let what = if self.is_api { " (`xray.api_listen`)" } else { "" };
        write!(formatter, "port {port}{what} is held by ")?;
        match &self.program {
            Some(Program { process_id, .. }) if self.is_xray => write!(
                formatter,
                "an Xray that Portmeter does not manage (process {process_id}): stop it, or {other}"
            ),
            Some(Program { process_id, name }) => {
                write!(formatter, "{name} (process {process_id}): stop it, or {other}")
            }
            None => write!(
                formatter,
                "a program that may not be looked into: `ss -ltnp sport = :{port}` as root names it; stop it, or {other}"
            ),
        }
    }
}

/// The first of these listeners that is in the core's way; the core's own, `own`, are not. UDP is left out: the core
/// listens on TCP alone.
pub fn conflict(wanted: &Places, own: Option<u32>, listeners: &[Held]) -> Option<Conflict> {
    let is_foreign = |held: &&Held| {
        let holder = held.program.as_ref().map(|program| program.process_id);
        held.listener.is_tcp && (own.is_none() || holder != own)
    };
    let mut found: Vec<Conflict> = listeners
        .iter()
        .filter(is_foreign)
        .filter_map(|held| {
            let address = held.listener.address;
            let is_api = address.port() == wanted.api.port() && overlap(address.ip(), Some(wanted.api.ip()));
            let is_wanted = wanted.ports.contains(&address.port()) && overlap(address.ip(), wanted.listen);
            (is_api || is_wanted).then(|| Conflict {
                port: address.port(),
                is_api,
                program: held.program.clone(),
                is_xray: held.is_xray,
            })
        })
        .collect();
    // The same one each time it is asked for.
    found.sort_by_key(|conflict| (!conflict.is_api, conflict.port));
    found.into_iter().next()
}

/// Whether a listener at one address is in the way of one at the other; `None` stands for all addresses.
fn overlap(address: IpAddr, wanted: Option<IpAddr>) -> bool {
    wanted.is_none_or(|wanted| {
        let (address, wanted) = (address.to_canonical(), wanted.to_canonical());
        address.is_unspecified() || wanted.is_unspecified() || address == wanted
    })
}

/// Every listener of this network namespace, with who holds it.
pub fn held() -> std::io::Result<Vec<Held>> {
    let listeners = listeners()?;
    // A core that has the right to low ports may only be looked into by who has it too.
    let programs = with_low_ports(programs_by_socket);
    let held = listeners.into_iter().map(|listener| {
        let program = programs.get(&listener.inode).cloned();
        let is_xray = program
            .as_ref()
            .is_some_and(|program| is_xray(&program.name, &command_line(program.process_id).unwrap_or_default()));
        Held {
            listener,
            program,
            is_xray,
        }
    });
    Ok(held.collect())
}

/// By its file, or by the script that an interpreter runs.
fn is_xray(name: &str, command_line: &[String]) -> bool {
    let files = command_line
        .iter()
        .take(2)
        .filter_map(|word| Path::new(word).file_name()?.to_str());
    files
        .chain([name])
        .any(|file| file.to_ascii_lowercase().starts_with("xray"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        Places {
            api: "127.0.0.1:9436".parse().unwrap(),
            listen: None,
            ports: [10_001, 10_002].into(),
        }
    }

    fn held(address: &str, process_id: u32, is_xray: bool) -> Held {
        Held {
            listener: Listener {
                address: address.parse().unwrap(),
                is_tcp: true,
                inode: 1,
            },
            program: Some(Program {
                process_id,
                name: if is_xray { "xray" } else { "nginx" }.to_owned(),
            }),
            is_xray,
        }
    }

    fn sentence(held: Held) -> String {
        conflict(&places(), None, &[held]).unwrap().to_string()
    }

    #[test]
    fn says_who_is_in_the_way() {
        assert_eq!(
            sentence(held("0.0.0.0:10001", 123, true)),
            "port 10001 is held by an Xray that Portmeter does not manage (process 123): stop it, or give the key another \
             port"
        );
        assert_eq!(
            sentence(held("[::]:9436", 7, false)),
            "port 9436 (`xray.api_listen`) is held by nginx (process 7): stop it, or set `xray.api_listen` to another \
             address"
        );
        let unknown = Held {
            program: None,
            ..held("[::]:10002", 0, false)
        };
        assert!(sentence(unknown).contains("`ss -ltnp sport = :10002`"));
    }

    #[test]
    fn the_core_itself_other_ports_and_udp_are_not_in_the_way() {
        let own = held("[::]:10001", 5, true);
        assert_eq!(conflict(&places(), Some(5), std::slice::from_ref(&own)), None);
        assert_eq!(conflict(&places(), Some(6), &[own]).unwrap().port, 10_001);
        assert_eq!(conflict(&places(), None, &[held("0.0.0.0:80", 5, false)]), None);
        let mut udp = held("0.0.0.0:10001", 5, false);
        udp.listener.is_tcp = false;
        assert_eq!(conflict(&places(), None, &[udp]), None);
        let unknown = Held {
            program: None,
            ..held("0.0.0.0:10001", 0, false)
        };
        assert!(conflict(&places(), Some(5), &[unknown]).is_some());
    }

    #[test]
    fn another_address_is_not_in_the_way() {
        assert_eq!(conflict(&places(), None, &[held("192.0.2.1:9436", 5, false)]), None);
        let at_one = Places {
            listen: Some("192.0.2.1".parse().unwrap()),
            ..places()
        };
        assert_eq!(conflict(&at_one, None, &[held("127.0.0.1:10001", 5, false)]), None);
        for address in [
            "192.0.2.1:10001",
            "0.0.0.0:10001",
            "[::]:10001",
            "[::ffff:192.0.2.1]:10001",
        ] {
            assert!(
                conflict(&at_one, None, &[held(address, 5, false)]).is_some(),
                "{address}"
            );
        }
    }

    #[test]
    fn the_api_comes_first_and_then_the_lowest_port() {
        let all = ["[::]:10002", "[::]:10001", "[::]:9436"].map(|address| held(address, 5, false));
        assert_eq!(conflict(&places(), None, &all).unwrap().port, 9_436);
        assert_eq!(conflict(&places(), None, &all[..2]).unwrap().port, 10_001);
    }

    #[test]
    fn an_xray_is_known_by_its_file_or_its_script() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(is_xray("xray", &[]));
        assert!(is_xray(
            "python3",
            &words("python3 /opt/bin/xray run -c /etc/xray.json")
        ));
        assert!(!is_xray("vim", &words("vim -R /tmp/x /etc/xray.json")));
    }
}
