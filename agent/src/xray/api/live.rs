//! What the core says it has, as plain data.
//!
//! It lists whatever it has, other people's inbounds of any kind among them. Each part is read by itself: what cannot
//! be read is missing there and marks the inbound, and nothing it holds can make the list fail.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use uuid::Uuid;

use super::super::reality::PrivateKey;
use super::messages::{
    Address, InboundHandlerConfig, IpOrDomain, PortList, RealityConfig, ReceiverConfig, ReceiverConfigBefore25_10_15,
    StreamConfig, TypedMessage,
};
use super::version::Numbering;
use super::vless::{Account, User, VlessConfig, VlessConfigBefore25_8_29};

/// An inbound of a running core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveInbound {
    /// Its tag; empty if it has none.
    pub tag: String,
    /// Where it listens.
    pub listen: Listen,
    /// The ports it listens on.
    pub ports: Vec<RangeInclusive<u16>>,
    /// The transport, `tcp` for most; empty where nothing is said about it.
    pub network: String,
    /// What protects the transport.
    pub security: Security,
    /// Whether the core looks into connections to learn where they go.
    pub is_sniffing: bool,
    /// What it speaks.
    pub protocol: Protocol,
    /// Whether a part of it could not be read. It is broken, or numbered as another core numbers it.
    pub has_unreadable_part: bool,
}

/// Where an inbound listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// On all addresses, IPv4 and IPv6: the core makes no difference between no address, `0.0.0.0` and `::`.
    Everywhere,
    /// On one address.
    Address(IpAddr),
    /// On a unix socket or a name.
    Name(String),
}

/// What protects an inbound's transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// Nothing: whoever looks can see what it is.
    None,
    /// REALITY.
    Reality(LiveReality),
    /// Something else; the full name of the core's message.
    Other(String),
}

/// A live inbound's REALITY settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveReality {
    /// The server's key; `None` if it is not 32 bytes.
    pub private_key: Option<PrivateKey>,
    /// Accepted short ids, padded with zeros to 8 bytes.
    pub short_ids: Vec<Vec<u8>>,
    /// Accepted server names.
    pub server_names: Vec<String>,
    /// The server that lends its handshake.
    pub dest: String,
    /// How it is reached, `tcp` or `unix`.
    pub dest_network: String,
    /// The version of the PROXY protocol that is spoken to it; 0 for none.
    pub proxy_protocol_version: u64,
    /// Whether the core prints each handshake.
    pub show: bool,
    /// How far a client's clock may be off; 0 switches the check off.
    pub max_time_diff_ms: u64,
}

/// What an inbound speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protocol {
    /// VLESS.
    Vless(LiveVless),
    /// Anything else; the full name of the core's message.
    Other(String),
}

/// A live inbound's VLESS settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveVless {
    /// Who may connect.
    pub clients: Vec<LiveClient>,
    /// `none`, where VLESS adds no encryption of its own.
    pub decryption: String,
    /// Where it sends connections that are not VLESS.
    pub n_fallbacks: usize,
}

/// Somebody who may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveClient {
    /// Its id; `None` if it is no uuid.
    pub uuid: Option<Uuid>,
    /// Its name in the core's statistics.
    pub email: String,
    /// `xtls-rprx-vision` or empty.
    pub flow: String,
}

/// Reads what the core lists.
pub(super) fn read(config: InboundHandlerConfig, numbering: Numbering) -> LiveInbound {
    let mut reader = Reader {
        numbering,
        has_unreadable_part: false,
    };
    let receiver = reader.receiver(config.receiver_settings.as_ref());
    // Listed as it was told, so not understood: neither were the stream settings, and the core goes without them.
    let is_understood = receiver.receive_original_destination != Some(false);
    let stream = receiver.stream_settings.filter(|_| is_understood).unwrap_or_default();
    LiveInbound {
        tag: config.tag,
        listen: reader.listen(receiver.listen),
        ports: reader.ports(receiver.port_list),
        security: reader.security(&stream),
        network: stream.protocol_name,
        is_sniffing: receiver.sniffing_settings.is_some_and(|sniffing| sniffing.is_enabled),
        protocol: reader.protocol(config.proxy_settings.as_ref()),
        has_unreadable_part: reader.has_unreadable_part,
    }
}

struct Reader {
    numbering: Numbering,
    has_unreadable_part: bool,
}

impl Reader {
    fn receiver(&mut self, message: Option<&TypedMessage>) -> ReceiverConfig {
        let receiver = message.and_then(|message| match self.numbering {
            Numbering::Current => message.read::<ReceiverConfig>(),
            Numbering::Before25_10_15 | Numbering::Before25_8_29 => message
                .read::<ReceiverConfigBefore25_10_15>()
                .map(|read| read.map(ReceiverConfig::from)),
        });
        self.readable(receiver).unwrap_or_default()
    }

    fn listen(&mut self, listen: Option<IpOrDomain>) -> Listen {
        let Some(address) = listen.and_then(|listen| listen.address) else {
            return Listen::Everywhere;
        };
        match address {
            Address::Domain(name) => Listen::Name(name),
            Address::Ip(bytes) => match self.readable(Some(ip(&bytes).ok_or(()))) {
                Some(address) => listen_on(Some(address)),
                None => Listen::Name(String::new()),
            },
        }
    }

    fn ports(&mut self, list: Option<PortList>) -> Vec<RangeInclusive<u16>> {
        let ranges = list.unwrap_or_default().ranges.into_iter();
        ranges
            .filter_map(|range| {
                let both = u16::try_from(range.first).and_then(|first| Ok(first..=u16::try_from(range.last)?));
                self.readable(Some(both))
            })
            .collect()
    }

    fn security(&mut self, stream: &StreamConfig) -> Security {
        if stream.security_type.is_empty() {
            return Security::None;
        }
        // The core takes the settings whose name is the type; others are there for nothing.
        let mut settings = stream.security_settings.iter();
        let chosen = settings.find(|settings| settings.name == stream.security_type);
        match self.readable(chosen.and_then(TypedMessage::read::<RealityConfig>)) {
            Some(config) => Security::Reality(reality(config)),
            None => Security::Other(stream.security_type.clone()),
        }
    }

    fn protocol(&mut self, message: Option<&TypedMessage>) -> Protocol {
        let name = message.map(|message| message.name.clone()).unwrap_or_default();
        let vless = message.and_then(|message| match self.numbering {
            Numbering::Current | Numbering::Before25_10_15 => message.read::<VlessConfig>(),
            Numbering::Before25_8_29 => message
                .read::<VlessConfigBefore25_8_29>()
                .map(|read| read.map(VlessConfig::from)),
        });
        match self.readable(vless) {
            Some(vless) => Protocol::Vless(LiveVless {
                clients: vless.users.into_iter().map(|user| self.client(user)).collect(),
                decryption: vless.decryption,
                n_fallbacks: vless.fallbacks.len(),
            }),
            None => Protocol::Other(name),
        }
    }

    fn client(&mut self, user: User) -> LiveClient {
        let account = user.account.as_ref().and_then(TypedMessage::read::<Account>);
        let account = self.readable(account).unwrap_or_default();
        LiveClient {
            uuid: Uuid::try_parse(&account.id).ok(),
            email: user.email,
            flow: account.flow,
        }
    }

    /// What was read, if it was to be read; remembers that it could not be.
    fn readable<T, E>(&mut self, read: Option<Result<T, E>>) -> Option<T> {
        let read = read?;
        self.has_unreadable_part |= read.is_err();
        read.ok()
    }
}

/// Where the core listens when it is told this.
pub(super) fn listen_on(address: Option<IpAddr>) -> Listen {
    match address.map(|address| address.to_canonical()) {
        Some(address) if !address.is_unspecified() => Listen::Address(address),
        _ => Listen::Everywhere,
    }
}

fn reality(config: RealityConfig) -> LiveReality {
    let private_key: Option<[u8; 32]> = config.private_key.try_into().ok();
    LiveReality {
        private_key: private_key.map(PrivateKey::from),
        short_ids: config.short_ids,
        server_names: config.server_names,
        dest: config.dest,
        dest_network: config.dest_network,
        proxy_protocol_version: config.proxy_protocol_version,
        show: config.show,
        max_time_diff_ms: config.max_time_diff_ms,
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let sixteen = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| sixteen()).ok()
}

#[cfg(test)]
mod tests;
