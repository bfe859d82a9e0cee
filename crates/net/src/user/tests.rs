use super::*;
use crate::tests::Guest;
use proptest::prelude::*;
use smoltcp::wire::*;
use std::io::{Read, Write};

const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];

fn guest(options: &UserOptions) -> Guest<User> {
    Guest::new(User::new(options).unwrap())
}

fn ethernet(kind: EthernetProtocol, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 14];
    let mut e = EthernetFrame::new_unchecked(&mut frame);
    e.set_dst_addr(EthernetAddress(ROUTER));
    e.set_src_addr(EthernetAddress(MAC));
    e.set_ethertype(kind);
    frame.extend(payload);
    frame
}

fn ip(from: Ipv4Addr, to: Ipv4Addr, protocol: IpProtocol, payload: &[u8]) -> Vec<u8> {
    let repr = Ipv4Repr {
        src_addr: from,
        dst_addr: to,
        next_header: protocol,
        payload_len: payload.len(),
        hop_limit: 64,
    };
    let mut all = vec![0; 20];
    repr.emit(
        &mut Ipv4Packet::new_unchecked(&mut all),
        &Default::default(),
    );
    all.extend(payload);
    ethernet(EthernetProtocol::Ipv4, &all)
}

fn udp_frame(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), data: &[u8]) -> Vec<u8> {
    let all = udp::datagram(from, to, data).unwrap();
    ip(from.0, to.0, IpProtocol::Udp, &all)
}

/// (from, to, protocol, payload) with a sound header.
fn opened(frame: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr, IpProtocol, Vec<u8>)> {
    let e = EthernetFrame::new_checked(frame).ok()?;
    if e.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let p = Ipv4Packet::new_checked(e.payload()).ok()?;
    assert!(p.verify_checksum());
    Some((
        p.src_addr(),
        p.dst_addr(),
        p.next_header(),
        p.payload().to_vec(),
    ))
}

fn dhcp(kind: DhcpMessageType, requested: Option<Ipv4Addr>) -> Vec<u8> {
    let repr = DhcpRepr {
        message_type: kind,
        transaction_id: 0x1234,
        secs: 0,
        client_hardware_address: EthernetAddress(MAC),
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip: Ipv4Addr::UNSPECIFIED,
        server_ip: Ipv4Addr::UNSPECIFIED,
        router: None,
        subnet_mask: None,
        relay_agent_ip: Ipv4Addr::UNSPECIFIED,
        broadcast: false,
        requested_ip: requested,
        client_identifier: None,
        server_identifier: None,
        parameter_request_list: None,
        dns_servers: None,
        max_size: None,
        lease_duration: None,
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
    };
    let mut body = vec![0; repr.buffer_len()];
    repr.emit(&mut DhcpPacket::new_unchecked(&mut body[..]))
        .unwrap();
    udp_frame(
        (Ipv4Addr::UNSPECIFIED, 68),
        (Ipv4Addr::BROADCAST, 67),
        &body,
    )
}

#[test]
fn dhcp_gives_the_address() {
    let guest = guest(&UserOptions::default());
    for (kind, asks, answer) in [
        (DhcpMessageType::Discover, None, DhcpMessageType::Offer),
        (
            DhcpMessageType::Request,
            Some(super::GUEST),
            DhcpMessageType::Ack,
        ),
        (
            DhcpMessageType::Request,
            Some(Ipv4Addr::new(192, 168, 1, 7)),
            DhcpMessageType::Nak,
        ),
    ] {
        guest.send(dhcp(kind, asks));
        guest.receive(|frame| {
            let (from, to, protocol, payload) = opened(frame)?;
            assert_eq!((from, protocol), (GATEWAY, IpProtocol::Udp));
            assert_eq!(to, Ipv4Addr::BROADCAST);
            let u = UdpPacket::new_checked(&payload[..]).unwrap();
            let p = DhcpPacket::new_checked(u.payload()).unwrap();
            let got = DhcpRepr::parse(&p).unwrap();
            assert_eq!((got.message_type, got.transaction_id), (answer, 0x1234));
            if answer != DhcpMessageType::Nak {
                assert_eq!(got.your_ip, super::GUEST);
                assert_eq!((got.router, got.subnet_mask), (Some(GATEWAY), Some(MASK)));
                assert_eq!(got.dns_servers.unwrap()[0], DNS);
            }
            Some(())
        });
    }
}

#[test]
fn the_router_answers_arp_and_pings() {
    let guest = guest(&UserOptions {
        restrict: Restrict::Yes,
        ..Default::default()
    });
    let request = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: EthernetAddress(MAC),
        source_protocol_addr: super::GUEST,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: GATEWAY,
    };
    let mut body = vec![0; request.buffer_len()];
    request.emit(&mut ArpPacket::new_unchecked(&mut body));
    guest.send(ethernet(EthernetProtocol::Arp, &body));
    guest.receive(|frame| {
        let e = EthernetFrame::new_checked(frame).unwrap();
        assert_eq!(e.dst_addr(), EthernetAddress(MAC));
        let p = ArpPacket::new_checked(e.payload()).unwrap();
        assert_eq!(p.source_hardware_addr(), ROUTER);
        Some(())
    });
    // Longer than a frame: it comes back in fragments.
    let mut ping = vec![8, 0, 0, 0, 0x12, 0x34, 0, 1];
    ping.extend((0..3000).map(|n| n as u8));
    guest.send(ip(super::GUEST, GATEWAY, IpProtocol::Icmp, &ping));
    let mut answer = Vec::new();
    while answer.len() < ping.len() {
        answer.extend(guest.receive(|f| opened(f).map(|o| o.3)));
    }
    assert_eq!((answer[0], answer[4..] == ping[4..]), (0, true));
}

#[test]
fn udp_goes_out_and_comes_back() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let guest = guest(&UserOptions {
        forwards: vec![Forward {
            protocol: Protocol::Udp,
            host: "127.0.0.1:0".parse().unwrap(),
            guest: 77,
        }],
        ..Default::default()
    });
    guest.send(udp_frame(
        (super::GUEST, 5000),
        (GATEWAY, port),
        b"question",
    ));
    let mut buffer = [0; 100];
    let (n, peer) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"question");
    server.send_to(b"answer", peer).unwrap();
    let seen = |want: &'static [u8]| {
        guest.receive(|f| {
            let (from, _, _, payload) = opened(f)?;
            let u = UdpPacket::new_checked(&payload[..]).ok()?;
            (u.payload() == want).then(|| (from, u.src_port(), u.dst_port()))
        })
    };
    assert_eq!(seen(b"answer"), (GATEWAY, port, 5000));
    // From outside.
    server.send_to(b"knock", guest.net.listening()[0]).unwrap();
    let (_, from, to) = seen(b"knock");
    assert_eq!(to, 77);
    guest.send(udp_frame((super::GUEST, 77), (GATEWAY, from), b"who?"));
    let (n, _) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"who?");
}

/// One segment.
fn segment(
    from: u16,
    to: (Ipv4Addr, u16),
    control: TcpControl,
    seq: i32,
    ack: Option<i32>,
    data: &[u8],
) -> Vec<u8> {
    let repr = TcpRepr {
        src_port: from,
        dst_port: to.1,
        control,
        seq_number: TcpSeqNumber(seq),
        ack_number: ack.map(TcpSeqNumber),
        window_len: 0xffff,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: data,
    };
    let mut all = vec![0; repr.buffer_len()];
    let (a, b) = (super::GUEST.into(), to.0.into());
    repr.emit(
        &mut TcpPacket::new_unchecked(&mut all),
        &a,
        &b,
        &Default::default(),
    );
    ip(super::GUEST, to.0, IpProtocol::Tcp, &all)
}

fn tcp_of(frame: &[u8]) -> Option<TcpPacket<&'static [u8]>> {
    // Kept for as long as the test runs.
    let (from, to, protocol, payload) = opened(frame)?;
    let payload: &'static [u8] = payload.leak();
    let p = TcpPacket::new_checked(payload).ok()?;
    if protocol != IpProtocol::Tcp {
        return None;
    }
    assert!(p.verify_checksum(&from.into(), &to.into()));
    Some(p)
}

#[test]
fn tcp_is_relayed() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = (GATEWAY, server.local_addr().unwrap().port());
    let guest = guest(&UserOptions::default());
    guest.send(segment(4000, to, TcpControl::Syn, 1000, None, b""));
    let theirs = guest.receive(|f| {
        tcp_of(f)
            .filter(|t| t.syn() && t.ack())
            .map(|t| t.seq_number().0)
    });
    let mut next = theirs.wrapping_add(1);
    guest.send(segment(
        4000,
        to,
        TcpControl::Psh,
        1001,
        Some(next),
        b"hello",
    ));
    let (mut stream, _) = server.accept().unwrap();
    let mut buffer = [0; 5];
    stream.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"hello");
    // 1 MB back, in segments of at most 1460 or 536 bytes, all in order.
    let data: Vec<u8> = (0..1_000_000u32).map(|n| (n * 7 >> 3) as u8).collect();
    let sent = data.clone();
    let writer = std::thread::spawn(move || {
        stream.write_all(&sent).unwrap();
        stream
    });
    let mut got = Vec::new();
    while got.len() < data.len() {
        let part = guest.receive(|f| {
            tcp_of(f)
                .filter(|t| t.seq_number().0 == next)
                .map(|t| t.payload().to_vec())
        });
        next = next.wrapping_add(part.len() as i32);
        got.extend(part);
        guest.send(segment(4000, to, TcpControl::None, 1006, Some(next), b""));
    }
    assert!(got == data);
    drop(writer.join().unwrap());
    guest.receive(|f| tcp_of(f).filter(|t| t.fin()));
    // No one listens on port 1; loopback by its own name is not for guests.
    guest.send(segment(4001, (GATEWAY, 1), TcpControl::Syn, 5, None, b""));
    guest.receive(|f| tcp_of(f).filter(|t| t.rst() && t.dst_port() == 4001));
    assert_eq!(target(Ipv4Addr::LOCALHOST, 80, (DNS, 53).into()), None);
}

#[test]
fn forwarded_ports_reach_the_guest() {
    let guest = guest(&UserOptions {
        forwards: vec![Forward {
            protocol: Protocol::Tcp,
            host: "127.0.0.1:0".parse().unwrap(),
            guest: 22,
        }],
        restrict: Restrict::Yes,
        ..Default::default()
    });
    let _stream = std::net::TcpStream::connect(guest.net.listening()[0]).unwrap();
    let (from, to) = guest.receive(|f| {
        tcp_of(f)
            .filter(|t| t.syn() && !t.ack())
            .map(|t| (t.src_port(), t.dst_port()))
    });
    assert_eq!(to, 22);
    assert!(from >= 0x8000);
    let taken = guest.net.listening()[0];
    let again = UserOptions {
        forwards: vec![Forward {
            protocol: Protocol::Tcp,
            host: taken,
            guest: 22,
        }],
        ..Default::default()
    };
    let error = User::new(&again).err().unwrap().to_string();
    assert!(error.contains(&taken.to_string()), "{error}");
}

#[test]
fn nothing_gets_out_of_a_restricted_network() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    datagrams
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let guest = guest(&UserOptions {
        restrict: Restrict::Yes,
        ..Default::default()
    });
    let port = server.local_addr().unwrap().port();
    guest.send(segment(
        4000,
        (GATEWAY, port),
        TcpControl::Syn,
        1,
        None,
        b"",
    ));
    guest.receive(|f| tcp_of(f).filter(|t| t.rst() && t.dst_port() == 4000));
    assert!(server.accept().is_err());
    let port = datagrams.local_addr().unwrap().port();
    guest.send(udp_frame((super::GUEST, 5), (GATEWAY, port), b"out"));
    guest.send(udp_frame((super::GUEST, 6), (DNS, 53), b"name?"));
    assert!(datagrams.recv(&mut [0; 10]).is_err());
}

#[test]
fn names_are_asked_of_the_resolver() {
    let resolver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = resolver.local_addr().unwrap();
    let guest = guest(&UserOptions {
        resolver: Some(at),
        ..Default::default()
    });
    guest.send(udp_frame(
        (super::GUEST, 700),
        (DNS, 53),
        b"where is example?",
    ));
    let mut buffer = [0; 100];
    let (n, peer) = resolver.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"where is example?");
    resolver.send_to(b"there", peer).unwrap();
    guest.receive(|f| {
        let (from, _, _, payload) = opened(f)?;
        let u = UdpPacket::new_checked(&payload[..]).ok()?;
        (u.payload() == b"there")
            .then(|| assert_eq!((from, u.src_port(), u.dst_port()), (DNS, 53, 700)))
    });
    // By TCP, too (RFC 7766).
    let server = TcpListener::bind(at).unwrap();
    guest.send(segment(701, (DNS, 53), TcpControl::Syn, 1, None, b""));
    guest.receive(|f| tcp_of(f).filter(|t| t.syn() && t.ack() && t.src_port() == 53));
    server.accept().unwrap();
}

/// The fragments of a datagram of `data`, cut at `piece` bytes.
fn fragments(
    from: (Ipv4Addr, u16),
    to: (Ipv4Addr, u16),
    data: &[u8],
    piece: usize,
) -> Vec<Vec<u8>> {
    let all = udp::datagram(from, to, data).unwrap();
    let count = all.chunks(piece).count();
    let part = |(n, part): (usize, &[u8])| {
        let mut frame = ip(from.0, to.0, IpProtocol::Udp, part);
        let mut packet = Ipv4Packet::new_unchecked(&mut frame[14..]);
        packet.set_dont_frag(false);
        packet.set_ident(77);
        packet.set_frag_offset((n * piece) as u16);
        packet.set_more_frags(n + 1 < count);
        packet.fill_checksum();
        frame
    };
    all.chunks(piece).enumerate().map(part).collect()
}

#[test]
fn fragments_are_put_together() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let to = (GATEWAY, server.local_addr().unwrap().port());
    let guest = guest(&UserOptions::default());
    let data: Vec<u8> = (0..5000u32).map(|n| (n >> 3) as u8).collect();
    let mut pieces = fragments((super::GUEST, 9), to, &data, 1480);
    assert_eq!(pieces.len(), 4);
    // In any order, and one of them twice.
    pieces.swap(0, 3);
    pieces.push(pieces[1].clone());
    for p in pieces {
        guest.send(p);
    }
    let mut buffer = vec![0; 8000];
    let n = server.recv(&mut buffer).unwrap();
    assert!(buffer[..n] == data);
    // One that is missing: nothing, and the next one is not harmed.
    for p in fragments((super::GUEST, 9), to, &data, 1480).iter().skip(1) {
        guest.send(p.clone());
    }
    guest.send(udp_frame((super::GUEST, 9), to, b"whole"));
    let n = server.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..n], b"whole");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Noise, and sound frames with noise in them, also to what may be outside (this host's loopback): the router goes on.
    #[test]
    fn hostile_frames_do_no_harm(
        open in any::<bool>(),
        noise in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..20),
        changes in proptest::collection::vec((0usize..7, 12usize..90, any::<u8>()), 0..200),
    ) {
        let restrict = if open { Restrict::No } else { Restrict::Yes };
        // A resolver that is no one: no question leaves this host.
        let resolver = Some("127.0.0.1:9".parse().unwrap());
        let guest = guest(&UserOptions { restrict, resolver, ..Default::default() });
        for frame in noise {
            guest.send(frame);
        }
        for (kind, at, value) in changes {
            let mut frame = match kind {
                0 => dhcp(DhcpMessageType::Discover, None),
                1 => segment(4000, (GATEWAY, 80), TcpControl::Syn, 1, None, b""),
                2 => segment(4000, (GATEWAY, 80), TcpControl::Rst, 1, Some(3), b"x"),
                3 => ip(super::GUEST, GATEWAY, IpProtocol::Icmp, &[8, 0, 0, 0, 1, 2, 3, 4]),
                4 => udp_frame((super::GUEST, 68), (GATEWAY, 67), &[1; 40]),
                5 => fragments((super::GUEST, 5), (GATEWAY, 9), &[1; 90], 48).remove(usize::from(value & 1)),
                _ => ethernet(EthernetProtocol::Arp, &[0; 28]),
            };
            // Not the address it is for: nothing leaves this host.
            if let Some(b) = frame.get_mut(at).filter(|_| !(30..34).contains(&at)) {
                *b = value;
            }
            guest.send(frame);
        }
        guest.send(dhcp(DhcpMessageType::Discover, None));
        guest.receive(|f| opened(f).filter(|o| o.1 == Ipv4Addr::BROADCAST));
        prop_assert!(!guest.net.worker.is_finished());
    }
}
