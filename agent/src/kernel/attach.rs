//! Attaching: makes the programs run on exactly the interfaces of a plan.
//!
//! What is attached already is replaced in place, atomically, so that no packet is uncounted or counted twice.

use std::collections::BTreeMap;

use aya::Ebpf;
use aya::programs::tc::SchedClassifier;
use aya::util::KernelVersion;
use portmeter_ebpf::layout::{PROGRAM_RX_ETHERNET, PROGRAM_RX_IP, PROGRAM_TX_ETHERNET, PROGRAM_TX_IP};

use super::pins::Direction;
use super::{Kernel, KernelError, clsact, tcx};
use crate::config::HookChoice;
use crate::network::plan::Target;

/// How a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// A pinned TCX link.
    Tcx,
    /// A filter on the clsact qdisc.
    Clsact,
}

/// An interface that is counted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The interface.
    pub target: Target,
    /// How.
    pub hook: Hook,
}

/// Every program of the object.
const PROGRAMS: [&str; 4] = [PROGRAM_RX_ETHERNET, PROGRAM_TX_ETHERNET, PROGRAM_RX_IP, PROGRAM_TX_IP];

/// The hook to use on this kernel.
pub(super) fn choose_hook(choice: HookChoice) -> Result<Hook, KernelError> {
    let has_tcx = KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0));
    match choice {
        HookChoice::Tcx if !has_tcx => Err(KernelError::NoTcx),
        HookChoice::Clsact => Ok(Hook::Clsact),
        _ if has_tcx => Ok(Hook::Tcx),
        _ => Ok(Hook::Clsact),
    }
}

/// Loads every program into the kernel; none is attached yet.
pub(super) fn load_programs(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    for name in PROGRAMS {
        program(ebpf, name)?.load().map_err(|error| KernelError::load(&error))?;
    }
    Ok(())
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, KernelError> {
    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| KernelError::Load(format!("{name} is not in the object")))?;
    program
        .try_into()
        .map_err(|error: aya::programs::ProgramError| KernelError::load(&error))
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
        let mut failures = Vec::new();
        for target in targets {
            match self.attached.get(&target.index) {
                Some(attached) if attached.target == *target => continue,
                Some(attached) if attached.target.has_link_header == target.has_link_header => self.rename(target),
                _ => {
                    if let Err(error) = self.attach(target) {
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

    fn attach(&mut self, target: &Target) -> Result<(), KernelError> {
        for direction in Direction::BOTH {
            if let Err(error) = self.attach_direction(target, direction) {
                self.detach(&Attached {
                    target: target.clone(),
                    hook: self.hook,
                });
                return Err(error);
            }
        }
        self.attached.insert(
            target.index,
            Attached {
                target: target.clone(),
                hook: self.hook,
            },
        );
        tracing::info!(interface = target.name, index = target.index, hook = ?self.hook, "counting");
        Ok(())
    }

    fn attach_direction(&mut self, target: &Target, direction: Direction) -> Result<(), KernelError> {
        let pins = self.pins.clone();
        let pinned = pins
            .links()
            .into_iter()
            .find(|pin| pin.index == target.index && pin.direction == direction);
        let identity = clsact::Identity::of(&pins);
        let program = program(&mut self.ebpf, program_name(target, direction))?;
        match self.hook {
            Hook::Tcx => {
                if pinned.is_none() {
                    clsact::detach(&identity, &target.name, direction);
                }
                tcx::attach(program, target, direction, pinned, &pins)
            }
            Hook::Clsact => {
                if let Some(pinned) = pinned {
                    super::link::detach_and_unpin(&pinned.path);
                }
                clsact::attach(program, &identity, target, direction)
            }
        }
    }

    pub(super) fn detach(&self, attached: &Attached) {
        let target = &attached.target;
        for pin in self.pins.links().iter().filter(|pin| pin.index == target.index) {
            super::link::detach_and_unpin(&pin.path);
        }
        if attached.hook == Hook::Clsact {
            clsact::detach_both(&clsact::Identity::of(&self.pins), &target.name);
        }
        tracing::info!(interface = target.name, index = target.index, "no longer counting");
    }

    /// Keeps the pins' names in step with the interface's.
    fn rename(&mut self, target: &Target) {
        for pin in self.pins.links().iter().filter(|pin| pin.index == target.index) {
            let to = self.pins.link(&target.name, target.index, pin.direction);
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
            super::link::detach_and_unpin(&pin.path);
        }
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
