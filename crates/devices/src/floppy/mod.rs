//! Intel 82077AA floppy disk controller (datasheet, order 290166) with up to two drives, in AT mode.
//!
//! A command that reaches the medium runs on the disk's threads: the whole of what it may want is read there, and handed to ISA DMA (or,
//! without DMA, to the FIFO) with the controller locked. Mechanical and rotational delays are not modelled.
//!
//! Absent: FM, deleted data, SCAN, power down, drives C: and D:, tape.

mod commands;
mod state;
#[cfg(test)]
mod tests;

use crate::{IsaDma, lock};
use block::Disk;
use bus::{AccessSize, Device, IrqLine};
use regs::*;
use snapshot::{Error, Section};
use state::{Phase, State};
use std::sync::{Arc, Mutex};

/// Region of the six ports from 0x3F0 on.
pub const REGION_MAIN: usize = 0;
/// Region of the port 0x3F7.
pub const REGION_DIR: usize = 1;

/// Registers (2.1).
mod regs {
    pub const SRA: u16 = 0;
    pub const SRB: u16 = 1;
    pub const DOR: u16 = 2;
    pub const TDR: u16 = 3;
    pub const MSR: u16 = 4;
    pub const FIFO: u16 = 5;

    pub const DOR_NOT_RESET: u8 = 1 << 2;
    pub const DOR_GATE: u8 = 1 << 3;

    pub const MSR_RQM: u8 = 1 << 7;
    pub const MSR_TO_HOST: u8 = 1 << 6;
    pub const MSR_NON_DMA: u8 = 1 << 5;
    pub const MSR_BUSY: u8 = 1 << 4;

    pub const DSR_RESET: u8 = 1 << 7;
    pub const DIR_CHANGED: u8 = 1 << 7;
}

pub(super) const SECTOR: usize = 512;

/// How a disk is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub cylinders: u8,
    pub heads: u8,
    pub sectors: u8,
    /// Data rate select: 0 is 500, 1 is 300, 2 is 250 Kb/s, 3 is 1 Mb/s.
    pub rate: u8,
}

/// The layouts that an image's size can mean.
const GEOMETRIES: [Geometry; 8] = {
    const fn of(cylinders: u8, heads: u8, sectors: u8, rate: u8) -> Geometry {
        Geometry {
            cylinders,
            heads,
            sectors,
            rate,
        }
    }
    [
        of(80, 2, 18, 0),
        of(80, 2, 36, 3),
        of(80, 2, 9, 2),
        of(80, 2, 15, 0),
        of(40, 2, 9, 2),
        of(40, 2, 8, 2),
        of(40, 1, 9, 2),
        of(40, 1, 8, 2),
    ]
};

/// Sizes of images that a drive takes, in KiB.
pub const SIZES_KIB: &str = "1440, 2880, 1200, 720, 360, 320, 180 and 160";

impl Geometry {
    /// Whether a drive reads it at this data rate: low density turns faster in a high density drive.
    fn reads_at(self, rate: u8) -> bool {
        self.rate == rate || (self.rate == 2 && rate == 1)
    }

    const fn bytes(self) -> u64 {
        self.cylinders as u64 * self.heads as u64 * self.sectors as u64 * SECTOR as u64
    }

    fn of_size(bytes: u64) -> Option<Self> {
        GEOMETRIES.into_iter().find(|g| g.bytes() == bytes)
    }
}

/// The type by which CMOS names the drive that takes a disk of this size: 5.25 inches of 1.2 MB (2), 3.5 inches of 1.44 MB (4) or of
/// 2.88 MB (5). `None` if no drive does.
pub fn drive_type(bytes: u64) -> Option<u8> {
    let geometry = Geometry::of_size(bytes)?;
    Some(match (geometry.cylinders, geometry.sectors) {
        (_, 36) => 5,
        (80, 18 | 9) => 4,
        _ => 2,
    })
}

/// A drive.
#[derive(Clone, Default)]
struct Drive {
    present: bool,
    disk: Option<(Arc<Disk>, Geometry)>,
}

struct Inner {
    s: State,
    drives: [Drive; 2],
    /// Moves on when what is under way stops counting.
    generation: u64,
}

struct Shared {
    inner: Mutex<Inner>,
    line: IrqLine,
    dma: IsaDma,
}

/// The controller. Clones are handles to the same one.
#[derive(Clone)]
pub struct Floppy {
    shared: Arc<Shared>,
}

impl Floppy {
    /// A controller that interrupts on `line` (6), moves data by `dma` (channel 2), and has these drives; `Some(None)` is one without a
    /// disk. A disk of no known size is none.
    pub fn new(line: IrqLine, dma: IsaDma, drives: [Option<Option<Arc<Disk>>>; 2]) -> Self {
        let drives = drives.map(|drive| Drive {
            present: drive.is_some(),
            disk: drive.flatten().and_then(with_geometry),
        });
        let s = State {
            changed: [true; 2],
            ..State::default()
        };
        Self {
            shared: Arc::new(Shared {
                inner: Mutex::new(Inner {
                    s,
                    drives,
                    generation: 0,
                }),
                line,
                dma,
            }),
        }
    }

    /// Puts a disk into a drive, or takes it out.
    pub fn change_disk(&self, drive: usize, disk: Option<Arc<Disk>>) {
        let mut c = lock(&self.shared.inner);
        c.generation += 1;
        if let Some(changed) = c.s.changed.get_mut(drive) {
            *changed = true;
        }
        if let Some(d) = c.drives.get_mut(drive).filter(|d| d.present) {
            let old = std::mem::replace(&mut d.disk, disk.and_then(with_geometry));
            drop(c);
            drop(old);
        }
    }

    fn drain(&self) {
        let drives = lock(&self.shared.inner).drives.clone();
        for (disk, _) in drives.into_iter().filter_map(|d| d.disk) {
            disk.drain();
        }
    }
}

fn with_geometry(disk: Arc<Disk>) -> Option<(Arc<Disk>, Geometry)> {
    let geometry = Geometry::of_size(disk.image().size())?;
    Some((disk, geometry))
}

impl Shared {
    /// INT, as far as the digital output register lets it through.
    fn raise(&self, c: &mut Inner) {
        c.s.interrupt = true;
        self.drive_line(c);
    }

    fn lower(&self, c: &mut Inner) {
        c.s.interrupt = false;
        self.drive_line(c);
    }

    fn drive_line(&self, c: &Inner) {
        self.line.set(c.s.interrupt && c.s.dor & DOR_GATE != 0);
    }

    /// A reset by hardware, by the digital output register or by the data rate register (3.0). Afterwards the controller polls its drives:
    /// four interrupts to sense.
    fn reset(&self, c: &mut Inner) {
        c.generation += 1;
        c.s.phase = Phase::Command;
        c.s.fifo.clear();
        c.s.position = 0;
        c.s.sense = [0xc0, 0xc1, 0xc2, 0xc3].to_vec();
        if !c.s.locked {
            c.s.configuration = 0;
            c.s.precompensation = 0;
        }
        self.raise(c);
    }

    fn main_status(&self, c: &Inner) -> u8 {
        if c.s.dor & DOR_NOT_RESET == 0 {
            return 0;
        }
        match c.s.phase {
            Phase::Command if c.s.fifo.is_empty() => MSR_RQM,
            Phase::Command => MSR_RQM | MSR_BUSY,
            Phase::Busy => MSR_BUSY,
            Phase::ToHost => MSR_RQM | MSR_TO_HOST | MSR_NON_DMA | MSR_BUSY,
            Phase::FromHost => MSR_RQM | MSR_NON_DMA | MSR_BUSY,
            Phase::Result => MSR_RQM | MSR_TO_HOST | MSR_BUSY,
        }
    }

    fn read(self: &Arc<Self>, offset: u16) -> u8 {
        let mut c = lock(&self.inner);
        match offset {
            // INT pending in bit 7; no second drive's line in AT mode's SRB (2.1.1, 2.1.2).
            SRA => u8::from(c.s.interrupt) << 7,
            SRB => 0xc0,
            DOR => c.s.dor,
            TDR => c.s.tape & 3,
            MSR => self.main_status(&c),
            FIFO => self.fifo_read(&mut c),
            _ => 0xff,
        }
    }

    fn write(self: &Arc<Self>, offset: u16, value: u8) {
        let mut c = lock(&self.inner);
        match offset {
            DOR => {
                let old = std::mem::replace(&mut c.s.dor, value);
                match (old & DOR_NOT_RESET, value & DOR_NOT_RESET) {
                    (0, DOR_NOT_RESET) => self.reset(&mut c),
                    (DOR_NOT_RESET, 0) => {
                        c.generation += 1;
                        c.s.phase = Phase::Command;
                        c.s.fifo.clear();
                        self.lower(&mut c);
                    }
                    _ => self.drive_line(&c),
                }
            }
            TDR => c.s.tape = value,
            MSR => {
                c.s.rate = value & 3;
                if value & DSR_RESET != 0 {
                    self.reset(&mut c);
                }
            }
            FIFO if c.s.dor & DOR_NOT_RESET != 0 => self.fifo_write(&mut c, value),
            _ => {}
        }
    }

    /// The digital input register: the disk change line of the selected drive while its motor turns (2.1.8).
    fn digital_input(&self) -> u8 {
        let c = lock(&self.inner);
        let drive = usize::from(c.s.dor & 3);
        let motor = c.s.dor >> (4 + drive) & 1 != 0;
        let changed = c.s.changed.get(drive).copied().unwrap_or(true);
        let open = c.drives.get(drive).is_none_or(|d| d.disk.is_none());
        if motor && (changed || open) {
            DIR_CHANGED
        } else {
            0
        }
    }
}

impl Device for Floppy {
    fn name(&self) -> &str {
        "floppy"
    }

    fn port_read(&mut self, region: usize, offset: u16, size: AccessSize) -> u32 {
        match region {
            REGION_MAIN => crate::bytes::read(offset, size, |o| self.shared.read(o)),
            _ => self.shared.digital_input().into(),
        }
    }

    fn port_write(&mut self, region: usize, offset: u16, size: AccessSize, value: u32) {
        match region {
            REGION_MAIN => crate::bytes::write(offset, size, value, |o, v| self.shared.write(o, v)),
            // The configuration control register (2.1.9).
            _ => lock(&self.shared.inner).s.rate = value as u8 & 3,
        }
    }

    fn reset(&mut self) {
        let mut c = lock(&self.shared.inner);
        c.generation += 1;
        let changed = c.s.changed;
        c.s = State {
            changed,
            ..State::default()
        };
        self.shared.drive_line(&c);
    }

    fn save(&self) -> Result<Section, Error> {
        self.drain();
        let c = lock(&self.shared.inner);
        Section::new(self.name(), state::VERSION, &c.s)
    }

    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        let s = section.read(self.name(), state::VERSION)?;
        self.drain();
        let mut c = lock(&self.shared.inner);
        c.generation += 1;
        c.s = s;
        self.shared.drive_line(&c);
        Ok(())
    }
}
