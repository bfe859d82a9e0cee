use super::*;
use crate::ata::{command, error, status};
use crate::rig::{AT, B, D, PORTS, Rig, W, disk};
use crate::testing::{Fuzz, Wire, rounds};
use block::Access;
use std::sync::atomic::Ordering;

struct Bench {
    rig: Rig,
    wire: Arc<Wire>,
    ide: Ide,
    disk: Arc<Disk>,
    image: Arc<block::MemoryImage>,
    disc: Arc<Disk>,
}

/// A disk of 4096 sectors on the first channel, a CD of 512 blocks on the second.
fn bench() -> Bench {
    let (disk, image) = disk(4096, Access::ReadWrite);
    let (disc, _) = crate::rig::disk(2048, Access::ReadOnly);
    let wire = Wire::new();
    let lines = [wire.line(14), wire.line(15)];
    let drives = [
        (Place::new(0, 0), Drive::Disk(disk.clone())),
        (Place::new(1, 0), Drive::CdRom(Some(disc.clone()))),
    ];
    let mut handle = None;
    let mut rig = Rig::new(Ide::config(), |wires| {
        let ide = Ide::new(&wires, lines, &drives);
        handle = Some(ide.clone());
        ide
    });
    for (n, (command, control)) in [(0x1f0, 0x3f6), (0x170, 0x376)].into_iter().enumerate() {
        rig.bus
            .map_ports(rig.index, region_command(n), command..=command + 7)
            .unwrap();
        rig.bus
            .map_ports(rig.index, region_control(n), control..=control)
            .unwrap();
    }
    rig.place();
    Bench {
        rig,
        wire,
        ide: handle.unwrap(),
        disk,
        image,
        disc,
    }
}

const MASTER: u16 = PORTS + 0x400;

impl Bench {
    fn get(&self, port: u16) -> u8 {
        self.rig.bus.port_read(port, B) as u8
    }
    fn set(&self, port: u16, value: u8) {
        self.rig.bus.port_write(port, B, value.into());
    }
    fn wait(&self) {
        self.disk.drain();
        self.disc.drain();
    }
    /// Writes the task file for an LBA and the command, and waits.
    fn start(&self, base: u16, lba: u64, count: u16, code: u8) {
        let wide = [
            command::READ_SECTORS_EXT,
            command::WRITE_SECTORS_EXT,
            command::READ_DMA_EXT,
            command::WRITE_DMA_EXT,
            command::DATA_SET_MANAGEMENT,
        ]
        .contains(&code);
        let l = lba.to_le_bytes();
        if wide {
            self.set(base + 2, (count >> 8) as u8);
            for n in 0..3 {
                self.set(base + 3 + n, l[3 + usize::from(n)]);
            }
        }
        self.set(base + 2, count as u8);
        for n in 0..3 {
            self.set(base + 3 + n, l[usize::from(n)]);
        }
        self.set(base + 6, if wide { 0x40 } else { 0x40 | l[3] & 15 });
        self.set(base + 7, code);
        self.wait();
    }
    fn data_in(&self, base: u16, bytes: usize) -> Vec<u8> {
        (0..bytes / 4)
            .flat_map(|_| self.rig.bus.port_read(base, D).to_le_bytes())
            .collect()
    }
    fn words_in(&self, base: u16, bytes: usize) -> Vec<u8> {
        (0..bytes / 2)
            .flat_map(|_| (self.rig.bus.port_read(base, W) as u16).to_le_bytes())
            .collect()
    }
    fn data_out(&self, base: u16, data: &[u8]) {
        for w in data.chunks(2) {
            let value = u16::from_le_bytes([w[0], w[1]]);
            self.rig.bus.port_write(base, W, value.into());
        }
        self.wait();
    }
    /// Sends a packet and takes its data.
    fn packet(&self, cdb: &[u8]) -> Result<Vec<u8>, u8> {
        let base = 0x170;
        self.set(base + 1, 0);
        self.set(base + 4, 0xfe);
        self.set(base + 5, 0xff);
        self.set(base + 7, command::PACKET);
        assert_eq!(self.get(base + 2), 1, "the packet is expected");
        let mut full = cdb.to_vec();
        full.resize(12, 0);
        self.data_out(base, &full);
        let mut data = Vec::new();
        for _ in 0..1000 {
            let s = self.get(base + 7);
            if s & status::ERR != 0 {
                return Err(self.get(base + 1) >> 4);
            }
            if s & status::DRQ == 0 {
                assert_eq!(self.get(base + 2) & 7, 3);
                return Ok(data);
            }
            assert_eq!(self.get(base + 2) & 7, 2);
            let n = u16::from_le_bytes([self.get(base + 4), self.get(base + 5)]);
            data.extend(self.words_in(base, usize::from(n.next_multiple_of(2))));
            self.wait();
        }
        panic!("no end");
    }
    /// A PRD table at 0x1000 of these regions.
    fn table(&self, regions: &[(u32, u16)]) {
        for (n, (at, bytes)) in regions.iter().enumerate() {
            let last = u64::from(n + 1 == regions.len()) << 63;
            let entry = u64::from(*at) | u64::from(*bytes) << 32 | last;
            self.rig
                .set_ram(0x1000 + 8 * n as u64, &entry.to_le_bytes());
        }
        self.rig.bus.port_write(MASTER + 4, D, 0x1000);
    }
}

fn sectors(from: u32, count: u32) -> Vec<u8> {
    (from..from + count)
        .flat_map(|n| n.to_le_bytes().repeat(128))
        .collect()
}

#[test]
fn signatures_and_absent_drives() {
    let b = bench();
    for (base, want) in [(0x1f0, [1, 1, 0, 0]), (0x170, [1, 1, 0x14, 0xeb])] {
        b.set(base + 0x206, 6);
        assert_eq!(b.get(base + 7) & 0x80, 0x80, "busy in reset");
        b.set(base + 0x206, 0);
        let got = [2, 3, 4, 5].map(|n| b.get(base + n));
        assert_eq!(got, want);
        b.set(base + 6, 0x10);
        assert_eq!(b.get(base + 7), 0, "no slave");
    }
    assert_eq!(b.rig.pci.config_read(AT, 0x40, D), 0x8000_8000);
}

#[test]
fn identify_says_what_is_there() {
    let b = bench();
    b.start(0x1f0, 0, 0, command::IDENTIFY);
    assert!(b.wire.level(14));
    assert_eq!(b.get(0x1f7), status::DRDY | status::DSC | status::DRQ);
    assert!(!b.wire.level(14), "reading the status acknowledges");
    let id = b.words_in(0x1f0, 512);
    assert_eq!(&id[20..40], b"ESIRLA7-            ");
    assert_eq!(u32::from_le_bytes(id[120..124].try_into().unwrap()), 4096);
    assert_eq!(id.iter().fold(0u8, |s, b| s.wrapping_add(*b)), 0);
    assert_eq!(b.get(0x1f7), status::DRDY | status::DSC);
    b.start(0x170, 0, 0, command::IDENTIFY);
    assert_eq!(b.get(0x177) & 1, 1);
    assert_eq!([b.get(0x174), b.get(0x175)], [0x14, 0xeb]);
    b.start(0x170, 0, 0, command::IDENTIFY_PACKET);
    assert_eq!(b.words_in(0x170, 512)[1], 0x85);
}

#[test]
fn sectors_come_by_pio() {
    let b = bench();
    for code in [command::READ_SECTORS, command::READ_SECTORS_EXT] {
        b.start(0x1f0, 300, 3, code);
        let before = b.wire.edges(14);
        assert_eq!(b.data_in(0x1f0, 1536), sectors(300, 3));
        assert_eq!(b.get(0x1f7), status::DRDY | status::DSC);
        // One for each block; the line was still up for the second and third.
        assert!(before >= 1);
    }
    // 256 sectors, more than what is read at once.
    b.start(0x1f0, 5, 0, command::READ_SECTORS);
    let mut data = Vec::new();
    for _ in 0..256 {
        assert_eq!(b.get(0x1f7) & status::DRQ, status::DRQ);
        data.extend(b.data_in(0x1f0, 512));
        b.wait();
    }
    assert!(data == sectors(5, 256));
    // Cylinder, head, sector.
    b.set(0x1f2, 1);
    b.set(0x1f3, 2);
    b.set(0x1f4, 1);
    b.set(0x1f5, 0);
    b.set(0x1f6, 0x03);
    b.set(0x1f7, command::READ_SECTORS);
    b.wait();
    assert_eq!(b.data_in(0x1f0, 512), sectors((16 + 3) * 63 + 1, 1));
}

#[test]
fn sectors_go_by_pio_in_blocks() {
    let b = bench();
    b.start(0x1f0, 0, 4, command::SET_MULTIPLE);
    let data: Vec<u8> = (0..512 * 300).map(|n| (n * 7 >> 3) as u8).collect();
    b.start(0x1f0, 1000, 300, command::WRITE_SECTORS_EXT);
    for (n, part) in data.chunks(512).enumerate() {
        assert_eq!(b.get(0x1f7) & status::DRQ, status::DRQ, "{n}");
        b.data_out(0x1f0, part);
        assert!(b.wire.level(14));
    }
    assert_eq!(b.get(0x1f7), status::DRDY | status::DSC);
    assert!(b.image.bytes.lock().unwrap()[512_000..][..data.len()] == data);
    b.start(0x1f0, 1000, 6, command::READ_MULTIPLE);
    let got = [b.data_in(0x1f0, 2048), b.data_in(0x1f0, 1024)].concat();
    assert!(got == data[..3072]);
    let flushes = b.image.flushes.load(Ordering::SeqCst);
    b.start(0x1f0, 0, 0, command::FLUSH_CACHE_EXT);
    assert_eq!(b.image.flushes.load(Ordering::SeqCst), flushes + 1);
    assert!(b.wire.level(14));
}

#[test]
fn bad_requests_are_refused() {
    let b = bench();
    for (lba, count, code, want) in [
        (4095, 2, command::READ_SECTORS, error::IDNF | error::ABRT),
        (
            1 << 40,
            1,
            command::READ_SECTORS_EXT,
            error::IDNF | error::ABRT,
        ),
        (0, 3, command::SET_MULTIPLE, error::ABRT),
        (0, 1, command::READ_MULTIPLE, error::ABRT),
        (0, 1, 0xf1, error::ABRT),
        (0, 1, 0xb0, error::ABRT),
    ] {
        b.start(0x1f0, lba, count, code);
        assert_eq!(
            b.get(0x1f7),
            status::DRDY | status::DSC | status::ERR,
            "{code:#x}"
        );
        assert_eq!(b.get(0x1f1), want, "{code:#x}");
    }
    b.image.broken.store(true, Ordering::SeqCst);
    b.start(0x1f0, 77, 1, command::READ_SECTORS);
    assert_eq!((b.get(0x1f1), b.get(0x1f3)), (error::UNC, 77));
    b.start(0x1f0, 77, 1, command::FLUSH_CACHE);
    assert_eq!(b.get(0x1f7) & status::DF, status::DF);
    b.image.broken.store(false, Ordering::SeqCst);
    b.start(0x1f0, 77, 1, command::READ_SECTORS);
    assert_eq!(b.data_in(0x1f0, 512), sectors(77, 1));
}

#[test]
fn the_bus_master_moves_data() {
    let b = bench();
    b.table(&[(0x10_0000, 512), (0x20_0002, 1022), (0x30_0000, 2)]);
    b.start(0x1f0, 40, 3, command::READ_DMA);
    assert_eq!(
        b.get(0x1f7) & status::BSY,
        status::BSY,
        "waits for the start"
    );
    b.set(MASTER, 9);
    b.wait();
    assert_eq!(b.get(MASTER + 2), 0x64, "interrupt, not active");
    let got = [
        b.rig.ram(0x10_0000, 512),
        b.rig.ram(0x20_0002, 1022),
        b.rig.ram(0x30_0000, 2),
    ];
    assert!(got.concat() == sectors(40, 3));
    assert!(b.wire.level(14));
    b.set(MASTER, 0);
    b.set(MASTER + 2, 4);
    assert_eq!(b.get(MASTER + 2), 0x60);
    // Out, and more room than data: the engine stays active.
    b.table(&[(0x10_0000, 4096)]);
    b.rig.set_ram(0x10_0000, &[0x5a; 1024]);
    b.set(MASTER, 1);
    b.start(0x1f0, 2000, 2, command::WRITE_DMA_EXT);
    assert_eq!(b.get(MASTER + 2), 0x65);
    assert!(b.image.bytes.lock().unwrap()[1_024_000..][..1024] == [0x5a; 1024]);
    b.set(MASTER, 0);
}

#[test]
fn bad_tables_end_in_errors() {
    let b = bench();
    for regions in [
        &[(0x10_0000, 512)][..],
        &[(0xf000_0000, 0)],
        &[(0x3f_fff0, 4096)],
    ] {
        b.set(MASTER, 0);
        b.table(regions);
        b.set(MASTER, 9);
        b.start(0x1f0, 0, 8, command::READ_DMA);
        assert_eq!(b.get(MASTER + 2) & 3, 2, "{regions:x?}");
        assert_eq!(b.get(0x1f1), error::ABRT);
    }
    // Against the direction.
    b.set(MASTER, 0);
    b.table(&[(0x10_0000, 4096)]);
    b.set(MASTER, 9);
    b.start(0x1f0, 0, 8, command::WRITE_DMA);
    assert_eq!(b.get(0x1f1), error::ABRT);
    // No bus mastering.
    b.rig.pci.config_write(AT, 4, W, 3);
    b.set(MASTER, 0);
    b.set(MASTER, 9);
    b.start(0x1f0, 0, 8, command::READ_DMA);
    assert_eq!(b.get(0x1f1), error::ABRT);
}

#[test]
fn trim_discards() {
    let b = bench();
    let mut ranges = vec![0; 512];
    ranges[..8].copy_from_slice(&(100u64 | 2 << 48).to_le_bytes());
    b.rig.set_ram(0x10_0000, &ranges);
    b.table(&[(0x10_0000, 512)]);
    b.set(MASTER, 1);
    b.set(0x1f1, 1);
    b.start(0x1f0, 0, 1, command::DATA_SET_MANAGEMENT);
    assert_eq!(b.get(0x1f7) & status::ERR, 0);
    let bytes = b.image.bytes.lock().unwrap();
    assert!(bytes[51200..][..1024] == [0xdd; 1024]);
    assert!(bytes[52224..][..512] == sectors(102, 1));
}

#[test]
fn packets_are_answered() {
    let b = bench();
    assert_eq!(b.packet(&[0]), Err(6), "unit attention after power-on");
    assert_eq!(b.packet(&[0]), Ok(vec![]));
    let inquiry = b.packet(&[0x12, 0, 0, 0, 36]).unwrap();
    assert_eq!((inquiry[0], inquiry[1], inquiry.len()), (5, 0x80, 36));
    let capacity = b.packet(&[0x25]).unwrap();
    assert_eq!(capacity, [0, 0, 1, 0xff, 0, 0, 8, 0]);
    let read = b.packet(&[0x28, 0, 0, 0, 0, 10, 0, 0, 40]).unwrap();
    assert!(read == sectors(40, 160));
    let read = b.packet(&[0xa8, 0, 0, 0, 1, 0xff, 0, 0, 0, 1]).unwrap();
    assert!(read == sectors(2044, 4));
    let toc = b.packet(&[0x43, 0, 0, 0, 0, 0, 0, 1, 0]).unwrap();
    assert_eq!(
        toc,
        [
            0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 2, 0
        ]
    );
    let toc = b.packet(&[0x43, 2, 0, 0, 0, 0, 0, 1, 0]).unwrap();
    assert_eq!(toc[8..12], [0, 0, 2, 0]);
    assert_eq!(b.packet(&[0x28, 0, 0, 0, 2, 0, 0, 0, 1]), Err(5));
    let sense = b.packet(&[3, 0, 0, 0, 18]).unwrap();
    assert_eq!((sense[2], sense[12]), (5, 0x21));
    assert_eq!(b.packet(&[0xff]), Err(5));
    let mode = b.packet(&[0x5a, 0, 0x2a, 0, 0, 0, 0, 1, 0]).unwrap();
    assert_eq!((mode[8], usize::from(mode[1]) + 2), (0x2a, mode.len()));
}

#[test]
fn discs_come_and_go() {
    let b = bench();
    let _ = b.packet(&[0]);
    b.ide.change_disc(Place::new(1, 0), None);
    assert_eq!(b.packet(&[0]), Err(2), "not ready");
    let (disc, _) = disk(64, Access::ReadOnly);
    b.ide.change_disc(Place::new(1, 0), Some(disc));
    let event = b.packet(&[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8]).unwrap();
    assert_eq!(event, [0, 6, 4, 0x10, 2, 2, 0, 0]);
    assert_eq!(b.packet(&[0]), Err(6), "changed");
    assert_eq!(b.packet(&[0x25]).unwrap()[3], 15);
    assert_eq!(b.packet(&[0x1e, 0, 0, 0, 1]), Ok(vec![]));
    assert_eq!(b.packet(&[0x1b, 0, 0, 0, 2]), Err(5), "held");
    assert_eq!(b.packet(&[0x1e, 0, 0, 0, 0]), Ok(vec![]));
    assert_eq!(b.packet(&[0x1b, 0, 0, 0, 2]), Ok(vec![]));
    assert_eq!(b.packet(&[0]), Err(2));
}

#[test]
fn packets_move_data_by_dma() {
    let b = bench();
    let _ = b.packet(&[0]);
    for (cdb, want) in [
        (&[0x28, 0, 0, 0, 0, 3, 0, 0, 2][..], sectors(12, 8)),
        (&[0x25][..], vec![0, 0, 1, 0xff, 0, 0, 8, 0]),
    ] {
        b.rig
            .set_ram(0x1000, &(0x10_0000u64 | 1 << 63).to_le_bytes());
        b.rig.bus.port_write(MASTER + 12, D, 0x1000);
        b.set(0x171, 1);
        b.set(0x177, command::PACKET);
        let mut full = cdb.to_vec();
        full.resize(12, 0);
        b.data_out(0x170, &full);
        b.set(MASTER + 8, 9);
        b.wait();
        assert_eq!(b.get(MASTER + 10) & 6, 4);
        assert!(b.rig.ram(0x10_0000, want.len()) == want);
        assert_eq!(b.get(0x172) & 7, 3);
        b.set(MASTER + 8, 0);
    }
}

#[test]
fn interrupts_can_be_switched_off() {
    let b = bench();
    b.set(0x3f6, 2);
    b.start(0x1f0, 0, 1, command::READ_SECTORS);
    assert!(!b.wire.level(14));
    b.set(0x3f6, 0);
    assert!(b.wire.level(14));
    assert_eq!(b.get(0x3f6) & status::DRQ, status::DRQ);
    assert!(
        b.wire.level(14),
        "the alternate status acknowledges nothing"
    );
}

#[test]
fn a_transfer_survives_saving() {
    let b = bench();
    b.start(0x1f0, 8, 2, command::READ_SECTORS);
    let first = b.data_in(0x1f0, 256);
    let saved = b.rig.bus.save().unwrap();
    let other = bench();
    other.rig.bus.restore(&saved).unwrap();
    assert!(other.wire.level(14));
    let rest = [other.data_in(0x1f0, 256), other.data_in(0x1f0, 512)];
    assert!([first, rest.concat()].concat() == sectors(8, 2));
}

#[test]
fn survives_anything() {
    let b = bench();
    let mut f = Fuzz::new(0x1f0);
    for round in rounds(200_000) {
        let base = if f.flip() { 0x1f0 } else { 0x170 };
        match f.below(16) {
            0..6 => b.set(base + 1 + f.below(6) as u16, f.value() as u8),
            6 => {
                let code = f.below(256) as u8;
                let codes = [
                    0x20, 0x30, 0xc8, 0xca, 0xa0, 0xa1, 0xec, 0x25, 0x35, 0xc4, 0xc5, 0x06, code,
                ];
                b.set(base + 7, codes[f.below(13) as usize]);
            }
            7..9 => {
                for _ in 0..f.below(300) {
                    b.rig.bus.port_read(base, f.size());
                }
            }
            9..11 => {
                for _ in 0..f.below(300) {
                    b.rig.bus.port_write(base, f.size(), f.value() as u32);
                }
            }
            11 => {
                let at = MASTER + f.below(16) as u16;
                b.rig.bus.port_write(at, f.size(), f.value() as u32);
            }
            12 => b.set(MASTER + 8 * (f.below(2) as u16), f.value() as u8),
            13 => {
                let entry = f.value() & 0x8000_fffe_003f_fffe;
                b.rig.set_ram(0x1000 + 8 * f.below(8), &entry.to_le_bytes());
                b.rig.bus.port_write(MASTER + 4, D, 0x1000);
            }
            14 => b.set(base + 0x206, f.value() as u8 & !0x80),
            _ => {
                b.get(base + f.below(8) as u16);
            }
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
    b.start(0x1f0, 300, 1, command::READ_SECTORS);
    assert_eq!(b.data_in(0x1f0, 512).len(), 512);
}
