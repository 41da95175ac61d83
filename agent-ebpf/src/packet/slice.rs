//! A packet in ordinary memory, for tests and fuzzing.

use super::Packet;

/// Bytes of a packet, all of them or only its start.
#[derive(Debug, Clone, Copy)]
pub struct SlicePacket<'bytes> {
    bytes: &'bytes [u8],
    length_bytes: u32,
    gso_size_bytes: u32,
}

impl<'bytes> SlicePacket<'bytes> {
    /// A whole packet, from its first byte to its last. `gso_size_bytes` as in [`Packet::gso_size_bytes`].
    pub const fn new(bytes: &'bytes [u8], gso_size_bytes: u32) -> Self {
        Self {
            bytes,
            length_bytes: bytes.len() as u32,
            gso_size_bytes,
        }
    }

    /// The same packet as seen by a reader that reaches only its first `readable_bytes`.
    pub fn readable_to(self, readable_bytes: usize) -> Self {
        Self {
            bytes: self.bytes.get(..readable_bytes).unwrap_or(self.bytes),
            ..self
        }
    }
}

impl Packet for SlicePacket<'_> {
    fn reaches_everything(&self) -> bool {
        self.bytes.len() == self.length_bytes as usize
    }

    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.bytes.get(offset..)?.first_chunk().copied()
    }

    fn length_bytes(&self) -> u32 {
        self.length_bytes
    }

    fn gso_size_bytes(&self) -> u32 {
        self.gso_size_bytes
    }
}
