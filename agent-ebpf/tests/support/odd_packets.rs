//! Packets that no recipe describes, because they contradict themselves or use corners of the standards; each with
//! what it must count as, written down by hand.

use portmeter_ebpf::layout::UnattributedReason::{self, Forwarded, Fragment as LaterFragment, HeaderChain, Malformed};
use portmeter_ebpf::packet::{Direction, Link, Outcome, WireSize};

use super::recipe::{Extension, Fragment, IpRecipe, Recipe, TransportRecipe};
use super::world::{TRACKED_PORT, TRACKED_SLOT};

/// Ethernet, IPv4 and TCP headers of [`Recipe::plain`], without options.
const ETHERNET: usize = 14;
const TCP: usize = ETHERNET + 20;
/// IP-layer bytes of [`Recipe::plain`] and of its IPv6 form.
const PLAIN_BYTES: u64 = 140;
const PLAIN_IPV6_BYTES: u64 = 160;

/// One packet and its outcome.
pub struct OddPacket {
    pub name: &'static str,
    pub direction: Direction,
    pub link: Link,
    pub bytes: Vec<u8>,
    pub gso_size_bytes: u32,
    pub outcome: Outcome,
}

/// Every odd packet.
pub fn odd_packets() -> Vec<OddPacket> {
    [
        lengths(),
        aggregated(),
        jumbo(),
        headers(),
        chains(),
        fragments(),
        ends(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn lengths() -> Vec<OddPacket> {
    let plain = Recipe::plain();
    let one_byte = Recipe {
        payload_bytes: 1,
        ..plain.clone()
    };
    let padded = Recipe {
        padding_bytes: 5,
        ..one_byte.clone()
    };
    let foreign = Recipe {
        is_local: false,
        ..plain.clone()
    };
    let udp = Recipe {
        transport: TransportRecipe::Udp,
        ..plain.clone()
    };
    vec![
        odd("one byte of payload", &one_byte, |_| {}, counted(41, 1)),
        odd("padding is no payload", &padded, |_| {}, counted(41, 1)),
        odd(
            "IPv4 longer than the packet",
            &plain,
            |bytes| bytes[17] += 1,
            malformed(PLAIN_BYTES),
        ),
        odd(
            "forwarded, longer than the packet",
            &foreign,
            |bytes| bytes[17] += 1,
            unattributed(Forwarded, PLAIN_BYTES),
        ),
        odd(
            "IPv6 longer than the packet",
            &Recipe::plain_ipv6(&[]),
            |bytes| bytes[19] += 1,
            malformed(160),
        ),
        odd(
            "IPv4 without a length",
            &plain,
            |bytes| bytes[16..18].fill(0),
            malformed(PLAIN_BYTES),
        ),
        odd(
            "IPv6 without a length",
            &Recipe::plain_ipv6(&[]),
            |bytes| bytes[18..20].fill(0),
            malformed(160),
        ),
        odd(
            "IPv4 ends within the TCP header",
            &plain,
            |bytes| bytes[17] = 39,
            malformed(PLAIN_BYTES),
        ),
        odd(
            "IPv4 ends before the ports",
            &plain,
            |bytes| bytes[17] = 20,
            malformed(PLAIN_BYTES),
        ),
        odd(
            "UDP's own length does not matter",
            &udp,
            |bytes| bytes[TCP + 4..TCP + 6].fill(0xff),
            counted(128, 1),
        ),
        odd(
            "cut behind the ports",
            &plain,
            |bytes| bytes.truncate(TCP + 4),
            malformed(24),
        ),
        odd(
            "cut within the ports",
            &plain,
            |bytes| bytes.truncate(TCP + 3),
            malformed(23),
        ),
        odd(
            "forwarded, cut within the ports",
            &foreign,
            |bytes| bytes.truncate(TCP + 3),
            Outcome::Ignored,
        ),
        odd(
            "cut within the IPv4 header",
            &plain,
            |bytes| bytes.truncate(ETHERNET + 19),
            malformed(33),
        ),
        odd(
            "cut within the IPv6 header",
            &Recipe::plain_ipv6(&[]),
            |bytes| bytes.truncate(40),
            malformed(40),
        ),
        odd(
            "cut within an extension header",
            &Recipe::plain_ipv6(&[Extension::Routing(0)]),
            |bytes| bytes.truncate(ETHERNET + 42),
            malformed(42),
        ),
        odd(
            "cut within a VLAN tag",
            &Recipe {
                vlan_tags: vec![0x8100],
                ..plain.clone()
            },
            |bytes| bytes.truncate(16),
            malformed(16),
        ),
    ]
}

fn aggregated() -> Vec<OddPacket> {
    let plain = |gso_size_bytes| Recipe {
        gso_size_bytes,
        ..Recipe::plain()
    };
    let no_length = |bytes: &mut Vec<u8>| bytes[16..18].fill(0);
    let udp = Recipe {
        transport: TransportRecipe::Udp,
        ..plain(30)
    };
    vec![
        odd("exactly one segment", &plain(100), |_| {}, counted(140, 1)),
        odd("one byte too much for one segment", &plain(99), |_| {}, counted(180, 2)),
        odd("a segment for every byte", &plain(1), |_| {}, counted(4_100, 100)),
        odd(
            "aggregated without payload",
            &Recipe {
                payload_bytes: 0,
                ..plain(10)
            },
            |_| {},
            counted(40, 1),
        ),
        odd(
            "UDP segments carry eight bytes of header",
            &udp,
            |_| {},
            counted(100 + 4 * 28, 4),
        ),
        odd("IPv4 BIG TCP has no length", &plain(60), no_length, counted(180, 2)),
    ]
}

fn jumbo() -> Vec<OddPacket> {
    let plain = |gso_size_bytes| Recipe {
        gso_size_bytes,
        ..Recipe::plain_ipv6(&[])
    };
    let hop_by_hop = |gso_size_bytes| Recipe {
        gso_size_bytes,
        ..Recipe::plain_ipv6(&[Extension::HopByHop(0)])
    };
    let longer = Recipe {
        gso_size_bytes: 60,
        ..Recipe::plain_ipv6(&[Extension::HopByHop(1)])
    };
    let no_length = |bytes: &mut Vec<u8>| bytes[18..20].fill(0);
    let jumbo_option = |bytes: &mut Vec<u8>| {
        bytes[18..20].fill(0);
        bytes[ETHERNET + 42..][..2].copy_from_slice(&[0xc2, 4]);
    };
    vec![
        odd(
            "IPv6 BIG TCP with its jumbo header",
            &hop_by_hop(60),
            jumbo_option,
            counted(220, 2),
        ),
        odd(
            "IPv6 BIG TCP without a jumbo header",
            &plain(60),
            no_length,
            counted(220, 2),
        ),
        odd(
            "IPv6 BIG TCP with real options",
            &hop_by_hop(60),
            no_length,
            counted(236, 2),
        ),
        odd(
            "IPv6 BIG TCP with a jumbo option among others",
            &longer,
            jumbo_option,
            counted(252, 2),
        ),
        odd(
            "a jumbogram that is not aggregated",
            &hop_by_hop(0),
            jumbo_option,
            counted(168, 1),
        ),
        odd(
            "no length, options that are not jumbo",
            &hop_by_hop(0),
            no_length,
            malformed(168),
        ),
        odd(
            "a jumbo header beside a length is on the wire",
            &hop_by_hop(60),
            |bytes| {
                bytes[ETHERNET + 42..][..2].copy_from_slice(&[0xc2, 4]);
            },
            counted(236, 2),
        ),
    ]
}

fn headers() -> Vec<OddPacket> {
    let plain = Recipe::plain();
    let foreign = Recipe {
        is_local: false,
        ..plain.clone()
    };
    let ip_only = Recipe {
        link: Link::None,
        ..plain.clone()
    };
    vec![
        odd(
            "IPv4 header too short",
            &plain,
            |bytes| bytes[ETHERNET] = 0x44,
            malformed(PLAIN_BYTES),
        ),
        odd(
            "forwarded, IPv4 header too short",
            &foreign,
            |bytes| bytes[ETHERNET] = 0x44,
            Outcome::Ignored,
        ),
        odd(
            "IPv4 header longer than the packet",
            &plain,
            |bytes| {
                bytes[ETHERNET] = 0x4f;
                bytes.truncate(ETHERNET + 40);
            },
            malformed(40),
        ),
        odd(
            "not IPv4 where IPv4 should be",
            &plain,
            |bytes| bytes[ETHERNET] = 0x65,
            malformed(PLAIN_BYTES),
        ),
        odd(
            "not IPv6 where IPv6 should be",
            &Recipe::plain_ipv6(&[]),
            |bytes| bytes[ETHERNET] = 0x45,
            malformed(PLAIN_IPV6_BYTES),
        ),
        odd(
            "TCP header too short",
            &plain,
            |bytes| bytes[TCP + 12] = 0x40,
            malformed(PLAIN_BYTES),
        ),
        odd(
            "TCP header longer than the packet",
            &Recipe {
                payload_bytes: 0,
                ..plain.clone()
            },
            |bytes| bytes[TCP + 12] = 0x60,
            malformed(40),
        ),
        odd("ICMP", &plain, |bytes| bytes[ETHERNET + 9] = 1, Outcome::Ignored),
        odd("ESP", &plain, |bytes| bytes[ETHERNET + 9] = 50, Outcome::Ignored),
        odd(
            "ARP",
            &plain,
            |bytes| bytes[12..14].copy_from_slice(&[8, 6]),
            Outcome::Ignored,
        ),
        odd(
            "IEEE 802.3 length",
            &plain,
            |bytes| bytes[12..14].copy_from_slice(&[0, 140]),
            Outcome::Ignored,
        ),
        odd(
            "an Ethernet header and nothing else",
            &plain,
            |bytes| {
                bytes[12..14].copy_from_slice(&[8, 6]);
                bytes.truncate(ETHERNET);
            },
            Outcome::Ignored,
        ),
        odd(
            "neither IPv4 nor IPv6 on a device without a link header",
            &ip_only,
            |bytes| bytes[0] = 0x55,
            Outcome::Ignored,
        ),
    ]
}

fn chains() -> Vec<OddPacket> {
    let tagged = |count| Recipe {
        vlan_tags: vec![0x8100; count],
        ..Recipe::plain()
    };
    let options = |count| Recipe::plain_ipv6(&vec![Extension::DestinationOptions(0); count]);
    let foreign = Recipe {
        is_local: false,
        ..options(9)
    };
    vec![
        odd(
            "as many VLAN tags as are followed",
            &tagged(4),
            |_| {},
            counted(PLAIN_BYTES, 1),
        ),
        odd("too many VLAN tags", &tagged(5), |_| {}, unattributed(HeaderChain, 174)),
        odd(
            "as many extension headers as are followed",
            &options(8),
            |_| {},
            counted(160 + 64, 1),
        ),
        odd(
            "too many extension headers",
            &options(9),
            |_| {},
            unattributed(HeaderChain, 160 + 72),
        ),
        odd(
            "forwarded, too many extension headers",
            &foreign,
            |_| {},
            Outcome::Ignored,
        ),
        odd(
            "the longest extension headers",
            &Recipe::plain_ipv6(&[Extension::HopByHop(255)]),
            |_| {},
            counted(160 + 2_048, 1),
        ),
        odd(
            "no next header",
            &Recipe::plain_ipv6(&[]),
            |bytes| bytes[ETHERNET + 6] = 59,
            Outcome::Ignored,
        ),
        odd(
            "ICMP behind extension headers",
            &options(1),
            |bytes| bytes[ETHERNET + 40] = 58,
            Outcome::Ignored,
        ),
    ]
}

fn fragments() -> Vec<OddPacket> {
    let ipv4 = |offset, more| Recipe {
        ip: IpRecipe::V4 {
            option_words: 0,
            fragment: Fragment { offset, more },
        },
        ..Recipe::plain()
    };
    let ipv6 = |offset, more| Recipe::plain_ipv6(&[Extension::Fragment(Fragment { offset, more })]);
    let tiny = |bytes: &mut Vec<u8>| {
        bytes.truncate(TCP + 8);
        bytes[17] = 28;
    };
    vec![
        odd("first IPv4 fragment", &ipv4(0, true), |_| {}, counted(PLAIN_BYTES, 1)),
        odd(
            "first IPv4 fragment with half a TCP header",
            &ipv4(0, true),
            tiny,
            counted(28, 1),
        ),
        odd(
            "first IPv4 fragment without ports",
            &ipv4(0, true),
            |bytes| bytes[17] = 23,
            malformed(PLAIN_BYTES),
        ),
        odd(
            "later IPv4 fragment",
            &ipv4(1, false),
            |_| {},
            unattributed(LaterFragment, PLAIN_BYTES),
        ),
        odd(
            "later IPv4 fragment, forwarded",
            &Recipe {
                is_local: false,
                ..ipv4(1, false)
            },
            |_| {},
            Outcome::Ignored,
        ),
        odd(
            "later IPv4 fragment of ICMP",
            &ipv4(1, false),
            |bytes| bytes[ETHERNET + 9] = 1,
            Outcome::Ignored,
        ),
        odd(
            "later IPv4 fragment of a wrong length",
            &ipv4(1, false),
            |bytes| bytes[17] += 1,
            unattributed(LaterFragment, PLAIN_BYTES),
        ),
        odd("first IPv6 fragment", &ipv6(0, true), |_| {}, counted(168, 1)),
        odd("the only IPv6 fragment", &ipv6(0, false), |_| {}, counted(168, 1)),
        odd(
            "later IPv6 fragment",
            &ipv6(1, true),
            |_| {},
            unattributed(LaterFragment, 168),
        ),
        odd(
            "later IPv6 fragment of ICMP",
            &ipv6(1, true),
            |bytes| bytes[ETHERNET + 40] = 58,
            Outcome::Ignored,
        ),
        odd(
            "later IPv6 fragment of more extension headers",
            &ipv6(1, true),
            |bytes| bytes[ETHERNET + 40] = 60,
            unattributed(LaterFragment, 168),
        ),
    ]
}

fn ends() -> Vec<OddPacket> {
    let plain = Recipe::plain();
    let as_client = Recipe {
        local_port: 50_000,
        remote_port: TRACKED_PORT,
        ..plain.clone()
    };
    let foreign = Recipe {
        is_local: false,
        ..plain.clone()
    };
    let sent = Recipe {
        direction: Direction::Transmit,
        ..plain.clone()
    };
    let sent_as_client = Recipe {
        direction: Direction::Transmit,
        ..as_client.clone()
    };
    vec![
        odd("sent", &sent, |_| {}, counted(PLAIN_BYTES, 1)),
        odd(
            "from a remote port of the same number",
            &as_client,
            |_| {},
            Outcome::Ignored,
        ),
        odd(
            "to a remote port of the same number",
            &sent_as_client,
            |_| {},
            Outcome::Ignored,
        ),
        odd("forwarded", &foreign, |_| {}, unattributed(Forwarded, PLAIN_BYTES)),
        odd(
            "forwarded as two",
            &Recipe {
                gso_size_bytes: 60,
                ..foreign
            },
            |_| {},
            Outcome::Unattributed {
                reason: Forwarded,
                size: WireSize { bytes: 180, packets: 2 },
            },
        ),
        odd(
            "broadcast",
            &plain,
            |bytes| bytes[ETHERNET + 16..][..4].fill(255),
            unattributed(Forwarded, PLAIN_BYTES),
        ),
        odd(
            "loopback addresses are always local",
            &plain,
            |bytes| bytes[ETHERNET + 16..][..4].copy_from_slice(&[127, 5, 6, 7]),
            counted(PLAIN_BYTES, 1),
        ),
    ]
}

fn odd(name: &'static str, recipe: &Recipe, change: impl FnOnce(&mut Vec<u8>), outcome: Outcome) -> OddPacket {
    let mut bytes = recipe.bytes();
    change(&mut bytes);
    let Recipe {
        direction,
        link,
        gso_size_bytes,
        ..
    } = *recipe;
    OddPacket {
        name,
        direction,
        link,
        bytes,
        gso_size_bytes,
        outcome,
    }
}

fn counted(bytes: u64, packets: u64) -> Outcome {
    Outcome::Counted {
        slot: TRACKED_SLOT,
        port: TRACKED_PORT,
        size: WireSize { bytes, packets },
    }
}

fn malformed(bytes: u64) -> Outcome {
    unattributed(Malformed, bytes)
}

fn unattributed(reason: UnattributedReason, bytes: u64) -> Outcome {
    Outcome::Unattributed {
        reason,
        size: WireSize { bytes, packets: 1 },
    }
}
