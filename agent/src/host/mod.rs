//! The machine around the agent, as far as the panel shows it: processors, memory, disk, and the panel's front end.
//!
//! The only room that names sysinfo.

mod front_end;
mod processors;
mod resources;

pub use front_end::{Answer, FrontEndUrl, InvalidFrontEndUrl};
pub use processors::Processors;
pub use resources::{Disk, Memory, disk, memory};
