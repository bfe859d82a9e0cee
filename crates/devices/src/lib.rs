//! The chips, one file each.
//!
//! Each implements `bus::Device` in one anatomy: datasheet, registers, struct, `Device`, `mod state`, tests. A chip knows neither its
//! address nor its interrupt number; where a PC has them is written here, and the board ([`machine`]) puts them there. Chips that
//! others reach too (a button, a serial cable, a controller's inputs) are handles: clone one, give one clone to the bus.
//!
//! | chip | region: where a PC has it | interrupt |
//! |---|---|---|
//! | [`ApicBus`], [`ApicDevice`] | none: the processor decodes the page at 0xFEE0_0000 | LINT0 from the 8259 pair, LINT1 NMI |
//! | [`IoApic`] | 0: MMIO 0xFEC0_0000, one page | |
//! | [`I8259`] | 0: 0x20-0x21, 1: 0xA0-0xA1, 2: 0x4D0-0x4D1 | INTR to LINT0 |
//! | [`IrqRouter`] | none | |
//! | [`I8254`] | 0: 0x40-0x43, 1: 0x61 | 0 |
//! | [`Mc146818`] | 0: 0x70-0x73 | 8 |
//! | [`Hpet`] | 0: MMIO 0xFED0_0000, 1 KiB | [`HpetWires::new`] |
//! | [`I8042`] | 0: 0x60, 1: 0x64 | keyboard 1, mouse 12 |
//! | [`Floppy`] | 0: 0x3F0-0x3F5, 1: 0x3F7 | 6, DMA 2 |
//! | [`I8237`] | 0: 0x00-0x0F, 1: 0xC0-0xDF, 2: 0x80-0x8F (0x80 is the POST port) | |
//! | [`SystemControlA`] | 0: 0x92 | |
//! | [`NumericError`] | 0: 0xF0 | 13 |
//! | [`PciConfig`] | 0: 0xCF8-0xCFF, reset control 0xCF9 included | |
//! | [`pci::Ecam`] | 0: MMIO 0xFEF0_0000, 1 MiB | |
//! | [`pci::I440Fx`], [`pci::Piix3`], [`pci::Piix4Pm`] | PCI 00:00.0, 00:01.0, 00:01.3 (see [`pci`]) | PIRQs, I/O APIC 16-19 |
//! | [`Ahci`] | any PCI function | its pin, MSI |
//! | [`Ide`] | PCI 00:01.1; [`ide::region_command`]: 0x1F0-0x1F7, 0x170-0x177, [`ide::region_control`]: 0x3F6, 0x376 | 14, 15 |
//! | [`virtio::VirtioPci`] | any PCI function | its pin, MSI-X |
//! | [`E1000`], [`Rtl8139`] | any PCI function | its pin |
//! | [`DebugExit`] | 0: 0xF4-0xF7 | |
//! | [`DebugConsole`] | 0: 0xE9 | |
//! | [`FwCfg`] | 0: 0x510-0x51B | |
//! | [`RomAlias`] | 0: MMIO 0xE0000-0xFFFFF | |
//! | [`Flash`] | 0: MMIO, its part of the bank that ends at 4 GiB | |
//! | [`TestDevice`] | 0: 0xE0-0xE3, 1: 0x2000-0x2017, 2: 0xE4, 3: MMIO 0xFF00_0000, 64 KiB | any, by 0x2000 |
//! | [`AcpiPm`] | 0: PM block, 16 ports (0x600), 1: GPE0 block, 4 ports (0x620), 2: 0xB2-0xB3, 3: reset register, 1 port (0x630) | SCI 9, level |
//! | [`Uart16550`] | 0: 0x3F8-0x3FF, 0x2F8-0x2FF, 0x3E8-0x3EF, 0x2E8-0x2EF | 4, 3, 4, 3 |
//! | [`Vga`] | 0: linear frame buffer (BAR 0), 2: registers (BAR 2), 8: 0x3B0-0x3DF, 9: 0x1CE-0x1D0, 10: MMIO 0xA0000-0xBFFFF | |
//!
//! Order of building (each step needs the ones before):
//! [`ApicBus::new`], [`I8259::new`] with `apics.lint(0, 0)`, [`ApicBus::connect_pic`], [`IoApic::new`], [`IrqRouter::new`]; then the other chips
//! with `router.isa(n)`. The controllers, the router and one `apics.device(i, alarm)` per vCPU go on the bus like any chip.
//! The lock order is in [`irq`].
//!
//! [`machine`]: ../machine/index.html

pub mod acpi_pm;
pub mod ahci;
mod ata;
mod bytes;
#[cfg(test)]
mod cable;
pub mod debug;
pub mod e1000;
mod ethernet;
pub mod flash;
pub mod floppy;
pub mod fw_cfg;
pub mod hpet;
pub mod i8042;
pub mod i8237;
pub mod i8254;
pub mod i8259;
pub mod ide;
pub mod ioapic;
pub mod irq;
pub mod local_apic;
pub mod mc146818;
mod microwire;
pub mod numeric_error;
pub mod pci;
pub mod reset;
#[cfg(test)]
mod rig;
pub mod rom;
pub mod rtl8139;
pub mod testdev;
#[cfg(test)]
mod testing;
pub mod uart16550;
pub mod vga;
pub mod virtio;

pub use acpi_pm::AcpiPm;
pub use ahci::Ahci;
pub use debug::{DebugConsole, DebugExit};
pub use e1000::E1000;
pub use flash::Flash;
pub use floppy::Floppy;
pub use fw_cfg::FwCfg;
pub use hpet::{Hpet, HpetWires};
pub use i8042::I8042;
pub use i8237::{I8237, IsaDma};
pub use i8254::I8254;
pub use i8259::I8259;
pub use ide::Ide;
pub use ioapic::IoApic;
pub use irq::IrqRouter;
pub use local_apic::{ApicBus, ApicDevice};
pub use mc146818::Mc146818;
pub use numeric_error::NumericError;
pub use pci::{PciBus, PciConfig, PciFunction};
pub use reset::{A20Gate, SystemControlA};
pub use rom::RomAlias;
pub use rtl8139::Rtl8139;
pub use testdev::TestDevice;
pub use uart16550::{Uart16550, UartInput};
pub use vga::Vga;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A chip's lock. A panic elsewhere leaves no chip unusable.
pub(crate) fn lock<T: ?Sized>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}
