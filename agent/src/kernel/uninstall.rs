//! Taking everything out of the kernel again.

use super::link::detach_and_unpin;
use super::pins::Place;
use super::{KernelError, Pins, Predecessor, clsact, pinned};

/// What an instance leaves when its programs are detached: counters that have come to rest, still pinned.
pub struct Leftover {
    pins: Pins,
    /// The counters, the older ones first: more than one set where a move between maps was cut short.
    pub counters: Vec<Predecessor>,
}

impl Leftover {
    /// Removes the pins, and with them the counts.
    pub fn remove(self) {
        self.pins.remove_maps(Place::Maps);
        self.pins.remove_maps(Place::Successors);
        self.pins.remove_folder();
    }
}

/// Detaches every program of `instance`; `interfaces` are the names of this namespace's interfaces. The maps stay
/// until [`Leftover::remove`], so that what they hold can be booked.
pub fn uninstall(instance: &str, interfaces: &[String]) -> Result<Leftover, KernelError> {
    let pins = Pins::of(instance);
    for pin in pins.links() {
        detach_and_unpin(&pin.path);
    }
    detach_and_unpin(&pins.connections_link());
    clsact::detach_all(&pins, interfaces);
    let counters = pinned::found(&pins)?;
    Ok(Leftover { pins, counters })
}
