//! The ACPI tables of the board (ACPI 6.5, chapters 5 and 20; IA-PC HPET Specification 1.0a, 3.2.4).
//!
//! One block of bytes for [`layout::ACPI_TABLES`]: root pointer, RSDT and XSDT, FADT with FACS, MADT, HPET, MCFG, and a DSDT that describes
//! what a guest cannot probe. Invariant: the numbers come from [`layout`], so tables and wiring cannot disagree.

mod dsdt;
#[cfg(test)]
mod tests;

use crate::{Vga, layout};
use acpi_tables::madt::{EnabledStatus, IoApic, ProcessorLocalApic};
use acpi_tables::mcfg::MCFG;
use acpi_tables::sdt::{GenericAddress, Sdt};
use acpi_tables::{Aml, fadt, gas};
use devices::{acpi_pm, mc146818};

const OEM: [u8; 6] = *b"FERRY ";
const TABLE: [u8; 8] = *b"FERRYPC ";
const REVISION: u32 = 1;

/// IAPC_BOOT_ARCH (ACPI 6.5, table 5.11).
mod boot_arch {
    pub const LEGACY_DEVICES: u16 = 1 << 0;
    pub const KEYBOARD_CONTROLLER: u16 = 1 << 1;
    pub const NO_VGA: u16 = 1 << 2;
    pub const NO_ASPM: u16 = 1 << 4;
}

/// The I/O APIC's ID register as the MADT names it.
const IOAPIC_ID: u8 = 0;
/// Event timer block ID: vendor 8086, legacy routing, 64-bit counter, three timers, revision 1 (IA-PC HPET, 2.3.4).
const HPET_BLOCK: u32 = 0x8086_a201;
/// Smallest period of an HPET timer in ticks that loses no interrupts.
const HPET_MIN_TICK: u16 = 0x80;

/// Collects tables and tells where each will stand; notes what depends on that.
#[derive(Default)]
struct Block {
    base: u32,
    bytes: Vec<u8>,
    /// Offset and bytes of each address in the tables.
    pointers: Vec<(u32, u8)>,
    /// Start and length of each table with a checksum at offset 9.
    sums: Vec<(u32, u32)>,
}

impl Block {
    fn add(&mut self, align: usize, table: &[u8]) -> u32 {
        self.bytes
            .resize(self.bytes.len().next_multiple_of(align), 0);
        let at = self.bytes.len() as u32;
        self.bytes.extend(table);
        self.base + at
    }

    /// Adds a table whose addresses at `pointers` (offset, bytes) are inside this block.
    fn add_linked(&mut self, table: &[u8], pointers: impl IntoIterator<Item = (u32, u8)>) -> u32 {
        let address = self.add(16, table);
        let at = address - self.base;
        self.pointers
            .extend(pointers.into_iter().map(|(o, n)| (at + o, n)));
        self.sums.push((at, table.len() as u32));
        address
    }
}

fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut sink = Vec::new();
    table.to_aml_bytes(&mut sink);
    sink
}

/// Adds all tables but the root pointer; tells where RSDT and XSDT are.
fn build(block: &mut Block, cpus: u8, memory: u64, vga: Vga) -> (u32, u32) {
    /// FIRMWARE_CTRL, DSDT and X_DSDT of the FADT (table 5.9).
    const FADT_POINTERS: [(u32, u8); 3] = [(36, 4), (40, 4), (140, 8)];
    let facs = block.add(64, &facs());
    let dsdt = block.add(16, dsdt::table(cpus, memory).as_slice());
    let fadt = block.add_linked(&bytes(&fadt_table(dsdt, facs, vga)), FADT_POINTERS);
    let madt = block.add(16, madt(cpus).as_slice());
    let hpet = block.add(16, hpet().as_slice());
    let mut mcfg = MCFG::new(OEM, TABLE, REVISION);
    mcfg.add_ecam(layout::ECAM, 0, 0, 0);
    let mcfg = block.add(16, &bytes(&mcfg));
    let listed = [fadt, madt, hpet, mcfg];

    let mut rsdt = table(*b"RSDT", 1);
    let mut xsdt = table(*b"XSDT", 1);
    for at in listed {
        rsdt.append_slice(&at.to_le_bytes());
        xsdt.append_slice(&u64::from(at).to_le_bytes());
    }
    let entries = 0..listed.len() as u32;
    let rsdt = block.add_linked(rsdt.as_slice(), entries.clone().map(|n| (36 + 4 * n, 4)));
    let xsdt = block.add_linked(xsdt.as_slice(), entries.map(|n| (36 + 8 * n, 8)));
    (rsdt, xsdt)
}

/// All tables of a machine with `cpus` processors and `memory` bytes of RAM, the root pointer first, for [`layout::ACPI_TABLES`].
pub fn tables(cpus: u8, memory: u64) -> Vec<u8> {
    const RSDP_SIZE: usize = 36;
    let mut block = Block {
        base: layout::ACPI_TABLES.0 as u32,
        bytes: vec![0; RSDP_SIZE],
        ..Block::default()
    };
    let (rsdt, xsdt) = build(&mut block, cpus, memory, Vga::Absent);
    block.bytes[..RSDP_SIZE].copy_from_slice(&root_pointer(rsdt, xsdt));
    block.bytes
}

/// The name of the root pointer's file for firmware.
pub(crate) const RSDP_FILE: &str = "etc/acpi/rsdp";
/// The name of the tables' file.
pub(crate) const TABLES_FILE: &str = "etc/acpi/tables";

/// The tables for firmware to place: addresses in them count from the start of the tables' file.
pub(crate) struct Linked {
    pub rsdp: Vec<u8>,
    pub tables: Vec<u8>,
    /// What the firmware has to do (QEMU's `hw/acpi/bios-linker-loader.c` describes the commands: 128 bytes each).
    pub loader: Vec<u8>,
}

/// Writes the loader's script.
#[derive(Default)]
struct Script(Vec<u8>);

impl Script {
    const COMMAND: usize = 128;
    const NAME: usize = 56;

    fn command(&mut self, kind: u32, names: &[&str], numbers: &[&[u8]]) {
        let start = self.0.len();
        self.0.extend(kind.to_le_bytes());
        for name in names {
            let field = self.0.len() + Self::NAME;
            self.0.extend(name.bytes());
            self.0.resize(field, 0);
        }
        for n in numbers {
            self.0.extend(*n);
        }
        self.0.resize(start + Self::COMMAND, 0);
    }

    fn allocate(&mut self, file: &str, align: u32, zone: u8) {
        self.command(1, &[file], &[&align.to_le_bytes(), &[zone]]);
    }
    fn pointer(&mut self, inside: &str, to: &str, offset: u32, size: u8) {
        self.command(2, &[inside, to], &[&offset.to_le_bytes(), &[size]]);
    }
    fn checksum(&mut self, file: &str, at: u32, start: u32, length: u32) {
        let numbers = [at, start, length].map(u32::to_le_bytes);
        self.command(3, &[file], &[&numbers[0], &numbers[1], &numbers[2]]);
    }
}

/// All tables for firmware.
pub(crate) fn linked(cpus: u8, memory: u64, vga: Vga) -> Linked {
    const HIGH: u8 = 1;
    const F_SEGMENT: u8 = 2;
    let mut block = Block::default();
    let (rsdt, xsdt) = build(&mut block, cpus, memory, vga);
    let mut s = Script::default();
    s.allocate(RSDP_FILE, 16, F_SEGMENT);
    s.allocate(TABLES_FILE, 64, HIGH);
    for &(offset, size) in &block.pointers {
        s.pointer(TABLES_FILE, TABLES_FILE, offset, size);
    }
    for &(start, length) in &block.sums {
        // The sum of a table is computed over what its checksum's place holds.
        if let Some(sum) = block.bytes.get_mut(start as usize + 9) {
            *sum = 0;
        }
        s.checksum(TABLES_FILE, start + 9, start, length);
    }
    let mut rsdp = root_pointer(rsdt, xsdt);
    (rsdp[8], rsdp[32]) = (0, 0);
    s.pointer(RSDP_FILE, TABLES_FILE, 16, 4);
    s.pointer(RSDP_FILE, TABLES_FILE, 24, 8);
    s.checksum(RSDP_FILE, 8, 0, 20);
    s.checksum(RSDP_FILE, 32, 0, 36);
    Linked {
        rsdp: rsdp.to_vec(),
        tables: block.bytes,
        loader: s.0,
    }
}

fn table(signature: [u8; 4], revision: u8) -> Sdt {
    Sdt::new(signature, 36, revision, OEM, TABLE, REVISION)
}

/// RSDP of ACPI 2.0 and later (5.2.5.3). The crate's own has no RSDT address, which 32-bit systems before ACPI 2.0 need.
fn root_pointer(rsdt: u32, xsdt: u32) -> [u8; 36] {
    let mut p = [0; 36];
    p[..8].copy_from_slice(b"RSD PTR ");
    p[9..15].copy_from_slice(&OEM);
    p[15] = 2;
    p[16..20].copy_from_slice(&rsdt.to_le_bytes());
    p[20..24].copy_from_slice(&36u32.to_le_bytes());
    p[24..32].copy_from_slice(&u64::from(xsdt).to_le_bytes());
    let sum = |bytes: &[u8]| bytes.iter().fold(0u8, |s, b| s.wrapping_sub(*b));
    p[8] = sum(&p[..20]);
    p[32] = sum(&p);
    p
}

/// FACS (5.2.10): nothing is handed over, but a system that is not hardware-reduced must have one.
fn facs() -> [u8; 64] {
    let mut t = [0; 64];
    t[..4].copy_from_slice(b"FACS");
    t[4..8].copy_from_slice(&64u32.to_le_bytes());
    t[32] = 2;
    t
}

/// FADT (5.2.9).
fn fadt_table(dsdt: u32, facs: u32, vga: Vga) -> fadt::FADT {
    let io = |port: u16, bits: u8, size| {
        gas::GAS::new(gas::AddressSpace::SystemIo, bits, 0, size, port.into())
    };
    let (event, control, timer) = (layout::PM_BASE, layout::PM_BASE + 4, layout::PM_BASE + 8);
    let mut t = fadt::FADTBuilder::new(OEM, TABLE, REVISION)
        .preferred_pm_profile(fadt::PmProfile::Desktop)
        .flag(fadt::Flags::Wbinvd)
        .flag(fadt::Flags::ProcC1)
        .flag(fadt::Flags::SlpButton)
        .flag(fadt::Flags::FixRtc)
        .flag(fadt::Flags::TmrValExt)
        .flag(fadt::Flags::ResetRegSup)
        .gpe_info(layout::GPE0.into(), 0, layout::GPE0_LENGTH, 0, 0);
    t.dsdt = dsdt.into();
    t.x_dsdt = u64::from(dsdt).into();
    t.firmware_ctrl = facs.into();
    t.sci_int = u16::from(layout::SCI).into();
    t.smi_cmd = u32::from(layout::SMI_COMMAND).into();
    t.acpi_enable = acpi_pm::ACPI_ENABLE;
    t.acpi_disable = acpi_pm::ACPI_DISABLE;
    t.pm1a_evt_blk = u32::from(event).into();
    t.pm1_evt_len = 4;
    t.pm1a_cnt_blk = u32::from(control).into();
    t.pm1_cnt_len = 2;
    t.pm_tmr_blk = u32::from(timer).into();
    t.pm_tmr_len = 4;
    // Latencies beyond these limits say that there is no C2 or C3.
    t.p_lvl2_lat = 101.into();
    t.p_lvl3_lat = 1001.into();
    t.century = mc146818::CENTURY_REGISTER;
    // Without firmware nobody has set a mode of an adapter: a system must not take it for a console.
    let no_vga = match vga {
        Vga::Absent => boot_arch::NO_VGA,
        Vga::Present => 0,
    };
    t.iapc_boot_arch =
        (boot_arch::LEGACY_DEVICES | boot_arch::KEYBOARD_CONTROLLER | no_vga | boot_arch::NO_ASPM)
            .into();
    t.reset_reg = io(layout::ACPI_RESET, 8, gas::AccessSize::ByteAccess);
    t.reset_value = acpi_pm::RESET_VALUE;
    t.x_pm1a_evt_blk = io(event, 32, gas::AccessSize::WordAccess);
    t.x_pm1a_cnt_blk = io(control, 16, gas::AccessSize::WordAccess);
    t.x_pm_tmr_blk = io(timer, 32, gas::AccessSize::DwordAccess);
    let gpe_bits = 8 * layout::GPE0_LENGTH;
    t.x_gpe0_blk = io(layout::GPE0, gpe_bits, gas::AccessSize::ByteAccess);
    t.finalize()
}

/// Interrupt source override (5.2.12.5).
#[derive(Clone, Copy, Debug, zerocopy::IntoBytes, zerocopy::Immutable)]
#[repr(C, packed)]
struct Override {
    kind: u8,
    length: u8,
    bus: u8,
    irq: u8,
    gsi: [u8; 4],
    /// MPS INTI flags: polarity in bits 1:0, trigger mode in bits 3:2.
    flags: [u8; 2],
}

impl Override {
    const CONFORMING: u16 = 0;
    const LEVEL_HIGH: u16 = 0b1101;

    fn new(irq: u8, gsi: u32, flags: u16) -> Self {
        Self {
            kind: 2,
            length: 10,
            bus: 0,
            irq,
            gsi: gsi.to_le_bytes(),
            flags: flags.to_le_bytes(),
        }
    }
}

impl Aml for Override {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        sink.vec(zerocopy::IntoBytes::as_bytes(self));
    }
}

/// Local APIC NMI (5.2.12.7): LINT1 of every processor.
#[derive(Clone, Copy, Debug, zerocopy::IntoBytes, zerocopy::Immutable)]
#[repr(C, packed)]
struct Nmi {
    kind: u8,
    length: u8,
    processor: u8,
    flags: [u8; 2],
    lint: u8,
}

impl Aml for Nmi {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        sink.vec(zerocopy::IntoBytes::as_bytes(self));
    }
}

/// MADT (5.2.12). Written by hand up to its parts: the crate's has no way to say PCAT_COMPAT.
fn madt(cpus: u8) -> Sdt {
    /// There is a pair of 8259s, to be masked before the APICs are used.
    const PCAT_COMPAT: u32 = 1;
    let mut t = table(*b"APIC", 3);
    t.append(layout::LOCAL_APIC as u32);
    t.append(PCAT_COMPAT);
    let mut add = |part: &dyn Aml| t.append_slice(&bytes(part));
    for cpu in 0..cpus {
        add(&ProcessorLocalApic::new(cpu, cpu, EnabledStatus::Enabled));
    }
    add(&IoApic::new(IOAPIC_ID, layout::IOAPIC as u32, 0));
    // The 8254 is wired to pin 2, where the 8259 pair's output would be; the SCI is level-triggered.
    add(&Override::new(0, 2, Override::CONFORMING));
    let sci = layout::SCI;
    add(&Override::new(sci, sci.into(), Override::LEVEL_HIGH));
    add(&Nmi {
        kind: 4,
        length: 6,
        processor: 0xff,
        flags: [0, 0],
        lint: 1,
    });
    t
}

/// HPET description table (IA-PC HPET, 3.2.4).
fn hpet() -> Sdt {
    let mut t = table(*b"HPET", 1);
    t.append(HPET_BLOCK);
    // The specification asks for address space 0, width and access size 0.
    t.append(GenericAddress {
        address_space_id: 0,
        register_bit_width: 64,
        register_bit_offset: 0,
        access_size: 0,
        address: layout::HPET,
    });
    t.append(0u8);
    t.append(HPET_MIN_TICK);
    t.append(0u8);
    t
}
