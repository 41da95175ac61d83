//! An object in the kernel, driven packet by packet with `BPF_PROG_TEST_RUN`. Shared by the packet tests and the bench.

use std::collections;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use aya::maps::{Array, HashMap, PerCpuArray};
use aya::programs::tc::{TcAttachOptions, qdisc_add_clsact};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use portmeter_ebpf::layout::{
    ADDRESS_PRESENT, FEW_ADDRESSES, FRAGMENTS, FragmentKey, FragmentOwner, LOCAL_ADDRESSES_V4, LOCAL_ADDRESSES_V6,
    LOG_LEVEL, PORT_COUNTERS, PORT_SLOTS, PROGRAM_RX_ETHERNET, PROGRAM_RX_IP, PROGRAM_RX_XDP, PROGRAM_TX_ETHERNET,
    PROGRAM_TX_IP, PortCounters, SLOT_CAPACITY, UNATTRIBUTED, UnattributedCounters, UnattributedReason,
};
use portmeter_ebpf::packet::{Direction, Link};

use super::world::{LOCAL_IPV4, LOCAL_IPV6, RETIRED_PORT, TRACKED_PORTS};

/// Slots for each CPU: enough for every test, few enough to read them all after each packet.
pub const SLOT_CAPACITY_UNDER_TEST: u32 = 16;

/// Offset of `gso_size` in `struct __sk_buff` (include/uapi/linux/bpf.h), which is stable.
const CONTEXT_GSO_SIZE_OFFSET: usize = 176;
/// Length of `struct __sk_buff`.
const CONTEXT_BYTES: usize = 192;

/// Every program at TC.
pub const PROGRAMS: [&str; 4] = [PROGRAM_RX_ETHERNET, PROGRAM_TX_ETHERNET, PROGRAM_RX_IP, PROGRAM_TX_IP];

/// The program for a direction and a kind of device.
pub fn program_name(direction: Direction, link: Link) -> &'static str {
    match (direction, link) {
        (Direction::Receive, Link::Ethernet) => PROGRAM_RX_ETHERNET,
        (Direction::Transmit, Link::Ethernet) => PROGRAM_TX_ETHERNET,
        (Direction::Receive, Link::None) => PROGRAM_RX_IP,
        (Direction::Transmit, Link::None) => PROGRAM_TX_IP,
    }
}

/// Where the object under test is: `PORTMETER_BPF_OBJECT`, otherwise the committed one.
pub fn object_path() -> PathBuf {
    std::env::var_os("PORTMETER_BPF_OBJECT").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("object/portmeter.bpf.o"),
        PathBuf::from,
    )
}

/// A loaded object whose programs are not attached to anything.
pub struct Programs {
    ebpf: Ebpf,
    cpu_count: u32,
}

impl Programs {
    /// Loads `object` and the programs named.
    pub fn load(object: &[u8], program_names: &[&str]) -> Result<Self> {
        let cpu_count = u32::try_from(
            aya::util::nr_cpus()
                .map_err(|(path, error)| anyhow::Error::new(error).context(format!("reading {path}")))?,
        )?;
        let mut ebpf = EbpfLoader::new()
            .override_global(SLOT_CAPACITY, &SLOT_CAPACITY_UNDER_TEST, true)
            // The bench's other objects have no log.
            .override_global(LOG_LEVEL, &0_u8, false)
            .map_max_entries(PORT_COUNTERS, cpu_count * SLOT_CAPACITY_UNDER_TEST)
            .load(object)
            .context("loading the object into the kernel")?;
        for name in program_names {
            program(&mut ebpf, name)?
                .load()
                .with_context(|| format!("loading program {name}"))?;
        }
        Ok(Self { ebpf, cpu_count })
    }

    /// Makes the maps those of the tests' world.
    pub fn enter_world(&mut self) -> Result<()> {
        for (port, slot) in TRACKED_PORTS {
            self.track(port, slot)?;
        }
        self.set_port_slot(RETIRED_PORT, -1)?;
        // One family is found in each way: IPv6 among the few, IPv4 in the hash.
        self.set_few_addresses([127, 0, 0, 1], LOCAL_IPV6)?;
        self.add_local_ipv4(LOCAL_IPV4)?;
        self.add_local_ipv6(LOCAL_IPV6)
    }

    /// Gives `port` a slot.
    pub fn track(&mut self, port: u16, slot: u32) -> Result<()> {
        self.set_port_slot(port, i32::try_from(slot)? + 1)
    }

    fn set_port_slot(&mut self, port: u16, value: i32) -> Result<()> {
        let mut slots: Array<_, i32> = Array::try_from(self.map_mut(PORT_SLOTS)?)?;
        Ok(slots.set(u32::from(port), value, 0)?)
    }

    /// Fills every place of the addresses that are looked at first.
    pub fn set_few_addresses(&mut self, v4: [u8; 4], v6: [u8; 16]) -> Result<()> {
        let Some(map) = self.ebpf.map_mut(FEW_ADDRESSES) else {
            // The bench's other objects have the hashes alone.
            return Ok(());
        };
        let v4 = u32::from_ne_bytes(v4);
        let pair = u64::from(v4) << 32 | u64::from(v4);
        let mut few: Array<_, [u64; 10]> = Array::try_from(map)?;
        let [a, b, c, d, e, f, g, h, rest @ ..] = v6;
        let (first, second) = (u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes(rest));
        let value = [pair, pair, first, second, first, second, first, second, first, second];
        Ok(few.set(0, value, 0)?)
    }

    /// Makes `address` one of this host's.
    pub fn add_local_ipv4(&mut self, address: [u8; 4]) -> Result<()> {
        let mut addresses: HashMap<_, [u8; 4], u8> = HashMap::try_from(self.map_mut(LOCAL_ADDRESSES_V4)?)?;
        Ok(addresses.insert(address, ADDRESS_PRESENT, 0)?)
    }

    /// Makes `address` one of this host's.
    pub fn add_local_ipv6(&mut self, address: [u8; 16]) -> Result<()> {
        let mut addresses: HashMap<_, [u8; 16], u8> = HashMap::try_from(self.map_mut(LOCAL_ADDRESSES_V6)?)?;
        Ok(addresses.insert(address, ADDRESS_PRESENT, 0)?)
    }

    /// Empties the table of fragments.
    pub fn forget_fragments(&mut self) -> Result<()> {
        let mut fragments: HashMap<_, [u8; size_of::<FragmentKey>()], [u8; size_of::<FragmentOwner>()]> =
            HashMap::try_from(self.map_mut(FRAGMENTS)?)?;
        let keys = fragments.keys().collect::<Result<Vec<_>, _>>()?;
        keys.iter().try_for_each(|key| Ok(fragments.remove(key)?))
    }

    /// The datagrams whose fragments are known, each with its entry and port.
    pub fn fragments(&self) -> Result<collections::HashMap<FragmentKey, (u32, u16)>> {
        let fragments: HashMap<_, [u8; size_of::<FragmentKey>()], [u8; size_of::<FragmentOwner>()]> =
            HashMap::try_from(self.map(FRAGMENTS)?)?;
        let entries = fragments.iter().map(|entry| {
            let (key, owner) = entry?;
            Ok((fragment_key(&key), entry_and_port(&owner)))
        });
        entries.collect()
    }

    /// Loads the program at XDP, which the older ones of the kernels under test do without.
    pub fn load_xdp(&mut self) -> Result<()> {
        self.xdp()?.load().context("loading the program at XDP")
    }

    /// Runs the program at XDP over a frame: what it returned.
    pub fn run_xdp(&mut self, frame: &[u8]) -> Result<i32> {
        let result = self
            .xdp()?
            .test_run(TestRunOptions {
                data_in: Some(frame),
                ..TestRunOptions::default()
            })
            .with_context(|| format!("running {PROGRAM_RX_XDP} over {} bytes", frame.len()))?;
        Ok(result.return_value.cast_signed())
    }

    fn xdp(&mut self) -> Result<&mut Xdp> {
        let program = self.ebpf.program_mut(PROGRAM_RX_XDP);
        Ok(program
            .with_context(|| format!("the object has no program {PROGRAM_RX_XDP}"))?
            .try_into()?)
    }

    /// Runs a program over a packet `repeat` times: what it returned, and how long one run took on average.
    pub fn run(&mut self, name: &str, packet: &[u8], gso_size_bytes: u32, repeat: u32) -> Result<(i32, Duration)> {
        let mut context = [0; CONTEXT_BYTES];
        context[CONTEXT_GSO_SIZE_OFFSET..][..4].copy_from_slice(&gso_size_bytes.to_ne_bytes());
        let result = program(&mut self.ebpf, name)?
            .test_run(TestRunOptions {
                data_in: Some(packet),
                ctx_in: Some(&context),
                repeat,
                ..TestRunOptions::default()
            })
            .with_context(|| format!("running {name} over {} bytes", packet.len()))?;
        Ok((result.return_value.cast_signed(), result.duration))
    }

    /// Puts a program at the ingress of a device in this thread's network namespace, for as long as `self` lives.
    pub fn attach_to_ingress(&mut self, name: &str, device: &str) -> Result<()> {
        let program = program(&mut self.ebpf, name)?;
        let options = TcAttachOptions::TcxOrder(LinkOrder::default());
        if program
            .attach_with_options(device, TcAttachType::Ingress, options)
            .is_err()
        {
            // Kernels before 6.6.
            qdisc_add_clsact(device).with_context(|| format!("adding a clsact qdisc to {device}"))?;
            program
                .attach(device, TcAttachType::Ingress)
                .with_context(|| format!("attaching to {device}"))?;
        }
        Ok(())
    }

    /// The counters of every slot, added up over the CPUs.
    pub fn port_counters(&self) -> Result<Vec<PortCounters>> {
        let lines: Array<_, [u64; 8]> = Array::try_from(self.map(PORT_COUNTERS)?)?;
        let mut totals = vec![PortCounters::default(); SLOT_CAPACITY_UNDER_TEST as usize];
        for cpu in 0..self.cpu_count {
            for (slot, total) in (0..).zip(&mut totals) {
                let line = lines.get(&(cpu * SLOT_CAPACITY_UNDER_TEST + slot), 0)?;
                total.rx_bytes += line[0];
                total.rx_packets += line[1];
                total.tx_bytes += line[2];
                total.tx_packets += line[3];
                total.port = total.port.max(line[4]);
            }
        }
        Ok(totals)
    }

    /// The unattributed packets of every reason, added up over the CPUs.
    pub fn unattributed(&self) -> Result<Vec<UnattributedCounters>> {
        let reasons: PerCpuArray<_, [u64; 2]> = PerCpuArray::try_from(self.map(UNATTRIBUTED)?)?;
        let mut totals = Vec::new();
        for reason in UnattributedReason::ALL {
            let mut total = UnattributedCounters::default();
            for [packets, bytes] in reasons.get(&(reason as u32), 0)?.iter() {
                total.packets += packets;
                total.bytes += bytes;
            }
            totals.push(total);
        }
        Ok(totals)
    }

    fn map(&self, name: &str) -> Result<&aya::maps::Map> {
        self.ebpf
            .map(name)
            .with_context(|| format!("the object has no map {name}"))
    }

    fn map_mut(&mut self, name: &str) -> Result<&mut aya::maps::Map> {
        self.ebpf
            .map_mut(name)
            .with_context(|| format!("the object has no map {name}"))
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    let program = ebpf
        .program_mut(name)
        .with_context(|| format!("the object has no program {name}"))?;
    Ok(program.try_into()?)
}

/// The fields of a key as they lie in the map.
fn fragment_key(bytes: &[u8; size_of::<FragmentKey>()]) -> FragmentKey {
    let half = |offset: usize| u64::from_ne_bytes(field(bytes, offset));
    FragmentKey {
        source: [half(0), half(8)],
        destination: [half(16), half(24)],
        identification: u32::from_ne_bytes(field(bytes, 32)),
        protocol: u16::from_ne_bytes(field(bytes, 36)),
        ip_version: bytes[38],
        direction: bytes[39],
    }
}

fn entry_and_port(bytes: &[u8; size_of::<FragmentOwner>()]) -> (u32, u16) {
    (
        u32::from_ne_bytes(field(bytes, 8)),
        u16::from_ne_bytes(field(bytes, 12)),
    )
}

fn field<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[offset + index])
}
