use proptest::prelude::*;

use super::super::encode::inbound_config;
use super::super::messages::{NamedMessage as _, PortRange};
use super::super::test_support::{inbound, settings, told};
use super::*;

const NUMBERINGS: [Numbering; 3] = [Numbering::Before25_8_29, Numbering::Before25_10_15, Numbering::Current];

fn typed(name: &str, value: Vec<u8>) -> Option<TypedMessage> {
    Some(TypedMessage {
        name: name.to_owned(),
        value,
    })
}

/// An inbound with these receiver settings and nothing else.
fn received(receiver: &ReceiverConfig) -> LiveInbound {
    let config = InboundHandlerConfig {
        tag: "x".to_owned(),
        receiver_settings: Some(TypedMessage::new(receiver)),
        proxy_settings: None,
    };
    read(config, Numbering::Current)
}

#[test]
fn each_part_is_read_by_itself() {
    let (settings, inbound) = (settings(), inbound(10_001));
    let whole = told(&settings, &inbound);
    let mut config = inbound_config(&settings, &inbound, Numbering::Current);
    config.proxy_settings.as_mut().unwrap().value.truncate(20);
    let live = read(config, Numbering::Current);
    assert_eq!((live.tag, live.ports), (whole.tag, whole.ports));
    assert_eq!(live.protocol, Protocol::Other(VlessConfig::NAME.to_owned()));
    assert!(live.has_unreadable_part && !whole.has_unreadable_part);
}

#[test]
fn ports_and_addresses_that_are_none_are_no_others() {
    let port = |first, last| {
        received(&ReceiverConfig {
            port_list: Some(PortList {
                ranges: vec![PortRange { first, last }],
            }),
            ..ReceiverConfig::default()
        })
    };
    assert_eq!(port(1, 65_535).ports, [1..=65_535]);
    // Cut to 16 bits, it would be 10001.
    assert!(port(75_537, 75_537).ports.is_empty() && port(75_537, 75_537).has_unreadable_part);
    let listen = |bytes: &[u8]| {
        received(&ReceiverConfig {
            listen: Some(IpOrDomain {
                address: Some(Address::Ip(bytes.to_vec())),
            }),
            ..ReceiverConfig::default()
        })
    };
    assert_eq!(listen(&[127, 0, 0, 1]).listen, Listen::Address([127, 0, 0, 1].into()));
    assert_eq!(listen(&[0; 16]).listen, Listen::Everywhere);
    assert!(listen(&[0; 5]).listen != Listen::Everywhere && listen(&[0; 5]).has_unreadable_part);
}

#[test]
fn settings_of_another_security_are_not_taken_for_its_own() {
    let (settings, inbound) = (settings(), inbound(10_001));
    let config = inbound_config(&settings, &inbound, Numbering::Current);
    let mut receiver: ReceiverConfig = config.receiver_settings.unwrap().read().unwrap().unwrap();
    receiver.receive_original_destination = None;
    for (name, security) in [("", Security::None), ("tls", Security::Other("tls".to_owned()))] {
        receiver.stream_settings.as_mut().unwrap().security_type = name.to_owned();
        assert_eq!(received(&receiver).security, security);
    }
}

proptest! {
    /// Whatever somebody's inbound holds, it is listed.
    #[test]
    fn any_bytes_are_read(
        receiver in prop::collection::vec(any::<u8>(), 0..64),
        proxy in prop::collection::vec(any::<u8>(), 0..64),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let (settings, inbound) = (settings(), inbound(10_001));
        for numbering in NUMBERINGS {
            let config = InboundHandlerConfig {
                tag: "x".to_owned(),
                receiver_settings: typed(ReceiverConfig::NAME, receiver.clone()),
                proxy_settings: typed(VlessConfig::NAME, proxy.clone()),
            };
            prop_assert_eq!(read(config, numbering).tag, "x");
            let mut config = inbound_config(&settings, &inbound, numbering);
            for message in [&mut config.receiver_settings, &mut config.proxy_settings].into_iter().flatten() {
                let place = place.index(message.value.len());
                message.value[place] = byte;
            }
            prop_assert_eq!(read(config, numbering).tag, inbound.tag());
        }
    }
}
