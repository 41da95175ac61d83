//! Attaching: makes the programs run on exactly the interfaces of a plan.
//!
//! What is attached already is replaced in place, atomically, so that no packet is uncounted or counted twice.

use std::collections::{BTreeMap, BTreeSet};

use aya::Ebpf;
use aya::programs::Xdp;
use aya::programs::tc::SchedClassifier;
use aya::programs::xdp::XdpLink;
use aya::util::KernelVersion;
use portmeter_ebpf::layout::{
    PROGRAM_HOLD_XDP, PROGRAM_RX_ETHERNET, PROGRAM_RX_IP, PROGRAM_RX_XDP, PROGRAM_TX_ETHERNET, PROGRAM_TX_IP,
};

use super::link::detach_and_unpin;
use super::pins::{Direction, LinkKind, LinkPin};
use super::{Kernel, KernelError, clsact, maps, tcx, xdp};
use crate::config::HookChoice;
use crate::network::plan::Target;

/// How programs are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Pinned TCX links.
    Tcx,
    /// Filters on the clsact qdisc.
    Clsact,
    /// A pinned XDP link in the driver for rx, a pinned TCX link for tx.
    Xdp,
}

/// An interface that is counted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The interface.
    pub target: Target,
    /// How.
    pub hook: Hook,
}

/// Every program at TC.
const TC_PROGRAMS: [&str; 4] = [PROGRAM_RX_ETHERNET, PROGRAM_TX_ETHERNET, PROGRAM_RX_IP, PROGRAM_TX_IP];

/// The hook to use on this kernel, where the device has it.
pub(super) fn choose_hook(choice: HookChoice) -> Result<Hook, KernelError> {
    let has_tcx = KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0));
    match choice {
        HookChoice::Tcx | HookChoice::Xdp if !has_tcx => Err(KernelError::NoTcx),
        HookChoice::Xdp => Ok(Hook::Xdp),
        HookChoice::Clsact => Ok(Hook::Clsact),
        _ if has_tcx => Ok(Hook::Tcx),
        _ => Ok(Hook::Clsact),
    }
}

/// Loads the programs of a hook into the kernel; none is attached yet.
pub(super) fn load_programs(ebpf: &mut Ebpf, hook: Hook) -> Result<(), KernelError> {
    for name in TC_PROGRAMS {
        let program: &mut SchedClassifier = maps::program_mut(ebpf, name)?;
        program.load().map_err(|error| KernelError::load(&error))?;
    }
    if hook == Hook::Xdp {
        for name in [PROGRAM_RX_XDP, PROGRAM_HOLD_XDP] {
            let program: &mut Xdp = maps::program_mut(ebpf, name)?;
            program.load().map_err(|error| KernelError::load(&error))?;
        }
    }
    Ok(())
}

impl Kernel {
    /// The interfaces that are counted on.
    pub fn attached(&self) -> impl Iterator<Item = &Attached> {
        self.attached.values()
    }

    /// Makes the programs run on exactly `targets`. Goes as far as it can and gives what failed; asked again, it
    /// tries again.
    pub fn attach_to(&mut self, targets: &[Target]) -> Vec<KernelError> {
        let wanted: BTreeMap<u32, &Target> = targets.iter().map(|target| (target.index, target)).collect();
        let (mut held, refused) = self.hold_drivers(targets);
        let refusing: BTreeSet<u32> = refused.keys().copied().collect();
        let mut failures: Vec<KernelError> = refused.into_values().collect();
        if !failures.is_empty() && self.attached.is_empty() {
            // This start has failed, and leaves what an earlier one has attached as it is.
            return failures;
        }
        for target in targets.iter().filter(|target| !refusing.contains(&target.index)) {
            match self.attached.get(&target.index) {
                Some(attached) if attached.target == *target => continue,
                Some(attached) if attached.target.has_link_header == target.has_link_header => self.rename(target),
                _ => {
                    if let Err(error) = self.attach(target, held.remove(&target.index)) {
                        failures.push(error);
                    }
                }
            }
        }
        for (_, gone) in self
            .attached
            .extract_if(.., |index, _| !wanted.contains_key(index))
            .collect::<Vec<_>>()
        {
            self.detach(&gone);
        }
        self.remove_stale_links(&wanted);
        failures
    }

    /// Holds a place in each driver that is to run a program and runs none of ours yet; gives those that are held and
    /// those that are refused.
    fn hold_drivers(&mut self, targets: &[Target]) -> (BTreeMap<u32, XdpLink>, BTreeMap<u32, KernelError>) {
        let pins = self.pins.links();
        let runs_ours = |index: u32| pins.iter().any(|pin| pin.index == index && pin.kind == LinkKind::Xdp);
        let (mut held, mut refused) = (BTreeMap::new(), BTreeMap::new());
        for target in targets {
            let index = target.index;
            if self.hook_for(target) != Hook::Xdp || self.attached.contains_key(&index) || runs_ours(index) {
                continue;
            }
            match maps::program_mut(&mut self.ebpf, PROGRAM_HOLD_XDP).and_then(|program| xdp::hold(program, target)) {
                Ok(link) => drop(held.insert(index, link)),
                Err(error) => drop(refused.insert(index, error)),
            }
        }
        (held, refused)
    }

    fn attach(&mut self, target: &Target, mut held: Option<XdpLink>) -> Result<(), KernelError> {
        let attached = Attached {
            target: target.clone(),
            hook: self.hook_for(target),
        };
        if attached.hook == Hook::Clsact {
            // An agent that was killed while it blocked has left filters that nobody would remove.
            clsact::detach_both(&clsact::Identity::of_blocking(&self.pins), &target.name);
        }
        for direction in Direction::BOTH {
            if let Err(error) = self.attach_direction(&attached, direction, &mut held) {
                self.detach(&attached);
                return Err(error);
            }
        }
        tracing::info!(interface = target.name, index = target.index, hook = ?attached.hook, "counting");
        self.attached.insert(target.index, attached);
        Ok(())
    }

    /// Loopback and devices without a link header have no drivers that could run a program.
    fn hook_for(&self, target: &Target) -> Hook {
        match self.hook {
            Hook::Xdp if target.is_loopback || !target.has_link_header => Hook::Tcx,
            hook => hook,
        }
    }

    /// Makes the program of one direction run, and no other of ours that would count the same packets.
    fn attach_direction(
        &mut self,
        attached: &Attached,
        direction: Direction,
        held: &mut Option<XdpLink>,
    ) -> Result<(), KernelError> {
        let (target, pins) = (&attached.target, self.pins.clone());
        let kind = match (attached.hook, direction) {
            (Hook::Xdp, Direction::Rx) => LinkKind::Xdp,
            _ => LinkKind::Tc(direction),
        };
        let (same, others): (Vec<LinkPin>, Vec<LinkPin>) = pins
            .links()
            .into_iter()
            .filter(|pin| pin.index == target.index && counts(pin.kind) == direction)
            .partition(|pin| pin.kind == kind && attached.hook != Hook::Clsact);
        for other in &others {
            detach_and_unpin(&other.path);
        }
        let identity = clsact::Identity::of(&pins);
        if attached.hook != Hook::Clsact && same.is_empty() {
            clsact::detach(&identity, &target.name, direction);
        }
        let pinned = same.into_iter().next();
        if kind == LinkKind::Xdp {
            return xdp::attach(
                maps::program_mut(&mut self.ebpf, PROGRAM_RX_XDP)?,
                target,
                pinned,
                held.take(),
                &pins,
            );
        }
        let program = maps::program_mut(&mut self.ebpf, program_name(target, direction))?;
        match attached.hook {
            Hook::Clsact => clsact::attach(program, &identity, target, direction),
            Hook::Tcx | Hook::Xdp => tcx::attach(program, target, direction, pinned, &pins),
        }
    }

    pub(super) fn detach(&mut self, attached: &Attached) {
        let target = &attached.target;
        self.block.leave(target.index);
        for pin in self.pins.links().iter().filter(|pin| pin.index == target.index) {
            detach_and_unpin(&pin.path);
        }
        if attached.hook == Hook::Clsact {
            clsact::detach_both(&clsact::Identity::of(&self.pins), &target.name);
        }
        tracing::info!(interface = target.name, index = target.index, "no longer counting");
    }

    /// Keeps the pins' names in step with the interface's.
    fn rename(&mut self, target: &Target) {
        for pin in self.pins.links().iter().filter(|pin| pin.index == target.index) {
            let to = self.pins.link(&target.name, target.index, pin.kind);
            if let Err(error) = std::fs::rename(&pin.path, &to) {
                tracing::warn!(from = %pin.path.display(), to = %to.display(), %error, "a pin keeps its old name");
            }
        }
        if let Some(attached) = self.attached.get_mut(&target.index) {
            attached.target.clone_from(target);
        }
    }

    /// Removes filters of an earlier start from interfaces that are wanted no longer. Links are found by their pins;
    /// filters have none and are looked for by name.
    pub fn remove_stale_filters(&self, interfaces: &[String]) {
        clsact::detach_all(&self.pins, interfaces);
    }

    /// Links of an earlier start whose interface is gone or wanted no longer.
    fn remove_stale_links(&self, wanted: &BTreeMap<u32, &Target>) {
        for pin in self.pins.links().iter().filter(|pin| !wanted.contains_key(&pin.index)) {
            detach_and_unpin(&pin.path);
        }
    }
}

/// The direction that a link's program counts.
const fn counts(kind: LinkKind) -> Direction {
    match kind {
        LinkKind::Tc(direction) => direction,
        LinkKind::Xdp => Direction::Rx,
    }
}

const fn program_name(target: &Target, direction: Direction) -> &'static str {
    match (direction, target.has_link_header) {
        (Direction::Rx, true) => PROGRAM_RX_ETHERNET,
        (Direction::Tx, true) => PROGRAM_TX_ETHERNET,
        (Direction::Rx, false) => PROGRAM_RX_IP,
        (Direction::Tx, false) => PROGRAM_TX_IP,
    }
}
