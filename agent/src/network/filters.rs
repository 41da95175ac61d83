//! What others may have put on an interface: filters on its clsact qdisc, an XDP program.

use std::io;

use futures_util::TryStreamExt;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};
use netlink_packet_route::tc::{TcAttribute, TcFilterBpfOption, TcMessage, TcOption};
use rtnetlink::Handle;

/// One filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Lower ones run first.
    pub priority: u16,
    /// What tells it from others of its priority.
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

/// What hangs on the interfaces with these indexes, in their order.
pub async fn read(interfaces: &[u32]) -> io::Result<Vec<Filters>> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let mut found = Vec::with_capacity(interfaces.len());
    for index in interfaces {
        found.push(Filters {
            xdp_program_id: xdp_program(&handle, *index).await?,
            ingress: dump(&handle, *index, true).await?,
            egress: dump(&handle, *index, false).await?,
        });
    }
    connection.abort();
    Ok(found)
}

async fn xdp_program(handle: &Handle, index: u32) -> io::Result<Option<u32>> {
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

async fn dump(handle: &Handle, index: u32, is_ingress: bool) -> io::Result<Vec<Filter>> {
    let index = i32::try_from(index).map_err(io::Error::other)?;
    let request = handle.traffic_filter(index).get();
    let request = if is_ingress {
        request.ingress()
    } else {
        request.egress()
    };
    let messages: Vec<TcMessage> = request.execute().try_collect().await.map_err(io::Error::other)?;
    let mut filters: Vec<Filter> = messages.iter().filter_map(filter).collect();
    filters.sort_by_key(|filter| filter.priority);
    // A filter of kind `u32` is told in several parts: the hash table and what hangs on it.
    filters.dedup_by(|one, other| one.priority == other.priority && one.kind == other.kind && one.kind != "bpf");
    Ok(filters)
}

/// The priority is the upper half of `tcm_info` (`TC_H_MAJ`). A message without a handle only heads a priority.
fn filter(message: &TcMessage) -> Option<Filter> {
    let mut filter = Filter {
        priority: (message.header.info >> 16) as u16,
        handle: message.header.handle.into(),
        kind: String::new(),
        program_id: None,
    };
    for attribute in &message.attributes {
        match attribute {
            TcAttribute::Kind(kind) => filter.kind.clone_from(kind),
            TcAttribute::Options(options) => {
                filter.program_id = options.iter().find_map(|option| match option {
                    TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => Some(*id),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    (filter.handle != 0).then_some(filter)
}
