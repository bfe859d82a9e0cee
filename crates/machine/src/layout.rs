//! Where things stand in the guest-physical address space: what the loaders, the ACPI tables and the wiring agree on.
//!
//! Invariant: nothing of the loader's stands above [`EBDA`] or below [`FIRMWARE_END`] but the ACPI tables, so that one memory map serves
//! every boot protocol. RAM below 1 MiB other than these structures is free for the guest.

use arch::GuestPhys;

/// The descriptor table that the entry state points to.
pub const GDT: GuestPhys = GuestPhys(0x500);
/// Linux boot_params, hvm_start_info or multiboot information, with the tables that they point to.
pub const BOOT_INFO: GuestPhys = GuestPhys(0x1000);
/// End of the space for boot information.
pub const BOOT_INFO_END: u64 = 0x8000;
/// First stack pointer: the page below is the stack.
pub const STACK_TOP: u64 = 0x9000;
/// Page tables of the 64-bit entry: one PML4, one PDPT and four page directories.
pub const PAGE_TABLES: GuestPhys = GuestPhys(0xa000);
/// The command line and its NUL.
pub const COMMAND_LINE: GuestPhys = GuestPhys(0x2_0000);
/// Longest command line without its NUL.
pub const COMMAND_LINE_MAX: usize = 0xffff;
/// End of the space for the command line.
pub const COMMAND_LINE_END: u64 = COMMAND_LINE.0 + COMMAND_LINE_MAX as u64 + 1;
/// Start of the extended BIOS data area: end of conventional memory.
pub const EBDA: u64 = 0x9_fc00;
/// Start of the adapter space: video memory and option ROMs of a PC.
pub const ADAPTERS: u64 = 0xa_0000;
/// The RSDP and the ACPI tables.
pub const ACPI_TABLES: GuestPhys = GuestPhys(0xe_0000);
/// Start of extended memory.
pub const FIRMWARE_END: u64 = 0x10_0000;
/// End of RAM below 4 GiB at most: the rest up to 4 GiB is for MMIO.
pub const LOW_RAM_LIMIT: u64 = 0xc000_0000;
/// Where RAM goes on beyond the MMIO hole.
pub const HIGH_RAM: u64 = 1 << 32;

/// Smallest memory that a machine can have.
pub const MEMORY_MIN: u64 = 4 << 20;
/// Largest memory that a machine can have: well inside 40 physical address bits, and its bookkeeping inside a host's memory.
pub const MEMORY_MAX: u64 = 256 << 30;

/// Base address registers of PCI functions stand from here on with at most 2 GiB of RAM; with more, from [`LOW_RAM_LIMIT`] on. Firmware
/// computes the same.
const PCI_MEMORY_LOW: u64 = 0x8000_0000;
/// Ports for base address registers where no firmware places them.
pub const PCI_PORTS: std::ops::RangeInclusive<u16> = 0xc000..=0xfeff;
/// Interrupts of PIRQA-PIRQD where they are routed to the ISA interrupts: what firmware writes to the route control registers, and the \\_PRT
/// for systems that do not use the I/O APIC.
pub const PIRQ_LINES: [u8; 4] = [10, 10, 11, 11];
/// Edge/level control register of interrupts 8-15.
pub const ELCR2: u16 = 0x4d1;

/// Where base address registers for memory stand in a machine with this much RAM.
pub fn pci_memory(memory: u64) -> std::ops::RangeInclusive<u64> {
    let start = if memory <= PCI_MEMORY_LOW {
        PCI_MEMORY_LOW
    } else {
        LOW_RAM_LIMIT
    };
    start..=IOAPIC - 1
}

/// Devices of PCI bus 0.
pub mod pci {
    use devices::pci::Address;

    /// 82441FX.
    pub const HOST_BRIDGE: Address = Address::new(0, 0);
    /// 82371SB: function 0, to ISA; function 1, IDE; the 82371AB's function 3, power management.
    pub const ISA_BRIDGE: Address = Address::new(1, 0);
    pub const IDE: Address = Address::new(1, 1);
    pub const POWER: Address = Address::new(1, 3);
    pub const VGA: Address = Address::new(2, 0);
    /// Whatever else there is, one device after the other.
    pub const FIRST_FREE: u8 = 3;
}

/// The bank of memory that is the display adapter's, if there is one.
pub const VIDEO_BANK: usize = 0;

/// 82093AA I/O APIC.
pub const IOAPIC: u64 = 0xfec0_0000;
/// IA-PC HPET register block.
pub const HPET: u64 = 0xfed0_0000;
/// Local APIC page at reset.
pub const LOCAL_APIC: u64 = 0xfee0_0000;

/// PCI configuration space of bus 0 as memory.
pub const ECAM: u64 = 0xfef0_0000;

/// First serial port.
pub const COM1: u16 = 0x3f8;
/// The firmware configuration device.
pub const FW_CFG: u16 = 0x510;
/// pc-testdev: its ports and its memory.
pub const TEST_PORTS: [std::ops::RangeInclusive<u16>; 3] =
    [0xe0..=0xe3, 0x2000..=0x2017, 0xe4..=0xe7];
pub const TEST_MEMORY: u64 = 0xff00_0000;
/// ACPI PM1a event and control blocks, PM timer at +8.
pub const PM_BASE: u16 = 0x600;
/// ACPI general-purpose event block 0.
pub const GPE0: u16 = 0x620;
/// Bytes of general-purpose event block 0: half status, half enable.
pub const GPE0_LENGTH: u8 = 4;
/// The system control interrupt's line.
pub const SCI: u8 = 9;
/// SMI command port of the FADT: switches between legacy and ACPI mode.
pub const SMI_COMMAND: u16 = 0xb2;
/// The reset register of the FADT.
pub const ACPI_RESET: u16 = 0x630;
/// Reset control register of the ICH.
pub const RESET_CONTROL: u16 = 0xcf9;
/// isa-debug-exit.
pub const DEBUG_EXIT: u16 = 0xf4;
