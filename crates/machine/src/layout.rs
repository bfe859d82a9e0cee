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

/// 82093AA I/O APIC.
pub const IOAPIC: u64 = 0xfec0_0000;
/// IA-PC HPET register block.
pub const HPET: u64 = 0xfed0_0000;
/// Local APIC page at reset.
pub const LOCAL_APIC: u64 = 0xfee0_0000;

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
