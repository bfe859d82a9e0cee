//! Multiboot 1 (Multiboot Specification 0.6.96): header in the first 8 KiB, ELF or the "a.out kludge" of explicit addresses.

use super::elf::{Elf, Segment};
use super::{Entry, Error, Plan, Request, le, page_up};
use crate::layout;

/// Where the header must end (3.1).
const SEARCH: usize = 8192;
const MAGIC: u32 = 0x1bad_b002;
/// What EAX holds at entry (3.2).
const LOADER_MAGIC: u32 = 0x2bad_b002;
const LOADER_NAME: &[u8] = b"Ferry\0";

/// Header flags (3.1.2).
mod flags {
    /// Boot modules on page boundaries: always done.
    pub const PAGE_ALIGN: u32 = 1 << 0;
    /// Memory information: always given.
    pub const MEMORY: u32 = 1 << 1;
    /// Video mode wanted: there is no screen, so information flag bit 11 stays clear, as the specification allows.
    pub const VIDEO: u32 = 1 << 2;
    /// The load addresses in the header are valid.
    pub const ADDRESSES: u32 = 1 << 16;
    /// The bits that a loader must understand or refuse.
    pub const MUST: u32 = 0xffff;
}

/// Information flags (3.3).
mod info {
    pub const MEMORY: u32 = 1 << 0;
    pub const COMMAND_LINE: u32 = 1 << 2;
    pub const MODULES: u32 = 1 << 3;
    pub const MEMORY_MAP: u32 = 1 << 6;
    pub const LOADER_NAME: u32 = 1 << 9;
    pub const SIZE: usize = 120;
}

/// The load addresses of a header with flag bit 16 (3.1.3).
#[derive(Clone, Copy, Debug)]
struct Addresses {
    header: u32,
    load: u32,
    load_end: u32,
    bss_end: u32,
    entry: u32,
}

/// A multiboot header and where it stands in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    at: usize,
    addresses: Option<Addresses>,
}

impl Header {
    /// Searches the first 8 KiB.
    pub(super) fn find(file: &[u8]) -> Result<Option<Self>, Error> {
        let area = file.get(..SEARCH).unwrap_or(file);
        let sum = |at: usize| {
            let magic = le::u32(area, at)?;
            let rest = le::u32(area, at + 4)?.wrapping_add(le::u32(area, at + 8)?);
            (magic == MAGIC && magic.wrapping_add(rest) == 0).then_some(at)
        };
        let Some(at) = (0..area.len()).step_by(4).find_map(sum) else {
            return Ok(None);
        };
        let wanted = le::u32(file, at + 4).unwrap_or(0);
        let unknown = wanted & flags::MUST & !(flags::PAGE_ALIGN | flags::MEMORY | flags::VIDEO);
        if unknown != 0 {
            return Err(Error::MultibootFeatures { bits: unknown });
        }
        let addresses = match wanted & flags::ADDRESSES != 0 {
            true => {
                let word = |n: usize| {
                    let end = at + 12 + 4 * n;
                    le::u32(file, end).ok_or_else(|| {
                        Error::truncated("the multiboot header", end as u64 + 4, file)
                    })
                };
                Some(Addresses {
                    header: word(0)?,
                    load: word(1)?,
                    load_end: word(2)?,
                    bss_end: word(3)?,
                    entry: word(4)?,
                })
            }
            false => None,
        };
        Ok(Some(Self { at, addresses }))
    }
}

/// A multiboot kernel.
#[derive(Clone, Debug)]
pub struct Image {
    entry: u32,
    segments: Vec<Segment>,
    end: u64,
}

impl Image {
    /// An ELF kernel. Explicit addresses in the header win over the ELF headers (3.1.2, bit 16).
    pub(super) fn from_elf(header: &Header, file: &[u8], elf: &Elf) -> Result<Self, Error> {
        if header.addresses.is_some() {
            return Self::flat(header, file);
        }
        Ok(Self {
            entry: elf.physical_entry()?,
            segments: elf.segments.clone(),
            end: elf.end(),
        })
    }

    /// A kernel that its header's addresses describe.
    pub(super) fn flat(header: &Header, file: &[u8]) -> Result<Self, Error> {
        let a = header.addresses.ok_or(Error::MultibootAddresses)?;
        let bad = |what| Error::MultibootLayout { what };
        let before = a
            .header
            .checked_sub(a.load)
            .ok_or(bad("the header stands before load_addr"))?;
        let offset = (header.at as u64)
            .checked_sub(before.into())
            .ok_or(bad("load_addr lies before the start of the file"))?;
        let has = file.len() as u64 - offset;
        let file_size = match a.load_end {
            0 => has,
            end => u64::from(end)
                .checked_sub(a.load.into())
                .ok_or(bad("load_end_addr lies before load_addr"))?,
        };
        if file_size > has {
            return Err(Error::truncated(
                "the multiboot kernel's text and data",
                offset + file_size,
                file,
            ));
        }
        let memory_size = match a.bss_end {
            0 => file_size,
            end => u64::from(end)
                .checked_sub(a.load.into())
                .filter(|&size| size >= file_size)
                .ok_or(bad("bss_end_addr lies before the end of the data"))?,
        };
        let inside = a.entry.checked_sub(a.load).map(u64::from);
        if inside.is_none_or(|at| at >= memory_size) {
            return Err(Error::Entry {
                entry: a.entry.into(),
            });
        }
        Ok(Self {
            entry: a.entry,
            segments: vec![Segment {
                offset,
                vaddr: a.load.into(),
                paddr: a.load.into(),
                file_size,
                memory_size,
            }],
            end: u64::from(a.load) + memory_size,
        })
    }

    pub(super) fn plan<'a>(&self, request: &Request<'a>) -> Result<Plan<'a>, Error> {
        let mut plan = Plan::new(Entry::Protected {
            eip: self.entry,
            eax: LOADER_MAGIC,
            ebx: layout::BOOT_INFO.0 as u32,
            esi: 0,
        });
        Elf::load(&self.segments, request.file, request.map, &mut plan)?;
        // Directly behind the kernel: early paging of small kernels often maps just the first megabytes.
        let module = match request.initrd {
            Some(bytes) => {
                let at = page_up(self.end).max(layout::FIRMWARE_END);
                let size = bytes.len() as u64;
                if !request.map.holds(at, size) {
                    let room = request.map.low_end().saturating_sub(at);
                    return Err(Error::Initrd { size, room });
                }
                plan.write(at, bytes);
                Some((at, size))
            }
            None => None,
        };
        plan.command_line(&match request.command_line {
            "" => request.name.to_owned(),
            line => format!("{} {line}", request.name),
        });
        plan.write(layout::BOOT_INFO.0, information(request, module));
        Ok(plan)
    }
}

/// The information structure, followed by loader name, module entry and memory map (3.3).
fn information(request: &Request<'_>, module: Option<(u64, u64)>) -> Vec<u8> {
    let base = layout::BOOT_INFO.0;
    let name_at = info::SIZE;
    let module_at = name_at + 8;
    let map_at = module_at + 16;
    let entry_size = 24;
    let regions = request.map.regions();
    let mut b = vec![0; map_at + entry_size * regions.len()];
    let word = |b: &mut Vec<u8>, at: usize, value: u64| {
        le::put(b, at, &(value as u32).to_le_bytes());
    };
    let modules = if module.is_some() { info::MODULES } else { 0 };
    let flags = info::MEMORY | info::COMMAND_LINE | modules | info::MEMORY_MAP | info::LOADER_NAME;
    word(&mut b, 0, flags.into());
    word(&mut b, 4, layout::EBDA >> 10);
    let upper = request.map.low_end().saturating_sub(layout::FIRMWARE_END);
    word(&mut b, 8, upper >> 10);
    word(&mut b, 16, layout::COMMAND_LINE.0);
    if let Some((at, size)) = module {
        word(&mut b, 20, 1);
        word(&mut b, 24, base + module_at as u64);
        word(&mut b, module_at, at);
        word(&mut b, module_at + 4, at + size);
        // The module's string: the NUL at the end of the loader's name.
        word(
            &mut b,
            module_at + 8,
            base + (name_at + LOADER_NAME.len() - 1) as u64,
        );
    }
    word(&mut b, 44, (entry_size * regions.len()) as u64);
    word(&mut b, 48, base + map_at as u64);
    word(&mut b, 64, base + name_at as u64);
    le::put(&mut b, name_at, LOADER_NAME);
    for (i, r) in regions.iter().enumerate() {
        let at = map_at + entry_size * i;
        word(&mut b, at, entry_size as u64 - 4);
        le::put(&mut b, at + 4, &r.start.to_le_bytes());
        le::put(&mut b, at + 12, &r.size.to_le_bytes());
        le::put(&mut b, at + 20, &(r.kind as u32).to_le_bytes());
    }
    b
}
