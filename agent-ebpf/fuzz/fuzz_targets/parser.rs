//! The packet parser over sequences of any bytes. What is checked is in the tests' `invariants`, so that an ordinary
//! test can replay the corpus.

#![no_main]
#![allow(dead_code, unreachable_pub, reason = "the tests use the rest")]

#[path = "../../tests/support/frame.rs"]
mod frame;
#[path = "../../tests/support/fuzz_input.rs"]
mod fuzz_input;
#[path = "../../tests/support/invariants.rs"]
mod invariants;
#[path = "../../tests/support/second_opinion.rs"]
mod second_opinion;
#[path = "../../tests/support/world.rs"]
mod world;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let world = world::World::default();
    for packet in fuzz_input::decode(input) {
        if let Err(broken) = invariants::check_next(&world, &packet) {
            panic!("{broken}: {packet:02x?}");
        }
    }
});
