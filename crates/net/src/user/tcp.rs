//! TCP: each connection of the guest ends in a socket of smoltcp, and goes on over one of the host.

use super::link::Link;
use super::{GATEWAY, GUEST, interest};
use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, SocketType};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpCidr, IpEndpoint, Ipv4Packet, TcpPacket, TcpRepr};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};

/// Connections at once; with [`FROM_GUEST`] and [`TO_GUEST`] the bound of their memory (192 MiB).
const FLOWS: usize = 256;
const FROM_GUEST: usize = 256 << 10;
const TO_GUEST: usize = 512 << 10;
/// No segment is cut smaller.
const LEAST_MSS: u16 = 88;
/// Ports of the router for connections from outside.
const FIRST_PORT: u16 = 0x8000;
const HOPS: u8 = 64;

/// The guest's end and the other.
type Key = ((Ipv4Addr, u16), (Ipv4Addr, u16));

enum Stage {
    /// The host's socket is connecting; the guest's SYN waits for the outcome.
    Connecting(Vec<u8>),
    Open(SocketHandle),
}

struct Flow {
    stream: TcpStream,
    stage: Stage,
    readable: bool,
    writable: bool,
    /// The host sent all that it will.
    host_ended: bool,
    /// The guest did, and the host knows.
    guest_ended: bool,
    dead: bool,
}

/// All connections.
pub(super) struct Tcp {
    interface: Interface,
    sockets: SocketSet<'static>,
    flows: BTreeMap<Key, Flow>,
    listeners: Vec<(TcpListener, u16, bool)>,
    next_port: u16,
}

fn socket() -> Socket<'static> {
    let buffer = |bytes| SocketBuffer::new(vec![0; bytes]);
    let mut s = Socket::new(buffer(FROM_GUEST), buffer(TO_GUEST));
    // The programs at both ends decide about delays.
    s.set_nagle_enabled(false);
    s.set_ack_delay(None);
    s.set_hop_limit(Some(HOPS));
    // A guest that went away without a word.
    s.set_timeout(Some(Duration::from_secs(300)));
    s.set_keep_alive(Some(Duration::from_secs(75)));
    s
}

/// Begins to connect.
fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let family = match to {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    match rustix::net::connect(&socket, &to) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket.into()),
        Err(e) => Err(e.into()),
    }
}

impl Tcp {
    pub fn new(link: &mut Link, listeners: Vec<(TcpListener, u16)>) -> Self {
        let mut config = Config::new(HardwareAddress::Ip);
        let mut seed = [0; 8];
        // Sequence numbers that are easy to guess harm no one on this cable.
        let _ = getrandom::fill(&mut seed);
        config.random_seed = u64::from_le_bytes(seed);
        let mut interface = Interface::new(config, link, Instant::ZERO);
        interface.update_ip_addrs(|all| {
            let _ = all.push(IpCidr::new(GATEWAY.into(), 24));
        });
        let _ = interface.routes_mut().add_default_ipv4_route(GATEWAY);
        interface.set_any_ip(true);
        Self {
            interface,
            sockets: SocketSet::new(Vec::new()),
            flows: BTreeMap::new(),
            listeners: listeners.into_iter().map(|(l, p)| (l, p, false)).collect(),
            next_port: 0,
        }
    }

    fn feed(&mut self, link: &mut Link, packet: Vec<u8>, now: Instant) {
        link.input = Some(packet);
        self.interface
            .poll_ingress_single(now, link, &mut self.sockets);
        link.input = None;
    }

    /// A packet of the guest.
    pub fn packet(
        &mut self,
        link: &mut Link,
        packet: &Ipv4Packet<&[u8]>,
        now: Instant,
        may: impl Fn(Ipv4Addr, u16) -> Option<SocketAddr>,
    ) {
        let Ok(tcp) = TcpPacket::new_checked(packet.payload()) else {
            return;
        };
        let (from, to) = (packet.src_addr(), packet.dst_addr());
        if !super::is_local(from) || from == GATEWAY || tcp.dst_port() == 0 || tcp.src_port() == 0 {
            return;
        }
        let key = ((from, tcp.src_port()), (to, tcp.dst_port()));
        let mut bytes = packet.clone().into_inner().to_vec();
        bytes.truncate(packet.total_len().into());
        if tcp.syn() {
            let ignored = smoltcp::phy::ChecksumCapabilities::ignored();
            let parsed = TcpRepr::parse(&tcp, &from.into(), &to.into(), &ignored);
            let sane = parsed.is_ok_and(|r| r.max_seg_size.is_none_or(|m| m >= LEAST_MSS));
            if !sane {
                return;
            }
        }
        if !tcp.syn() || tcp.ack() {
            return self.feed(link, bytes, now);
        }
        match self.flows.get(&key) {
            Some(flow) => match flow.stage {
                Stage::Connecting(_) => return,
                Stage::Open(handle) => match self.sockets.get::<Socket>(handle).state() {
                    // The same ports again: the old connection is over.
                    State::TimeWait | State::Closed => self.remove(&key),
                    _ => return self.feed(link, bytes, now),
                },
            },
            None => self.make_room(),
        }
        let stream = match may(to, tcp.dst_port()) {
            Some(host) if self.flows.len() < FLOWS => connect(host),
            _ => Err(ErrorKind::ConnectionRefused.into()),
        };
        match stream {
            Ok(stream) => {
                self.flows
                    .insert(key, Flow::new(stream, Stage::Connecting(bytes)));
            }
            // Without a listener smoltcp refuses.
            Err(_) => self.feed(link, bytes, now),
        }
    }

    /// Ends a connection that is over but for the waiting, if there are too many.
    fn make_room(&mut self) {
        if self.flows.len() < FLOWS {
            return;
        }
        let over = self.flows.iter().find(|(_, f)| match f.stage {
            Stage::Open(h) => self.sockets.get::<Socket>(h).state() == State::TimeWait,
            Stage::Connecting(_) => false,
        });
        if let Some(key) = over.map(|f| *f.0) {
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(flow) = self.flows.remove(key)
            && let Stage::Open(handle) = flow.stage
        {
            self.sockets.remove(handle);
        }
    }

    /// Moves data both ways; tells whether there may be more to move.
    pub fn relay(&mut self, link: &mut Link, now: Instant) -> bool {
        self.accept();
        let connecting: Vec<Key> = self
            .flows
            .iter()
            .filter(|(_, f)| f.writable && matches!(f.stage, Stage::Connecting(_)))
            .map(|f| *f.0)
            .collect();
        for key in connecting {
            self.connected(link, key, now);
        }
        let mut moved = false;
        for flow in self.flows.values_mut() {
            if let Stage::Open(handle) = flow.stage {
                moved |= flow.relay(self.sockets.get_mut(handle));
            }
        }
        self.interface.poll_egress(now, link, &mut self.sockets);
        self.interface.poll_maintenance(now);
        let ended: Vec<Key> = self
            .flows
            .iter()
            .filter(|(_, f)| match f.stage {
                Stage::Open(h) => self.sockets.get::<Socket>(h).state() == State::Closed,
                Stage::Connecting(_) => f.dead,
            })
            .map(|f| *f.0)
            .collect();
        for key in ended {
            self.remove(&key);
        }
        moved
    }

    /// The host's socket has connected, or has not.
    fn connected(&mut self, link: &mut Link, key: Key, now: Instant) {
        let Some(flow) = self.flows.get_mut(&key) else {
            return;
        };
        let Stage::Connecting(syn) = &mut flow.stage else {
            return;
        };
        let syn = std::mem::take(syn);
        if !matches!(flow.stream.take_error(), Ok(None)) || flow.stream.peer_addr().is_err() {
            self.flows.remove(&key);
            return self.feed(link, syn, now);
        }
        let _ = flow.stream.set_nodelay(true);
        let mut s = socket();
        if s.listen(IpEndpoint::from(key.1)).is_err() {
            self.flows.remove(&key);
            return;
        }
        let handle = self.sockets.add(s);
        flow.stage = Stage::Open(handle);
        self.feed(link, syn, now);
        if self.sockets.get::<Socket>(handle).state() == State::Listen {
            self.remove(&key);
        }
    }

    /// Connections from outside.
    fn accept(&mut self) {
        for n in 0..self.listeners.len() {
            loop {
                self.make_room();
                let full = self.flows.len() >= FLOWS;
                let Some((listener, guest, ready)) = self.listeners.get_mut(n) else {
                    break;
                };
                if !*ready || full {
                    break;
                }
                let guest = *guest;
                match listener.accept() {
                    Ok((stream, _)) => self.forward(stream, guest),
                    Err(_) => *ready = false,
                }
            }
        }
    }

    fn forward(&mut self, stream: TcpStream, guest: u16) {
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let _ = stream.set_nodelay(true);
        let remote = (GUEST, guest);
        // More ports than flows: one of them is free.
        let local = (0..=FLOWS as u16).find_map(|_| {
            let port = FIRST_PORT | self.next_port & 0x3fff;
            self.next_port = self.next_port.wrapping_add(1);
            let end = (GATEWAY, port);
            (!self.flows.contains_key(&(remote, end))).then_some(end)
        });
        let Some(local) = local else { return };
        let mut s = socket();
        let (to, from) = (IpEndpoint::from(remote), IpEndpoint::from(local));
        if s.connect(self.interface.context(), to, from).is_ok() {
            let handle = self.sockets.add(s);
            self.flows
                .insert((remote, local), Flow::new(stream, Stage::Open(handle)));
        }
    }

    /// How long TCP can wait.
    pub fn wait(&mut self, now: Instant) -> Option<std::time::Duration> {
        let wait = self.interface.poll_delay(now, &self.sockets)?;
        // What is due waits for the card, which kicks.
        Some(std::time::Duration::from(wait).max(std::time::Duration::from_millis(1)))
    }

    pub fn interests<'a>(&'a self, fds: &mut Vec<PollFd<'a>>, starved: bool) {
        for (listener, _, ready) in &self.listeners {
            let flags = if *ready {
                PollFlags::empty()
            } else {
                PollFlags::IN
            };
            fds.push(interest(listener, flags));
        }
        for flow in self.flows.values() {
            let mut flags = PollFlags::empty();
            match flow.stage {
                Stage::Connecting(_) => flags |= PollFlags::OUT,
                Stage::Open(handle) => {
                    let s = self.sockets.get::<Socket>(handle);
                    if !flow.readable && !flow.host_ended && s.can_send() && !starved {
                        flags |= PollFlags::IN;
                    }
                    if !flow.writable && s.can_recv() {
                        flags |= PollFlags::OUT;
                    }
                }
            }
            fds.push(interest(&flow.stream, flags));
        }
    }

    pub fn ready(&mut self, mut ready: impl Iterator<Item = bool>) {
        for (_, _, flag) in &mut self.listeners {
            *flag |= ready.next().unwrap_or(false);
        }
        for flow in self.flows.values_mut() {
            if ready.next().unwrap_or(false) {
                flow.readable = true;
                flow.writable = true;
            }
        }
    }
}

impl Flow {
    fn new(stream: TcpStream, stage: Stage) -> Self {
        let open = matches!(stage, Stage::Open(_));
        Self {
            stream,
            stage,
            readable: open,
            writable: open,
            host_ended: false,
            guest_ended: false,
            dead: false,
        }
    }

    /// Moves data both ways; tells whether there may be more.
    fn relay(&mut self, s: &mut Socket) -> bool {
        if s.state() == State::Closed {
            return false;
        }
        let mut moved = false;
        while self.writable && s.can_recv() {
            match s.recv(|data| match self.stream.write(data) {
                Ok(n) => (n, Ok(n)),
                Err(e) => (0, Err(e)),
            }) {
                Ok(Ok(n)) if n > 0 => moved = true,
                Ok(Err(e)) if e.kind() == ErrorKind::Interrupted => {}
                Ok(Err(e)) if e.kind() == ErrorKind::WouldBlock => self.writable = false,
                _ => {
                    s.abort();
                    return true;
                }
            }
        }
        let receiving = matches!(
            s.state(),
            State::Listen | State::SynSent | State::SynReceived
        );
        if !self.guest_ended && !receiving && !s.may_recv() && !s.can_recv() {
            self.guest_ended = true;
            let _ = self.stream.shutdown(Shutdown::Write);
            moved = true;
        }
        while self.readable && !self.host_ended && s.can_send() {
            match s.send(|room| match self.stream.read(room) {
                Ok(n) => (n, Ok(n)),
                Err(e) => (0, Err(e)),
            }) {
                Ok(Ok(0)) => {
                    self.host_ended = true;
                    s.close();
                    moved = true;
                }
                Ok(Ok(_)) => moved = true,
                Ok(Err(e)) if e.kind() == ErrorKind::Interrupted => {}
                Ok(Err(e)) if e.kind() == ErrorKind::WouldBlock => self.readable = false,
                _ => {
                    s.abort();
                    return true;
                }
            }
        }
        moved
    }
}
