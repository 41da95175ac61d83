//! What hangs on an interface beside TCX programs: filters on its clsact qdisc, an XDP program.
//!
//! Filters are found by one dump instead of a try at every priority: each try takes the lock that every change of the
//! host's network takes (RTNL), and on a busy host it has to wait for each.

use std::io;

use futures_util::TryStreamExt;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST};
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};
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

/// One filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The lowest number runs first.
    pub priority: u16,
    /// What tells it from others of its priority; whoever attached it has chosen it.
    pub handle: u32,
    /// The classifier's kind, for example `bpf` or `u32`.
    pub kind: String,
    /// The program of a `bpf` filter.
    pub program_id: Option<u32>,
}

/// What hangs on one interface; filters in the order they run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    /// The XDP program, which runs ahead of everything at ingress.
    pub xdp_program_id: Option<u32>,
    /// At ingress.
    pub ingress: Vec<Filter>,
    /// At egress.
    pub egress: Vec<Filter>,
}

const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
/// Within the options of a filter of kind `bpf` (`linux/pkt_cls.h`).
const TCA_BPF_ID: u16 = 11;
const MESSAGE_HEADER_BYTES: usize = 16;
/// `struct tcmsg`.
const TRAFFIC_HEADER_BYTES: usize = 20;

/// Room for one answer of the kernel: it fills at most 32 kB a datagram (`netlink_dump`).
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;

/// What hangs on the interfaces with these indexes, in their order.
pub async fn read(interfaces: &[u32]) -> io::Result<Vec<Filters>> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let mut found = Vec::with_capacity(interfaces.len());
    for &index in interfaces {
        found.push(Filters {
            xdp_program_id: xdp_program(&handle, index).await?,
            ingress: filters(index, FilterHook::Ingress)?,
            egress: filters(index, FilterHook::Egress)?,
        });
    }
    connection.abort();
    Ok(found)
}

async fn xdp_program(handle: &rtnetlink::Handle, index: u32) -> io::Result<Option<u32>> {
    let request = handle.link().get().match_index(index).execute();
    let links: Vec<LinkMessage> = request.try_collect().await.map_err(io::Error::other)?;
    let mut attributes = links.into_iter().flat_map(|link| link.attributes);
    Ok(attributes.find_map(|attribute| match attribute {
        LinkAttribute::Xdp(facts) => facts.into_iter().find_map(|fact| match fact {
            LinkXdp::ProgId(id) if id != 0 => Some(id),
            _ => None,
        }),
        _ => None,
    }))
}

/// The filters at one hook of the interface with this index, in the order they run; none where it has no such qdisc.
pub fn filters(interface_index: u32, hook: FilterHook) -> io::Result<Vec<Filter>> {
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
            break;
        }
    }
    found.sort_by_key(|filter| filter.priority);
    // A filter of kind `u32` is told in several parts: the hash table and what hangs on it.
    found.dedup_by(|one, other| one.priority == other.priority && one.kind == other.kind && one.kind != "bpf");
    Ok(found)
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
fn read_messages(mut bytes: &[u8], found: &mut Vec<Filter>) -> io::Result<bool> {
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
            Some(RTM_NEWTFILTER) => found.extend(filter(&message[MESSAGE_HEADER_BYTES..])),
            _ => {}
        }
        // Messages are aligned to four bytes (`NLMSG_ALIGN`).
        bytes = bytes.get((length as usize).next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// The filter that a message is about, if it is one with a handle: each priority is also told on its own.
fn filter(message: &[u8]) -> Option<Filter> {
    let handle = word(message, 8)?;
    let priority_and_protocol = word(message, 16)?;
    let attributes = message.get(TRAFFIC_HEADER_BYTES..)?;
    let kind = attribute(attributes, TCA_KIND)?;
    let kind = String::from_utf8_lossy(kind.strip_suffix(b"\0").unwrap_or(kind));
    let program = attribute(attributes, TCA_OPTIONS).and_then(|options| attribute(options, TCA_BPF_ID));
    (handle != 0).then(|| Filter {
        priority: (priority_and_protocol >> 16) as u16,
        handle,
        program_id: program.filter(|_| kind == "bpf").and_then(|id| word(id, 0)),
        kind: kind.into_owned(),
    })
}

/// The value of the attribute with this name. The upper two bits of a name are flags (`linux/netlink.h`).
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (length, name) = (usize::from(half_word(attributes, 0)?), half_word(attributes, 2)?);
        let value = attributes.get(4..length)?;
        if name & 0x3fff == wanted {
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
    fn filters_are_told_with_their_kinds() {
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
        let found: Vec<_> = found
            .iter()
            .map(|filter| (filter.priority, filter.handle, filter.kind.as_str()))
            .collect();
        let expected = [
            (3, 0x8000_0800, "u32"),
            (1, 0xabcd_ef01, "bpf"),
            (2, 5, "flower"),
            (u16::MAX, 9, "bpf"),
        ];
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
        filters(1, FilterHook::Ingress).unwrap();
    }
}
