//! What the bench's programs and the bench itself agree on; compiled into both.

/// The shortest frame of Ethernet, which 4 bytes of checksum make 64: untagged, with IPv4 without options, and TCP or UDP; words as they stand in the packet.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Destination MAC address, and the first two bytes of the source's.
    pub ethernet_head: u64,
    /// The rest of the source MAC address.
    pub ethernet_tail: u32,
    /// Ethernet type.
    pub ether_type: u16,
    /// Version and header length.
    pub version: u8,
    /// Type of service.
    pub service: u8,
    /// Bytes of the packet.
    pub length: u16,
    /// Identification.
    pub id: u16,
    /// Flags and offset of a fragment.
    pub fragment: u16,
    /// Time to live.
    pub ttl: u8,
    /// TCP or UDP.
    pub protocol: u8,
    /// Checksum of the IPv4 header.
    pub ip_sum: u16,
    /// High half of the source address.
    pub source_high: u16,
    /// Low half of the source address: tells flows apart.
    pub source_low: u16,
    /// Destination address.
    pub destination: u32,
    /// Source port: tells flows apart, too.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// UDP: length. TCP: part of the sequence number.
    pub udp_length: u16,
    /// UDP: checksum. TCP: part of the sequence number.
    pub udp_sum: u16,
    /// UDP: data. TCP: acknowledgement, data offset, flags, window.
    pub middle: u64,
    /// UDP: data. TCP: checksum.
    pub tcp_sum: u16,
    /// UDP: data. TCP: urgent pointer, data.
    pub tail: u64,
}

/// The protocol number of TCP.
pub const TCP: u8 = 6;
/// The protocol number of UDP.
pub const UDP: u8 = 17;

/// The source port of flows 0 to 65535; the next 65536 flows have the next port.
pub const FIRST_PORT: u16 = 2048;

/// The source port of a flow.
pub fn source_port(flow: u64) -> u16 {
    FIRST_PORT.wrapping_add((flow >> 16) as u16)
}

/// The low half of a flow's source address.
pub fn source_low(flow: u64) -> u16 {
    flow as u16
}

/// One row: what a slice of measurement does. The bench writes it, the programs count in it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// Runs so far; also the number of the next flow where flows come in turn.
    pub runs: u64,
    /// Runs whose time was added up; the others were disturbed.
    pub measured: u64,
    /// How long those took together.
    pub elapsed_ns: u64,
    /// When the last run began.
    pub last_ns: u64,
    /// State of the random sequence.
    pub random: u64,
    /// Flows to choose from less one; a power of two less one.
    pub mask: u64,
    /// The number that is added to every flow's.
    pub first_flow: u64,
    /// 1 if flows come in turn, 0 if at random.
    pub in_turn: u32,
    /// The slot of the program to continue with, or of the interface to send from.
    pub slot: u32,
}

/// The words of a [`Frame`] whose flow is still to be written, with checksums as if all words of the flow were zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// All but the last four bytes.
    pub words: [u64; 7],
    /// The last four.
    pub last: u32,
    /// Always zero.
    pub pad: u32,
}

/// The key of the floor program's flow table, as short as a 5-tuple of IPv4 gets: words as they stand in the packet.
///
/// Aligned for the verifier: the compiler writes it to the stack in words of eight bytes.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeanKey {
    /// Source address.
    pub source: [u16; 2],
    /// Destination address.
    pub destination: u32,
    /// Source and destination port.
    pub ports: [u16; 2],
    /// Protocol.
    pub protocol: u32,
}

/// The floor program's flow: all that translation of a destination needs, worked out beforehand; one cache line.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeanFlow {
    /// Packets seen.
    pub packets: u64,
    /// Bytes seen.
    pub bytes: u64,
    /// MAC addresses to write.
    pub ethernet_head: u64,
    /// The rest of them.
    pub ethernet_tail: u32,
    /// Address to write.
    pub address: u32,
    /// Port to write.
    pub port: u16,
    /// What the change of address and TTL adds to the header's sum.
    pub ip_delta: u16,
    /// What the change of address and port adds to the transport's sum.
    pub transport_delta: u16,
    /// Slot of the interface to leave by.
    pub slot: u16,
    /// Fills the line; always zero.
    pub pad: [u8; 24],
}

/// Packets that arrived on one interface, and their bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Packets.
    pub packets: u64,
    /// Bytes, Ethernet header included.
    pub bytes: u64,
}

/// A run that took longer was interrupted, or its thread had to wait for the processor.
pub const LONGEST_RUN_NS: u64 = 20_000;
/// Interfaces whose arrivals can be counted: the last bits of their index tell them apart.
pub const INTERFACES: u32 = 64;
/// Entries of the floor's flow table, unless the bench says otherwise.
pub const LEAN_FLOWS: usize = 262_144;
/// Programs that the harness can continue with.
pub const PROGRAMS: usize = 8;
/// Interfaces that frames can leave by.
pub const PORTS: usize = 16;
/// Templates: flows take them in turn, the even and the odd.
pub const TEMPLATES: usize = 2;
