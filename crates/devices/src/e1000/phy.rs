//! The PHY inside (chapter 8): an 88E1011S behind MDIC. Its other end takes everything, so that negotiation ends at once.

use super::regs::{cause, mdic};
use super::state::State;

/// The PHY's address on its bus.
const ADDRESS: u32 = 1;

/// Registers (13.4.6 ff.; IEEE 802.3, clause 22).
const PCTRL: usize = 0;
const CTRL_RESET: u16 = 1 << 15;
const CTRL_RESTART: u16 = 1 << 9;

/// The registers after power-on, as a link of 1000 Mb/s shows them.
pub(super) fn power_on() -> Vec<u16> {
    let mut all = vec![0; 32];
    let known = [
        (PCTRL, 0x1140),
        // Everything up to 100 Mb/s, extended status, negotiation done, link up.
        (1, 0x796d),
        // Marvell, 88E1011S.
        (2, 0x0141),
        (3, 0x0c24),
        (4, 0x0de1),
        // The other end: the same, acknowledged.
        (5, 0xcde1),
        (6, 0x000f),
        (9, 0x0e00),
        // Both receivers fine, the other end does 1000 Mb/s.
        (10, 0x7c00),
        (15, 0x3000),
        (16, 0x0068),
        // 1000 Mb/s, full duplex, resolved, link up.
        (17, 0xac00),
        (20, 0x0d60),
    ];
    for (n, value) in known {
        if let Some(place) = all.get_mut::<usize>(n) {
            *place = value;
        }
    }
    all
}

/// Bits of a register that can be written.
fn writable(register: usize) -> u16 {
    match register {
        PCTRL => 0x7dff,
        4 | 7 | 9 | 16 | 18 | 20 | 22 | 24 | 25 | 29 | 30 | 31 => 0xffff,
        _ => 0,
    }
}

/// A store to MDIC: one access to the PHY, done at once.
pub(super) fn access(s: &mut State, value: u32) {
    let register = (value >> 16 & 31) as usize;
    let here = value >> 21 & 31 == ADDRESS;
    let mut answer = value & !(mdic::READY | mdic::ERROR);
    match value & mdic::OP {
        mdic::READ if here => {
            let found = s.phy.registers.get(register).copied().unwrap_or_default();
            answer = answer & !0xffff | u32::from(found);
        }
        mdic::WRITE if here => write(s, register, value as u16),
        _ => answer |= mdic::ERROR,
    }
    s.general.mdic = answer | mdic::READY;
    if value & mdic::INTERRUPT != 0 {
        s.interrupt.cause |= cause::MDAC;
    }
}

fn write(s: &mut State, register: usize, value: u16) {
    if register == PCTRL && value & CTRL_RESET != 0 {
        s.phy.registers = power_on();
        s.interrupt.cause |= cause::LSC;
        return;
    }
    let mask = writable(register);
    if let Some(r) = s.phy.registers.get_mut(register) {
        *r = *r & !mask | value & mask;
    }
    if register == PCTRL {
        if let Some(r) = s.phy.registers.get_mut(PCTRL) {
            *r &= !CTRL_RESTART;
        }
        if value & CTRL_RESTART != 0 {
            s.interrupt.cause |= cause::LSC;
        }
    }
}
