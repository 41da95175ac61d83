//! The BPF filters on an interface's clsact qdisc: at which priority, and by what handle they are known.
//!
//! One dump instead of a try at every priority: each try takes the lock that every change of the host's network takes
//! (RTNL), and on a busy host it has to wait for each.

use std::io;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// Where on the qdisc (`TC_H_CLSACT` with the hook as its minor number, `linux/pkt_sched.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum FilterHook {
    /// What comes in.
    Ingress = 0xffff_fff2,
    /// What goes out.
    Egress = 0xffff_fff3,
}

/// One BPF filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BpfFilter {
    /// Its priority: the lowest number runs first.
    pub priority: u16,
    /// Its handle, which whoever attached it has chosen.
    pub handle: u32,
}

const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const TCA_KIND: u16 = 1;
const MESSAGE_HEADER_BYTES: usize = 16;
/// `struct tcmsg`.
const TRAFFIC_HEADER_BYTES: usize = 20;

/// Room for one answer of the kernel: it fills at most 32 kB a datagram (`netlink_dump`).
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;

/// The BPF filters at one hook of the interface with this index; none where it has no such qdisc.
pub fn bpf_filters(interface_index: u32, hook: FilterHook) -> io::Result<Vec<BpfFilter>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&request(interface_index, hook), 0)?;
    let mut found = Vec::new();
    let mut buffer = Vec::with_capacity(RECEIVE_BUFFER_BYTES);
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0)?;
        if read_messages(&buffer, &mut found)? {
            return Ok(found);
        }
    }
}

fn request(interface_index: u32, hook: FilterHook) -> Vec<u8> {
    let length = MESSAGE_HEADER_BYTES + TRAFFIC_HEADER_BYTES;
    let mut bytes = Vec::with_capacity(length);
    bytes.extend((length as u32).to_ne_bytes());
    bytes.extend(RTM_GETTFILTER.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    // Sequence, port, family with its padding, interface, handle, parent, priority with protocol.
    for word in [0, 0, 0, interface_index, 0, hook as u32, 0] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes
}

/// Reads one datagram of answers; tells whether it was the last. Only what is needed is looked at: other people's
/// filters of every kind are in there too.
fn read_messages(mut bytes: &[u8], found: &mut Vec<BpfFilter>) -> io::Result<bool> {
    while let Some(length) = word(bytes, 0) {
        let message = bytes
            .get(..length as usize)
            .filter(|message| message.len() >= MESSAGE_HEADER_BYTES)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a netlink message is cut short"))?;
        match half_word(message, 4) {
            Some(NLMSG_DONE) => return Ok(true),
            Some(NLMSG_ERROR) => {
                let code = word(message, MESSAGE_HEADER_BYTES).unwrap_or_default().cast_signed();
                return Err(io::Error::from_raw_os_error(-code));
            }
            Some(RTM_NEWTFILTER) => found.extend(bpf_filter(&message[MESSAGE_HEADER_BYTES..])),
            _ => {}
        }
        // Messages are aligned to four bytes (`NLMSG_ALIGN`).
        bytes = bytes.get((length as usize).next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// The filter that a message is about, if it is one with a handle of BPF's: each priority is also told on its own.
fn bpf_filter(message: &[u8]) -> Option<BpfFilter> {
    let handle = word(message, 8)?;
    let priority_and_protocol = word(message, 16)?;
    (handle != 0 && kind(message.get(TRAFFIC_HEADER_BYTES..)?) == Some(b"bpf\0")).then_some(BpfFilter {
        priority: (priority_and_protocol >> 16) as u16,
        handle,
    })
}

fn kind(mut attributes: &[u8]) -> Option<&[u8]> {
    loop {
        let (length, name) = (usize::from(half_word(attributes, 0)?), half_word(attributes, 2)?);
        let value = attributes.get(4..length)?;
        if name == TCA_KIND {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn half_word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer about a filter, as the kernel writes it.
    fn answer(kind: &[u8], handle: u32, priority: u16) -> Vec<u8> {
        let mut body = Vec::new();
        for word in [0, 7, handle, 0xffff_fff2, u32::from(priority) << 16 | 0x0300] {
            body.extend(word.to_ne_bytes());
        }
        body.extend((4 + kind.len() as u16).to_ne_bytes());
        body.extend(TCA_KIND.to_ne_bytes());
        body.extend(kind);
        body.resize(body.len().next_multiple_of(4), 0);
        message(RTM_NEWTFILTER, &body)
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((MESSAGE_HEADER_BYTES as u32 + body.len() as u32).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn bpf_filters_are_told_from_others() {
        let datagram = [
            answer(b"u32\0", 0x8000_0800, 3),
            answer(b"bpf\0", 0, 1),
            answer(b"bpf\0", 0xabcd_ef01, 1),
            answer(b"flower\0", 5, 2),
            answer(b"bpf\0", 9, u16::MAX),
        ]
        .concat();
        let mut found = Vec::new();
        assert!(!read_messages(&datagram, &mut found).unwrap());
        let expected = [(1, 0xabcd_ef01), (u16::MAX, 9)].map(|(priority, handle)| BpfFilter { priority, handle });
        assert_eq!(found, expected);
    }

    #[test]
    fn the_end_and_an_error_are_told() {
        let end = message(NLMSG_DONE, &[0; 4]);
        assert!(read_messages(&end, &mut Vec::new()).unwrap());
        let refused = message(NLMSG_ERROR, &(-1_i32).to_ne_bytes());
        let error = read_messages(&refused, &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        let mut bytes = answer(b"bpf\0", 1, 1);
        bytes.truncate(bytes.len() - 4);
        assert!(read_messages(&bytes, &mut Vec::new()).is_err());
        assert!(read_messages(&[4, 0, 0, 0, 0, 0], &mut Vec::new()).is_err());
    }

    #[test]
    fn loopback_answers() {
        // Whatever hangs there, the dump comes to its end.
        bpf_filters(1, FilterHook::Ingress).unwrap();
    }
}
