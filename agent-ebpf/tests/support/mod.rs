//! What the tests of the parser and of the kernel programs share, so that both answer for the same packets.
#![allow(dead_code, unreachable_pub, reason = "each test target uses its own part")]

pub mod bench;
pub mod corpus;
pub mod drawn_frames;
pub mod frame;
pub mod fuzz_input;
pub mod invariants;
pub mod odd_packets;
pub mod programs;
pub mod random;
pub mod recipe;
pub mod rooted;
pub mod second_opinion;
pub mod tap;
pub mod world;
