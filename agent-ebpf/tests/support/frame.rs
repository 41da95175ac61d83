//! A packet with everything that decides what it counts as.

use portmeter_ebpf::packet::{Direction, Link, Lookups, Outcome, SlicePacket, classify};

/// A packet, from its first byte to its last, and where it is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub direction: Direction,
    pub link: Link,
    /// 0: not aggregated.
    pub gso_size_bytes: u32,
    pub bytes: Vec<u8>,
}

impl Frame {
    /// The packet as the parser reads it.
    pub fn packet(&self) -> SlicePacket<'_> {
        SlicePacket::new(&self.bytes, self.gso_size_bytes)
    }

    /// What the parser says.
    pub fn classify(&self, lookups: &impl Lookups) -> Outcome {
        classify(&self.packet(), lookups, self.direction, self.link)
    }
}
