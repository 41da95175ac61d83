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
/// Array with one [`FewAddresses`].
pub const FEW_ADDRESSES: &str = "few_addresses";
/// Per-CPU array of [`UnattributedCounters`] by [`UnattributedReason`].
pub const UNATTRIBUTED: &str = "unattributed";
/// Array with one [`MapLife`].
pub const MAP_LIFE: &str = "map_life";
/// LRU hash of [`FragmentKey`] to [`FragmentOwner`]: whose datagrams are arriving, or leaving, in fragments.
pub const FRAGMENTS: &str = "fragments";
/// Socket storage of [`ConnectionMark`]: which connections are counted as open.
pub const CONNECTION_MARKS: &str = "connection_marks";
/// Array of `i64` by slot: what is subtracted from opened + adopted − closed to have the connections that are open now.
/// The programs neither read nor write it; it lies beside the counters because it holds for exactly their life.
pub const CONNECTION_OFFSETS: &str = "connection_offsets";
/// Array with one [`Adoption`], of the iterator's last run. Made anew with each load, never pinned.
pub const ADOPTION: &str = "adoption";

/// Hash of [`BlockedConnection`] to [`CONNECTION_BLOCKED`]. Made anew with each load, never pinned: a block ends with the
/// agent that wanted it.
pub const BLOCKED_CONNECTIONS: &str = "blocked_connections";

/// Per-CPU array of [`DroppedCounters`] by [`DropReason`]. Made anew with each load, never pinned: nothing is booked from it.
pub const DROPPED: &str = "dropped";

/// Read-only global of the object: how many slots `port_counters` has for each CPU.
pub const SLOT_CAPACITY: &str = "SLOT_CAPACITY";
/// Read-only global of the object: cookie of the network namespace whose connections are counted.
pub const NETNS_COOKIE: &str = "NETNS_COOKIE";
/// Read-only global of the object: the generation of marks that count, see [`ConnectionMark`].
pub const CONNECTION_GENERATION: &str = "CONNECTION_GENERATION";
/// Read-only global of the object, the logging library's: the most talkative level that is written. 0: nothing is.
pub const LOG_LEVEL: &str = "AYA_LOG_LEVEL";

/// Entries of `port_slots`: one for each port number.
pub const PORT_SLOTS_CAPACITY: u32 = 65_536;
/// Most addresses of each family that are told apart from foreign ones.
pub const LOCAL_ADDRESSES_CAPACITY: u32 = 4_096;
/// The value of a known address.
pub const ADDRESS_PRESENT: u8 = 1;
/// Datagrams in fragments that are followed at a time. An LRU hash drops entries that are in use from about half its
/// capacity on (measured: of 4,096 from about 2,000), so this is four times what a busy host has under way.
pub const FRAGMENTS_CAPACITY: u32 = 16_384;
/// How long after its first fragment a datagram's later ones are taken for its own: as long as Linux waits for them
/// (`net.ipv4.ipfrag_time`, and RFC 8200, section 4.5). Identifiers are used again, in IPv4 soon.
pub const FRAGMENT_AGE_MAX_SECONDS_V4: u64 = 30;
/// The same for IPv6.
pub const FRAGMENT_AGE_MAX_SECONDS_V6: u64 = 60;

/// Most connections that are blocked at a time.
pub const BLOCKED_CONNECTIONS_CAPACITY: u32 = 65_536;
/// The value of a blocked connection.
pub const CONNECTION_BLOCKED: u8 = 1;

/// Program for ingress of devices with an Ethernet header. Names fit the kernel's 15 characters.
pub const PROGRAM_RX_ETHERNET: &str = "portmeter_rx";
/// Program for egress of devices with an Ethernet header.
pub const PROGRAM_TX_ETHERNET: &str = "portmeter_tx";
/// Program for ingress of devices without a link header (tun, WireGuard).
pub const PROGRAM_RX_IP: &str = "portmeter_rx_ip";
/// Program for egress of devices without a link header.
pub const PROGRAM_TX_IP: &str = "portmeter_tx_ip";
/// Program for both ways of devices with an Ethernet header, that drops what belongs to blocked connections.
pub const PROGRAM_BLOCK_ETHERNET: &str = "portmeter_block";
/// The same for devices without a link header.
pub const PROGRAM_BLOCK_IP: &str = "portmeter_blkip";
/// XDP program for rx, of devices with an Ethernet header.
pub const PROGRAM_RX_XDP: &str = "portmeter_xdp";
/// XDP program that does nothing: shows whether a driver can run programs, and holds the place for the one that counts.
pub const PROGRAM_HOLD_XDP: &str = "portmeter_hold";
/// Program for the events of TCP sockets (sock_ops).
pub const PROGRAM_CONNECTIONS: &str = "portmeter_conn";
/// Iterator over TCP sockets that are older than [`PROGRAM_CONNECTIONS`].
pub const PROGRAM_ADOPT: &str = "portmeter_adopt";

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

/// How many addresses of each family [`FewAddresses`] holds: as many as most hosts have.
pub const FEW_ADDRESSES_COUNT: usize = 4;

/// Some of this host's addresses, all of them on most hosts: compared with one by one, in a third of the time that the
/// hash takes. Bytes as they lie in a packet. Every place is filled, if need be with an address that stands there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct FewAddresses {
    /// IPv4.
    pub v4: [u32; FEW_ADDRESSES_COUNT],
    /// IPv6: first and second half.
    pub v6: [[u64; 2]; FEW_ADDRESSES_COUNT],
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
    /// A later fragment to or from this host whose first one was not seen before it: it carries no ports.
    Fragment = 1,
    /// The headers do not fit the packet: lengths contradict each other or the packet ends too early.
    Malformed = 2,
    /// More stacked VLAN tags or IPv6 extension headers than the parser follows.
    HeaderChain = 3,
    /// The port is tracked, but its slot lies outside the counters: the maps contradict each other.
    SlotMissing = 4,
    /// A later fragment that came so long after its first one that it may be another datagram's.
    FragmentAged = 5,
}

impl UnattributedReason {
    /// Every reason, in the order of the map.
    pub const ALL: [Self; 6] = [
        Self::Forwarded,
        Self::Fragment,
        Self::Malformed,
        Self::HeaderChain,
        Self::SlotMissing,
        Self::FragmentAged,
    ];

    /// The reason's name in metrics and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Fragment => "fragment",
            Self::Malformed => "malformed",
            Self::HeaderChain => "header_chain",
            Self::SlotMissing => "slot_missing",
            Self::FragmentAged => "fragment_aged",
        }
    }
}

/// Packets that Portmeter itself has dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DroppedCounters {
    /// How many packets.
    pub packets: u64,
    /// Their IP-layer bytes.
    pub bytes: u64,
}

/// Why a packet was dropped; the index into the `dropped` map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum DropReason {
    /// It belongs to a connection of a key that is cut off.
    CutOff = 0,
}

impl DropReason {
    /// Every reason, in the order of the map.
    pub const ALL: [Self; 1] = [Self::CutOff];

    /// The reason's name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CutOff => "cut_off",
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
    /// The generation of marks that count, see [`ConnectionMark`]. Layout 1 had nothing here, and no connections.
    pub connection_generation: u32,
}

/// Names a datagram that travels in fragments, in one direction.
///
/// Addresses are as they lie in the packet; an IPv4 address fills the first four bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FragmentKey {
    /// Source address.
    pub source: [u64; 2],
    /// Destination address.
    pub destination: [u64; 2],
    /// The identification that its sender gave it.
    pub identification: u32,
    /// IPv4: the protocol, which identifications are counted by (RFC 791). IPv6: 0, since the fragments of one datagram
    /// may name different ones (RFC 8200, section 4.5). Two bytes wide, so that the two below lie at an even offset: the
    /// compiler writes them together, and the kernel wants what is on the stack aligned.
    pub protocol: u16,
    /// 4 or 6.
    pub ip_version: u8,
    /// 0: received. 1: sent. On loopback each packet passes both ways, and its local port differs.
    pub direction: u8,
}

/// Whose datagram the fragments of one [`FragmentKey`] are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FragmentOwner {
    /// When the first fragment was seen, nanoseconds of the monotonic clock.
    pub seen_at_nanos: u64,
    /// The port's slot plus one; 0 for a port that is not tracked.
    pub entry: u32,
    /// The local port.
    pub port: u16,
    /// Unused; keeps the size a multiple of eight.
    pub reserved: u16,
}

/// Says that a socket is counted as an open connection, and where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ConnectionMark {
    /// The slot it was counted in.
    pub slot: u32,
    /// Marks of another generation do not count: their closing may have been missed.
    pub generation: u32,
}

/// What one run of the iterator did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Adoption {
    /// Connections that were taken over.
    pub adopted: u64,
    /// Connections that could not be: the kernel does not let the iterator ask for their events.
    pub failed: u64,
}

/// Names a TCP connection that is blocked.
///
/// Addresses are as they lie in the packet; an IPv4 address fills the first four bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct BlockedConnection {
    /// This host's address.
    pub local: [u64; 2],
    /// The other end's.
    pub remote: [u64; 2],
    /// This host's port.
    pub local_port: u16,
    /// The other end's.
    pub remote_port: u16,
    /// 4 or 6; wide enough to leave no padding.
    pub ip_version: u32,
}

const _: () = assert!(size_of::<PortCounters>() == 64 && align_of::<PortCounters>() == 64);
const _: () = assert!(size_of::<UnattributedCounters>() == 16);
const _: () = assert!(size_of::<DroppedCounters>() == 16);
const _: () = assert!(size_of::<FewAddresses>() == 20 * FEW_ADDRESSES_COUNT);
const _: () = assert!(size_of::<MapLife>() == 80);
const _: () = assert!(size_of::<FragmentKey>() == 40);
const _: () = assert!(size_of::<FragmentOwner>() == 16);
const _: () = assert!(size_of::<BlockedConnection>() == 40);
const _: () = assert!(size_of::<ConnectionMark>() == 8);
const _: () = assert!(size_of::<Adoption>() == 16);
