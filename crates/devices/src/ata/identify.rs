//! IDENTIFY DEVICE (ATA/ATAPI-7, 6.17; ACS-2, 7.18) and IDENTIFY PACKET DEVICE (6.18).

use super::{Geometry, MULTIPLE_MAX};

/// What IDENTIFY says beside what never changes.
pub(crate) struct Facts<'a> {
    pub sectors: u64,
    pub serial: &'a str,
    /// The translation in use.
    pub heads: u8,
    pub per_track: u8,
    /// Sectors of a DRQ block as SET MULTIPLE MODE left them.
    pub multiple: u8,
    pub write_cache: bool,
    /// The transfer mode as SET FEATURES left it (bits 7:3 type, 2:0 number).
    pub mode: u8,
    /// Serial ATA with native command queuing of 32 commands.
    pub sata: bool,
}

struct Words([u16; 256]);

impl Words {
    fn set(&mut self, word: usize, value: u16) {
        if let Some(w) = self.0.get_mut(word) {
            *w = value;
        }
    }

    /// A string padded with blanks, the first character in the high byte.
    fn text(&mut self, word: usize, words: usize, text: &str) {
        let mut bytes = text.bytes().map(|b| match b {
            0x20..0x7f => b,
            _ => b'?',
        });
        for w in word..word + words {
            let [a, b] = [0, 0].map(|_: u8| bytes.next().unwrap_or(b' '));
            self.set(w, u16::from(a) << 8 | u16::from(b));
        }
    }

    fn long(&mut self, word: usize, value: u32) {
        self.set(word, value as u16);
        self.set(word + 1, (value >> 16) as u16);
    }

    /// Words 62-88: the modes of transfer and which one is selected.
    fn modes(&mut self, mode: u8, sata: bool) {
        let selected = |kind: u8| match mode >> 3 == kind >> 3 {
            true => 0x100u16 << (mode & 7),
            false => 0,
        };
        self.set(49, 0x0f00);
        self.set(53, 0x0007);
        self.set(63, 0x0007 | selected(0x20));
        self.set(64, 0x0003);
        for w in 65..=68 {
            self.set(w, 120);
        }
        self.set(88, (if sata { 0x7f } else { 0x3f }) | selected(0x40));
        if !sata {
            // Device 0, 80-conductor cable detected.
            self.set(93, 0x6001);
        }
    }

    fn bytes(self) -> Vec<u8> {
        self.0.iter().flat_map(|w| w.to_le_bytes()).collect()
    }

    /// Word 255: signature and checksum (6.17.66).
    fn seal(mut self) -> Vec<u8> {
        self.set(255, 0x00a5);
        let mut bytes = self.bytes();
        let sum = bytes.iter().fold(0u8, |s, b| s.wrapping_add(*b));
        if let Some(last) = bytes.last_mut() {
            *last = sum.wrapping_neg();
        }
        bytes
    }
}

const FIRMWARE: &str = "1.0";

/// The 512 bytes of a disk.
pub(crate) fn disk(f: &Facts) -> Vec<u8> {
    let mut w = Words([0; 256]);
    let geometry = Geometry::of(f.sectors);
    w.set(0, 0x0040);
    w.set(1, geometry.cylinders);
    w.set(3, geometry.heads.into());
    w.set(6, geometry.sectors.into());
    w.text(10, 10, f.serial);
    w.text(23, 4, FIRMWARE);
    w.text(27, 20, "Ferry disk");
    w.set(47, 0x8000 | u16::from(MULTIPLE_MAX));
    w.modes(f.mode, f.sata);
    w.set(50, 0x4000);
    // The current translation.
    let (heads, per_track) = (u64::from(f.heads.max(1)), u64::from(f.per_track.max(1)));
    let cylinders = (f.sectors / (heads * per_track)).min(65535);
    w.set(54, cylinders as u16);
    w.set(55, heads as u16);
    w.set(56, per_track as u16);
    w.long(57, (cylinders * heads * per_track) as u32);
    if f.multiple > 0 {
        w.set(59, 0x0100 | u16::from(f.multiple));
    }
    w.long(60, f.sectors.min(0x0fff_ffff) as u32);
    // Trimmed sectors read as zeroes where the image can do that; that is not promised here.
    w.set(69, 0);
    w.set(80, 0x00f0);
    w.set(81, 0x0016);
    // NOP, read and write cache; FLUSH CACHE (EXT), 48-bit addresses.
    w.set(82, 0x4020);
    w.set(83, 0x7400);
    w.set(84, 0x4000);
    w.set(85, 0x4000 | if f.write_cache { 0x0020 } else { 0 });
    w.set(86, 0x3400);
    w.set(87, 0x4000);
    w.long(100, f.sectors as u32);
    w.set(102, (f.sectors >> 32) as u16);
    w.set(103, (f.sectors >> 48) as u16);
    // One block of TRIM ranges; TRIM is there; nothing rotates.
    w.set(105, 1);
    w.set(169, 1);
    w.set(217, 1);
    if f.sata {
        w.set(75, 31);
        w.set(76, 0x0106);
        w.set(222, 0x101f);
    }
    w.seal()
}

/// The 512 bytes of a CD-ROM drive.
pub(crate) fn cdrom(serial: &str, mode: u8, sata: bool) -> Vec<u8> {
    let mut w = Words([0; 256]);
    // ATAPI, CD-ROM, removable, DRQ within 50 us, packets of 12 bytes.
    w.set(0, 0x85c0);
    w.text(10, 10, serial);
    w.text(23, 4, FIRMWARE);
    w.text(27, 20, "Ferry CD-ROM");
    w.modes(mode, sata);
    w.set(71, 30);
    w.set(72, 30);
    w.set(80, 0x00f0);
    w.set(81, 0x0016);
    // NOP, DEVICE RESET, PACKET.
    w.set(82, 0x4210);
    w.set(83, 0x4000);
    w.set(84, 0x4000);
    w.set(85, 0x4210);
    w.set(87, 0x4000);
    if sata {
        w.set(76, 0x0006);
        w.set(222, 0x101f);
    }
    w.seal()
}
