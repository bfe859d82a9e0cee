//! From the four descriptors to frames (5.4, 5.5).

use super::regs::{cr, isr, tsd};
use super::state::{State, Transmit};
use crate::ethernet;
use crate::pci::Dma;

/// The longest frame that is sent (5.4).
const LONGEST: usize = 1792;

impl Transmit {
    fn turn(&self) -> u32 {
        let found = self.status.get(usize::from(self.next));
        found.copied().unwrap_or(tsd::OWN)
    }

    /// Whether the descriptor whose turn it is was given to the controller.
    pub fn has_more(&self, command: u8) -> bool {
        command & cr::TE != 0 && self.turn() & (tsd::OWN | tsd::TABT) == 0
    }

    /// The transmitter is switched off: the descriptors are the driver's, the first one is next.
    pub fn stop(&mut self) {
        for s in &mut self.status {
            *s |= tsd::OWN;
        }
        self.next = 0;
    }

    /// What was aborted is tried again.
    pub fn retry(&mut self) {
        if let Some(s) = self.status.get_mut(usize::from(self.next)) {
            *s &= !tsd::TABT;
        }
    }

    /// TSAD (5.20): OWN, TABT, TUN and TOK of all descriptors, four bits each.
    pub fn summary(&self) -> u16 {
        let bits = [tsd::OWN, tsd::TABT, 1 << 14, tsd::TOK];
        let mut all = 0;
        for (k, bit) in bits.iter().enumerate() {
            for (n, s) in self.status.iter().enumerate() {
                all |= u16::from(s & bit != 0) << (4 * k + n);
            }
        }
        all
    }
}

/// The next frame, in place of what `frame` held; `false` if there is none.
pub(super) fn next(s: &mut State, dma: &Dma, frame: &mut Vec<u8>) -> bool {
    let t = &mut s.transmit;
    if !t.has_more(s.command) {
        return false;
    }
    let n = usize::from(t.next);
    let (Some(status), Some(from)) = (t.status.get_mut(n), t.address.get(n)) else {
        return false;
    };
    let bytes = ((*status & tsd::SIZE) as usize).min(LONGEST);
    frame.clear();
    frame.resize(bytes, 0);
    if dma.read((*from).into(), frame).is_err() {
        // The bus aborted: nothing goes on before CLRABT.
        *status |= tsd::TABT | tsd::CRS;
        s.isr |= isr::SERR;
        return false;
    }
    frame.resize(bytes.max(ethernet::SHORTEST), 0);
    *status |= tsd::OWN | tsd::TOK;
    t.next = (t.next + 1) % 4;
    s.isr |= isr::TOK;
    true
}
