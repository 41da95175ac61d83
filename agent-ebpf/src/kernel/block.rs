//! Blocks connections of keys that are cut off, where the kernel cannot end them.
//!
//! The only programs that drop packets. They are attached while there is something to block and not otherwise, and those
//! that count know nothing of them.

use aya_ebpf::bindings::TC_ACT_SHOT;
use portmeter_ebpf::layout::BlockedConnection;
use portmeter_ebpf::packet::{Link, tcp_ends};

use super::maps::blocked_connections;
use super::reader::{Context, Whole};
use super::skb::Skb;

/// Drops a packet of a blocked connection, whichever way it goes, and hands on every other.
#[inline(always)]
pub(super) fn block(skb: Skb, link: Link) -> i32 {
    match tcp_ends(&Whole(skb), link) {
        Some(ends) if is_blocked(&ends.sent()) || is_blocked(&ends.received()) => TC_ACT_SHOT as i32,
        _ => Skb::HAND_ON,
    }
}

#[inline(always)]
fn is_blocked(connection: &BlockedConnection) -> bool {
    blocked_connections.get_ptr(connection).is_some()
}
