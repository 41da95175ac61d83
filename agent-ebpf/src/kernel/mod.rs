//! Everything that exists only in the kernel: programs at TC, at XDP and at TCP sockets.
#![allow(
    unsafe_code,
    reason = "the kernel's context, its packets and its maps are reached through raw pointers"
)]

mod block;
mod connections;
mod count;
mod log;
mod maps;
mod reader;
mod skb;
mod xdp;

use aya_ebpf::macros::{classifier, sock_ops, xdp as xdp_program};
use aya_ebpf::programs::{SockOpsContext, TcContext, XdpContext};
use portmeter_ebpf::packet::{Direction, Link};

use block::block;
use connections::TcpIterator;
use count::{Hook, count};
use reader::Context;
use skb::Skb;
use xdp::Xdp;

/// What the kernel shows as this object's licence; a "GPL-compatible" one is needed for some helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Ingress of devices with an Ethernet header.
#[classifier]
fn portmeter_rx(context: TcContext) -> i32 {
    count::<ReceiveEthernet>(Skb(context.skb.skb))
}

/// Egress of devices with an Ethernet header.
#[classifier]
fn portmeter_tx(context: TcContext) -> i32 {
    count::<TransmitEthernet>(Skb(context.skb.skb))
}

/// Ingress of devices without a link header.
#[classifier]
fn portmeter_rx_ip(context: TcContext) -> i32 {
    count::<ReceiveIp>(Skb(context.skb.skb))
}

/// Egress of devices without a link header.
#[classifier]
fn portmeter_tx_ip(context: TcContext) -> i32 {
    count::<TransmitIp>(Skb(context.skb.skb))
}

/// Both ways of devices with an Ethernet header, while connections are blocked.
#[classifier]
fn portmeter_block(context: TcContext) -> i32 {
    block(Skb(context.skb.skb), Link::Ethernet)
}

/// The same for devices without a link header.
#[classifier]
fn portmeter_blkip(context: TcContext) -> i32 {
    block(Skb(context.skb.skb), Link::None)
}

/// Ingress of devices with an Ethernet header, in their drivers.
#[xdp_program(frags)]
fn portmeter_xdp(context: XdpContext) -> u32 {
    count::<ReceiveXdp>(Xdp(context.ctx)) as u32
}

/// Does nothing: holds a place in a driver until [`portmeter_xdp`] takes it.
#[xdp_program(frags)]
fn portmeter_hold(_: XdpContext) -> u32 {
    Xdp::HAND_ON as u32
}

/// Events of TCP sockets, of every network namespace. What it gives back is nobody's answer: it leaves the reply that
/// other programs may have written as it is.
#[sock_ops]
fn portmeter_conn(context: SockOpsContext) -> u32 {
    connections::event(context.ops);
    1
}

/// Every TCP socket of the reader's network namespace, once.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tcp")]
extern "C" fn portmeter_adopt(iterator: *mut TcpIterator) -> i32 {
    connections::adopt(iterator);
    0
}

struct ReceiveEthernet;
struct TransmitEthernet;
struct ReceiveIp;
struct TransmitIp;
struct ReceiveXdp;

impl Hook for ReceiveEthernet {
    const DIRECTION: Direction = Direction::Receive;
    const LINK: Link = Link::Ethernet;
    type Context = Skb;
}

impl Hook for TransmitEthernet {
    const DIRECTION: Direction = Direction::Transmit;
    const LINK: Link = Link::Ethernet;
    type Context = Skb;
}

impl Hook for ReceiveIp {
    const DIRECTION: Direction = Direction::Receive;
    const LINK: Link = Link::None;
    type Context = Skb;
}

impl Hook for TransmitIp {
    const DIRECTION: Direction = Direction::Transmit;
    const LINK: Link = Link::None;
    type Context = Skb;
}

impl Hook for ReceiveXdp {
    const DIRECTION: Direction = Direction::Receive;
    const LINK: Link = Link::Ethernet;
    type Context = Xdp;
}

/// The verifier proves that no program can panic; the compiler asks for a handler all the same.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
