//! What a person at the machine has: its screen, keyboard, mouse and power button. Handles, for other threads.

use devices::vga::{self, PciVga};
use devices::{AcpiPm, I8042, PciBus, Vga};
use std::ops::RangeInclusive;

use crate::{Error, layout};
use bus::{Bus, Clock};
use memory::Ram;
use std::path::PathBuf;
use std::sync::Arc;

/// Ports of the VGA and of Bochs' display interface, and the window of display memory.
const VGA_PORTS: RangeInclusive<u16> = 0x3b0..=0x3df;
const DISPI_PORTS: RangeInclusive<u16> = 0x1ce..=0x1d0;
const WINDOW: RangeInclusive<u64> = layout::ADAPTERS..=layout::ADAPTERS + 0x1_ffff;

/// Clones are the same console.
#[derive(Clone)]
pub struct Console {
    screen: Option<Vga>,
    input: I8042,
    power: AcpiPm,
}

impl Console {
    pub(crate) fn new(screen: Option<Vga>, input: I8042, power: AcpiPm) -> Self {
        Self {
            screen,
            input,
            power,
        }
    }

    /// The display adapter, if the machine has one.
    pub fn screen(&self) -> Option<&Vga> {
        self.screen.as_ref()
    }

    /// Keyboard and mouse.
    pub fn input(&self) -> &I8042 {
        &self.input
    }

    /// The user presses the power button.
    pub fn press_power_button(&self) {
        self.power.press_power_button();
    }
}

/// Where Debian's package `seabios` has the adapter's BIOS.
const VIDEO_BIOS: &str = "/usr/share/seabios/vgabios-stdvga.bin";

/// The video BIOS that belongs to the adapter, if its package is installed.
pub fn video_bios() -> Option<PathBuf> {
    let path = PathBuf::from(VIDEO_BIOS);
    path.is_file().then_some(path)
}

/// Plugs a VGA in, with the video BIOS `rom` if there is one.
pub(crate) fn plug_vga(
    bus: &mut Bus,
    pci: &PciBus,
    ram: &Arc<Ram>,
    bank: usize,
    clock: Arc<Clock>,
    rom: Option<&[u8]>,
) -> Result<Vga, Error> {
    let vga = Vga::new(ram.clone(), bank, clock);
    let function = PciVga::new(vga.clone());
    let index = pci.plug(bus, layout::pci::VGA, PciVga::config(rom), |_| function);
    bus.map_ports(index, vga::REGION_PORTS, VGA_PORTS)?;
    bus.map_ports(index, vga::REGION_DISPI, DISPI_PORTS)?;
    bus.map_mmio(index, vga::REGION_WINDOW, WINDOW)?;
    Ok(vga)
}
