//! What the tests of this room want of a core.

use std::net::SocketAddr;
use std::sync::Arc;

use uuid::Uuid;

use super::super::reality::{PrivateKey, ShortId};
use super::super::wanted::{CoreSettings, Reality, WantedInbound};
use super::live::{self, LiveInbound};
use super::messages::{InboundHandlerConfig, ReceiverConfig, ReceiverConfigBefore25_10_15, TypedMessage};
use super::{Numbering, encode};

pub(super) fn settings() -> CoreSettings {
    CoreSettings {
        listen: None,
        flow: "xtls-rprx-vision".to_owned(),
        max_time_diff_ms: 600_000,
        api_listen: SocketAddr::from(([127, 0, 0, 1], 9436)),
        access_log: None,
    }
}

pub(super) fn reality() -> Reality {
    Reality {
        private_key: PrivateKey::generate(),
        short_ids: vec![ShortId::generate(), ShortId::generate()],
        dest: "www.example.com:443".to_owned(),
        server_names: vec!["www.example.com".to_owned(), "example.com".to_owned()],
    }
}

pub(super) fn inbound(port: u16) -> WantedInbound {
    WantedInbound {
        uuid: Uuid::new_v4(),
        port,
        reality: Arc::new(reality()),
    }
}

/// What a core lists after it was told this.
pub(super) fn told(settings: &CoreSettings, inbound: &WantedInbound) -> LiveInbound {
    told_as(settings, inbound, Numbering::Current, Numbering::Current)
}

/// The same of a core of any numbering that was told in its own, read as one of another.
pub(super) fn told_as(
    settings: &CoreSettings,
    inbound: &WantedInbound,
    core: Numbering,
    read: Numbering,
) -> LiveInbound {
    live::read(listed(encode::inbound_config(settings, inbound, core), core), read)
}

/// What a core lists after it was told this in a numbering that is not its own.
pub(super) fn told_in_vain(settings: &CoreSettings, inbound: &WantedInbound, numbering: Numbering) -> LiveInbound {
    live::read(encode::inbound_config(settings, inbound, numbering), numbering)
}

/// A core that knows a field leaves it out where it has its default.
fn listed(told: InboundHandlerConfig, core: Numbering) -> InboundHandlerConfig {
    let receiver = told.receiver_settings.unwrap();
    let receiver = if core == Numbering::Current {
        let mut receiver: ReceiverConfig = receiver.read().unwrap().unwrap();
        receiver.receive_original_destination = None;
        TypedMessage::new(&receiver)
    } else {
        let mut receiver: ReceiverConfigBefore25_10_15 = receiver.read().unwrap().unwrap();
        receiver.receive_original_destination = None;
        TypedMessage::new(&receiver)
    };
    InboundHandlerConfig {
        receiver_settings: Some(receiver),
        ..told
    }
}
