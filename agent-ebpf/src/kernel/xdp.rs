//! A packet at XDP, before the kernel has made a socket buffer of it.
//!
//! There are no aggregated packets here: what is seen is what the device received.

use core::mem::MaybeUninit;
use core::ptr;

use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::helpers::generated::{bpf_xdp_get_buff_len, bpf_xdp_load_bytes};

use super::reader::Context;

/// One or several buffers of a driver; the first can be read directly.
#[derive(Clone, Copy)]
pub(super) struct Xdp(pub(super) *mut xdp_md);

impl Context for Xdp {
    const HAND_ON: i32 = xdp_action::XDP_PASS as i32;

    #[inline(always)]
    fn bounds(self) -> (usize, usize) {
        // SAFETY: the kernel hands a valid context to every program.
        let (data, data_end) = unsafe {
            (
                ptr::read_volatile(&raw const (*self.0).data),
                ptr::read_volatile(&raw const (*self.0).data_end),
            )
        };
        (data as usize, data_end as usize)
    }

    #[inline(always)]
    fn load<const N: usize>(self, offset: usize) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: the helper fills all N bytes or fails, and checks the offset itself.
        unsafe {
            let status = bpf_xdp_load_bytes(self.0, offset as u32, bytes.as_mut_ptr().cast(), N as u32);
            (status == 0).then(|| bytes.assume_init())
        }
    }

    #[inline(always)]
    fn length_bytes(self) -> u32 {
        // SAFETY: the kernel hands a valid context to every program.
        unsafe { bpf_xdp_get_buff_len(self.0) as u32 }
    }

    #[inline(always)]
    fn gso_size_bytes(self) -> u32 {
        0
    }
}
