//! The user network: a router in this process (10.0.2.2) between the guest and the host's sockets.
//!
//! The guest gets 10.0.2.15 by DHCP (RFC 2131) and may ask 10.0.2.3 for names, which the host's resolver answers. 10.0.2.2 is the host:
//! connections there go to the host's loopback. TCP ends here, in smoltcp, and goes on over a socket of the host; so do UDP and pings.
//! Fragments that the guest sends are dropped.

mod link;
mod ping;
mod services;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use crate::{Backend, Dump, Error, Nic};
use link::Link;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smoltcp::wire::{ArpPacket, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
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
    /// Where all frames are written.
    pub dump: Option<PathBuf>,
}

struct Shared {
    nic: Mutex<Option<Arc<dyn Nic>>>,
    closed: AtomicBool,
    /// A kick is on its way.
    kicked: AtomicBool,
    waker: UnixStream,
}

/// A user network.
pub struct User {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
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
        let dump = match &options.dump {
            Some(path) => Some(Dump::create(path).map_err(|source| Error::Dump {
                path: path.clone(),
                source,
            })?),
            None => None,
        };
        let (waker, woken) = UnixStream::pair().map_err(Error::Thread)?;
        for end in [&waker, &woken] {
            end.set_nonblocking(true).map_err(Error::Thread)?;
        }
        let shared = Arc::new(Shared {
            nic: Mutex::new(None),
            closed: AtomicBool::new(false),
            kicked: AtomicBool::new(false),
            waker,
        });
        let (theirs, restrict) = (shared.clone(), options.restrict);
        let thread = std::thread::Builder::new()
            .name("net-user".into())
            .spawn(move || Router::new(theirs, woken, tcp, udp, restrict, dump).run())
            .map_err(Error::Thread)?;
        Ok(Self {
            shared,
            thread: Some(thread),
            listening,
        })
    }

    /// Where the forwarded ports are, in the order of the options: for those asked for as port 0.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }
}

impl Shared {
    fn kick(&self) {
        if !self.kicked.swap(true, Ordering::SeqCst) {
            // A full pipe wakes, too.
            let _ = (&self.waker).write(&[0]);
        }
    }
}

impl Backend for User {
    fn attach(&self, nic: Arc<dyn Nic>) {
        *self
            .shared
            .nic
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(nic);
        self.shared.kick();
    }

    fn kick(&self) {
        self.shared.kick();
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.kicked.store(false, Ordering::SeqCst);
        self.shared.kick();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Where a guest's packet to `to` goes from here, if it may.
fn target(to: Ipv4Addr, port: u16, resolver: IpAddr) -> Option<SocketAddr> {
    let host = match to {
        GATEWAY => Ipv4Addr::LOCALHOST.into(),
        DNS if port == 53 => resolver,
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
    shared: Arc<Shared>,
    woken: UnixStream,
    link: Link,
    tcp: tcp::Tcp,
    udp: udp::Udp,
    pings: ping::Pings,
    resolver: IpAddr,
    restrict: Restrict,
    start: Instant,
}

impl Router {
    fn new(
        shared: Arc<Shared>,
        woken: UnixStream,
        tcp: Vec<(TcpListener, u16)>,
        udp: Vec<(UdpSocket, u16)>,
        restrict: Restrict,
        dump: Option<Dump>,
    ) -> Self {
        let mut link = Link::new(dump);
        Self {
            shared,
            woken,
            tcp: tcp::Tcp::new(&mut link, tcp),
            link,
            udp: udp::Udp::new(udp),
            pings: ping::Pings::default(),
            resolver: services::resolver(),
            restrict,
            start: Instant::now(),
        }
    }

    fn now(&self) -> smoltcp::time::Instant {
        smoltcp::time::Instant::from_micros(self.start.elapsed().as_micros() as i64)
    }

    fn run(mut self) {
        let mut frame = Vec::new();
        while !self.shared.closed.load(Ordering::SeqCst) {
            self.shared.kicked.store(false, Ordering::SeqCst);
            self.link.nic = self
                .shared
                .nic
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let mut busy = self.turn(&mut frame);
            if let (false, Some(nic)) = (busy, &self.link.nic) {
                busy = nic.arm(self.link.is_starved());
            }
            self.sleep(busy);
        }
        self.link.flush();
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
        self.link.sent(frame);
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
                let whole = !packet.more_frags() && packet.frag_offset() == 0;
                if packet.version() == 4 && whole && from.is_unicast() {
                    self.link.peer = from.0;
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
    fn sleep(&mut self, busy: bool) {
        let now = self.now();
        let nap = match busy {
            true => Duration::ZERO,
            false => self.tcp.wait(now).map_or(NAP, |w| w.min(NAP)),
        };
        let ready: Vec<bool> = {
            let mut fds = vec![PollFd::new(&self.woken, PollFlags::IN)];
            let own = fds.len();
            self.tcp.interests(&mut fds, self.link.is_starved());
            self.udp.interests(&mut fds);
            self.pings.interests(&mut fds);
            let limit = Timespec {
                tv_sec: nap.as_secs() as i64,
                tv_nsec: nap.subsec_nanos().into(),
            };
            // Interrupted or out of memory: everything is tried.
            let failed = poll(&mut fds, Some(&limit)).is_err();
            fds.iter()
                .skip(own)
                .map(|f| failed || !f.revents().is_empty())
                .collect()
        };
        let mut ready = ready.into_iter();
        self.tcp.ready(&mut ready);
        self.udp.ready(&mut ready);
        self.pings.ready(&mut ready);
        let mut bytes = [0; 16];
        while matches!((&self.woken).read(&mut bytes), Ok(n) if n > 0) {}
    }
}

/// Interest in a socket.
fn interest<'a>(socket: &'a impl AsFd, flags: PollFlags) -> PollFd<'a> {
    PollFd::new(socket, flags)
}
