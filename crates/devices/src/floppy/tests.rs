use super::*;
use crate::I8237;
use crate::testing::{Fuzz, Wire, rounds};
use arch::GuestPhys;
use block::Access;
use memory::Ram;

const B: AccessSize = AccessSize::Byte;

struct Bench {
    floppy: Floppy,
    dma: I8237,
    ram: Arc<Ram>,
    wire: Arc<Wire>,
    disk: Arc<Disk>,
    image: Arc<block::MemoryImage>,
}

fn bench(access: Access) -> Bench {
    let (disk, image) = crate::rig::disk(2880, access);
    let (wire, dma, ram) = (Wire::new(), I8237::new(), Ram::new(1 << 20).unwrap());
    let channel = IsaDma::new(&dma, ram.clone(), 2);
    let floppy = Floppy::new(
        wire.line(6),
        channel,
        [Some(Some(disk.clone())), Some(None)],
    );
    let mut b = Bench {
        floppy,
        dma,
        ram,
        wire,
        disk,
        image,
    };
    b.out(DOR, 0x1c);
    b
}

impl Bench {
    fn out(&mut self, offset: u16, value: u8) {
        self.floppy.port_write(REGION_MAIN, offset, B, value.into());
    }
    fn get(&mut self, offset: u16) -> u8 {
        self.floppy.port_read(REGION_MAIN, offset, B) as u8
    }
    /// Sends a command, waits, and takes the result.
    fn command(&mut self, bytes: &[u8]) -> Vec<u8> {
        for b in bytes {
            assert_eq!(self.get(MSR) & 0xc0, 0x80);
            self.out(FIFO, *b);
        }
        self.disk.drain();
        let mut result = Vec::new();
        while self.get(MSR) & 0xd0 == 0xd0 && self.get(MSR) & 0x20 == 0 {
            result.push(self.get(FIFO));
        }
        result
    }
    /// Channel 2 to move `bytes` bytes at 0x8000.
    fn program(&mut self, mode: u32, bytes: u16) {
        let [low, high] = (bytes - 1).to_le_bytes();
        for (port, value) in [
            (10, 6),
            (12, 0),
            (4, 0),
            (4, 0x80),
            (5, low.into()),
            (5, high.into()),
        ] {
            self.dma.port_write(0, port, B, value);
        }
        self.dma.port_write(2, 1, B, 0);
        self.dma.port_write(0, 11, B, mode);
        self.dma.port_write(0, 10, B, 2);
    }
    fn memory(&self, bytes: usize) -> Vec<u8> {
        let mut v = vec![0; bytes];
        self.ram.read(GuestPhys(0x8000), &mut v).unwrap();
        v
    }
    fn seek(&mut self, select: u8, cylinder: u8) {
        assert_eq!(self.command(&[0x0f, select, cylinder]), []);
        assert_eq!(self.command(&[8]), [0x20 | select, cylinder]);
    }
}

fn sectors(from: u32, count: u32) -> Vec<u8> {
    (from..from + count)
        .flat_map(|n| n.to_le_bytes().repeat(128))
        .collect()
}

#[test]
fn a_reset_is_sensed_four_times() {
    let mut b = bench(Access::ReadWrite);
    assert!(b.wire.level(6));
    for n in 0..4 {
        assert_eq!(b.command(&[8]), [0xc0 | n, 0]);
        assert!(!b.wire.level(6));
    }
    assert_eq!(b.command(&[8]), [0x80]);
    assert_eq!(b.command(&[0x10]), [0x90]);
    assert_eq!(b.command(&[0x18]), [0x80]);
    assert_eq!(b.command(&[0x94]), [0x10]);
    assert_eq!(b.command(&[0x14]), [0]);
}

#[test]
fn the_change_line_falls_with_a_step() {
    let mut b = bench(Access::ReadWrite);
    assert_eq!(b.floppy.port_read(REGION_DIR, 0, B), 0x80);
    b.seek(0, 1);
    assert_eq!(b.floppy.port_read(REGION_DIR, 0, B), 0);
    assert_eq!(b.command(&[4, 0]), [0x28]);
    assert_eq!(b.command(&[7, 0]), []);
    assert!(b.wire.level(6));
    assert_eq!(b.command(&[8]), [0x20, 0]);
    assert_eq!(b.command(&[4, 0]), [0x38]);
    b.floppy.change_disk(0, None);
    assert_eq!(b.floppy.port_read(REGION_DIR, 0, B), 0x80);
    b.seek(0, 1);
    assert_eq!(b.floppy.port_read(REGION_DIR, 0, B), 0x80, "no disk");
    let r = b.command(&[0xe6, 0, 1, 0, 1, 2, 18, 0x1b, 0xff]);
    assert_eq!(r[..2], [0x40, 1]);
}

#[test]
fn sectors_come_and_go_by_dma() {
    let mut b = bench(Access::ReadWrite);
    b.seek(0, 2);
    b.program(0x46, 3 * 512);
    let r = b.command(&[0x66, 0, 2, 0, 5, 2, 18, 0x1b, 0xff]);
    assert_eq!(r, [0, 0, 0, 2, 0, 8, 2]);
    assert!(b.memory(1536) == sectors(2 * 36 + 4, 3));
    // Over the end of a track to the other head.
    b.program(0x46, 4 * 512);
    let r = b.command(&[0xe6, 0, 2, 0, 17, 2, 18, 0x1b, 0xff]);
    assert_eq!(r, [0, 0, 0, 2, 1, 3, 2]);
    assert!(b.memory(2048) == sectors(2 * 36 + 16, 4));
    // The end of the track comes before the terminal count.
    b.program(0x46, 4 * 512);
    let r = b.command(&[0x66, 4, 2, 1, 17, 2, 18, 0x1b, 0xff]);
    assert_eq!(r, [0x44, 0x80, 0, 3, 1, 1, 2]);
    b.ram.write(GuestPhys(0x8000), &[0xab; 1024]).unwrap();
    b.program(0x4a, 1024);
    let r = b.command(&[0xc5, 4, 2, 1, 1, 2, 18, 0x1b, 0xff]);
    assert_eq!(r, [4, 0, 0, 2, 1, 3, 2]);
    let at = (2 * 36 + 18) * 512;
    assert!(b.image.bytes.lock().unwrap()[at..at + 1024] == [0xab; 1024]);
    assert!(b.image.bytes.lock().unwrap()[at + 1024..][..512] == sectors(92, 1));
}

#[test]
fn sectors_come_and_go_without_dma() {
    let mut b = bench(Access::ReadWrite);
    b.command(&[3, 0xdf, 3]);
    b.seek(0, 0);
    assert_eq!(b.command(&[0x66, 0, 0, 0, 18, 2, 18, 0x1b, 0xff]), []);
    assert!(b.wire.level(6));
    assert_eq!(b.get(MSR), 0xf0);
    let data: Vec<u8> = (0..512).map(|_| b.get(FIFO)).collect();
    assert!(data == sectors(17, 1));
    let result: Vec<u8> = (0..7).map(|_| b.get(FIFO)).collect();
    assert_eq!(result, [0x40, 0x80, 0, 1, 0, 1, 2]);
    b.command(&[0x45, 0, 0, 0, 18, 2, 18, 0x1b, 0xff]);
    assert_eq!(b.get(MSR), 0xb0);
    for _ in 0..512 {
        b.out(FIFO, 0x77);
    }
    b.disk.drain();
    assert!(b.image.bytes.lock().unwrap()[17 * 512..][..512] == [0x77; 512]);
}

#[test]
fn what_is_not_there_is_not_found() {
    let mut b = bench(Access::ReadOnly);
    b.program(0x46, 512);
    for (command, want) in [
        // Not on this cylinder, no such sector, other size, other head.
        ([0x66, 0, 1, 0, 1, 2, 18, 0, 0], [0x40, 4]),
        ([0x66, 0, 0, 0, 19, 2, 18, 0, 0], [0x40, 4]),
        ([0x66, 0, 0, 0, 1, 3, 18, 0, 0], [0x40, 4]),
        ([0x66, 0, 0, 1, 1, 2, 18, 0, 0], [0x40, 4]),
        // No disk; write-protected.
        ([0x66, 1, 0, 0, 1, 2, 18, 0, 0], [0x41, 1]),
        ([0x45, 0, 0, 0, 1, 2, 18, 0, 0], [0x40, 2]),
    ] {
        assert_eq!(b.command(&command)[..2], want, "{command:x?}");
    }
    assert_eq!(b.command(&[0x4a, 4]), [4, 0, 0, 0, 1, 1, 2]);
    b.floppy.port_write(REGION_DIR, 0, B, 2);
    assert_eq!(b.command(&[0x4a, 4])[..2], [0x44, 1], "other data rate");
    b.floppy.port_write(REGION_DIR, 0, B, 0);
    b.image
        .broken
        .store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(
        b.command(&[0x66, 0, 0, 0, 1, 2, 18, 0, 0])[..2],
        [0x40, 0x24]
    );
}

#[test]
fn tracks_are_formatted() {
    let mut b = bench(Access::ReadWrite);
    b.seek(4, 3);
    b.program(0x4a, 18 * 4);
    assert_eq!(b.command(&[0x4d, 4, 2, 18, 0x54, 0xf6])[..2], [4, 0]);
    let bytes = b.image.bytes.lock().unwrap();
    assert!(
        bytes[(3 * 36 + 18) * 512..(4 * 36) * 512]
            .iter()
            .all(|&v| v == 0xf6)
    );
    assert!(bytes[(3 * 36 + 17) * 512..][..512] == sectors(3 * 36 + 17, 1));
}

#[test]
fn survives_anything() {
    let mut b = bench(Access::ReadWrite);
    let mut f = Fuzz::new(0x3f0);
    for round in rounds(200_000) {
        match f.below(10) {
            0 => f.ports(&mut b.floppy, &[(0, 6), (1, 1)]),
            1 => f.ports(&mut b.dma, &[(0, 16), (2, 16)]),
            2 => b.out(DOR, 0x1c),
            3 => {
                let first =
                    [0x66, 0x45, 0xe6, 0x4d, 0x4a, 0x56, 7, 8, 0x0f, 3][f.below(10) as usize];
                b.out(FIFO, first);
            }
            4 => {
                b.get(FIFO);
            }
            5 => b.disk.drain(),
            _ => b.out(FIFO, f.value() as u8 & 0x1f),
        }
        if round % 8192 == 0 {
            let s = b.floppy.save().unwrap();
            b.floppy.restore(&s).unwrap();
        }
    }
    b.disk.drain();
    b.out(DOR, 0);
    b.out(DOR, 0x1c);
    assert_eq!(
        b.command(&[8]),
        [0xc0, b.floppy.shared.inner.lock().unwrap().s.cylinders[0]]
    );
}
