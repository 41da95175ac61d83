//! From a decision to the counters of packets.

use aya_ebpf::bindings::{TC_ACT_UNSPEC, xdp_action};
use portmeter_ebpf::layout::UnattributedReason;
use portmeter_ebpf::packet::{Direction, Link, Outcome, Packet, WireSize, classify, examine};

use super::log;
use super::maps::{Maps, counters_of, unattributed};

/// Where a program is attached.
pub(super) trait Hook {
    const DIRECTION: Direction;
    const LINK: Link;
    /// What the kernel hands to the program.
    type Context: Context;
}

/// A packet in the kernel, with two ways to read it.
pub(super) trait Context: Copy {
    /// Tells the kernel to go on as if the program were not there: with the next program of a TCX chain, the next
    /// filter of a clsact qdisc, the network stack behind XDP.
    const HAND_ON: i32;
    type Direct: Packet;
    type Whole: Packet;

    /// The part that can be read directly.
    fn direct(self) -> Self::Direct;

    /// All of it, at a call for each read.
    fn whole(self) -> Self::Whole;
}

/// The verdict of TC programs.
pub(super) const TC_HAND_ON: i32 = TC_ACT_UNSPEC;
/// The verdict of XDP programs.
pub(super) const XDP_HAND_ON: i32 = xdp_action::XDP_PASS as i32;

/// Counts a packet and hands it on.
#[inline(always)]
pub(super) fn count<H: Hook>(context: H::Context) -> i32 {
    match examine(&context.direct(), &Maps, H::DIRECTION, H::LINK) {
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
    book::<H>(classify(&context.whole(), &Maps, H::DIRECTION, H::LINK));
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
