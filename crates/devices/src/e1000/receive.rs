//! From frames to descriptors (3.2).

use super::offload;
use super::regs::{IPOFL, PLAIN, RAH_AV, TUOFL, VET, cause, ctrl, rctl, statistic};
use super::state::{Receive, State};
use crate::ethernet;
use crate::pci::Dma;
use std::sync::atomic::{Ordering, fence};

/// Status (3.2.3.1).
mod status {
    pub const DD: u8 = 1;
    pub const EOP: u8 = 2;
    pub const IXSM: u8 = 4;
    pub const VP: u8 = 8;
    pub const TCPCS: u8 = 0x20;
    pub const IPCS: u8 = 0x40;
    pub const PIF: u8 = 0x80;
}
/// Errors (3.2.3.2).
const TCPE: u8 = 0x20;
const IPE: u8 = 0x40;

/// The longest frame without LPE, its check sequence included, and with it (13.4.22).
const LONG: usize = 1522;
const LONGEST: usize = 16_384;

/// Why a frame passes the filters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    Exact,
    /// By a hash: the driver looks again.
    Inexact,
}

impl State {
    /// The EtherType of VLAN tags.
    pub fn vlan_type(&self) -> u32 {
        let n = PLAIN.iter().position(|p| p.0 == VET);
        n.and_then(|n| self.plain.get(n))
            .copied()
            .unwrap_or_default()
    }
}

impl Receive {
    /// Bytes of a buffer.
    fn buffer(&self) -> usize {
        let size = self.rctl >> 16 & 3;
        match self.rctl & rctl::BSEX {
            0 => 2048 >> size,
            _ => 32_768 >> size.max(1),
        }
    }

    /// Whether a frame of ordinary length fits.
    pub fn has_room(&self) -> bool {
        self.rctl & rctl::EN == 0 || self.ring.owned() as usize * self.buffer() >= LONG
    }

    /// The filters of 3.2.1, but for VLANs.
    fn accepts(&self, to: [u8; 6]) -> Option<Match> {
        let on = |bit| self.rctl & bit != 0;
        if to == [0xff; 6] && on(rctl::BAM) {
            return Some(Match::Exact);
        }
        let [a, b, c, d, e, f] = to;
        let wanted = [
            u32::from_le_bytes([a, b, c, d]),
            u32::from(u16::from_le_bytes([e, f])),
        ];
        let (pairs, _) = self.addresses.as_chunks::<2>();
        let mine = |p: &[u32; 2]| {
            // Address select 0 is the destination.
            p[1] & RAH_AV != 0 && [p[0], p[1] & 0x3_ffff] == wanted
        };
        if pairs.iter().any(mine) {
            return Some(Match::Exact);
        }
        if !ethernet::is_group(to) {
            return on(rctl::UPE).then_some(Match::Exact);
        }
        if on(rctl::MPE) {
            return Some(Match::Exact);
        }
        // Twelve bits of the address's end (13.5.1).
        let hash =
            u32::from(u16::from_le_bytes([e, f])) >> [4, 3, 2, 0][self.rctl as usize >> 12 & 3];
        let hash = hash & 0xfff;
        let group = self.groups.get(hash as usize >> 5).copied().unwrap_or(0);
        (group >> (hash & 31) & 1 != 0).then_some(Match::Inexact)
    }

    fn is_below_threshold(&self) -> bool {
        let fraction = 2 << (self.rctl >> 8 & 3);
        self.ring.owned() <= self.ring.count() / fraction
    }
}

/// A frame for the guest; `false` if it has to wait for descriptors.
pub(super) fn frame(s: &mut State, dma: &Dma, frame: &[u8]) -> bool {
    if s.receive.rctl & rctl::EN == 0 || s.receive.ring.count() == 0 {
        return true;
    }
    let to = ethernet::destination(frame);
    let Some(how) = s.receive.accepts(to) else {
        s.count(statistic::TPR, 1);
        return true;
    };
    let verdict = offload::verify(frame);
    let mut whole = ethernet::on_the_cable(frame);
    let most = match s.receive.rctl & rctl::LPE {
        0 => LONG,
        _ => LONGEST,
    };
    if whole.len() > most {
        s.count(statistic::ROC, 1);
        return true;
    }
    let Some(tag) = vlan(s, &mut whole) else {
        return true;
    };
    let bytes = whole.len();
    if s.receive.rctl & rctl::SECRC != 0 {
        whole.truncate(bytes - ethernet::FCS);
    }
    let size = s.receive.buffer();
    let needed = whole.len().div_ceil(size) as u32;
    if needed > s.receive.ring.owned() {
        if needed >= s.receive.ring.count() {
            s.count(statistic::MPC, 1);
            s.interrupt.cause |= cause::RXO;
            return true;
        }
        return false;
    }
    write(s, dma, &whole, how, verdict, tag);
    count(s, to, bytes);
    s.interrupt.cause |= cause::RXT0;
    if s.receive.is_below_threshold() {
        s.interrupt.cause |= cause::RXDMT0;
    }
    true
}

/// Takes the VLAN tag out, if that is wanted; `None` if the frame's VLAN is filtered (9.3).
fn vlan(s: &State, whole: &mut Vec<u8>) -> Option<Option<u16>> {
    let kind = s.vlan_type() as u16;
    let tag = match whole.get(12..16) {
        Some(&[a, b, c, d]) if u16::from_be_bytes([a, b]) == kind => u16::from_be_bytes([c, d]),
        _ => return Some(None),
    };
    if s.receive.rctl & rctl::VFE != 0 {
        let id = usize::from(tag & 0xfff);
        let word = s.receive.vlans.get(id >> 5).copied().unwrap_or(0);
        if word >> (id & 31) & 1 == 0 {
            return None;
        }
    }
    if s.general.ctrl & ctrl::VME == 0 {
        return Some(None);
    }
    whole.drain(12..16);
    Some(Some(tag))
}

/// Fills descriptors.
fn write(
    s: &mut State,
    dma: &Dma,
    whole: &[u8],
    how: Match,
    verdict: offload::Verdict,
    tag: Option<u16>,
) {
    let (mut flags, mut errors) = (status::DD, 0);
    if how == Match::Inexact {
        flags |= status::PIF;
    }
    let on = |bit: u32| s.receive.rxcsum & bit != 0;
    let checked = [
        (verdict.ip.filter(|_| on(IPOFL)), status::IPCS, IPE),
        (verdict.transport.filter(|_| on(TUOFL)), status::TCPCS, TCPE),
    ];
    if checked.iter().all(|c| c.0.is_none()) {
        flags |= status::IXSM;
    }
    for (found, bit, error) in checked {
        flags |= found.map_or(0, |_| bit);
        errors |= found.map_or(0, |fine| if fine { 0 } else { error });
    }
    if tag.is_some() {
        flags |= status::VP;
    }
    let start = (s.receive.rxcsum & 0xff) as usize;
    let packet_sum = offload::sum(whole.get(start..).unwrap_or_default(), 0);
    let size = s.receive.buffer();
    let count = whole.len().div_ceil(size);
    for (n, part) in whole.chunks(size).enumerate() {
        let at = s.receive.ring.at();
        let to = dma.load::<u64>(at).unwrap_or(u64::MAX);
        // What cannot be written is lost, as on a bus that aborts.
        let _ = dma.write(to, part);
        let last = n + 1 == count;
        let _ = dma.store(at.wrapping_add(8), part.len() as u16);
        let _ = dma.store(at.wrapping_add(10), packet_sum);
        let _ = dma.store(at.wrapping_add(14), tag.unwrap_or(0));
        let done = match last {
            true => [flags | status::EOP, errors],
            false => [status::DD, 0],
        };
        // What DD stands for is there before it.
        fence(Ordering::Release);
        let _ = dma.write(at.wrapping_add(12), &done);
        s.receive.ring.advance();
    }
}

/// Statistics (13.7).
fn count(s: &mut State, to: [u8; 6], bytes: usize) {
    use statistic::*;
    for one in [GPRC, TPR] {
        s.count(one, 1);
    }
    for one in [GORC, TOR] {
        s.count_bytes(one, bytes);
    }
    match to {
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => s.count(BPRC, 1),
        to if ethernet::is_group(to) => s.count(MPRC, 1),
        _ => {}
    }
}
