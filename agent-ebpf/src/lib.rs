//! What the kernel programs and the agent share: the layout of the maps and the packet parser.
//!
//! `no_std`, no dependencies on the host, so that ordinary tests and fuzzing reach the very code that runs in the
//! kernel.

#![cfg_attr(not(test), no_std)]

pub mod layout;
pub mod packet;
