use super::*;
use crate::rig::{AT, B, D, MEMORY, PORTS, Q, Rig, W, disk};
use crate::testing::{Fuzz, rounds};
use block::{Access, Disk};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const BAR: u64 = MEMORY + 0x4_0000;
const MSIX: u64 = MEMORY + 0x1_0000;
const NOTIFY: u64 = BAR + 0x3000;

/// Where a test's queue is.
const DESC: u64 = 0x1_0000;
const AVAIL: u64 = 0x2_0000;
const USED: u64 = 0x3_0000;

struct Bench {
    rig: Rig,
    disk: Arc<Disk>,
    image: Arc<block::MemoryImage>,
    available: std::cell::Cell<u16>,
    seen: std::cell::Cell<u16>,
}

fn bench(access: Access) -> Bench {
    let (disk, image) = disk(4096, access);
    let other = disk.clone();
    let rig = Rig::new(VirtioPci::<Blk>::config(), |wires| {
        VirtioPci::new("blk", wires, |core| Blk::new(core, other))
    });
    rig.place();
    Bench {
        rig,
        disk,
        image,
        available: 0.into(),
        seen: 0.into(),
    }
}

#[derive(Clone, Copy)]
struct Piece {
    at: u64,
    bytes: u32,
    write: bool,
}

fn out(at: u64, bytes: u32) -> Piece {
    Piece {
        at,
        bytes,
        write: false,
    }
}
fn into(at: u64, bytes: u32) -> Piece {
    Piece {
        at,
        bytes,
        write: true,
    }
}

impl Bench {
    fn status(&self) -> u8 {
        self.rig.load(BAR + 0x14, B) as u8
    }
    fn set_status(&self, value: u8) {
        self.rig.store(BAR + 0x14, B, value.into());
    }
    /// What a driver does first (3.1.1), with a queue of 16 entries.
    fn start(&self, features: u64) {
        self.set_status(0);
        // A driver waits for what is under way (2.4.2).
        self.disk.drain();
        assert_eq!(self.status(), 0);
        self.set_status(1);
        self.set_status(3);
        for half in [0, 1] {
            self.rig.store(BAR + 8, D, half);
            self.rig
                .store(BAR + 12, D, features >> (32 * half) & 0xffff_ffff);
        }
        self.set_status(11);
        assert_eq!(self.status(), 11);
        self.rig.store(BAR + 0x16, W, 0);
        self.rig.store(BAR + 0x18, W, 16);
        self.rig.store(BAR + 0x20, Q, DESC);
        // In halves, as a 32-bit driver does.
        for (register, at) in [(0x28, AVAIL), (0x30, USED)] {
            self.rig.store(BAR + register, D, at & 0xffff_ffff);
            self.rig.store(BAR + register + 4, D, at >> 32);
        }
        self.rig.store(BAR + 0x1c, W, 1);
        for at in [DESC, AVAIL, USED] {
            self.rig.set_ram(at, &[0; 4096]);
        }
        self.set_status(15);
        self.available.set(0);
        self.seen.set(0);
    }
    fn descriptor(&self, table: u64, n: u16, piece: Piece, next: Option<u16>, flags: u16) {
        let mut d = piece.at.to_le_bytes().to_vec();
        d.extend(piece.bytes.to_le_bytes());
        let flags = flags | u16::from(next.is_some()) | u16::from(piece.write) << 1;
        d.extend(flags.to_le_bytes());
        d.extend(next.unwrap_or(0).to_le_bytes());
        self.rig.set_ram(table + 16 * u64::from(n), &d);
    }
    /// Puts a chain that begins at `head` into the available ring.
    fn offer(&self, head: u16, pieces: &[Piece]) {
        for (n, p) in (head..).zip(pieces) {
            let last = usize::from(n - head) + 1 == pieces.len();
            self.descriptor(DESC, n, *p, (!last).then_some(n + 1), 0);
        }
        self.publish(head);
    }
    fn publish(&self, head: u16) {
        let index = self.available.get();
        self.rig
            .set_ram(AVAIL + 4 + 2 * u64::from(index & 15), &head.to_le_bytes());
        self.available.set(index.wrapping_add(1));
        self.rig
            .set_ram(AVAIL + 2, &index.wrapping_add(1).to_le_bytes());
    }
    fn kick(&self) {
        self.rig.store(NOTIFY, W, 0);
        self.disk.drain();
    }
    /// What came back since the last call: (head, bytes).
    fn used(&self) -> Vec<(u32, u32)> {
        let index = u16::from_le_bytes(self.rig.ram(USED + 2, 2).try_into().unwrap());
        let mut found = Vec::new();
        while self.seen.get() != index {
            let at = USED + 4 + 8 * u64::from(self.seen.get() & 15);
            let e = self.rig.ram(at, 8);
            let word = |n: usize| u32::from_le_bytes(e[n..n + 4].try_into().unwrap());
            found.push((word(0), word(4)));
            self.seen.set(self.seen.get().wrapping_add(1));
        }
        found
    }
    fn header(&self, at: u64, kind: u32, sector: u64) -> Piece {
        let mut h = kind.to_le_bytes().to_vec();
        h.extend([0; 4]);
        h.extend(sector.to_le_bytes());
        self.rig.set_ram(at, &h);
        out(at, 16)
    }
    /// One request with the status at 0x9000; tells status and bytes written.
    fn request(&self, kind: u32, sector: u64, pieces: &[Piece]) -> (u8, u32) {
        self.rig.set_ram(0x9000, &[0xff]);
        let mut all = vec![self.header(0x8000, kind, sector)];
        all.extend(pieces);
        all.push(into(0x9000, 1));
        self.offer(0, &all);
        self.kick();
        let used = self.used();
        assert_eq!(used.len(), 1);
        (self.rig.ram(0x9000, 1)[0], used[0].1)
    }
}

fn sectors(from: u32, count: u32) -> Vec<u8> {
    (from..from + count)
        .flat_map(|n| n.to_le_bytes().repeat(128))
        .collect()
}

const V1: u64 = feature::VERSION_1;
const FLUSH: u64 = 1 << 9;

#[test]
fn capabilities_lead_to_the_structures() {
    let b = bench(Access::ReadWrite);
    let read = |at: u8| b.rig.pci.config_read(AT, at, B) as u8;
    let mut at = read(0x34);
    let mut kinds = Vec::new();
    while at != 0 {
        if read(at) == 9 {
            kinds.push((
                read(at + 3),
                read(at + 4),
                b.rig.pci.config_read(AT, at + 8, D),
            ));
        }
        at = read(at + 1);
    }
    assert_eq!(
        kinds,
        [
            (5, 4, 0),
            (1, 4, 0),
            (3, 4, 0x1000),
            (4, 4, 0x2000),
            (2, 4, 0x3000)
        ]
    );
    assert_eq!(b.rig.pci.config_read(AT, 0, D), 0x1001_1af4);
    // Through the window: capacity, 4096 sectors.
    b.rig.pci.config_write(AT, 0x44, B, 4);
    b.rig.pci.config_write(AT, 0x48, D, 0x2000);
    b.rig.pci.config_write(AT, 0x4c, D, 4);
    assert_eq!(b.rig.pci.config_read(AT, 0x50, D), 4096);
    b.rig.pci.config_write(AT, 0x48, D, 0x14);
    b.rig.pci.config_write(AT, 0x4c, D, 1);
    b.rig.pci.config_write(AT, 0x50, D, 1);
    assert_eq!(b.status(), 1);
    assert_eq!(b.rig.load(BAR + 0x2000, Q), 4096);
    assert_eq!(b.rig.load(BAR + 0x12, W), 1, "queues");
}

#[test]
fn features_are_negotiated() {
    let b = bench(Access::ReadWrite);
    b.set_status(3);
    b.rig.store(BAR + 8, D, 0);
    b.rig.store(BAR + 12, D, FLUSH);
    b.set_status(11);
    assert_eq!(b.status(), 3, "not without VERSION_1");
    b.rig.store(BAR + 8, D, 1);
    b.rig.store(BAR + 12, D, 3);
    b.set_status(11);
    assert_eq!(b.status(), 3, "not what is not offered");
    b.rig.store(BAR + 12, D, 1);
    b.set_status(11);
    assert_eq!(b.status(), 11);
    assert_eq!(b.rig.load(BAR + 0x18, W), 256, "queue size");
}

#[test]
fn requests_move_data() {
    let b = bench(Access::ReadWrite);
    b.start(V1 | FLUSH);
    // Over several segments, cut anywhere.
    let pieces = [
        into(0x10_0000, 1),
        into(0x11_0000, 1000),
        into(0x12_0000, 535),
    ];
    assert_eq!(b.request(0, 7, &pieces), (0, 1537));
    let got = [
        b.rig.ram(0x10_0000, 1),
        b.rig.ram(0x11_0000, 1000),
        b.rig.ram(0x12_0000, 535),
    ];
    assert!(got.concat() == sectors(7, 3));
    let data: Vec<u8> = (0..1024).map(|n| (n >> 2) as u8).collect();
    b.rig.set_ram(0x10_0000, &data);
    assert_eq!(
        b.request(1, 4094, &[out(0x10_0000, 300), out(0x10_0000 + 300, 724)]),
        (0, 1)
    );
    assert!(b.image.bytes.lock().unwrap()[4094 * 512..] == data);
    assert_eq!(b.image.flushes.load(Ordering::SeqCst), 0);
    assert_eq!(b.request(4, 0, &[]), (0, 1));
    assert_eq!(b.image.flushes.load(Ordering::SeqCst), 1);
    assert_eq!(b.request(8, 0, &[into(0x10_0000, 20)]), (0, 21));
    assert_eq!(
        b.rig.ram(0x10_0000, 20),
        b"SERIAL-7\0\0\0\0\0\0\0\0\0\0\0\0"
    );
    // Discard two sectors, zero one.
    let range = |sector: u64, n: u32, flags: u32| {
        let mut r = sector.to_le_bytes().to_vec();
        r.extend(n.to_le_bytes());
        r.extend(flags.to_le_bytes());
        r
    };
    b.rig
        .set_ram(0x10_0000, &[range(100, 2, 0), range(110, 1, 0)].concat());
    assert_eq!(b.request(11, 0, &[out(0x10_0000, 32)]), (0, 1));
    b.rig.set_ram(0x10_0000, &range(102, 1, 1));
    assert_eq!(b.request(13, 0, &[out(0x10_0000, 16)]), (0, 1));
    {
        let bytes = b.image.bytes.lock().unwrap();
        assert!(bytes[51200..][..1024] == [0xdd; 1024]);
        assert!(bytes[52224..][..512] == [0; 512]);
        assert!(bytes[52736..][..512] == sectors(103, 1));
    }
    b.rig.set_ram(0x10_0000, &range(102, 1, 2));
    assert_eq!(b.request(13, 0, &[out(0x10_0000, 16)]).0, 2);
    assert_eq!(b.request(99, 0, &[]).0, 2);
}

#[test]
fn what_cannot_be_done_fails() {
    let b = bench(Access::ReadOnly);
    b.start(V1 | FLUSH);
    assert_eq!(b.request(0, 4095, &[into(0x10_0000, 1024)]).0, 1);
    assert_eq!(b.request(0, u64::MAX / 2, &[into(0x10_0000, 512)]).0, 1);
    assert_eq!(b.request(0, 0, &[into(0x10_0000, 100)]).0, 1);
    assert_eq!(b.request(0, 0, &[into(0xf000_0000, 512)]).0, 1);
    assert_eq!(b.request(0, 0, &[into(0x10_0000, 512)]).0, 0);
    b.image.broken.store(true, Ordering::SeqCst);
    assert_eq!(b.request(0, 0, &[into(0x10_0000, 512)]).0, 1);
    assert_eq!(b.request(4, 0, &[]).0, 1);
    assert_eq!(b.status(), 15, "none of it breaks the device");
}

#[test]
fn without_flush_writes_go_through() {
    let b = bench(Access::ReadWrite);
    b.start(V1);
    assert_eq!(b.request(1, 0, &[out(0x10_0000, 512)]).0, 0);
    assert_eq!(b.image.flushes.load(Ordering::SeqCst), 1);
}

#[test]
fn indirect_tables_and_event_indices() {
    let b = bench(Access::ReadWrite);
    b.start(V1 | FLUSH | feature::INDIRECT_DESC | feature::EVENT_IDX);
    b.rig.pci.config_write(AT, 4, W, 0x407);
    let table = 0x4_0000;
    let header = b.header(0x8000, 0, 9);
    b.descriptor(table, 0, header, Some(1), 0);
    b.descriptor(table, 1, into(0x10_0000, 512), Some(2), 0);
    b.descriptor(table, 2, into(0x9000, 1), None, 0);
    b.descriptor(DESC, 5, out(table, 48), None, 4);
    // The driver wants to hear of the second request.
    b.rig.set_ram(AVAIL + 4 + 32, &1u16.to_le_bytes());
    b.publish(5);
    b.kick();
    assert_eq!(b.used(), [(5, 513)]);
    assert!(b.rig.ram(0x10_0000, 512) == sectors(9, 1));
    assert_eq!(b.rig.load(BAR + 0x1000, B), 0, "no interrupt");
    assert_eq!(b.rig.ram(USED + 4 + 128, 2), [1, 0], "avail_event");
    b.publish(5);
    b.kick();
    assert_eq!(b.rig.load(BAR + 0x1000, B), 1);
    assert_eq!(b.rig.load(BAR + 0x1000, B), 0, "reading clears");
}

#[test]
fn messages_tell_of_completion() {
    let b = bench(Access::ReadWrite);
    let mut cap = b.rig.pci.config_read(AT, 0x34, B) as u8;
    while b.rig.pci.config_read(AT, cap, B) != 0x11 {
        cap = b.rig.pci.config_read(AT, cap + 1, B) as u8;
    }
    b.rig.pci.config_write(AT, cap + 2, W, 0x8000);
    b.rig.store(MSIX + 16, D, 0xfee0_0000);
    b.rig.store(MSIX + 24, D, 0x31);
    b.rig.store(MSIX + 28, D, 0);
    b.start(V1 | FLUSH);
    b.rig.store(BAR + 0x16, W, 0);
    b.rig.store(BAR + 0x1a, W, 7);
    assert_eq!(b.rig.load(BAR + 0x1a, W), 0xffff, "no such vector");
    b.rig.store(BAR + 0x1a, W, 1);
    assert_eq!(b.request(0, 0, &[into(0x10_0000, 512)]).0, 0);
    assert_eq!(b.rig.mail(), [(0xfee0_0000, 0x31)]);
    // The driver polls.
    b.rig.set_ram(AVAIL, &[1, 0]);
    assert_eq!(b.request(0, 0, &[into(0x10_0000, 512)]).0, 0);
    assert_eq!(b.rig.mail(), []);
}

#[test]
fn a_legacy_driver_gets_along() {
    let b = bench(Access::ReadWrite);
    let bus = &b.rig.bus;
    let set = |offset: u16, size, value| bus.port_write(PORTS + offset, size, value);
    set(18, B, 0);
    set(18, B, 3);
    let offered = bus.port_read(PORTS, D);
    assert_eq!(offered & FLUSH as u32, FLUSH as u32);
    set(4, D, FLUSH as u32);
    set(14, W, 0);
    assert_eq!(bus.port_read(PORTS + 12, W), 256);
    let base = 0x5_0000u64;
    set(8, D, (base >> 12) as u32);
    set(18, B, 7);
    assert_eq!(bus.port_read(PORTS + 20, D), 4096, "capacity");
    let header = b.header(0x8000, 0, 5);
    b.descriptor(base, 0, header, Some(1), 0);
    b.descriptor(base, 1, into(0x10_0000, 512), Some(2), 0);
    b.descriptor(base, 2, into(0x9000, 1), None, 0);
    let available = base + 16 * 256;
    b.rig.set_ram(available, &[0, 0, 1, 0, 0, 0]);
    set(16, W, 0);
    b.disk.drain();
    let used = (available + 6 + 512).next_multiple_of(4096);
    assert_eq!(b.rig.ram(used + 2, 2), [1, 0]);
    assert!(b.rig.ram(0x10_0000, 512) == sectors(5, 1));
    assert_eq!(bus.port_read(PORTS + 19, B), 1);
    assert_eq!(bus.port_read(PORTS + 19, B), 0);
}

#[test]
fn hostile_rings_break_the_device_and_no_more() {
    let b = bench(Access::ReadWrite);
    let cases: [(&str, &dyn Fn()); 8] = [
        ("a circle", &|| {
            b.descriptor(DESC, 0, out(0x8000, 16), Some(1), 0);
            b.descriptor(DESC, 1, out(0x8000, 16), Some(0), 0);
            b.publish(0);
        }),
        ("a head beyond the table", &|| b.publish(16)),
        ("a next beyond the table", &|| {
            b.descriptor(DESC, 0, out(0x8000, 16), Some(99), 0);
            b.publish(0);
        }),
        ("an available index far ahead", &|| {
            b.rig.set_ram(AVAIL + 2, &[0, 0x70])
        }),
        ("read after write", &|| {
            b.descriptor(DESC, 0, into(0x8000, 16), Some(1), 0);
            b.descriptor(DESC, 1, out(0x8000, 16), None, 0);
            b.publish(0);
        }),
        ("an indirect table in an indirect table", &|| {
            b.descriptor(0x4_0000, 0, out(0x4_0000, 16), None, 4);
            b.descriptor(DESC, 0, out(0x4_0000, 16), None, 4);
            b.publish(0);
        }),
        ("an indirect table outside RAM", &|| {
            b.descriptor(DESC, 0, out(0xf000_0000, 32), None, 4);
            b.publish(0);
        }),
        ("an odd indirect table", &|| {
            b.descriptor(DESC, 0, out(0x4_0000, 17), None, 4);
            b.publish(0);
        }),
    ];
    for (what, attack) in cases {
        b.start(V1 | FLUSH | feature::INDIRECT_DESC);
        attack();
        b.kick();
        assert_eq!(b.status(), 0x4f, "{what}");
        assert_eq!(b.used(), [], "{what}");
        b.start(V1 | FLUSH);
        assert_eq!(
            b.request(0, 3, &[into(0x10_0000, 512)]),
            (0, 513),
            "after {what}"
        );
    }
    // Rings outside RAM, and the end of the address space.
    for at in [0xf000_0000, u64::MAX - 1, u64::MAX - 4096] {
        b.start(V1 | FLUSH);
        b.set_status(0);
        b.set_status(3);
        b.rig.store(BAR + 8, D, 1);
        b.rig.store(BAR + 12, D, 1);
        b.set_status(11);
        b.rig.store(BAR + 0x28, Q, at);
        b.rig.store(BAR + 0x1c, W, 1);
        b.set_status(15);
        b.kick();
        assert_eq!(b.status() & 0x40, 0x40, "{at:#x}");
    }
}

#[test]
fn a_queue_survives_saving() {
    let b = bench(Access::ReadWrite);
    b.start(V1 | FLUSH);
    assert_eq!(b.request(0, 3, &[into(0x10_0000, 512)]).0, 0);
    let saved = b.rig.bus.save().unwrap();
    let ram = b.rig.ram(0, 1 << 20);
    let other = bench(Access::ReadWrite);
    other.rig.set_ram(0, &ram);
    other.rig.bus.restore(&saved).unwrap();
    other.available.set(1);
    other.seen.set(1);
    assert_eq!(other.request(0, 4, &[into(0x10_0000, 512)]).0, 0);
    assert!(other.rig.ram(0x10_0000, 512) == sectors(4, 1));
}

#[test]
fn random_bytes_come() {
    let rig = Rig::new(VirtioPci::<Rng>::config(), |wires| {
        VirtioPci::new("rng", wires, Rng::new)
    });
    rig.place();
    let (disk, image) = disk(1, Access::ReadWrite);
    let b = Bench {
        rig,
        disk,
        image,
        available: 0.into(),
        seen: 0.into(),
    };
    b.start(V1);
    b.offer(0, &[into(0x10_0000, 4000), into(0x11_0000, 4000)]);
    b.kick();
    assert_eq!(b.used(), [(0, 4096)]);
    assert!(b.rig.ram(0x10_0000, 64) != [0; 64] && b.rig.ram(0x11_0000, 96) != [0; 96]);
    assert!(b.rig.ram(0x11_0000 + 96, 64) == [0; 64]);
}

#[test]
fn survives_anything() {
    let b = bench(Access::ReadWrite);
    let mut f = Fuzz::new(0x1af4);
    for round in rounds(30_000) {
        match f.below(12) {
            0 => b.start(V1 | f.value() & (FLUSH | feature::INDIRECT_DESC | feature::EVENT_IDX)),
            1 => {
                let at = BAR + f.below(0x40);
                b.rig.store(at, f.size(), f.value());
            }
            2 => {
                b.rig.load(BAR + (f.value() & 0x3fff), f.size());
            }
            3 => {
                let at = PORTS + f.below(64) as u16;
                b.rig.bus.port_write(at, f.size(), f.value() as u32);
            }
            4 => {
                b.rig.bus.port_read(PORTS + f.below(64) as u16, f.size());
            }
            5 => b.rig.set_ram(AVAIL + f.below(64), &f.value().to_le_bytes()),
            6..10 => {
                // A request that is almost right.
                let kind = [0, 1, 4, 8, 11, 13][f.below(6) as usize];
                let header = b.header(0x8000, kind, f.value() & 0x1fff);
                let count = 1 + f.below(6) as u16;
                for n in 0..count {
                    let at = match f.below(12) {
                        0 => f.value(),
                        _ => 0x10_0000 + (f.value() & 0xffff),
                    };
                    let piece = match n {
                        0 => header,
                        _ => Piece {
                            at,
                            bytes: (f.below(9) * 512) as u32,
                            write: f.flip(),
                        },
                    };
                    let next = match f.below(20) {
                        0 => Some(f.below(20) as u16),
                        _ => (n + 1 < count).then_some(n + 1),
                    };
                    let flags = if f.below(12) == 0 { 4 } else { 0 };
                    b.descriptor(DESC, n, piece, next, flags);
                }
                b.publish(0);
                b.rig.store(NOTIFY, W, 0);
            }
            10 => b.rig.store(NOTIFY + 4 * f.below(3), f.size(), f.value()),
            _ => {
                let register = f.below(0x60) as u8 & !3;
                if !(0x10..0x28).contains(&register) && register != 4 {
                    b.rig.pci.config_write(AT, register, D, f.value() as u32);
                    b.rig.pci.config_read(AT, register, D);
                }
            }
        }
        if round % 2048 == 0 {
            b.disk.drain();
            let saved = b.rig.bus.save().unwrap();
            b.rig.bus.restore(&saved).unwrap();
        }
    }
    b.disk.drain();
    b.rig.bus.reset();
    b.rig.place();
    b.start(V1 | FLUSH);
    assert_eq!(b.request(4, 0, &[]), (0, 1));
}
