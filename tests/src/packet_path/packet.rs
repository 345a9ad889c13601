//! Packets as a test says them, made into bytes by an implementation that shares nothing with the dispatcher's.

use etherparse::{
    EtherType, Ethernet2Header, IpFragOffset, IpNumber, Ipv4Header, Ipv4Options, Ipv6Header, SingleVlanHeader,
    TcpHeader, TcpOptions, UdpHeader, VlanId,
};

use dispatcher_common::address::{Family as _, V4};

use super::scene::Scene;

/// A packet of TCP or UDP; [`Packet::frame`] gives its bytes with right lengths and checksums.
#[derive(Clone, Debug)]
pub struct Packet<A> {
    /// Destination MAC address.
    pub to_mac: [u8; 6],
    /// Source MAC address.
    pub from_mac: [u8; 6],
    /// VLAN IDs, the outer one first.
    pub tags: Vec<u16>,
    /// Source address.
    pub src: A,
    /// Destination address.
    pub dst: A,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Bytes of IPv4 options, a multiple of four.
    pub options: Vec<u8>,
    /// IPv4: position of a fragment in units of eight bytes, and whether more follow.
    pub fragment: (u16, bool),
    /// IPv6 extension headers: number, and all bytes behind the first, which says what follows.
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// TCP or UDP. Its ports are the packet's.
    pub transport: Transport,
    /// What is carried.
    pub payload: Vec<u8>,
    /// Bytes behind the packet that fill the frame up.
    pub trailer: Vec<u8>,
}

/// A transport header without checksum, which is worked out.
#[derive(Clone, Debug)]
pub enum Transport {
    /// TCP.
    Tcp(TcpHeader),
    /// UDP; false if the sender works out no checksum.
    Udp(UdpHeader, bool),
}

impl<A: Scene> Packet<A> {
    /// A TCP segment without flags, or a datagram, by the protocol's number.
    #[must_use]
    pub fn new(proto: u8, (src, sport): (A, u16), (dst, dport): (A, u16)) -> Self {
        let transport = if proto == 6 {
            let options = TcpOptions::try_from_slice(&[1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 7]).unwrap();
            Transport::Tcp(TcpHeader { options, ..TcpHeader::new(sport, dport, 0x1234_5678, 0xfaf0) })
        } else {
            Transport::Udp(UdpHeader::without_ipv4_checksum(sport, dport, 0).unwrap(), true)
        };
        Self {
            to_mac: [0; 6],
            from_mac: [0; 6],
            tags: Vec::new(),
            src,
            dst,
            ttl: 64,
            options: Vec::new(),
            fragment: (0, false),
            extensions: Vec::new(),
            transport,
            payload: b"a payload of odd length".to_vec(),
            trailer: Vec::new(),
        }
    }

    /// The packet on a cable, between two MAC addresses.
    #[must_use]
    pub fn link(self, from_mac: [u8; 6], to_mac: [u8; 6]) -> Self {
        Self { from_mac, to_mac, ..self }
    }

    /// The packet with TCP flags, named by their letters: S, A, F, R, P. A datagram stays what it is.
    #[must_use]
    pub fn flags(mut self, letters: &str) -> Self {
        if let Transport::Tcp(tcp) = &mut self.transport {
            (tcp.syn, tcp.ack, tcp.fin) = (letters.contains('S'), letters.contains('A'), letters.contains('F'));
            (tcp.rst, tcp.psh) = (letters.contains('R'), letters.contains('P'));
            tcp.acknowledgment_number = if tcp.ack { 0x0a0b_0c0d } else { 0 };
        }
        self
    }

    /// The packet as a router sends it on, between two other MAC addresses: its TTL has lost one.
    #[must_use]
    pub fn routed(self, from_mac: [u8; 6], to_mac: [u8; 6]) -> Self {
        Self { ttl: self.ttl - 1, ..self }.link(from_mac, to_mac)
    }

    /// The packet to another destination.
    #[must_use]
    pub fn to(mut self, dst: A, port: u16) -> Self {
        match &mut self.transport {
            Transport::Tcp(tcp) => tcp.destination_port = port,
            Transport::Udp(udp, _) => udp.destination_port = port,
        }
        Self { dst, ..self }
    }

    /// The packet from another source.
    #[must_use]
    pub fn from(mut self, src: A, port: u16) -> Self {
        match &mut self.transport {
            Transport::Tcp(tcp) => tcp.source_port = port,
            Transport::Udp(udp, _) => udp.source_port = port,
        }
        Self { src, ..self }
    }

    /// The packet with another payload.
    #[must_use]
    pub fn payload(self, payload: impl Into<Vec<u8>>) -> Self {
        Self { payload: payload.into(), ..self }
    }

    /// The packet with another TTL.
    #[must_use]
    pub fn ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    /// The datagram without a checksum; TCP stays what it is.
    #[must_use]
    pub fn without_checksum(mut self) -> Self {
        if let Transport::Udp(_, has_checksum) = &mut self.transport {
            *has_checksum = false;
        }
        self
    }

    /// The bytes of the frame.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let (ether_type, network) =
            if A::IS_V4 { (EtherType::IPV4, self.ipv4()) } else { (EtherType::IPV6, self.ipv6()) };
        let first = if self.tags.is_empty() { ether_type } else { EtherType::VLAN_TAGGED_FRAME };
        let ethernet = Ethernet2Header { source: self.from_mac, destination: self.to_mac, ether_type: first };
        let mut frame = ethernet.to_bytes().to_vec();
        for (left, &tag) in (0..self.tags.len()).rev().zip(&self.tags) {
            let inner = if left == 0 { ether_type } else { EtherType::VLAN_TAGGED_FRAME };
            let vlan_id = VlanId::try_new(tag).unwrap();
            frame.extend(SingleVlanHeader { vlan_id, ether_type: inner, ..SingleVlanHeader::default() }.to_bytes());
        }
        frame.extend(network);
        frame.extend(&self.trailer);
        frame
    }

    /// Offset of the IP header in the frame.
    #[must_use]
    pub fn l3(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    /// Offset of the TCP or UDP header in the frame.
    #[must_use]
    pub fn l4(&self) -> usize {
        let extensions: usize = self.extensions.iter().map(|(_, rest)| 1 + rest.len()).sum();
        self.l3() + if A::IS_V4 { 20 + self.options.len() } else { 40 + extensions }
    }

    fn proto(&self) -> IpNumber {
        match self.transport {
            Transport::Tcp(_) => IpNumber::TCP,
            Transport::Udp(..) => IpNumber::UDP,
        }
    }

    fn ipv4(&self) -> Vec<u8> {
        let [source, destination] = [self.src, self.dst].map(|address| V4::from_mapped(&address.mapped()));
        let mut header = Ipv4Header::new(0, self.ttl, self.proto(), source, destination).unwrap();
        header.identification = 0x4242;
        header.dont_fragment = self.fragment == (0, false);
        header.fragment_offset = IpFragOffset::try_new(self.fragment.0).unwrap();
        header.more_fragments = self.fragment.1;
        header.options = Ipv4Options::try_from(&*self.options).unwrap();
        let transport = match &self.transport {
            Transport::Tcp(tcp) => self.tcp(tcp, tcp.calc_checksum_ipv4(&header, &self.payload).unwrap()),
            Transport::Udp(udp, _) => self.udp(udp, |udp| udp.calc_checksum_ipv4(&header, &self.payload).unwrap()),
        };
        header.set_payload_len(transport.len()).unwrap();
        header.header_checksum = header.calc_header_checksum();
        header.to_bytes().iter().copied().chain(transport).collect()
    }

    fn ipv6(&self) -> Vec<u8> {
        let mut header = Ipv6Header { hop_limit: self.ttl, next_header: self.proto(), ..Ipv6Header::default() };
        (header.source, header.destination) = (self.src.mapped(), self.dst.mapped());
        let transport = match &self.transport {
            Transport::Tcp(tcp) => self.tcp(tcp, tcp.calc_checksum_ipv6(&header, &self.payload).unwrap()),
            Transport::Udp(udp, _) => self.udp(udp, |udp| udp.calc_checksum_ipv6(&header, &self.payload).unwrap()),
        };
        let mut behind = Vec::new();
        for (position, (_, rest)) in self.extensions.iter().enumerate() {
            behind.push(self.extensions.get(position + 1).map_or(self.proto().0, |(number, _)| *number));
            behind.extend(rest);
        }
        behind.extend(transport);
        if let Some((number, _)) = self.extensions.first() {
            header.next_header = IpNumber(*number);
        }
        header.set_payload_length(behind.len()).unwrap();
        header.to_bytes().into_iter().chain(behind).collect()
    }

    fn tcp(&self, header: &TcpHeader, checksum: u16) -> Vec<u8> {
        let header = TcpHeader { checksum, ..header.clone() };
        header.to_bytes().iter().copied().chain(self.payload.iter().copied()).collect()
    }

    fn udp(&self, header: &UdpHeader, checksum: impl Fn(&UdpHeader) -> u16) -> Vec<u8> {
        let Transport::Udp(_, has_checksum) = self.transport else { panic!("a datagram") };
        let length = u16::try_from(UdpHeader::LEN + self.payload.len()).unwrap();
        let mut header = UdpHeader { length, checksum: 0, ..header.clone() };
        if has_checksum {
            header.checksum = checksum(&header);
        }
        header.to_bytes().into_iter().chain(self.payload.iter().copied()).collect()
    }
}
