//! The messages of VLESS, in both numberings.

use prost::Message;

use super::messages::{Empty, NamedMessage, TypedMessage};

/// `xray.proxy.vless.inbound.Config` since core 25.8.29.
#[derive(Clone, PartialEq, Message)]
pub(super) struct VlessConfig {
    #[prost(message, repeated, tag = "1")]
    pub(super) users: Vec<User>,
    #[prost(message, repeated, tag = "2")]
    pub(super) fallbacks: Vec<Empty>,
    #[prost(string, tag = "3")]
    pub(super) decryption: String,
}

impl NamedMessage for VlessConfig {
    const NAME: &'static str = "xray.proxy.vless.inbound.Config";
}

/// `xray.proxy.vless.inbound.Config` before core 25.8.29.
#[derive(Clone, PartialEq, Message)]
pub(super) struct VlessConfigBefore25_8_29 {
    #[prost(message, repeated, tag = "1")]
    pub(super) users: Vec<User>,
    #[prost(string, tag = "2")]
    pub(super) decryption: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) fallbacks: Vec<Empty>,
}

impl NamedMessage for VlessConfigBefore25_8_29 {
    const NAME: &'static str = VlessConfig::NAME;
}

impl From<VlessConfig> for VlessConfigBefore25_8_29 {
    fn from(current: VlessConfig) -> Self {
        Self {
            users: current.users,
            decryption: current.decryption,
            fallbacks: current.fallbacks,
        }
    }
}

impl From<VlessConfigBefore25_8_29> for VlessConfig {
    fn from(before: VlessConfigBefore25_8_29) -> Self {
        Self {
            users: before.users,
            fallbacks: before.fallbacks,
            decryption: before.decryption,
        }
    }
}

/// `xray.common.protocol.User`
#[derive(Clone, PartialEq, Message)]
pub(super) struct User {
    #[prost(string, tag = "2")]
    pub(super) email: String,
    #[prost(message, optional, tag = "3")]
    pub(super) account: Option<TypedMessage>,
}

/// `xray.proxy.vless.Account`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Account {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) flow: String,
}

impl NamedMessage for Account {
    const NAME: &'static str = "xray.proxy.vless.Account";
}
