//! ELF executables: header, program headers, what is loaded (System V ABI, "Object Files" and "Program Loading").

use super::{Error, Plan, le};
use crate::memory_map::MemoryMap;
use arch::GuestPhys;

/// More program headers than any kernel has: keeps hostile files cheap.
const HEADERS_MAX: u16 = 256;

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Elf32,
    Elf64,
}

/// One program header.
#[derive(Clone, Copy, Debug)]
struct Header {
    kind: u32,
    offset: u64,
    vaddr: u64,
    paddr: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

/// A segment to load. Its bytes are known to be inside the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub offset: u64,
    pub vaddr: u64,
    pub paddr: u64,
    pub file_size: u64,
    pub memory_size: u64,
}

/// What the loader needs of an ELF file.
#[derive(Clone, Debug)]
pub(super) struct Elf {
    pub entry: u64,
    pub segments: Vec<Segment>,
    notes: Vec<Header>,
}

pub(super) fn is_elf(file: &[u8]) -> bool {
    file.starts_with(b"\x7fELF")
}

impl Elf {
    pub(super) fn parse(file: &[u8]) -> Result<Self, Error> {
        let short = || Error::truncated("the ELF header", 0x40, file);
        let kind = |what: String| Error::ElfKind { what };
        let class = match file.get(4).ok_or_else(short)? {
            1 => Class::Elf32,
            2 => Class::Elf64,
            n => return Err(kind(format!("of class {n}"))),
        };
        if *file.get(5).ok_or_else(short)? != 1 {
            return Err(kind("big-endian".into()));
        }
        match le::u16(file, 16).ok_or_else(short)? {
            2 | 3 => {}
            1 => return Err(kind("an unlinked object or module (type 1)".into())),
            n => return Err(kind(format!("of type {n}, not an executable"))),
        }
        match le::u16(file, 18).ok_or_else(short)? {
            3 | 62 => {}
            183 => return Err(kind("for aarch64".into())),
            n => return Err(kind(format!("for machine {n}"))),
        }
        let (entry, table, at, least) = match class {
            Class::Elf32 => (
                le::u32(file, 24).map(u64::from),
                le::u32(file, 28).map(u64::from),
                42,
                32,
            ),
            Class::Elf64 => (le::u64(file, 24), le::u64(file, 32), 54, 56),
        };
        let entry = entry.ok_or_else(short)?;
        let table = table.ok_or_else(short)?;
        let size = le::u16(file, at).ok_or_else(short)?;
        let count = le::u16(file, at + 2).ok_or_else(short)?;
        if size < least || count == 0 || count > HEADERS_MAX {
            return Err(Error::ElfHeaders {
                count,
                size,
                limit: HEADERS_MAX,
                least,
            });
        }
        let headers = Self::headers(file, class, table, count, size)?;
        let segments = segments(file, &headers)?;
        let notes = headers.into_iter().filter(|h| h.kind == PT_NOTE).collect();
        Ok(Self {
            entry,
            segments,
            notes,
        })
    }

    fn headers(
        file: &[u8],
        class: Class,
        table: u64,
        count: u16,
        size: u16,
    ) -> Result<Vec<Header>, Error> {
        let bytes = u64::from(count) * u64::from(size);
        let table = le::slice(file, table, bytes).ok_or_else(|| {
            Error::truncated(
                "the ELF program header table",
                table.saturating_add(bytes),
                file,
            )
        })?;
        let header = |h: &[u8]| match class {
            Class::Elf32 => {
                let word = |at| le::u32(h, at).map(u64::from);
                Some(Header {
                    kind: le::u32(h, 0)?,
                    offset: word(4)?,
                    vaddr: word(8)?,
                    paddr: word(12)?,
                    file_size: word(16)?,
                    memory_size: word(20)?,
                    align: word(28)?,
                })
            }
            Class::Elf64 => Some(Header {
                kind: le::u32(h, 0)?,
                offset: le::u64(h, 8)?,
                vaddr: le::u64(h, 16)?,
                paddr: le::u64(h, 24)?,
                file_size: le::u64(h, 32)?,
                memory_size: le::u64(h, 40)?,
                align: le::u64(h, 48)?,
            }),
        };
        Ok(table.chunks_exact(size.into()).filter_map(header).collect())
    }

    /// The descriptor of the first note with this name (without its NUL) and type.
    pub(super) fn note<'a>(&self, file: &'a [u8], name: &[u8], kind: u32) -> Option<&'a [u8]> {
        self.notes.iter().find_map(|h| {
            let bytes = le::slice(file, h.offset, h.file_size)?;
            find_note(bytes, if h.align == 8 { 8 } else { 4 }, name, kind)
        })
    }

    /// The entry point as a physical address: linkers state it as the virtual address of a loaded segment.
    pub(super) fn physical_entry(&self) -> Result<u32, Error> {
        let refused = Error::Entry { entry: self.entry };
        let inside = |base: u64, s: &Segment| {
            self.entry
                .checked_sub(base)
                .filter(|&offset| offset < s.memory_size)
        };
        let by_virtual = self.segments.iter().find_map(|s| {
            let offset = inside(s.vaddr, s)?;
            s.paddr.checked_add(offset)
        });
        let by_physical = self
            .segments
            .iter()
            .find_map(|s| inside(s.paddr, s).map(|_| self.entry));
        let entry = by_virtual.or(by_physical).ok_or(refused)?;
        u32::try_from(entry).map_err(|_| Error::Entry { entry })
    }

    /// One past the last byte that the segments take.
    pub(super) fn end(&self) -> u64 {
        let end = |s: &Segment| s.paddr.saturating_add(s.memory_size);
        self.segments.iter().map(end).max().unwrap_or(0)
    }

    /// Adds the segments to `plan`.
    pub(super) fn load<'a>(
        segments: &[Segment],
        file: &'a [u8],
        map: &MemoryMap,
        plan: &mut Plan<'a>,
    ) -> Result<(), Error> {
        for s in segments {
            if !map.free(s.paddr, s.memory_size) {
                return Err(Error::KernelMemory {
                    start: s.paddr,
                    end: s.paddr.saturating_add(s.memory_size),
                    has: map.low_end(),
                });
            }
            let bytes = le::slice(file, s.offset, s.file_size).unwrap_or_default();
            plan.write(s.paddr, bytes);
            if s.memory_size > s.file_size {
                plan.zeroes.push((
                    GuestPhys(s.paddr + s.file_size),
                    s.memory_size - s.file_size,
                ));
            }
        }
        Ok(())
    }
}

/// The loadable segments, checked against the file and against each other.
fn segments(file: &[u8], headers: &[Header]) -> Result<Vec<Segment>, Error> {
    let mut segments = Vec::new();
    for (index, h) in headers.iter().enumerate() {
        if h.kind != PT_LOAD || h.memory_size == 0 {
            continue;
        }
        if h.file_size > h.memory_size {
            return Err(Error::ElfSegment {
                index,
                file: h.file_size,
                memory: h.memory_size,
            });
        }
        if le::slice(file, h.offset, h.file_size).is_none() {
            let end = h.offset.saturating_add(h.file_size);
            return Err(Error::truncated("an ELF segment", end, file));
        }
        segments.push(Segment {
            offset: h.offset,
            vaddr: h.vaddr,
            paddr: h.paddr,
            file_size: h.file_size,
            memory_size: h.memory_size,
        });
    }
    if segments.is_empty() {
        return Err(Error::ElfNothing);
    }
    for (second, b) in segments.iter().enumerate() {
        for (first, a) in segments.iter().enumerate().take(second) {
            let (a_end, b_end) = (
                a.paddr.saturating_add(a.memory_size),
                b.paddr.saturating_add(b.memory_size),
            );
            if a.paddr < b_end && b.paddr < a_end {
                return Err(Error::ElfOverlap { first, second });
            }
        }
    }
    Ok(segments)
}

/// Walks a note segment: (name size, descriptor size, type), name, descriptor, the latter two padded to `align`.
fn find_note<'a>(bytes: &'a [u8], align: u64, name: &[u8], kind: u32) -> Option<&'a [u8]> {
    let mut at = 0u64;
    loop {
        let header = usize::try_from(at).ok()?;
        let name_size = u64::from(le::u32(bytes, header)?);
        let size = u64::from(le::u32(bytes, header + 4)?);
        let found = le::u32(bytes, header + 8)?;
        let name_at = at + 12;
        let found_name = le::slice(bytes, name_at, name_size)?;
        let descriptor = (name_at + name_size).next_multiple_of(align);
        let value = le::slice(bytes, descriptor, size)?;
        if found == kind && found_name.strip_suffix(b"\0").unwrap_or(found_name) == name {
            return Some(value);
        }
        at = (descriptor + size).next_multiple_of(align);
    }
}
