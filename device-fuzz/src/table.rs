//! The devices, a row each.

use crate::rows::{bridges, disks, networks, system, video, virtio};
use crate::target::Target;

/// A device under test.
pub struct Row {
    /// As `--device` names it.
    pub name: &'static str,
    /// A fresh one on a board of its own.
    pub make: fn() -> Target,
}

const fn row(name: &'static str, make: fn() -> Target) -> Row {
    Row { name, make }
}

/// All of them.
pub const ROWS: &[Row] = &[
    row("uart16550", system::uart16550),
    row("i8254", system::i8254),
    row("i8259", system::i8259),
    row("mc146818", system::mc146818),
    row("i8042", system::i8042),
    row("hpet", system::hpet),
    row("ioapic", system::ioapic),
    row("local-apic", system::local_apic),
    row("acpi-pm", system::acpi_pm),
    row("i8237", system::i8237),
    row("reset", system::reset),
    row("fw-cfg", system::fw_cfg),
    row("testdev", system::testdev),
    row("flash", system::flash),
    row("floppy", disks::floppy),
    row("ide", disks::ide),
    row("ahci", disks::ahci),
    row("vga", video::vga),
    row("pci-config", bridges::pci_config),
    row("virtio-blk", virtio::blk),
    row("virtio-rng", virtio::rng),
    row("virtio-net", virtio::net),
    row("e1000", networks::e1000),
    row("rtl8139", networks::rtl8139),
    row("virtio-9p", virtio::p9),
];

/// The row of that name.
pub fn by_name(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}
