//! The user network: a router in this process (10.0.2.2) between the guest and the host's sockets.
//!
//! The guest gets 10.0.2.15 by DHCP (RFC 2131) and may ask 10.0.2.3 for names, which the host's resolver answers. 10.0.2.2 is the host:
//! connections there go to the host's loopback. TCP ends here, in smoltcp, and goes on over a socket of the host; so do UDP and pings.
//! Absent: IPv6.

mod fragments;
mod link;
mod ping;
mod services;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use crate::worker::{Seat, Worker};
use crate::{Backend, Error, Nic};
use link::Link;
use rustix::event::{PollFd, PollFlags};
use smoltcp::wire::{ArpPacket, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The network's addresses.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
pub(crate) const DNS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
pub(crate) const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
pub(crate) const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
/// The router's hardware address, locally administered.
pub(crate) const ROUTER: [u8; 6] = [0x52, 0x55, 10, 0, 2, 2];
/// Frames that are taken before the sockets get their turn.
const BATCH: usize = 64;
/// The longest sleep.
const NAP: Duration = Duration::from_secs(5);

/// What a forwarded port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// A port of the host that leads to one of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    pub protocol: Protocol,
    pub host: SocketAddr,
    pub guest: u16,
}

/// Whether the guest may go out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restrict {
    #[default]
    No,
    /// Only DHCP, the router's own answers and forwarded ports.
    Yes,
}

/// What a user network is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserOptions {
    pub forwards: Vec<Forward>,
    pub restrict: Restrict,
    /// Who answers the guest's questions for names; by default the host's first resolver.
    pub resolver: Option<SocketAddr>,
}

/// A user network.
pub struct User {
    worker: Worker,
    listening: Vec<SocketAddr>,
}

impl User {
    /// Starts the network; it serves once a card is attached.
    pub fn new(options: &UserOptions) -> Result<Self, Error> {
        let (mut tcp, mut udp) = (Vec::new(), Vec::new());
        let mut listening = Vec::new();
        for f in &options.forwards {
            let failed = |protocol| {
                move |source| Error::Listen {
                    protocol,
                    address: f.host,
                    guest: f.guest,
                    source,
                }
            };
            match f.protocol {
                Protocol::Tcp => {
                    let l = TcpListener::bind(f.host).map_err(failed("tcp"))?;
                    l.set_nonblocking(true).map_err(failed("tcp"))?;
                    listening.push(l.local_addr().map_err(failed("tcp"))?);
                    tcp.push((l, f.guest));
                }
                Protocol::Udp => {
                    let s = UdpSocket::bind(f.host).map_err(failed("udp"))?;
                    s.set_nonblocking(true).map_err(failed("udp"))?;
                    listening.push(s.local_addr().map_err(failed("udp"))?);
                    udp.push((s, f.guest));
                }
            }
        }
        let restrict = options.restrict;
        let resolver = options
            .resolver
            .unwrap_or_else(|| (services::resolver(), 53).into());
        let worker = Worker::start("net-user", move |seat| {
            Router::new(tcp, udp, restrict, resolver).run(&seat);
        })?;
        Ok(Self { worker, listening })
    }

    /// Where the forwarded ports are, in the order of the options: for those asked for as port 0.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }
}

impl Backend for User {
    fn attach(&self, nic: Arc<dyn Nic>) {
        self.worker.attach(nic);
    }

    fn kick(&self) {
        self.worker.kick();
    }

    /// TCP ends here.
    fn takes_offloads(&self) -> bool {
        true
    }
}

/// Where a guest's packet to `to` goes from here, if it may.
fn target(to: Ipv4Addr, port: u16, resolver: SocketAddr) -> Option<SocketAddr> {
    let host: IpAddr = match to {
        GATEWAY => Ipv4Addr::LOCALHOST.into(),
        DNS if port == 53 => return Some(resolver),
        // The rest of this network, the host's loopback by its own name, and what is no host.
        _ if is_local(to) || to.is_loopback() || to.octets()[0] == 0 => return None,
        _ if to.is_multicast() || to.is_broadcast() || to.octets()[0] >= 240 => return None,
        _ => to.into(),
    };
    Some(SocketAddr::new(host, port))
}

fn is_local(a: Ipv4Addr) -> bool {
    a.octets()[..3] == GATEWAY.octets()[..3]
}

/// The thread's state.
struct Router {
    link: Link,
    tcp: tcp::Tcp,
    udp: udp::Udp,
    pings: ping::Pings,
    fragments: fragments::Fragments,
    resolver: SocketAddr,
    restrict: Restrict,
    start: Instant,
}

impl Router {
    fn new(
        tcp: Vec<(TcpListener, u16)>,
        udp: Vec<(UdpSocket, u16)>,
        restrict: Restrict,
        resolver: SocketAddr,
    ) -> Self {
        let mut link = Link::new();
        Self {
            tcp: tcp::Tcp::new(&mut link, tcp),
            link,
            udp: udp::Udp::new(udp),
            pings: ping::Pings::default(),
            fragments: fragments::Fragments::default(),
            resolver,
            restrict,
            start: Instant::now(),
        }
    }

    fn now(&self) -> smoltcp::time::Instant {
        smoltcp::time::Instant::from_micros(self.start.elapsed().as_micros() as i64)
    }

    fn run(mut self, seat: &Seat) {
        let mut frame = Vec::new();
        while !seat.is_closed() {
            self.link.nic = seat.nic();
            let mut busy = self.turn(&mut frame);
            if let (false, Some(nic)) = (busy, &self.link.nic) {
                busy = nic.arm(self.link.is_starved());
            }
            self.sleep(seat, busy);
        }
    }

    /// Moves what can be moved; tells whether there may be more.
    fn turn(&mut self, frame: &mut Vec<u8>) -> bool {
        let Some(nic) = self.link.nic.clone() else {
            return false;
        };
        nic.disarm();
        self.link.retry();
        let mut taken = 0;
        while taken < BATCH && nic.take(frame) {
            taken += 1;
            self.frame(frame);
        }
        let now = self.now();
        let mut moved = self.tcp.relay(&mut self.link, now);
        moved |= self.udp.receive(&mut self.link);
        self.pings.receive(&mut self.link);
        (taken == BATCH || moved) && !self.link.is_starved()
    }

    /// A frame of the guest.
    fn frame(&mut self, frame: &[u8]) {
        let Ok(ethernet) = EthernetFrame::new_checked(frame) else {
            return;
        };
        let from = ethernet.src_addr();
        match ethernet.ethertype() {
            EthernetProtocol::Arp => {
                if let Ok(packet) = ArpPacket::new_checked(ethernet.payload()) {
                    services::arp(&mut self.link, &packet);
                }
            }
            EthernetProtocol::Ipv4 => {
                let Ok(packet) = Ipv4Packet::new_checked(ethernet.payload()) else {
                    return;
                };
                if packet.version() != 4 || !from.is_unicast() {
                    return;
                }
                self.link.peer = from.0;
                if !packet.more_frags() && packet.frag_offset() == 0 {
                    self.packet(&packet);
                } else if let Some(whole) = self.fragments.add(&packet, Instant::now())
                    && let Ok(packet) = Ipv4Packet::new_checked(&whole[..])
                {
                    self.packet(&packet);
                }
            }
            _ => {}
        }
    }

    fn packet(&mut self, packet: &Ipv4Packet<&[u8]>) {
        let may = |to: Ipv4Addr, port| match self.restrict {
            Restrict::Yes => None,
            Restrict::No => target(to, port, self.resolver),
        };
        let (from, to) = (packet.src_addr(), packet.dst_addr());
        match packet.next_header() {
            IpProtocol::Tcp => {
                let now = self.now();
                self.tcp.packet(&mut self.link, packet, now, may);
            }
            IpProtocol::Udp => match udp::parse(packet) {
                Some((_, services::DHCP_SERVER, data)) => services::dhcp(&mut self.link, data),
                Some((source, port, data)) if is_local(from) => {
                    self.udp
                        .send((from, source), (to, port), data, may(to, port));
                }
                _ => {}
            },
            IpProtocol::Icmp if is_local(from) => {
                if to == GATEWAY || to == DNS {
                    services::echo(&mut self.link, packet);
                } else if may(to, 0).is_some() {
                    self.pings.send(packet);
                }
            }
            _ => {}
        }
    }

    /// Waits for the guest, the sockets, or the time that TCP waits for.
    fn sleep(&mut self, seat: &Seat, busy: bool) {
        let now = self.now();
        let nap = match busy {
            true => Duration::ZERO,
            false => self.tcp.wait(now).map_or(NAP, |w| w.min(NAP)),
        };
        let mut ready = seat
            .sleep(nap, |fds| {
                self.tcp.interests(fds, self.link.is_starved());
                self.udp.interests(fds);
                self.pings.interests(fds);
            })
            .into_iter();
        self.tcp.ready(&mut ready);
        self.udp.ready(&mut ready);
        self.pings.ready(&mut ready);
    }
}

/// Interest in a socket.
fn interest<'a>(socket: &'a impl AsFd, flags: PollFlags) -> PollFd<'a> {
    PollFd::new(socket, flags)
}
