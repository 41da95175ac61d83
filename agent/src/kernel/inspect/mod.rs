//! What the kernel holds of one instance, read for `portmeter doctor` without changing, locking or pinning anything.
//!
//! Only facts come out of here; what they mean is decided in the doctor's room. Whatever cannot be read is a sentence
//! in place of the fact, so that one missing right does not hide everything else.

mod clock;
mod environment;
mod maps;
mod programs;
mod verdict;

pub use clock::is_clock_synchronised;
pub use environment::{BpfFs, Features, bpffs, features};
pub use maps::{Life, MapFacts, PinnedMaps, inspect_maps};
pub use programs::{Attachment, Chain, PinnedLinks, ProgramFacts, build_tags, filter_handle, inspect_links, loaded};
pub use verdict::Endings;
