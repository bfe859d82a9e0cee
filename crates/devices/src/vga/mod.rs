//! The VGA (IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem") with Bochs' display interface (Bochs documentation, "VBE
//! Display Interface"), as a PCI function of QEMU's identity (QEMU documentation, "standard VGA"), so that the video BIOS and drivers
//! written for that one work.
//!
//! ```text
//! processor ── ports ──> State: sequencer, CRTC, graphics and attribute controllers, DAC, dispi
//!     │                      │
//!     ├── 0xA0000 ── window ─┤                     Snapshot ── render ──> Frame, TextScreen
//!     └── linear frame buffer ──> display memory ──────┘
//! ```
//!
//! Display memory stands beside the machine's RAM (a bank, [`memory::Ram::with_banks`]); where a guest maps the linear frame buffer it is accessed
//! as RAM is, without this chip. Pictures come from a [`Snapshot`], a copy of registers and of what can be seen, and never hold up the
//! processor for longer than the copy takes. There is no vertical interrupt: PCs leave it unconnected.

mod dispi;
mod frame;
mod pci;
mod ports;
mod regs;
mod render;
mod state;
#[cfg(test)]
mod tests;
mod window;

pub use frame::{Cell, Frame, TextScreen, character};
pub use pci::PciVga;
pub use render::Snapshot;

use crate::{bytes, lock};
use arch::GuestPhys;
use bus::{AccessSize, Clock, Device};
use memory::Ram;
use render::Memory;
use snapshot::{Error, Section};
use state::State;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Bytes of display memory.
pub const MEMORY: u64 = 16 << 20;

/// Region number of the linear frame buffer, base address register 0.
pub const REGION_LINEAR: usize = 0;
/// Region number of the memory-mapped registers, base address register 2.
pub const REGION_REGISTERS: usize = 2;
/// Region number of ports 0x3B0 to 0x3DF.
pub const REGION_PORTS: usize = 8;
/// Region number of ports 0x1CE to 0x1D0.
pub const REGION_DISPI: usize = 9;
/// Region number of 0xA0000 to 0xBFFFF.
pub const REGION_WINDOW: usize = 10;

/// The memory-mapped registers (QEMU documentation, "standard VGA").
mod mapped {
    use std::ops::Range;
    /// Ports 0x3C0 to 0x3DF.
    pub const PORTS: Range<u64> = 0x400..0x420;
    /// The registers of the display interface, a word each.
    pub const DISPI: Range<u64> = 0x500..0x516;
    /// Bytes of the extended registers, and the frame buffer's byte order.
    pub const EXTENDED_SIZE: u64 = 0x600;
    pub const BYTE_ORDER: u64 = 0x604;
    pub const LITTLE_ENDIAN: u32 = 0x1e1e_1e1e;
}

/// The adapter. Clones are handles to the same one.
#[derive(Clone)]
pub struct Vga {
    shared: Arc<Shared>,
}

/// Display memory.
struct Display {
    ram: Arc<Ram>,
    bank: usize,
}

impl Display {
    fn size(&self) -> u64 {
        MEMORY
    }
    /// What lies beyond the end reads as what `into` holds.
    fn read(&self, offset: u64, into: &mut [u8]) {
        self.ram.read_bank(self.bank, offset, into);
    }
    /// What lies beyond the end is lost.
    fn write(&self, offset: u64, from: &[u8]) {
        self.ram.write_bank(self.bank, offset, from);
    }
    /// From now on the processor sees it at `at`.
    fn place(&self, at: Option<u64>) {
        self.ram.place(self.bank, at.map(GuestPhys));
    }
}

struct Shared {
    ram: Display,
    clock: Arc<Clock>,
    core: Mutex<State>,
    /// Moves on with each access that may change the picture.
    changes: AtomicU64,
}

impl Vga {
    /// An adapter after power-on; its display memory is bank `bank` of `ram`, of [`MEMORY`] bytes.
    pub fn new(ram: Arc<Ram>, bank: usize, clock: Arc<Clock>) -> Self {
        let ram = Display { ram, bank };
        Self {
            shared: Arc::new(Shared {
                ram,
                clock,
                core: Mutex::default(),
                changes: AtomicU64::new(0),
            }),
        }
    }

    /// A copy of what makes the picture.
    pub fn snapshot(&self) -> Snapshot {
        let state = lock(&self.shared.core).clone();
        let (at, len) = match state.dispi.geometry() {
            Some(g) if g.bits != 4 => (g.start, u64::from(g.pitch) * u64::from(g.height)),
            Some(g) => (
                g.start * 4,
                u64::from(g.pitch) * u64::from(g.height + 1) * 4,
            ),
            None => (0, u64::from(window::PLANE) * 4),
        };
        let len = len.min(self.shared.ram.size().saturating_sub(at));
        let mut bytes = vec![0; len as usize];
        self.shared.ram.read(at, &mut bytes);
        Snapshot {
            state,
            memory: Memory { at, bytes },
            now: self.shared.clock.now(),
        }
    }

    /// A number that is the same as long as no port and no byte of the window was written. Stores to the linear frame buffer do not move
    /// it.
    pub fn changes(&self) -> u64 {
        self.shared.changes.load(Ordering::Relaxed)
    }

    fn changed(&self) {
        self.shared.changes.fetch_add(1, Ordering::Relaxed);
    }

    fn registers_read(&self, offset: u64, size: AccessSize) -> u64 {
        let mut s = lock(&self.shared.core);
        let (now, memory) = (self.shared.clock.now(), self.shared.ram.size());
        let mut byte = |o: u64| -> u8 {
            if mapped::PORTS.contains(&o) {
                return s.port_in((o - mapped::PORTS.start) as u16 + 0x10, now);
            }
            if mapped::DISPI.contains(&o) {
                let n = (o - mapped::DISPI.start) as u16;
                return bytes::of(s.dispi_read(n / 2, memory).into(), n & 1);
            }
            match o & !3 {
                mapped::EXTENDED_SIZE => bytes::of(8, o as u16 & 3),
                mapped::BYTE_ORDER => bytes::of(mapped::LITTLE_ENDIAN.into(), o as u16 & 3),
                _ => 0,
            }
        };
        (0..size.bytes()).fold(0, |v, i| {
            v | u64::from(byte(offset.wrapping_add(i))) << (8 * i)
        })
    }

    fn registers_write(&self, offset: u64, size: AccessSize, value: u64) {
        let mut s = lock(&self.shared.core);
        for i in 0..size.bytes() {
            let (o, v) = (offset.wrapping_add(i), value >> (8 * i));
            if mapped::PORTS.contains(&o) {
                s.port_out((o - mapped::PORTS.start) as u16 + 0x10, v as u8);
            } else if mapped::DISPI.contains(&o) && o & 1 == 0 && i + 1 < size.bytes() {
                let n = (o - mapped::DISPI.start) as u16 / 2;
                s.dispi_write(&self.shared.ram, n, v as u16);
            }
        }
    }

    fn dispi_in(&self, offset: u16, size: AccessSize) -> u32 {
        let s = lock(&self.shared.core);
        let value = match offset {
            0 => s.dispi.index,
            1 => s.dispi_read(s.dispi.index, self.shared.ram.size()),
            _ => return size.mask() as u32,
        };
        value.into()
    }

    fn dispi_out(&self, offset: u16, value: u32) {
        let mut s = lock(&self.shared.core);
        match offset {
            0 => s.dispi.index = value as u16,
            1 => {
                let n = s.dispi.index;
                s.dispi_write(&self.shared.ram, n, value as u16);
            }
            _ => {}
        }
    }
}

impl Device for Vga {
    fn name(&self) -> &str {
        "vga"
    }

    fn port_read(&mut self, region: usize, offset: u16, size: AccessSize) -> u32 {
        if region == REGION_DISPI {
            return self.dispi_in(offset, size);
        }
        let now = self.shared.clock.now();
        let mut s = lock(&self.shared.core);
        bytes::read(offset, size, |o| s.port_in(o, now))
    }

    fn port_write(&mut self, region: usize, offset: u16, size: AccessSize, value: u32) {
        if region == REGION_DISPI {
            self.dispi_out(offset, value);
        } else {
            let mut s = lock(&self.shared.core);
            bytes::write(offset, size, value, |o, v| s.port_out(o, v));
        }
        self.changed();
    }

    fn mmio_read(&mut self, region: usize, offset: u64, size: AccessSize) -> u64 {
        match region {
            REGION_REGISTERS => self.registers_read(offset, size),
            REGION_LINEAR => {
                let mut v = [0; 8];
                let n = size.bytes() as usize;
                self.shared.ram.read(offset, &mut v[..n]);
                u64::from_le_bytes(v)
            }
            _ => {
                let mut s = lock(&self.shared.core);
                (0..size.bytes()).fold(0, |v, i| {
                    let at = offset.wrapping_add(i) as u32;
                    v | u64::from(s.window_read(&self.shared.ram, at)) << (8 * i)
                })
            }
        }
    }

    fn mmio_write(&mut self, region: usize, offset: u64, size: AccessSize, value: u64) {
        match region {
            REGION_REGISTERS => self.registers_write(offset, size, value),
            REGION_LINEAR => {
                let n = size.bytes() as usize;
                let v = value.to_le_bytes();
                self.shared.ram.write(offset, &v[..n]);
            }
            _ => {
                let mut s = lock(&self.shared.core);
                for i in 0..size.bytes() {
                    let at = offset.wrapping_add(i) as u32;
                    s.window_write(&self.shared.ram, at, (value >> (8 * i)) as u8);
                }
            }
        }
        self.changed();
    }

    fn reset(&mut self) {
        *lock(&self.shared.core) = State::default();
        self.changed();
    }

    fn save(&self) -> Result<Section, Error> {
        Section::new(self.name(), state::VERSION, &*lock(&self.shared.core))
    }

    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        let s: State = section.read(self.name(), state::VERSION)?;
        *lock(&self.shared.core) = s.sane();
        self.changed();
        Ok(())
    }
}
