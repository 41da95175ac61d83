//! From a decision to the counters of packets.

use portmeter_ebpf::layout::UnattributedReason;
use portmeter_ebpf::packet::{Direction, Link, Outcome, WireSize, classify, examine};

use super::log;
use super::maps::{Maps, counters_of, unattributed};
use super::reader::{Context, Direct, Whole};

/// Where a program is attached.
pub(super) trait Hook {
    const DIRECTION: Direction;
    const LINK: Link;
    /// What the kernel hands to the program.
    type Context: Context;
}

/// Counts a packet and hands it on.
#[inline(always)]
pub(super) fn count<H: Hook>(context: H::Context) -> i32 {
    match examine(&Direct::new(context), &Maps::<true>, H::DIRECTION, H::LINK) {
        Ok(outcome) => book::<H>(outcome),
        Err(_) => count_whole::<H>(context),
    }
    H::Context::HAND_ON
}

/// A fragment, or headers beyond what can be read directly, or a packet that ends before its headers do.
///
/// A function of its own, so that what is rarely needed takes no registers from what nearly always is.
#[inline(never)]
fn count_whole<H: Hook>(context: H::Context) {
    book::<H>(classify(&Whole(context), &Maps::<false>, H::DIRECTION, H::LINK));
}

#[inline(always)]
fn book<H: Hook>(outcome: Outcome) {
    match outcome {
        Outcome::Ignored => {}
        Outcome::Counted { slot, port, size } => add_to_port::<H>(slot, port, size),
        Outcome::Unattributed { reason, size } => add_to_unattributed(reason, size),
    }
}

/// Plain additions: this line belongs to this CPU, and every hook runs with bottom halves disabled, so nothing comes
/// between reading and writing it.
#[inline(always)]
fn add_to_port<H: Hook>(slot: u32, port: u16, size: WireSize) {
    let Some(counters) = counters_of(slot) else {
        return add_without_slot(port, size);
    };
    // SAFETY: the map's elements live as long as the program, and only this CPU writes this one.
    unsafe {
        match H::DIRECTION {
            Direction::Receive => {
                (*counters).rx_bytes += size.bytes;
                (*counters).rx_packets += size.packets;
            }
            Direction::Transmit => {
                (*counters).tx_bytes += size.bytes;
                (*counters).tx_packets += size.packets;
            }
        }
        (*counters).port = u64::from(port);
    }
}

#[inline(always)]
fn add_without_slot(port: u16, size: WireSize) {
    log::slot_missing(port);
    add_to_unattributed(UnattributedReason::SlotMissing, size);
}

#[inline(always)]
fn add_to_unattributed(reason: UnattributedReason, size: WireSize) {
    if matches!(reason, UnattributedReason::Malformed | UnattributedReason::HeaderChain) {
        log::unparseable(size);
    }
    let Some(counters) = unattributed.get_ptr_mut(reason as u32) else {
        return;
    };
    // SAFETY: the map's elements live as long as the program, and this is this CPU's own.
    unsafe {
        (*counters).packets += size.packets;
        (*counters).bytes += size.bytes;
    }
}
