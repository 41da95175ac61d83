//! Programs and links: what runs on an interface, in which order, and which of it is this instance's.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::PathBuf;

use aya::EbpfLoader;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{Program, ProgramInfo, loaded_programs};
use nix::libc;
use portmeter_ebpf::layout::PORT_COUNTERS;

use super::verdict::{self, Endings};
use crate::kernel::pins::{Direction, LinkKind, Pins};
use crate::kernel::{KernelError, OBJECT, bpf, clsact};

/// `enum bpf_cmd`, `enum bpf_prog_type` and `enum bpf_attach_type` (`linux/bpf.h`).
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_PROG_QUERY: libc::c_long = 16;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;

/// Most programs of a chain that are told apart: the kernel's own limit (`BPF_MPROG_MAX`).
const MOST_PROGRAMS: usize = 64;

/// `struct` of `union bpf_attr` for `BPF_PROG_QUERY`.
#[repr(C)]
#[derive(Default)]
struct ProgramQuery {
    target_interface_index: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    program_ids: u64,
    count: u32,
    padding: u32,
    program_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// `struct` of `union bpf_attr` for `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct InfoQuery {
    fd: u32,
    length: u32,
    info: u64,
}

/// The beginning of `struct bpf_prog_info`; the kernel fills as much as it is given.
#[repr(C)]
#[derive(Default)]
struct InstructionsInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jitted_length: u32,
    translated_length: u32,
    jitted: u64,
    translated: u64,
}

/// What the kernel tells of a loaded program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramFacts {
    /// Its name, at most 15 characters.
    pub name: String,
    /// The digest of its instructions.
    pub tag: u64,
    /// How it can end; `None` for one that is no TC program, or whose instructions are not shown.
    pub endings: Option<Endings>,
}

/// The TCX programs of an interface, by id, in the order they run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// At ingress.
    pub ingress: Vec<u32>,
    /// At egress.
    pub egress: Vec<u32>,
}

/// One pinned link of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The pin.
    pub path: PathBuf,
    /// The interface's index, as the pin's name has it.
    pub interface_index: u32,
    /// Ingress, at TC or before it at XDP, or egress.
    pub is_ingress: bool,
    /// The program that the link runs, or why that cannot be told.
    pub program_id: Result<u32, String>,
}

/// The pinned links of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PinnedLinks {
    /// Those of interfaces.
    pub interfaces: Vec<Attachment>,
    /// The program of the link that counts connections; `None` when none is pinned.
    pub connections: Option<Result<u32, String>>,
}

impl Chain {
    /// The chains of the interface with this index in this network namespace. Fails where the kernel has no TCX.
    pub fn of(interface_index: u32) -> io::Result<Self> {
        Ok(Self {
            ingress: query(interface_index, BPF_TCX_INGRESS)?,
            egress: query(interface_index, BPF_TCX_EGRESS)?,
        })
    }
}

/// The pinned links of `instance`.
pub fn inspect_links(instance: &str) -> PinnedLinks {
    let pins = Pins::of(instance);
    let connections = pins.connections_link();
    let interfaces = pins.links().into_iter().map(|pin| Attachment {
        interface_index: pin.index,
        is_ingress: matches!(pin.kind, LinkKind::Tc(Direction::Rx) | LinkKind::Xdp),
        program_id: program_of(&pin.path),
        path: pin.path,
    });
    PinnedLinks {
        interfaces: interfaces.collect(),
        connections: connections.exists().then(|| program_of(&connections)),
    }
}

fn program_of(path: &std::path::Path) -> Result<u32, String> {
    let link = PinnedLink::from_pin(path).map_err(|error| error.to_string())?;
    let info = FdLink::from(link).info().map_err(|error| error.to_string())?;
    Ok(info.program_id())
}

/// The handle by which this instance's filters are known on a clsact qdisc.
pub fn filter_handle(instance: &str) -> u32 {
    clsact::Identity::of(&Pins::of(instance)).number()
}

/// Every loaded program by its id. Needs CAP_SYS_ADMIN; without it the names of programs stay unknown.
pub fn loaded() -> BTreeMap<u32, ProgramFacts> {
    let facts = |program: aya::programs::ProgramInfo| {
        let name = String::from_utf8_lossy(program.name()).into_owned();
        let endings = instructions(&program).map(|code| verdict::endings(&code));
        let tag = program.tag();
        (program.id(), ProgramFacts { name, tag, endings })
    };
    // A program may go while the list is walked; the others are still worth knowing.
    loaded_programs().filter_map(Result::ok).map(facts).collect()
}

/// The tags of this build's programs at TC and XDP, by name. The kernel makes them, in a way that differs between versions, so
/// the programs are loaded for a moment: with maps of their own, attached to nothing.
pub fn build_tags() -> Result<BTreeMap<String, u64>, KernelError> {
    let mut ebpf = EbpfLoader::new()
        .map_max_entries(PORT_COUNTERS, 1)
        .load(OBJECT)
        .map_err(|error| KernelError::load(&error))?;
    let mut tags = BTreeMap::new();
    for (name, program) in ebpf.programs_mut() {
        let info = match program {
            Program::SchedClassifier(program) => program.load().and_then(|()| program.info()),
            // It is used where it is asked for, and kernels before 5.18 do not take it.
            Program::Xdp(program) => match program.load() {
                Ok(()) => program.info(),
                Err(_) => continue,
            },
            _ => continue,
        };
        let info = info.map_err(|error| KernelError::load(&error))?;
        tags.insert(name.to_owned(), info.tag());
    }
    Ok(tags)
}

/// A TC program's instructions as the verifier left them. `None` when the kernel does not show them here.
fn instructions(program: &ProgramInfo) -> Option<Vec<[u8; 8]>> {
    let fd = program.fd().ok()?;
    let mut info = InstructionsInfo::default();
    read_info(fd.as_fd(), &mut info).ok()?;
    if info.kind != BPF_PROG_TYPE_SCHED_CLS {
        return None;
    }
    let mut code = vec![[0_u8; 8]; (info.translated_length / 8) as usize];
    let translated = code.as_mut_ptr() as u64;
    info = InstructionsInfo {
        translated_length: info.translated_length,
        translated,
        ..InstructionsInfo::default()
    };
    read_info(fd.as_fd(), &mut info).ok()?;
    // Where the kernel hides instructions it clears the pointer or gives none.
    (info.translated == translated && !code.is_empty()).then_some(code)
}

fn read_info(fd: BorrowedFd<'_>, info: &mut InstructionsInfo) -> io::Result<()> {
    let mut attributes = InfoQuery {
        fd: fd.as_raw_fd().cast_unsigned(),
        length: size_of::<InstructionsInfo>() as u32,
        info: std::ptr::from_mut(info) as u64,
    };
    // The kernel fills at most `length` bytes of the information, and of the instructions as many bytes as
    // `translated_length` says there is room for.
    bpf::call(BPF_OBJ_GET_INFO_BY_FD, &mut attributes).map(drop)
}

fn query(interface_index: u32, attach_type: u32) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; MOST_PROGRAMS];
    let mut attributes = ProgramQuery {
        target_interface_index: interface_index,
        attach_type,
        program_ids: ids.as_mut_ptr() as u64,
        count: MOST_PROGRAMS as u32,
        ..ProgramQuery::default()
    };
    // The kernel writes at most `count` ids into the list.
    bpf::call(BPF_PROG_QUERY, &mut attributes)?;
    Ok(ids[..(attributes.count as usize).min(MOST_PROGRAMS)].to_vec())
}
