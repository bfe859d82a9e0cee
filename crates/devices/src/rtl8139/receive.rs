//! From frames to the receive buffer (5.1, 5.11).

use super::regs::{cr, header, isr, rcr};
use super::state::State;
use crate::ethernet;
use crate::pci::Dma;
use std::sync::atomic::{Ordering, fence};

/// The longest frame, with its check sequence.
const LONGEST: usize = 1536;

impl State {
    /// Bytes of the buffer, without what WRAP needs behind it.
    fn buffer(&self) -> usize {
        8192 << (self.receive.rcr >> 11 & 3)
    }

    /// Where the driver reads next.
    fn read_at(&self) -> usize {
        usize::from(self.receive.capr.wrapping_add(16)) % self.buffer()
    }

    pub fn is_empty(&self) -> bool {
        self.read_at() == usize::from(self.receive.cbr) % self.buffer()
    }

    fn free(&self) -> usize {
        let (size, write) = (self.buffer(), usize::from(self.receive.cbr) % self.buffer());
        match (self.read_at() + size - write) % size {
            0 => size,
            n => n,
        }
    }

    /// Whether the longest frame fits.
    pub fn has_room(&self) -> bool {
        self.command & cr::RE == 0 || self.free() > LONGEST + header::BYTES + 4
    }

    /// The status with which a frame passes the filters.
    fn accepts(&self, to: [u8; 6]) -> Option<u16> {
        let on = |bit| self.receive.rcr & bit != 0;
        if to == [0xff; 6] {
            return on(rcr::AB).then_some(header::BAR);
        }
        if ethernet::is_group(to) {
            let hash = ethernet::group_hash(to);
            let byte = self.groups.get(usize::from(hash >> 3)).copied();
            let known = byte.unwrap_or(0) >> (hash & 7) & 1 != 0;
            return (on(rcr::AM) && known).then_some(header::MAR);
        }
        if to == self.id {
            return (on(rcr::APM) || on(rcr::AAP)).then_some(header::PAM);
        }
        on(rcr::AAP).then_some(0)
    }
}

/// A frame for the guest; `false` if it has to wait for room.
pub(super) fn frame(s: &mut State, dma: &Dma, frame: &[u8]) -> bool {
    if s.command & cr::RE == 0 {
        return true;
    }
    let Some(status) = s.accepts(ethernet::destination(frame)) else {
        return true;
    };
    let whole = ethernet::on_the_cable(frame);
    if whole.len() > LONGEST {
        s.receive.missed = s.receive.missed.saturating_add(1) & 0xff_ffff;
        return true;
    }
    let mut packet = (status | header::ROK).to_le_bytes().to_vec();
    packet.extend((whole.len() as u16).to_le_bytes());
    packet.extend(whole);
    let step = packet.len().next_multiple_of(4);
    let size = s.buffer();
    s.receive.waits = s.free() <= step;
    if s.receive.waits {
        s.isr |= isr::ROK;
        return false;
    }
    let at = usize::from(s.receive.cbr) % size;
    let start = u64::from(s.receive.start);
    let (first, rest) = match s.receive.rcr & rcr::WRAP {
        0 => packet.split_at(packet.len().min(size - at)),
        // Over the end: there is room behind it.
        _ => (&packet[..], &[][..]),
    };
    // What cannot be written is lost, as on a bus that aborts.
    let written = dma
        .write(start + at as u64, first)
        .and_then(|()| dma.write(start, rest));
    if written.is_err() {
        s.isr |= isr::SERR;
    }
    fence(Ordering::Release);
    s.receive.cbr = ((at + step) % size) as u16;
    s.isr |= isr::ROK;
    true
}
