//! What a packet, possibly standing for several, comes to on the wire.

/// Bytes and packets on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WireSize {
    /// IP-layer bytes: IP headers and everything behind them, no link header, no padding.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
}

impl WireSize {
    /// One packet of so many IP-layer bytes.
    #[inline(always)]
    pub const fn single(bytes: u32) -> Self {
        Self {
            bytes: bytes as u64,
            packets: 1,
        }
    }

    /// A packet of `ip_bytes`, of which `header_bytes` are IP and transport headers, that stands for one packet for
    /// each `gso_size_bytes` of its payload (0: for itself alone).
    ///
    /// The payload decides, never the kernel's own segment count: frames from virtio devices leave that at 0. Every
    /// segment carries the headers again.
    #[inline(always)]
    pub const fn aggregated(ip_bytes: u32, header_bytes: u32, gso_size_bytes: u32) -> Self {
        let payload_bytes = ip_bytes.saturating_sub(header_bytes);
        if gso_size_bytes == 0 || payload_bytes <= gso_size_bytes {
            return Self::single(ip_bytes);
        }
        let further_packets = ((payload_bytes - 1) / gso_size_bytes) as u64;
        Self {
            bytes: ip_bytes as u64 + further_packets * header_bytes as u64,
            packets: 1 + further_packets,
        }
    }
}
