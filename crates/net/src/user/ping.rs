//! Pings beyond the router, by the host's unprivileged ICMP sockets, where it has them (Linux: net.ipv4.ping_group_range).

use super::interest;
use super::link::Link;
use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, socket};
use smoltcp::wire::Ipv4Packet;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

/// Pings of this many programs and hosts at once.
const MOST: usize = 32;

struct Ping {
    socket: OwnedFd,
    guest: Ipv4Addr,
    host: Ipv4Addr,
    ident: [u8; 2],
    ready: bool,
}

#[derive(Default)]
pub(super) struct Pings {
    all: VecDeque<Ping>,
}

impl Pings {
    /// An echo request of the guest.
    pub fn send(&mut self, packet: &Ipv4Packet<&[u8]>) {
        let [8, 0, _, _, a, b, ..] = packet.payload() else {
            return;
        };
        let (guest, host, ident) = (packet.src_addr(), packet.dst_addr(), [*a, *b]);
        let same = |p: &Ping| (p.guest, p.host, p.ident) == (guest, host, ident);
        if !self.all.iter().any(same) {
            let Ok(socket) = open(host) else { return };
            if self.all.len() >= MOST {
                self.all.pop_front();
            }
            self.all.push_back(Ping {
                socket,
                guest,
                host,
                ident,
                ready: false,
            });
        }
        if let Some(p) = self.all.iter().find(|p| same(p)) {
            let _ = rustix::net::send(&p.socket, packet.payload(), SendFlags::DONTWAIT);
        }
    }

    /// Answers for the guest.
    pub fn receive(&mut self, link: &mut Link) {
        let mut buffer = [0; 2048];
        for p in self.all.iter_mut().filter(|p| p.ready) {
            while let Ok((n, _)) =
                rustix::net::recv(&p.socket, &mut buffer[..], RecvFlags::DONTWAIT)
            {
                let mut message = buffer.get(..n).unwrap_or_default();
                // Some hosts show IP's header.
                if message.first().is_some_and(|b| b >> 4 == 4) {
                    message = message.get(20..).unwrap_or_default();
                }
                // The host's kernel puts an identifier of its own in.
                if let [0, 0, _, _, _, _, data @ ..] = message {
                    let rest = [&p.ident, data].concat();
                    super::services::echo_reply(link, p.host, p.guest, &rest);
                }
            }
            p.ready = false;
        }
    }

    pub fn interests<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        fds.extend(self.all.iter().map(|p| interest(&p.socket, PollFlags::IN)));
    }

    pub fn ready(&mut self, mut ready: impl Iterator<Item = bool>) {
        for p in &mut self.all {
            p.ready |= ready.next().unwrap_or(false);
        }
    }
}

fn open(host: Ipv4Addr) -> rustix::io::Result<OwnedFd> {
    let s = socket(AddressFamily::INET, SocketType::DGRAM, Some(ipproto::ICMP))?;
    rustix::io::ioctl_fionbio(&s, true)?;
    rustix::net::connect(&s, &SocketAddrV4::new(host, 0))?;
    Ok(s)
}
