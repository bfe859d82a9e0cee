use super::*;
use crate::cable::{self, Cable};
use crate::ethernet::fcs;
use crate::rig::{AT, B, D, MEMORY, PORTS, Rig, W};
use crate::testing::{Fuzz, rounds};

const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];
const RING: u64 = 0x10_0000;
const REGISTERS: u64 = MEMORY + 0x1_0000;

struct Bench {
    rig: Rig,
    cable: Arc<Cable>,
}

fn bench() -> Bench {
    let cable = Arc::new(Cable::default());
    let other = cable.clone();
    let rig = Rig::new(Rtl8139::config(), |wires| {
        Rtl8139::new("rtl8139", wires, other, MAC)
    });
    rig.place();
    Bench { rig, cable }
}

impl Bench {
    fn get(&self, register: u8, size: AccessSize) -> u32 {
        self.rig.bus.port_read(PORTS + u16::from(register), size)
    }
    fn set(&self, register: u8, size: AccessSize, value: u32) {
        self.rig
            .bus
            .port_write(PORTS + u16::from(register), size, value);
    }
    /// A receive buffer of 8 KiB, both directions on, frames for this card and everyone.
    fn start(&self) {
        self.set(CR, B, cr::RST.into());
        self.set(RBSTART, D, RING as u32);
        self.set(CR, B, (cr::TE | cr::RE).into());
        self.set(RCR, D, rcr::APM | rcr::AB);
    }
    /// The packet at `at` in the ring: status, and the frame.
    fn packet(&self, at: u64) -> (u16, Vec<u8>) {
        let h = self.rig.ram(RING + at, 4);
        let bytes = usize::from(u16::from_le_bytes([h[2], h[3]]));
        let status = u16::from_le_bytes([h[0], h[1]]);
        (status, self.rig.ram(RING + at + 4, bytes))
    }
}

#[test]
fn the_address_is_known() {
    let b = bench();
    let id: Vec<u8> = (0..6).map(|n| b.get(n, B) as u8).collect();
    assert_eq!(id, MAC);
    assert_eq!(b.rig.load(REGISTERS, D), 0x0100_5452, "in memory, too");
    b.set(IDR0, B, 2);
    assert_eq!(b.get(IDR0, B), 0x52, "locked");
    b.set(CR9346, B, cr9346::EEM.into());
    b.set(IDR0, B, 2);
    assert_eq!(b.get(IDR0, B), 2);
    b.set(CR9346, B, cr9346::AUTOLOAD.into());
    assert_eq!(b.get(IDR0, B), 0x52, "read again");
    // Word 7 of the EEPROM, by its pins.
    let pins = |v: u8| b.set(CR9346, B, (cr9346::PROGRAM | cr9346::EECS | v).into());
    b.set(CR9346, B, cr9346::PROGRAM.into());
    for n in (0..9).rev() {
        let bit = (0b110_000111u16 >> n & 1) as u8 * cr9346::EEDI;
        pins(bit);
        pins(bit | cr9346::EESK);
    }
    let mut found = 0u16;
    for _ in 0..16 {
        pins(0);
        pins(cr9346::EESK);
        found = found << 1 | (b.get(CR9346, B) & 1) as u16;
    }
    assert_eq!(found.to_le_bytes(), [MAC[0], MAC[1]]);
    assert_eq!(b.get(TCR, D) & 0x7cc0_0000, 0x7400_0000, "RTL8139C");
    assert_eq!(b.rig.pci.config_read(AT, 0, D), 0x8139_10ec);
}

#[test]
fn four_descriptors_send_in_turn() {
    let b = bench();
    b.start();
    b.set(IMR, W, isr::TOK.into());
    b.cable.nic().arm(false);
    let frames: Vec<Vec<u8>> = (0..4)
        .map(|n| cable::frame([2, 0, 0, 0, 0, n], 100))
        .collect();
    for (n, f) in (0u8..).zip(&frames) {
        let at = 0x8000 + 0x1000 * u64::from(n);
        b.rig.set_ram(at, f);
        b.set(TSAD0 + 4 * n, D, at as u32);
        b.set(TSD0 + 4 * n, D, f.len() as u32);
    }
    assert!(b.cable.kicks() >= 4);
    assert_eq!(b.get(TSAD, W) & 15, 0, "all are the controller's");
    assert_eq!(b.cable.sent(), frames);
    assert_eq!(b.get(TSAD, W), 0xf00f, "all are sent");
    assert_eq!(b.get(TSD0 + 12, D), 114 | tsd::OWN | tsd::TOK);
    assert_eq!(b.get(ISR, W), isr::TOK.into());
    b.set(ISR, W, isr::TOK.into());
    assert_eq!(b.get(ISR, W), 0);
    // Short ones are padded; no memory is an abort, which can be tried again.
    b.rig.set_ram(0x8000, &frames[0]);
    b.set(TSD0, D, 20);
    assert_eq!(b.cable.sent()[0].len(), 60);
    b.set(TSAD0 + 4, D, 0xf000_0000);
    b.set(TSD0 + 4, D, 100);
    assert!(b.cable.sent().is_empty());
    assert_ne!(b.get(TSD0 + 4, D) & tsd::TABT, 0);
    assert_ne!(b.get(ISR, W) & u32::from(isr::SERR), 0);
    b.set(TSAD0 + 4, D, 0x8000);
    b.set(TCR, D, tcr::CLRABT);
    assert_eq!(b.cable.sent().len(), 1);
}

#[test]
fn frames_are_received() {
    let b = bench();
    let nic = b.cable.nic();
    assert!(nic.give(&cable::frame(MAC, 50), None), "lost: not on yet");
    b.start();
    assert_ne!(b.get(CR, B) & u32::from(cr::BUFE), 0);
    assert!(nic.give(&cable::frame(MAC, 50), None));
    let (status, data) = b.packet(0);
    assert_eq!((status, data.len()), (header::ROK | header::PAM, 68));
    assert_eq!(data[..64], cable::frame(MAC, 50));
    assert_eq!(data[64..], fcs(&data[..64]).to_le_bytes());
    assert_eq!((b.get(CBR, W), b.get(CR, B) & 1), (72, 0));
    assert_eq!(b.get(ISR, W), isr::ROK.into());
    assert!(nic.give(&cable::frame([0xff; 6], 3), None));
    assert_eq!(b.packet(72).0, header::ROK | header::BAR);
    b.set(CAPR, W, b.get(CBR, W) - 16);
    assert_ne!(b.get(CR, B) & u32::from(cr::BUFE), 0);
    // Filters.
    let at = b.get(CBR, W);
    let group = [1, 0, 0x5e, 0, 0, 1];
    assert!(nic.give(&cable::frame([2, 0, 0, 0, 0, 9], 50), None));
    b.set(RCR, D, rcr::AM);
    assert!(nic.give(&cable::frame(group, 50), None));
    assert!(nic.give(&cable::frame(MAC, 50), None));
    assert_eq!(b.get(CBR, W), at);
    b.set(MAR0, D, 1 << 31);
    assert!(nic.give(&cable::frame(group, 50), None));
    assert_eq!(b.packet(at.into()).0, header::ROK | header::MAR);
}

#[test]
fn the_buffer_is_a_ring() {
    for wrap in [0, rcr::WRAP] {
        let b = bench();
        let nic = b.cable.nic();
        b.start();
        b.set(RCR, D, rcr::APM | wrap);
        b.rig.set_ram(RING, &[0; 0x4000]);
        nic.arm(false);
        let frame = cable::frame(MAC, 1000);
        // 1022 bytes each, in steps of 1024: not all of the ring is filled.
        for _ in 0..7 {
            assert!(nic.give(&frame, None));
        }
        assert!(!nic.give(&frame, None), "a full ring would be an empty one");
        assert!(!nic.arm(true));
        b.set(ISR, W, isr::ROK.into());
        assert_eq!(b.get(ISR, W), isr::ROK.into(), "one waits");
        b.cable.kicks();
        b.set(CAPR, W, 1024 * 6 + 100 - 16);
        assert_eq!(b.cable.kicks(), 1);
        assert!(nic.arm(true));
        assert!(nic.give(&cable::frame(MAC, 1100), None));
        b.set(ISR, W, isr::ROK.into());
        assert_eq!(b.get(ISR, W), 0, "none waits");
        let (_, data) = b.packet(7 * 1024);
        assert_eq!(data.len(), 1118);
        let over = 4 + 1118 - 1024;
        if wrap != 0 {
            assert_eq!(data[..1114], cable::frame(MAC, 1100), "beyond the end");
        }
        let mut whole = b.rig.ram(RING + 7 * 1024 + 4, 1020);
        let rest = if wrap == 0 { RING } else { RING + 0x2000 };
        whole.extend(b.rig.ram(rest, over));
        assert_eq!(whole[..1114], cable::frame(MAC, 1100));
        assert_eq!(b.get(CBR, W), 100, "rounded up to four bytes");
    }
}

#[test]
fn the_timer_rings() {
    let cable = Arc::new(Cable::default());
    let other = cable.clone();
    let rig = Rig::new(Rtl8139::config(), |wires| {
        Rtl8139::new("rtl8139", wires, other, MAC)
    });
    rig.place();
    let port = |r: u8| PORTS + u16::from(r);
    rig.bus.port_write(port(TCTR), D, 0);
    // 33 MHz: 10 us.
    rig.bus.port_write(port(TIMER_INT), D, 330);
    let clock = rig.bus.clock().clone();
    let ring = |ns: u64| {
        clock.skip_to(clock.now() + ns);
        rig.bus.run_due();
        rig.bus.port_read(port(ISR), W)
    };
    assert_eq!(ring(9_000), 0);
    assert_eq!(ring(2_000), isr::TIMEOUT.into());
    assert_eq!(rig.bus.port_read(port(TCTR), D), 363);
}

#[test]
fn state_survives() {
    let b = bench();
    b.start();
    b.set(MULINT, W, 0x123);
    assert!(b.cable.nic().give(&cable::frame(MAC, 50), None));
    let saved = b.rig.bus.save().unwrap();
    b.rig.bus.reset();
    b.rig.place();
    assert_eq!(b.get(CBR, W), 0);
    b.rig.bus.restore(&saved).unwrap();
    assert_eq!((b.get(CBR, W), b.get(MULINT, W)), (72, 0x123));
    assert!(b.cable.nic().give(&cable::frame(MAC, 50), None));
    assert_eq!(b.get(CBR, W), 144);
}

/// Registers, descriptors and frames at random: no panic, no growth, and the card works afterwards.
#[test]
fn hostile_drivers_do_no_harm() {
    let b = bench();
    let mut f = Fuzz::new(0x8139);
    for round in rounds(60_000) {
        match f.below(8) {
            0 => b.start(),
            1 | 2 => {
                let at = f.value() as u16 & 0xff;
                let size = f.size();
                b.rig
                    .bus
                    .port_write(PORTS + at, size, f.value() as u32 & size.mask() as u32);
                b.rig.bus.port_read(PORTS + at, size);
            }
            3 => {
                let at = REGISTERS + (f.value() & 0xff);
                b.rig.store(at, f.size(), f.value());
                b.rig.load(at, f.size());
            }
            4 => {
                let n = 4 * f.below(4) as u8;
                let at = if f.below(8) == 0 {
                    f.value() as u32
                } else {
                    0x8000
                };
                b.set(TSAD0 + n, D, at);
                b.set(TSD0 + n, D, f.value() as u32 & 0x1fff);
            }
            5 => b.set(
                CAPR,
                W,
                b.get(CBR, W).wrapping_sub(16 + 4 * f.below(100) as u32),
            ),
            _ => b.cable.stir(&mut f, MAC),
        }
        if round % 4096 == 0 {
            let saved = b.rig.bus.save().unwrap();
            b.rig.bus.restore(&saved).unwrap();
        }
    }
    b.cable.sent();
    b.rig.bus.reset();
    b.rig.place();
    b.start();
    assert!(b.cable.nic().give(&cable::frame(MAC, 60), None));
    assert_eq!(b.packet(0).1.len(), 78);
}
