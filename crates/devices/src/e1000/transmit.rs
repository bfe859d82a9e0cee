//! From descriptors to frames (3.3, 3.4).

use super::offload;
use super::regs::{self, cause, ctrl, statistic};
use super::state::{State, Transmit};
use crate::ethernet;
use crate::pci::Dma;
use serde::{Deserialize, Serialize};

/// The largest packet that is put together.
const LONGEST: usize = 1 << 17;

/// A descriptor's commands (3.3.3.1); all kinds have them at the same place.
mod command {
    pub const EOP: u8 = 1;
    /// Legacy: insert a checksum.
    pub const IC: u8 = 4;
    /// Extended: segmentation.
    pub const TSE: u8 = 4;
    pub const RS: u8 = 8;
    pub const DEXT: u8 = 0x20;
    pub const VLE: u8 = 0x40;
    /// Of a context descriptor.
    pub const TCP: u8 = 1;
    pub const IPV4: u8 = 2;
}
/// Status: done.
const DD: u8 = 1;
/// Packet options (3.3.7.2).
const IXSM: u8 = 1;
const TXSM: u8 = 2;

/// What a context descriptor says (3.3.6).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Context {
    pub ip_start: u8,
    pub ip_sum: u8,
    pub ip_end: u16,
    pub tu_start: u8,
    pub tu_sum: u8,
    pub tu_end: u16,
    pub is_tcp: bool,
    pub is_ipv4: bool,
    pub header_length: u8,
    pub segment: u16,
}

/// What a packet wants done, taken from its first descriptor, or from its last if that is a legacy one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Wish {
    #[default]
    Nothing,
    /// Legacy: a checksum from `start` on at `at`.
    Sum { start: u8, at: u8 },
    /// Extended.
    Offload { options: u8, segmented: bool },
}

/// A packet that is whole, and how much of it is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Going {
    packet: Vec<u8>,
    wish: Wish,
    context: Context,
    /// A VLAN's, to be put in.
    tag: Option<[u8; 4]>,
    next: usize,
    count: usize,
}

impl Going {
    /// The next frame.
    fn frame(&mut self) -> Vec<u8> {
        let c = &self.context;
        let mut frame = match self.wish {
            Wish::Offload {
                segmented: true, ..
            } if self.count > 0 => offload::segment(&self.packet, c, self.next, self.count),
            _ => std::mem::take(&mut self.packet),
        };
        self.next += 1;
        match self.wish {
            Wish::Nothing => {}
            Wish::Sum { start, at } => offload::insert(&mut frame, start, at, 0),
            Wish::Offload { options, .. } => {
                if options & IXSM != 0 {
                    offload::insert(&mut frame, c.ip_start, c.ip_sum, c.ip_end);
                }
                if options & TXSM != 0 {
                    offload::insert(&mut frame, c.tu_start, c.tu_sum, c.tu_end);
                }
            }
        }
        if let Some(tag) = self.tag.filter(|_| frame.len() >= 12) {
            frame.splice(12..12, tag);
        }
        frame
    }

    fn is_over(&self) -> bool {
        self.next >= self.count.max(1)
    }
}

/// A packet that is being put together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Packet {
    data: Vec<u8>,
    wish: Wish,
}

impl Packet {
    /// Whether it may go on, in a state from elsewhere.
    pub fn is_sound(&self) -> bool {
        self.data.len() <= LONGEST
    }
}

impl Transmit {
    fn is_on(&self) -> bool {
        self.tctl & regs::TCTL_EN != 0
    }

    /// Whether there is something for [`next`].
    pub fn has_more(&self) -> bool {
        self.going.is_some() || self.is_on() && self.ring.owned() > 0
    }
}

/// The next frame, in place of what `frame` held; `false` if there is none.
pub(super) fn next(s: &mut State, dma: &Dma, frame: &mut Vec<u8>) -> bool {
    // One turn of the ring at most: a tail that never comes does not hold anyone up.
    let mut left = s.transmit.ring.count();
    loop {
        if let Some(going) = &mut s.transmit.going {
            *frame = going.frame();
            if going.is_over() {
                s.transmit.going = None;
            }
            count(s, frame);
            return true;
        }
        if left == 0 || !s.transmit.is_on() || s.transmit.ring.owned() == 0 {
            return false;
        }
        left -= 1;
        descriptor(s, dma);
    }
}

/// Statistics (13.7).
fn count(s: &mut State, frame: &[u8]) {
    use statistic::*;
    let bytes = frame.len().max(ethernet::SHORTEST) + ethernet::FCS;
    for one in [GPTC, TPT] {
        s.count(one, 1);
    }
    for one in [GOTC, TOT] {
        s.count_bytes(one, bytes);
    }
    match ethernet::destination(frame) {
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => s.count(BPTC, 1),
        to if ethernet::is_group(to) => s.count(MPTC, 1),
        _ => {}
    }
}

/// Works at the descriptor at the head.
fn descriptor(s: &mut State, dma: &Dma) {
    let at = s.transmit.ring.at();
    let mut d = [0; 16];
    if dma.read(at, &mut d).is_err() {
        // No memory there: nothing of the ring can be had.
        s.transmit.ring.head = s.transmit.ring.tail;
        return;
    }
    let order = d[11];
    let kind = match order & command::DEXT {
        0 => None,
        _ => Some(d[10] >> 4),
    };
    match kind {
        None => legacy(s, dma, &d),
        Some(0) => context(s, &d),
        Some(_) => extended(s, dma, &d),
    }
    if order & command::RS != 0 {
        let _ = dma.write(at + 12, &[d[12] | DD]);
        s.interrupt.cause |= cause::TXDW;
    }
    s.transmit.ring.advance();
    if s.transmit.ring.owned() == 0 {
        s.interrupt.cause |= cause::TXQE;
    }
}

/// Adds a descriptor's data to the packet.
fn gather(s: &mut State, dma: &Dma, d: &[u8; 16], length: usize) {
    let [a, b, c, e, f, g, h, i, ..] = *d;
    let from = u64::from_le_bytes([a, b, c, e, f, g, h, i]);
    let data = &mut s.transmit.packet.data;
    let start = data.len();
    // More than any packet has: the rest is lost.
    let length = length.min(LONGEST - start.min(LONGEST));
    data.resize(start + length, 0);
    if let Some(place) = data.get_mut(start..)
        && dma.read(from, place).is_err()
    {
        place.fill(0);
    }
}

fn legacy(s: &mut State, dma: &Dma, d: &[u8; 16]) {
    gather(s, dma, d, u16::from_le_bytes([d[8], d[9]]).into());
    if d[11] & command::EOP != 0 {
        if d[11] & command::IC != 0 {
            s.transmit.packet.wish = Wish::Sum {
                start: d[13],
                at: d[10],
            };
        }
        finish(s, d);
    }
}

fn context(s: &mut State, d: &[u8; 16]) {
    let order = d[11];
    let which = usize::from(order & command::TSE != 0);
    let word = |n: usize| u16::from_le_bytes([d[n], d[n + 1]]);
    if let Some(place) = s.transmit.contexts.get_mut(which) {
        *place = Context {
            ip_start: d[0],
            ip_sum: d[1],
            ip_end: word(2),
            tu_start: d[4],
            tu_sum: d[5],
            tu_end: word(6),
            is_tcp: order & command::TCP != 0,
            is_ipv4: order & command::IPV4 != 0,
            header_length: d[13],
            segment: word(14),
        };
    }
}

fn extended(s: &mut State, dma: &Dma, d: &[u8; 16]) {
    if s.transmit.packet.data.is_empty() {
        s.transmit.packet.wish = Wish::Offload {
            options: d[13],
            segmented: d[11] & command::TSE != 0,
        };
    }
    let length = u32::from_le_bytes([d[8], d[9], d[10] & 15, 0]) as usize;
    gather(s, dma, d, length);
    if d[11] & command::EOP != 0 {
        finish(s, d);
    }
}

/// The packet is whole: frames are made of it.
fn finish(s: &mut State, d: &[u8; 16]) {
    let Packet { data, wish } = std::mem::take(&mut s.transmit.packet);
    if data.is_empty() {
        return;
    }
    let (mut context, mut count) = (Context::default(), 0);
    if let Wish::Offload { segmented, .. } = wish {
        let which = usize::from(segmented);
        context = s.transmit.contexts.get(which).cloned().unwrap_or_default();
        if segmented {
            // A packet that cannot be cut goes as it is.
            count = offload::segments(&data, &context).unwrap_or(0);
            s.count(statistic::TSCTC, 1);
        }
    }
    let tagged = d[11] & command::VLE != 0 && s.general.ctrl & ctrl::VME != 0;
    let [high, low] = (s.vlan_type() as u16).to_be_bytes();
    s.transmit.going = Some(Going {
        packet: data,
        wish,
        context,
        // The special field, in the order of the cable (3.3.3.3).
        tag: tagged.then_some([high, low, d[15], d[14]]),
        next: 0,
        count,
    });
}
