//! UDP (RFC 768): a connected socket of the host for each flow of the guest.

use super::link::Link;
use super::{GATEWAY, GUEST, interest, is_local};
use rustix::event::{PollFd, PollFlags};
use smoltcp::wire::{IpProtocol, Ipv4Packet, UdpPacket};
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

type End = (Ipv4Addr, u16);

/// Flows at once; the one that was quiet for longest makes room.
const FLOWS: usize = 256;
/// A flow ends when it was quiet so long.
const QUIET: Duration = Duration::from_secs(120);
/// Datagrams of one socket in a turn.
const BURST: usize = 16;
/// Peers of forwarded ports, which the guest sees as ports of the router from here on.
const PEERS: usize = 256;
const FIRST_PEER: u16 = 0xc000;

struct Flow {
    socket: UdpSocket,
    used: Instant,
    ready: bool,
}

struct Forwarded {
    socket: UdpSocket,
    guest: u16,
    ready: bool,
}

/// All flows.
pub(super) struct Udp {
    /// By the guest's end and the other end.
    flows: BTreeMap<(End, End), Flow>,
    forwards: Vec<Forwarded>,
    /// (forward, peer, port of the router), the newest last.
    peers: VecDeque<(usize, SocketAddr, u16)>,
    next_peer: u16,
    buffer: Vec<u8>,
}

/// Ports and data of a datagram.
pub(super) fn parse<'a>(packet: &Ipv4Packet<&'a [u8]>) -> Option<(u16, u16, &'a [u8])> {
    let udp = UdpPacket::new_checked(packet.payload()).ok()?;
    Some((udp.src_port(), udp.dst_port(), udp.payload()))
}

/// A datagram with its header.
pub(super) fn datagram(from: End, to: End, data: &[u8]) -> Option<Vec<u8>> {
    let bytes = u16::try_from(data.len() + 8).ok()?;
    let mut all = vec![0; 8];
    all.extend(data);
    let mut packet = UdpPacket::new_unchecked(&mut *all);
    packet.set_src_port(from.1);
    packet.set_dst_port(to.1);
    packet.set_len(bytes);
    packet.fill_checksum(&from.0.into(), &to.0.into());
    Some(all)
}

impl Udp {
    pub fn new(forwards: Vec<(UdpSocket, u16)>) -> Self {
        let forwards = forwards.into_iter().map(|(socket, guest)| Forwarded {
            socket,
            guest,
            ready: false,
        });
        Self {
            flows: BTreeMap::new(),
            forwards: forwards.collect(),
            peers: VecDeque::new(),
            next_peer: 0,
            buffer: vec![0; 1 << 16],
        }
    }

    /// A datagram of the guest, to `host` or to the peer of a forwarded port.
    pub fn send(&mut self, from: End, to: End, data: &[u8], host: Option<SocketAddr>) {
        // The host's buffers may be full: a datagram may be lost.
        if to.0 == GATEWAY
            && let Some((n, peer, _)) = self.peers.iter().find(|p| p.2 == to.1)
            && let Some(f) = self.forwards.get(*n).filter(|f| f.guest == from.1)
        {
            let _ = f.socket.send_to(data, peer);
            return;
        }
        let Some(host) = host else { return };
        if let Some(flow) = self.flows.get_mut(&(from, to)) {
            flow.used = Instant::now();
            let _ = flow.socket.send(data);
            return;
        }
        if self.flows.len() >= FLOWS {
            let oldest = self.flows.iter().min_by_key(|(_, f)| f.used).map(|f| *f.0);
            oldest.map(|key| self.flows.remove(&key));
        }
        match open(host) {
            Ok(socket) => {
                let _ = socket.send(data);
                let flow = Flow {
                    socket,
                    used: Instant::now(),
                    ready: true,
                };
                self.flows.insert((from, to), flow);
            }
            Err(error) => tracing::debug!(target: "net", %host, %error, "no UDP socket"),
        }
    }

    /// Datagrams for the guest; tells whether there were any.
    pub fn receive(&mut self, link: &mut Link) -> bool {
        let mut moved = false;
        let buffer = &mut self.buffer;
        for ((guest, other), flow) in &mut self.flows {
            for _ in 0..BURST {
                if !flow.ready || link.is_starved() {
                    break;
                }
                match flow.socket.recv(buffer) {
                    Ok(n) => {
                        moved = true;
                        flow.used = Instant::now();
                        give(link, *other, *guest, buffer.get(..n).unwrap_or_default());
                    }
                    Err(_) => flow.ready = false,
                }
            }
        }
        for n in 0..self.forwards.len() {
            for _ in 0..BURST {
                let Some(f) = self.forwards.get_mut(n) else {
                    break;
                };
                if !f.ready || link.is_starved() {
                    break;
                }
                let guest = f.guest;
                match f.socket.recv_from(&mut self.buffer) {
                    Ok((bytes, peer)) => {
                        moved = true;
                        let port = self.peer(n, peer);
                        let data = self.buffer.get(..bytes).unwrap_or_default();
                        give(link, (GATEWAY, port), (GUEST, guest), data);
                    }
                    Err(_) => f.ready = false,
                }
            }
        }
        self.flows.retain(|_, f| f.used.elapsed() < QUIET);
        moved
    }

    /// The router's port for a peer.
    fn peer(&mut self, forward: usize, peer: SocketAddr) -> u16 {
        if let Some((_, _, port)) = self
            .peers
            .iter()
            .find(|(n, a, _)| (*n, *a) == (forward, peer))
        {
            return *port;
        }
        if self.peers.len() >= PEERS {
            self.peers.pop_front();
        }
        let port = FIRST_PEER | self.next_peer & !FIRST_PEER;
        self.next_peer = self.next_peer.wrapping_add(1);
        self.peers.push_back((forward, peer, port));
        port
    }

    pub fn interests<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        let flows = self.flows.values().map(|f| (&f.socket, f.ready));
        let forwards = self.forwards.iter().map(|f| (&f.socket, f.ready));
        for (socket, ready) in flows.chain(forwards) {
            // What waits for room in the card must not wake.
            let flags = if ready {
                PollFlags::empty()
            } else {
                PollFlags::IN
            };
            fds.push(interest(socket, flags));
        }
    }

    pub fn ready(&mut self, mut ready: impl Iterator<Item = bool>) {
        let flows = self.flows.values_mut().map(|f| &mut f.ready);
        let forwards = self.forwards.iter_mut().map(|f| &mut f.ready);
        for flag in flows.chain(forwards) {
            *flag |= ready.next().unwrap_or(false);
        }
    }
}

fn open(host: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: SocketAddr = match host {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(host)?;
    Ok(socket)
}

fn give(link: &mut Link, from: End, to: End, data: &[u8]) {
    if let Some(all) = datagram(from, to, data).filter(|_| is_local(to.0)) {
        link.ip(from.0, to.0, IpProtocol::Udp, &all);
    }
}
