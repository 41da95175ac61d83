//! What the tests of the parser and of the kernel programs share, so that both answer for the same packets.
#![allow(dead_code, unreachable_pub, reason = "each test target uses its own part")]

pub mod odd_packets;
pub mod programs;
pub mod recipe;
pub mod tap;
pub mod world;
