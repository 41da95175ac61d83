//! Taking everything out of the kernel again.

use super::link::detach_and_unpin;
use super::{KernelCounters, KernelError, Pins, clsact};

/// What an instance leaves when its programs are detached: counters that have come to rest, still pinned.
pub struct Leftover {
    pins: Pins,
    /// The counters; `None` when no maps were pinned.
    pub counters: Option<KernelCounters>,
}

impl Leftover {
    /// Where the maps come from, for the ledger.
    pub fn origin(&self) -> Result<crate::store::LifeOrigin, KernelError> {
        Ok(super::life::origin(&super::life::read(&self.pins)?))
    }

    /// Removes the pins, and with them the counts.
    pub fn remove(self) {
        self.pins.remove_maps();
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
    clsact::detach_all(&pins, interfaces);
    let counters = if pins.exist() {
        Some(KernelCounters::from_pins(&pins)?)
    } else {
        None
    };
    Ok(Leftover { pins, counters })
}
