//! XDP links: rx in the driver, before the kernel makes a socket buffer of a packet.
//!
//! Driver mode only. Where a driver cannot run programs the kernel offers to run them itself ("generic mode"), but then
//! they see packets that were joined, and nothing tells how many those were.

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{Xdp, XdpMode};

use super::link::detach_and_unpin;
use super::pins::{LinkKind, LinkPin};
use super::{KernelError, Pins};
use crate::network::plan::Target;

/// Takes the place in the interface's driver for `program`, which counts nothing: so whether the driver can run
/// programs is known before anything is changed, and nothing is counted twice. Given up when it is dropped.
pub(super) fn hold(program: &mut Xdp, target: &Target) -> Result<XdpLink, KernelError> {
    let failed = |error: &dyn std::error::Error| KernelError::driver_xdp(&target.name, error);
    let id = program
        .attach_to_if_index(target.index, XdpMode::Driver)
        .map_err(|error| failed(&error))?;
    program.take_link(id).map_err(|error| failed(&error))
}

/// Makes `program` run in the interface's driver: through the pinned link where there is a living one, in the place
/// that is held otherwise.
pub(super) fn attach(
    program: &mut Xdp,
    target: &Target,
    pinned: Option<LinkPin>,
    held: Option<XdpLink>,
    pins: &Pins,
) -> Result<(), KernelError> {
    if let Some(pinned) = pinned {
        if replace(program, &pinned).is_some() {
            return Ok(());
        }
        // The link of a device that is gone.
        detach_and_unpin(&pinned.path);
    }
    let failed = |error: &dyn std::error::Error| KernelError::driver_xdp(&target.name, error);
    let id = match held {
        Some(held) => program.attach_to_link(held),
        None => program.attach_to_if_index(target.index, XdpMode::Driver),
    };
    let link = id
        .and_then(|id| program.take_link(id))
        .map_err(|error| failed(&error))?;
    let link = FdLink::try_from(link).map_err(|error| failed(&error))?;
    link.pin(pins.link(&target.name, target.index, LinkKind::Xdp))
        .map_err(|error| failed(&error))?;
    Ok(())
}

/// Replaces the program of a pinned link; `None` where that link is dead.
fn replace(program: &mut Xdp, pinned: &LinkPin) -> Option<()> {
    let link = FdLink::from(PinnedLink::from_pin(&pinned.path).ok()?);
    let id = program.attach_to_link(XdpLink::try_from(link).ok()?).ok()?;
    // Only the descriptor goes; the pin keeps the link.
    drop(program.take_link(id).ok()?);
    Some(())
}
