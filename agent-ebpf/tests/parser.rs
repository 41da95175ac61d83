//! The parser on the host: odd packets one by one, and properties over any packet there is.

mod support;

use etherparse::PacketBuilder;
use portmeter_ebpf::layout::{BlockedConnection, UnattributedReason};
use portmeter_ebpf::packet::{
    Direction, Link, Outcome, SlicePacket, Truncated, WireSize, classify, examine, tcp_ends, tcp_size,
};
use proptest::prelude::*;

use support::odd_packets::odd_packets;
use support::recipe::{Extension, Fragment, IpRecipe, Recipe, directions, recipes};
use support::second_opinion::agrees_with_etherparse;
use support::world::{OTHER_PORT, TRACKED_PORT, TRACKED_SLOT, World};

#[test]
fn odd_packets_count_as_written_down() {
    for odd in odd_packets() {
        let outcome = classify(
            &SlicePacket::new(&odd.bytes, odd.gso_size_bytes),
            &World::default(),
            odd.direction,
            odd.link,
        );
        assert_eq!(outcome, odd.outcome, "{}", odd.name);
    }
}

/// What another library builds, and what of it belongs to no connection.
#[test]
fn a_tcp_packet_tells_its_connection() {
    let (client, server) = ([198, 51, 100, 7], [192, 0, 2, 1]);
    let v4 = |address: [u8; 4]| [u64::from(u32::from_ne_bytes(address)), 0];
    let ends = |bytes: &[u8], link| tcp_ends(&SlicePacket::new(bytes, 0), link);
    let mut tagged = Vec::new();
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).single_vlan(7.try_into().unwrap());
    let tcp = builder.ipv4(client, server, 64).tcp(40_000, 10_001, 1, 1_000);
    tcp.write(&mut tagged, b"data").unwrap();
    let connection = BlockedConnection {
        local: v4(server),
        remote: v4(client),
        local_port: 10_001,
        remote_port: 40_000,
        ip_version: 4,
    };
    assert_eq!(ends(&tagged, Link::Ethernet).unwrap().received(), connection);
    // The same to one that sends it, with this host's end first.
    let sent = ends(&tagged, Link::Ethernet).unwrap().sent();
    assert_eq!((sent.local, sent.local_port), (v4(client), 40_000));
    assert_eq!((sent.remote, sent.remote_port), (v4(server), 10_001));

    let mut bare = Vec::new();
    let tcp = PacketBuilder::ipv6([1; 16], [2; 16], 64).tcp(10_001, 40_000, 1, 1_000);
    tcp.write(&mut bare, &[]).unwrap();
    let (one, two) = ([0x0101_0101_0101_0101; 2], [0x0202_0202_0202_0202; 2]);
    let connection = BlockedConnection {
        local: one,
        remote: two,
        local_port: 10_001,
        remote_port: 40_000,
        ip_version: 6,
    };
    assert_eq!(ends(&bare, Link::None).unwrap().sent(), connection);

    let mut datagram = Vec::new();
    let udp = PacketBuilder::ipv4(client, server, 64).udp(40_000, 10_001);
    udp.write(&mut datagram, b"data").unwrap();
    assert_eq!(ends(&datagram, Link::None), None);
    assert_eq!(ends(&bare[..42], Link::None), None);
}

/// The link header and a tag are not on the wire; of an aggregated packet each segment has the headers.
#[test]
fn a_tcp_packet_tells_its_size() {
    let mut tagged = Vec::new();
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).single_vlan(7.try_into().unwrap());
    let tcp = builder
        .ipv4([198, 51, 100, 7], [192, 0, 2, 1], 64)
        .tcp(40_000, 10_001, 1, 1_000);
    tcp.write(&mut tagged, &[0; 250]).unwrap();
    let size = |gso_size_bytes| tcp_size(&SlicePacket::new(&tagged, gso_size_bytes), Link::Ethernet);
    assert_eq!(size(0), WireSize { bytes: 290, packets: 1 });
    assert_eq!(
        size(100),
        WireSize {
            bytes: 250 + 3 * 40,
            packets: 3
        }
    );
    // Where the headers contradict each other, what lies behind the link header.
    let mut contradicting = tagged.clone();
    contradicting[18 + 20 + 12] = 0x10;
    let size = tcp_size(&SlicePacket::new(&contradicting, 0), Link::Ethernet);
    assert_eq!(size, WireSize { bytes: 290, packets: 1 });
}

/// As long as a kernel makes them (185,000 bytes), which no recipe reaches.
#[test]
fn the_longest_aggregated_packets_count_exactly() {
    let mut bytes = Recipe {
        payload_bytes: 0,
        ..Recipe::plain()
    }
    .bytes();
    bytes[16..18].fill(0);
    bytes.resize(bytes.len() + 185_000, 0x5a);
    let outcome = classify(
        &SlicePacket::new(&bytes, 1_448),
        &World::default(),
        Direction::Receive,
        Link::Ethernet,
    );
    let Outcome::Counted { size, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        size,
        WireSize {
            bytes: 185_000 + 128 * 40,
            packets: 128
        }
    );
}

/// First, later and last fragment of a datagram to a tracked port, another one to a port that is not, and the ways in
/// which a later fragment can be none of theirs.
#[test]
fn later_fragments_count_for_their_first_ones_port() {
    let world = World::default();
    let v4 = |offset, more| Recipe {
        ip: IpRecipe::V4 {
            option_words: 0,
            fragment: Fragment { offset, more },
        },
        ..Recipe::plain()
    };
    let v6 = |offset, more| Recipe::plain_ipv6(&[Extension::Fragment(Fragment { offset, more })]);
    let classify = |recipe: &Recipe, identification: u8| {
        let mut bytes = recipe.bytes();
        let at = match recipe.ip {
            IpRecipe::V4 { .. } => 14 + 5,
            IpRecipe::V6 { .. } => 14 + 40 + 7,
        };
        bytes[at] = identification;
        classify(&SlicePacket::new(&bytes, 0), &world, recipe.direction, recipe.link)
    };
    type MakeRecipe<'a> = &'a dyn Fn(u16, bool) -> Recipe;
    for (make, bytes) in [(&v4 as MakeRecipe<'_>, 140), (&v6 as MakeRecipe<'_>, 168)] {
        let size = WireSize { bytes, packets: 1 };
        let counted = Outcome::Counted {
            slot: TRACKED_SLOT,
            port: TRACKED_PORT,
            size,
        };
        let unknown = Outcome::Unattributed {
            reason: UnattributedReason::Fragment,
            size,
        };
        // Its local port is not read from what stands where a first fragment has it.
        let later = |more| Recipe {
            local_port: OTHER_PORT,
            ..make(16, more)
        };
        let untracked = Recipe {
            local_port: OTHER_PORT,
            ..make(0, true)
        };
        let sent = |recipe: Recipe| Recipe {
            direction: Direction::Transmit,
            ..recipe
        };
        assert_eq!(classify(&later(true), 1), unknown, "before its first fragment");
        assert_eq!(classify(&make(0, true), 1), counted);
        assert_eq!(classify(&untracked, 2), Outcome::Ignored);
        assert_eq!(classify(&later(true), 1), counted);
        assert_eq!(classify(&later(false), 1), counted);
        assert_eq!(
            classify(&later(false), 2),
            Outcome::Ignored,
            "of a port that is not tracked"
        );
        assert_eq!(classify(&later(false), 3), unknown, "of another datagram");
        assert_eq!(classify(&sent(later(false)), 1), unknown, "the other way");
        assert_eq!(classify(&sent(make(0, true)), 1), counted);
        assert_eq!(classify(&sent(later(false)), 1), counted);
        assert_eq!(classify(&untracked, 1), Outcome::Ignored);
        assert_eq!(
            classify(&later(false), 1),
            Outcome::Ignored,
            "a number that is used again for another port"
        );
    }
}

/// Its length cannot be believed, so it must not be booked to anybody, known as its datagram is.
#[test]
fn later_fragments_shorter_than_their_headers_are_malformed() {
    let v4 = |offset| Recipe {
        ip: IpRecipe::V4 {
            option_words: 1,
            fragment: Fragment { offset, more: true },
        },
        ..Recipe::plain()
    };
    let v6 = |offset| Recipe::plain_ipv6(&[Extension::Fragment(Fragment { offset, more: true })]);
    // The lower byte of the length field, and what it says at least: 24 bytes of IPv4 header, 8 of fragment header.
    for (first, later, length_offset, length_min) in [(v4(0), v4(16), 17, 24), (v6(0), v6(16), 19, 8)] {
        let world = World::default();
        let classify = |bytes: &[u8]| classify(&SlicePacket::new(bytes, 0), &world, first.direction, first.link);
        assert!(matches!(classify(&first.bytes()), Outcome::Counted { .. }));
        let mut bytes = later.bytes();
        bytes[length_offset] = length_min;
        assert!(matches!(classify(&bytes), Outcome::Counted { .. }), "{bytes:02x?}");
        bytes[length_offset] = length_min - 1;
        let size = WireSize {
            bytes: bytes.len() as u64 - 14,
            packets: 1,
        };
        let malformed = Outcome::Unattributed {
            reason: UnattributedReason::Malformed,
            size,
        };
        assert_eq!(classify(&bytes), malformed, "{bytes:02x?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn packets_count_as_their_recipe_says(recipe in recipes()) {
        let bytes = recipe.bytes();
        let outcome = classify_recipe(&recipe, &SlicePacket::new(&bytes, recipe.gso_size_bytes));
        prop_assert_eq!(outcome, recipe.outcome());
    }

    /// The kernel's two ways to read a packet must never come to different answers.
    #[test]
    fn a_reader_that_ends_early_says_so_or_agrees(recipe in recipes(), readable_bytes in 0..300usize) {
        let bytes = recipe.bytes();
        let whole = SlicePacket::new(&bytes, recipe.gso_size_bytes);
        let answer = examine(&whole.readable_to(readable_bytes), &World::default(), recipe.direction, recipe.link);
        prop_assert!(answer == Err(Truncated) || answer == Ok(classify_recipe(&recipe, &whole)), "{:?}", answer);
    }

    #[test]
    fn changed_packets_agree_with_etherparse(
        recipe in recipes(),
        changes in prop::collection::vec((0..120usize, any::<u8>()), 1..4),
        cut in prop_oneof![3 => Just(usize::MAX), 1 => 0..150usize],
    ) {
        let mut bytes = recipe.bytes();
        for (offset, value) in changes {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte = value;
            }
        }
        bytes.truncate(cut);
        agrees_with_etherparse(&bytes, recipe.gso_size_bytes, recipe.direction, recipe.link)
            .map_err(TestCaseError::fail)?;
    }

    #[test]
    fn any_bytes_agree_with_etherparse(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        ether_type in prop::sample::select(vec![[0x08, 0x00], [0x86, 0xdd], [0x81, 0x00]]),
        link in prop_oneof![Just(Link::Ethernet), Just(Link::None)],
        direction in directions(),
        gso_size_bytes in prop_oneof![Just(0), 1..100u32],
    ) {
        if link == Link::Ethernet && bytes.len() >= 14 {
            bytes[12..14].copy_from_slice(&ether_type);
        }
        agrees_with_etherparse(&bytes, gso_size_bytes, direction, link).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn a_packet_never_counts_as_more_than_its_segments(
        bytes in prop::collection::vec(any::<u8>(), 20..200), gso_size_bytes in any::<u32>(), direction in directions(),
    ) {
        if let Outcome::Counted { size, .. } | Outcome::Unattributed { size, .. } =
            classify(&SlicePacket::new(&bytes, gso_size_bytes), &World::default(), direction, Link::None)
        {
            prop_assert!(size.packets <= bytes.len() as u64 && size.bytes <= (bytes.len() * bytes.len()) as u64);
        }
    }
}

fn classify_recipe(recipe: &Recipe, packet: &SlicePacket<'_>) -> Outcome {
    classify(packet, &World::default(), recipe.direction, recipe.link)
}
