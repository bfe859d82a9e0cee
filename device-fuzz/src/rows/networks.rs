//! Network cards that are not virtio's, and how drivers use them.

use super::virtio::network;
use crate::input::{Input, PLAY};
use crate::target::Target;
use bus::AccessSize::{Byte, Dword, Word};
use devices::{E1000, Rtl8139};

const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];

/// Rings of 16 descriptors, and the buffers that received frames go to.
const TX: u64 = PLAY;
const RX: u64 = PLAY + 0x1000;
const COUNT: u64 = 16;
const BUFFERS: u64 = PLAY + 0x1_0000;
/// What is sent.
const FRAMES: u64 = PLAY + 0x8_0000;

pub fn e1000() -> Target {
    const RCTL: u64 = 0x100;
    const TCTL: u64 = 0x400;
    const RING_RX: u64 = 0x2800;
    const RING_TX: u64 = 0x3800;
    let mut t = Target::default();
    let network = network(&mut t);
    t.plug(E1000::config(), |wires| {
        E1000::new("e1000", wires, network, MAC)
    });
    let base = Target::bar(0);
    t.action(move |w, i| {
        for (ring, at) in [(RING_TX, TX), (RING_RX, RX)] {
            let at = if i.rarely(32) { i.address() } else { at };
            for (register, value) in [(0, at), (4, at >> 32), (8, 16 * COUNT), (16, 0), (24, 0)] {
                w.store(base + ring + register, Dword, value & 0xffff_ffff);
            }
        }
        for n in 0..COUNT {
            let at = match i.rarely(32) {
                true => i.address(),
                false => BUFFERS + 0x4000 * n,
            };
            w.set_ram(RX + 16 * n, &at.to_le_bytes());
        }
        w.store(base + RING_RX + 24, Dword, i.below(COUNT));
        w.store(base + TCTL, Dword, 2);
        // Everything for everyone; long frames and small buffers at times.
        let more = u64::from(i.dword() & 0x0607_0320);
        w.store(base + RCTL, Dword, 0x801a | more);
    });
    t.action(move |w, i| {
        let n = w.load(base + RING_TX + 24, Dword) % COUNT;
        let d = descriptor(i);
        w.set_ram(TX + 16 * n, &d);
        w.set_ram(FRAMES, i.take(80));
        w.store(base + RING_TX + 24, Dword, (n + 1) % COUNT);
    });
    t
}

/// A transmit descriptor of any kind, nearly right.
fn descriptor(i: &mut Input) -> Vec<u8> {
    const EXTENDED: u8 = 0x20;
    let at = match i.rarely(32) {
        true => i.address(),
        false => FRAMES,
    };
    let mut d = at.to_le_bytes().to_vec();
    let order = i.byte();
    match i.byte() % 4 {
        0 => {
            d.extend(i.word().to_le_bytes());
            d.extend([i.byte() & 63, order & !EXTENDED, 0, i.byte() & 63]);
            d.extend(i.word().to_le_bytes());
        }
        1 => {
            // IPv4 and TCP behind Ethernet's header.
            d = vec![14, 24, 33, 0, 34, 50, 0, 0, 0, 0, 0, order & 15 | EXTENDED];
            d.extend([0, if i.rarely(8) { i.byte() } else { 54 }]);
            d.extend(i.word().to_le_bytes());
        }
        2 => {
            let bytes = (i.length() & 0xf_ffff).to_le_bytes();
            d.extend([bytes[0], bytes[1], bytes[2] | 0x10, order | EXTENDED]);
            d.extend([0, i.byte() & 3]);
            d.extend(i.word().to_le_bytes());
        }
        _ => d.extend(i.take(8)),
    }
    d.resize(16, 0);
    d
}

pub fn rtl8139() -> Target {
    let mut t = Target::default();
    let network = network(&mut t);
    t.plug(Rtl8139::config(), |wires| {
        Rtl8139::new("rtl8139", wires, network, MAC)
    });
    let base = Target::port_bar(0);
    t.action(move |w, i| {
        w.out(base + 0x37, Byte, 0x10);
        let at = if i.rarely(32) { i.address() } else { BUFFERS };
        w.out(base + 0x30, Dword, at as u32);
        w.out(base + 0x37, Byte, 0x0c);
        w.out(base + 0x44, Dword, 0xf | i.dword() & 0x1880);
        // Time for its timer, too.
        w.out(base + 0x54, Dword, i.word().into());
        w.out(base + 0x48, Dword, 0);
    });
    t.action(move |w, i| {
        let n = 4 * u16::from(i.byte() & 3);
        let at = if i.rarely(32) { i.address() } else { FRAMES };
        w.set_ram(FRAMES, i.take(80));
        w.out(base + 0x20 + n, Dword, at as u32);
        w.out(base + 0x10 + n, Dword, i.dword() & 0x3f_1fff);
    });
    t.action(move |w, i| {
        // The driver has read everything, or nearly.
        let end = w.get(base + 0x3a, Word);
        let left = if i.rarely(8) { i.dword() } else { 0 };
        w.out(base + 0x38, Word, end.wrapping_sub(16 + left) & 0xffff);
        let causes = w.get(base + 0x3e, Word);
        w.out(base + 0x3e, Word, causes);
    });
    t
}
