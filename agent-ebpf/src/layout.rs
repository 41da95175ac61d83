//! The maps' names, keys, values and limits: the contract between the kernel programs and the agent.
//!
//! Every value is plain `repr(C)` data without hidden padding. A change of anything here that an older agent would
//! misread needs a new [`LAYOUT_VERSION`].

/// Version of everything in this file; kept in [`MapLife`] so that an agent never misreads another one's maps.
pub const LAYOUT_VERSION: u32 = 2;

/// Array of `i32` by port (host byte order): 0 = never tracked, n = slot n − 1 of `port_counters`, −n = the same slot of
/// a port that is tracked no longer: a slot belongs to its port for the maps' life.
pub const PORT_SLOTS: &str = "port_slots";
/// Array of [`PortCounters`] at `cpu × slot capacity + slot`, mapped into the agent's memory for reading.
pub const PORT_COUNTERS: &str = "port_counters";
/// Hash of this host's IPv4 addresses (four bytes in network order) to [`ADDRESS_PRESENT`].
pub const LOCAL_ADDRESSES_V4: &str = "local_addresses_v4";
/// Hash of this host's IPv6 addresses (sixteen bytes in network order) to [`ADDRESS_PRESENT`].
pub const LOCAL_ADDRESSES_V6: &str = "local_addresses_v6";
/// Per-CPU array of [`UnattributedCounters`] by [`UnattributedReason`].
pub const UNATTRIBUTED: &str = "unattributed";
/// Array with one [`MapLife`].
pub const MAP_LIFE: &str = "map_life";

/// Read-only global of the object: how many slots `port_counters` has for each CPU.
pub const SLOT_CAPACITY: &str = "SLOT_CAPACITY";

/// Entries of `port_slots`: one for each port number.
pub const PORT_SLOTS_CAPACITY: u32 = 65_536;
/// Most addresses of each family that are told apart from foreign ones.
pub const LOCAL_ADDRESSES_CAPACITY: u32 = 4_096;
/// The value of a known address.
pub const ADDRESS_PRESENT: u8 = 1;

/// Program for ingress of devices with an Ethernet header. Names fit the kernel's 15 characters.
pub const PROGRAM_RX_ETHERNET: &str = "portmeter_rx";
/// Program for egress of devices with an Ethernet header.
pub const PROGRAM_TX_ETHERNET: &str = "portmeter_tx";
/// Program for ingress of devices without a link header (tun, WireGuard).
pub const PROGRAM_RX_IP: &str = "portmeter_rx_ip";
/// Program for egress of devices without a link header.
pub const PROGRAM_TX_IP: &str = "portmeter_tx_ip";

/// One port's counters on one CPU: exactly one cache line, written by that CPU alone, so that aligned 64-bit loads
/// never tear. Packets are counted with bottom halves disabled: plain additions lose nothing. Connections are counted
/// where a soft interrupt may come between, and so by atomic additions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct PortCounters {
    /// IP-layer bytes received from clients.
    pub rx_bytes: u64,
    /// Packets received from clients.
    pub rx_packets: u64,
    /// IP-layer bytes sent to clients.
    pub tx_bytes: u64,
    /// Packets sent to clients.
    pub tx_packets: u64,
    /// The port this line counts, for people who read the map with bpftool; 0 before its first packet on this CPU.
    pub port: u64,
    /// Incoming TCP connections whose handshake was completed while the programs watched.
    pub connections_opened: u64,
    /// Incoming TCP connections that were there before the programs, taken over by the iterator.
    pub connections_adopted: u64,
    /// Opened and adopted connections that are closed.
    pub connections_closed: u64,
}

/// Packets that may belong to a tracked port but cannot be attributed to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct UnattributedCounters {
    /// How many packets.
    pub packets: u64,
    /// Their IP-layer bytes, as far as they can be told.
    pub bytes: u64,
}

/// Why a packet is unattributed; the index into the `unattributed` map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum UnattributedReason {
    /// The port is tracked, but the local end is not an address of this host: routed, bridged, broadcast.
    Forwarded = 0,
    /// A later fragment to or from this host: it carries no ports.
    Fragment = 1,
    /// The headers do not fit the packet: lengths contradict each other or the packet ends too early.
    Malformed = 2,
    /// More stacked VLAN tags or IPv6 extension headers than the parser follows.
    HeaderChain = 3,
    /// The port is tracked, but its slot lies outside the counters: the maps contradict each other.
    SlotMissing = 4,
}

impl UnattributedReason {
    /// Every reason, in the order of the map.
    pub const ALL: [Self; 5] = [
        Self::Forwarded,
        Self::Fragment,
        Self::Malformed,
        Self::HeaderChain,
        Self::SlotMissing,
    ];

    /// The reason's name in metrics and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Fragment => "fragment",
            Self::Malformed => "malformed",
            Self::HeaderChain => "header_chain",
            Self::SlotMissing => "slot_missing",
        }
    }
}

/// Who made these maps, and when. Same id, same counters; written once by the agent that made the maps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct MapLife {
    /// Random; names this life of the maps.
    pub id: [u8; 16],
    /// The ledger that books these counters.
    pub ledger_id: [u8; 16],
    /// The kernel's boot id when the maps were made.
    pub boot_id: [u8; 16],
    /// Cookie of the network namespace whose traffic is counted.
    pub netns_cookie: u64,
    /// When the maps were made, seconds since 1970.
    pub created_at_unix_seconds: u64,
    /// [`LAYOUT_VERSION`] of the maps.
    pub layout_version: u32,
    /// Slots for each CPU in `port_counters`.
    pub slot_capacity: u32,
    /// CPUs that `port_counters` has room for.
    pub cpu_count: u32,
    /// Unused; keeps the size a multiple of eight.
    pub reserved: u32,
}

const _: () = assert!(size_of::<PortCounters>() == 64 && align_of::<PortCounters>() == 64);
const _: () = assert!(size_of::<UnattributedCounters>() == 16);
const _: () = assert!(size_of::<MapLife>() == 80);
