//! Blocks connections of keys that are cut off, where the kernel cannot end them.
//!
//! The only programs that drop packets. They are attached while there is something to block and not otherwise, and those
//! that count know nothing of them.

use aya_ebpf::bindings::TC_ACT_SHOT;
use portmeter_ebpf::layout::{BlockedConnection, DropReason};
use portmeter_ebpf::packet::{Link, WireSize, tcp_ends, tcp_size};

use super::maps::{blocked_connections, dropped};
use super::reader::{Context, Whole};
use super::skb::Skb;

/// Drops a packet of a blocked connection, whichever way it goes, and hands on every other.
#[inline(always)]
pub(super) fn block(skb: Skb, link: Link) -> i32 {
    match tcp_ends(&Whole(skb), link) {
        Some(ends) if is_blocked(&ends.sent()) || is_blocked(&ends.received()) => {
            note_dropped(tcp_size(&Whole(skb), link));
            TC_ACT_SHOT as i32
        }
        _ => Skb::HAND_ON,
    }
}

/// Plain additions: this CPU's own element, and both hooks run with bottom halves disabled.
#[inline(always)]
fn note_dropped(size: WireSize) {
    let Some(counters) = dropped.get_ptr_mut(DropReason::CutOff as u32) else {
        return;
    };
    // SAFETY: the map's elements live as long as the program, and this is this CPU's own.
    unsafe {
        (*counters).packets += size.packets;
        (*counters).bytes += size.bytes;
    }
}

#[inline(always)]
fn is_blocked(connection: &BlockedConnection) -> bool {
    blocked_connections.get_ptr(connection).is_some()
}
