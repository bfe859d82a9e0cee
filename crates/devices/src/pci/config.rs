//! The configuration space of a function: header type 0 (PCI 3.0, chapter 6) and its capabilities.

use bus::{AccessSize, Bus, Window};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Register offsets of header type 0 (6.1).
mod regs {
    pub const VENDOR: u8 = 0x00;
    pub const DEVICE: u8 = 0x02;
    pub const COMMAND: u8 = 0x04;
    pub const STATUS: u8 = 0x06;
    pub const REVISION: u8 = 0x08;
    pub const CACHE_LINE: u8 = 0x0c;
    pub const LATENCY: u8 = 0x0d;
    pub const BARS: u8 = 0x10;
    pub const SUBSYSTEM: u8 = 0x2c;
    pub const ROM: u8 = 0x30;
    pub const CAPABILITIES: u8 = 0x34;
    pub const INTERRUPT_LINE: u8 = 0x3c;
    pub const INTERRUPT_PIN: u8 = 0x3d;
    pub const STATUS_CAPABILITIES: u16 = 1 << 4;
    /// Detected and signalled errors: cleared by writing ones.
    pub const STATUS_ERRORS: u16 = 0xf900;
}
use regs::*;

bitflags::bitflags! {
    /// The command register (6.2.2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Command: u16 {
        const IO = 1 << 0;
        const MEMORY = 1 << 1;
        const MASTER = 1 << 2;
        const PARITY = 1 << 6;
        const SERR = 1 << 8;
        const INTX_DISABLE = 1 << 10;
    }
}

/// Who a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub vendor: u16,
    pub device: u16,
    pub revision: u8,
    /// Class, subclass and programming interface: 24 bits.
    pub class: u32,
}

/// What a base address register decodes (6.2.5.1). Sizes are powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    Io {
        size: u32,
    },
    Memory32 {
        size: u32,
        prefetchable: bool,
    },
    /// Takes the next register too.
    Memory64 {
        size: u64,
        prefetchable: bool,
    },
}

impl Bar {
    /// Bytes decoded.
    pub fn size(self) -> u64 {
        match self {
            Self::Io { size } | Self::Memory32 { size, .. } => size.into(),
            Self::Memory64 { size, .. } => size,
        }
    }

    /// The read-only low bits.
    fn kind(self) -> u32 {
        match self {
            Self::Io { .. } => 1,
            Self::Memory32 { prefetchable, .. } => u32::from(prefetchable) << 3,
            Self::Memory64 { prefetchable, .. } => 4 | u32::from(prefetchable) << 3,
        }
    }

    /// The size that a register can express.
    fn rounded(self) -> Self {
        match self {
            Self::Io { size } => Self::Io {
                size: size.clamp(4, 0x1_0000).next_power_of_two(),
            },
            Self::Memory32 { size, prefetchable } => Self::Memory32 {
                size: size.clamp(16, 1 << 31).next_power_of_two(),
                prefetchable,
            },
            Self::Memory64 { size, prefetchable } => Self::Memory64 {
                size: size.clamp(16, 1 << 62).next_power_of_two(),
                prefetchable,
            },
        }
    }
}

/// An interrupt pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    A = 1,
    B = 2,
    C = 3,
    D = 4,
}

/// How many interrupt messages a function has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Vectors {
    /// Offset of the MSI capability and log2 of its vectors.
    pub msi: Option<(u8, u8)>,
    pub msix: Option<MsixPlace>,
}

/// Where the MSI-X structures are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MsixPlace {
    pub capability: u8,
    pub vectors: u16,
    pub bar: u8,
    pub table: u32,
    pub pending: u32,
}

/// The 256 bytes, which of their bits the guest may write, and what the header means.
#[derive(Clone, Debug)]
pub struct Config {
    bytes: [u8; 256],
    writable: [u8; 256],
    clear: [u8; 256],
    initial: Option<Box<[u8; 256]>>,
    bars: [Option<Bar>; 6],
    rom: Option<Arc<[u8]>>,
    vectors: Vectors,
    free: u8,
    last_capability: Option<u8>,
}

/// The region number of the expansion ROM.
pub(super) const ROM_REGION: usize = 6;

impl Config {
    /// A header without base address registers and interrupts.
    pub fn new(id: Identity) -> Self {
        let mut c = Self {
            bytes: [0; 256],
            writable: [0; 256],
            clear: [0; 256],
            initial: None,
            bars: [None; 6],
            rom: None,
            vectors: Vectors::default(),
            free: 0x40,
            last_capability: None,
        };
        c.set_u16(VENDOR, id.vendor);
        c.set_u16(DEVICE, id.device);
        c.set_u32(REVISION, id.class << 8 | u32::from(id.revision));
        c.allow(COMMAND, &Command::all().bits().to_le_bytes());
        c.allow(CACHE_LINE, &[0xff]);
        c.allow(LATENCY, &[0xff]);
        c.allow(INTERRUPT_LINE, &[0xff]);
        let errors = STATUS_ERRORS.to_le_bytes();
        c.clear[usize::from(STATUS)..][..2].copy_from_slice(&errors);
        c
    }

    /// Subsystem vendor and device (6.2.4).
    pub fn subsystem(mut self, vendor: u16, device: u16) -> Self {
        self.set_u16(SUBSYSTEM, vendor);
        self.set_u16(SUBSYSTEM + 2, device);
        self
    }

    /// The function drives this interrupt pin.
    pub fn pin(mut self, pin: Pin) -> Self {
        self.set_u8(INTERRUPT_PIN, pin as u8);
        self
    }

    /// Base address register `n` (0-5), which becomes region `n`. A size that is no power of two is rounded up.
    pub fn bar(mut self, n: u8, bar: Bar) -> Self {
        let bar = bar.rounded();
        let at = BARS + 4 * (n % 6);
        if let Some(b) = self.bars.get_mut(usize::from(n % 6)) {
            *b = Some(bar);
        }
        let low = !(bar.size() as u32).wrapping_sub(1);
        self.set_u32(at, bar.kind());
        match bar {
            // Ports have 16 bits; the upper half is there to be written all the same.
            Bar::Io { .. } => self.allow(at, &low.to_le_bytes()),
            Bar::Memory32 { .. } => self.allow(at, &low.to_le_bytes()),
            Bar::Memory64 { size, .. } => {
                let mask = !(size - 1);
                self.allow(at, &(mask as u32).to_le_bytes());
                self.allow(at + 4, &((mask >> 32) as u32).to_le_bytes());
            }
        }
        self
    }

    /// An expansion ROM (6.2.5.2, 6.3) with this content, filled up to a power of two of at least 2 KiB.
    pub fn rom(mut self, content: &[u8]) -> Self {
        let size = content.len().clamp(2048, 16 << 20).next_power_of_two();
        let mut rom = content.to_vec();
        rom.resize(size, 0xff);
        self.rom = Some(rom.into());
        self.allow(ROM, &(!(size as u32 - 1) | 1).to_le_bytes());
        self
    }

    /// A register of the function's own: its bytes at reset and which of their bits the guest may write.
    pub fn register(mut self, offset: u8, bytes: &[u8], writable: &[u8]) -> Self {
        for (n, b) in bytes.iter().enumerate() {
            self.set_u8(offset.wrapping_add(n as u8), *b);
        }
        self.allow(offset, writable);
        self
    }

    /// Bits that the guest clears by writing ones.
    pub fn write_to_clear(mut self, offset: u8, bits: &[u8]) -> Self {
        for (c, b) in self.clear.iter_mut().skip(offset.into()).zip(bits) {
            *c = *b;
        }
        self
    }

    /// The place of the next capability where the part's datasheet fixes it (a doubleword).
    pub fn capabilities_from(mut self, offset: u8) -> Self {
        self.free = offset & 0xfc;
        self
    }

    /// A capability (6.7) with `body` behind its two-byte head; `writable` covers the body. Without room nothing is added.
    pub fn capability(mut self, id: u8, body: &[u8], writable: &[u8]) -> Self {
        self.add_capability(id, body, writable);
        self
    }

    fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> Option<u8> {
        let at = self.free;
        let end = usize::from(at) + 2 + body.len();
        if end > 256 {
            return None;
        }
        let pointer = match self.last_capability {
            Some(last) => last + 1,
            None => CAPABILITIES,
        };
        self.set_u8(pointer, at);
        let status = self.get_u16(STATUS) | STATUS_CAPABILITIES;
        self.set_u16(STATUS, status);
        self.set_u8(at, id);
        self.set_u8(at + 1, 0);
        for (n, b) in body.iter().enumerate() {
            self.set_u8(at + 2 + n as u8, *b);
        }
        self.allow(at + 2, writable);
        self.last_capability = Some(at);
        self.free = u8::try_from(end.next_multiple_of(4)).unwrap_or(0xff);
        Some(at)
    }

    /// `1 << log2` messages by MSI (6.8.1), 64-bit addresses and masks per vector.
    pub fn msi(mut self, log2: u8) -> Self {
        let log2 = log2.min(5);
        let vectors = u32::MAX >> (32 - (1u32 << log2));
        let mut body = [0; 22];
        body[..2].copy_from_slice(&(0x0180 | u16::from(log2) << 1).to_le_bytes());
        let mut writable = [0; 22];
        writable[..2].copy_from_slice(&0x0071u16.to_le_bytes());
        writable[2..6].copy_from_slice(&0xffff_fffcu32.to_le_bytes());
        writable[6..10].fill(0xff);
        writable[10..12].fill(0xff);
        writable[14..18].copy_from_slice(&vectors.to_le_bytes());
        self.vectors.msi = self
            .add_capability(0x05, &body, &writable)
            .map(|at| (at, log2));
        self
    }

    /// `vectors` messages by MSI-X (6.8.2), the table at `table` and the pending bits at `pending` of base address register `bar`. The
    /// slot serves both; the function never sees accesses to them.
    pub fn msix(mut self, vectors: u16, bar: u8, table: u32, pending: u32) -> Self {
        let vectors = vectors.clamp(1, 2048);
        let (table, pending) = (table & !7, pending & !7);
        let mut body = [0; 10];
        body[..2].copy_from_slice(&(vectors - 1).to_le_bytes());
        body[2..6].copy_from_slice(&(table | u32::from(bar & 7)).to_le_bytes());
        body[6..].copy_from_slice(&(pending | u32::from(bar & 7)).to_le_bytes());
        let writable = 0xc000u16.to_le_bytes();
        self.vectors.msix = self
            .add_capability(0x11, &body, &writable)
            .map(|capability| MsixPlace {
                capability,
                vectors,
                bar: bar & 7,
                table,
                pending,
            });
        self
    }

    /// Lets the guest write these bits.
    pub fn allow(&mut self, offset: u8, bits: &[u8]) {
        for (w, b) in self.writable.iter_mut().skip(offset.into()).zip(bits) {
            *w = *b;
        }
    }

    /// Sets a byte, whoever may write it.
    pub fn set_u8(&mut self, offset: u8, value: u8) {
        self.bytes[usize::from(offset)] = value;
    }
    /// Sets a word.
    pub fn set_u16(&mut self, offset: u8, value: u16) {
        for (n, b) in value.to_le_bytes().into_iter().enumerate() {
            self.set_u8(offset.wrapping_add(n as u8), b);
        }
    }
    /// Sets a doubleword.
    pub fn set_u32(&mut self, offset: u8, value: u32) {
        for (n, b) in value.to_le_bytes().into_iter().enumerate() {
            self.set_u8(offset.wrapping_add(n as u8), b);
        }
    }
    /// A byte as it is.
    pub fn get_u8(&self, offset: u8) -> u8 {
        self.bytes[usize::from(offset)]
    }
    /// A word as it is.
    pub fn get_u16(&self, offset: u8) -> u16 {
        u16::from_le_bytes([0, 1].map(|n| self.get_u8(offset.wrapping_add(n))))
    }
    /// A doubleword as it is.
    pub fn get_u32(&self, offset: u8) -> u32 {
        u32::from_le_bytes([0, 1, 2, 3].map(|n| self.get_u8(offset.wrapping_add(n))))
    }

    /// The command register.
    pub fn command(&self) -> Command {
        Command::from_bits_truncate(self.get_u16(COMMAND))
    }

    /// The interrupt pin, A being 0.
    pub(super) fn pin_number(&self) -> Option<u8> {
        self.get_u8(INTERRUPT_PIN).checked_sub(1)
    }

    pub(super) fn vectors(&self) -> Vectors {
        self.vectors
    }

    pub(super) fn bars(&self) -> impl Iterator<Item = (u8, Bar)> {
        let numbered = self.bars.iter().enumerate();
        numbered.filter_map(|(n, b)| Some((n as u8, (*b)?)))
    }

    /// A byte of the expansion ROM.
    pub(super) fn rom_byte(&self, offset: u64) -> u8 {
        let rom = self.rom.as_deref().unwrap_or(&[]);
        let at = usize::try_from(offset).ok();
        at.and_then(|o| rom.get(o)).copied().unwrap_or(0xff)
    }

    pub(super) fn windows(&self, bus: &mut Bus, index: usize) -> Vec<(usize, Window)> {
        let mut windows = Vec::new();
        for (n, bar) in self.bars() {
            let n = usize::from(n);
            windows.push(match bar {
                Bar::Io { .. } => (n, bus.port_window(index, n)),
                _ => (n, bus.mmio_window(index, n)),
            });
        }
        if self.rom.is_some() {
            windows.push((ROM_REGION, bus.mmio_window(index, ROM_REGION)));
        }
        windows
    }

    /// Where a region answers by its register and the command register. A register that holds zero decodes nothing.
    pub fn placement(&self, region: usize) -> Option<RangeInclusive<u64>> {
        let command = self.command();
        let range = |base: u64, size: u64| {
            let last = base.checked_add(size.checked_sub(1)?)?;
            (base != 0).then_some(base..=last)
        };
        if region == ROM_REGION {
            let register = self.get_u32(ROM);
            let size = self.rom.as_ref()?.len() as u64;
            let on = register & 1 != 0 && command.contains(Command::MEMORY);
            return range((register & !0x7ff).into(), size).filter(|_| on);
        }
        let bar = (*self.bars.get(region)?)?;
        let at = BARS + 4 * region as u8;
        let low = self.get_u32(at);
        match bar {
            Bar::Io { size } => {
                let base = u64::from(low & !3);
                let inside = base + u64::from(size) <= 0x1_0000;
                range(base, size.into()).filter(|_| inside && command.contains(Command::IO))
            }
            Bar::Memory32 { size, .. } => range((low & !15).into(), size.into())
                .filter(|r| *r.end() <= u64::from(u32::MAX) && command.contains(Command::MEMORY)),
            Bar::Memory64 { size, .. } => {
                let high = u64::from(self.get_u32(at + 4));
                range(u64::from(low & !15) | high << 32, size)
                    .filter(|_| command.contains(Command::MEMORY))
            }
        }
    }

    pub(super) fn read(&self, offset: u8, size: AccessSize) -> u32 {
        crate::bytes::read(offset.into(), size, |o| self.bytes[usize::from(o & 0xff)])
    }

    pub(super) fn write(&mut self, offset: u8, size: AccessSize, value: u32) {
        crate::bytes::write(offset.into(), size, value, |o, v| {
            let o = usize::from(o & 0xff);
            let (writable, clear) = (self.writable[o], self.clear[o]);
            let b = &mut self.bytes[o];
            *b = (*b & !writable | v & writable) & !(v & clear);
        });
    }

    /// What is set so far is what the guest finds at power-on.
    pub(super) fn seal(&mut self) {
        self.initial = Some(Box::new(self.bytes));
    }

    /// As the guest finds it at power-on.
    pub(super) fn reset(&mut self) {
        if let Some(i) = &self.initial {
            self.bytes = **i;
        }
    }

    pub(super) fn save(&self) -> State {
        State {
            bytes: self.bytes.to_vec(),
        }
    }

    pub(super) fn restore(&mut self, state: &State) {
        for (b, s) in self.bytes.iter_mut().zip(&state.bytes) {
            *b = *s;
        }
    }
}

/// What of it is saved: the rest is how the function was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    bytes: Vec<u8>,
}
