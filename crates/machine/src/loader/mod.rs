//! From a kernel file to the state in which a boot protocol starts it.
//!
//! [`Kernel::recognise`] tells by content what a file is; [`Kernel::plan`] answers with the bytes to put into guest RAM and with the entry
//! state, and touches nothing itself: a reset plans and applies again. Invariant: the files are hostile input, so every read of them is
//! checked and every refusal is an [`Error`] that names the defect.

mod elf;
mod error;
mod le;
mod linux;
mod multiboot;
mod pvh;
#[cfg(test)]
mod tests;

use crate::layout;
use crate::memory_map::MemoryMap;
use arch::GuestPhys;
pub use error::Error;
use std::borrow::Cow;

/// A kernel file whose boot protocol is known.
#[derive(Clone, Debug)]
pub enum Kernel {
    /// Linux bzImage (Linux, Documentation/arch/x86/boot.rst).
    Linux(linux::Image),
    /// ELF with a PVH entry note (Xen, docs/misc/pvh.pandoc).
    Pvh(pvh::Image),
    /// Multiboot 1 (Multiboot Specification 0.6.96).
    Multiboot(multiboot::Image),
}

/// What is loaded with the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The kernel file's name: the first word of a multiboot kernel's command line.
    pub name: &'a str,
    /// The kernel file that was recognised.
    pub file: &'a [u8],
    pub initrd: Option<&'a [u8]>,
    pub command_line: &'a str,
    pub map: &'a MemoryMap,
    /// Where the ACPI root pointer stands.
    pub rsdp: GuestPhys,
}

/// What to put where, and how to start.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// Disjoint writes into guest RAM.
    pub writes: Vec<(GuestPhys, Cow<'a, [u8]>)>,
    /// Ranges to be zeroed before the writes: uninitialised data, which after a reset holds what the last run left.
    pub zeroes: Vec<(GuestPhys, u64)>,
    pub entry: Entry,
}

/// The state in which a kernel is entered. Interrupts are off in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// 32-bit protected mode, flat segments, paging off.
    Protected {
        eip: u32,
        eax: u32,
        ebx: u32,
        esi: u32,
    },
    /// 64-bit mode, the lowest 4 GiB mapped one to one.
    Long { rip: u64, rsi: u64, cr3: GuestPhys },
}

/// Selector of the flat code segment in the table at [`layout::GDT`] (__BOOT_CS of Linux).
pub const CODE_SELECTOR: u16 = 0x10;
/// Selector of the flat data segment (__BOOT_DS).
pub const DATA_SELECTOR: u16 = 0x18;
/// Selector of a task state segment at address 0.
pub const TASK_SELECTOR: u16 = 0x20;
/// Last byte of the table.
pub const GDT_LIMIT: u16 = 5 * 8 - 1;

const CODE32: u64 = 0x00cf_9b00_0000_ffff;
const CODE64: u64 = 0x00af_9b00_0000_ffff;
const DATA: u64 = 0x00cf_9300_0000_ffff;
const TASK: u64 = 0x0000_8b00_0000_0067;

impl Kernel {
    /// Tells what `file` is, or why it cannot be started.
    pub fn recognise(file: &[u8]) -> Result<Self, Error> {
        if file.is_empty() {
            return Err(Error::Empty);
        }
        if linux::is_linux(file) {
            return linux::Image::parse(file).map(Self::Linux);
        }
        if elf::is_elf(file) {
            let elf = elf::Elf::parse(file)?;
            if let Some(image) = pvh::Image::parse(file, &elf)? {
                return Ok(Self::Pvh(image));
            }
            return match multiboot::Header::find(file)? {
                Some(header) => {
                    multiboot::Image::from_elf(&header, file, &elf).map(Self::Multiboot)
                }
                None => Err(Error::ElfWithoutProtocol),
            };
        }
        match multiboot::Header::find(file)? {
            Some(header) => multiboot::Image::flat(&header, file).map(Self::Multiboot),
            None => Err(Error::unrecognised(file)),
        }
    }

    /// The name of the boot protocol.
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::Linux(image) if image.is_64_bit() => "Linux 64-bit boot protocol",
            Self::Linux(_) => "Linux 32-bit boot protocol",
            Self::Pvh(_) => "PVH",
            Self::Multiboot(_) => "multiboot 1",
        }
    }

    /// What to put where for this kernel.
    pub fn plan<'a>(&self, request: &Request<'a>) -> Result<Plan<'a>, Error> {
        let named = match self {
            Self::Multiboot(_) => request.name.len() + 1,
            _ => 0,
        };
        let (length, limit) = (
            request.command_line.len(),
            layout::COMMAND_LINE_MAX.saturating_sub(named),
        );
        if length > limit {
            return Err(Error::CommandLine { length, limit });
        }
        if request.command_line.contains('\0') {
            return Err(Error::CommandLineNul);
        }
        match self {
            Self::Linux(image) => image.plan(request),
            Self::Pvh(image) => image.plan(request),
            Self::Multiboot(image) => image.plan(request),
        }
    }
}

impl<'a> Plan<'a> {
    fn new(entry: Entry) -> Self {
        let code = match entry {
            Entry::Protected { .. } => CODE32,
            Entry::Long { .. } => CODE64,
        };
        let table = [0, 0, code, DATA, TASK];
        let bytes: Vec<u8> = table.iter().flat_map(|d: &u64| d.to_le_bytes()).collect();
        Self {
            writes: vec![(layout::GDT, bytes.into())],
            zeroes: Vec::new(),
            entry,
        }
    }

    fn write(&mut self, at: u64, bytes: impl Into<Cow<'a, [u8]>>) {
        let bytes = bytes.into();
        if !bytes.is_empty() {
            self.writes.push((GuestPhys(at), bytes));
        }
    }

    fn command_line(&mut self, text: &str) {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.write(layout::COMMAND_LINE.0, bytes);
    }
}

/// The highest page-aligned place below `limit` for `size` bytes that leaves everything below `floor` alone.
fn place_high(size: usize, floor: u64, limit: u64, map: &MemoryMap) -> Result<u64, Error> {
    let limit = limit.min(map.low_end());
    let room = limit.saturating_sub(page_up(floor)) & !arch::PAGE_MASK;
    let refused = Error::Initrd {
        size: size as u64,
        room,
    };
    let at = limit.checked_sub(size as u64).map(|a| a & !arch::PAGE_MASK);
    match at {
        Some(at) if at >= floor && map.holds(at, size as u64) => Ok(at),
        _ => Err(refused),
    }
}

fn page_up(at: u64) -> u64 {
    at.saturating_add(arch::PAGE_MASK) & !arch::PAGE_MASK
}
