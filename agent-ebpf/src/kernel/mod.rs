//! Everything that exists only in the kernel.
#![allow(
    unsafe_code,
    reason = "the kernel's context, its packets and its maps are reached through raw pointers"
)]

mod count;
mod maps;
mod skb;

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use portmeter_ebpf::packet::{Direction, Link};

use count::{Hook, count};

/// What the kernel shows as this object's licence; a "GPL-compatible" one is needed for some helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Ingress of devices with an Ethernet header.
#[classifier]
fn portmeter_rx(context: TcContext) -> i32 {
    count::<ReceiveEthernet>(context.skb.skb)
}

/// Egress of devices with an Ethernet header.
#[classifier]
fn portmeter_tx(context: TcContext) -> i32 {
    count::<TransmitEthernet>(context.skb.skb)
}

/// Ingress of devices without a link header.
#[classifier]
fn portmeter_rx_ip(context: TcContext) -> i32 {
    count::<ReceiveIp>(context.skb.skb)
}

/// Egress of devices without a link header.
#[classifier]
fn portmeter_tx_ip(context: TcContext) -> i32 {
    count::<TransmitIp>(context.skb.skb)
}

struct ReceiveEthernet;
struct TransmitEthernet;
struct ReceiveIp;
struct TransmitIp;

impl Hook for ReceiveEthernet {
    const DIRECTION: Direction = Direction::Receive;
    const LINK: Link = Link::Ethernet;
}

impl Hook for TransmitEthernet {
    const DIRECTION: Direction = Direction::Transmit;
    const LINK: Link = Link::Ethernet;
}

impl Hook for ReceiveIp {
    const DIRECTION: Direction = Direction::Receive;
    const LINK: Link = Link::None;
}

impl Hook for TransmitIp {
    const DIRECTION: Direction = Direction::Transmit;
    const LINK: Link = Link::None;
}

/// The verifier proves that no program can panic; the compiler asks for a handler all the same.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
