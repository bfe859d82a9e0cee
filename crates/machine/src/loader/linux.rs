//! Linux bzImage: the 64-bit and the 32-bit boot protocol (Linux, Documentation/arch/x86/boot.rst and zero-page.rst).

use super::{Entry, Error, Plan, Request, le, page_up, place_high};
use crate::layout;
use crate::memory_map::MemoryMap;
use arch::GuestPhys;

/// Offsets in the setup header, which stand at the same offsets in boot_params.
mod hdr {
    pub const SETUP_SECTS: usize = 0x1f1;
    pub const BOOT_FLAG: usize = 0x1fe;
    pub const HEADER_LENGTH: usize = 0x201;
    pub const MAGIC: usize = 0x202;
    pub const VERSION: usize = 0x206;
    pub const TYPE_OF_LOADER: usize = 0x210;
    pub const LOADFLAGS: usize = 0x211;
    pub const CODE32_START: usize = 0x214;
    pub const RAMDISK_IMAGE: usize = 0x218;
    pub const RAMDISK_SIZE: usize = 0x21c;
    pub const CMD_LINE_PTR: usize = 0x228;
    pub const INITRD_ADDR_MAX: usize = 0x22c;
    pub const KERNEL_ALIGNMENT: usize = 0x230;
    pub const RELOCATABLE: usize = 0x234;
    pub const XLOADFLAGS: usize = 0x236;
    pub const CMDLINE_SIZE: usize = 0x238;
    pub const PREF_ADDRESS: usize = 0x258;
    pub const INIT_SIZE: usize = 0x260;
    /// LOADFLAGS: the protected-mode code is loaded at 1 MiB.
    pub const LOADED_HIGH: u8 = 1 << 0;
    /// XLOADFLAGS: there is a 64-bit entry point at +0x200.
    pub const XLF_KERNEL_64: u16 = 1 << 0;
}

/// Offsets in boot_params outside the setup header (zero-page.rst).
mod params {
    pub const ACPI_RSDP_ADDR: usize = 0x70;
    pub const ALT_MEM_K: usize = 0x1e0;
    pub const E820_ENTRIES: usize = 0x1e8;
    pub const E820_TABLE: usize = 0x2d0;
    pub const SIZE: usize = 0x1000;
}

/// INITRD_ADDR_MAX of kernels older than protocol 2.03.
const OLD_INITRD_MAX: u32 = 0x37ff_ffff;
/// Longest command line of kernels older than protocol 2.06.
const OLD_CMDLINE_SIZE: u32 = 255;
/// Where the protected-mode code of a bzImage goes if the kernel has no preference.
const DEFAULT_LOAD: u64 = 0x10_0000;
/// Value of TYPE_OF_LOADER for a loader without a number of its own.
const UNREGISTERED_LOADER: u8 = 0xff;
/// Largest kernel size that can be meant: the place for it ends below the MMIO hole.
const SIZE_LIMIT: u64 = layout::LOW_RAM_LIMIT;

/// A bzImage: what its setup header says.
#[derive(Clone, Debug)]
pub struct Image {
    /// Where the protected-mode code begins in the file.
    code: usize,
    header_end: usize,
    long: bool,
    relocatable: bool,
    alignment: u64,
    preferred: u64,
    /// Bytes that the kernel needs from its load address until it knows the memory map.
    init_size: u64,
    initrd_max: u64,
    command_line_max: usize,
}

/// Whether `file` has a boot sector with Linux's setup header.
pub(super) fn is_linux(file: &[u8]) -> bool {
    file.get(hdr::MAGIC..hdr::MAGIC + 4) == Some(b"HdrS")
        && le::u16(file, hdr::BOOT_FLAG) == Some(0xaa55)
}

impl Image {
    pub(super) fn parse(file: &[u8]) -> Result<Self, Error> {
        let short = || Error::truncated("the Linux setup header", hdr::INIT_SIZE as u64 + 4, file);
        let byte = |at: usize| file.get(at).copied().ok_or_else(short);
        let word = |at: usize| le::u16(file, at).ok_or_else(short);
        let dword = |at: usize| le::u32(file, at).ok_or_else(short);

        let version = word(hdr::VERSION)?;
        if version < 0x202 {
            return Err(Error::LinuxTooOld { version });
        }
        if byte(hdr::LOADFLAGS)? & hdr::LOADED_HIGH == 0 {
            return Err(Error::LinuxLow);
        }
        let sectors = match byte(hdr::SETUP_SECTS)? {
            0 => 4,
            n => usize::from(n),
        };
        let code = (sectors + 1) * 512;
        if file.len() <= code {
            return Err(Error::truncated(
                "the Linux real-mode code",
                code as u64,
                file,
            ));
        }
        let code_size = (file.len() - code) as u64;
        // Below boot_params' next field after the header (edd_mbr_sig_buffer at 0x290).
        let header_end = (hdr::MAGIC + usize::from(byte(hdr::HEADER_LENGTH)?)).min(0x290);

        let has_preference = version >= 0x20a;
        let preferred = match has_preference {
            true => le::u64(file, hdr::PREF_ADDRESS).ok_or_else(short)?,
            false => DEFAULT_LOAD,
        };
        let init_size = match has_preference {
            true => u64::from(dword(hdr::INIT_SIZE)?),
            false => 0,
        };
        let relocatable = version >= 0x205 && byte(hdr::RELOCATABLE)? != 0;
        let alignment = match version >= 0x205 {
            true => u64::from(dword(hdr::KERNEL_ALIGNMENT)?).max(1),
            false => 1,
        };
        let field = |field, value| Err(Error::LinuxField { field, value });
        if relocatable && !alignment.is_power_of_two() {
            return field("kernel_alignment", alignment);
        }
        if !(DEFAULT_LOAD..SIZE_LIMIT).contains(&preferred) {
            return field("pref_address", preferred);
        }
        let long = version >= 0x20c && word(hdr::XLOADFLAGS)? & hdr::XLF_KERNEL_64 != 0;
        if long && code_size <= 0x200 {
            return Err(Error::truncated(
                "the 64-bit entry",
                code as u64 + 0x200,
                file,
            ));
        }
        Ok(Self {
            code,
            header_end,
            long,
            relocatable,
            alignment,
            preferred,
            // Decompressors of protocols without init_size use three times the image and a heap above it.
            init_size: match has_preference {
                true => init_size.max(code_size),
                false => code_size.saturating_mul(3),
            },
            initrd_max: match version >= 0x203 {
                true => u64::from(dword(hdr::INITRD_ADDR_MAX)?) + 1,
                false => u64::from(OLD_INITRD_MAX) + 1,
            },
            command_line_max: match version >= 0x206 {
                true => dword(hdr::CMDLINE_SIZE)? as usize,
                false => OLD_CMDLINE_SIZE as usize,
            },
        })
    }

    /// Whether the kernel is entered in 64-bit mode.
    pub fn is_64_bit(&self) -> bool {
        self.long
    }

    /// The load address: the preferred one, or for a relocatable kernel the lowest that fits.
    fn load_address(&self, map: &MemoryMap) -> Result<u64, Error> {
        let lowest = DEFAULT_LOAD.next_multiple_of(self.alignment);
        let candidates = [Some(self.preferred), self.relocatable.then_some(lowest)];
        candidates
            .into_iter()
            .flatten()
            .find(|&at| map.holds(at, self.init_size))
            .ok_or(Error::KernelMemory {
                start: self.preferred,
                end: self.preferred + self.init_size,
                has: map.low_end(),
            })
    }

    pub(super) fn plan<'a>(&self, request: &Request<'a>) -> Result<Plan<'a>, Error> {
        if request.command_line.len() > self.command_line_max {
            return Err(Error::CommandLine {
                length: request.command_line.len(),
                limit: self.command_line_max,
            });
        }
        let load = self.load_address(request.map)?;
        let floor = page_up(load.saturating_add(self.init_size));
        let initrd = match request.initrd {
            Some(bytes) => Some((
                place_high(bytes.len(), floor, self.initrd_max, request.map)?,
                bytes,
            )),
            None => None,
        };

        let params_at = layout::BOOT_INFO.0;
        let mut plan = Plan::new(match self.long {
            true => Entry::Long {
                rip: load + 0x200,
                rsi: params_at,
                cr3: layout::PAGE_TABLES,
            },
            false => Entry::Protected {
                eip: load as u32,
                eax: 0,
                ebx: 0,
                esi: params_at as u32,
            },
        });
        if self.long {
            plan.write(layout::PAGE_TABLES.0, identity_tables());
        }
        plan.write(params_at, self.params(request, load, initrd));
        plan.command_line(request.command_line);
        plan.write(load, &request.file[self.code..]);
        if let Some((at, bytes)) = initrd {
            plan.write(at, bytes);
        }
        Ok(plan)
    }

    /// boot_params: zeroes, the setup header, and what the loader fills in.
    fn params(&self, request: &Request<'_>, load: u64, initrd: Option<(u64, &[u8])>) -> Vec<u8> {
        let mut p = vec![0; params::SIZE];
        let header = &request.file[hdr::SETUP_SECTS..self.header_end.min(request.file.len())];
        le::put(&mut p, hdr::SETUP_SECTS, header);
        p[hdr::TYPE_OF_LOADER] = UNREGISTERED_LOADER;
        le::put(&mut p, hdr::CODE32_START, &(load as u32).to_le_bytes());
        let (at, size) = initrd.map_or((0, 0), |(at, bytes)| (at as u32, bytes.len() as u32));
        le::put(&mut p, hdr::RAMDISK_IMAGE, &at.to_le_bytes());
        le::put(&mut p, hdr::RAMDISK_SIZE, &size.to_le_bytes());
        let command_line = layout::COMMAND_LINE.0 as u32;
        le::put(&mut p, hdr::CMD_LINE_PTR, &command_line.to_le_bytes());

        le::put(
            &mut p,
            params::ACPI_RSDP_ADDR,
            &request.rsdp.0.to_le_bytes(),
        );
        let extended_k = request.map.low_end().saturating_sub(layout::FIRMWARE_END) >> 10;
        le::put(
            &mut p,
            params::ALT_MEM_K,
            &(extended_k as u32).to_le_bytes(),
        );
        let regions = request.map.regions();
        p[params::E820_ENTRIES] = regions.len() as u8;
        for (i, r) in regions.iter().enumerate() {
            let at = params::E820_TABLE + 20 * i;
            le::put(&mut p, at, &r.start.to_le_bytes());
            le::put(&mut p, at + 8, &r.size.to_le_bytes());
            le::put(&mut p, at + 16, &(r.kind as u32).to_le_bytes());
        }
        p
    }
}

/// PML4, PDPT and four page directories that map the lowest 4 GiB one to one in 2 MiB pages (Vol. 3A, 4.5).
fn identity_tables() -> Vec<u8> {
    const PRESENT_WRITABLE: u64 = 3;
    const PAGE_SIZE: u64 = 1 << 7;
    let at = |GuestPhys(base): GuestPhys, page: u64| base + page * arch::PAGE_SIZE;
    let mut entries = vec![0u64; 6 * 512];
    entries[0] = at(layout::PAGE_TABLES, 1) | PRESENT_WRITABLE;
    for gib in 0..4 {
        entries[512 + gib] = at(layout::PAGE_TABLES, 2 + gib as u64) | PRESENT_WRITABLE;
    }
    for (i, e) in entries[2 * 512..].iter_mut().enumerate() {
        *e = (i as u64) << 21 | PAGE_SIZE | PRESENT_WRITABLE;
    }
    entries.iter().flat_map(|e| e.to_le_bytes()).collect()
}
