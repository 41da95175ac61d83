//! A wanted inbound in the core's messages, field by field what the core itself makes of the same inbound in its
//! configuration file: so a core that was started from the file has nothing to be told.
//!
//! With core 26.10.10 both ways give the same bytes. Some cores (26.7.11 and 26.7.28) set a lowest client version of their
//! own (`minClientVer`) in an inbound from a file; it is not written here and not compared.

use std::net::IpAddr;

use super::super::wanted::{CoreSettings, Reality, WantedInbound};
use super::messages::{
    Address, Empty, InboundHandlerConfig, IpOrDomain, NamedMessage as _, PortList, PortRange, RealityConfig,
    ReceiverConfig, ReceiverConfigBefore25_10_15, StreamConfig, TypedMessage,
};
use super::version::Numbering;
use super::vless::{Account, User, VlessConfig, VlessConfigBefore25_8_29};

/// The network of every inbound of Portmeter's, and how `dest` is reached.
pub(super) const TCP: &str = "tcp";

/// VLESS without encryption of its own: REALITY encrypts.
pub(super) const DECRYPTION_NONE: &str = "none";

/// The inbound, numbered for the core.
pub(super) fn inbound_config(
    settings: &CoreSettings,
    inbound: &WantedInbound,
    numbering: Numbering,
) -> InboundHandlerConfig {
    let receiver = receiver(settings, inbound);
    let vless = vless(settings, inbound);
    InboundHandlerConfig {
        tag: inbound.tag(),
        receiver_settings: Some(match numbering {
            Numbering::Current => TypedMessage::new(&receiver),
            Numbering::Before25_10_15 | Numbering::Before25_8_29 => {
                TypedMessage::new(&ReceiverConfigBefore25_10_15::from(receiver))
            }
        }),
        proxy_settings: Some(match numbering {
            Numbering::Current | Numbering::Before25_10_15 => TypedMessage::new(&vless),
            Numbering::Before25_8_29 => TypedMessage::new(&VlessConfigBefore25_8_29::from(vless)),
        }),
    }
}

fn receiver(settings: &CoreSettings, inbound: &WantedInbound) -> ReceiverConfig {
    let port = u32::from(inbound.port);
    let reality = reality(settings, &inbound.reality);
    ReceiverConfig {
        port_list: Some(PortList {
            ranges: vec![PortRange {
                first: port,
                last: port,
            }],
        }),
        listen: settings.listen.map(|address| IpOrDomain {
            address: Some(Address::Ip(address_bytes(address))),
        }),
        stream_settings: Some(StreamConfig {
            security_type: RealityConfig::NAME.to_owned(),
            security_settings: vec![TypedMessage::new(&reality)],
            protocol_name: TCP.to_owned(),
        }),
        receive_original_destination: Some(false),
        sniffing_settings: None,
    }
}

fn reality(settings: &CoreSettings, reality: &Reality) -> RealityConfig {
    RealityConfig {
        show: false,
        dest: reality.dest.clone(),
        dest_network: TCP.to_owned(),
        proxy_protocol_version: 0,
        server_names: reality.server_names.clone(),
        private_key: reality.private_key.bytes().to_vec(),
        max_time_diff_ms: settings.max_time_diff_ms,
        short_ids: reality
            .short_ids
            .iter()
            .map(|short_id| short_id.padded_bytes().to_vec())
            .collect(),
        limit_fallback_upload: Some(Empty {}),
        limit_fallback_download: Some(Empty {}),
    }
}

fn vless(settings: &CoreSettings, inbound: &WantedInbound) -> VlessConfig {
    let uuid = inbound.uuid.to_string();
    let account = Account {
        id: uuid.clone(),
        flow: settings.flow.clone(),
    };
    VlessConfig {
        users: vec![User {
            email: uuid,
            account: Some(TypedMessage::new(&account)),
        }],
        fallbacks: Vec::new(),
        decryption: DECRYPTION_NONE.to_owned(),
    }
}

/// An IPv4 address that is written as an IPv6 one is the IPv4 address, as it is to the core.
fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
