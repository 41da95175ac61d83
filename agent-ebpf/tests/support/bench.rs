//! The kernel programs beside what their maps must hold by now, as the host's parser works it out.

use std::fs;

use anyhow::{Context, Result, ensure};
use portmeter_ebpf::layout::{PortCounters, UnattributedCounters, UnattributedReason};
use portmeter_ebpf::packet::{Direction, Link, Outcome, WireSize};

use super::programs::{PROGRAMS, Programs, SLOT_CAPACITY_UNDER_TEST, object_path, program_name};
use super::world::TRACKED_SLOT;

/// Hands the packet on to the next program, and in the end to the network stack (TCX_NEXT, TC_ACT_UNSPEC).
const HAND_ON: i32 = -1;
const ETHERNET_HEADER_BYTES: usize = 14;

/// The programs, and what their maps must hold by now.
pub struct Bench {
    pub programs: Programs,
    port_counters: Vec<PortCounters>,
    unattributed: Vec<UnattributedCounters>,
}

impl Bench {
    pub fn new() -> Result<Self> {
        let path = object_path();
        let object = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let mut programs = Programs::load(&object, &PROGRAMS)?;
        programs.enter_world()?;
        Ok(Self {
            programs,
            port_counters: vec![PortCounters::default(); SLOT_CAPACITY_UNDER_TEST as usize],
            unattributed: vec![UnattributedCounters::default(); UnattributedReason::ALL.len()],
        })
    }

    /// Runs one packet through the program for it, as if it were the first: the maps change by the outcome and by
    /// nothing else.
    pub fn check(
        &mut self,
        bytes: &[u8],
        gso_size_bytes: u32,
        direction: Direction,
        link: Link,
        outcome: Outcome,
    ) -> Result<()> {
        self.programs.forget_fragments()?;
        self.check_next(bytes, gso_size_bytes, direction, link, outcome)
    }

    /// The same, with what is remembered of the packets before.
    pub fn check_next(
        &mut self,
        bytes: &[u8],
        gso_size_bytes: u32,
        direction: Direction,
        link: Link,
        outcome: Outcome,
    ) -> Result<()> {
        if !fits_a_test_run(bytes) {
            return Ok(());
        }
        self.run(bytes, gso_size_bytes, direction, link)?;
        self.expect(outcome, direction);
        self.compare().with_context(|| format!("expected {outcome:?}"))
    }

    /// Runs one packet through the program for it; what it must change is for the caller to expect.
    pub fn run(&mut self, bytes: &[u8], gso_size_bytes: u32, direction: Direction, link: Link) -> Result<()> {
        let (verdict, _) = self
            .programs
            .run(program_name(direction, link), bytes, gso_size_bytes, 1)?;
        ensure!(verdict == HAND_ON, "the program returned {verdict}");
        Ok(())
    }

    /// Takes what the maps hold for what they must hold.
    pub fn accept(&mut self) -> Result<()> {
        self.port_counters = self.programs.port_counters()?;
        self.unattributed = self.programs.unattributed()?;
        Ok(())
    }

    pub fn expect(&mut self, outcome: Outcome, direction: Direction) {
        match outcome {
            Outcome::Ignored => {}
            Outcome::Counted { slot, port, size } => {
                let counters = &mut self.port_counters[slot as usize];
                add(counters, direction, size);
                counters.port = port.into();
            }
            Outcome::Unattributed { reason, size } => {
                let counters = &mut self.unattributed[reason as usize];
                counters.packets += size.packets;
                counters.bytes += size.bytes;
            }
        }
    }

    pub fn compare(&self) -> Result<()> {
        let port_counters = self.programs.port_counters()?;
        ensure!(
            port_counters == self.port_counters,
            "tracked slot {TRACKED_SLOT}: counted {:?}, expected {:?}",
            port_counters[TRACKED_SLOT as usize],
            self.port_counters[TRACKED_SLOT as usize]
        );
        let unattributed = self.programs.unattributed()?;
        ensure!(
            unattributed == self.unattributed,
            "unattributed: counted {unattributed:?}, expected {:?}",
            self.unattributed
        );
        Ok(())
    }
}

/// The kernel takes every packet of a test run for an Ethernet frame and refuses those that end within what their
/// EtherType announces. The parser's own tests have them.
pub fn fits_a_test_run(bytes: &[u8]) -> bool {
    let network_bytes = match bytes.get(12..ETHERNET_HEADER_BYTES) {
        Some([0x08, 0x00]) => 20,
        Some([0x86, 0xdd]) => 40,
        Some(_) => 0,
        None => return false,
    };
    bytes.len() >= ETHERNET_HEADER_BYTES + network_bytes
}

fn add(counters: &mut PortCounters, direction: Direction, size: WireSize) {
    let (bytes, packets) = match direction {
        Direction::Receive => (&mut counters.rx_bytes, &mut counters.rx_packets),
        Direction::Transmit => (&mut counters.tx_bytes, &mut counters.tx_packets),
    };
    *bytes += size.bytes;
    *packets += size.packets;
}
