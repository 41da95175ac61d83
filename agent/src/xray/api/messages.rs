//! The core's messages, as far as they are spoken here; those of VLESS are in [`super::vless`]. Fields that are left out
//! are skipped when reading.
//!
//! What can hold a private key does not show its content when debugged.

use std::fmt;

use prost::Message;

/// `xray.app.proxyman.command.AddInboundRequest`
#[derive(Clone, PartialEq, Message)]
pub(super) struct AddInboundRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) inbound: Option<InboundHandlerConfig>,
}

/// `xray.app.proxyman.command.RemoveInboundRequest`
#[derive(Clone, PartialEq, Message)]
pub(super) struct RemoveInboundRequest {
    #[prost(string, tag = "1")]
    pub(super) tag: String,
}

/// `xray.app.proxyman.command.ListInboundsResponse`
#[derive(Clone, PartialEq, Message)]
pub(super) struct ListInboundsResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) inbounds: Vec<InboundHandlerConfig>,
}

/// A request or an answer without content.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Empty {}

/// `xray.app.stats.command.SysStatsResponse`
#[derive(Clone, PartialEq, Message)]
pub(super) struct SysStatsResponse {
    #[prost(uint32, tag = "10")]
    pub(super) uptime_seconds: u32,
}

/// `xray.core.InboundHandlerConfig`
#[derive(Clone, PartialEq, Message)]
pub(super) struct InboundHandlerConfig {
    #[prost(string, tag = "1")]
    pub(super) tag: String,
    #[prost(message, optional, tag = "2")]
    pub(super) receiver_settings: Option<TypedMessage>,
    #[prost(message, optional, tag = "3")]
    pub(super) proxy_settings: Option<TypedMessage>,
}

/// `xray.common.serial.TypedMessage`: any message, under its full name.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct TypedMessage {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

impl TypedMessage {
    pub(super) fn new<M: NamedMessage>(message: &M) -> Self {
        Self {
            name: M::NAME.to_owned(),
            value: message.encode_to_vec(),
        }
    }

    /// The message, if it is an `M`; an error if it says so and cannot be read as one.
    pub(super) fn read<M: NamedMessage>(&self) -> Option<Result<M, prost::DecodeError>> {
        (self.name == M::NAME).then(|| M::decode(self.value.as_slice()))
    }
}

impl fmt::Debug for TypedMessage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TypedMessage({})", self.name)
    }
}

/// A message that travels in a [`TypedMessage`].
pub(super) trait NamedMessage: Message + Default {
    /// Its full name.
    const NAME: &'static str;
}

/// `xray.app.proxyman.ReceiverConfig` since core 25.10.15.
///
/// `receive_original_destination` tells whether the core numbers its fields so. It is told a plain `false`: a core that
/// knows the field has nothing to list for it, one that does not know it lists it as it came, together with the stream
/// settings that it did not know either and does not use.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ReceiverConfig {
    #[prost(message, optional, tag = "1")]
    pub(super) port_list: Option<PortList>,
    #[prost(message, optional, tag = "2")]
    pub(super) listen: Option<IpOrDomain>,
    #[prost(message, optional, tag = "3")]
    pub(super) stream_settings: Option<StreamConfig>,
    #[prost(bool, optional, tag = "4")]
    pub(super) receive_original_destination: Option<bool>,
    #[prost(message, optional, tag = "6")]
    pub(super) sniffing_settings: Option<SniffingConfig>,
}

impl NamedMessage for ReceiverConfig {
    const NAME: &'static str = "xray.app.proxyman.ReceiverConfig";
}

/// `xray.app.proxyman.ReceiverConfig` before core 25.10.15. Where its sniffing settings are changed once more among
/// these, so they are not read.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ReceiverConfigBefore25_10_15 {
    #[prost(message, optional, tag = "1")]
    pub(super) port_list: Option<PortList>,
    #[prost(message, optional, tag = "2")]
    pub(super) listen: Option<IpOrDomain>,
    #[prost(message, optional, tag = "4")]
    pub(super) stream_settings: Option<StreamConfig>,
    #[prost(bool, optional, tag = "5")]
    pub(super) receive_original_destination: Option<bool>,
}

impl NamedMessage for ReceiverConfigBefore25_10_15 {
    const NAME: &'static str = ReceiverConfig::NAME;
}

impl From<ReceiverConfig> for ReceiverConfigBefore25_10_15 {
    fn from(current: ReceiverConfig) -> Self {
        Self {
            port_list: current.port_list,
            listen: current.listen,
            stream_settings: current.stream_settings,
            receive_original_destination: current.receive_original_destination,
        }
    }
}

impl From<ReceiverConfigBefore25_10_15> for ReceiverConfig {
    fn from(before: ReceiverConfigBefore25_10_15) -> Self {
        Self {
            port_list: before.port_list,
            listen: before.listen,
            stream_settings: before.stream_settings,
            receive_original_destination: before.receive_original_destination,
            sniffing_settings: None,
        }
    }
}

/// `xray.common.net.PortList`
#[derive(Clone, PartialEq, Message)]
pub(super) struct PortList {
    #[prost(message, repeated, tag = "1")]
    pub(super) ranges: Vec<PortRange>,
}

/// `xray.common.net.PortRange`
#[derive(Clone, PartialEq, Message)]
pub(super) struct PortRange {
    #[prost(uint32, tag = "1")]
    pub(super) first: u32,
    #[prost(uint32, tag = "2")]
    pub(super) last: u32,
}

/// `xray.common.net.IPOrDomain`
#[derive(Clone, PartialEq, Message)]
pub(super) struct IpOrDomain {
    #[prost(oneof = "Address", tags = "1, 2")]
    pub(super) address: Option<Address>,
}

/// What an [`IpOrDomain`] holds.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Address {
    /// 4 or 16 bytes.
    #[prost(bytes, tag = "1")]
    Ip(Vec<u8>),
    /// A name, or the path of a unix socket.
    #[prost(string, tag = "2")]
    Domain(String),
}

/// `xray.app.proxyman.SniffingConfig`
#[derive(Clone, PartialEq, Message)]
pub(super) struct SniffingConfig {
    #[prost(bool, tag = "1")]
    pub(super) is_enabled: bool,
}

/// `xray.transport.internet.StreamConfig`
#[derive(Clone, PartialEq, Message)]
pub(super) struct StreamConfig {
    #[prost(string, tag = "3")]
    pub(super) security_type: String,
    #[prost(message, repeated, tag = "4")]
    pub(super) security_settings: Vec<TypedMessage>,
    #[prost(string, tag = "5")]
    pub(super) protocol_name: String,
}

/// `xray.transport.internet.reality.Config`, the server's half.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct RealityConfig {
    #[prost(bool, tag = "1")]
    pub(super) show: bool,
    #[prost(string, tag = "2")]
    pub(super) dest: String,
    /// How `dest` is reached: `tcp` or `unix`.
    #[prost(string, tag = "3")]
    pub(super) dest_network: String,
    #[prost(uint64, tag = "4")]
    pub(super) proxy_protocol_version: u64,
    #[prost(string, repeated, tag = "5")]
    pub(super) server_names: Vec<String>,
    #[prost(bytes = "vec", tag = "6")]
    pub(super) private_key: Vec<u8>,
    #[prost(uint64, tag = "9")]
    pub(super) max_time_diff_ms: u64,
    #[prost(bytes = "vec", repeated, tag = "10")]
    pub(super) short_ids: Vec<Vec<u8>>,
    /// No limit, but there: so the core makes it of a file.
    #[prost(message, optional, tag = "12")]
    pub(super) limit_fallback_upload: Option<Empty>,
    #[prost(message, optional, tag = "13")]
    pub(super) limit_fallback_download: Option<Empty>,
}

impl NamedMessage for RealityConfig {
    const NAME: &'static str = "xray.transport.internet.reality.Config";
}

impl fmt::Debug for RealityConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RealityConfig(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::Numbering;
    use super::super::encode::inbound_config;
    use super::super::test_support::{inbound, settings};
    use super::*;

    #[test]
    fn no_key_is_shown() {
        let inbound = inbound(10_001);
        let request = AddInboundRequest {
            inbound: Some(inbound_config(&settings(), &inbound, Numbering::Current)),
        };
        let receiver = request
            .inbound
            .clone()
            .and_then(|inbound| inbound.receiver_settings)
            .unwrap();
        let receiver: ReceiverConfig = receiver.read().unwrap().unwrap();
        let reality: RealityConfig = receiver.stream_settings.as_ref().unwrap().security_settings[0]
            .read()
            .unwrap()
            .unwrap();
        let bytes = inbound.reality.private_key.bytes();
        assert_eq!(reality.private_key, bytes);
        let shown = format!("{request:?} {receiver:?} {reality:?}");
        let bytes = format!("{bytes:?}");
        assert!(!shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
    }
}
