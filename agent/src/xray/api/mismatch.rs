//! Whether a live inbound is what is wanted.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::super::wanted::{CoreSettings, Reality, WantedInbound};
use super::encode::{DECRYPTION_NONE, TCP};
use super::live::{Listen, LiveInbound, LiveReality, LiveVless, Protocol, Security, listen_on};

/// How a live inbound differs from the wanted one: the first difference that was found, in a sentence without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// It listens in plain sight. Either somebody added it so, or the core has the settings at another place than its
    /// version says.
    #[error("the core has the inbound without REALITY, so that anybody can see what it is")]
    NoReality,
    /// A part of it is broken, or numbered as another core numbers it.
    #[error("the core has the inbound with settings that cannot be read, as a core of another version writes them")]
    Unreadable,
    /// It has another value.
    #[error("the core has the inbound with another {what}: {live} instead of {wanted}")]
    Differs {
        /// What of it.
        what: &'static str,
        /// The value it has.
        live: String,
        /// The value that is wanted.
        wanted: String,
    },
    /// It has another value that is not to be shown, or something besides what is wanted.
    #[error("the core has the inbound with {0}")]
    Has(&'static str),
}

impl LiveInbound {
    /// Whether it does what the wanted inbound is to do. The order of lists makes no difference to the core and none
    /// here.
    pub fn matches(&self, settings: &CoreSettings, inbound: &WantedInbound) -> Result<(), Mismatch> {
        same("tag", &self.tag, &inbound.tag())?;
        if self.has_unreadable_part {
            return Err(Mismatch::Unreadable);
        }
        let reality = match &self.security {
            Security::Reality(reality) => reality,
            Security::None => return Err(Mismatch::NoReality),
            Security::Other(name) => return Err(differs("security", name, &"REALITY")),
        };
        match &self.protocol {
            Protocol::Vless(vless) => vless.matches(settings, inbound)?,
            Protocol::Other(name) => return Err(differs("protocol", name, &"VLESS")),
        }
        let port = inbound.port;
        if self.ports != [port..=port] {
            return Err(differs("port", &self.shown_ports(), &port));
        }
        let wanted_listen = listen_on(settings.listen);
        if self.listen != wanted_listen {
            return Err(differs("listen address", &shown(&self.listen), &shown(&wanted_listen)));
        }
        same("network", self.network.as_str(), TCP)?;
        not(self.is_sniffing, "sniffing switched on")?;
        reality.matches(settings, &inbound.reality)
    }

    /// The one port it listens on, if it is one.
    pub fn single_port(&self) -> Option<u16> {
        match self.ports.as_slice() {
            [range] if range.start() == range.end() => Some(*range.start()),
            _ => None,
        }
    }

    fn shown_ports(&self) -> String {
        let ranges = self.ports.iter().map(|range| match (range.start(), range.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        });
        let shown: Vec<String> = ranges.collect();
        if shown.is_empty() {
            "none".to_owned()
        } else {
            shown.join(",")
        }
    }
}

impl LiveVless {
    fn matches(&self, settings: &CoreSettings, inbound: &WantedInbound) -> Result<(), Mismatch> {
        let [client] = self.clients.as_slice() else {
            return Err(differs("number of clients", &self.clients.len(), &1));
        };
        not(client.uuid != Some(inbound.uuid), "another client than the key's")?;
        not(
            client.email != inbound.uuid.to_string(),
            "another name for the client in the core's statistics",
        )?;
        same("flow", client.flow.as_str(), settings.flow.as_str())?;
        // Not shown: it can hold a key.
        not(self.decryption != DECRYPTION_NONE, "another decryption than \"none\"")?;
        not(self.n_fallbacks != 0, "fallbacks")
    }
}

impl LiveReality {
    fn matches(&self, settings: &CoreSettings, wanted: &Reality) -> Result<(), Mismatch> {
        not(self.private_key != Some(wanted.private_key), "another private key")?;
        let wanted_short_ids = wanted.short_ids.iter().map(|short_id| short_id.padded_bytes().to_vec());
        not(
            self.short_ids.iter().cloned().collect::<BTreeSet<_>>() != wanted_short_ids.collect(),
            "other short ids",
        )?;
        if set(&self.server_names) != set(&wanted.server_names) {
            let (live, wanted) = (self.server_names.join(","), wanted.server_names.join(","));
            return Err(differs("list of server names", &live, &wanted));
        }
        same("dest", self.dest.as_str(), wanted.dest.as_str())?;
        same("way to its dest", self.dest_network.as_str(), TCP)?;
        same("PROXY protocol version", &self.proxy_protocol_version, &0)?;
        not(self.show, "its handshakes printed")?;
        same(
            "largest time difference in milliseconds",
            &self.max_time_diff_ms,
            &settings.max_time_diff_ms,
        )
    }
}

fn set(names: &[String]) -> BTreeSet<&str> {
    names.iter().map(String::as_str).collect()
}

fn same<T: PartialEq + Display + ?Sized>(what: &'static str, live: &T, wanted: &T) -> Result<(), Mismatch> {
    if live == wanted {
        return Ok(());
    }
    Err(differs(what, live, wanted))
}

fn differs<L, W>(what: &'static str, live: &L, wanted: &W) -> Mismatch
where
    L: Display + ?Sized,
    W: Display + ?Sized,
{
    let quoted = |text: String| if text.is_empty() { "nothing".to_owned() } else { text };
    Mismatch::Differs {
        what,
        live: quoted(live.to_string()),
        wanted: quoted(wanted.to_string()),
    }
}

fn not(has: bool, what: &'static str) -> Result<(), Mismatch> {
    if has { Err(Mismatch::Has(what)) } else { Ok(()) }
}

fn shown(listen: &Listen) -> String {
    match listen {
        Listen::Everywhere => "all addresses".to_owned(),
        Listen::Address(address) => address.to_string(),
        Listen::Name(name) => name.clone(),
    }
}

#[cfg(test)]
mod tests;
