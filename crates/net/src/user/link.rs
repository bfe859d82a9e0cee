//! Frames to and from the card, and the device that smoltcp drives: IP packets, without Ethernet.

use super::ROUTER;
use crate::{Gso, Nic};
use smoltcp::phy::{
    Checksum, Device, DeviceCapabilities, Medium, PacketMeta, RxToken, SegmentationCapabilities,
    TxToken,
};
use smoltcp::time::Instant;
use smoltcp::wire::{IpAddress, IpProtocol, Ipv4Packet, TcpPacket, TcpSeqNumber};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::num::{NonZeroU16, NonZeroUsize};
use std::sync::Arc;

const ETHERNET: usize = 14;
const IP_HEADER: usize = 20;
/// Bytes of an IP packet.
const MTU: usize = 1500;
/// A TCP segment before it is cut.
const LARGE: usize = 65_000;
/// Frames that wait for room in the card; others are lost, as they are in a switch.
const STALLED: usize = 256;

/// The network's end of the cable.
pub(super) struct Link {
    pub nic: Option<Arc<dyn Nic>>,
    /// The guest's hardware address.
    pub peer: [u8; 6],
    /// The IP packet for smoltcp.
    pub input: Option<Vec<u8>>,
    stalled: VecDeque<(Vec<u8>, Option<Gso>)>,
    buffer: Vec<u8>,
    ident: u16,
}

impl Link {
    pub fn new() -> Self {
        Self {
            nic: None,
            peer: [0xff; 6],
            input: None,
            stalled: VecDeque::new(),
            buffer: Vec::new(),
            ident: 0,
        }
    }

    /// Whether frames wait for room.
    pub fn is_starved(&self) -> bool {
        !self.stalled.is_empty()
    }

    /// Gives the card what it had no room for.
    pub fn retry(&mut self) {
        let Some(nic) = &self.nic else { return };
        while let Some((frame, gso)) = self.stalled.front() {
            // The driver may be another one by now.
            let lost = gso.is_some() && !nic.takes_gso();
            if !lost && !nic.give(frame, *gso) {
                break;
            }
            self.stalled.pop_front();
        }
    }

    /// To the guest.
    pub fn give(&mut self, frame: &[u8], gso: Option<Gso>) {
        let Some(nic) = &self.nic else { return };
        if self.stalled.is_empty() && nic.give(frame, gso) {
            return;
        }
        if self.stalled.len() < STALLED {
            self.stalled.push_back((frame.to_vec(), gso));
        }
    }

    /// Ethernet's header, to the guest.
    pub fn header(&self, kind: u16) -> Vec<u8> {
        let mut frame = Vec::with_capacity(ETHERNET + MTU);
        frame.extend(self.peer);
        frame.extend(ROUTER);
        frame.extend(kind.to_be_bytes());
        frame
    }

    /// An IP packet to the guest, in fragments if it is too long (RFC 791).
    pub fn ip(&mut self, from: Ipv4Addr, to: Ipv4Addr, protocol: IpProtocol, payload: &[u8]) {
        self.ident = self.ident.wrapping_add(1);
        const PIECE: usize = (MTU - IP_HEADER) & !7;
        if payload.len() > usize::from(u16::MAX) - IP_HEADER {
            return;
        }
        let whole = payload.len() <= MTU - IP_HEADER;
        let piece = if whole { MTU } else { PIECE };
        let mut done = 0;
        loop {
            let rest = payload.get(done..).unwrap_or_default();
            let (part, more) = match rest.get(..piece) {
                Some(part) if part.len() < rest.len() => (part, true),
                _ => (rest, false),
            };
            let mut frame = self.header(0x0800);
            frame.resize(ETHERNET + IP_HEADER, 0);
            let mut packet =
                Ipv4Packet::new_unchecked(frame.get_mut(ETHERNET..).unwrap_or_default());
            packet.set_version(4);
            packet.set_header_len(IP_HEADER as u8);
            packet.set_total_len((IP_HEADER + part.len()) as u16);
            packet.set_ident(self.ident);
            packet.set_more_frags(more);
            packet.set_frag_offset(done as u16);
            packet.set_hop_limit(64);
            packet.set_next_header(protocol);
            packet.set_src_addr(from);
            packet.set_dst_addr(to);
            packet.fill_checksum();
            frame.extend(part);
            self.give(&frame, None);
            done += part.len();
            if !more {
                return;
            }
        }
    }

    /// A TCP segment that smoltcp made: its checksum is missing, and it may be too long for the link.
    fn segment(&mut self, frame: &mut [u8], size: Option<NonZeroU16>) {
        let Some(ip) = frame.get_mut(ETHERNET..) else {
            return;
        };
        let Ok(mut packet) = Ipv4Packet::new_checked(&mut *ip) else {
            return;
        };
        let (from, to): (IpAddress, IpAddress) =
            (packet.src_addr().into(), packet.dst_addr().into());
        let ip_header = usize::from(packet.header_len());
        if packet.next_header() != IpProtocol::Tcp {
            // What smoltcp itself answers: unreachable and the like.
            return self.give(frame, None);
        }
        let total = usize::from(packet.total_len());
        let Ok(mut tcp) = TcpPacket::new_checked(packet.payload_mut()) else {
            return;
        };
        let headers = ip_header + usize::from(tcp.header_len());
        let Some(size) = size else {
            tcp.fill_checksum(&from, &to);
            return self.give(frame, None);
        };
        if self.nic.as_ref().is_some_and(|n| n.takes_gso()) {
            // What virtio and others want there: the pseudo header's sum.
            tcp.set_checksum(pseudo_sum(&from, &to, (total - ip_header) as u16));
            let gso = Gso {
                size,
                transport: (ETHERNET + ip_header) as u16,
                data: (ETHERNET + headers) as u16,
            };
            return self.give(frame, Some(gso));
        }
        let (sequence, fin, push) = (tcp.seq_number(), tcp.fin(), tcp.psh());
        let start = ETHERNET + headers;
        let data = frame.get(start..).unwrap_or_default().to_vec();
        let count = data.chunks(size.get().into()).count();
        let mut done = 0;
        for (n, part) in data.chunks(size.get().into()).enumerate() {
            let mut piece = frame.get(..start).unwrap_or_default().to_vec();
            piece.extend(part);
            let last = n + 1 == count;
            let mut packet =
                Ipv4Packet::new_unchecked(piece.get_mut(ETHERNET..).unwrap_or_default());
            packet.set_total_len((headers + part.len()) as u16);
            packet.fill_checksum();
            let mut tcp = TcpPacket::new_unchecked(packet.payload_mut());
            tcp.set_seq_number(TcpSeqNumber(sequence.0.wrapping_add(done)));
            tcp.set_fin(fin && last);
            tcp.set_psh(push && last);
            tcp.fill_checksum(&from, &to);
            self.give(&piece, None);
            done = done.wrapping_add(part.len() as i32);
        }
    }
}

/// The sum of TCP's pseudo header (RFC 9293, 3.1), folded, not inverted.
fn pseudo_sum(from: &IpAddress, to: &IpAddress, bytes: u16) -> u16 {
    let (IpAddress::Ipv4(from), IpAddress::Ipv4(to)) = (from, to) else {
        return 0;
    };
    let [a, b, c, d] = from.octets();
    let [e, f, g, h] = to.octets();
    let mut sum = 6 + u32::from(bytes);
    for pair in [[a, b], [c, d], [e, f], [g, h]] {
        sum += u32::from(u16::from_be_bytes(pair));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// A packet for smoltcp.
pub(super) struct Input(Vec<u8>);

impl RxToken for Input {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

/// A place for a packet of smoltcp.
pub(super) struct Output<'a> {
    link: &'a mut Link,
    size: Option<NonZeroU16>,
}

impl TxToken for Output<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = std::mem::take(&mut self.link.buffer);
        frame.clear();
        frame.extend(self.link.peer);
        frame.extend(ROUTER);
        frame.extend([8, 0]);
        frame.resize(ETHERNET + len, 0);
        let result = f(frame.get_mut(ETHERNET..).unwrap_or_default());
        self.link.segment(&mut frame, self.size);
        self.link.buffer = frame;
        result
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.size = meta.segmentation_offload_size;
    }
}

impl Device for Link {
    type RxToken<'a> = Input;
    type TxToken<'a> = Output<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Input, Output<'_>)> {
        let input = Input(self.input.take()?);
        let output = Output {
            link: self,
            size: None,
        };
        Some((input, output))
    }

    fn transmit(&mut self, _: Instant) -> Option<Output<'_>> {
        // TCP keeps its data until the card has room.
        (!self.is_starved()).then_some(Output {
            link: self,
            size: None,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut all = DeviceCapabilities::default();
        all.medium = Medium::Ip;
        all.max_transmission_unit = MTU;
        // The cable loses nothing, and a card may have left the sums to us.
        all.checksum.ipv4 = Checksum::Tx;
        all.checksum.tcp = Checksum::None;
        let mut large = SegmentationCapabilities::default();
        large.tcpv4 = NonZeroUsize::new(LARGE);
        all.segmentation = large;
        all
    }
}
