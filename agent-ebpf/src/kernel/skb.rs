//! A packet at TC.
//!
//! Fields of the context are read volatile: a compiler that merges two of them into one load, or loads through a
//! changed pointer, makes a program that the verifier refuses.

use core::mem::MaybeUninit;
use core::ptr;

use aya_ebpf::bindings::{__sk_buff, TC_ACT_UNSPEC};
use aya_ebpf::helpers::generated::bpf_skb_load_bytes;

use super::reader::Context;

/// A socket buffer, possibly an aggregated packet.
#[derive(Clone, Copy)]
pub(super) struct Skb(pub(super) *mut __sk_buff);

impl Context for Skb {
    const HAND_ON: i32 = TC_ACT_UNSPEC;

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
            let status = bpf_skb_load_bytes(self.0.cast(), offset as u32, bytes.as_mut_ptr().cast(), N as u32);
            (status == 0).then(|| bytes.assume_init())
        }
    }

    #[inline(always)]
    fn length_bytes(self) -> u32 {
        // SAFETY: the kernel hands a valid context to every program.
        unsafe { ptr::read_volatile(&raw const (*self.0).len) }
    }

    #[inline(always)]
    fn gso_size_bytes(self) -> u32 {
        // SAFETY: the kernel hands a valid context to every program.
        unsafe { ptr::read_volatile(&raw const (*self.0).gso_size) }
    }
}
