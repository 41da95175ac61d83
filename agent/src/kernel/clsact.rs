//! Filters on the clsact qdisc, for kernels without TCX.
//!
//! A filter belongs to the qdisc, so it outlives the agent without a pin; it is found again by its handle, which is
//! made from the instance's name. The qdisc itself is left in place: other people's filters may hang on it.

use aya::programs::TcAttachType;
use aya::programs::tc::{NlOptions, SchedClassifier, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact};
use nix::net::if_::if_nametoindex;

use super::pins::Direction;
use super::{KernelError, Pins};
use crate::network::filters::{self, FilterHook};
use crate::network::plan::Target;

/// How many priorities are tried: one that a filter of another kind has cannot be shared.
const PRIORITIES_TRIED: u16 = 16;

/// What tells this instance's filters from all others.
pub(super) struct Identity {
    handle: TcHandle,
}

impl Identity {
    /// The instance whose pins these are. FNV-1a: stable across builds, and two instances on one interface are rare.
    pub(super) fn of(pins: &Pins) -> Self {
        Self::named(pins, b"")
    }

    /// The same instance's filters that block. No instance's name has a slash.
    pub(super) fn of_blocking(pins: &Pins) -> Self {
        Self::named(pins, b"/block")
    }

    fn named(pins: &Pins, suffix: &[u8]) -> Self {
        let name = pins.folder().file_name().unwrap_or_default();
        let bytes = name.as_encoded_bytes().iter().chain(suffix);
        let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
        Self {
            handle: TcHandle::from(hash.max(1)),
        }
    }

    /// The handle as the kernel shows it.
    pub(super) fn number(&self) -> u32 {
        self.handle.into()
    }
}

/// Where in the order of filters one goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    First,
    Last,
}

/// First or last, as far as other filters leave room.
fn priorities(place: Place) -> impl Iterator<Item = u16> {
    (0..PRIORITIES_TRIED).map(move |step| match place {
        Place::First => 1 + step,
        Place::Last => u16::MAX - step,
    })
}

const fn attach_type(direction: Direction) -> TcAttachType {
    match direction {
        Direction::Rx => TcAttachType::Ingress,
        Direction::Tx => TcAttachType::Egress,
    }
}

const fn filter_hook(direction: Direction) -> FilterHook {
    match direction {
        Direction::Rx => FilterHook::Ingress,
        Direction::Tx => FilterHook::Egress,
    }
}

/// Makes `program` run on the interface: in place of this instance's filter where there is one.
pub(super) fn attach(
    program: &mut SchedClassifier,
    identity: &Identity,
    target: &Target,
    direction: Direction,
) -> Result<(), KernelError> {
    // It fails where the qdisc is there already; if it is not, attaching says so.
    let _ = qdisc_add_clsact(&target.name);
    // Not knowing would be counting twice: beside one of its own a filter would find room at another priority.
    let own =
        own_priorities(identity, target.index, direction).map_err(|error| KernelError::attach(&target.name, &error))?;
    if own
        .iter()
        .any(|priority| replace(program, identity, target, direction, *priority))
    {
        return Ok(());
    }
    if !own.is_empty() {
        detach(identity, &target.name, direction);
    }
    let place = match direction {
        Direction::Rx => Place::First,
        Direction::Tx => Place::Last,
    };
    keep(attach_at(program, identity, target, direction, place)?);
    Ok(())
}

/// Makes `program` run on the interface for as long as the link is kept: after the one that counts at ingress, before it
/// at egress.
pub(super) fn attach_inside(
    program: &mut SchedClassifier,
    identity: &Identity,
    target: &Target,
    direction: Direction,
) -> Result<SchedClassifierLink, KernelError> {
    let _ = qdisc_add_clsact(&target.name);
    let place = match direction {
        Direction::Rx => Place::Last,
        Direction::Tx => Place::First,
    };
    attach_at(program, identity, target, direction, place)
}

fn attach_at(
    program: &mut SchedClassifier,
    identity: &Identity,
    target: &Target,
    direction: Direction,
    place: Place,
) -> Result<SchedClassifierLink, KernelError> {
    let mut refusal = String::new();
    for priority in priorities(place) {
        let options = NlOptions {
            priority,
            handle: identity.handle,
            classid: None,
        };
        let options = TcAttachOptions::Netlink(options);
        let attached = program.attach_with_options(&target.name, attach_type(direction), options);
        match attached.and_then(|id| program.take_link(id)) {
            Ok(link) => return Ok(link),
            Err(error) => refusal = error.to_string(),
        }
    }
    Err(KernelError::Attach {
        interface: target.name.clone(),
        detail: refusal,
    })
}

/// Where this instance's filters are: at most one, unless somebody made more by hand.
fn own_priorities(identity: &Identity, interface_index: u32, direction: Direction) -> std::io::Result<Vec<u16>> {
    let filters = filters::filters(interface_index, filter_hook(direction))?;
    let own = filters
        .into_iter()
        .filter(|filter| filter.kind == "bpf" && TcHandle::from(filter.handle) == identity.handle);
    Ok(own.map(|filter| filter.priority).collect())
}

fn replace(
    program: &mut SchedClassifier,
    identity: &Identity,
    target: &Target,
    direction: Direction,
    priority: u16,
) -> bool {
    let Ok(link) = link(identity, &target.name, direction, priority) else {
        return false;
    };
    match program.attach_to_link(link) {
        Ok(id) => {
            if let Ok(link) = program.take_link(id) {
                keep(link);
            }
            true
        }
        Err(_) => false,
    }
}

/// Removes this instance's filters from all of `interfaces`.
pub(super) fn detach_all(pins: &Pins, interfaces: &[String]) {
    for identity in [Identity::of(pins), Identity::of_blocking(pins)] {
        for interface in interfaces {
            detach_both(&identity, interface);
        }
    }
}

/// Removes this instance's filters from the interface, as far as it has any.
pub(super) fn detach_both(identity: &Identity, interface: &str) {
    for direction in Direction::BOTH {
        detach(identity, interface, direction);
    }
}

/// Removes this instance's filter of one direction from the interface, if it has one.
pub(super) fn detach(identity: &Identity, interface: &str, direction: Direction) {
    // An interface that is gone has taken its filters along.
    let Ok(index) = if_nametoindex(interface) else {
        return;
    };
    match own_priorities(identity, index, direction) {
        Ok(own) => {
            for link in own
                .into_iter()
                .flat_map(|priority| link(identity, interface, direction, priority))
            {
                // Dropping a link deletes its filter.
                drop(link);
            }
        }
        Err(error) => tracing::warn!(interface, %error, "its filters could not be listed; one of ours may stay"),
    }
}

fn link(
    identity: &Identity,
    interface: &str,
    direction: Direction,
    priority: u16,
) -> std::io::Result<SchedClassifierLink> {
    SchedClassifierLink::attached(interface, attach_type(direction), priority, identity.handle, None)
}

/// Lets the filter stay: aya would delete it with the link.
fn keep(link: SchedClassifierLink) {
    std::mem::forget(link);
}
