//! Two ways to read a packet: directly, and through a helper where the direct way ends.
//!
//! Fields of the context are read volatile: a compiler that merges two of them into one load, or loads through a
//! changed pointer, makes a program that the verifier refuses.

use core::mem::MaybeUninit;
use core::ptr;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::bpf_skb_load_bytes;
use portmeter_ebpf::packet::Packet;

use super::count::{Context, TC_HAND_ON};

/// A packet at TC.
#[derive(Clone, Copy)]
pub(super) struct Skb(pub(super) *mut __sk_buff);

impl Context for Skb {
    const HAND_ON: i32 = TC_HAND_ON;
    type Direct = DirectPacket;
    type Whole = WholePacket;

    #[inline(always)]
    fn direct(self) -> DirectPacket {
        DirectPacket::new(self.0)
    }

    #[inline(always)]
    fn whole(self) -> WholePacket {
        WholePacket { skb: self.0 }
    }
}

/// The part of a packet that can be read directly: nearly always all of its headers.
pub(super) struct DirectPacket {
    skb: *mut __sk_buff,
    data: usize,
    data_end: usize,
}

impl DirectPacket {
    #[inline(always)]
    fn new(skb: *mut __sk_buff) -> Self {
        // SAFETY: the kernel hands a valid context to every program.
        let (data, data_end) = unsafe {
            (
                ptr::read_volatile(&raw const (*skb).data),
                ptr::read_volatile(&raw const (*skb).data_end),
            )
        };
        Self {
            skb,
            data: data as usize,
            data_end: data_end as usize,
        }
    }
}

impl Packet for DirectPacket {
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
        length_bytes(self.skb)
    }

    #[inline(always)]
    fn gso_size_bytes(&self) -> u32 {
        gso_size_bytes(self.skb)
    }
}

/// All of a packet, wherever its bytes are. Every read is a call.
pub(super) struct WholePacket {
    skb: *mut __sk_buff,
}

impl Packet for WholePacket {
    #[inline(always)]
    fn reaches_everything(&self) -> bool {
        true
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: the helper fills all N bytes or fails, and checks the offset itself.
        unsafe {
            let status = bpf_skb_load_bytes(self.skb.cast(), offset as u32, bytes.as_mut_ptr().cast(), N as u32);
            (status == 0).then(|| bytes.assume_init())
        }
    }

    #[inline(always)]
    fn length_bytes(&self) -> u32 {
        length_bytes(self.skb)
    }

    #[inline(always)]
    fn gso_size_bytes(&self) -> u32 {
        gso_size_bytes(self.skb)
    }
}

#[inline(always)]
fn length_bytes(skb: *mut __sk_buff) -> u32 {
    // SAFETY: the kernel hands a valid context to every program.
    unsafe { ptr::read_volatile(&raw const (*skb).len) }
}

#[inline(always)]
fn gso_size_bytes(skb: *mut __sk_buff) -> u32 {
    // SAFETY: the kernel hands a valid context to every program.
    unsafe { ptr::read_volatile(&raw const (*skb).gso_size) }
}
