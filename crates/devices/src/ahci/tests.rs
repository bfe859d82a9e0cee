use super::*;
use crate::ata::{command, error, status};
use crate::rig::{AT, B, D, MEMORY, Q, Rig, W, disk};
use crate::testing::{Fuzz, rounds};
use block::Access;

const BASE: u64 = MEMORY + 0x5_0000;
const LIST: u64 = 0x1_0000;
const FRAMES: u64 = 0x2_0000;
const TABLES: u64 = 0x3_0000;

struct Bench {
    rig: Rig,
    disk: Arc<Disk>,
    disc: Arc<Disk>,
    image: Arc<block::MemoryImage>,
}

/// A disk of 4096 sectors at port 0, a CD of 512 blocks at port 1; both ports started, their structures 64 KiB apart.
fn bench() -> Bench {
    let (disk, image) = disk(4096, Access::ReadWrite);
    let (disc, _) = crate::rig::disk(2048, Access::ReadOnly);
    let drives = [
        Some(Drive::Disk(disk.clone())),
        Some(Drive::CdRom(Some(disc.clone()))),
        None,
        None,
        None,
        None,
    ];
    let rig = Rig::new(Ahci::config(), |wires| Ahci::new(wires, drives));
    rig.place();
    let b = Bench {
        rig,
        disk,
        disc,
        image,
    };
    b.start();
    b
}

impl Bench {
    fn get(&self, register: u64) -> u32 {
        self.rig.load(BASE + register, D) as u32
    }
    fn set(&self, register: u64, value: u32) {
        self.rig.store(BASE + register, D, value.into());
    }
    fn port(&self, n: u64, register: u64) -> u32 {
        self.get(0x100 + 0x80 * n + register)
    }
    fn set_port(&self, n: u64, register: u64, value: u32) {
        self.set(0x100 + 0x80 * n + register, value);
    }
    fn wait(&self) {
        self.disk.drain();
        self.disc.drain();
    }
    fn start(&self) {
        self.set(4, 0x8000_0002);
        for n in 0..2 {
            self.set_port(n, 0, (LIST + 0x8_0000 * n) as u32);
            self.set_port(n, 8, (FRAMES + 0x8_0000 * n) as u32);
            self.set_port(n, 0x18, 0x16);
            self.set_port(n, 0x30, u32::MAX);
            self.set_port(n, 0x10, u32::MAX);
            self.set_port(n, 0x14, 0xfdc0_00ff);
            self.set_port(n, 0x18, 0x17);
        }
        self.set(8, u32::MAX);
    }
    /// Puts a command into a slot, its data at these regions.
    fn put(&self, n: u64, slot: u64, frame: &[u8], cdb: &[u8], regions: &[(u64, u32)]) {
        let table = TABLES + 0x8_0000 * n + 0x400 * slot;
        let packet = u32::from(!cdb.is_empty()) << 5;
        let mut header = ((regions.len() as u32) << 16 | 5 | packet)
            .to_le_bytes()
            .to_vec();
        header.extend([0; 4]);
        header.extend(table.to_le_bytes());
        self.rig.set_ram(LIST + 0x8_0000 * n + 32 * slot, &header);
        let mut full = frame.to_vec();
        full.resize(0x40, 0);
        full.extend(cdb);
        full.resize(0x80, 0);
        for (at, bytes) in regions {
            full.extend(at.to_le_bytes());
            full.extend([0; 4]);
            full.extend((bytes - 1).to_le_bytes());
        }
        self.rig.set_ram(table, &full);
    }
    fn go(&self, n: u64, slots: u32) {
        self.set_port(n, 0x38, slots);
        self.wait();
    }
    fn packet(&self, cdb: &[u8], bytes: u32) -> Result<Vec<u8>, u32> {
        let mut full = cdb.to_vec();
        full.resize(12, 0);
        self.put(
            1,
            0,
            &frame(command::PACKET, 0, 0),
            &full,
            &[(0x10_0000, bytes.max(2))],
        );
        self.go(1, 1);
        if self.port(1, 0x20) & 1 != 0 {
            self.set_port(1, 0x18, 0x16);
            self.set_port(1, 0x10, u32::MAX);
            self.set_port(1, 0x18, 0x17);
            return Err(self.port(1, 0x20) >> 12);
        }
        assert_eq!(self.port(1, 0x38), 0);
        Ok(self.rig.ram(0x10_0000, bytes as usize))
    }
}

fn frame(code: u8, lba: u64, count: u16) -> [u8; 16] {
    let l = lba.to_le_bytes();
    let [c, d] = count.to_le_bytes();
    [
        0x27, 0x80, code, 0, l[0], l[1], l[2], 0x40, l[3], l[4], l[5], 0, c, d, 0, 0,
    ]
}

fn sectors(from: u32, count: u32) -> Vec<u8> {
    (from..from + count)
        .flat_map(|n| n.to_le_bytes().repeat(128))
        .collect()
}

#[test]
fn devices_are_found() {
    let b = bench();
    assert_eq!(b.get(0x0c), 0x3f);
    assert_eq!([0, 1, 2].map(|n| b.port(n, 0x28)), [0x123, 0x123, 0]);
    assert_eq!(
        [0, 1, 2].map(|n| b.port(n, 0x24)),
        [0x101, 0xeb14_0101, u32::MAX]
    );
    assert_eq!(b.rig.ram(FRAMES + 0x40, 5), [0x34, 0x40, 0x50, 1, 1]);
    assert_eq!(b.port(0, 0x18) & 0xc000, 0xc000);
    // COMRESET.
    b.set_port(0, 0x2c, 0x301);
    assert_eq!(b.port(0, 0x28), 0);
    b.set_port(0, 0x2c, 0x300);
    assert_eq!(b.port(0, 0x28), 0x123);
    assert_eq!(b.port(0, 0x30), 1 << 26);
    assert_eq!(b.port(0, 0x20), 0x150);
}

#[test]
fn commands_move_data() {
    let b = bench();
    b.put(
        0,
        3,
        &frame(command::IDENTIFY, 0, 0),
        &[],
        &[(0x10_0000, 512)],
    );
    b.go(0, 8);
    assert_eq!((b.port(0, 0x38), b.port(0, 0x10)), (0, 2));
    assert_eq!(b.get(8), 1);
    assert_eq!(b.rig.ram(LIST + 96 + 4, 4), [0, 2, 0, 0], "bytes moved");
    assert_eq!(&b.rig.ram(0x10_0000 + 20, 8), b"ESIRLA7-");
    assert_eq!(b.rig.ram(FRAMES + 0x20, 1), [0x5f]);
    b.set_port(0, 0x10, u32::MAX);
    b.set(8, 1);
    assert_eq!(b.get(8), 0);
    let regions = [(0x10_0000, 512), (0x11_0002, 1022), (0x12_0000, 2)];
    b.put(0, 0, &frame(command::READ_DMA_EXT, 40, 3), &[], &regions);
    b.go(0, 1);
    let got = regions.map(|(at, n)| b.rig.ram(at, n as usize)).concat();
    assert!(got == sectors(40, 3));
    assert_eq!(b.port(0, 0x10), 1);
    b.rig.set_ram(0x10_0000, &[0x5a; 1024]);
    b.put(
        0,
        0,
        &frame(command::WRITE_DMA, 2000, 2),
        &[],
        &[(0x10_0000, 1024)],
    );
    b.put(0, 1, &frame(command::FLUSH_CACHE_EXT, 0, 0), &[], &[]);
    b.go(0, 3);
    assert_eq!(b.port(0, 0x38), 0);
    assert!(b.image.bytes.lock().unwrap()[1_024_000..][..1024] == [0x5a; 1024]);
    assert_eq!(b.image.flushes.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[test]
fn a_queue_has_many_commands() {
    let b = bench();
    for tag in 0..32u64 {
        let mut f = frame(command::READ_FPDMA_QUEUED, 100 + 8 * tag, (tag as u16) << 3);
        f[3] = 8;
        b.put(0, tag, &f, &[], &[(0x20_0000 + 4096 * tag, 4096)]);
    }
    b.set_port(0, 0x34, u32::MAX);
    b.go(0, u32::MAX);
    assert_eq!((b.port(0, 0x34), b.port(0, 0x38)), (0, 0));
    assert_eq!(b.port(0, 0x10) & 8, 8);
    assert!(b.rig.ram(0x20_0000, 32 * 4096) == sectors(100, 256));
}

#[test]
fn failures_stop_the_port() {
    let b = bench();
    b.put(
        0,
        0,
        &frame(command::READ_DMA_EXT, 4095, 2),
        &[],
        &[(0x10_0000, 1024)],
    );
    b.put(
        0,
        1,
        &frame(command::READ_DMA_EXT, 0, 1),
        &[],
        &[(0x10_0000, 512)],
    );
    b.go(0, 3);
    assert_eq!(b.port(0, 0x38), 3);
    assert_eq!(
        b.port(0, 0x20),
        u32::from(error::IDNF | error::ABRT) << 8 | 0x51
    );
    assert_eq!(b.port(0, 0x10) >> 30, 1);
    b.set_port(0, 0x18, 0x16);
    assert_eq!(b.port(0, 0x38), 0);
    b.set_port(0, 0x10, u32::MAX);
    b.set_port(0, 0x18, 0x17);
    b.go(0, 2);
    assert_eq!((b.port(0, 0x38), b.port(0, 0x20)), (0, 0x50));
    assert!(b.rig.ram(0x10_0000, 512) == sectors(0, 1));
    // Too few regions, regions that are none, a list that is none.
    for regions in [&[][..], &[(0xf000_0000, 512)], &[(0x10_0000, 256)]] {
        b.put(0, 0, &frame(command::READ_DMA_EXT, 0, 1), &[], regions);
        b.go(0, 1);
        assert_ne!(b.port(0, 0x20) & u32::from(status::ERR), 0, "{regions:x?}");
        b.set_port(0, 0x18, 0x16);
        b.set_port(0, 0x18, 0x17);
    }
    b.set_port(0, 0, 0xf000_0000);
    b.go(0, 1);
    assert_eq!(b.port(0, 0x10) >> 29 & 1, 1);
}

#[test]
fn packets_are_answered() {
    let b = bench();
    assert_eq!(b.packet(&[0], 0), Err(6));
    assert_eq!(b.packet(&[0], 0), Ok(vec![]));
    assert_eq!(b.packet(&[0x25], 8), Ok(vec![0, 0, 1, 0xff, 0, 0, 8, 0]));
    assert!(b.packet(&[0x28, 0, 0, 0, 0, 3, 0, 0, 2], 4096).unwrap() == sectors(12, 8));
    assert_eq!(b.packet(&[0x28, 0, 0, 0, 2, 0, 0, 0, 1], 2048), Err(5));
    b.put(
        1,
        0,
        &frame(command::IDENTIFY_PACKET, 0, 0),
        &[],
        &[(0x10_0000, 512)],
    );
    b.go(1, 1);
    assert_eq!(b.rig.ram(0x10_0001, 1), [0x85]);
    let saved = b.rig.bus.save().unwrap();
    b.rig.bus.restore(&saved).unwrap();
    assert_eq!(b.packet(&[0], 0), Ok(vec![]));
}

#[test]
fn messages_come() {
    let b = bench();
    let cap = b.rig.pci.config_read(AT, 0x34, B) as u8;
    b.rig.pci.config_write(AT, cap + 4, D, 0xfee0_0000);
    b.rig.pci.config_write(AT, cap + 12, W, 0x41);
    b.rig.pci.config_write(AT, cap + 2, W, 1);
    b.put(
        0,
        0,
        &frame(command::READ_DMA_EXT, 0, 1),
        &[],
        &[(0x10_0000, 512)],
    );
    b.go(0, 1);
    assert_eq!(b.rig.mail(), [(0xfee0_0000, 0x41)]);
}

#[test]
fn survives_anything() {
    let b = bench();
    let mut f = Fuzz::new(0xa4c1);
    for round in rounds(60_000) {
        let n = f.below(2);
        match f.below(8) {
            0 => b.rig.store(BASE + (f.value() & 0xfff), f.size(), f.value()),
            1 => {
                b.rig.load(BASE + (f.value() & 0xfff), Q);
            }
            2 => b.start(),
            3..6 => {
                let codes = [
                    0x25, 0x35, 0xc8, 0xca, 0x60, 0x61, 0xec, 0xa0, 0xa1, 0xea, 0x06, 0x20,
                ];
                let code = codes[f.below(12) as usize];
                let mut h = frame(code, f.value() & 0x1fff, f.below(40) as u16);
                if f.below(8) == 0 {
                    h[f.below(16) as usize] = f.value() as u8;
                }
                let cdb: Vec<u8> = (0..12).map(|_| f.value() as u8 & 0x5f).collect();
                let cdb = if code == 0xa0 { &cdb[..] } else { &[] };
                let at = if f.below(10) == 0 {
                    f.value()
                } else {
                    0x10_0000 + (f.value() & 0xffff)
                };
                let regions = [(at, 1 + (f.value() as u32 & 0xffff)), (0x20_0000, 0x8000)];
                b.put(n, f.below(4), &h, cdb, &regions[..f.below(3) as usize]);
                b.set_port(n, 0x38, f.value() as u32 & 15);
            }
            6 => b.set_port(n, 0x18, f.value() as u32),
            _ => b.set_port(n, 4 * f.below(16), f.value() as u32),
        }
        if round % 4096 == 0 {
            b.wait();
            let saved = b.rig.bus.save().unwrap();
            b.rig.bus.restore(&saved).unwrap();
        }
    }
    b.wait();
    b.rig.bus.reset();
    b.rig.place();
    b.start();
    b.put(
        0,
        0,
        &frame(command::READ_DMA_EXT, 7, 1),
        &[],
        &[(0x10_0000, 512)],
    );
    b.go(0, 1);
    assert_eq!(b.port(0, 0x20), 0x50);
}
