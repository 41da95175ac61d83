//! The kernel programs: four TC classifiers that count and always hand the packet on.
//!
//! Everything that decides lives in the library; here are only the maps, the ways to read a packet, and what is
//! written. Built by `cargo xtask ebpf`, never by an ordinary build.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod kernel;

/// Lets tools that build everything for the host pass over this target.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
