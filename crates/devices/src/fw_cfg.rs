//! The firmware configuration device (QEMU's `docs/specs/fw_cfg.rst`): named items that firmware reads, by a selector and a data port or by DMA.
//!
//! Items are read-only; an item is read past its end as zeros.

use arch::GuestPhys;
use bus::{AccessSize, Device};
use memory::Ram;
use regs::*;
use snapshot::{Error, Section};
use state::State;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Items with fixed selectors.
pub mod key {
    pub const SIGNATURE: u16 = 0x00;
    pub const ID: u16 = 0x01;
    pub const RAM_SIZE: u16 = 0x03;
    pub const NO_GRAPHIC: u16 = 0x04;
    pub const CPUS: u16 = 0x05;
    pub const KERNEL_SIZE: u16 = 0x08;
    pub const INITRD_SIZE: u16 = 0x0b;
    pub const BOOT_MENU: u16 = 0x0e;
    pub const MAX_CPUS: u16 = 0x0f;
    pub const KERNEL_DATA: u16 = 0x11;
    pub const INITRD_DATA: u16 = 0x12;
    pub const COMMAND_LINE_SIZE: u16 = 0x14;
    pub const COMMAND_LINE_DATA: u16 = 0x15;
    pub const SETUP_SIZE: u16 = 0x17;
    pub const SETUP_DATA: u16 = 0x18;
    pub const DIRECTORY: u16 = 0x19;
    pub const FIRST_FILE: u16 = 0x20;
    /// Whether ISA interrupt 0 arrives at I/O APIC pin 2.
    pub const IRQ0_OVERRIDE: u16 = 0x8002;
}

mod regs {
    pub const SELECTOR: u16 = 0;
    pub const DATA: u16 = 1;
    pub const DMA: u16 = 4;
    /// Traditional interface and DMA.
    pub const FEATURES: u32 = 0b11;
    /// What the DMA address register reads as: "QEMU CFG".
    pub const DMA_SIGNATURE: u64 = 0x5145_4d55_2043_4647;
    pub const DMA_ERROR: u32 = 1 << 0;
    pub const DMA_READ: u32 = 1 << 1;
    pub const DMA_SKIP: u32 = 1 << 2;
    pub const DMA_SELECT: u32 = 1 << 3;
    pub const DMA_WRITE: u32 = 1 << 4;
    /// Longest name of a file.
    pub const NAME: usize = 55;
}

/// What there is to read.
#[derive(Clone, Debug, Default)]
pub struct Items {
    fixed: BTreeMap<u16, Arc<[u8]>>,
    /// In the order of their names.
    files: BTreeMap<String, Arc<[u8]>>,
}

impl Items {
    /// Sets an item with a fixed selector.
    pub fn set(&mut self, key: u16, bytes: impl Into<Arc<[u8]>>) {
        self.fixed.insert(key, bytes.into());
    }
    /// Sets a file. Names have at most 55 bytes; what is longer is cut.
    pub fn file(&mut self, name: &str, bytes: impl Into<Arc<[u8]>>) {
        let name = name.get(..NAME).unwrap_or(name);
        self.files.insert(name.to_owned(), bytes.into());
    }

    /// Everything by its selector, the directory included.
    fn table(mut self) -> BTreeMap<u16, Arc<[u8]>> {
        let mut directory = (self.files.len() as u32).to_be_bytes().to_vec();
        let keys = key::FIRST_FILE..0x4000;
        for (key, (name, bytes)) in keys.zip(self.files) {
            directory.extend((bytes.len() as u32).to_be_bytes());
            directory.extend(key.to_be_bytes());
            directory.extend([0, 0]);
            let mut field = [0; NAME + 1];
            for (f, b) in field.iter_mut().zip(name.bytes().take(NAME)) {
                *f = b;
            }
            directory.extend(field);
            self.fixed.insert(key, bytes);
        }
        self.fixed.insert(key::DIRECTORY, directory.into());
        self.fixed.insert(key::SIGNATURE, (*b"QEMU").into());
        self.fixed.insert(key::ID, FEATURES.to_le_bytes().into());
        self.fixed
    }
}

/// The device: one region of twelve ports (0x510).
pub struct FwCfg {
    items: BTreeMap<u16, Arc<[u8]>>,
    ram: Arc<Ram>,
    s: State,
}

impl FwCfg {
    /// A device with these items; DMA goes to `ram`.
    pub fn new(items: Items, ram: Arc<Ram>) -> Self {
        Self {
            items: items.table(),
            ram,
            s: State::default(),
        }
    }

    fn select(&mut self, key: u16) {
        // Bit 14 asks for write access, which no item gives.
        self.s.key = key & !0x4000;
        self.s.offset = 0;
    }

    fn item(&self) -> &[u8] {
        self.items.get(&self.s.key).map_or(&[], |i| i)
    }

    fn next(&mut self) -> u8 {
        let at = self.s.offset as usize;
        self.s.offset = self.s.offset.saturating_add(1);
        self.item().get(at).copied().unwrap_or(0)
    }

    /// Works on the descriptor at `at`: control, length, address, big-endian.
    fn transfer(&mut self, at: u64) {
        let mut d = [0; 16];
        if self.ram.read(GuestPhys(at), &mut d).is_err() {
            return;
        }
        let (control, rest) = d.split_at(4);
        let (length, address) = rest.split_at(4);
        let dword = |b: &[u8]| b.iter().fold(0u64, |v, b| v << 8 | u64::from(*b));
        let (control, length, address) = (dword(control) as u32, dword(length), dword(address));
        if control & DMA_SELECT != 0 {
            self.select((control >> 16) as u16);
        }
        let done = if control & DMA_READ != 0 {
            self.copy_out(address, length)
        } else if control & DMA_WRITE != 0 {
            length == 0
        } else {
            if control & DMA_SKIP != 0 {
                self.s.offset = self.s.offset.saturating_add(length as u32);
            }
            true
        };
        let status = if done { 0 } else { DMA_ERROR };
        let _ = self.ram.write(GuestPhys(at), &u32::to_be_bytes(status));
    }

    /// Copies `length` bytes of the selected item, and zeros behind its end, to RAM.
    fn copy_out(&mut self, mut to: u64, length: u64) -> bool {
        const ZEROS: [u8; 4096] = [0; 4096];
        if !self.ram.is_main(GuestPhys(to), length) {
            return false;
        }
        let start = self.s.offset as usize;
        let item = self.item().get(start..).unwrap_or(&[]);
        let n = item.len().min(length as usize);
        let head = item.get(..n).unwrap_or(&[]);
        let mut done = self.ram.write(GuestPhys(to), head).is_ok();
        self.s.offset = self.s.offset.saturating_add(length as u32);
        to += n as u64;
        let mut left = length - n as u64;
        while left > 0 && done {
            let part = left.min(ZEROS.len() as u64);
            let zeros = ZEROS.get(..part as usize).unwrap_or(&ZEROS);
            done = self.ram.write(GuestPhys(to), zeros).is_ok();
            to += part;
            left -= part;
        }
        done
    }
}

impl Device for FwCfg {
    fn name(&self) -> &str {
        "fw-cfg"
    }

    fn port_read(&mut self, _: usize, offset: u16, size: AccessSize) -> u32 {
        match (offset, size) {
            (DATA, AccessSize::Byte) => self.next().into(),
            (DMA..12, _) => crate::bytes::read(offset - DMA, size, |o| {
                crate::bytes::of(DMA_SIGNATURE.swap_bytes(), o)
            }),
            _ => 0,
        }
    }

    fn port_write(&mut self, _: usize, offset: u16, size: AccessSize, value: u32) {
        match (offset, size) {
            (SELECTOR, AccessSize::Word) => self.select(value as u16),
            (DMA, AccessSize::Dword) => self.s.dma_high = value.swap_bytes(),
            (8, AccessSize::Dword) => {
                let high = std::mem::take(&mut self.s.dma_high);
                self.transfer(u64::from(high) << 32 | u64::from(value.swap_bytes()));
            }
            _ => {}
        }
    }

    fn reset(&mut self) {
        self.s = State::default();
    }

    fn save(&self) -> Result<Section, Error> {
        let Self {
            items: _,
            ram: _,
            s,
        } = self;
        Section::new(self.name(), state::VERSION, s)
    }

    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        self.s = section.read(self.name(), state::VERSION)?;
        Ok(())
    }
}

mod state {
    use serde::{Deserialize, Serialize};

    pub const VERSION: u32 = 1;

    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    pub struct State {
        pub key: u16,
        pub offset: u32,
        pub dma_high: u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fuzz;

    const B: AccessSize = AccessSize::Byte;
    const W: AccessSize = AccessSize::Word;
    const D: AccessSize = AccessSize::Dword;

    fn bench() -> (FwCfg, Arc<Ram>) {
        let ram = Ram::new(0x10_0000).unwrap();
        let mut items = Items::default();
        items.set(key::CPUS, [1, 0]);
        items.file("etc/b", *b"hello");
        items.file("etc/a", [7; 300]);
        items.file(&"x".repeat(80), []);
        (FwCfg::new(items, ram.clone()), ram)
    }

    fn read(f: &mut FwCfg, key: u16, n: usize) -> Vec<u8> {
        f.port_write(0, 0, W, key.into());
        (0..n).map(|_| f.port_read(0, 1, B) as u8).collect()
    }

    fn dma(f: &mut FwCfg, ram: &Ram, control: u32, length: u32, address: u64) -> u32 {
        let mut d = [0; 16];
        d[..4].copy_from_slice(&control.to_be_bytes());
        d[4..8].copy_from_slice(&length.to_be_bytes());
        d[8..].copy_from_slice(&address.to_be_bytes());
        ram.write(GuestPhys(0x500), &d).unwrap();
        f.port_write(0, 4, D, 0);
        f.port_write(0, 8, D, 0x500u32.swap_bytes());
        u32::from_be(ram.load::<u32>(GuestPhys(0x500)).unwrap())
    }

    #[test]
    fn items_are_read_by_ports() {
        let (mut f, _) = bench();
        assert_eq!(read(&mut f, key::SIGNATURE, 5), b"QEMU\0");
        assert_eq!(read(&mut f, key::ID, 4), [3, 0, 0, 0]);
        assert_eq!(read(&mut f, key::CPUS, 2), [1, 0]);
        assert_eq!(read(&mut f, 0x3fff, 2), [0, 0]);
        let d = read(&mut f, key::DIRECTORY, 4 + 3 * 64);
        assert_eq!(d[..4], [0, 0, 0, 3]);
        assert_eq!(d[4..18], *b"\0\0\x01\x2c\0\x20\0\0etc/a\0");
        assert_eq!(d[68..82], *b"\0\0\0\x05\0\x21\0\0etc/b\0");
        assert_eq!(d[4 + 128 + 8 + 54..], [b'x', 0]);
        assert_eq!(read(&mut f, 0x21, 6), b"hello\0");
        assert_eq!(f.port_read(0, 4, D).swap_bytes(), 0x5145_4d55);
        assert_eq!(f.port_read(0, 8, D).swap_bytes(), 0x2043_4647);
    }

    #[test]
    fn items_are_read_by_dma() {
        let (mut f, ram) = bench();
        ram.write(GuestPhys(0x1000), &[0xff; 8]).unwrap();
        let select = 0x21 << 16 | DMA_SELECT;
        assert_eq!(dma(&mut f, &ram, select | DMA_READ, 7, 0x1000), 0);
        let mut got = [0; 8];
        ram.read(GuestPhys(0x1000), &mut got).unwrap();
        assert_eq!(&got, b"hello\0\0\xff");
        assert_eq!(dma(&mut f, &ram, select | DMA_SKIP, 2, 0), 0);
        assert_eq!(f.port_read(0, 1, B), b'l'.into());
        assert_eq!(dma(&mut f, &ram, DMA_READ, 1, 0xf_ffff), 0);
        assert_eq!(dma(&mut f, &ram, DMA_READ, 2, 0xf_ffff), DMA_ERROR);
        assert_eq!(dma(&mut f, &ram, DMA_READ, u32::MAX, 0), DMA_ERROR);
        assert_eq!(dma(&mut f, &ram, DMA_WRITE, 1, 0x1000), DMA_ERROR);
        assert_eq!(dma(&mut f, &ram, 0, 1, 0x1000), 0);
    }

    #[test]
    fn survives_anything() {
        let (mut f, ram) = bench();
        let mut z = Fuzz::new(0x510);
        for _ in 0..200_000 {
            z.ports(&mut f, &[(0, 12)]);
            if z.below(4) == 0 {
                let control = z.value() as u32;
                dma(&mut f, &ram, control, z.value() as u32, z.value());
            }
        }
        let s = f.save().unwrap();
        f.reset();
        f.restore(&s).unwrap();
    }
}
