//! Two ways to read a packet, whatever the kernel hands to the program: directly, and through a helper where the direct
//! way ends.

use core::ptr;

use portmeter_ebpf::packet::Packet;

/// What the kernel hands to a program: a packet and what it knows of it.
pub(super) trait Context: Copy {
    /// Tells the kernel to go on as if the program were not there: with the next program of a TCX chain, the next
    /// filter of a clsact qdisc, the network stack behind XDP.
    const HAND_ON: i32;

    /// Where the directly accessible part begins and ends.
    fn bounds(self) -> (usize, usize);

    /// The `N` bytes at `offset`, wherever they are, through a helper that checks the offset itself.
    fn load<const N: usize>(self, offset: usize) -> Option<[u8; N]>;

    /// As [`Packet::length_bytes`].
    fn length_bytes(self) -> u32;

    /// As [`Packet::gso_size_bytes`].
    fn gso_size_bytes(self) -> u32;
}

/// The part of a packet that can be read directly: nearly always all of its headers.
pub(super) struct Direct<C> {
    context: C,
    data: usize,
    data_end: usize,
}

impl<C: Context> Direct<C> {
    #[inline(always)]
    pub(super) fn new(context: C) -> Self {
        let (data, data_end) = context.bounds();
        Self {
            context,
            data,
            data_end,
        }
    }
}

impl<C: Context> Packet for Direct<C> {
    #[inline(always)]
    fn reaches_everything(&self) -> bool {
        false
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let start = self.data + offset;
        if start + N > self.data_end {
            return None;
        }
        // SAFETY: the bytes lie between data and data_end; an array of bytes has no alignment.
        Some(unsafe { ptr::read(start as *const [u8; N]) })
    }

    #[inline(always)]
    fn length_bytes(&self) -> u32 {
        self.context.length_bytes()
    }

    #[inline(always)]
    fn gso_size_bytes(&self) -> u32 {
        self.context.gso_size_bytes()
    }
}

/// All of a packet, wherever its bytes are. Every read is a call.
pub(super) struct Whole<C>(pub(super) C);

impl<C: Context> Packet for Whole<C> {
    #[inline(always)]
    fn reaches_everything(&self) -> bool {
        true
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.0.load(offset)
    }

    #[inline(always)]
    fn length_bytes(&self) -> u32 {
        self.0.length_bytes()
    }

    #[inline(always)]
    fn gso_size_bytes(&self) -> u32 {
        self.0.gso_size_bytes()
    }
}
