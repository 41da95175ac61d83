//! From a decision to the counters. The only place that writes a map.

use aya_ebpf::bindings::{__sk_buff, TC_ACT_UNSPEC};
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use portmeter_ebpf::layout::UnattributedReason;
use portmeter_ebpf::packet::{Direction, Link, Outcome, WireSize, classify, examine};

use super::maps::{Maps, SLOT_CAPACITY, port_counters, unattributed};
use super::skb::{DirectPacket, WholePacket};

/// Where a program is attached.
pub(super) trait Hook {
    const DIRECTION: Direction;
    const LINK: Link;
}

/// Counts a packet and hands it on: to the next program of a TCX chain, to the next filter of a clsact qdisc.
#[inline(always)]
pub(super) fn count<H: Hook>(skb: *mut __sk_buff) -> i32 {
    match examine(&DirectPacket::new(skb), &Maps, H::DIRECTION, H::LINK) {
        Ok(outcome) => book::<H>(outcome),
        Err(_) => count_whole::<H>(skb),
    }
    TC_ACT_UNSPEC
}

/// The headers lie beyond what can be read directly, or the packet ends before they do.
///
/// A function of its own, so that what is rarely needed takes no registers from what nearly always is.
#[inline(never)]
fn count_whole<H: Hook>(skb: *mut __sk_buff) {
    book::<H>(classify(&WholePacket::new(skb), &Maps, H::DIRECTION, H::LINK));
}

#[inline(always)]
fn book<H: Hook>(outcome: Outcome) {
    match outcome {
        Outcome::Ignored => {}
        Outcome::Counted { slot, port, size } => add_to_port::<H>(slot, port, size),
        Outcome::Unattributed { reason, size } => add_to_unattributed(reason, size),
    }
}

/// Plain additions: this line belongs to this CPU, and both hooks run with bottom halves disabled, so nothing
/// comes between reading and writing it.
#[inline(always)]
fn add_to_port<H: Hook>(slot: u32, port: u16, size: WireSize) {
    let slot_capacity = SLOT_CAPACITY.load();
    // A slot beyond this CPU's share would be another CPU's.
    if slot >= slot_capacity {
        return add_to_unattributed(UnattributedReason::SlotMissing, size);
    }
    // SAFETY: the helper takes nothing and cannot fail.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let Some(counters) = port_counters.get_ptr_mut(cpu * slot_capacity + slot) else {
        return add_to_unattributed(UnattributedReason::SlotMissing, size);
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
fn add_to_unattributed(reason: UnattributedReason, size: WireSize) {
    let Some(counters) = unattributed.get_ptr_mut(reason as u32) else {
        return;
    };
    // SAFETY: the map's elements live as long as the program, and this is this CPU's own.
    unsafe {
        (*counters).packets += size.packets;
        (*counters).bytes += size.bytes;
    }
}
