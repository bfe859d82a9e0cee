//! The files that a machine boots, read and checked before anything else exists; from them the guest's memory at power-on.

use crate::firmware::{self, Images};
use crate::loader::{CODE_SELECTOR, DATA_SELECTOR, GDT_LIMIT, TASK_SELECTOR};
use crate::loader::{Entry, Kernel, Request};
use crate::memory_map::MemoryMap;
use crate::{Config, Error, acpi, layout};
use arch::{Cr0, Cr4, Efer, Gpr, GuestPhys, Rflags, Segment};
use memory::Ram;
use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Kernel files larger than this are not read: debug information makes them large, but not that large.
const KERNEL_LIMIT: u64 = 4 << 30;

/// A video BIOS has at most what is between display memory and the system BIOS.
const VIDEO_BIOS_LIMIT: u64 = 128 << 10;

/// What is loaded at every reset.
#[derive(Debug)]
pub struct BootImage {
    kind: Kind,
    /// The display adapter's BIOS.
    video_bios: Option<Vec<u8>>,
}

#[derive(Debug)]
enum Kind {
    Kernel(Box<Direct>),
    /// The firmware's images, and a kernel for it to start.
    Firmware(Images, Option<firmware::Kernel>),
}

/// A kernel that is loaded directly.
#[derive(Debug)]
struct Direct {
    path: PathBuf,
    kernel: Kernel,
    file: Vec<u8>,
    initrd: Option<Vec<u8>>,
    command_line: String,
    map: MemoryMap,
}

impl BootImage {
    /// Reads the files that `config` names and makes sure that the kernel can be started in its memory.
    pub fn read(config: &Config) -> Result<Self, Error> {
        let kernel = match &config.kernel {
            Some(path) => Some((path.clone(), read("kernel", path, KERNEL_LIMIT)?)),
            None => None,
        };
        let initrd = match &config.initrd {
            Some(path) => Some(read("initrd", path, config.memory)?),
            None => None,
        };
        if let (Some([]), Some(path)) = (initrd.as_deref(), &config.initrd) {
            return Err(Error::EmptyInitrd { path: path.clone() });
        }
        let command_line = config.command_line.clone();
        let video_bios = match &config.video_bios {
            Some(path) => Some(read("video BIOS", path, VIDEO_BIOS_LIMIT)?),
            None => None,
        };
        if let Some(path) = &config.firmware.image {
            let images = Images::read(&config.firmware, path)?;
            let kernel = kernel.map(|(_, file)| firmware::Kernel {
                file,
                initrd,
                command_line,
            });
            let kind = Kind::Firmware(images, kernel);
            return Ok(Self { kind, video_bios });
        }
        let Some((path, file)) = kernel else {
            return Err(Error::NothingToStart);
        };
        let kernel = Kernel::recognise(&file).map_err(|source| Error::Kernel {
            path: path.clone(),
            source,
        })?;
        let direct = Direct {
            path,
            kernel,
            file,
            initrd,
            command_line,
            map: MemoryMap::new(config.memory),
        };
        direct.plan()?;
        Ok(Self {
            kind: Kind::Kernel(Box::new(direct)),
            video_bios,
        })
    }

    /// The content of the display adapter's ROM.
    pub(crate) fn video_bios(&self) -> Option<&[u8]> {
        self.video_bios.as_deref()
    }

    /// The name of the boot protocol.
    pub fn protocol(&self) -> &'static str {
        match &self.kind {
            Kind::Kernel(k) => k.kernel.protocol(),
            Kind::Firmware(..) => "firmware",
        }
    }

    /// The firmware's images.
    pub(crate) fn firmware(&self) -> Option<&Images> {
        match &self.kind {
            Kind::Kernel(_) => None,
            Kind::Firmware(images, _) => Some(images),
        }
    }

    /// A kernel that the firmware starts.
    pub(crate) fn offered_kernel(&self) -> Option<&firmware::Kernel> {
        match &self.kind {
            Kind::Kernel(_) => None,
            Kind::Firmware(_, kernel) => kernel.as_ref(),
        }
    }

    /// Puts a kernel with what belongs to it into `ram`; tells the processor's state at entry: `None` for that after a reset.
    pub(crate) fn load(&self, ram: &Ram, cpus: u8) -> Result<Option<cpu::BootState>, Error> {
        match &self.kind {
            Kind::Kernel(k) => k.load(ram, cpus).map(Some),
            Kind::Firmware(..) => Ok(None),
        }
    }
}

impl Direct {
    fn plan(&self) -> Result<crate::loader::Plan<'_>, Error> {
        let request = Request {
            // A name that is not UTF-8 does not reach the guest.
            name: self.path.to_str().unwrap_or("kernel"),
            file: &self.file,
            initrd: self.initrd.as_deref(),
            command_line: &self.command_line,
            map: &self.map,
            rsdp: layout::ACPI_TABLES,
        };
        self.kernel.plan(&request).map_err(|source| Error::Kernel {
            path: self.path.clone(),
            source,
        })
    }

    fn load(&self, ram: &Ram, cpus: u8) -> Result<cpu::BootState, Error> {
        const ZEROES: [u8; 4096] = [0; 4096];
        let plan = self.plan()?;
        for &(GuestPhys(start), size) in &plan.zeroes {
            for at in (0..size).step_by(ZEROES.len()) {
                let part = (size - at).min(ZEROES.len() as u64) as usize;
                ram.write(GuestPhys(start + at), &ZEROES[..part])?;
            }
        }
        let tables = (
            layout::ACPI_TABLES,
            Cow::from(acpi::tables(cpus, ram.size())),
        );
        for (at, bytes) in plan.writes.iter().chain([&tables]) {
            ram.write(*at, bytes)?;
        }
        Ok(boot_state(plan.entry))
    }
}

pub(crate) fn read(role: &'static str, path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let of = || path.to_path_buf();
    let open = |source| Error::Open {
        role,
        path: of(),
        source,
    };
    let file = File::open(path).map_err(open)?;
    if file.metadata().map_err(open)?.is_dir() {
        return Err(Error::Directory { role, path: of() });
    }
    let mut bytes = Vec::new();
    // One more than the limit tells a file of just this size from a longer or endless one.
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::Read {
            role,
            path: of(),
            source,
        })?;
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge {
            role,
            path: of(),
            limit,
        });
    }
    Ok(bytes)
}

/// Segment attributes (see [`Segment::attributes`]).
mod attributes {
    pub const CODE32: u16 = 0xc09b;
    pub const CODE64: u16 = 0xa09b;
    pub const DATA: u16 = 0xc093;
    pub const BUSY_TSS32: u16 = 0x008b;
    pub const BUSY_TSS64: u16 = 0x008b;
    pub const LDT: u16 = 0x0082;
}

fn flat(selector: u16, attributes: u16) -> Segment {
    Segment {
        base: 0,
        limit: u32::MAX,
        selector,
        attributes,
    }
}

fn boot_state(entry: Entry) -> cpu::BootState {
    let data = flat(DATA_SELECTOR, attributes::DATA);
    let (code, task) = match entry {
        Entry::Protected { .. } => (attributes::CODE32, attributes::BUSY_TSS32),
        Entry::Long { .. } => (attributes::CODE64, attributes::BUSY_TSS64),
    };
    let system = |selector, limit, attributes| Segment {
        base: 0,
        limit,
        selector,
        attributes,
    };
    let mut state = cpu::BootState {
        gpr: [0; 16],
        rip: 0,
        rflags: Rflags::FIXED.bits(),
        cr0: (Cr0::PE | Cr0::ET).bits(),
        cr3: 0,
        cr4: 0,
        efer: 0,
        cs: flat(CODE_SELECTOR, code),
        ds: data,
        es: data,
        ss: data,
        fs: data,
        gs: data,
        tr: system(TASK_SELECTOR, 0x67, task),
        ldtr: system(0, 0xffff, attributes::LDT),
        gdtr: (layout::GDT.0, GDT_LIMIT),
        idtr: (0, 0),
    };
    let mut set = |register: u8, value: u64| state.gpr[usize::from(register)] = value;
    set(Gpr::RSP, layout::STACK_TOP);
    match entry {
        Entry::Protected { eip, eax, ebx, esi } => {
            set(Gpr::RAX, eax.into());
            set(Gpr::RBX, ebx.into());
            set(Gpr::RSI, esi.into());
            state.rip = eip.into();
        }
        Entry::Long { rip, rsi, cr3 } => {
            set(Gpr::RSI, rsi);
            state.rip = rip;
            state.cr0 |= Cr0::PG.bits();
            state.cr3 = cr3.0;
            state.cr4 = Cr4::PAE.bits();
            state.efer = (Efer::LME | Efer::LMA).bits();
        }
    }
    state
}
