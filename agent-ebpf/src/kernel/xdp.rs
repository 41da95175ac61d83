//! Two ways to read a packet at XDP, before the kernel has made a socket buffer of it.
//!
//! There are no aggregated packets here: what is seen is what the device received.

use core::mem::MaybeUninit;
use core::ptr;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes};
use portmeter_ebpf::packet::Packet;

use super::count::{Context, XDP_HAND_ON};

/// A packet at XDP.
#[derive(Clone, Copy)]
pub(super) struct Xdp(pub(super) *mut xdp_md);

impl Context for Xdp {
    const HAND_ON: i32 = XDP_HAND_ON;
    type Direct = DirectFrame;
    type Whole = WholeFrame;

    #[inline(always)]
    fn direct(self) -> DirectFrame {
        // SAFETY: the kernel hands a valid context to every program.
        let (data, data_end) = unsafe {
            (
                ptr::read_volatile(&raw const (*self.0).data),
                ptr::read_volatile(&raw const (*self.0).data_end),
            )
        };
        DirectFrame {
            context: self.0,
            data: data as usize,
            data_end: data_end as usize,
        }
    }

    #[inline(always)]
    fn whole(self) -> WholeFrame {
        WholeFrame { context: self.0 }
    }
}

/// The first of a packet's buffers.
pub(super) struct DirectFrame {
    context: *mut xdp_md,
    data: usize,
    data_end: usize,
}

impl Packet for DirectFrame {
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
        length_bytes(self.context)
    }

    #[inline(always)]
    fn gso_size_bytes(&self) -> u32 {
        0
    }
}

/// All of a packet's buffers.
pub(super) struct WholeFrame {
    context: *mut xdp_md,
}

impl Packet for WholeFrame {
    #[inline(always)]
    fn reaches_everything(&self) -> bool {
        true
    }

    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: the helper fills all N bytes or fails, and checks the offset itself.
        unsafe {
            let status = bpf_xdp_load_bytes(self.context, offset as u32, bytes.as_mut_ptr().cast(), N as u32);
            (status == 0).then(|| bytes.assume_init())
        }
    }

    #[inline(always)]
    fn length_bytes(&self) -> u32 {
        length_bytes(self.context)
    }

    #[inline(always)]
    fn gso_size_bytes(&self) -> u32 {
        0
    }
}

#[inline(always)]
fn length_bytes(context: *mut xdp_md) -> u32 {
    // SAFETY: the kernel hands a valid context to every program.
    unsafe { bpf_xdp_get_buff_len(context) as u32 }
}
