//! What the programs say of rare conditions, into a ring buffer that the agent reads.
//!
//! Each is behind the logging library's read-only level: where it is switched off, the verifier removes the code. And
//! each is a function of its own, so that it takes nothing from the path of ordinary packets.

use aya_ebpf::EbpfContext;
use aya_ebpf::cty::c_void;
use aya_log_ebpf::warn;
use portmeter_ebpf::packet::WireSize;

/// The macros ask for a context, which they do not need.
struct NoContext;

impl EbpfContext for NoContext {
    fn as_ptr(&self) -> *mut c_void {
        core::ptr::null_mut()
    }
}

/// A packet whose headers contradict each other, or go on for longer than they are followed.
#[inline(never)]
pub(super) fn unparseable(size: WireSize) {
    warn!(&NoContext, "a packet of {} bytes cannot be read", size.bytes);
}

/// A first fragment that could not be remembered.
#[inline(never)]
pub(super) fn fragments_full(port: u16) {
    warn!(&NoContext, "no room to remember a fragment of port {}", port);
}

/// A tracked port without counters.
#[inline(never)]
pub(super) fn slot_missing(port: u16) {
    warn!(&NoContext, "port {} has no counters", port);
}

/// A connection whose closing will not be seen.
#[inline(never)]
pub(super) fn mark_missing(port: u16) {
    warn!(&NoContext, "a connection to port {} cannot be marked", port);
}
