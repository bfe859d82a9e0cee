//! PVH direct boot (Xen, docs/misc/pvh.pandoc; public/arch-x86/hvm/start_info.h).

use super::elf::{Elf, Segment};
use super::{Entry, Error, Plan, Request, le, page_up, place_high};
use crate::layout;

const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;
const START_MAGIC: u32 = 0x336e_c578;
const START_SIZE: u64 = 56;
const MODULE_SIZE: u64 = 32;

/// An ELF kernel with a PVH entry.
#[derive(Clone, Debug)]
pub struct Image {
    entry: u32,
    segments: Vec<Segment>,
    end: u64,
}

impl Image {
    /// `None` if the file has no PVH note.
    pub(super) fn parse(file: &[u8], elf: &Elf) -> Result<Option<Self>, Error> {
        let Some(note) = elf.note(file, b"Xen", XEN_ELFNOTE_PHYS32_ENTRY) else {
            return Ok(None);
        };
        let bad = Error::PvhEntry { size: note.len() };
        let entry = match note.len() {
            4 => le::u32(note, 0),
            8 => le::u64(note, 0).and_then(|e| u32::try_from(e).ok()),
            _ => None,
        };
        let entry = entry.ok_or(bad)?;
        let inside = |s: &Segment| {
            u64::from(entry)
                .checked_sub(s.paddr)
                .is_some_and(|offset| offset < s.memory_size)
        };
        if !elf.segments.iter().any(inside) {
            return Err(Error::Entry {
                entry: entry.into(),
            });
        }
        Ok(Some(Self {
            entry,
            segments: elf.segments.clone(),
            end: elf.end(),
        }))
    }

    pub(super) fn plan<'a>(&self, request: &Request<'a>) -> Result<Plan<'a>, Error> {
        let mut plan = Plan::new(Entry::Protected {
            eip: self.entry,
            eax: 0,
            ebx: layout::BOOT_INFO.0 as u32,
            esi: 0,
        });
        Elf::load(&self.segments, request.file, request.map, &mut plan)?;
        let initrd = match request.initrd {
            Some(bytes) => {
                let floor = page_up(self.end);
                let at = place_high(bytes.len(), floor, layout::HIGH_RAM, request.map)?;
                plan.write(at, bytes);
                Some((at, bytes.len() as u64))
            }
            None => None,
        };
        plan.command_line(request.command_line);
        plan.write(layout::BOOT_INFO.0, start_info(request, initrd));
        Ok(plan)
    }
}

/// hvm_start_info version 1, followed by one module entry and the memory map.
fn start_info(request: &Request<'_>, initrd: Option<(u64, u64)>) -> Vec<u8> {
    let modules_at = layout::BOOT_INFO.0 + START_SIZE;
    let map_at = modules_at + MODULE_SIZE;
    let regions = request.map.regions();
    let mut b = Vec::new();
    b.extend(START_MAGIC.to_le_bytes());
    b.extend(1u32.to_le_bytes());
    b.extend(0u32.to_le_bytes());
    b.extend(u32::from(initrd.is_some()).to_le_bytes());
    let modules = initrd.map_or(0, |_| modules_at);
    for address in [modules, layout::COMMAND_LINE.0, request.rsdp.0, map_at] {
        b.extend(address.to_le_bytes());
    }
    b.extend((regions.len() as u32).to_le_bytes());
    b.extend(0u32.to_le_bytes());

    let (at, size) = initrd.unwrap_or_default();
    for word in [at, size, 0, 0] {
        b.extend(word.to_le_bytes());
    }
    for r in regions {
        b.extend(r.start.to_le_bytes());
        b.extend(r.size.to_le_bytes());
        b.extend((r.kind as u32).to_le_bytes());
        b.extend(0u32.to_le_bytes());
    }
    b
}
