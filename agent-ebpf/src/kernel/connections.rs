//! Incoming TCP connections, counted at the sockets: opened, adopted, closed.
//!
//! Packets cannot tell: a handshake may be repeated, refused, or completed by a cookie. The socket's own events can.
//! A connection that is counted as open carries a mark in its socket, so that closing it is counted once and for the
//! port it was opened on; without the marks, a socket that is disconnected and used again as a client's would be
//! counted as closed twice.
//!
//! These programs run where a soft interrupt may come between, hence the atomic additions.

use core::arch::asm;
use core::ptr;

use aya_ebpf::bindings::{
    BPF_SK_STORAGE_GET_F_CREATE, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB,
    BPF_SOCK_OPS_STATE_CB_FLAG, bpf_sock_ops,
};
use aya_ebpf::cty::c_void;
use aya_ebpf::helpers::generated::{
    bpf_get_netns_cookie, bpf_getsockopt, bpf_setsockopt, bpf_sk_storage_delete, bpf_sk_storage_get,
    bpf_sock_ops_cb_flags_set,
};
use portmeter_ebpf::layout::ConnectionMark;
use portmeter_ebpf::packet::Lookups;

use super::log;
use super::maps::{
    CONNECTION_GENERATION, Maps, NETNS_COOKIE, adoption, connection_marks, counters_of, listening_ports,
};

// Socket states (include/net/tcp_states.h).
const TCP_ESTABLISHED: u8 = 1;
const TCP_FIN_WAIT1: u8 = 4;
const TCP_FIN_WAIT2: u8 = 5;
const TCP_CLOSE: u32 = 7;
const TCP_CLOSE_WAIT: u8 = 8;
const TCP_LAST_ACK: u8 = 9;
const TCP_LISTEN: u8 = 10;
const TCP_CLOSING: u8 = 11;

/// The level of TCP's socket options.
const SOL_TCP: i32 = 6;
/// `TCP_BPF_SOCK_OPS_CB_FLAGS` (include/uapi/linux/bpf.h), about Linux 6.12: which events of its own a socket reports.
const TCP_BPF_SOCK_OPS_CB_FLAGS: i32 = 1_008;

/// An event of a socket.
#[inline(always)]
pub(super) fn event(event: *mut bpf_sock_ops) {
    // SAFETY: the kernel hands a valid context to every program.
    match unsafe { ptr::read_volatile(&raw const (*event).op) } {
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => opened(event),
        BPF_SOCK_OPS_STATE_CB => state_changed(event),
        _ => {}
    }
}

/// A handshake with a client is complete.
#[inline(always)]
fn opened(event: *mut bpf_sock_ops) {
    // SAFETY: the kernel hands a valid context to every program.
    let (cookie, port, flags) = unsafe {
        (
            bpf_get_netns_cookie(event.cast()),
            ptr::read_volatile(&raw const (*event).local_port) as u16,
            ptr::read_volatile(&raw const (*event).bpf_sock_ops_cb_flags),
        )
    };
    if cookie != NETNS_COOKIE.load() {
        return;
    }
    let Some(slot) = Maps::<false>.port_slot(port).checked_sub(1) else {
        return;
    };
    add(slot, port, Figure::Opened);
    let is_marked = mark(socket(event), slot);
    // SAFETY: as above. The flags that others have set stay.
    let reports = unsafe { bpf_sock_ops_cb_flags_set(event, (flags | BPF_SOCK_OPS_STATE_CB_FLAG) as i32) };
    if is_marked && reports == 0 {
        return;
    }
    // Its end will not be told: better missing among the open ones now than there for ever.
    log::mark_missing(port);
    if is_marked {
        close(socket(event), event);
    } else {
        add(slot, port, Figure::Closed);
    }
}

/// A socket that has asked for it changes its state.
#[inline(always)]
fn state_changed(event: *mut bpf_sock_ops) {
    // SAFETY: the kernel hands a valid context to every program; with this operation the second argument is the new
    // state (include/uapi/linux/bpf.h).
    let state = unsafe { ptr::read_volatile(&raw const (*event).__bindgen_anon_1.args[1]) };
    if state == TCP_CLOSE {
        close(socket(event), event);
    }
}

/// Counts a marked connection as closed and takes the mark off.
#[inline(always)]
fn close(socket: *mut c_void, event: *mut bpf_sock_ops) {
    let Some(mark) = find_mark(socket) else {
        return;
    };
    // SAFETY: the kernel hands a valid context to every program.
    let port = unsafe { ptr::read_volatile(&raw const (*event).local_port) as u16 };
    if mark.generation == CONNECTION_GENERATION.load() {
        add(mark.slot, port, Figure::Closed);
    }
    // SAFETY: both pointers come from the kernel, and the socket's was checked by finding the mark.
    unsafe { bpf_sk_storage_delete(marks(), socket) };
}

#[inline(always)]
fn socket(event: *mut bpf_sock_ops) -> *mut c_void {
    // SAFETY: the kernel hands a valid context to every program.
    unsafe { ptr::read_volatile(&raw const (*event).__bindgen_anon_2.sk) }.cast()
}

#[inline(always)]
fn marks() -> *mut c_void {
    (&raw const connection_marks).cast_mut().cast()
}

#[inline(always)]
fn find_mark(socket: *mut c_void) -> Option<ConnectionMark> {
    if socket.is_null() {
        return None;
    }
    // SAFETY: the helper takes a socket from the context and gives its value in the map or nothing.
    unsafe {
        let mark: *mut ConnectionMark = bpf_sk_storage_get(marks(), socket, ptr::null_mut(), 0).cast();
        mark.as_ref().copied()
    }
}

/// Marks a socket as one that is counted in `slot`.
#[inline(always)]
fn mark(socket: *mut c_void, slot: u32) -> bool {
    if socket.is_null() {
        return false;
    }
    let mut wanted = ConnectionMark {
        slot,
        generation: CONNECTION_GENERATION.load(),
    };
    // SAFETY: the helper takes a socket from the context and copies the value, which may be another one's on a socket
    // that was marked before: that one is replaced.
    unsafe {
        let made: *mut ConnectionMark = bpf_sk_storage_get(
            marks(),
            socket,
            (&raw mut wanted).cast(),
            BPF_SK_STORAGE_GET_F_CREATE.into(),
        )
        .cast();
        match made.as_mut() {
            Some(mark) => {
                *mark = wanted;
                true
            }
            None => false,
        }
    }
}

/// What happened to a connection.
#[derive(Clone, Copy)]
enum Figure {
    Opened,
    Adopted,
    Closed,
}

#[inline(always)]
fn add(slot: u32, port: u16, figure: Figure) {
    let Some(counters) = counters_of(slot) else {
        return log::slot_missing(port);
    };
    // SAFETY: the map's elements live as long as the program. The port's number is for people, and the same whoever
    // writes it.
    unsafe {
        add_one(match figure {
            Figure::Opened => &raw mut (*counters).connections_opened,
            Figure::Adopted => &raw mut (*counters).connections_adopted,
            Figure::Closed => &raw mut (*counters).connections_closed,
        });
        ptr::write_volatile(&raw mut (*counters).port, u64::from(port));
    }
}

/// One atomic addition. The compiler has no `fetch_add` for this target, because older kernels know no
/// compare-and-exchange; the addition alone is as old as BPF.
///
/// # Safety
///
/// `figure` is an aligned field of a living map element, which nobody writes otherwise.
#[inline(always)]
unsafe fn add_one(figure: *mut u64) {
    // SAFETY: the caller vouches for the pointer.
    unsafe {
        asm!("lock *(u64 *)({figure} + 0) += {one}", figure = in(reg) figure, one = in(reg) 1_u64, options(nostack));
    }
}

/// What the kernel hands to an iterator over TCP sockets (`struct bpf_iter__tcp`).
#[repr(C)]
pub(super) struct TcpIterator {
    meta: *const c_void,
    socket: *const SocketCommon,
    uid: u32,
}

/// The start of the kernel's `struct sock_common`. It has been the same since Linux 3.13; the verifier checks each
/// access against the running kernel's types.
#[repr(C)]
struct SocketCommon {
    addresses: [u32; 2],
    hash: u32,
    remote_port: u16,
    local_port: u16,
    family: u16,
    state: u8,
}

/// Takes over one socket that may be older than the programs. Listeners come first, so that what is incoming is known
/// by the time the connections come. The kernel holds the socket's lock meanwhile, and so its events back.
#[inline(always)]
pub(super) fn adopt(iterator: *mut TcpIterator) {
    // SAFETY: the kernel hands a valid context to every program.
    let socket = unsafe { ptr::read_volatile(&raw const (*iterator).socket) };
    if socket.is_null() {
        return;
    }
    // SAFETY: the kernel reads these fields for the program, whatever becomes of the socket.
    let (state, port) = unsafe {
        (
            ptr::read_volatile(&raw const (*socket).state),
            ptr::read_volatile(&raw const (*socket).local_port),
        )
    };
    match state {
        TCP_LISTEN => {
            let _ = listening_ports.insert(port, 1, 0);
        }
        TCP_ESTABLISHED | TCP_FIN_WAIT1 | TCP_FIN_WAIT2 | TCP_CLOSE_WAIT | TCP_LAST_ACK | TCP_CLOSING => {
            if listening_ports.get_ptr(port).is_some()
                && let Some(slot) = Maps::<false>.port_slot(port).checked_sub(1)
            {
                adopt_connection(socket.cast_mut().cast(), slot, port);
            }
        }
        _ => {}
    }
}

#[inline(always)]
fn adopt_connection(socket: *mut c_void, slot: u32, port: u16) {
    if find_mark(socket).is_some_and(|mark| mark.generation == CONNECTION_GENERATION.load()) {
        return;
    }
    let Some(outcome) = adoption.get_ptr_mut(0) else {
        return;
    };
    let is_adopted = ask_for_events(socket) && mark(socket, slot);
    if is_adopted {
        add(slot, port, Figure::Adopted);
    }
    // SAFETY: the map's elements live as long as the program, and one iterator runs at a time.
    unsafe {
        if is_adopted {
            (*outcome).adopted += 1;
        } else {
            (*outcome).failed += 1;
        }
    }
}

/// Has a socket report its changes of state, beside what it reports already.
#[inline(always)]
fn ask_for_events(socket: *mut c_void) -> bool {
    let mut flags: u32 = 0;
    let (level, option) = (SOL_TCP, TCP_BPF_SOCK_OPS_CB_FLAGS);
    // SAFETY: the helpers read and write the four bytes of `flags`.
    unsafe {
        if bpf_getsockopt(socket, level, option, (&raw mut flags).cast(), 4) != 0 {
            return false;
        }
        flags |= BPF_SOCK_OPS_STATE_CB_FLAG;
        bpf_setsockopt(socket, level, option, (&raw mut flags).cast(), 4) == 0
    }
}
