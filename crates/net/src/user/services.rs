//! What the router answers itself: ARP (RFC 826), DHCP (RFC 2131), pings.

use super::link::Link;
use super::{DNS, GATEWAY, GUEST, MASK, ROUTER};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress,
    IpProtocol, Ipv4Packet,
};
use std::net::{IpAddr, Ipv4Addr};

pub(super) const DHCP_SERVER: u16 = 67;
const DHCP_CLIENT: u16 = 68;
/// Seconds that an address is the guest's.
const LEASE: u32 = 86_400;

/// The host's first resolver.
pub(super) fn resolver() -> IpAddr {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    text.lines()
        .filter_map(|l| l.trim().strip_prefix("nameserver"))
        .find_map(|rest| rest.trim().parse().ok())
        .unwrap_or(Ipv4Addr::LOCALHOST.into())
}

/// Who has the router's addresses.
pub(super) fn arp(link: &mut Link, packet: &ArpPacket<&[u8]>) {
    let Ok(ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr,
        source_protocol_addr,
        target_protocol_addr,
        ..
    }) = ArpRepr::parse(packet)
    else {
        return;
    };
    if target_protocol_addr != GATEWAY && target_protocol_addr != DNS {
        return;
    }
    if source_hardware_addr.is_unicast() {
        link.peer = source_hardware_addr.0;
    }
    let answer = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: EthernetAddress(ROUTER),
        source_protocol_addr: target_protocol_addr,
        target_hardware_addr: source_hardware_addr,
        target_protocol_addr: source_protocol_addr,
    };
    let mut frame = link.header(0x0806);
    let start = frame.len();
    frame.resize(start + answer.buffer_len(), 0);
    let body = frame.get_mut(start..).unwrap_or_default();
    answer.emit(&mut ArpPacket::new_unchecked(body));
    // Ethernet's shortest frame, without its checksum.
    frame.resize(60, 0);
    link.give(&frame, None);
}

/// A client's message: the one address is offered and given to whoever asks.
pub(super) fn dhcp(link: &mut Link, data: &[u8]) {
    let Ok(packet) = DhcpPacket::new_checked(data) else {
        return;
    };
    let Ok(asked) = DhcpRepr::parse(&packet) else {
        return;
    };
    if asked.server_identifier.is_some_and(|s| s != GATEWAY) {
        return;
    }
    let wanted = asked
        .requested_ip
        .or((!asked.client_ip.is_unspecified()).then_some(asked.client_ip));
    let kind = match asked.message_type {
        DhcpMessageType::Discover => DhcpMessageType::Offer,
        DhcpMessageType::Request if wanted.is_none_or(|w| w == GUEST) => DhcpMessageType::Ack,
        DhcpMessageType::Request => DhcpMessageType::Nak,
        DhcpMessageType::Inform => DhcpMessageType::Ack,
        _ => return,
    };
    let gives = kind != DhcpMessageType::Nak;
    let leases = gives && asked.message_type != DhcpMessageType::Inform;
    let answer = DhcpRepr {
        message_type: kind,
        transaction_id: asked.transaction_id,
        secs: 0,
        client_hardware_address: asked.client_hardware_address,
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip: if leases { GUEST } else { Ipv4Addr::UNSPECIFIED },
        server_ip: GATEWAY,
        router: gives.then_some(GATEWAY),
        subnet_mask: gives.then_some(MASK),
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: true,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(GATEWAY),
        parameter_request_list: None,
        dns_servers: gives.then(|| [DNS].into_iter().collect()),
        max_size: None,
        lease_duration: leases.then_some(LEASE),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    };
    let mut body = vec![0; answer.buffer_len()];
    if answer
        .emit(&mut DhcpPacket::new_unchecked(&mut *body))
        .is_err()
    {
        return;
    }
    let everyone = Ipv4Addr::BROADCAST;
    if let Some(datagram) =
        super::udp::datagram((GATEWAY, DHCP_SERVER), (everyone, DHCP_CLIENT), &body)
    {
        let before = std::mem::replace(&mut link.peer, [0xff; 6]);
        link.ip(GATEWAY, everyone, IpProtocol::Udp, &datagram);
        link.peer = before;
    }
}

/// A ping to the router.
pub(super) fn echo(link: &mut Link, packet: &Ipv4Packet<&[u8]>) {
    if let [8, 0, _, _, rest @ ..] = packet.payload() {
        echo_reply(link, packet.dst_addr(), packet.src_addr(), rest);
    }
}

/// An echo reply; `rest` is what follows the checksum (RFC 792).
pub(super) fn echo_reply(link: &mut Link, from: Ipv4Addr, to: Ipv4Addr, rest: &[u8]) {
    let mut message = vec![0; 4];
    message.extend(rest);
    let sum = !fold(&message);
    if let Some(place) = message.get_mut(2..4) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
    link.ip(from, to, IpProtocol::Icmp, &message);
}

/// The Internet's sum (RFC 1071), not inverted.
fn fold(bytes: &[u8]) -> u16 {
    let mut sum: u64 = bytes
        .chunks(2)
        .map(|pair| match pair {
            [a, b] => u64::from(u16::from_be_bytes([*a, *b])),
            [a] => u64::from(*a) << 8,
            _ => 0,
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
