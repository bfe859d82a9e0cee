//! The DSDT: what a guest cannot probe, in AML (ACPI 6.5, chapter 20).

use super::{OEM, REVISION, TABLE};
use crate::layout;
use acpi_tables::Aml;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Interrupt, Memory32Fixed, Name,
    Package, ResourceTemplate, Scope, ZERO,
};
use acpi_tables::sdt::Sdt;
use devices::acpi_pm;

/// One resource of a device.
enum Resource {
    /// Ports from, count.
    Ports(u16, u8),
    /// An edge-triggered interrupt of the ISA bus, by its global number.
    Irq(u32),
    /// Memory from, bytes.
    Memory(u64, u32),
}

impl Resource {
    fn aml(&self) -> Box<dyn Aml> {
        match *self {
            Self::Ports(from, count) => Box::new(IO::new(from, from, 1, count)),
            Self::Irq(gsi) => Box::new(Interrupt::new(true, true, false, false, gsi)),
            Self::Memory(from, bytes) => Box::new(Memory32Fixed::new(true, from as u32, bytes)),
        }
    }
}

/// Devices: name, plug-and-play ID, unique ID, resources.
fn devices() -> Vec<(&'static str, &'static str, u8, Vec<Resource>)> {
    use Resource::{Irq, Memory, Ports};
    vec![
        (
            "PIC_",
            "PNP0000",
            0,
            vec![Ports(0x20, 2), Ports(0xa0, 2), Ports(0x4d0, 2)],
        ),
        ("TIMR", "PNP0100", 0, vec![Ports(0x40, 4), Irq(2)]),
        ("RTC_", "PNP0B00", 0, vec![Ports(0x70, 2), Irq(8)]),
        ("SPKR", "PNP0800", 0, vec![Ports(0x61, 1)]),
        (
            "KBD_",
            "PNP0303",
            0,
            vec![Ports(0x60, 1), Ports(0x64, 1), Irq(1)],
        ),
        ("MOU_", "PNP0F13", 0, vec![Irq(12)]),
        (
            "DMA_",
            "PNP0200",
            0,
            vec![Ports(0x00, 0x10), Ports(0x80, 0x10), Ports(0xc0, 0x20)],
        ),
        ("COM1", "PNP0501", 1, vec![Ports(0x3f8, 8), Irq(4)]),
        ("HPET", "PNP0103", 0, vec![Memory(layout::HPET, 0x400)]),
        (
            "BRD_",
            "PNP0C02",
            0,
            vec![
                Ports(0x92, 1),
                Ports(layout::DEBUG_EXIT, 4),
                Ports(layout::PM_BASE, 0x10),
                Ports(layout::GPE0, layout::GPE0_LENGTH),
                Ports(layout::SMI_COMMAND, 2),
                Ports(layout::ACPI_RESET, 1),
                Memory(layout::IOAPIC, 0x1000),
                Memory(layout::LOCAL_APIC, 0x1000),
            ],
        ),
    ]
}

fn device(name: &str, hid: &dyn Aml, uid: u8, resources: &[Resource]) -> Vec<u8> {
    let hid = Name::new("_HID".into(), hid);
    let uid = Name::new("_UID".into(), &uid);
    let resources: Vec<_> = resources.iter().map(Resource::aml).collect();
    let template = ResourceTemplate::new(resources.iter().map(|r| &**r).collect());
    let current = Name::new("_CRS".into(), &template);
    let mut children: Vec<&dyn Aml> = vec![&hid, &uid];
    if !resources.is_empty() {
        children.push(&current);
    }
    super::bytes(&Device::new(name.into(), children))
}

/// The PCI host bridge with its windows: all ports but its own configuration ports, and the hole below 4 GiB up to the I/O APIC.
fn root_bridge() -> Vec<u8> {
    let id = Name::new("_HID".into(), &EISAName::new("PNP0A03"));
    let uid = Name::new("_UID".into(), &ZERO);
    let number = Name::new("_BBN".into(), &ZERO);
    let buses = AddressSpace::<u16>::new_bus_number(0, 0xff);
    let configuration = IO::new(0xcf8, 0xcf8, 1, 8);
    let ports = [(0, 0xcf7), (0xd00, 0xffff)];
    let [low, high] = ports.map(|(from, to)| AddressSpace::<u16>::new_io(from, to, None));
    let window = AddressSpace::new_memory(
        AddressSpaceCacheable::NotCacheable,
        true,
        layout::LOW_RAM_LIMIT as u32,
        layout::IOAPIC as u32 - 1,
        None,
    );
    let template = ResourceTemplate::new(vec![&buses, &configuration, &low, &high, &window]);
    let current = Name::new("_CRS".into(), &template);
    super::bytes(&Device::new(
        "PCI0".into(),
        vec![&id, &uid, &number, &current],
    ))
}

/// The table for `cpus` processors.
pub(super) fn table(cpus: u8) -> Sdt {
    let mut inside = Vec::new();
    for cpu in 0..cpus {
        inside.extend(device(&format!("CP{cpu:02X}"), &"ACPI0007", cpu, &[]));
    }
    for (name, id, uid, resources) in devices() {
        inside.extend(device(name, &EISAName::new(id), uid, &resources));
    }
    inside.extend(root_bridge());
    let mut t = Sdt::new(*b"DSDT", 36, 2, OEM, TABLE, REVISION);
    t.append_slice(&Scope::raw("\\_SB_".into(), inside));
    let kind = acpi_pm::SLP_TYP_S5;
    let s5 = Package::new(vec![&kind, &kind, &ZERO, &ZERO]);
    t.append_slice(&super::bytes(&Name::new("\\_S5_".into(), &s5)));
    t
}
