//! Datagrams that the guest sends in fragments (RFC 791, 3.2), put together again.
//!
//! Invariant: memory is bounded by [`DATAGRAMS`], [`PIECES`] and IP's longest packet. Fragments that overlap otherwise than as copies end
//! their datagram (as RFC 5722 has it for IPv6).

use smoltcp::wire::{IpProtocol, Ipv4Packet};
use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Datagrams at once; the oldest makes room.
const DATAGRAMS: usize = 16;
/// Fragments of each.
const PIECES: usize = 128;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(15);
const LONGEST: usize = u16::MAX as usize;

type Key = (Ipv4Addr, Ipv4Addr, IpProtocol, u16);

struct Partial {
    key: Key,
    since: Instant,
    /// Of the first fragment.
    header: Option<Vec<u8>>,
    pieces: BTreeMap<usize, Vec<u8>>,
    /// Known from the last one.
    total: Option<usize>,
}

#[derive(Default)]
pub(super) struct Fragments {
    all: VecDeque<Partial>,
}

impl Fragments {
    /// Takes a fragment; the whole packet, if this was the last that was missing.
    pub fn add(&mut self, packet: &Ipv4Packet<&[u8]>, now: Instant) -> Option<Vec<u8>> {
        self.all
            .retain(|p| now.saturating_duration_since(p.since) < PATIENCE);
        let key = (
            packet.src_addr(),
            packet.dst_addr(),
            packet.next_header(),
            packet.ident(),
        );
        let at = match self.all.iter().position(|p| p.key == key) {
            Some(at) => at,
            None => {
                if self.all.len() >= DATAGRAMS {
                    self.all.pop_front();
                }
                self.all.push_back(Partial {
                    key,
                    since: now,
                    header: None,
                    pieces: BTreeMap::new(),
                    total: None,
                });
                self.all.len() - 1
            }
        };
        match self.all.get_mut(at)?.add(packet) {
            Progress::Waits => None,
            Progress::Whole(bytes) => {
                self.all.remove(at);
                Some(bytes)
            }
            Progress::Broken => {
                self.all.remove(at);
                None
            }
        }
    }
}

enum Progress {
    Waits,
    Whole(Vec<u8>),
    Broken,
}

impl Partial {
    fn add(&mut self, packet: &Ipv4Packet<&[u8]>) -> Progress {
        let (at, data) = (usize::from(packet.frag_offset()), packet.payload());
        let end = at + data.len();
        let last = !packet.more_frags();
        let uneven = !last && !data.len().is_multiple_of(8);
        if uneven || data.is_empty() || end > LONGEST || self.total.is_some_and(|t| end > t) {
            return Progress::Broken;
        }
        if self.pieces.get(&at).is_some_and(|p| p == data) {
            return Progress::Waits;
        }
        let before = self.pieces.range(..=at).next_back();
        let overlaps = before.is_some_and(|(start, p)| start + p.len() > at)
            || self.pieces.range(at..end).next().is_some();
        if overlaps || self.pieces.len() >= PIECES {
            return Progress::Broken;
        }
        if last {
            if self.total.is_some() || self.pieces.range(end..).next().is_some() {
                return Progress::Broken;
            }
            self.total = Some(end);
        }
        if at == 0 {
            let header = usize::from(packet.header_len());
            self.header = packet
                .clone()
                .into_inner()
                .get(..header)
                .map(<[u8]>::to_vec);
        }
        self.pieces.insert(at, data.to_vec());
        let here: usize = self.pieces.values().map(Vec::len).sum();
        match &self.header {
            Some(header) if self.total == Some(here) && header.len() + here <= LONGEST => {
                let mut whole = header.clone();
                whole.extend(self.pieces.values().flatten());
                let mut packet = Ipv4Packet::new_unchecked(&mut whole[..]);
                packet.set_total_len((header.len() + here) as u16);
                packet.set_more_frags(false);
                packet.set_frag_offset(0);
                Progress::Whole(whole)
            }
            _ => Progress::Waits,
        }
    }
}
