use super::*;
use crate::cable::{self, Cable};
use crate::ethernet::fcs;
use crate::rig::{AT, D, MEMORY, PORTS, Rig, W};
use crate::testing::{Fuzz, rounds};

const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];
/// Where a test's rings are, and how many descriptors each has.
const TX: u64 = 0x1_0000;
const RX: u64 = 0x2_0000;
const COUNT: u32 = 16;
/// Buffers of 2 KiB for received frames.
const BUFFERS: u64 = 0x10_0000;

struct Bench {
    rig: Rig,
    cable: Arc<Cable>,
}

fn bench() -> Bench {
    let cable = Arc::new(Cable::default());
    let other = cable.clone();
    let rig = Rig::new(E1000::config(), |wires| {
        E1000::new("e1000", wires, other, MAC)
    });
    rig.place();
    Bench { rig, cable }
}

impl Bench {
    fn get(&self, register: u32) -> u32 {
        self.rig.load(MEMORY + u64::from(register), D) as u32
    }
    fn set(&self, register: u32, value: u32) {
        self.rig
            .store(MEMORY + u64::from(register), D, value.into());
    }
    /// Rings, buffers of 2 KiB in each receive descriptor but one, everything for this card and everyone.
    fn start(&self) {
        for (base, at) in [(TDBAL, TX), (RDBAL, RX)] {
            self.rig.set_ram(at, &[0; 16 * COUNT as usize]);
            self.set(base, at as u32);
            self.set(base + 4, 0);
            self.set(base + 8, 16 * COUNT);
            self.set(base + 16, 0);
            self.set(base + 24, 0);
        }
        for n in 0..u64::from(COUNT) {
            let at = BUFFERS + 2048 * n;
            self.rig.set_ram(RX + 16 * n, &at.to_le_bytes());
        }
        self.set(RDT, COUNT - 1);
        self.set(TCTL, TCTL_EN);
        self.set(RCTL, rctl::EN | rctl::BAM);
    }
    fn send(&self, descriptors: &[[u8; 16]]) {
        for d in descriptors {
            let n = self.get(TDT);
            self.rig.set_ram(TX + 16 * u64::from(n), d);
            self.set(TDT, (n + 1) % COUNT);
        }
    }
    fn received(&self, n: u64) -> (u16, u8, u8, Vec<u8>) {
        let d = self.rig.ram(RX + 16 * n, 16);
        let bytes = u16::from_le_bytes([d[8], d[9]]);
        let data = self.rig.ram(BUFFERS + 2048 * n, bytes.into());
        (bytes, d[12], d[13], data)
    }
    /// Interrupt status in the status register (PCI 3.0, 6.2.3): the level of the pin.
    fn pin(&self) -> bool {
        self.rig.pci.config_read(AT, 6, W) & 8 != 0
    }
}

/// A legacy descriptor.
fn legacy(at: u64, bytes: u16, order: u8, sum_at: u8, sum_from: u8) -> [u8; 16] {
    let mut d = [0; 16];
    d[..8].copy_from_slice(&at.to_le_bytes());
    d[8..10].copy_from_slice(&bytes.to_le_bytes());
    (d[10], d[11], d[13]) = (sum_at, order, sum_from);
    d
}

/// An extended data descriptor.
fn data(at: u64, bytes: u32, order: u8, options: u8) -> [u8; 16] {
    let mut d = legacy(
        at,
        bytes as u16,
        order | 0x20,
        0x10 | (bytes >> 16) as u8,
        options,
    );
    d[13] = options;
    d
}

/// The context for a frame of IPv4 and TCP: checksums, and segments of `segment` bytes with TSE.
fn context(order: u8, segment: u16) -> [u8; 16] {
    let mut d = [
        14,
        24,
        33,
        0,
        34,
        50,
        0,
        0,
        0,
        0,
        0,
        order | 0x20 | 3,
        0,
        54,
        0,
        0,
    ];
    d[14..].copy_from_slice(&segment.to_le_bytes());
    d
}

#[test]
fn the_address_is_in_the_eeprom() {
    let b = bench();
    let word = |n: u32| {
        b.set(EERD, n << 8 | eerd::START);
        let v = b.get(EERD);
        assert_ne!(v & eerd::DONE, 0);
        (v >> 16) as u16
    };
    let mac: Vec<u8> = (0..3).flat_map(|n| word(n).to_le_bytes()).collect();
    assert_eq!(mac, MAC);
    let sum = (0..64).fold(0u16, |s, n| s.wrapping_add(word(n)));
    assert_eq!(sum, 0xbaba);
    // By its pins: READ of word 1.
    let pins = |v: u32| b.set(EECD, eecd::CS | v);
    b.set(EECD, eecd::REQ);
    assert_ne!(b.get(EECD) & eecd::GNT, 0);
    for n in (0..9).rev() {
        let bit = 0b110_000001u32 >> n & 1;
        pins(bit * eecd::DI);
        pins(bit * eecd::DI | eecd::SK);
    }
    let mut found = 0u16;
    for _ in 0..16 {
        pins(0);
        pins(eecd::SK);
        found = found << 1 | u16::from(b.get(EECD) & eecd::DO != 0);
    }
    assert_eq!(found.to_le_bytes(), [MAC[2], MAC[3]]);
    assert_eq!(b.get(RA).to_le_bytes(), MAC[..4]);
    assert_eq!(b.get(RA + 4), RAH_AV | 0x0302);
}

#[test]
fn the_phy_has_a_link() {
    let b = bench();
    let read = |register: u32| {
        b.set(MDIC, mdic::READ | 1 << 21 | register << 16);
        let v = b.get(MDIC);
        assert_eq!(v & (mdic::READY | mdic::ERROR), mdic::READY);
        v as u16
    };
    assert_eq!((read(2), read(3) & 0xfff0), (0x0141, 0x0c20));
    assert_eq!(read(1) & 0x24, 0x24, "link up, negotiation done");
    b.set(IMS, cause::LSC | cause::MDAC);
    b.set(MDIC, mdic::WRITE | mdic::INTERRUPT | 1 << 21 | 0x1340);
    assert_eq!(b.get(ICR), cause::LSC | cause::MDAC);
    assert_eq!(read(0), 0x1140, "the restart is over");
    // No one else is on this bus.
    b.set(MDIC, mdic::READ | 2 << 21);
    assert_ne!(b.get(MDIC) & mdic::ERROR, 0);
    assert_eq!(b.get(STATUS) & 0xc3, 0x83);
}

#[test]
fn legacy_descriptors_are_sent() {
    let b = bench();
    b.start();
    let mut frame = cable::tcp([2, 0, 0, 0, 0, 1], 100);
    b.rig.set_ram(0x8000, &frame);
    b.cable.nic().arm(false);
    // In two pieces; the sum of IP's header by the old command goes to the packet's end, so the rest is left zero here.
    let (first, rest) = (54u16, (frame.len() - 54) as u16);
    b.send(&[
        legacy(0x8000, first, 0, 0, 0),
        legacy(0x8000 + 54, rest, 1 | 8, 0, 0),
    ]);
    assert_eq!(b.cable.kicks(), 2);
    assert_eq!(b.cable.sent(), [frame.clone()]);
    assert_eq!(b.rig.ram(TX + 12, 1)[0] & 1, 0, "no status without RS");
    assert_eq!(b.rig.ram(TX + 28, 1)[0] & 1, 1);
    assert_eq!(b.get(ICR) & 3, cause::TXDW | cause::TXQE);
    assert_eq!((b.get(TDH), b.get(STATISTICS + statistic::GPTC)), (2, 1));
    assert_eq!(b.get(STATISTICS + statistic::GPTC), 0, "read once");
    // With TCP's sum: the driver has put the pseudo header's there.
    let partial = offload::sum(&frame[26..34], 6 + 120);
    frame[50..52].copy_from_slice(&partial.to_be_bytes());
    b.rig.set_ram(0x8000, &frame);
    b.send(&[legacy(0x8000, frame.len() as u16, 1 | 4, 50, 34)]);
    assert_eq!(cable::sums(&b.cable.sent()[0])[1], 0);
    assert!(!b.cable.nic().arm(false));
}

#[test]
fn segments_are_cut() {
    let b = bench();
    b.start();
    let mut packet = cable::tcp([2, 0, 0, 0, 0, 1], 3000);
    packet[16..18].fill(0);
    // Without the length.
    let partial = offload::sum(&packet[26..34], 6);
    packet[50..52].copy_from_slice(&partial.to_be_bytes());
    b.rig.set_ram(0x8000, &packet);
    let bytes = packet.len() as u32;
    b.send(&[
        context(command_tse(), 1400),
        data(0x8000, 54, command_tse(), 3),
        data(0x8000 + 54, bytes - 54, command_tse() | 1 | 8, 0),
    ]);
    let frames = b.cable.sent();
    let sizes: Vec<usize> = frames.iter().map(|f| f.len() - 54).collect();
    assert_eq!(sizes, [1400, 1400, 200]);
    let body: Vec<u8> = frames.iter().flat_map(|f| f[54..].to_vec()).collect();
    assert!(body == packet[54..]);
    for (n, f) in frames.iter().enumerate() {
        assert_eq!(cable::sums(f), [0, 0], "sums of {n}");
        assert_eq!(f[19], 0x34 + n as u8, "identification");
        let sequence = u32::from_be_bytes(f[38..42].try_into().unwrap());
        assert_eq!(sequence, 100 + 1400 * n as u32);
        assert_eq!(f[47], if n == 2 { 0x19 } else { 0x10 }, "flags");
    }
    // The other context: sums only.
    let mut packet = cable::tcp([2, 0, 0, 0, 0, 1], 11);
    let partial = offload::sum(&packet[26..34], 6 + 31);
    packet[50..52].copy_from_slice(&partial.to_be_bytes());
    b.rig.set_ram(0x8000, &packet);
    b.send(&[context(0, 0), data(0x8000, packet.len() as u32, 1, 3)]);
    assert_eq!(cable::sums(&b.cable.sent()[0]), [0, 0]);
}

fn command_tse() -> u8 {
    4
}

#[test]
fn frames_are_received() {
    let b = bench();
    let nic = b.cable.nic();
    assert!(nic.give(&cable::frame(MAC, 10), None), "lost: not on yet");
    b.start();
    b.set(IMS, cause::RXT0);
    b.set(RXCSUM, IPOFL | TUOFL);
    assert!(nic.give(&cable::frame(MAC, 10), None));
    let (bytes, status, errors, data) = b.received(0);
    assert_eq!((bytes, status, errors), (64, 7, 0), "DD, EOP, IXSM");
    assert_eq!(data[..24], cable::frame(MAC, 10));
    assert_eq!(data[60..], fcs(&data[..60]).to_le_bytes());
    assert!(b.pin());
    assert_eq!(b.get(ICR) & cause::RXT0, cause::RXT0);
    assert!(!b.pin());
    // Sums: wrong ones are told.
    let mut packet = cable::tcp(MAC, 50);
    assert!(nic.give(&packet, None));
    assert_eq!(b.received(1).1, 0x63);
    assert_eq!(b.received(1).2, 0x60);
    let ip = !offload::sum(&packet[14..34], 0);
    packet[24..26].copy_from_slice(&ip.to_be_bytes());
    let pseudo = offload::sum(&packet[26..34], 6 + 70);
    let transport = !offload::sum(&packet[34..], pseudo.into());
    packet[50..52].copy_from_slice(&transport.to_be_bytes());
    b.set(RCTL, rctl::EN | rctl::SECRC);
    assert!(nic.give(&packet, None));
    let (bytes, status, errors, _) = b.received(2);
    assert_eq!((bytes as usize, status, errors), (packet.len(), 0x63, 0));
}

#[test]
fn filters_choose() {
    let b = bench();
    let nic = b.cable.nic();
    b.start();
    let passes = |to: [u8; 6]| {
        let before = b.get(RDH);
        assert!(nic.give(&cable::frame(to, 50), None));
        b.set(RDT, (b.get(RDH) + COUNT - 1) % COUNT);
        b.get(RDH) != before
    };
    let (other, group) = ([2, 0, 0, 0, 0, 7], [1, 0, 0x5e, 0, 0, 0xfb]);
    assert!(passes(MAC) && passes([0xff; 6]) && !passes(other) && !passes(group));
    // Bits 47:36 of the address.
    let hash = 0xfb0;
    b.set(MTA + 4 * (hash >> 5), 1 << (hash & 31));
    assert!(passes(group));
    b.set(MTA + 4 * (hash >> 5), 0);
    for (bit, to) in [(rctl::UPE, other), (rctl::MPE, group)] {
        b.set(RCTL, rctl::EN | bit);
        assert!(passes(to));
        // Everyone is a group, too.
        assert_eq!(passes([0xff; 6]), bit == rctl::MPE);
    }
    b.set(RCTL, rctl::EN);
    b.set(RA + 8, u32::from_le_bytes([2, 0, 0, 0]));
    b.set(RA + 12, RAH_AV | 0x0700);
    assert!(passes(other));
    assert!(nic.give(&cable::frame(MAC, 1600), None));
    assert_eq!(b.get(STATISTICS + statistic::ROC), 1, "too long");
}

#[test]
fn tags_of_vlans_come_and_go() {
    let b = bench();
    let nic = b.cable.nic();
    b.start();
    b.set(VET, 0x8100);
    b.set(CTRL, b.get(CTRL) | ctrl::VME);
    let mut tagged = cable::frame(MAC, 100);
    tagged.splice(12..12, [0x81, 0, 0x20, 5]);
    assert!(nic.give(&tagged, None));
    let (bytes, status, _, data) = b.received(0);
    assert_eq!((bytes, status & 8), (118, 8));
    assert_eq!(data[..114], cable::frame(MAC, 100));
    assert_eq!(b.rig.ram(RX + 14, 2), [5, 0x20]);
    // Only VLANs that are known.
    b.set(RCTL, rctl::EN | rctl::VFE);
    assert!(nic.give(&tagged, None));
    assert_eq!(b.get(RDH), 1);
    b.set(VFTA, 1 << 5);
    assert!(nic.give(&tagged, None));
    assert_eq!(b.get(RDH), 2);
    // And back: the special field says which.
    b.rig.set_ram(0x8000, &cable::frame(MAC, 100));
    let mut d = legacy(0x8000, 114, 1 | 0x40, 0, 0);
    d[14..].copy_from_slice(&0x2005u16.to_le_bytes());
    b.send(&[d]);
    assert_eq!(b.cable.sent(), [tagged]);
}

#[test]
fn frames_wait_for_descriptors() {
    let b = bench();
    let nic = b.cable.nic();
    b.start();
    b.set(RDT, 1);
    nic.arm(false);
    assert!(nic.give(&cable::frame(MAC, 60), None));
    assert!(!nic.give(&cable::frame(MAC, 60), None));
    assert!(!nic.arm(true), "no room");
    b.cable.kicks();
    b.set(RDT, 5);
    assert_eq!(b.cable.kicks(), 1);
    assert!(nic.arm(true));
    assert!(nic.give(&cable::frame(MAC, 60), None));
    // Over several buffers of 256 bytes.
    b.set(RCTL, rctl::EN | 3 << 16);
    assert!(nic.give(&cable::frame(MAC, 500), None));
    let parts: Vec<_> = (2..5)
        .map(|n| (b.received(n).0, b.received(n).1 & 3))
        .collect();
    assert_eq!(parts, [(256, 1), (256, 1), (6, 3)]);
    // A ring in no memory swallows what is sent, and stops.
    b.set(TDBAH, 0xffff);
    b.set(TDT, 9);
    assert!(b.cable.sent().is_empty());
    assert_eq!(b.get(TDH), 9);
}

#[test]
fn the_window_in_io_space_reaches_all() {
    let b = bench();
    let port = PORTS + 0x100;
    b.rig.bus.port_write(port, D, IMS);
    b.rig.bus.port_write(port + 4, D, 0x85);
    assert_eq!(b.get(IMS), 0x85);
    b.rig.bus.port_write(port, D, STATUS);
    assert_eq!(b.rig.bus.port_read(port + 4, D), STATUS_VALUE);
    // RST: everything but the EEPROM is as at power-on.
    b.set(CTRL, ctrl::RST);
    assert_eq!((b.get(IMS), b.get(RA + 4)), (0, RAH_AV | 0x0302));
    assert_eq!(b.rig.pci.config_read(AT, 0, D), 0x100e_8086);
}

#[test]
fn state_survives() {
    let b = bench();
    b.start();
    b.set(0x2820, 0x1234);
    let saved = b.rig.bus.save().unwrap();
    b.rig.bus.reset();
    b.rig.place();
    assert_eq!(b.get(RDLEN), 0);
    b.rig.bus.restore(&saved).unwrap();
    assert_eq!((b.get(RDLEN), b.get(0x2820)), (256, 0x1234));
    assert!(b.cable.nic().give(&cable::frame(MAC, 60), None));
    assert_eq!(b.get(RDH), 1);
}

/// Registers, descriptors and frames at random: no panic, no growth, and the card works afterwards.
#[test]
fn hostile_drivers_do_no_harm() {
    let b = bench();
    let mut f = Fuzz::new(0xe100);
    let known = [
        CTRL, EECD, EERD, MDIC, ICR, ICS, IMS, IMC, RCTL, TCTL, RDBAL, RDBAH, RDLEN, RDH, RDT,
        TDBAL, TDBAH, TDLEN, TDH, TDT, RXCSUM, VET, MTA, RA, VFTA,
    ];
    for round in rounds(40_000) {
        match f.below(8) {
            0 => b.start(),
            1 => {
                let at = MEMORY + (f.value() & 0x1_ffff);
                let size = f.size();
                b.rig.store(at, size, f.value());
                b.rig.load(at, size);
            }
            2 => b.set(known[f.below(25) as usize], f.value() as u32),
            3 | 4 => {
                // Descriptors that are nearly right.
                let at = 0x8000 + f.below(0x1000);
                let order = f.value() as u8;
                let d = match f.below(4) {
                    0 => legacy(
                        at,
                        f.value() as u16,
                        order,
                        f.value() as u8,
                        f.value() as u8,
                    ),
                    1 => context(order, f.value() as u16),
                    2 => data(at, f.value() as u32 & 0xf_ffff, order, f.value() as u8),
                    _ => std::array::from_fn(|_| f.value() as u8),
                };
                let n = b.get(TDT) % COUNT;
                b.rig.set_ram(TX + 16 * u64::from(n), &d);
                b.set(TDT, (n + 1) % COUNT);
            }
            5 => {
                b.rig
                    .bus
                    .port_write(PORTS + 0x100, D, f.value() as u32 & 0x3_ffff);
                b.rig.bus.port_write(PORTS + 0x104, D, f.value() as u32);
                b.rig.bus.port_read(PORTS + 0x104, f.size());
            }
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
    assert_eq!(b.received(0).0, 78);
}
