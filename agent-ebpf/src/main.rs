//! The kernel programs: TC classifiers and an XDP program that count packets and always hand them on, programs that
//! count connections at their sockets, and a TC classifier that blocks connections of keys that are cut off.
//!
//! Everything that decides lives in the library; here are only the maps, the ways to read a packet, and what is
//! written. Built by `cargo xtask ebpf`, never by an ordinary build.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
// For the one atomic addition, see `kernel::connections`.
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod kernel;

/// Lets tools that build everything for the host pass over this target.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
