//! A port's registers (3.3), and the frames that the device sends (SATA 2.6, 10.3).

use super::{Inner, Shared};
use crate::ata::status;
use std::sync::Arc;

/// Port registers.
mod regs {
    pub const CLB: u64 = 0x00;
    pub const CLBU: u64 = 0x04;
    pub const FB: u64 = 0x08;
    pub const FBU: u64 = 0x0c;
    pub const IS: u64 = 0x10;
    pub const IE: u64 = 0x14;
    pub const CMD: u64 = 0x18;
    pub const TFD: u64 = 0x20;
    pub const SIG: u64 = 0x24;
    pub const SSTS: u64 = 0x28;
    pub const SCTL: u64 = 0x2c;
    pub const SERR: u64 = 0x30;
    pub const SACT: u64 = 0x34;
    pub const CI: u64 = 0x38;
}
use regs::*;

/// Command and status (3.3.7).
const START: u32 = 1 << 0;
const OVERRIDE: u32 = 1 << 3;
const RECEIVE: u32 = 1 << 4;
const RECEIVING: u32 = 1 << 14;
const RUNNING: u32 = 1 << 15;
const CMD_WRITABLE: u32 = START | 1 << 1 | 1 << 2 | RECEIVE | 0xf000_0000 | 1 << 24;

/// Interrupts (3.3.5).
pub(super) const DEVICE_TO_HOST: u32 = 1 << 0;
pub(super) const PIO_SETUP: u32 = 1 << 1;
pub(super) const SET_BITS: u32 = 1 << 3;
pub(super) const TASK_FILE_ERROR: u32 = 1 << 30;
pub(super) const BUS_ERROR: u32 = 1 << 29;

/// Where received frames are put (4.2.1).
const AT_PIO_SETUP: u64 = 0x20;
const AT_DEVICE_TO_HOST: u64 = 0x40;
const AT_SET_BITS: u64 = 0x58;

/// Device present, 3 Gb/s, active.
const LINK_UP: u32 = 0x123;
/// Exchanged: a device came (3.3.12, DIAG.X).
const SERR_EXCHANGED: u32 = 1 << 26;

fn low(value: &mut u64, word: u32) {
    *value = *value & !0xffff_ffff | u64::from(word);
}

fn high(value: &mut u64, word: u32) {
    *value = *value & 0xffff_ffff | u64::from(word) << 32;
}

impl Shared {
    /// COMRESET or the controller's reset (10.4).
    pub(super) fn reset_port(&self, c: &mut Inner, n: usize, power_on: bool) {
        let present = c.drives.get(n).is_some_and(Option::is_some);
        let packet = c.is_packet(n);
        if let Some(g) = c.generations.get_mut(n) {
            *g += 1;
        }
        let Some(p) = c.s.ports.get_mut(n) else {
            return;
        };
        let old = std::mem::take(p);
        if !power_on {
            (p.clb, p.fb) = (old.clb, old.fb);
            p.unit = old.unit;
        }
        // Spun up and powered.
        p.cmd = 0x6 | u32::from(packet) << 24;
        p.tfd = 0x7f;
        p.sig = u32::MAX;
        if packet && power_on {
            p.unit.reset();
        }
        if present {
            p.ssts = LINK_UP;
            p.serr = SERR_EXCHANGED;
            p.tfd = 0x80;
            self.signature(c, n);
        }
    }

    /// The frame that a device sends after a reset; it waits until the host can take it.
    pub(super) fn signature(&self, c: &mut Inner, n: usize) {
        let packet = c.is_packet(n);
        let Some(p) = c.s.ports.get_mut(n) else {
            return;
        };
        let state = match packet {
            true => 0,
            false => status::DRDY | status::DSC,
        };
        p.sig = if packet { 0xeb14_0101 } else { 0x0000_0101 };
        p.tfd = 0x100 | u32::from(state);
        p.signature_waits = p.cmd & RECEIVE == 0;
        if !p.signature_waits {
            let [a, b, m, h] = p.sig.to_le_bytes();
            // Count, LBA low, mid, high.
            self.device_to_host(c, n, [b, m, h, 0, 0, 0], a);
        }
    }

    /// A register frame with what the task file holds; tells the host by an interrupt.
    pub(super) fn device_to_host(&self, c: &mut Inner, n: usize, lba: [u8; 6], count: u8) {
        let Some(p) = c.s.ports.get_mut(n) else {
            return;
        };
        let [state, error, ..] = p.tfd.to_le_bytes();
        let [a, b, d, e, f, g] = lba;
        let frame = [
            0x34, 0x40, state, error, a, b, d, 0, e, f, g, 0, count, 0, 0, 0, 0, 0, 0, 0,
        ];
        p.is |= DEVICE_TO_HOST;
        let at = p.fb.wrapping_add(AT_DEVICE_TO_HOST);
        self.frame(c, n, at, &frame);
    }

    /// The frame before data of a PIO command.
    pub(super) fn pio_setup(&self, c: &mut Inner, n: usize, bytes: u16) {
        let Some(p) = c.s.ports.get_mut(n) else {
            return;
        };
        let [state, error, ..] = p.tfd.to_le_bytes();
        let [low, high] = bytes.to_le_bytes();
        let mut frame = [0; 20];
        for (at, value) in [
            (0, 0x5f),
            (1, 0x60),
            (2, state | status::DRQ),
            (3, error),
            (15, state),
            (16, low),
            (17, high),
        ] {
            frame[at] = value;
        }
        p.is |= PIO_SETUP;
        let at = p.fb.wrapping_add(AT_PIO_SETUP);
        self.frame(c, n, at, &frame);
    }

    /// Commands of a queue that ended.
    pub(super) fn set_bits(&self, c: &mut Inner, n: usize, done: u32) {
        let Some(p) = c.s.ports.get_mut(n) else {
            return;
        };
        p.sact &= !done;
        let [state, error, ..] = p.tfd.to_le_bytes();
        let mut frame = [0xa1, 0x40, state & 0x77, error, 0, 0, 0, 0];
        frame[4..].copy_from_slice(&done.to_le_bytes());
        p.is |= SET_BITS;
        let at = p.fb.wrapping_add(AT_SET_BITS);
        self.frame(c, n, at, &frame);
    }

    fn frame(&self, c: &mut Inner, n: usize, at: u64, bytes: &[u8]) {
        let Some(p) = c.s.ports.get_mut(n) else {
            return;
        };
        if p.cmd & RECEIVE != 0 && self.dma.write(at, bytes).is_err() {
            p.is |= BUS_ERROR;
        }
    }

    pub(super) fn port_load(&self, c: &Inner, n: usize, register: u64) -> u32 {
        let Some(p) = c.s.ports.get(n) else { return 0 };
        match register {
            CLB => p.clb as u32,
            CLBU => (p.clb >> 32) as u32,
            FB => p.fb as u32,
            FBU => (p.fb >> 32) as u32,
            IS => p.is,
            IE => p.ie,
            CMD => {
                let running = match p.cmd & START {
                    0 => 0,
                    _ => RUNNING,
                };
                let receiving = match p.cmd & RECEIVE {
                    0 => 0,
                    _ => RECEIVING,
                };
                p.cmd | running | receiving
            }
            TFD => p.tfd,
            SIG => p.sig,
            SSTS => p.ssts,
            SCTL => p.sctl,
            SERR => p.serr,
            SACT => p.sact,
            CI => p.ci,
            _ => 0,
        }
    }

    pub(super) fn port_store(self: &Arc<Self>, c: &mut Inner, n: usize, register: u64, value: u32) {
        let Some(p) = c.s.ports.get_mut(n) else {
            return;
        };
        match register {
            CLB => low(&mut p.clb, value & !0x3ff),
            CLBU => high(&mut p.clb, value),
            FB => low(&mut p.fb, value & !0xff),
            FBU => high(&mut p.fb, value),
            IS => p.is &= !value,
            IE => p.ie = value & 0xfdc0_00ff,
            SERR => p.serr &= !value,
            CMD => self.command_register(c, n, value),
            SCTL => {
                let old = std::mem::replace(&mut p.sctl, value & 0xfff);
                if old & 15 == 1 && value & 15 == 0 {
                    let (cmd, ie, sctl) = (p.cmd, p.ie, p.sctl);
                    self.reset_port(c, n, false);
                    if let Some(p) = c.s.ports.get_mut(n) {
                        (p.ie, p.sctl) = (ie, sctl);
                        p.cmd = cmd & !START;
                        if p.signature_waits && p.cmd & RECEIVE != 0 {
                            self.signature(c, n);
                        }
                    }
                } else if value & 15 == 1 {
                    p.ssts = 0;
                }
            }
            SACT => p.sact |= value,
            CI if p.cmd & START != 0 => {
                p.ci |= value;
                self.issue(c, n);
            }
            _ => {}
        }
    }

    fn command_register(self: &Arc<Self>, c: &mut Inner, n: usize, value: u32) {
        let Some(p) = c.s.ports.get_mut(n) else {
            return;
        };
        let old = p.cmd;
        p.cmd = value & CMD_WRITABLE | old & !CMD_WRITABLE & !OVERRIDE;
        if value & OVERRIDE != 0 {
            p.tfd &= !u32::from(status::BSY | status::DRQ);
        }
        if old & START != 0 && value & START == 0 {
            // Stopping forgets what was issued (3.3.7, ST).
            p.ci = 0;
            p.sact = 0;
            p.issued = 0;
            p.stopped = false;
            p.cmd &= !0x1f00;
            if let Some(g) = c.generations.get_mut(n) {
                *g += 1;
            }
        }
        let waits =
            c.s.ports
                .get(n)
                .is_some_and(|p| p.signature_waits && p.cmd & RECEIVE != 0);
        if waits {
            self.signature(c, n);
        }
    }
}
