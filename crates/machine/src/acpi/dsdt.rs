//! The DSDT: what a guest cannot probe, in AML (ACPI 6.5, chapter 20).

use super::{OEM, REVISION, TABLE};
use crate::layout;
use acpi_tables::Aml;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Arg, Device, EISAName, IO, If, Interrupt, Memory32Fixed,
    Method, Name, Package, PackageBuilder, Path, ResourceTemplate, Return, Scope, Store, ZERO,
};
use acpi_tables::sdt::Sdt;
use devices::acpi_pm;
use devices::pci::{Ecam, FIRST_PIN, pirq};

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
                Memory(layout::ECAM, Ecam::SIZE as u32),
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

/// Where the interrupt pins of the 31 devices behind the host bridge go (6.2.13): global interrupts of the I/O APIC, or ISA interrupts.
fn routing(interrupt: impl Fn(u8) -> u8) -> PackageBuilder {
    let mut all = PackageBuilder::new();
    for device in 1..32u8 {
        for pin in 0..4u8 {
            let gsi = interrupt(pirq(device, pin));
            let address = u32::from(device) << 16 | 0xffff;
            all.add_element(&Package::new(vec![&address, &pin, &ZERO, &gsi]));
        }
    }
    all
}

/// The PCI host bridge with its windows: all ports but its own configuration ports, video memory, and what is left below the I/O APIC.
fn root_bridge(memory: u64) -> Vec<u8> {
    let id = Name::new("_HID".into(), &EISAName::new("PNP0A03"));
    let uid = Name::new("_UID".into(), &ZERO);
    let number = Name::new("_BBN".into(), &ZERO);
    let buses = AddressSpace::<u16>::new_bus_number(0, 0xff);
    let configuration = IO::new(0xcf8, 0xcf8, 1, 8);
    let ports = [(0, 0xcf7), (0xd00, 0xffff)];
    let [low, high] = ports.map(|(from, to)| AddressSpace::<u16>::new_io(from, to, None));
    let plain = AddressSpaceCacheable::NotCacheable;
    let video = AddressSpace::new_memory(plain, true, 0xa_0000u32, 0xb_ffff, None);
    let window = layout::pci_memory(memory);
    let (from, to) = (*window.start() as u32, *window.end() as u32);
    let plain = AddressSpaceCacheable::NotCacheable;
    let window = AddressSpace::new_memory(plain, true, from, to, None);
    let template =
        ResourceTemplate::new(vec![&buses, &configuration, &low, &high, &video, &window]);
    let current = Name::new("_CRS".into(), &template);
    let apic = Name::new("PRTA".into(), &routing(|line| FIRST_PIN + line));
    let isa = |line: u8| layout::PIRQ_LINES[usize::from(line & 3)];
    let pic = Name::new("PRTP".into(), &routing(isa));
    let (apic_path, pic_path) = (Path::new("PRTA"), Path::new("PRTP"));
    let (with_apic, with_pic) = (Return::new(&apic_path), Return::new(&pic_path));
    let model = Path::new("\\PICM");
    let choose = If::new(&model, vec![&with_apic]);
    let table = Method::new("_PRT".into(), 0, false, vec![&choose, &with_pic]);
    let children: Vec<&dyn Aml> = vec![&id, &uid, &number, &current, &apic, &pic, &table];
    super::bytes(&Device::new("PCI0".into(), children))
}

/// The interrupt model that the system uses (5.8.1): 0 is the 8259 pair.
fn interrupt_model() -> Vec<u8> {
    let mut t = super::bytes(&Name::new("\\PICM".into(), &ZERO));
    let (model, told) = (Path::new("\\PICM"), Arg(0));
    let store = Store::new(&model, &told);
    let method = Method::new("\\_PIC".into(), 1, false, vec![&store]);
    t.extend(super::bytes(&method));
    t
}

/// The table for `cpus` processors and `memory` bytes of RAM.
pub(super) fn table(cpus: u8, memory: u64) -> Sdt {
    let mut inside = Vec::new();
    for cpu in 0..cpus {
        inside.extend(device(&format!("CP{cpu:02X}"), &"ACPI0007", cpu, &[]));
    }
    for (name, id, uid, resources) in devices() {
        inside.extend(device(name, &EISAName::new(id), uid, &resources));
    }
    inside.extend(root_bridge(memory));
    let mut t = Sdt::new(*b"DSDT", 36, 2, OEM, TABLE, REVISION);
    t.append_slice(&interrupt_model());
    t.append_slice(&Scope::raw("\\_SB_".into(), inside));
    let kind = acpi_pm::SLP_TYP_S5;
    let s5 = Package::new(vec![&kind, &kind, &ZERO, &ZERO]);
    t.append_slice(&super::bytes(&Name::new("\\_S5_".into(), &s5)));
    t
}
