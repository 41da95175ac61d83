//! Random frames of three kinds, without end: bytes of any value with a plausible start, changed packets from recipes,
//! and fragments that share addresses and identifications.

use anyhow::Result;
use portmeter_ebpf::packet::{Direction, Link};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::frame::Frame;
use super::odd_packets::odd_packets;
use super::random::Random;
use super::recipe::{Extension, Fragment, IpRecipe, Recipe, recipes};
use super::world::{LOCAL_IPV4, LOCAL_IPV6, OTHER_PORT, TRACKED_PORTS};

const BASES_DRAWN: usize = 400;
/// So few that most fragments find one another.
const IDENTIFICATIONS: usize = 24;
const CHANGES_MAX: usize = 5;
/// Changes beyond the headers change nothing.
const CHANGED_BYTES: usize = 120;
const RANDOM_BYTES_MAX: usize = 220;
const ETHERNET_BYTES: usize = 14;

/// Where frames come from.
pub struct DrawnFrames {
    random: Random,
    bases: Vec<Frame>,
    fragments: Vec<(Frame, FragmentFields)>,
}

/// Where the fields of a fragment lie that make it part of a datagram.
#[derive(Clone, Copy)]
struct FragmentFields {
    /// The lower byte of the identification.
    identification: usize,
    /// Two bytes: offset and flags.
    position: usize,
    /// As in the header: what says that more fragments follow, and one unit of the offset.
    more: u16,
    unit: u16,
}

impl DrawnFrames {
    /// The same frames for the same seed.
    pub fn new(seed: u64) -> Result<Self> {
        let mut runner = TestRunner::deterministic();
        let mut bases: Vec<_> = odd_packets()
            .into_iter()
            .map(|odd| Frame {
                direction: odd.direction,
                link: odd.link,
                gso_size_bytes: odd.gso_size_bytes,
                bytes: odd.bytes,
            })
            .collect();
        let mut fragments = Vec::new();
        for _ in 0..BASES_DRAWN {
            let recipe = recipes()
                .new_tree(&mut runner)
                .map_err(|reason| anyhow::anyhow!("drawing a packet: {reason}"))?
                .current();
            bases.push(frame(&recipe));
            fragments.extend(fragments_like(&recipe));
        }
        Ok(Self {
            random: Random::new(seed),
            bases,
            fragments,
        })
    }

    /// The next frame.
    pub fn draw(&mut self) -> Frame {
        let mut frame = match self.random.below(8) {
            0 => self.any_bytes(),
            1 | 2 => self.fragment(),
            _ => self.changed(),
        };
        if self.random.once_in(16) {
            frame.direction = direction(&mut self.random);
        }
        if self.random.once_in(8) {
            frame.gso_size_bytes = self.random.below(1_500) as u32;
        }
        frame
    }

    fn any_bytes(&mut self) -> Frame {
        let random = &mut self.random;
        let length = random.below(RANDOM_BYTES_MAX);
        let mut bytes: Vec<_> = (0..length).map(|_| random.byte()).collect();
        let link = match random.once_in(4) {
            true => Link::None,
            false => Link::Ethernet,
        };
        let direction = direction(random);
        let is_ipv6 = random.once_in(2);
        let mut ip_offset = 0;
        if link == Link::Ethernet {
            ip_offset = ETHERNET_BYTES;
            let ether_type = if is_ipv6 { [0x86, 0xdd] } else { [0x08, 0x00] };
            write(&mut bytes, 12, &ether_type);
            if random.once_in(4) {
                let tag = random.pick(&[[0x81, 0x00], [0x88, 0xa8], [0x91, 0x00]]);
                write(&mut bytes, 12, &tag);
                write(&mut bytes, 16, &ether_type);
                ip_offset += 4;
            }
        }
        plausible_ip(random, &mut bytes, ip_offset, is_ipv6, direction);
        Frame {
            direction,
            link,
            gso_size_bytes: 0,
            bytes,
        }
    }

    fn changed(&mut self) -> Frame {
        let random = &mut self.random;
        let mut frame = self.bases[random.below(self.bases.len())].clone();
        for _ in 0..random.below(CHANGES_MAX) {
            change(random, &mut frame.bytes);
        }
        frame
    }

    fn fragment(&mut self) -> Frame {
        let random = &mut self.random;
        let (mut frame, fields) = self.fragments[random.below(self.fragments.len())].clone();
        let more = if random.once_in(2) { fields.more } else { 0 };
        let position = (random.below(3) as u16 * fields.unit) | more;
        write(&mut frame.bytes, fields.position, &position.to_be_bytes());
        write(
            &mut frame.bytes,
            fields.identification,
            &[random.below(IDENTIFICATIONS) as u8],
        );
        if random.once_in(8) {
            change(random, &mut frame.bytes);
        }
        frame
    }
}

fn frame(recipe: &Recipe) -> Frame {
    Frame {
        direction: recipe.direction,
        link: recipe.link,
        gso_size_bytes: recipe.gso_size_bytes,
        bytes: recipe.bytes(),
    }
}

/// The recipe as a fragment of IPv4 and of IPv6.
fn fragments_like(recipe: &Recipe) -> [(Frame, FragmentFields); 2] {
    let fragment = Fragment { offset: 0, more: true };
    let with = |ip| Recipe {
        ip,
        gso_size_bytes: 0,
        ..recipe.clone()
    };
    let v4 = with(IpRecipe::V4 {
        option_words: 0,
        fragment,
    });
    let v6 = with(IpRecipe::V6 {
        extensions: vec![Extension::HopByHop(0), Extension::Fragment(fragment)],
    });
    let v6_fragment_header = v6.transport_offset() - 8;
    let v4_fields = FragmentFields {
        identification: v4.ip_offset() + 5,
        position: v4.ip_offset() + 6,
        more: 0x2000,
        unit: 1,
    };
    let v6_fields = FragmentFields {
        identification: v6_fragment_header + 7,
        position: v6_fragment_header + 2,
        more: 1,
        unit: 8,
    };
    [(frame(&v4), v4_fields), (frame(&v6), v6_fields)]
}

/// Headers in which enough is right that the parser gets somewhere; each part is now and then left as it was drawn.
fn plausible_ip(random: &mut Random, bytes: &mut [u8], offset: usize, is_ipv6: bool, direction: Direction) {
    let protocol = random.pick(&[6, 6, 17, 17, 0, 43, 44, 51, 60]);
    let behind_ip = bytes.len().saturating_sub(offset);
    let (length, length_offset, protocol_offset, addresses_offset) = match is_ipv6 {
        true => (behind_ip.saturating_sub(40), 4, 6, 8),
        false => (behind_ip, 2, 9, 12),
    };
    let version = if is_ipv6 {
        0x60
    } else {
        random.pick(&[0x45, 0x45, 0x46, 0x4f])
    };
    let local: &[u8] = if is_ipv6 { &LOCAL_IPV6 } else { &LOCAL_IPV4 };
    let local_offset = match direction {
        Direction::Receive => addresses_offset + local.len(),
        Direction::Transmit => addresses_offset,
    };
    let transport_offset = addresses_offset + 2 * local.len();
    let port = random
        .pick(&[TRACKED_PORTS[0].0, TRACKED_PORTS[1].0, OTHER_PORT])
        .to_be_bytes();
    let ports = [port, port].concat();
    let fields: [(usize, &[u8]); 5] = [
        (0, &[version]),
        (length_offset, &(length as u16).to_be_bytes()),
        (protocol_offset, &[protocol]),
        (local_offset, local),
        (transport_offset, &ports),
    ];
    for (at, field) in fields {
        if !random.once_in(12) {
            write(bytes, offset + at, field);
        }
    }
    if !is_ipv6 && !random.once_in(3) {
        write(bytes, offset + 6, &[0, 0]);
    }
}

/// One change of the kinds that fuzzers make.
fn change(random: &mut Random, bytes: &mut Vec<u8>) {
    let end = bytes.len().min(CHANGED_BYTES);
    if end == 0 {
        return;
    }
    let at = random.below(end);
    match random.below(8) {
        0 | 1 => bytes[at] = random.byte(),
        2 => bytes[at] ^= 1 << random.below(8),
        3 => bytes[at] = random.pick(&[0, 1, 6, 17, 43, 44, 51, 60, 0x7f, 0x80, 0xff]),
        4 => {
            let number = random.pick(&[0_u16, 1, 0x2000, 0x1fff, 0x0800, 0x86dd, 0x8100, 0xffff]);
            write(bytes, at, &number.to_be_bytes());
        }
        5 => bytes.truncate(random.below(bytes.len() + 1)),
        6 => {
            let more = random.below(64);
            bytes.resize(bytes.len() + more, 0);
        }
        _ => {
            let byte = random.byte();
            bytes.insert(at, byte);
        }
    }
}

fn direction(random: &mut Random) -> Direction {
    match random.once_in(2) {
        true => Direction::Receive,
        false => Direction::Transmit,
    }
}

/// Writes as far as there is room.
fn write(bytes: &mut [u8], at: usize, field: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + field.len()) {
        place.copy_from_slice(field);
    }
}
