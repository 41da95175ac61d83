//! TCX links: first in the chain at ingress, last at egress, pinned, replaced in place.

use aya::programs::links::{FdLink, LinkError, LinkOrder, PinnedLink};
use aya::programs::tc::{SchedClassifier, SchedClassifierLink, SchedClassifierLinkId, TcAttachOptions};
use aya::programs::{ProgramError, TcAttachType};

use super::link::detach_and_unpin;
use super::pins::{Direction, LinkKind, LinkPin};
use super::{KernelError, Pins};
use crate::network::plan::Target;

/// Makes `program` run on the interface: through the pinned link where there is a living one, through a new one
/// otherwise.
pub(super) fn attach(
    program: &mut SchedClassifier,
    target: &Target,
    direction: Direction,
    pinned: Option<LinkPin>,
    pins: &Pins,
) -> Result<(), KernelError> {
    if let Some(pinned) = pinned {
        match replace(program, &pinned) {
            Ok(()) => return Ok(()),
            Err(error) => {
                // The link of a device that is gone cannot be updated (ENOLINK); it counts nothing any more.
                tracing::debug!(path = %pinned.path.display(), %error, "a pinned link is dead");
                detach_and_unpin(&pinned.path);
            }
        }
    }
    let (attach_type, order) = match direction {
        Direction::Rx => (TcAttachType::Ingress, LinkOrder::first()),
        Direction::Tx => (TcAttachType::Egress, LinkOrder::last()),
    };
    let failed = |error: &dyn std::error::Error| KernelError::attach(&target.name, error);
    let id = program
        .attach_with_options(&target.name, attach_type, TcAttachOptions::TcxOrder(order))
        .map_err(|error| failed(&error))?;
    let link = take(program, id).map_err(|error| failed(&error))?;
    let link = FdLink::try_from(link).map_err(|error| failed(&error))?;
    link.pin(pins.link(&target.name, target.index, LinkKind::Tc(direction)))
        .map_err(|error| failed(&error))?;
    Ok(())
}

/// Replaces the program of a pinned link; the pin stays, and so does the link's place in the chain.
fn replace(program: &mut SchedClassifier, pinned: &LinkPin) -> Result<(), ReplaceError> {
    let link = FdLink::from(PinnedLink::from_pin(&pinned.path)?);
    let link = SchedClassifierLink::try_from(link)?;
    let id = program.attach_to_link(link)?;
    // Only the descriptor goes; the pin keeps the link.
    drop(take(program, id)?);
    Ok(())
}

/// Makes `program` run on the interface for as long as the link is kept: after the one that counts at ingress, before it
/// at egress.
pub(super) fn attach_inside(
    program: &mut SchedClassifier,
    target: &Target,
    direction: Direction,
) -> Result<SchedClassifierLink, KernelError> {
    let (attach_type, order) = match direction {
        Direction::Rx => (TcAttachType::Ingress, LinkOrder::last()),
        Direction::Tx => (TcAttachType::Egress, LinkOrder::first()),
    };
    program
        .attach_with_options(&target.name, attach_type, TcAttachOptions::TcxOrder(order))
        .and_then(|id| take(program, id))
        .map_err(|error| KernelError::attach(&target.name, &error))
}

fn take(program: &mut SchedClassifier, id: SchedClassifierLinkId) -> Result<SchedClassifierLink, ProgramError> {
    program.take_link(id)
}

#[derive(Debug, thiserror::Error)]
enum ReplaceError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Program(#[from] ProgramError),
}
