//! The pinned counters of an agent that does not run: they may go on counting, and whoever changes its ledger books them
//! first.

use std::sync::Arc;

use super::pins::Place;
use super::takeover::Found;
use super::{KernelCounters, KernelError, Pins, Predecessor, life};

/// Every set of counters that `instance` has pinned, the older ones first: more than one where a move between maps was cut
/// short. Nothing is changed.
pub fn pinned_counters(instance: &str) -> Result<Vec<Predecessor>, KernelError> {
    found(&Pins::of(instance))
}

pub(super) fn found(pins: &Pins) -> Result<Vec<Predecessor>, KernelError> {
    let mut counters = Vec::new();
    for place in [Place::Maps, Place::Successors] {
        if let Found::Maps(life) = life::find(pins, place)? {
            counters.push(Predecessor {
                counters: Arc::new(KernelCounters::from_pins(pins, place)?),
                origin: life::origin(&life),
            });
        }
    }
    Ok(counters)
}
