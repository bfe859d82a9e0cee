//! Register accesses: bytes are read one by one; a store is taken apart at the registers that it covers.

use super::Card;
use super::regs::*;
use super::state::State;
use crate::bytes;
use crate::microwire::Pins;

/// Where a register begins that holds this offset, and its bytes.
fn register(offset: u8) -> (u8, u8) {
    match offset {
        IDR0..TSD0 | ERSR | CR | CR9346..=0x53 | MSR..=0x5b | 0x5e | 0x5f => (offset, 1),
        TSD0..ERBCR | TCR..CR9346 | TIMER_INT..MSR => (offset & !3, 4),
        _ => (offset & !1, 2),
    }
}

impl State {
    /// A byte of the registers.
    pub fn byte(&mut self, offset: u8, now: u64) -> u8 {
        let (start, _) = register(offset);
        bytes::of(self.register(start, now).into(), (offset - start).into())
    }

    fn register(&mut self, start: u8, now: u64) -> u32 {
        let at = |base: u8| usize::from(start - base);
        match start {
            IDR0..0x06 => self.id.get(at(IDR0)).copied().unwrap_or(0).into(),
            MAR0..TSD0 => self.groups.get(at(MAR0)).copied().unwrap_or(0).into(),
            TSD0..TSAD0 => word(&self.transmit.status, at(TSD0)),
            TSAD0..RBSTART => word(&self.transmit.address, at(TSAD0)),
            RBSTART => self.receive.start,
            CR => (self.command | if self.is_empty() { cr::BUFE } else { 0 }).into(),
            CAPR => self.receive.capr.into(),
            CBR => self.receive.cbr.into(),
            IMR => self.imr.into(),
            ISR => self.isr.into(),
            TCR => self.tcr | tcr::VERSION,
            RCR => self.receive.rcr,
            TCTR => self.timer_count(now),
            MPC => self.receive.missed,
            CR9346 => {
                let out = match self.eeprom.control & cr9346::EEM {
                    cr9346::PROGRAM if self.eeprom.chip.output() => cr9346::EEDO,
                    _ => 0,
                };
                (self.eeprom.control | out).into()
            }
            CONFIG0 => self.misc.config[0].into(),
            CONFIG1 => self.misc.config[1].into(),
            TIMER_INT => self.timer.interrupt,
            // 100 Mb/s, the link is there: bits of what is not.
            MSR => self.misc.media.into(),
            CONFIG3 => self.misc.config[3].into(),
            CONFIG4 => self.misc.config[4].into(),
            MULINT => self.misc.mulint.into(),
            0x5e => 0x10,
            TSAD => self.transmit.summary().into(),
            BMCR => self.misc.bmcr.into(),
            // Everything up to 100 Mb/s full duplex, negotiation done, link up.
            BMSR => 0x782d,
            ANAR => self.misc.anar.into(),
            ANLPAR => 0x45e1,
            ANER => 0x0001,
            CSCR => 0x03c8,
            _ => 0,
        }
    }

    /// A store; tells whether the network may have something to do.
    pub fn store(&mut self, offset: u8, data: &[u8], now: u64, card: &Card) -> bool {
        let (mut at, mut rest, mut moved) = (offset, data, false);
        while !rest.is_empty() {
            let (start, width) = register(at);
            let within = usize::from(at - start);
            let n = (usize::from(width) - within).min(rest.len());
            let (part, tail) = rest.split_at(n);
            // The bytes that are not written stay, but for registers in which ones clear.
            let old = match start {
                ISR => 0,
                _ => self.register(start, now),
            };
            let mut image = old.to_le_bytes();
            for (place, b) in image.iter_mut().skip(within).zip(part) {
                *place = *b;
            }
            moved |= self.set(start, u32::from_le_bytes(image), now, card);
            rest = tail;
            at = match at.checked_add(n as u8) {
                Some(next) => next,
                None => break,
            };
        }
        moved
    }

    fn set(&mut self, start: u8, value: u32, now: u64, card: &Card) -> bool {
        let at = |base: u8| usize::from(start - base);
        let unlocked = self.eeprom.control & cr9346::EEM == cr9346::EEM;
        match start {
            IDR0..0x06 if unlocked => put(&mut self.id, at(IDR0), value as u8),
            MAR0..TSD0 => put(&mut self.groups, at(MAR0), value as u8),
            TSD0..TSAD0 => {
                let kept = tsd::SIZE | tsd::OWN | tsd::THRESHOLD;
                put(&mut self.transmit.status, at(TSD0) / 4, value & kept);
                return true;
            }
            TSAD0..RBSTART => put(&mut self.transmit.address, at(TSAD0) / 4, value),
            RBSTART => {
                self.receive.start = value;
                self.receive.cbr = 0;
            }
            CR => {
                if value as u8 & cr::RST != 0 {
                    self.soft_reset();
                } else {
                    self.set_command(value as u8);
                }
                return true;
            }
            CAPR => {
                self.receive.capr = value as u16;
                return true;
            }
            IMR => self.imr = value as u16 & isr::ALL,
            ISR => {
                self.isr &= !(value as u16);
                // On a real cable more frames come, and each tells anew that the buffer has some. Here they wait, and a driver that clears
                // ROK after it found the buffer empty would not hear of those that filled it meanwhile.
                if self.receive.waits && !self.has_room() {
                    self.isr |= isr::ROK;
                }
            }
            TCR => {
                self.tcr = value & tcr::WRITABLE;
                if value & tcr::CLRABT != 0 {
                    self.transmit.retry();
                    return true;
                }
            }
            RCR => {
                self.receive.rcr = value & 0x0f00_ffff;
                return true;
            }
            TCTR => {
                self.timer.zero = now;
                self.timer.rung = false;
            }
            MPC => self.receive.missed = 0,
            CR9346 => self.set_eeprom(value as u8, card),
            CONFIG0 | CONFIG1 | CONFIG3 | CONFIG4 if unlocked => {
                put(&mut self.misc.config, at(CONFIG0), value as u8 & 0xfd);
            }
            TIMER_INT => {
                self.timer.interrupt = value;
                self.timer.rung = false;
            }
            MSR => self.misc.media = value as u8 & 0xc0,
            MULINT => self.misc.mulint = value as u16 & 0xfff,
            BMCR => {
                // A reset and a restart of the negotiation are over at once.
                self.misc.bmcr = match value as u16 {
                    v if v & 0x8000 != 0 => 0x3100,
                    v => v & 0x3100,
                };
                if value & 0x8200 != 0 {
                    self.isr |= isr::LINK;
                }
            }
            ANAR => self.misc.anar = value as u16,
            _ => {}
        }
        false
    }

    fn set_command(&mut self, value: u8) {
        let new = value & (cr::TE | cr::RE);
        if new & cr::TE == 0 {
            self.transmit.stop();
        }
        if new & cr::RE != 0 && self.command & cr::RE == 0 {
            self.receive.cbr = 0;
            self.receive.capr = 0xfff0;
        }
        self.command = new;
    }

    fn set_eeprom(&mut self, value: u8, card: &Card) {
        self.eeprom.control = value & !cr9346::EEDO;
        match value & cr9346::EEM {
            cr9346::PROGRAM => {
                let pins = Pins {
                    select: value & cr9346::EECS != 0,
                    clock: value & cr9346::EESK != 0,
                    data: value & cr9346::EEDI != 0,
                };
                self.eeprom.chip.drive(pins, &card.words);
            }
            cr9346::AUTOLOAD => {
                self.id = card.mac;
                self.eeprom.control = 0;
            }
            _ => {}
        }
    }
}

fn word(of: &[u32; 4], offset: usize) -> u32 {
    of.get(offset / 4).copied().unwrap_or(0)
}

fn put<T>(into: &mut [T], at: usize, value: T) {
    if let Some(place) = into.get_mut(at) {
        *place = value;
    }
}
