//! What a version with map layout 1 left in the kernel: its own programs, attached and counting, and its pinned maps.
//!
//! The one place here that knows the product's insides, and of a version that nobody changes any more: names, places
//! and values are as that version had them.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};
use aya::maps::{Array, HashMap, Map, MapData};
use aya::programs::links::{FdLink, LinkOrder};
use aya::programs::tc::TcAttachOptions;
use aya::programs::{SchedClassifier, TcAttachType};
use aya::{Ebpf, EbpfLoader};
use nix::net::if_::if_nametoindex;

use crate::namespace::Namespace;

/// That version's object.
const OBJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/layout-1.bpf.o");

/// Every map it pinned.
const MAPS: [&str; 6] = [
    "port_slots",
    "port_counters",
    "local_addresses_v4",
    "local_addresses_v6",
    "unattributed",
    "map_life",
];

/// Slots for each CPU: as many as it made for up to 512 ports.
const SLOT_CAPACITY: u32 = 1_024;

/// The description that maps carry of themselves. Later layouts have the same fields, and one more at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapLife([u8; 80]);

impl MapLife {
    /// The description in the maps pinned at `folder`.
    pub fn read(folder: &Path) -> Result<Self> {
        Ok(Self(open(folder)?.get(&0, 0)?))
    }

    /// Writes it into the maps pinned at `folder`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        Ok(open(folder)?.set(0, self.0, 0)?)
    }

    /// The same with another layout's number.
    #[must_use]
    pub fn with_layout(mut self, version: u32) -> Self {
        self.0[64..68].copy_from_slice(&version.to_ne_bytes());
        self
    }

    /// A life of layout 1 for the same ledger, boot and network namespace.
    fn ancestor(mut self) -> Self {
        // Any other name; no two lives have the same.
        self.0[..16].reverse();
        self.0[68..72].copy_from_slice(&SLOT_CAPACITY.to_ne_bytes());
        self.0[76..].fill(0);
        self.with_layout(1)
    }
}

fn open(folder: &Path) -> Result<Array<MapData, [u8; 80]>> {
    let data = MapData::from_pin(folder.join("map_life"))?;
    Ok(Array::try_from(Map::from_map_data(data)?)?)
}

/// Loads, fills, attaches and pins everything as that version did on `interfaces` of `host`, counting `ports`.
/// `life` is one that a later version made for the ledger that is to take over.
pub fn leave_behind(
    host: &Namespace,
    pins: &Path,
    life: MapLife,
    interfaces: &[&str],
    addresses: &[IpAddr],
    ports: impl Iterator<Item = u16>,
) -> Result<()> {
    let (maps, links) = (pins.join("maps"), pins.join("links"));
    fs::create_dir_all(&maps)?;
    fs::create_dir_all(&links)?;
    let cpu_count = aya::util::nr_cpus().map_err(|(what, error)| anyhow::anyhow!("{what}: {error}"))?;
    let mut loader = EbpfLoader::new();
    for name in MAPS {
        loader.map_pin_path(name, maps.join(name));
    }
    let mut programs = loader
        .map_max_entries("port_counters", SLOT_CAPACITY * u32::try_from(cpu_count)?)
        .override_global("SLOT_CAPACITY", &SLOT_CAPACITY, true)
        .load_file(OBJECT)?;
    life.ancestor().write(&maps)?;
    fill(&mut programs, addresses, ports)?;
    for (name, hook, suffix) in [
        ("portmeter_rx", TcAttachType::Ingress, "rx"),
        ("portmeter_tx", TcAttachType::Egress, "tx"),
    ] {
        let program: &mut SchedClassifier = programs.program_mut(name).context(name)?.try_into()?;
        program.load()?;
        for interface in interfaces {
            let index = host.enter(|| if_nametoindex(*interface))?;
            let order = match hook {
                TcAttachType::Egress => LinkOrder::last(),
                _ => LinkOrder::first(),
            };
            let id = host.enter(|| program.attach_with_options(interface, hook, TcAttachOptions::TcxOrder(order)))?;
            let link = FdLink::try_from(program.take_link(id)?)?;
            link.pin(links.join(format!("{interface}_{index}_{suffix}")))?;
        }
    }
    Ok(())
}

fn fill(programs: &mut Ebpf, addresses: &[IpAddr], ports: impl Iterator<Item = u16>) -> Result<()> {
    let mut slots: Array<_, i32> = programs.map_mut("port_slots").context("port_slots")?.try_into()?;
    for (port, entry) in ports.zip(1..) {
        slots.set(port.into(), entry, 0)?;
    }
    for address in addresses {
        match address {
            IpAddr::V4(address) => {
                let map = programs.map_mut("local_addresses_v4").context("local_addresses_v4")?;
                HashMap::<_, [u8; 4], u8>::try_from(map)?.insert(address.octets(), 1, 0)?;
            }
            IpAddr::V6(address) => {
                let map = programs.map_mut("local_addresses_v6").context("local_addresses_v6")?;
                HashMap::<_, [u8; 16], u8>::try_from(map)?.insert(address.octets(), 1, 0)?;
            }
        }
    }
    Ok(())
}
